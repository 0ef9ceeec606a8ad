// What the tests do with a document, in terms of yjs 13. `kit14.mjs` offers the same in terms of @y/y 14.
//
// A handle wraps one shared type. `spec` values make nested types: `{ $text: 'abc' }`, `{ $map: { k: spec } }`,
// `{ $list: [spec] }`; anything else is a plain value. A tree is a string, `{ name, attrs, children }`, or `{ hook, map }`.

import * as Y from 'yjs'
import { plain } from './plain.mjs'
import { snapshotText } from './frames.mjs'

export const family = 13
export { Y }

export const newDoc = (options) => new Y.Doc(options)
export const encode = (doc, stateVector) => Y.encodeStateAsUpdate(doc, stateVector)
export const apply = (doc, update, origin) => Y.applyUpdate(doc, update, origin)
export const stateVector = (doc) => Y.encodeStateVector(doc)
/** State vector and deletions as text; equal for equal documents of either family. */
export const fingerprint = (doc) => snapshotText(Y.encodeSnapshot(Y.snapshot(doc)))
export const snapshot = (doc) => Y.snapshot(doc)
/** A document as it was at `snapshot`; `doc` must have gc off. */
export const restore = (doc, snapshot) => Y.createDocFromSnapshot(doc, snapshot)
export const transact = (doc, change) => doc.transact(change)

function made (spec) {
  if (spec?.$text !== undefined) return new Y.Text(spec.$text)
  if (spec?.$map !== undefined) return new Y.Map(Object.entries(spec.$map).map(([key, value]) => [key, made(value)]))
  if (spec?.$list !== undefined) return Y.Array.from(spec.$list.map(made))
  return spec
}

function kindOf (y) {
  if (y instanceof Y.Text) return 'text'
  if (y instanceof Y.Map) return 'map'
  if (y instanceof Y.Array) return 'list'
  if (y instanceof Y.XmlFragment) return 'xml'
  return typeof y
}

function handle (y, kind) {
  if (kindOf(y) !== kind) throw new Error(`expected a ${kind}, found a ${kindOf(y)}`)
  return { text: textHandle, map: mapHandle, list: listHandle, xml: xmlHandle }[kind](y)
}

const textHandle = (y) => ({
  insert: (at, string, format) => y.insert(at, string, format),
  embed: (at, object, format) => y.insertEmbed(at, object, format),
  format: (at, length, format) => y.format(at, length, format),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  string: () => y.toString(),
  read: () => y.toDelta().map((op) => ({ insert: plain(op.insert), ...(op.attributes && { format: plain(op.attributes) }) }))
})

const mapHandle = (y) => ({
  set: (key, spec) => y.set(key, made(spec)),
  remove: (key) => y.delete(key),
  get: (key) => y.get(key),
  keys: () => [...y.keys()].sort(),
  child: (key, kind) => handle(y.get(key), kind),
  read: () => Object.fromEntries([...y.keys()].sort().map((key) => [key, readValue(y.get(key))]))
})

const listHandle = (y) => ({
  insert: (at, specs) => y.insert(at, specs.map(made)),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  get: (at) => y.get(at),
  child: (at, kind) => handle(y.get(at), kind),
  read: () => y.toArray().map(readValue)
})

function readValue (value) {
  if (value instanceof Y.Doc) return { $doc: value.guid }
  return value instanceof Y.AbstractType ? handle(value, kindOf(value)).read() : plain(value)
}

function grown (tree) {
  if (typeof tree === 'string') return new Y.XmlText(tree)
  if (tree.hook) {
    const hook = new Y.XmlHook(tree.hook)
    for (const key in tree.map) hook.set(key, tree.map[key])
    return hook
  }
  const element = new Y.XmlElement(tree.name)
  for (const key in tree.attrs) element.setAttribute(key, tree.attrs[key])
  if (tree.children?.length) element.insert(0, tree.children.map(grown))
  return element
}

function readTree (y) {
  if (y instanceof Y.XmlText) return y.toDelta().map((op) => op.insert).join('')
  if (y instanceof Y.XmlHook) return { hook: y.hookName, map: mapHandle(y).read() }
  return { name: y.nodeName, attrs: plain(y.getAttributes()), children: y.toArray().map(readTree) }
}

const xmlHandle = (y) => ({
  insert: (at, trees) => y.insert(at, trees.map(grown)),
  remove: (at, length) => y.delete(at, length),
  length: () => y.length,
  child: (at) => handle(y.get(at), 'xml'),
  setAttribute: (key, value) => y.setAttribute(key, value),
  removeAttribute: (key) => y.removeAttribute(key),
  /** Types into the text node at child `node`. */
  type: (node, at, string) => y.get(node).insert(at, string),
  read: () => y.toArray().map(readTree)
})

export const text = (doc, name) => textHandle(doc.getText(name))
export const map = (doc, name) => mapHandle(doc.getMap(name))
export const list = (doc, name) => listHandle(doc.getArray(name))
export const xml = (doc, name) => xmlHandle(doc.getXmlFragment(name))

/** Whether a value of `map.get` is a subdocument. */
export const isDoc = (value) => value instanceof Y.Doc
