// Sets of (client, clock) ids: what was inserted or deleted, independent of the bytes that said so.

import { joinRanges } from './frames.mjs'

export class Ids {
  #ranges = new Map()
  #dirty = new Set()

  /** Adds the clocks `from` to `to` (excluded) of `client`. */
  add (client, from, to) {
    const ranges = this.#ranges.get(client)
    if (!ranges) this.#ranges.set(client, [[from, to]])
    else if (ranges.at(-1)[1] === from) ranges.at(-1)[1] = to
    else {
      ranges.push([from, to])
      this.#dirty.add(client)
    }
  }

  #of (client) {
    if (this.#dirty.delete(client)) this.#ranges.set(client, joinRanges(this.#ranges.get(client)))
    return this.#ranges.get(client) ?? []
  }

  /** Whether all clocks `from` to `to` (excluded) of `client` are in the set. */
  covers (client, from, to) {
    return this.#of(client).some(([start, end]) => start <= from && to <= end)
  }

  /** Whether any of them is. */
  touches (client, from, to) {
    return this.#of(client).some(([start, end]) => start < to && from < end)
  }

  /** `[client, from, to]` of what is in this set and not in `other`. */
  missingFrom (other) {
    const missing = []
    for (const client of this.#ranges.keys()) {
      for (const [from, to] of this.#of(client)) {
        let at = from
        for (const [start, end] of other.#of(client)) {
          if (end <= at || start >= to) continue
          if (start > at) missing.push([client, at, start])
          at = end
        }
        if (at < to) missing.push([client, at, to])
      }
    }
    return missing
  }

  /** Number of clocks in the set. */
  size () {
    let size = 0
    for (const client of this.#ranges.keys()) for (const [from, to] of this.#of(client)) size += to - from
    return size
  }
}

/** The inserted and the deleted ids of several updates together. */
export class Contents {
  inserts = new Ids()
  deletes = new Ids()

  /** `contents` as from `contentsOf`. */
  add ({ structs, deletes }) {
    for (const { client, clock, end } of structs) this.inserts.add(client, clock, end)
    for (const [client, ranges] of deletes) for (const [from, to] of ranges) this.deletes.add(client, from, to)
  }

  /** Human-readable ids that this has and `other` lacks. */
  missingFrom (other) {
    const say = (kind) => ([client, from, to]) => `${kind} of ${client}:${from}..${to}`
    return [
      ...this.inserts.missingFrom(other.inserts).map(say('insertion')),
      ...this.deletes.missingFrom(other.deletes).map(say('deletion'))
    ]
  }
}
