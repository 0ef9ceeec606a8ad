// Values of a document as plain JSON that loses nothing: bigint, -0, NaN, undefined and bytes become tagged objects.

/** Bytes as hexadecimal text. */
export const hex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')

/** Hexadecimal text as bytes. */
export const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'))

/** `value` so that two values are the same exactly when their JSON is; object keys are sorted. */
export function plain (value) {
  if (value === undefined) return { $undefined: true }
  if (typeof value === 'bigint') return { $bigint: String(value) }
  if (typeof value === 'number') {
    return Object.is(value, -0) || !Number.isFinite(value) ? { $number: Object.is(value, -0) ? '-0' : String(value) } : value
  }
  if (value instanceof Uint8Array) return { $bytes: hex(value) }
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]))
  }
  return value
}
