// Awareness: who is there, what they show, and that nobody stays who has gone.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { capability } from '../lib/suite.mjs'
import { freshRoom, settled } from '../lib/client.mjs'
import { pause, until, within } from '../lib/wait.mjs'

/** "Gone within seconds": well below the 30 s after which clients forget a silent peer by themselves. */
const GONE_WITHIN_MS = 10_000
const SILENCE_MS = Number(process.env.YHUB_SILENCE_MS ?? 120_000)
const CROWD = 60

/** States of the others, by their `name`. */
const others = (client) => new Map([...client.awareness.getStates()]
  .filter(([id]) => id !== client.doc.clientID)
  .map(([, state]) => [state?.name, state]))

const sees = (client, name, what = `the presence of ${name}`) =>
  until(what, () => others(client).get(name), { detail: () => JSON.stringify([...others(client).values()]) })

const misses = (client, name) =>
  until(`the presence of ${name} to be gone`, () => !others(client).has(name), { ms: GONE_WITHIN_MS })

capability('presence appears, updates, and goes on disconnect', {}, async (t) => {
  const room = freshRoom('presence')
  const watcher = t.open(room, { awareness: { name: 'watcher' } })
  const guest = t.open(room, { awareness: { name: 'guest', cursor: null } })
  await Promise.all([watcher.synced(), guest.synced()])
  // A first state has clock 0, which no client takes over from a stranger; the next change shows it.
  guest.awareness.setLocalStateField('cursor', { anchor: 1 })
  await sees(watcher, 'guest')
  guest.awareness.setLocalStateField('cursor', { anchor: 2, é: '𝄞' })
  await until('the new cursor', () => others(watcher).get('guest')?.cursor?.anchor === 2)
  assert.deepEqual(others(watcher).get('guest').cursor, { anchor: 2, é: '𝄞' })
  const late = t.open(room, { awareness: { name: 'late' } })
  await sees(late, 'guest', 'a late joiner to see who was there before')
  guest.offline()
  await misses(watcher, 'guest')
  await misses(late, 'guest')
  await guest.online()
  // Its farewell had the clock that its state has: the others take the state over with the next change or renewal.
  guest.awareness.setLocalStateField('cursor', { anchor: 3 })
  await sees(watcher, 'guest', 'the presence to come back with the client')
})

capability('presence goes when a connection breaks', {}, async (t) => {
  const room = freshRoom('broken')
  const watcher = t.open(room)
  const guest = t.open(room, { awareness: { name: 'guest' } })
  await Promise.all([watcher.synced(), guest.synced()])
  guest.awareness.setLocalStateField('n', 1)
  await sees(watcher, 'guest')
  guest.provider.shouldConnect = false
  guest.cut()
  await misses(watcher, 'guest')
})

capability('presence goes when a client is killed', {}, async (t) => {
  const room = freshRoom('killed')
  const watcher = t.open(room)
  await watcher.synced()
  const script = fileURLToPath(new URL('../presence-child.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, t.stack.id, room, JSON.stringify({ name: 'victim' })], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  try {
    await within('the child to be ready', once(child.stdout, 'data'))
    await sees(watcher, 'victim')
  } finally {
    child.kill('SIGKILL')
  }
  await within('the child to be dead', ended)
  await misses(watcher, 'victim')
})

capability(`a joiner sees ${CROWD} others at once`, {}, async (t) => {
  const room = freshRoom('crowd')
  const crowd = Array.from({ length: CROWD }, (_, n) => t.open(room, { awareness: { name: `guest${n}`, n } }))
  await Promise.all(crowd.map((client) => client.synced()))
  for (const client of crowd) client.awareness.setLocalStateField('moved', true)
  const everyone = (client, count) => until(`${count} others for ${client.name}`, () => [...others(client).values()].filter((state) => state?.moved).length === count, {
    detail: () => `${others(client).size} others`
  })
  await Promise.all(crowd.map((client) => everyone(client, CROWD - 1)))
  const late = t.open(room)
  await late.synced()
  await everyone(late, CROWD)
  for (const client of crowd.slice(0, CROWD / 2)) client.offline()
  await everyone(late, CROWD / 2)
})

capability('alone, with and without awareness: connected through two minutes of silence', { early: true, hubOnly: true, ms: SILENCE_MS + 60_000 }, async (t) => {
  const [silent, shown] = [t.open(freshRoom('silent'), { awareness: null }), t.open(freshRoom('shown'))]
  await Promise.all([silent.synced(), shown.synced()])
  await pause(SILENCE_MS)
  for (const client of [silent, shown]) {
    assert.deepEqual(client.traffic.closes, [], `close codes of ${client.name}: ${client.traffic.reasons}`)
    assert.equal(client.traffic.opened, 1, `sockets that ${client.name} opened`)
    assert.ok(client.provider.wsconnected)
    // The link is not only open, it works.
    const other = t.open(client.room)
    await other.synced()
    t.kit.text(client.doc, 'text').insert(0, 'still here', {})
    await settled([client, other])
  }
})
