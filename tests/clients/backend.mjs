// A back end in Node, with yjs and lib0 as they come from npm, against a hub: what it writes over HTTP an editor sees, and the other
// way round.
// Usage: YHUB_URL=http://127.0.0.1:4400 node backend.mjs
import assert from 'node:assert/strict'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as awareness from 'y-protocols/awareness'
import { WebsocketProvider } from 'y-websocket-3'
import WebSocket from 'ws'
import * as Y from 'yjs'

const root = process.env.YHUB_URL
const url = (name, query = '') => `${root}/api/${name}/v1/acme/report${query}`

// A request whose body and answer are lib0-any.
const ask = async (method, url, body) => {
  const encoder = encoding.createEncoder()
  if (body !== undefined) encoding.writeAny(encoder, body)
  const response = await fetch(url, { method, body: body === undefined ? undefined : encoding.toUint8Array(encoder) })
  assert.equal(response.headers.get('content-type'), 'application/x-lib0any')
  const answer = decoding.readAny(decoding.createDecoder(new Uint8Array(await response.arrayBuffer())))
  return { status: response.status, etag: response.headers.get('etag'), answer }
}

const until = async (what, ready) => {
  for (const end = Date.now() + 30_000; !ready(); await new Promise(resolve => setTimeout(resolve, 10))) {
    assert.ok(Date.now() < end, `waited too long for ${what}`)
  }
}

// An editor has the document open.
const editor = new Y.Doc()
const provider = new WebsocketProvider(`${root.replace('http', 'ws')}/api/ws/v1/acme`, 'report', editor, { WebSocketPolyfill: WebSocket, params: { user: 'ann' } })
await until('the editor to sync', () => provider.synced)
editor.getText('body').insert(0, 'Hello wrld')

// The back end reads, mends, and writes the difference.
const doc = new Y.Doc()
await until('the text to be stored', () => provider.wsconnected)
let read
do {
  read = await ask('GET', url('ydoc'))
  Y.applyUpdate(doc, read.answer.doc)
} while (doc.getText('body').toString() !== 'Hello wrld')
const before = Y.encodeStateVector(doc)
doc.getText('body').insert(7, 'o')
doc.getMap('meta').set('checked', true)
const update = Y.encodeStateAsUpdate(doc, before)
const written = await ask('PATCH', url('ydoc', '?user=spelling-bot'), { update, customAttributions: [{ k: 'source', v: 'bot' }] })
assert.deepEqual([written.status, written.answer.success], [200, true])
await until('the editor to see it', () => editor.getText('body').toString() === 'Hello world' && editor.getMap('meta').get('checked') === true)

// On the condition that nothing has changed.
const stale = await fetch(url('ydoc'), { method: 'PATCH', headers: { 'if-match': read.etag, 'content-type': 'application/json' }, body: JSON.stringify({ update: Buffer.from(update).toString('base64') }) })
assert.equal(stale.status, 412)

// Who is there.
const here = new awareness.Awareness(new Y.Doc())
here.setLocalState({ name: 'bot' })
const present = await ask('PATCH', url('ydoc'), { awareness: awareness.encodeAwarenessUpdate(here, [here.clientID]) })
assert.equal(present.status, 200)
await until('the editor to see the bot', () => provider.awareness.getStates().get(here.clientID)?.name === 'bot')
const seen = await ask('GET', url('ydoc', '?awareness=true'))
const there = new awareness.Awareness(new Y.Doc())
awareness.applyAwarenessUpdate(there, seen.answer.awareness, null)
assert.equal(there.getStates().get(here.clientID).name, 'bot')

// What happened, and taking back what the bot did.
const { activity } = (await ask('GET', url('activity', '?customAttributions=true'))).answer
assert.deepEqual(activity.map(entry => entry.by), ['ann', 'spelling-bot'])
assert.deepEqual(activity[1].customAttributions, [{ k: 'source', v: 'bot' }])
const rolledBack = await ask('POST', url('rollback', '?user=ann'), { withCustomAttributions: [{ k: 'source', v: 'bot' }] })
assert.equal(rolledBack.status, 200)
await until('the editor to be as before', () => editor.getText('body').toString() === 'Hello wrld' && !editor.getMap('meta').has('checked'))
const then = (await ask('GET', url('changeset', `?to=${activity[1].to}&ydoc=true`))).answer
const old = new Y.Doc({ gc: false })
Y.applyUpdate(old, then.ydoc)
assert.equal(old.getText('body').toString(), 'Hello world')

// Deleted: the editor is cut off for good, and the back end is told.
let code = null
provider.on('connection-close', event => {
  if (code === null && event !== null) {
    code = event.code
    provider.disconnect()
  }
})
assert.equal((await ask('DELETE', url('ydoc'))).status, 200)
await until('the editor to be cut off', () => code === 4404)
const gone = await ask('GET', url('ydoc'))
assert.deepEqual([gone.status, gone.answer.code], [404, 'doc-deleted'])
assert.equal((await ask('POST', `${url('ydoc')}/restore`)).status, 200)
const back = new Y.Doc()
Y.applyUpdate(back, (await ask('GET', url('ydoc'))).answer.doc)
assert.equal(back.getText('body').toString(), 'Hello wrld')
provider.destroy()
console.log('a back end and an editor have worked on one document')
process.exit(0)
