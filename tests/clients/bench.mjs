// How long yjs 13 takes for what `cargo bench -p yhub-content --bench updates` measures; that calls this with a folder of inputs.
// Prints the milliseconds of each operation as JSON, the best of several runs.

import fs from 'node:fs'
import path from 'node:path'
import * as Y from 'yjs'

const folder = process.argv[2]
const read = (name) => new Uint8Array(fs.readFileSync(path.join(folder, name)))

/** Updates, each behind its length in four bytes. */
function readAll (name) {
  const bytes = read(name)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const all = []
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at, true)
    all.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return all
}

const [document, half, few, many] = [read('document'), read('half'), readAll('few'), readAll('many')]

function collected () {
  const doc = new Y.Doc({ gc: true })
  Y.applyUpdate(doc, document)
  return Y.encodeStateAsUpdate(doc)
}

const operations = {
  'state vector': () => Y.encodeStateVectorFromUpdate(document),
  'merge, document + 200 small': () => Y.mergeUpdates([document, ...few]),
  'merge, 20,000 small': () => Y.mergeUpdates(many),
  'difference, half known': () => Y.diffUpdate(document, half),
  'gc merge': collected
}

const took = {}
for (const [name, run] of Object.entries(operations)) {
  const begun = performance.now()
  let best = Infinity
  for (let n = 0; n < 3 && performance.now() - begun < 4000; n++) {
    const start = performance.now()
    run()
    best = Math.min(best, performance.now() - start)
  }
  took[name] = best
}
console.log(JSON.stringify(took))
