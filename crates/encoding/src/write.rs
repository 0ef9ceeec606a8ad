//! Appends the primitives of lib0 to a byte vector.
//!
//! Free functions on `Vec<u8>` and no writer type: callers mix them with `extend_from_slice` and reserve as they know.

use crate::MAX_UINT;

/// Appends an unsigned integer in its shortest form, 1 to 8 bytes. Layout: lib0 `varUint`.
///
/// `value` must not be above [`MAX_UINT`], which no reader of the format takes; asserted in debug builds.
#[inline]
pub fn write_var_uint(out: &mut Vec<u8>, mut value: u64) {
    debug_assert!(value <= MAX_UINT, "{value} is above 2^53-1");
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`write_var_uint`] takes for `value`.
#[inline]
pub const fn var_uint_len(value: u64) -> usize {
    // Bits in use, at least one, in groups of seven.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a signed integer in its shortest form. Layout: lib0 `varInt`.
#[inline]
pub fn write_var_int(out: &mut Vec<u8>, value: i64) {
    write_sign_magnitude(out, value < 0, value.unsigned_abs());
}

/// Appends a signed integer given as sign and magnitude (at most [`MAX_UINT`]); minus zero can be written so. Layout:
/// lib0 `varInt`.
#[inline]
pub fn write_sign_magnitude(out: &mut Vec<u8>, negative: bool, magnitude: u64) {
    debug_assert!(magnitude <= MAX_UINT, "{magnitude} is above 2^53-1");
    let sign = if negative { 0x40 } else { 0 };
    let low = magnitude as u8 & 0x3f;
    let rest = magnitude >> 6;
    if rest == 0 {
        out.push(sign | low);
    } else {
        out.push(0x80 | sign | low);
        write_var_uint(out, rest);
    }
}

/// Appends the length of `bytes`, then `bytes`. Layout: lib0 `varUint8Array`.
#[inline]
pub fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the length of `text` in bytes, then its UTF-8. Layout: lib0 `varString`.
#[inline]
pub fn write_var_string(out: &mut Vec<u8>, text: &str) {
    write_var_bytes(out, text.as_bytes());
}

/// Appends a 32-bit float, big endian.
#[inline]
pub fn write_f32(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a 64-bit float, big endian.
#[inline]
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a signed 64-bit integer, two's complement, big endian. Layout: lib0 `bigInt64`.
#[inline]
pub fn write_bigint64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Reader;

    /// Spreads over all lengths: most integers below 2^53 have eight bytes.
    fn uint() -> impl Strategy<Value = u64> {
        (0..=MAX_UINT, 0u32..53).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in uint(), negative: bool, bytes: Vec<u8>, text: String, float: f64, big: i64) {
            let mut out = Vec::new();
            write_var_uint(&mut out, value);
            prop_assert_eq!(out.len(), var_uint_len(value));
            write_sign_magnitude(&mut out, negative, value);
            write_var_bytes(&mut out, &bytes);
            write_var_string(&mut out, &text);
            write_f32(&mut out, float as f32);
            write_f64(&mut out, float);
            write_bigint64(&mut out, big);

            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.var_uint(), Ok(value));
            prop_assert_eq!(reader.var_sign_magnitude(), Ok((negative, value)));
            prop_assert_eq!(reader.var_bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.var_string(), Ok(&text[..]));
            prop_assert_eq!(reader.f32().map(f32::to_bits), Ok((float as f32).to_bits()));
            prop_assert_eq!(reader.f64().map(f64::to_bits), Ok(float.to_bits()));
            prop_assert_eq!(reader.bigint64(), Ok(big));
            prop_assert!(reader.is_empty());
            // Cut anywhere, something fails to read; nothing panics.
            for end in 0..out.len() {
                let mut reader = Reader::new(&out[..end]);
                let read = reader.var_uint().and_then(|_| reader.skip_var_int()).and_then(|()| reader.skip_var_bytes())
                    .and_then(|()| reader.skip_var_string()).and_then(|()| reader.f32()).and_then(|_| reader.f64())
                    .and_then(|_| reader.bigint64());
                prop_assert!(read.is_err());
            }
        }
    }
}
