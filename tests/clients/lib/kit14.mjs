// What the tests do with a document, in terms of @y/y 14, where one type is text, map, list and element at once.
// The names and the meaning of specs and trees are those of `kit13.mjs`.

import * as Y from '@y/y'
import { plain } from './plain.mjs'
import { snapshotText } from './frames.mjs'

export const family = 14
export { Y }

export const newDoc = (options) => new Y.Doc(options)
export const encode = (doc, stateVector) => Y.encodeStateAsUpdate(doc, stateVector)
export const apply = (doc, update, origin) => Y.applyUpdate(doc, update, origin)
export const stateVector = (doc) => Y.encodeStateVector(doc)
export const fingerprint = (doc) => snapshotText(Y.encodeSnapshot(Y.snapshot(doc)))
export const snapshot = (doc) => Y.snapshot(doc)
export const restore = (doc, snapshot) => Y.createDocFromSnapshot(doc, snapshot)
export const transact = (doc, change) => Y.transact(doc, change)

const isSpec = (spec) => spec?.$text !== undefined || spec?.$map !== undefined || spec?.$list !== undefined

/** Content goes into a type after the type is part of the document. */
function fill (y, spec) {
  if (spec.$text) y.insert(0, spec.$text)
  for (const key in spec.$map) setIn(y, key, spec.$map[key])
  spec.$list?.forEach((value, at) => insertInto(y, at, value))
}

function setIn (y, key, spec) {
  if (!isSpec(spec)) return y.setAttr(key, spec)
  const child = new Y.Type()
  y.setAttr(key, child)
  fill(child, spec)
}

function insertInto (y, at, spec) {
  if (!isSpec(spec)) return y.insert(at, [spec])
  const child = new Y.Type()
  y.insert(at, [child])
  fill(child, spec)
}

function handle (y, kind) {
  if (!(y instanceof Y.Type)) throw new Error(`expected a ${kind}, found a ${typeof y}`)
  return { text: textHandle, map: mapHandle, list: listHandle, xml: xmlHandle }[kind](y)
}

const inOne = (y, change) => Y.transact(y.doc, change)

/** Runs of text and single values of a type, in order, as `{ insert, format? }`. */
function ops (y) {
  const out = []
  for (const op of y.toDelta().children) {
    const format = op.format && Object.keys(op.format).length ? { format: plain(op.format) } : {}
    if (typeof op.insert === 'string') out.push({ insert: op.insert, ...format })
    else for (const value of op.insert) out.push({ insert: readValue(value), ...format })
  }
  return out
}

const textHandle = (y) => ({
  insert: (at, string, format) => y.insert(at, string, format),
  embed: (at, object, format) => y.insert(at, [object], format),
  format: (at, length, format) => y.format(at, length, format),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  string: () => ops(y).filter((op) => typeof op.insert === 'string').map((op) => op.insert).join(''),
  read: () => ops(y)
})

const mapHandle = (y) => ({
  set: (key, spec) => inOne(y, () => setIn(y, key, spec)),
  remove: (key) => y.deleteAttr(key),
  get: (key) => y.getAttr(key),
  keys: () => Object.keys(y.getAttrs()).sort(),
  child: (key, kind) => handle(y.getAttr(key), kind),
  read: () => Object.fromEntries(Object.keys(y.getAttrs()).sort().map((key) => [key, readValue(y.getAttr(key))]))
})

const listHandle = (y) => ({
  insert: (at, specs) => inOne(y, () => specs.forEach((spec, n) => insertInto(y, at + n, spec))),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  get: (at) => y.get(at),
  child: (at, kind) => handle(y.get(at), kind),
  read: () => ops(y).map((op) => op.insert)
})

function readValue (value) {
  if (value instanceof Y.Doc) return { $doc: value.guid }
  if (!(value instanceof Y.Type)) return plain(value)
  return { attrs: mapHandle(value).read(), children: ops(value), ...(value.name && { name: value.name }) }
}

function growInto (y, at, tree) {
  if (typeof tree === 'string') return y.insert(at, tree)
  const element = new Y.Type(tree.name)
  y.insert(at, [element])
  for (const key in tree.attrs) element.setAttr(key, tree.attrs[key])
  let end = 0
  for (const child of tree.children ?? []) {
    growInto(element, end, child)
    end = element.length
  }
}

function readTree (value) {
  if (!(value instanceof Y.Type)) return value
  return { name: value.name, attrs: plain(value.getAttrs()), children: value.toArray().map(readTree) }
}

const xmlHandle = (y) => ({
  insert: (at, trees) => inOne(y, () => [...trees].reverse().forEach((tree) => growInto(y, at, tree))),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  child: (at) => handle(y.get(at), 'xml'),
  setAttribute: (key, value) => y.setAttr(key, value),
  removeAttribute: (key) => y.deleteAttr(key),
  /** Types into the element itself: here text is no node of its own. `node` is where that text begins. */
  type: (node, at, string) => y.insert(node + at, string),
  read: () => y.toArray().map(readTree)
})

export const text = (doc, name) => textHandle(doc.get(name))
export const map = (doc, name) => mapHandle(doc.get(name))
export const list = (doc, name) => listHandle(doc.get(name))
export const xml = (doc, name) => xmlHandle(doc.get(name))

export const isDoc = (value) => value instanceof Y.Doc
