// Random choices from a printed seed (mulberry32), so that a run can be repeated with the same choices.
// What the network does in between is not repeated by a seed.

/** Source of choices; the same seed gives the same sequence. */
export class Random {
  constructor (seed) {
    this.seed = seed >>> 0
    this.state = this.seed
  }

  /** In [0, 1). */
  next () {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  /** An integer in [0, n). */
  int (n) {
    return Math.floor(this.next() * n)
  }

  chance (probability) {
    return this.next() < probability
  }

  pick (list) {
    return list[this.int(list.length)]
  }

  /**
   * Letters, some of them outside ASCII, `min` to `max` of them. None is a surrogate pair: an edit that falls between
   * the two halves of a pair damages it, and the two document families do not agree on the damage.
   */
  word (min = 1, max = 12) {
    const letters = ['a', 'b', 'c', 'd', 'e', 'f', 'g', ' ', 'é', 'ß', 'ж', '語']
    let s = ''
    for (let n = min + this.int(max - min + 1); n > 0; n--) s += this.pick(letters)
    return s
  }
}

/** A seed from the command line (`--seed 7`), the environment (`YHUB_SEED`), or the time. */
export const chosenSeed = (fallback = Date.now() % 1_000_000_007) =>
  Number(option('seed') ?? process.env.YHUB_SEED ?? fallback)

/** The value of `--name value` on the command line, if it is there. */
export function option (name) {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
