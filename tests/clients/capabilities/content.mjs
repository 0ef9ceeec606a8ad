// What a document can hold: written by one client, read by another one of the same stack, and compared with what the hub
// gives to somebody who joins with nothing.

import assert from 'node:assert/strict'
import { capability } from '../lib/suite.mjs'
import { fetchRoom, freshRoom, settled } from '../lib/client.mjs'
import { assertSame, dumpUpdates } from '../lib/oracle.mjs'
import { until } from '../lib/wait.mjs'

/** Two synced clients in a fresh room. */
async function pair (t, hint) {
  const room = freshRoom(hint)
  const writer = t.open(room)
  const reader = t.open(room)
  await Promise.all([writer.synced(), reader.synced()])
  return { room, writer, reader }
}

/** Both documents are equal, and so is the document that a third party is given. */
async function agreed (t, { room, writer, reader }) {
  await settled([writer, reader])
  const shown = dumpUpdates(t.kit.encode(writer.doc))
  assertSame(dumpUpdates(t.kit.encode(reader.doc)), shown, 'what the reader shows')
  assertSame(dumpUpdates(...(await fetchRoom(room)).updates), shown, 'what a joiner sees')
}

capability('text with formats and embeds', {}, async (t) => {
  const it = await pair(t, 'text')
  const text = t.kit.text(it.writer.doc, 'text')
  text.insert(0, 'hello wörld 𝄞', {})
  text.format(0, 5, { bold: true })
  text.format(3, 4, { color: 'red', link: { href: 'a' } })
  text.embed(6, { image: 'cat' }, { width: 3 })
  text.insert(text.length(), '!', { italic: true })
  text.format(0, 2, { bold: null })
  await agreed(t, it)
  assert.deepEqual(t.kit.text(it.reader.doc, 'text').read(), [
    { insert: 'he' },
    { insert: 'l', format: { bold: true } },
    { insert: 'lo', format: { bold: true, color: 'red', link: { href: 'a' } } },
    { insert: ' ', format: { color: 'red', link: { href: 'a' } } },
    { insert: { image: 'cat' }, format: { width: 3 } },
    { insert: 'w', format: { color: 'red', link: { href: 'a' } } },
    { insert: 'örld 𝄞' },
    { insert: '!', format: { italic: true } }
  ])
})

capability('maps', {}, async (t) => {
  const it = await pair(t, 'map')
  const map = t.kit.map(it.writer.doc, 'map')
  map.set('a', 1)
  map.set('b', 'text')
  map.set('', { z: 1, 10: [null, true], 2: 'x' })
  map.set('a', 2)
  map.set('gone', 'soon')
  map.remove('gone')
  await agreed(t, it)
  assert.deepEqual(t.kit.map(it.reader.doc, 'map').read(), { '': { 2: 'x', 10: [null, true], z: 1 }, a: 2, b: 'text' })
})

capability('arrays', {}, async (t) => {
  const it = await pair(t, 'list')
  const list = t.kit.list(it.writer.doc, 'list')
  list.insert(0, [1, 'two', null, [4], { five: 5 }])
  list.insert(2, ['between', false])
  list.remove(0, 2)
  await agreed(t, it)
  assert.deepEqual(t.kit.list(it.reader.doc, 'list').read(), ['between', false, null, [4], { five: 5 }])
})

capability('xml: elements, attributes, text', {}, async (t) => {
  const it = await pair(t, 'xml')
  const xml = t.kit.xml(it.writer.doc, 'xml')
  xml.insert(0, [
    { name: 'p', attrs: { class: 'lead', id: '7' }, children: ['hello', { name: 'br', attrs: {}, children: [] }] },
    { name: 'ul', attrs: {}, children: [{ name: 'li', attrs: { n: '1' }, children: ['one'] }] }
  ])
  xml.child(0).setAttribute('class', 'intro')
  xml.child(0).removeAttribute('id')
  xml.child(0).type(0, 5, ' world')
  await agreed(t, it)
  assert.deepEqual(t.kit.xml(it.reader.doc, 'xml').read(), [
    { name: 'p', attrs: { class: 'intro' }, children: ['hello world', { name: 'br', attrs: {}, children: [] }] },
    { name: 'ul', attrs: {}, children: [{ name: 'li', attrs: { n: '1' }, children: ['one'] }] }
  ])
})

capability('xml hooks', { stacks: (stack) => stack.kit.family === 13 }, async (t) => {
  const it = await pair(t, 'hook')
  t.kit.xml(it.writer.doc, 'xml').insert(0, [{ hook: 'video', map: { src: 'a.webm', at: 3 } }])
  await agreed(t, it)
  assert.deepEqual(t.kit.xml(it.reader.doc, 'xml').read(), [{ hook: 'video', map: { at: 3, src: 'a.webm' } }])
})

capability('nested types', {}, async (t) => {
  const it = await pair(t, 'nested')
  t.kit.map(it.writer.doc, 'map').set('board', { $map: { cards: { $list: [{ $text: 'first' }, 2, { $map: { done: false } }] } } })
  await agreed(t, it)
  const cards = (doc) => t.kit.map(doc, 'map').child('board', 'map').child('cards', 'list')
  // The reader goes on where the writer began, inside the nested types.
  cards(it.reader.doc).child(0, 'text').insert(5, ' card', {})
  cards(it.reader.doc).child(2, 'map').set('done', true)
  cards(it.reader.doc).insert(3, [{ $list: ['deep', { $text: 'er' }] }])
  await agreed(t, it)
  assert.equal(cards(it.writer.doc).child(0, 'text').string(), 'first card')
  assert.equal(cards(it.writer.doc).child(2, 'map').get('done'), true)
  assert.equal(cards(it.writer.doc).child(3, 'list').child(1, 'text').string(), 'er')
})

capability('subdocuments', {}, async (t) => {
  const it = await pair(t, 'subdocs')
  const guid = freshRoom('sub')
  t.kit.map(it.writer.doc, 'map').set('page', t.kit.newDoc({ guid, meta: { title: 'Page', n: 5 }, autoLoad: true }))
  await settled([it.writer, it.reader])
  const page = t.kit.map(it.reader.doc, 'map').get('page')
  assert.ok(t.kit.isDoc(page), 'the reader sees a subdocument')
  assert.deepEqual([page.guid, page.meta, page.autoLoad, page.shouldLoad], [guid, { title: 'Page', n: 5 }, true, true])

  // The content of a subdocument is a room of its own, named by its guid.
  const inWriter = t.open(guid, { doc: t.kit.map(it.writer.doc, 'map').get('page') })
  const inReader = t.open(guid, { doc: page })
  await Promise.all([inWriter.synced(), inReader.synced()])
  t.kit.text(inWriter.doc, 'text').insert(0, 'inside', {})
  await settled([inWriter, inReader])
  assert.equal(t.kit.text(page, 'text').string(), 'inside')
  await agreed(t, it)
})

capability('deletes', {}, async (t) => {
  const it = await pair(t, 'deletes')
  const { kit } = t
  const { doc } = it.writer
  kit.text(doc, 'text').insert(0, 'one two three', {})
  kit.list(doc, 'list').insert(0, [1, 2, { $map: { a: { $text: 'x' } } }, 4])
  kit.map(doc, 'map').set('key', { $list: [1] })
  kit.xml(doc, 'xml').insert(0, [{ name: 'p', attrs: { a: '1' }, children: ['gone'] }, { name: 'q', attrs: {}, children: [] }])
  await settled([it.writer, it.reader])
  // Deleted by the one who did not write it.
  const other = it.reader.doc
  kit.text(other, 'text').remove(4, 4)
  kit.list(other, 'list').remove(1, 2)
  kit.map(other, 'map').remove('key')
  kit.xml(other, 'xml').remove(0, 1)
  await agreed(t, it)
  assert.equal(kit.text(doc, 'text').string(), 'one three')
  assert.deepEqual(kit.list(doc, 'list').read(), [1, 4])
  assert.deepEqual(kit.map(doc, 'map').keys(), [])
  assert.deepEqual(kit.xml(doc, 'xml').read(), [{ name: 'q', attrs: {}, children: [] }])
})

capability('bigint, -0 and bytes as values', {}, async (t) => {
  const it = await pair(t, 'values')
  const values = [
    9223372036854775807n, -9223372036854775808n, 5n, -0, 0, Uint8Array.of(0, 255, 128), 2 ** 40, -(2 ** 31), 0.1, 1e300,
    { n: 1n, deep: { list: [-0, 7n] } }, '', '\u0000', true, null
  ]
  const map = t.kit.map(it.writer.doc, 'map')
  values.forEach((value, n) => map.set(`v${n}`, value))
  // yjs 13 takes no bare bigint into a list.
  const items = values.map((value) => (typeof value === 'bigint' ? [value] : value))
  t.kit.list(it.writer.doc, 'list').insert(0, items)
  await agreed(t, it)
  const reader = t.kit.map(it.reader.doc, 'map')
  values.forEach((value, n) => assert.deepEqual(reader.get(`v${n}`), value, `map value ${n}`))
  const read = t.kit.list(it.reader.doc, 'list')
  items.forEach((value, n) => assert.deepEqual(read.get(n), value, `list value ${n}`))
})

capability('a large update (2 MB) passes', {}, async (t) => {
  const it = await pair(t, 'large')
  const piece = 'All work and no play makes a dull document. '
  t.kit.text(it.writer.doc, 'text').insert(0, piece.repeat(Math.ceil(2_000_000 / piece.length)), {})
  await until('the 2 MB at the reader', () => t.kit.text(it.reader.doc, 'text').length() >= 2_000_000, {
    detail: () => `${t.kit.text(it.reader.doc, 'text').length()} characters`
  })
  await settled([it.writer, it.reader])
})
