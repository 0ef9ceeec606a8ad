// Waiting, always with a deadline, and with an error that says what was waited for.
//
// A condition is looked at again every few milliseconds and after each event loop turn that it takes; nothing here
// sleeps for a fixed time in the hope that something has happened meanwhile.

/** Milliseconds that a wait may take unless the caller says otherwise; slow machines raise it. */
export const DEADLINE_MS = Number(process.env.YHUB_DEADLINE_MS ?? 30_000)

const POLL_MS = 15

/** Resolves after `ms`. For the passage of time itself (silence, pacing), never in place of an event. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Waits until `predicate` returns something truthy (or a promise of it) and returns that.
 * `detail`, called only on failure, adds what was seen instead.
 */
export async function until (what, predicate, { ms = DEADLINE_MS, detail, poll = POLL_MS } = {}) {
  const start = performance.now()
  for (;;) {
    const value = await predicate()
    if (value) return value
    const waited = performance.now() - start
    if (waited > ms) {
      const seen = detail ? `; instead: ${detail()}` : ''
      throw new Error(`waited ${Math.round(waited)} ms for: ${what}${seen}`)
    }
    await pause(poll)
  }
}

/** The value of `promise`, or an error that names `what` when it takes longer than `ms`. */
export async function within (what, promise, ms = DEADLINE_MS) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for: ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
