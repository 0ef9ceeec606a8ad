// Long random editing by clients of all stacks in one room, with random disconnects of all kinds; at the end all documents, an
// independent yjs document fed with the same updates, and what the hub gives a stranger must be the same.
//
//     YHUB_URL=ws://127.0.0.1:4400 node convergence.mjs [--clients 8] [--seconds 30] [--seed N] [--stacks y1,y4]
//
// Prints its seed and figures; exits with 0 only if everything is equal.

import { Client, fetchRoom, freshRoom, settled } from './lib/client.mjs'
import { randomEdit } from './lib/edits.mjs'
import { assertSame, dumpUpdates, Oracle } from './lib/oracle.mjs'
import { chosenSeed, option, Random } from './lib/random.mjs'
import { chosenStacks } from './lib/stacks.mjs'
import { DEADLINE_MS, pause, until } from './lib/wait.mjs'

const seed = chosenSeed()
const seconds = Number(option('seconds') ?? process.env.YHUB_SECONDS ?? 30)
const count = Number(option('clients') ?? 8)
const room = freshRoom('convergence')
const stacks = chosenStacks()
const oracle = new Oracle()
const figures = { edits: 0, updates: 0, offline: 0, cut: 0, joined: count }

/** A client whose updates the oracle hears of. */
function join (n) {
  const client = new Client(stacks[n % stacks.length], room)
  client.doc.on('update', (update, origin) => {
    if (origin === client.provider) return
    figures.updates++
    oracle.apply(update)
  })
  return client
}

/** Edits until `end`, and leaves in various ways now and then. */
async function life (client, random, end) {
  while (performance.now() < end) {
    randomEdit(random, client.kit, client.doc)
    figures.edits++
    const roll = random.int(400)
    if (roll === 0) {
      figures.cut++
      client.cut()
    } else if (roll === 1) {
      figures.offline++
      client.offline()
      for (let n = random.int(30); n > 0; n--) {
        randomEdit(random, client.kit, client.doc)
        figures.edits++
        await pause(random.int(20))
      }
      client.provider.connect()
    } else if (roll === 2) {
      // A new tab of the same person, with an empty document.
      clients.push(join(figures.joined++))
    }
    await pause(random.int(30))
  }
}

console.log(`seed ${seed}: ${count} clients of ${stacks.map((stack) => stack.id).join(', ')} for ${seconds} s in ${room}`)
const clients = Array.from({ length: count }, (_, n) => join(n))
try {
  await Promise.all(clients.map((client) => client.synced()))
  const end = performance.now() + seconds * 1000
  await Promise.all(clients.slice(0, count).map((client, n) => life(client, new Random(seed + n), end)))
  await Promise.all(clients.map((client) => client.synced(2 * DEADLINE_MS)))
  await settled(clients, 2 * DEADLINE_MS)
  await until('the oracle to equal the clients', () => oracle.fingerprint() === clients[0].fingerprint())
  const shown = oracle.dump()
  for (const client of clients) assertSame(dumpUpdates(client.kit.encode(client.doc)), shown, `what ${client.name} shows`)
  const stranger = new Oracle()
  for (const update of (await fetchRoom(room)).updates) stranger.apply(update)
  assertSame(stranger.fingerprint(), oracle.fingerprint(), 'state of a stranger')
  assertSame(stranger.dump(), shown, 'what a stranger sees')
  console.log(`converged: ${JSON.stringify({ ...figures, characters: shown.length })}`)
  process.exit(0)
} catch (error) {
  console.error(`seed ${seed}: ${error.message}\n${JSON.stringify(figures)}`)
  process.exit(1)
}
