// A suite of capability × stack on node:test, with a table at the end.

import { describe, it } from 'node:test'
import { writeFileSync } from 'node:fs'
import { Client } from './client.mjs'
import { option } from './random.mjs'
import { DEADLINE_MS } from './wait.mjs'

const capabilities = []

/**
 * Declares a capability. `body(t)` runs once per stack; `t` has `stack`, `kit`, and `open(room, options, stack)`, which
 * makes a client that is closed when the body ends.
 * - `hubOnly`: a plain y-websocket server does not have it (skipped with `YHUB_SERVER=plain`)
 * - `stacks(stack)`: for which stacks it exists at all
 * - `early`: starts before the others, because it takes long without doing much
 * - `ms`: how long the whole body may take
 */
export function capability (name, options, body) {
  capabilities.push({ name, hubOnly: false, early: false, stacks: () => true, ms: 4 * DEADLINE_MS, ...options, body })
}

const PLAIN = process.env.YHUB_SERVER === 'plain'
// Enough to let the long silent waits and a few busy bodies run side by side, few enough that none starves.
const AT_ONCE = 14

/** Runs all capabilities for `stacks`; the table goes to standard output and, if `YHUB_TABLE` names a file, there. */
export function runSuite (stacks) {
  const only = new RegExp(option('only') ?? process.env.YHUB_ONLY ?? '')
  const chosen = capabilities.filter(({ name }) => only.test(name))
  const cells = new Map(chosen.map(({ name }) => [name, new Map()]))
  const jobs = [...chosen.filter((c) => c.early), ...chosen.filter((c) => !c.early)]

  describe('capabilities', { concurrency: AT_ONCE }, () => {
    for (const { name, hubOnly, stacks: has, ms, body } of jobs) {
      for (const stack of stacks) {
        if (!has(stack) || (hubOnly && PLAIN)) {
          cells.get(name).set(stack.id, '–')
          continue
        }
        cells.get(name).set(stack.id, '✗')
        it(`${name} · ${stack.label}`, { timeout: ms }, async () => {
          const began = performance.now()
          await runBody(body, stack)
          cells.get(name).set(stack.id, '✓')
          if (process.env.YHUB_TIMES) console.log(`${Math.round(performance.now() - began)} ms: ${name} · ${stack.id}`)
        })
      }
    }
  })

  process.on('exit', () => {
    const table = tableOf(stacks, chosen, cells)
    console.log(`\n${table}`)
    if (process.env.YHUB_TABLE) writeFileSync(process.env.YHUB_TABLE, table)
  })
}

async function runBody (body, stack) {
  const clients = []
  const t = {
    stack,
    kit: stack.kit,
    open (room, options, other = stack) {
      const client = new Client(other, room, options)
      clients.push(client)
      return client
    }
  }
  try {
    await body(t)
  } finally {
    for (const client of clients) client.close()
  }
}

function tableOf (stacks, chosen, cells) {
  const row = (cols) => `| ${cols.join(' | ')} |`
  return [
    row(['capability', ...stacks.map((stack) => stack.label)]),
    row(['---', ...stacks.map(() => ':---:')]),
    ...chosen.map(({ name }) => row([name, ...stacks.map((stack) => cells.get(name).get(stack.id))]))
  ].join('\n') + '\n'
}
