// Who may come in and who may write, with signed tokens and tickets, over the life of a connection.

import assert from 'node:assert/strict'
import { capability } from '../lib/suite.mjs'
import { fetchRoom, freshRoom, settled } from '../lib/client.mjs'
import { comeBackWith, cut, renew, show, ticketFor, tokenFor } from '../lib/credentials.mjs'
import * as kit13 from '../lib/kit13.mjs'
import { until, within } from '../lib/wait.mjs'

/** Seconds that a token lasts whose end is waited for. Ends are whole seconds, so it is up to one less. */
const SHORT = 3

const textOf = (client) => client.kit.text(client.doc, 'text').string()
const write = (client, words) => client.kit.text(client.doc, 'text').insert(0, words, {})
const refusals = (client, status) => client.traffic.refusals.filter((refused) => refused === status).length
const sees = (client, words) => until(`${client.name} to see "${words}"`, () => textOf(client).includes(words), { detail: () => textOf(client) })

/** What the hub gives somebody who comes now. */
async function storedText (room) {
  const { updates } = await fetchRoom(room, { params: { yauth: tokenFor('stranger', 'r') } })
  const doc = kit13.newDoc({ gc: true })
  for (const update of updates) kit13.apply(doc, update)
  return kit13.text(doc, 'text').string()
}

/** A second writer, who sees what arrives. */
async function witness (t, room) {
  const client = t.open(room, { params: { yauth: tokenFor('witness', 'rw') } })
  await client.synced()
  return client
}

let answers = 0
/** Nothing of what `reader` has typed is anywhere but at the reader, though it hears of what others write. */
async function onlyReads (room, reader, other, typed) {
  write(reader, typed)
  // What is answered after it was sent has been answered in view of it.
  const answered = reader.nextStep2()
  reader.sendStep1()
  await within(`an answer to ${reader.name}`, answered)
  const written = `answer ${++answers}. `
  write(other, written)
  await sees(reader, written)
  assert.ok(textOf(reader).includes(typed))
  assert.ok(!textOf(other).includes(typed), `what may not be written has arrived: ${textOf(other)}`)
  const stored = await storedText(room)
  assert.ok(stored.includes(written) && !stored.includes(typed), `what may not be written is stored: ${stored}`)
}

capability('a token in the parameters lets in', { hubOnly: true }, async (t) => {
  const room = freshRoom('token')
  const [ann, bob] = ['ann', 'bob'].map((user) => t.open(room, { params: { yauth: tokenFor(user, 'rw') } }))
  await Promise.all([ann.synced(), bob.synced()])
  write(ann, 'by a token')
  await settled([ann, bob])
  assert.deepEqual([textOf(bob), ann.traffic.refusals], ['by a token', []])
  const nobody = t.open(room)
  await until('who shows nothing to be refused', () => refusals(nobody, 401) > 0)
  assert.equal(nobody.traffic.opened, 0)
})

const hasProtocols = (stack) => stack.id !== 'y1'
capability('a token as a subprotocol lets in', { hubOnly: true, stacks: hasProtocols }, async (t) => {
  const room = freshRoom('subprotocol')
  const [token, over] = [tokenFor('ann', 'rw'), tokenFor('bob', 'rw', { expiresIn: -60 })]
  const alone = t.open(room, { protocols: [`yauth-${token}`] })
  const beside = t.open(room, { protocols: ['y-sync', `yauth-${token}`] })
  const late = t.open(room, { protocols: ['y-sync', `yauth-${over}`] })
  await Promise.all([alone.synced(), beside.synced()])
  assert.deepEqual([alone.traffic.protocol, beside.traffic.protocol], [`yauth-${token}`, 'y-sync'])
  write(alone, 'by a subprotocol')
  await settled([alone, beside])
  await until('an ended token to be refused', () => refusals(late, 401) > 0)
  late.provider.protocols = ['y-sync', `yauth-${tokenFor('bob', 'rw')}`]
  await late.synced()
  await settled([alone, late])
})

capability('a ticket lets in once; a fresh one comes in', { hubOnly: true }, async (t) => {
  const room = freshRoom('ticket')
  const other = await witness(t, room)
  const client = t.open(room, { params: { yauth: await ticketFor('ann', room, 'rw') } })
  await client.synced()
  write(client, 'by a ticket')
  await settled([client, other])
  client.cut()
  await until('the used ticket to be refused', () => refusals(client, 401) > 0)
  assert.equal(client.traffic.opened, 1)
  write(client, 'meanwhile ')
  show(client.provider, await ticketFor('ann', room, 'rw'))
  await client.synced()
  await settled([client, other])
  assert.deepEqual([textOf(other), client.traffic.opened], ['meanwhile by a ticket', 2])
})

capability('a reader sees the edits of others, and writes nothing', { hubOnly: true }, async (t) => {
  const room = freshRoom('reader')
  const other = await witness(t, room)
  write(other, 'before ')
  const reader = t.open(room, { params: { yauth: tokenFor('rea', 'r') } })
  await reader.synced()
  await sees(reader, 'before')
  await onlyReads(room, reader, other, 'typed')
  // It holds what the hub lacks, and offers it again when it comes back.
  reader.cut()
  await until('the reader to be away', () => !reader.provider.wsconnected)
  await reader.synced()
  await onlyReads(room, reader, other, 'insisted')
  const byTicket = t.open(room, { params: { yauth: await ticketFor('rea', room, 'r') } })
  await byTicket.synced()
  await onlyReads(room, byTicket, other, 'ticketed')
})

capability('a token that has ended is refused until there is a fresh one', { hubOnly: true }, async (t) => {
  const room = freshRoom('ended')
  const other = await witness(t, room)
  const client = t.open(room, { params: { yauth: tokenFor('ann', 'rw', { expiresIn: -60 }) } })
  write(client, 'written outside')
  await until('refusals, again and again', () => refusals(client, 401) > 1)
  assert.deepEqual([client.traffic.opened, textOf(other)], [0, ''])
  show(client.provider, tokenFor('ann', 'rw'))
  await client.synced()
  await settled([client, other])
  assert.equal(textOf(other), 'written outside')
})

capability('a token ends on the open connection: back with a fresh one, nothing is lost', { hubOnly: true, early: true }, async (t) => {
  const room = freshRoom('ends')
  const other = await witness(t, room)
  const client = t.open(room, { params: { yauth: tokenFor('ann', 'rw', { expiresIn: SHORT }) } })
  comeBackWith(client.provider, async () => tokenFor('ann', 'rw'))
  await client.synced()
  let [typed, back] = [0, 0]
  // Typing goes on before, while and after it is closed.
  await until('the connection to end and to come back', () => {
    write(client, `${++typed} `)
    if (client.traffic.closes.length > 0 && client.provider.synced) back++
    return back === 10
  }, { detail: () => `close codes [${client.traffic.closes}]` })
  await settled([client, other])
  assert.deepEqual([client.traffic.closes, client.traffic.opened, client.traffic.refusals], [[4401], 2, []])
  const expected = Array.from({ length: typed }, (_, n) => typed - n)
  assert.deepEqual(textOf(other).trim().split(' ').map(Number), expected)
})

capability('a token shown on the open connection keeps it open', { hubOnly: true, early: true }, async (t) => {
  const room = freshRoom('renewed')
  const short = tokenFor('ann', 'rw', { expiresIn: SHORT })
  const open = () => t.open(room, { params: { yauth: short } })
  const [stays, lapses] = [open(), open()]
  await Promise.all([stays.synced(), lapses.synced()])
  assert.equal(await within('the answer to a new token', renew(stays.provider, tokenFor('ann', 'rw'))), 'rw')
  // The other one shows when the first token has ended.
  await until('the connection that was not renewed to be closed', () => lapses.traffic.closes.length > 0)
  assert.deepEqual(lapses.traffic.closes, [4401])
  const other = await witness(t, room)
  write(stays, 'still here')
  await settled([stays, other])
  assert.deepEqual([textOf(other), stays.traffic.closes, stays.traffic.opened], ['still here', [], 1])
})

capability('fewer rights on the open connection: closed with 4401, back as a reader', { hubOnly: true }, async (t) => {
  const room = freshRoom('fewer')
  const other = await witness(t, room)
  for (const [user, takeAway] of [
    ['ann', (client) => { renew(client.provider, tokenFor('ann', 'r')) }],
    ['bob', () => cut('bob', room)]
  ]) {
    const client = t.open(room, { params: { yauth: tokenFor(user, 'rw') } })
    comeBackWith(client.provider, async () => tokenFor(user, 'r'))
    await client.synced()
    write(client, `${user} was here `)
    await settled([client, other])
    await takeAway(client)
    await until(`${user} to be closed`, () => client.traffic.closes.length > 0)
    await client.synced()
    assert.deepEqual([client.traffic.closes, client.traffic.opened, client.traffic.refusals], [[4401], 2, []])
    await onlyReads(room, client, other, `${user} again`)
    assert.ok((await storedText(room)).includes(`${user} was here`))
  }
})
