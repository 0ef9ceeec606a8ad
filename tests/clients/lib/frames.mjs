// Frames of the y-websocket protocol and the few parts of the V1 coding that the tests look at themselves.
//
// Written apart from the clients' own code, so that a mistake there is not repeated here.

export const SYNC = 0
export const AWARENESS = 1
export const STEP1 = 0
export const STEP2 = 1
export const UPDATE = 2

/** Reads varUints and byte arrays; throws on anything cut short. */
export class Reader {
  constructor (bytes) {
    this.bytes = bytes
    this.at = 0
  }

  varUint () {
    let value = 0
    let factor = 1
    for (;;) {
      if (this.at >= this.bytes.length) throw new Error(`varUint cut short at byte ${this.at}`)
      const byte = this.bytes[this.at++]
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
      factor *= 128
    }
  }

  byteArray () {
    const length = this.varUint()
    if (length > this.bytes.length - this.at) throw new Error(`${length} bytes claimed, ${this.bytes.length - this.at} left`)
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }
}

/** `{ type, sub, payload }` of a frame; `sub` only for sync frames. */
export function parseFrame (frame) {
  const reader = new Reader(frame)
  const type = reader.varUint()
  if (type === SYNC) {
    const sub = reader.varUint()
    return { type, sub, payload: reader.byteArray() }
  }
  return { type, payload: type === AWARENESS ? reader.byteArray() : frame.subarray(reader.at) }
}

/** The update in a frame (step 2 or update), or null. */
export function updateIn (frame) {
  const { type, sub, payload } = parseFrame(frame)
  return type === SYNC && (sub === STEP2 || sub === UPDATE) ? payload : null
}

function varUint (value) {
  const out = []
  while (value > 0x7f) {
    out.push((value % 128) | 0x80)
    value = Math.floor(value / 128)
  }
  out.push(value)
  return out
}

/** A sync frame with that sub type and payload. */
export function syncFrame (sub, payload) {
  const head = [SYNC, sub, ...varUint(payload.length)]
  const frame = new Uint8Array(head.length + payload.length)
  frame.set(head)
  frame.set(payload, head.length)
  return frame
}

/** The state vector of an empty document. */
export const EMPTY_STATE_VECTOR = Uint8Array.of(0)

/** An IdSet in V1 coding as `Map(client → [[clock, end], …])`, ranges sorted and joined. */
export function readIdSet (reader) {
  const set = new Map()
  for (let clients = reader.varUint(); clients > 0; clients--) {
    const client = reader.varUint()
    const ranges = []
    for (let n = reader.varUint(); n > 0; n--) {
      const clock = reader.varUint()
      ranges.push([clock, clock + reader.varUint()])
    }
    set.set(client, joinRanges(ranges.concat(set.get(client) ?? [])))
  }
  return set
}

/** Ranges sorted by start, with overlapping and touching ones joined. */
export function joinRanges (ranges) {
  const joined = []
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else joined.push([from, to])
  }
  return joined
}

/** What an encoded V1 snapshot says, in one fixed order: equal texts mean equal state vectors and equal deletions. */
export function snapshotText (snapshot) {
  const reader = new Reader(snapshot)
  const deletes = [...readIdSet(reader)].filter(([, ranges]) => ranges.length > 0)
  const clocks = []
  for (let n = reader.varUint(); n > 0; n--) {
    const client = reader.varUint()
    const clock = reader.varUint()
    if (clock > 0) clocks.push([client, clock])
  }
  const byClient = (a, b) => a[0] - b[0]
  return JSON.stringify({ clocks: clocks.sort(byClient), deletes: deletes.sort(byClient) })
}
