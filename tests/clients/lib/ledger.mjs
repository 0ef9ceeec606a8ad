// What a crash test remembers: every edit that was made, and every edit that the hub has shown to anybody. And the judgement
// of a document against both.

import { assertSame, contentsOf, Oracle } from './oracle.mjs'
import { Contents } from './ids.mjs'
import { hex, unhex } from './plain.mjs'

export class Ledger {
  /** Per user: client ids, and the updates made, in order, each with its marker. */
  users = new Map()
  #userOfClient = new Map()
  #made = []
  #seen = []
  #seenUpdates = new Map()

  addUser (user, client) {
    if (!this.users.has(user)) this.users.set(user, { clients: [], made: 0 })
    this.users.get(user).clients.push(client)
    this.#userOfClient.set(client, user)
  }

  /** `user` made an edit that left `marker` in the document. */
  onMade (user, marker, update) {
    this.users.get(user).made++
    this.#made.push({ user, marker, update, contents: contentsOf(update) })
  }

  /** The hub has sent this update to somebody: from now on it may never be gone. */
  onSeen (update) {
    const key = hex(update)
    if (this.#seenUpdates.has(key)) return
    const contents = contentsOf(update)
    const authors = [...new Set(contents.structs.map(({ client }) => this.#userOfClient.get(client) ?? `client ${client}`))]
    this.#seenUpdates.set(key, authors)
    this.#seen.push(contents)
  }

  get madeCount () {
    return this.#made.length
  }

  get seenCount () {
    return this.#seenUpdates.size
  }

  /**
   * Judges what the hub gave to a stranger, as a list of complaints:
   * - everything is there that was seen before the stranger asked (the first `seen` updates);
   * - each edit is there in full or not at all, and if `complete`, each one is there;
   * - the document is the one that an independent yjs document makes of the same edits;
   * - if `complete`, the marker of each edit is visible. Before, an edit may be there and wait for one that is not: after
   *   a reconnect clients send new edits at once, and what they made offline only when the hub has asked for it.
   */
  judge (updates, { complete = false, seen = this.seenCount } = {}) {
    const complaints = []
    const held = new Contents()
    const document = new Oracle()
    for (const update of updates) {
      held.add(contentsOf(update))
      document.apply(update)
    }
    // A map value that was overwritten elsewhere counts as deleted once it is integrated, without an update that says so.
    held.add(contentsOf(document.encode()))
    const shown = new Contents()
    for (const contents of this.#seen.slice(0, seen)) shown.add(contents)
    const lost = shown.missingFrom(held)
    if (lost.length > 0) complaints.push(`seen by somebody, now gone: ${some(lost.map((id) => this.#named(id)))}`)

    const oracle = new Oracle()
    const visible = new Set(document.doc.getArray('markers').toArray())
    for (const { user, marker, update, contents } of this.#made) {
      const covered = contents.structs.filter(({ client, clock, end }) => held.inserts.covers(client, clock, end))
      const touched = contents.structs.some(({ client, clock, end }) => held.inserts.touches(client, clock, end))
      if (covered.length === contents.structs.length) {
        oracle.apply(update)
        if (complete && !visible.has(marker)) complaints.push(`edit ${marker} is stored, its marker is not visible`)
      } else if (touched) complaints.push(`edit ${marker} of ${user} is there in part`)
      else if (complete) complaints.push(`edit ${marker} of ${user} is not there`)
    }
    for (const [what, is, should] of [
      ['state', document.fingerprint(), oracle.fingerprint()],
      ['document', document.dump(), oracle.dump()]
    ]) {
      try {
        assertSame(is, should, what)
      } catch (error) {
        complaints.push(`not what an independent document makes of the same edits: ${error.message}`)
      }
    }
    return complaints.length > 20 ? [...complaints.slice(0, 20), `… and ${complaints.length - 20} more`] : complaints
  }

  #named (id) {
    const client = Number(/of (\d+):/.exec(id)?.[1])
    return `${id} (${this.#userOfClient.get(client) ?? 'unknown author'})`
  }

  /** Everything as JSON, updates as hexadecimal text: `made` in the order of making, `seen` by author. */
  toJSON () {
    const made = this.#made.map(({ user, marker, update }) => ({ user, marker, update: hex(update) }))
    const seen = {}
    for (const [update, authors] of this.#seenUpdates) {
      for (const author of authors.length ? authors : ['deletions only']) (seen[author] ??= []).push(update)
    }
    return { users: Object.fromEntries(this.users), made, seen }
  }

  static fromJSON ({ users, made, seen }) {
    const ledger = new Ledger()
    for (const user in users) for (const client of users[user].clients) ledger.addUser(user, client)
    // In their order: an edit that comes before what it builds upon waits in the oracle, and many that wait are slow.
    for (const { user, marker, update } of made) ledger.onMade(user, marker, unhex(update))
    for (const author in seen) for (const update of seen[author]) ledger.onSeen(unhex(update))
    return ledger
  }
}

const some = (list) => (list.length > 6 ? `${list.slice(0, 6).join(', ')}, … ${list.length} in all` : list.join(', '))
