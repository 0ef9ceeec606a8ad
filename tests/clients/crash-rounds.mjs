// Kills a hub again and again while writers are at work, and asks them for the verdict.
//
//     node crash-rounds.mjs HUB_BINARY [--rounds 20] [--seed N] [--port 4490] [--writers 6] [--rate 25] [--stacks y1,y4]
//
// The hub is started on one port and one data directory (temporary, removed when all is well). Every third round goes on without
// asking in between: there the writers find the restarted hub by themselves.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chosenSeed, option, Random } from './lib/random.mjs'
import { DEADLINE_MS, pause, until, within } from './lib/wait.mjs'

const binary = process.argv[2]
const rounds = Number(option('rounds') ?? 20)
const port = Number(option('port') ?? 4490)
const seed = chosenSeed()
const random = new Random(seed)
const data = mkdtempSync(join(tmpdir(), 'yhub-crash-'))
const file = join(data, 'crash.json')
console.log(`seed ${seed}, data in ${data}`)

// Whatever ends this process ends what it has started.
const children = new Set()
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')))

async function startHub () {
  const hub = spawn(binary, ['--listen', `127.0.0.1:${port}`, '--data-dir', join(data, 'hub')], { stdio: ['ignore', 'ignore', 'inherit'] })
  const dead = once(hub, 'exit')
  children.add(hub)
  hub.on('exit', () => children.delete(hub))
  await until('the hub to listen', () => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.end()))
    socket.on('error', () => resolve(null))
  }), { poll: 20, detail: () => `exit code ${hub.exitCode}` })
  // Else it is somebody else who listens there, whom nobody would kill.
  await pause(50)
  if (hub.exitCode !== null) throw new Error(`the hub ended at once with exit code ${hub.exitCode}`)
  return {
    async kill () {
      hub.kill('SIGKILL')
      await within('the hub to be dead', dead)
    }
  }
}

function startWriters () {
  const pass = ['writers', 'rate', 'stacks'].flatMap((name) => (option(name) ? [`--${name}`, option(name)] : []))
  const script = fileURLToPath(new URL('./crash-writer.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, '--out', file, '--seed', String(seed), ...pass], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, YHUB_URL: `ws://127.0.0.1:${port}` }
  })
  children.add(child)
  const waiting = []
  let progress = {}
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = JSON.parse(line)
    if (event.event === 'progress') progress = event
    else if (event.event === 'failed') throw new Error(`the writers failed: ${event.error}`)
    else waiting.shift()?.(event)
  })
  return {
    progress: () => progress,
    /** Sends a command (none: waits for the start) and resolves with the event that answers it. */
    ask (command) {
      const answer = new Promise((resolve) => waiting.push(resolve))
      if (command) child.stdin.write(`${command}\n`)
      return within(`the answer to "${command ?? 'start'}"`, answer, 6 * DEADLINE_MS)
    }
  }
}

let hub = await startHub()
const writers = startWriters()
await writers.ask()
let failures = 0
for (let round = 1; round <= rounds; round++) {
  await pause(random.int(2500))
  await hub.kill()
  const asking = round % 3 !== 0
  if (asking) await writers.ask('pause')
  hub = await startHub()
  let said = ''
  if (asking) {
    const checked = await writers.ask('check')
    await writers.ask('resume')
    if (!checked.ok) failures++
    said = checked.ok ? ', checked' : `: ${checked.complaints.join('\n  ')}`
  }
  const { made, seen } = writers.progress()
  console.log(`round ${round}: ${made} edits made, ${seen} updates seen${said}`)
}
const verdict = await writers.ask('stop')
console.log(`${verdict.ok ? 'everything is there' : verdict.complaints.join('\n')} (${verdict.made} edits, ${verdict.seen} updates seen, ${rounds} kills)`)
await hub.kill()
hub = await startHub()
const verify = spawn(process.execPath, [fileURLToPath(new URL('./crash-writer.mjs', import.meta.url)), 'verify', file], {
  stdio: 'inherit',
  env: { ...process.env, YHUB_URL: `ws://127.0.0.1:${port}` }
})
const [code] = await within('the verdict after the last restart', once(verify, 'exit'), 6 * DEADLINE_MS)
await hub.kill()
const ok = verdict.ok && failures === 0 && code === 0
if (ok) rmSync(data, { recursive: true })
else console.log(`seed ${seed}; the data stays in ${data}`)
process.exit(ok ? 0 : 1)
