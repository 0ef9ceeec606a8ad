// Writers for tests that kill the hub. They write all the time, survive the hub's death and return, and remember everything
// that the hub has ever shown to anybody; at the end, or in between, they judge what the hub still has.
//
//     YHUB_URL=ws://127.0.0.1:4400 node crash-writer.mjs [--room NAME] [--org NAME] [--writers 6] [--rate 25]
//                                                        [--seed N] [--stacks y1,y4] [--out FILE]
//     YHUB_URL=ws://127.0.0.1:4400 node crash-writer.mjs verify FILE
//
// Each writer is a user of its own (`?user=writer0` …). Every edit is one transaction, hence one update, and leaves a marker that no
// other edit has. Lines of JSON go to standard output, commands come one a line on standard input:
//
//   (start)   → {"event":"ready", room, seed, users}       once every writer is synced
//             → {"event":"progress", made, seen, connected} twice a second
//   pause     → {"event":"paused"}                         all sockets are closed, nobody reconnects; edits go on offline
//   check     → {"event":"checked", ok, complaints, …}     judges what a stranger is given now; see below
//   resume    → {"event":"resumed"}                        all are connected and synced again
//   stop      → {"event":"verdict", ok, complaints, closes, file}  writing ends; everything is synced, judged, and written to the
//                                                        file; `closes`: the code of each socket that was closed until then
//
// A round: kill the hub, `pause`, start it again, `check`, `resume`. The order matters: a writer that reconnects gives the hub what
// it has lost, so what the hub lost by itself shows only to a `check` that comes before any writer is back.
// Without `pause` a round tests that writers and hub find together again. `verify` judges a finished run from its file, with nobody else there.

import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Client, fetchRoom, freshRoom, settled } from './lib/client.mjs'
import { updateIn } from './lib/frames.mjs'
import { Ledger } from './lib/ledger.mjs'
import { hex } from './lib/plain.mjs'
import { chosenSeed, option, Random } from './lib/random.mjs'
import { chosenStacks } from './lib/stacks.mjs'
import { DEADLINE_MS, pause, until } from './lib/wait.mjs'

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }))

/** Retries while the hub is not up yet; any other answer than a document is worth another try too, until the deadline. */
async function documentOf (room, org, params) {
  let last
  return until(`the document of ${room} ${JSON.stringify(params)}`, async () => {
    try {
      return await fetchRoom(room, { org, params, ms: DEADLINE_MS / 2 })
    } catch (error) {
      last = error
      return null
    }
  }, { ms: 2 * DEADLINE_MS, poll: 100, detail: () => last?.message })
}

/** Complaints about the gc and the nongc document of a room. */
async function judgeRoom (ledger, room, org, options) {
  const complaints = []
  for (const params of [{ gc: 'false' }, {}]) {
    // Writers may be at work: what they are shown from here on need not be in the document.
    const seen = ledger.seenCount
    const { updates } = await documentOf(room, org, params)
    for (const complaint of ledger.judge(updates, { ...options, seen })) complaints.push(`${params.gc ? 'nongc' : 'gc'} document: ${complaint}`)
  }
  return complaints
}

class Writer {
  constructor (ledger, random, stack, user, { room, org, rate }) {
    this.ledger = ledger
    this.random = random
    this.user = user
    this.rate = rate
    this.count = 0
    this.client = new Client(stack, room, { org, params: { user } })
    const { doc, provider, traffic, kit } = this.client
    ledger.addUser(user, doc.clientID)
    doc.on('update', (update, origin) => {
      if (origin !== provider) ledger.onMade(user, this.marker, update)
    })
    traffic.onFrame = (frame) => {
      const update = updateIn(frame)
      if (update) ledger.onSeen(update)
    }
    this.markers = kit.list(doc, 'markers')
    this.text = kit.text(doc, 'text')
    this.map = kit.map(doc, 'map')
  }

  edit () {
    const { random } = this
    this.marker = `${this.user}-${++this.count}`
    this.client.kit.transact(this.client.doc, () => {
      this.markers.insert(random.int(this.markers.length() + 1), [this.marker])
      const length = this.text.length()
      const at = random.int(length + 1)
      const roll = random.int(10)
      if (roll < 5) this.text.insert(at, random.word(1, 20), {})
      else if (roll < 7 && at < length) this.text.remove(at, Math.min(length - at, 1 + random.int(12)))
      else if (roll === 7) this.map.set(`key${random.int(10)}`, this.marker)
    })
  }

  async write () {
    this.writing = true
    while (this.writing) {
      this.edit()
      await pause(this.random.int(2000 / this.rate))
    }
  }

  get connected () {
    return this.client.provider.wsconnected && this.client.provider.synced
  }
}

async function run () {
  const room = option('room') ?? freshRoom('crash')
  const org = option('org')
  const seed = chosenSeed()
  const rate = Number(option('rate') ?? 25)
  const file = option('out') ?? `crash-${room}.json`
  const stacks = chosenStacks()
  const ledger = new Ledger()
  const writers = Array.from({ length: Number(option('writers') ?? 6) }, (_, n) =>
    new Writer(ledger, new Random(seed + n), stacks[n % stacks.length], `writer${n}`, { room, org, rate }))
  const clients = writers.map(({ client }) => client)
  const allSynced = () => Promise.all(clients.map((client) => client.synced(2 * DEADLINE_MS)))

  const reconnect = () => {
    for (const client of clients) client.provider.connect()
    return allSynced()
  }

  await allSynced()
  say('ready', { room, seed, users: Object.fromEntries(ledger.users) })
  const work = Promise.all(writers.map((writer) => writer.write()))
  const progress = setInterval(() => {
    say('progress', { made: ledger.madeCount, seen: ledger.seenCount, connected: writers.filter((writer) => writer.connected).length })
  }, 500)

  const commands = {
    async pause () {
      await Promise.all(clients.map((client) => client.leave()))
      say('paused')
    },
    async check () {
      const [made, seen] = [ledger.madeCount, ledger.seenCount]
      const complaints = await judgeRoom(ledger, room, org)
      say('checked', { ok: complaints.length === 0, made, seen, complaints })
    },
    async resume () {
      await reconnect()
      say('resumed')
    },
    async stop () {
      for (const writer of writers) writer.writing = false
      await work
      await reconnect()
      await settled(clients, 2 * DEADLINE_MS)
      const closes = clients.flatMap(({ traffic }) => traffic.closes)
      const complaints = await judgeRoom(ledger, room, org, { complete: true })
      for (const { name, kit, doc } of clients) {
        for (const complaint of ledger.judge([kit.encode(doc)], { complete: true })) complaints.push(`${name}: ${complaint}`)
      }
      const documents = Object.fromEntries(writers.map(({ user, client }) => [user, hex(client.kit.encode(client.doc))]))
      writeFileSync(file, JSON.stringify({ room, org, seed, ...ledger.toJSON(), documents }))
      say('verdict', { ok: complaints.length === 0, made: ledger.madeCount, seen: ledger.seenCount, complaints, closes, file })
      clearInterval(progress)
      process.exit(complaints.length === 0 ? 0 : 1)
    }
  }

  for await (const line of createInterface({ input: process.stdin })) {
    const command = line.trim()
    if (!command) continue
    if (!Object.hasOwn(commands, command)) throw new Error(`no command "${command}"; there are ${Object.keys(commands).join(', ')}`)
    await commands[command]()
  }
  process.exit(0) // The parent has gone.
}

async function verify (file) {
  const { room, org, ...rest } = JSON.parse(readFileSync(file, 'utf8'))
  const ledger = Ledger.fromJSON(rest)
  const complaints = await judgeRoom(ledger, room, org, { complete: true })
  // Stock clients come to the same document as the raw bytes do.
  for (const stack of chosenStacks()) {
    const client = new Client(stack, room, { org })
    await client.synced()
    await until(`the whole document at ${client.name}`, () => ledger.judge([client.kit.encode(client.doc)], { complete: true }).length === 0, {
      poll: 500,
      detail: () => ledger.judge([client.kit.encode(client.doc)], { complete: true }).join('; ')
    })
    client.close()
  }
  say('verdict', { ok: complaints.length === 0, made: ledger.madeCount, seen: ledger.seenCount, complaints, file })
  process.exit(complaints.length === 0 ? 0 : 1)
}

try {
  if (process.argv[2] === 'verify') await verify(process.argv[3])
  else await run()
} catch (error) {
  say('failed', { error: error.message })
  process.exit(2)
}
