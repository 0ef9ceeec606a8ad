// How documents come together: concurrent and offline edits, what a reconnect costs, repeated and lost frames.

import assert from 'node:assert/strict'
import { capability } from '../lib/suite.mjs'
import { fetchRoom, freshRoom, settled } from '../lib/client.mjs'
import { assertSame, dumpUpdates, Oracle } from '../lib/oracle.mjs'
import { randomEdit } from '../lib/edits.mjs'
import { chosenSeed, Random } from '../lib/random.mjs'
import { parseFrame, STEP2, SYNC, syncFrame, UPDATE, updateIn } from '../lib/frames.mjs'
import { allStacks } from '../lib/stacks.mjs'
import { pause, until } from '../lib/wait.mjs'

const seed = chosenSeed()
console.log(`seed ${seed} (repeat with --seed ${seed})`)

/**
 * Feeds an oracle with every update that the clients make, in the order of this process. Also of clients that only look: some tidy
 * formats by themselves that do nothing, which is an edit.
 */
function watched (clients, oracle = new Oracle()) {
  for (const client of clients) {
    client.doc.on('update', (update, origin) => {
      if (origin !== client.provider) oracle.apply(update)
    })
  }
  return oracle
}

/** All clients, the oracle, and whoever joins now have one and the same document. */
async function converged (room, clients, oracle) {
  await settled(clients)
  await until(`the oracle of ${room} to equal the clients`, () => oracle.fingerprint() === clients[0].fingerprint(), {
    detail: () => `${oracle.fingerprint().slice(0, 400)} against ${clients[0].fingerprint().slice(0, 400)}`
  })
  const shown = oracle.dump()
  for (const client of clients) assertSame(dumpUpdates(client.kit.encode(client.doc)), shown, `what ${client.name} shows`)
  const joined = new Oracle()
  for (const update of (await fetchRoom(room)).updates) joined.apply(update)
  assertSame(joined.fingerprint(), oracle.fingerprint(), `state of a joiner of ${room}`)
  assertSame(joined.dump(), shown, `what a joiner of ${room} sees`)
}

/** `steps` rounds in which each client makes an edit, with a breath now and then so that frames cross on the way. */
async function editTogether (random, clients, steps) {
  for (let n = 0; n < steps; n++) {
    for (const client of clients) randomEdit(random, client.kit, client.doc)
    if (random.chance(0.3)) await pause(random.int(8))
  }
}

capability('concurrent edits of 3 clients converge', {}, async (t) => {
  const random = new Random(seed)
  const room = freshRoom('concurrent')
  const clients = [t.open(room), t.open(room), t.open(room)]
  const oracle = watched(clients)
  await Promise.all(clients.map((client) => client.synced()))
  await editTogether(random, clients, 120)
  await converged(room, clients, oracle)
})

capability('yjs 13 and @y/y 14 in one room converge', {}, async (t) => {
  const random = new Random(seed + 1)
  const others = allStacks.filter((stack) => stack.kit.family !== t.kit.family)
  const room = freshRoom('mixed')
  const clients = [t.open(room), t.open(room), t.open(room, {}, others.at(-1)), t.open(room, {}, others[0])]
  const oracle = watched(clients)
  await Promise.all(clients.map((client) => client.synced()))
  await editTogether(random, clients, 60)
  await converged(room, clients, oracle)
})

capability('offline edits on both sides merge on reconnect', {}, async (t) => {
  const random = new Random(seed + 2)
  const room = freshRoom('offline')
  const [here, there] = [t.open(room), t.open(room)]
  const oracle = watched([here, there])
  await Promise.all([here.synced(), there.synced()])
  await editTogether(random, [here, there], 20)
  await settled([here, there])
  await here.leave()
  await editTogether(random, [here, there], 40)
  await there.leave()
  await editTogether(random, [here, there], 40)
  assert.notEqual(here.fingerprint(), there.fingerprint(), 'the two documents have grown apart')
  await Promise.all([here.online(), there.online()])
  await converged(room, [here, there], oracle)
})

capability('a cut connection comes back by itself', {}, async (t) => {
  const room = freshRoom('cut')
  const [here, there] = [t.open(room), t.open(room)]
  await Promise.all([here.synced(), there.synced()])
  t.kit.text(here.doc, 'text').insert(0, 'before ', {})
  await settled([here, there])
  const opened = here.traffic.opened
  here.cut()
  t.kit.text(here.doc, 'text').insert(0, 'during ', {})
  t.kit.text(there.doc, 'text').insert(0, 'meanwhile ', {})
  await until('a second connection', () => here.traffic.opened > opened && here.provider.synced)
  await settled([here, there])
  assert.match(t.kit.text(there.doc, 'text').string(), /during/)
})

capability('5 MB at hand: a reconnect receives under 1 KB, a missing piece about its size', {}, async (t) => {
  const random = new Random(seed + 3)
  const room = freshRoom('delta')
  const author = t.open(room, { connect: false })
  const text = t.kit.text(author.doc, 'text')
  const piece = 'x'.repeat(1000)
  t.kit.transact(author.doc, () => {
    for (let n = 0; n < 5000; n++) text.insert(random.int(text.length() + 1), `${n}${piece}`, {})
  })
  await author.online()
  const reader = t.open(room)
  await reader.synced()
  await until('5 MB at the reader', () => t.kit.text(reader.doc, 'text').length() >= 5_000_000)
  await settled([author, reader])
  const size = t.kit.encode(reader.doc).length
  assert.ok(reader.traffic.bytes >= size * 0.98, `the first join took ${reader.traffic.bytes} bytes for ${size}`)

  await reader.leave()
  reader.traffic.reset()
  await reader.online()
  await roundTrip(t, reader, author)
  const idle = reader.traffic.bytes
  assert.ok(idle < 1024, `a client with all of ${size} bytes received ${idle} on reconnect`)

  await reader.leave()
  for (let n = 0; n < 30; n++) text.insert(random.int(text.length() + 1), 'y'.repeat(1000), {})
  const missing = t.kit.encode(author.doc, t.kit.stateVector(reader.doc)).length
  // The author's edits are at the hub when a stranger finds them there.
  await until('the missing piece at the hub', async () => {
    const { bytes } = await fetchRoom(room, { stateVector: t.kit.stateVector(reader.doc) })
    return bytes.length >= missing * 0.9
  }, { poll: 200 })
  reader.traffic.reset()
  await reader.online()
  await settled([author, reader])
  const received = reader.traffic.bytes
  assert.ok(received >= missing * 0.9 && received <= missing * 1.1 + 1024, `lacking ${missing} bytes, received ${received}`)
})

/** A small edit of `from` has arrived at `to`: whatever the hub had to say before is there too. */
async function roundTrip (t, from, to) {
  const key = freshRoom('mark')
  t.kit.map(from.doc, 'marks').set(key, 1)
  await until(`the mark of ${from.name}`, () => t.kit.map(to.doc, 'marks').get(key) === 1)
}

capability('a late joiner gets everything while others write', {}, async (t) => {
  const random = new Random(seed + 4)
  const room = freshRoom('late')
  const writers = [t.open(room), t.open(room)]
  const oracle = watched(writers)
  await Promise.all(writers.map((client) => client.synced()))
  let writing = true
  const work = (async () => {
    while (writing) {
      await editTogether(random, writers, 3)
      await pause(1)
    }
  })()
  const late = []
  try {
    for (let n = 0; n < 6; n++) {
      const before = writers[0].doc.store.clients.size
      late.push(t.open(room))
      watched(late.slice(-1), oracle)
      await late.at(-1).synced()
      assert.ok(before > 0)
    }
  } finally {
    writing = false
    await work
  }
  await converged(room, [...writers, ...late], oracle)
})

capability('the same update sent three times changes nothing', {}, async (t) => {
  const room = freshRoom('twice')
  const [here, there] = [t.open(room), t.open(room)]
  await Promise.all([here.synced(), there.synced()])
  const made = []
  here.doc.on('update', (update, origin) => origin !== here.provider && made.push(update))
  const text = t.kit.text(here.doc, 'text')
  text.insert(0, 'abc', {})
  text.remove(1, 1)
  t.kit.map(here.doc, 'map').set('k', { $list: [1] })
  for (const update of [...made, ...made]) here.send(syncFrame(UPDATE, update))
  here.send(syncFrame(STEP2, t.kit.encode(here.doc)))
  await roundTrip(t, here, there)
  await settled([here, there])
  assert.equal(t.kit.text(there.doc, 'text').string(), 'ac')
  assert.equal(here.traffic.opened, 1, 'the connection is still the first one')
  const joined = (await fetchRoom(room)).updates
  assertSame(dumpUpdates(...joined), dumpUpdates(t.kit.encode(here.doc)), 'what a joiner sees')
})

capability('resyncInterval repairs what a client has missed', {}, async (t) => {
  const room = freshRoom('resync')
  const writer = t.open(room)
  const lossy = t.open(room, { resyncInterval: 300 })
  await Promise.all([writer.synced(), lossy.synced()])
  let swallowed = 0
  lossy.traffic.onFrame = (frame) => {
    const { type, sub } = parseFrame(frame)
    if (type !== SYNC || sub !== UPDATE) return true
    swallowed++
    return false
  }
  t.kit.text(writer.doc, 'text').insert(0, 'you never saw this', {})
  await until('an update frame to swallow', () => swallowed > 0)
  await settled([writer, lossy])
  assert.equal(t.kit.text(lossy.doc, 'text').string(), 'you never saw this')
  assert.equal(lossy.traffic.opened, 1, 'repaired without a reconnect')
})

capability('the sender gets its own updates back', {}, async (t) => {
  const writer = t.open(freshRoom('echo'))
  await writer.synced()
  const echoed = []
  writer.traffic.onFrame = (frame) => {
    const update = updateIn(frame)
    if (update) echoed.push(update)
  }
  t.kit.text(writer.doc, 'text').insert(0, 'heard', {})
  await until('the echo', () => dumpUpdates(...echoed) === dumpUpdates(t.kit.encode(writer.doc)))
})


capability('a malformed frame ends only the connection it came from', { hubOnly: true }, async (t) => {
  const room = freshRoom('malformed')
  const [culprit, bystander] = [t.open(room), t.open(room)]
  await Promise.all([culprit.synced(), bystander.synced()])
  for (const frame of [[SYNC, UPDATE, 200, 1], [SYNC, UPDATE, 5, 1, 1, 1, 255, 255], [1, 6, 255, 255, 255, 255, 255, 255]]) {
    const before = culprit.traffic.closes.length
    culprit.send(Uint8Array.from(frame))
    await until(`the connection that sent [${frame}] to be closed`, () => culprit.traffic.closes.length > before)
    const code = culprit.traffic.closes.at(-1)
    assert.ok(code >= 4400 && code <= 4499, `a permanent close code for [${frame}], not ${code}`)
    await culprit.online()
  }
  assert.deepEqual([bystander.traffic.opened, bystander.traffic.closes], [1, []], 'the bystander was not disturbed')
  t.kit.text(culprit.doc, 'text').insert(0, 'sorry', {})
  await settled([culprit, bystander])
})
