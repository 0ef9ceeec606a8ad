// The judge: an independent yjs 13 document with gc off, fed with updates, and a dump of what a document shows.
//
// The dump walks the items themselves, not the typed views, so that a document means the same whether yjs 13 or @y/y 14 wrote it.

import * as Y from 'yjs'
import { plain } from './plain.mjs'
import { fingerprint } from './kit13.mjs'

export class Oracle {
  constructor () {
    this.doc = new Y.Doc({ gc: false })
  }

  apply (update) {
    Y.applyUpdate(this.doc, update)
  }

  encode () {
    return Y.encodeStateAsUpdate(this.doc)
  }

  fingerprint () {
    return fingerprint(this.doc)
  }

  dump () {
    return dumpDoc(this.doc)
  }
}

/** What the document in one or several updates shows, as JSON. */
export function dumpUpdates (...updates) {
  const oracle = new Oracle()
  for (const update of updates) oracle.apply(update)
  return oracle.dump()
}

function dumpDoc (doc) {
  const roots = [...doc.share.keys()].sort()
  // A root that somebody looked at and nobody wrote to is no part of the document.
  const shown = roots.map((name) => [name, dumpType(doc.share.get(name))]).filter(([, it]) => it.list.length + it.attrs.length > 0)
  return JSON.stringify(Object.fromEntries(shown))
}

function dumpType (type) {
  const list = []
  const format = {}
  const put = (what) => list.push(Object.keys(format).length ? { ...what, format: plain(format) } : what)
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted) continue
    const content = item.content
    if (content instanceof Y.ContentFormat) {
      if (content.value === null) delete format[content.key]
      else format[content.key] = content.value
    } else if (content instanceof Y.ContentString) {
      for (const unit of content.str) put({ text: unit })
    } else {
      for (const value of dumpContent(content)) put(value)
    }
  }
  const attrs = [...type._map].filter(([, item]) => !item.deleted).map(([key, item]) => [key, dumpContent(item.content).at(-1)])
  attrs.sort(([a], [b]) => (a < b ? -1 : 1))
  return { ...(type.nodeName && { name: type.nodeName }), ...(type.hookName && { hook: type.hookName }), list, attrs }
}

function dumpContent (content) {
  if (content instanceof Y.ContentType) return [{ type: dumpType(content.type) }]
  if (content instanceof Y.ContentDoc) return [{ doc: content.doc.guid, opts: plain(content.opts) }]
  if (content instanceof Y.ContentEmbed) return [{ value: plain(content.embed) }]
  if (content instanceof Y.ContentBinary) return [{ value: plain(content.content) }]
  return content.getContent().map((value) => ({ value: plain(value) }))
}

/** What an update brings: `{ structs: [{ client, clock, end }], deletes: Map(client → [[from, to]]) }`. Skips are left out. */
export function contentsOf (update) {
  const { structs, ds } = Y.decodeUpdate(update)
  return {
    structs: structs.filter((struct) => !(struct instanceof Y.Skip)).map(({ id, length }) => ({ client: id.client, clock: id.clock, end: id.clock + length })),
    deletes: new Map([...ds.clients].map(([client, items]) => [client, items.map(({ clock, len }) => [clock, clock + len])]))
  }
}

/** Fails with the place of the first difference; whole documents make unreadable messages. */
export function assertSame (actual, expected, what) {
  if (actual === expected) return
  let at = 0
  while (actual[at] === expected[at]) at++
  const around = (text) => text.slice(Math.max(0, at - 120), at + 120)
  throw new Error(`${what}: different from character ${at} on; is …${around(actual)}…, should be …${around(expected)}…`)
}
