// Random histories that real clients have written, and the judge of what somebody else makes of them.
//
//     node histories.mjs --seed 1 --seconds 20
//
// For each history one line goes out: its updates, what is to be taken back and what is to be forgotten, and what yjs 13 or @y/y 14
// make of it themselves. One line comes back: the same by somebody else. It is judged by what documents show that are given it. The
// last line has the figures. Lines are JSON, bytes hexadecimal.

import readline from 'node:readline'
import * as Y14 from '@y/y'
import { randomEdit } from './lib/edits.mjs'
import * as kit13 from './lib/kit13.mjs'
import * as kit14 from './lib/kit14.mjs'
import { assertSame, contentsOf, Oracle } from './lib/oracle.mjs'
import { chosenSeed, option, Random } from './lib/random.mjs'

const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'))

/** A client that hears of the others' updates now and then. */
class Writer {
  constructor (kit, random, all) {
    this.kit = kit
    this.doc = kit.newDoc({ gc: random.chance(0.5) })
    // As each family numbers its clients, but from the seed.
    this.doc.clientID = 1 + random.int(kit.family === 13 ? 2 ** 32 - 1 : 2 ** 53 - 1)
    this.heard = 0
    this.doc.on('update', (update, origin) => {
      if (origin !== 'others') all.push(update)
    })
    this.all = all
  }

  hear (upto) {
    for (; this.heard < upto; this.heard++) this.kit.apply(this.doc, this.all[this.heard], 'others')
  }

  /** No character outside the first plane: the two families do not agree on what is left of one that is cut in two. */
  edit (random) {
    const { kit, doc } = this
    const roll = random.int(60)
    if (roll === 0) kit.map(doc, 'map').set(`doc${random.int(3)}`, new kit.Y.Doc({ guid: `guid-${random.int(1000)}` }))
    else if (roll === 1) kit.text(doc, '').insert(0, random.word(), {})
    else if (roll === 2 && kit.family === 13) kit.xml(doc, 'hooks').insert(0, [{ hook: 'hook', map: { k: random.int(9) } }])
    else if (roll === 3) kit.transact(doc, () => { for (let n = 0; n < 5; n++) randomEdit(random, kit, doc) })
    else randomEdit(random, kit, doc)
  }
}

function history (random) {
  const kit = random.chance(0.5) ? kit13 : kit14
  const updates = []
  const writers = Array.from({ length: 1 + random.int(4) }, () => new Writer(kit, random, updates))
  for (let edits = 2 + random.int(16); edits > 0; edits--) {
    const writer = random.pick(writers)
    if (random.chance(0.5)) writer.hear(random.chance(0.7) ? updates.length : writer.heard + random.int(updates.length - writer.heard + 1))
    writer.edit(random)
  }
  return { kit, updates }
}

/** All updates in one transaction. */
function documentOf (kit, updates, gc) {
  const doc = kit.newDoc({ gc })
  kit.transact(doc, () => updates.forEach((update) => kit.apply(doc, update)))
  return doc
}

const idsOf = (update) => Y14.createContentIdsFromUpdate(update)

/** What @y/y 14 takes back, processing clients in ascending order as a hub does. */
function takenBack (nongc, ids, clientId) {
  const doc = new Y14.Doc({ gc: false })
  Y14.applyUpdate(doc, nongc)
  doc.clientID = clientId
  let taken = null
  doc.on('update', (update) => { taken = update })
  for (const half of [ids.inserts, ids.deletes]) half.clients = new Map([...half.clients].sort(([a], [b]) => a - b))
  Y14.undoContentIds(doc, ids, { ignoreRemoteMapChanges: true })
  return taken
}

/** Parts of the ranges of an IdSet. */
function someOf (set, random) {
  const some = Y14.createIdSet()
  set.forEach((range, client) => {
    if (random.chance(0.3)) return
    const from = random.chance(0.5) ? 0 : random.int(range.len)
    some.add(client, range.clock + from, 1 + random.int(range.len - from))
  })
  return some
}

function made (random) {
  const { kit, updates } = history(random)
  const merged = kit.Y.mergeUpdates(updates)
  const nongc = kit.encode(documentOf(kit, updates, false))
  const back = Y14.mergeContentIds(updates.filter(() => random.chance(0.4)).map(idsOf))
  const client = 7_000_000 + random.int(1000)
  const asked = {
    updates: updates.map(hex),
    back: hex(Y14.encodeContentIds(back)),
    client,
    forget: hex(Y14.encodeContentIds(Y14.createContentIds(someOf(idsOf(merged).deletes, random), Y14.createIdSet())))
  }
  const expected = {
    stateVector: hex(kit.Y.encodeStateVectorFromUpdate(merged)),
    ids: hex(Y14.encodeContentIds(idsOf(merged))),
    gc: hex(kit.encode(documentOf(kit, updates, true))),
    merged: hex(merged),
    nongc: hex(nongc),
    shown: shownBy(...updates)
  }
  return { asked, expected, kit, updates, back, client }
}

const figures = {
  histories: 0,
  of13: 0,
  updates: 0,
  takenBack: 0,
  notReturned: 0,
  /** How often the bytes were others than those of yjs, and what they show had to be looked at. */
  otherBytes: { merged: 0, gc: 0, nongc: 0, back: 0 }
}

function judge ({ expected, kit, updates, back, client }, found) {
  const { shown, nongc } = expected
  figures.histories++
  figures.of13 += kit.family === 13
  figures.updates += updates.length
  assertSame(found.stateVector, expected.stateVector, 'the state vector')
  assertSame(found.ids, expected.ids, 'the content ids')
  // The same bytes need no further judge.
  for (const what of ['merged', 'gc', 'nongc'].filter((what) => found[what] !== expected[what])) {
    figures.otherBytes[what]++
    assertSame(shownBy(bytes(found[what])), shown, what)
    assertSameState(contentsOf(bytes(found[what])), contentsOf(bytes(expected[what])), bytes(expected.merged), what)
  }
  assertSame(shownBy(bytes(found.forgotten)), shown, 'what was deleted, forgotten')
  assertSame(shownBy(bytes(found.part), bytes(found.rest)), shown, 'part and rest')
  const theirs = takenBack(bytes(nongc), back, client)
  if (theirs === null) {
    // There may have been formats that their document has deleted by itself.
    if (found.back !== null) assertSame(shownBy(bytes(nongc), bytes(found.back)), shown, 'nothing taken back')
    return
  }
  figures.takenBack++
  if (found.back !== hex(theirs)) {
    figures.otherBytes.back++
    // Before it took anything back, their document has deleted formats that did nothing there: these may differ, and nothing else.
    assertSame(unformatted(shownBy(bytes(nongc), bytes(found.back))), unformatted(shownBy(bytes(nongc), theirs)), 'what was taken back')
  }
  const returned = shownBy(bytes(nongc), bytes(found.back), bytes(found.again))
  if (returned === shown) return
  // Formats that overlap need not come back as they were; then it is as @y/y has it.
  figures.notReturned++
  const then = kit13.Y.mergeUpdates([bytes(nongc), bytes(found.back)])
  const again = takenBack(then, idsOf(bytes(found.back)), client + 1)
  assertSame(unformatted(returned), unformatted(again === null ? shownBy(then) : shownBy(then, again)), 'what was taken back, taken back')
}

/**
 * What the document in these updates shows. Applied together: when it has applied one, yjs deletes formats between which it sees no
 * text, whether or not that is still to come.
 */
function shownBy (...updates) {
  const oracle = new Oracle()
  oracle.apply(kit13.Y.mergeUpdates(updates))
  return oracle.dump()
}

const unformatted = (shown) => JSON.stringify(JSON.parse(shown, (key, value) => (key === 'format' ? undefined : value)))

/** The same ids, and the same deletions but for formats, which clients delete where they do nothing. */
function assertSameState (found, expected, merged, what) {
  const ids = ({ structs }) => JSON.stringify(structs.map(({ client, end }) => [client, end]).filter(([client], n, all) => all[n + 1]?.[0] !== client))
  assertSame(ids(found), ids(expected), `the state vector of ${what}`)
  const formats = new Set(Y14.decodeUpdate(merged).structs.filter(({ content }) => content instanceof Y14.ContentFormat).map(({ id }) => `${id.client} ${id.clock}`))
  const deleted = ({ deletes }) => new Set([...deletes].flatMap(([client, ranges]) => ranges.flatMap(([from, to]) => Array.from({ length: to - from }, (_, n) => `${client} ${from + n}`))))
  const [ours, theirs] = [deleted(found), deleted(expected)]
  const odd = [...ours].filter((id) => !theirs.has(id)).concat([...theirs].filter((id) => !ours.has(id) && !formats.has(id)))
  assertSame(odd.join(', '), '', `the deletions of ${what}`)
}

const seed = chosenSeed()
const end = performance.now() + 1000 * Number(option('seconds') ?? 20)
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (let n = 0; performance.now() < end; n++) {
  const random = new Random(seed * 1_000_003 + n)
  const one = made(random)
  process.stdout.write(JSON.stringify(one.asked) + '\n')
  const { value } = await answers.next()
  try {
    judge(one, JSON.parse(value))
  } catch (error) {
    process.stdout.write(JSON.stringify({ failed: `seed ${seed}, history ${n}: ${error.message}` }) + '\n')
    process.exit(1)
  }
}
process.stdout.write(JSON.stringify({ figures }) + '\n')
process.exit(0)
