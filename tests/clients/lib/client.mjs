// One client: a document, a stock provider that syncs it with a room of the hub, and what went over its socket.

import WebSocket from 'ws'
import { tappedSocket, Traffic } from './socket.mjs'
import { until, within, DEADLINE_MS } from './wait.mjs'
import { EMPTY_STATE_VECTOR, parseFrame, STEP1, STEP2, SYNC, syncFrame } from './frames.mjs'

// Each provider listens for the end of the process; with many of them node would suspect a leak.
process.setMaxListeners(0)

/** Address of the hub, without a path. */
export const HUB = (process.env.YHUB_URL ?? 'ws://127.0.0.1:4400').replace(/\/+$/, '')
const ORG = process.env.YHUB_ORG ?? 'clients'

/** Address under which an organisation's rooms lie. */
export const roomsUrl = (org = ORG) => `${HUB}/api/ws/v1/${org}`

const runId = `${Date.now().toString(36)}-${process.pid}`
let roomsMade = 0
/** A docid that no other test and no other run uses. */
export const freshRoom = (hint = 'room') => `${hint}-${runId}-${++roomsMade}`

export class Client {
  /**
   * Connects at once unless `connect` is false.
   * - `params`: query parameters; `protocols`: subprotocols to offer
   * - `awareness: null` announces no presence at all
   * - `doc`: an existing document; else a new one with `gc`
   */
  constructor (stack, room, { doc, gc = true, params = {}, protocols, awareness, resyncInterval, connect = true, org } = {}) {
    this.stack = stack
    this.kit = stack.kit
    this.room = room
    this.doc = doc ?? stack.kit.newDoc({ gc })
    this.traffic = new Traffic()
    this.provider = new stack.Provider(roomsUrl(org), room, this.doc, {
      params,
      connect: false,
      // The clients of a test share a process; they may meet nowhere but at the hub.
      disableBc: true,
      WebSocketPolyfill: tappedSocket(this.traffic, protocols),
      ...(protocols && { protocols }),
      ...(resyncInterval && { resyncInterval })
    })
    this.awareness = this.provider.awareness
    if (awareness !== undefined) this.awareness.setLocalState(awareness)
    if (connect) this.provider.connect()
  }

  get name () {
    return `${this.stack.id} client of ${this.room}`
  }

  /** Waits for the first sync of the present connection. */
  async synced (ms = DEADLINE_MS) {
    await until(`sync of ${this.name}`, () => this.provider.synced, {
      ms,
      detail: () => `${this.traffic.opened} of ${this.traffic.attempts} sockets opened, close codes [${this.traffic.closes}]`
    })
    return this
  }

  /** Leaves politely and stays away. */
  offline () {
    this.provider.disconnect()
  }

  /** Like `offline`, and waits until nothing can arrive any more: some providers go on listening while a socket closes. */
  async leave () {
    this.offline()
    await until(`the socket of ${this.name} to be closed`, () => this.traffic.live === 0)
  }

  async online () {
    this.provider.connect()
    return this.synced()
  }

  /** Cuts the connection as a broken network does: no close frame, no farewell. The provider reconnects by itself. */
  cut () {
    this.provider.ws?.terminate()
  }

  /** Sends a frame of our own over the provider's socket. */
  send (frame) {
    this.provider.ws.send(frame)
  }

  /** Asks the hub once more for what this client lacks. */
  sendStep1 () {
    this.send(syncFrame(STEP1, this.kit.stateVector(this.doc)))
  }

  /** Resolves when the next step 2 comes. */
  nextStep2 () {
    return new Promise((resolve) => {
      this.traffic.onFrame = (frame) => {
        const { type, sub } = parseFrame(frame)
        if (type === SYNC && sub === STEP2) resolve()
      }
    })
  }

  fingerprint () {
    return this.kit.fingerprint(this.doc)
  }

  close () {
    this.provider.destroy()
    this.awareness.destroy()
    this.doc.destroy()
  }
}

/** Waits until the documents of all clients have the same state vector and the same deletions. */
export async function settled (clients, ms = DEADLINE_MS) {
  await until(`equal documents of ${clients.map((client) => client.stack.id).join(', ')} in ${clients[0].room}`, () => {
    const first = clients[0].fingerprint()
    return clients.every((client) => client.fingerprint() === first)
  }, { ms, detail: () => clients.map((client) => `${client.stack.id} ${client.fingerprint().slice(0, 300)}`).join(' | ') })
}

/**
 * Asks the hub for a room's document without any client library: sends step 1 for an empty document and returns
 * `{ updates, bytes }`: the updates up to and including the first step 2, and their bytes put together.
 */
export async function fetchRoom (room, { params = {}, org, ms = DEADLINE_MS, stateVector = EMPTY_STATE_VECTOR } = {}) {
  const query = new URLSearchParams(params).toString()
  const socket = new WebSocket(`${roomsUrl(org)}/${room}${query && `?${query}`}`)
  socket.binaryType = 'nodebuffer'
  const updates = []
  try {
    await within(`step 2 for ${room}`, new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', (code) => reject(new Error(`the hub closed ${room} with ${code} before step 2`)))
      socket.on('open', () => socket.send(syncFrame(STEP1, stateVector)))
      socket.on('message', (data) => {
        const { type, sub, payload } = parseFrame(new Uint8Array(data))
        if (type !== SYNC || sub === STEP1) return
        updates.push(payload)
        if (sub === STEP2) resolve()
      })
    }), ms)
  } finally {
    socket.removeAllListeners('close')
    socket.on('error', () => {})
    socket.terminate()
  }
  return { updates, bytes: Buffer.concat(updates) }
}

/** The HTTP status with which the hub answers an upgrade of that path, or 101 when it accepts. */
export async function upgradeStatus (url, ms = DEADLINE_MS) {
  const socket = new WebSocket(url)
  socket.on('error', () => {})
  try {
    return await within(`an answer to the upgrade of ${url}`, new Promise((resolve, reject) => {
      socket.on('open', () => resolve(101))
      socket.on('unexpected-response', (request, response) => {
        response.resume()
        resolve(response.statusCode)
      })
      socket.on('close', () => reject(new Error(`no HTTP answer to ${url}`)))
    }), ms)
  } finally {
    socket.removeAllListeners('close')
    socket.terminate()
  }
}
