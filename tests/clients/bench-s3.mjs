// What a large document in S3 costs: written over HTTP, compacted into the bucket, loaded cold, and asked for its history.
// Usage, from the root of the project:
//   cargo build --release --bin yhub && cargo build --release -p yhub-testkit --example s3
//   node tests/clients/bench-s3.mjs [MB]
// The hub runs on embedded engines, its assets in a server of its own that speaks S3. Peaks are of the hub's resident memory, each
// from the step before.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'

const MB = 1 << 20
const size = Number(process.argv[2] ?? 40)
const bin = join(import.meta.dirname, '../../target/release')
const dir = mkdtempSync(join(tmpdir(), 'yhub-s3-'))
const listen = '127.0.0.1:4477'
const url = (name, query = '') => `http://${listen}/api/${name}/v1/acme/large${query}`

const s3 = spawn(join(bin, 'examples/s3'), { stdio: ['pipe', 'pipe', 'inherit'] })
const [endpoint, accessKey, secretKey] = await new Promise(resolve => createInterface(s3.stdout).once('line', line => resolve(line.split(' '))))

const start = async () => {
  const env = {
    ...process.env,
    YHUB__ASSETS__PLUGINS: '["s3"]',
    YHUB__S3__ENDPOINT: endpoint,
    YHUB__S3__BUCKET: 'documents',
    YHUB__S3__CREATE_BUCKET: 'true',
    YHUB__S3__ACCESS_KEY: accessKey,
    YHUB__S3__SECRET_KEY: secretKey,
    YHUB__WORKER__TASK_DEBOUNCE_MS: '1000',
    YHUB__STREAM__MIN_MESSAGE_LIFETIME_MS: '1000',
    // One client does all of it, as fast as it goes; 50 of a large document are sent at once.
    YHUB__LIMITS__REST_PER_SECOND: '0',
    YHUB__LIMITS__REST_PER_SECOND_OF_USER: '0',
    YHUB__LIMITS__MAX_DOCUMENT_BYTES: '0',
    YHUB__LIMITS__BODY_BYTES: String(64 * 1024 * MB),
    YHUB__LIMITS__ANSWER_BYTES: String(64 * 1024 * MB),
  }
  const hub = spawn(join(bin, 'yhub'), ['--data-dir', join(dir, 'data'), '--listen', listen], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  for (;;) {
    try { if ((await fetch(`http://${listen}/readyz`)).ok) return hub } catch {}
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
const stop = hub => new Promise(resolve => { hub.once('exit', resolve); hub.kill('SIGTERM') })

const peak = hub => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${hub.pid}/status`, 'utf8'))[1]) / 1024
const row = (what, ms, hub, note = '') => {
  console.log(`| ${what} | ${(ms / 1000).toFixed(2)} s | ${peak(hub).toFixed(0)} MB | ${note} |`)
  writeFileSync(`/proc/${hub.pid}/clear_refs`, '5')
}
const timed = async work => {
  const from = performance.now()
  const result = await work()
  return [performance.now() - from, result]
}
const get = async address => {
  const response = await fetch(address)
  if (!response.ok) throw new Error(`${address}: ${response.status} ${await response.text()}`)
  return new Uint8Array(await response.arrayBuffer())
}

try {
  console.log(`| step, ${size} MB | time | peak memory | |\n|---|---:|---:|---|`)
  let hub = await start()
  const doc = new Y.Doc()
  const updates = []
  doc.on('update', update => updates.push(update))
  const words = Array.from({ length: 4096 }, (_, n) => `w${(n * 2654435761 % 2 ** 32).toString(36)} `).join('')
  for (let mb = 0; mb < size; mb++) doc.getText('t').insert(doc.getText('t').length, words.repeat(Math.ceil(MB / words.length)).slice(0, MB))
  let [ms] = await timed(async () => {
    for (const [n, update] of updates.entries()) {
      const encoder = encoding.createEncoder()
      encoding.writeAny(encoder, { update })
      const response = await fetch(url('ydoc', `?user=user${n}`), { method: 'PATCH', body: encoding.toUint8Array(encoder) })
      if (!response.ok) throw new Error(`PATCH: ${response.status}`)
    }
  })
  row(`written over HTTP, 1 MB at a time`, ms, hub)
  ;[ms] = await timed(async () => {
    for (;;) {
      const { changed, stored } = JSON.parse(await (await fetch(url('room'), { headers: { accept: 'application/json' } })).text())
      if (changed === stored) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })
  row('compacted into the bucket, 1 s of debounce included', ms, hub)
  // One small edit to a large document that is stored.
  doc.getText('t').insert(0, '!')
  const encoder = encoding.createEncoder()
  encoding.writeAny(encoder, { update: updates.at(-1) })
  ;[ms] = await timed(() => fetch(url('ydoc', '?user=last'), { method: 'PATCH', body: encoding.toUint8Array(encoder) }))
  row('one more character written', ms, hub)
  await stop(hub)
  hub = await start()
  let body
  ;[ms, body] = await timed(() => get(url('ydoc')))
  row('loaded cold', ms, hub, `${(body.length / MB).toFixed(1)} MB sent`)
  const read = new Y.Doc()
  Y.applyUpdate(read, decoding.readAny(decoding.createDecoder(body)).doc)
  if (read.getText('t').length !== size * MB + 1) throw new Error(`${read.getText('t').length} characters`)
  for (const [what, name, query] of [
    ['activity', 'activity', ''],
    ['activity again, kept', 'activity', ''],
    ['activity of one user with attributions', 'activity', '?by=user3&attributions=true'],
    ['changeset with attributions', 'changeset', '?attributions=true'],
    ['changeset with the document', 'changeset', '?ydoc=true'],
  ]) {
    ;[ms, body] = await timed(() => get(url(name, query)))
    row(what, ms, hub, `${(body.length / 1024).toFixed(1)} KB sent`)
  }
  ;[ms] = await timed(() => fetch(url('rollback'), { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"by":"user3"}' }))
  row('rollback of one user', ms, hub)
  ;[ms] = await timed(() => Promise.all(Array.from({ length: 50 }, () => get(url('ydoc')))))
  row('50 at once read it', ms, hub)
  await stop(hub)
} finally {
  s3.stdin.end()
  rmSync(dir, { recursive: true, force: true })
}
