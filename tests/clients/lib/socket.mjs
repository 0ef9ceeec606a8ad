// The WebSocket that the clients are given: the `ws` package, with an ear on every frame.
//
// What it counts is payload bytes as the application gets them. A provider sets `onmessage` once per socket, so that is where
// frames are counted, shown to a listener, or (to act out a lossy client) swallowed.

import WebSocket from 'ws'

// Some client versions look at the constants of a global WebSocket even when they are given a class of their own.
globalThis.WebSocket ??= WebSocket

/** What went over the sockets of one client, over all its reconnects. */
export class Traffic {
  /** Payload bytes and frames received since the last `reset`. */
  bytes = 0
  frames = 0
  /** Sockets that were made, that opened, that are open now, and the close codes and reasons seen, since the start. */
  attempts = 0
  opened = 0
  live = 0
  closes = []
  reasons = []
  /** HTTP statuses with which upgrades were refused. */
  refusals = []
  /** Subprotocol of the open socket. */
  protocol = ''
  /** Called with each received frame as a Uint8Array; returning false keeps the frame from the client. */
  onFrame = null

  reset () {
    this.bytes = 0
    this.frames = 0
  }
}

/** A WebSocket class that reports to `traffic`. `protocols` are for providers that cannot offer any. */
export function tappedSocket (traffic, protocols) {
  return class extends WebSocket {
    constructor (url, offered) {
      super(url, offered ?? protocols ?? [])
      traffic.attempts++
      this.on('open', () => {
        traffic.opened++
        traffic.live++
        traffic.protocol = this.protocol
        this.once('close', () => traffic.live--)
      })
      this.on('close', (code, reason) => {
        traffic.closes.push(code)
        traffic.reasons.push(String(reason))
      })
      // Without a listener an error while connecting (nobody listens there yet) would end the process.
      this.on('error', ({ message }) => {
        const [, status] = /Unexpected server response: (\d+)/.exec(message) ?? []
        if (status) traffic.refusals.push(Number(status))
      })
    }

    get onmessage () {
      return super.onmessage
    }

    set onmessage (handler) {
      super.onmessage = handler && ((event) => {
        const frame = new Uint8Array(event.data)
        traffic.bytes += frame.length
        traffic.frames++
        if (traffic.onFrame?.(frame) !== false) handler(event)
      })
    }
  }
}
