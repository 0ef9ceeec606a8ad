// What the address of a room means: branches, escapes, history with `gc=false`, subprotocols.

import assert from 'node:assert/strict'
import { capability } from '../lib/suite.mjs'
import { fetchRoom, freshRoom, roomsUrl, settled, upgradeStatus } from '../lib/client.mjs'
import { Oracle } from '../lib/oracle.mjs'
import { until } from '../lib/wait.mjs'

/** How long the hub may take until it has folded a quiet room's stream; depends on its configuration. */
const COMPACTED_WITHIN_MS = Number(process.env.YHUB_COMPACTED_WITHIN_MS ?? 150_000)
/** A room that has clients may be served from memory as it was before compaction; `room.idle_ms` after the last one it is loaded anew. */
const ROOM_IDLE_MS = Number(process.env.YHUB_ROOM_IDLE_MS ?? 30_000)

const textOf = (client) => client.kit.text(client.doc, 'text').string()

capability('branches are separate', { hubOnly: true }, async (t) => {
  const room = freshRoom('branch')
  const open = (branch) => t.open(room, { params: branch ? { branch } : {} })
  const clients = { main: open('main'), unnamed: open(), draft: open('draft'), draft2: open('draft') }
  await Promise.all(Object.values(clients).map((client) => client.synced()))
  t.kit.text(clients.main.doc, 'text').insert(0, 'in main', {})
  t.kit.text(clients.draft.doc, 'text').insert(0, 'in draft', {})
  await settled([clients.main, clients.unnamed])
  await settled([clients.draft, clients.draft2])
  const [main, draft] = [open(), open('draft')]
  await Promise.all([main.synced(), draft.synced()])
  await until('joiners to have their branch', () => textOf(main) === 'in main' && textOf(draft) === 'in draft', {
    detail: () => `main "${textOf(main)}", draft "${textOf(draft)}"`
  })
  assert.equal(textOf(clients.unnamed), 'in main')
  assert.equal(textOf(clients.draft2), 'in draft')
})

capability('a docid with percent-escapes', {}, async (t) => {
  // The providers put the name into the URL as it is; people escape it themselves.
  const room = `${freshRoom('esc')}%2Fa%20b%C3%A9%25`
  const [here, there, elsewhere] = [t.open(room), t.open(room), t.open(room.replace('%2F', '%2E'))]
  await Promise.all([here.synced(), there.synced(), elsewhere.synced()])
  t.kit.text(here.doc, 'text').insert(0, 'escaped', {})
  await settled([here, there])
  t.kit.text(there.doc, 'text').insert(0, 'un', {})
  await settled([here, there])
  assert.equal(textOf(here), 'unescaped')
  assert.equal(textOf(elsewhere), '')
})

capability('escapes are decoded once; invalid ones are refused', { hubOnly: true }, async (t) => {
  const room = freshRoom('decode')
  const [plainName, escaped, twice] = [t.open(`${room}ab`), t.open(`${room}%61%62`), t.open(`${room}%2561b`)]
  await Promise.all([plainName.synced(), escaped.synced(), twice.synced()])
  t.kit.text(plainName.doc, 'text').insert(0, 'same room', {})
  await settled([plainName, escaped])
  assert.equal(textOf(escaped), 'same room')
  assert.equal(textOf(twice), '', 'a double escape names another room')
  for (const bad of ['%', '%4', '%zz', '%ff', 'a%00b']) {
    const status = await upgradeStatus(`${roomsUrl()}/${bad}`)
    assert.ok(status >= 400 && status < 500, `docid "${bad}" was answered with ${status}`)
  }
})

capability('gc=false sees history, before and after compaction', { hubOnly: true, early: true, ms: COMPACTED_WITHIN_MS + 90_000 }, async (t) => {
  const { kit } = t
  const room = freshRoom('history')
  const secret = `secret${freshRoom('word')}`
  const historian = t.open(room, { gc: false, params: { gc: 'false' } })
  const writer = t.open(room)
  await Promise.all([writer.synced(), historian.synced()])
  kit.text(writer.doc, 'text').insert(0, 'kept', {})
  kit.text(writer.doc, 'text').insert(2, secret, {})
  await settled([writer, historian])
  const then = kit.snapshot(historian.doc)
  kit.text(writer.doc, 'text').remove(2, secret.length)
  await settled([writer, historian])
  assert.equal(textOf(writer), 'kept')

  const seesHistory = async (when) => {
    const reader = t.open(room, { gc: false, params: { gc: 'false' } })
    await reader.synced()
    await until('the text as it is now', () => textOf(reader) === 'kept')
    const restored = kit.restore(reader.doc, then)
    assert.equal(kit.text(restored, 'text').string(), `ke${secret}pt`, `the past ${when} compaction`)
    reader.close()
  }
  await seesHistory('before')
  writer.close()
  historian.close()

  // Everybody has left. From compaction on the gc document does not hold what was deleted.
  const holdsSecret = ({ bytes }) => bytes.includes(secret)
  await until('a gc document without the deleted content', async () => !holdsSecret(await fetchRoom(room)), {
    ms: COMPACTED_WITHIN_MS,
    poll: ROOM_IDLE_MS + 2000
  })
  assert.ok(holdsSecret(await fetchRoom(room, { params: { gc: 'false' } })), 'the nongc document still holds it')
  await seesHistory('after')
  const joined = t.open(room)
  await joined.synced()
  await until('the text as it is now', () => textOf(joined) === 'kept')
  const oracle = new Oracle()
  for (const update of (await fetchRoom(room)).updates) oracle.apply(update)
  assert.equal(oracle.fingerprint(), joined.fingerprint())
})

capability('a subprotocol that is offered is answered with the first one', {}, async (t) => {
  const room = freshRoom('protocol')
  const client = t.open(room, { protocols: ['yjs.v1', 'other'] })
  const without = t.open(room)
  await Promise.all([client.synced(), without.synced()])
  assert.equal(client.traffic.protocol, 'yjs.v1')
  assert.equal(without.traffic.protocol, '')
  t.kit.text(client.doc, 'text').insert(0, 'spoken', {})
  await settled([client, without])
})
