// What an application and its back end do so that its users come in: sign tokens, ask the hub for tickets, renew.

import jwt from 'jsonwebtoken'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { HUB } from './client.mjs'

/** What the hub knows, too. */
const SECRET = process.env.YHUB_SECRET ?? '0123456789abcdef0123456789abcdef'
const ORG = process.env.YHUB_ORG ?? 'clients'

/** A signed token of `user`. `expiresIn` in seconds; negative: it has ended. */
export const tokenFor = (user, access, { expiresIn = 600, purposes } = {}) =>
  jwt.sign({ sub: user, yhub: [{ org: ORG, access, ...(purposes && { purposes }) }] }, SECRET, { expiresIn })

/** A request of the back end, which shows `token`; resolves with what is in the answer. */
export async function ask (token, name, body) {
  const response = await fetch(`${HUB.replace(/^ws/, 'http')}/api/${name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, accept: 'application/json', 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  if (!response.ok) throw new Error(`${name} was answered with ${response.status}: ${await response.text()}`)
  return response.json()
}

let accessToken
/** A ticket for `user` into a room, as a back end makes it that holds an access token. */
export async function ticketFor (user, room, access) {
  const grants = [{ org: ORG, access: 'rw', purposes: ['ticket'] }]
  accessToken ??= ask(tokenFor('operator', 'admin'), `tokens/v1/${ORG}`, { user: 'back-end', grants })
  return (await ask((await accessToken).token, `tickets/v1/${ORG}/${room}`, { user, access })).ticket
}

/** Has the hub cut who has the room open as `user`. */
export const cut = (user, room) =>
  ask(tokenFor('operator', 'r', { purposes: ['recheck'] }), `recheck-auth/v1/${ORG}/${room}`, { users: [user], force: true })

const AUTH = 2
const TOKEN = 1

/**
 * Shows a new token on the open connection of a stock provider. Resolves with what the session may do now, `r` or `rw`; never if the
 * connection is closed for it.
 */
export function renew (provider, token) {
  const taken = new Promise((resolve) => {
    const before = provider.messageHandlers[AUTH]
    provider.messageHandlers[AUTH] = (encoder, decoder, ...rest) => {
      const at = decoder.pos
      if (decoding.readVarUint(decoder) === TOKEN) return resolve(decoding.readVarString(decoder))
      decoder.pos = at
      before(encoder, decoder, ...rest)
    }
  })
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, AUTH)
  encoding.writeVarUint(encoder, TOKEN)
  encoding.writeVarString(encoder, token)
  provider.ws.send(encoding.toUint8Array(encoder))
  return taken
}

/**
 * Shows `token` from the next connection on. y-websocket 2 and newer ask for their parameters anew then; y-websocket 1 knows an address
 * alone.
 */
export function show (provider, token) {
  if (provider.params) provider.params.yauth = token
  else provider.url = provider.url.replace(/(?<=[?&]yauth=)[^&]*/, encodeURIComponent(token))
}

/** Has a provider come back with what `fetchToken` gives when it is closed with 4401. */
export function comeBackWith (provider, fetchToken) {
  provider.on('connection-close', async (event) => {
    if (event?.code !== 4401) return
    // Not before the token is there. y-websocket 3 stays away after such a code anyhow.
    provider.disconnect()
    show(provider, await fetchToken())
    provider.connect()
  })
}
