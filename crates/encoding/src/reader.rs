//! A cursor over borrowed bytes that reads the primitives of lib0.
//!
//! Nothing here allocates, and every read either advances past a whole value or fails. After a failure the position
//! is unspecified (but valid): start again from a copy, a `Reader` is two words and `Copy`.

use crate::DecodeError;

/// The largest integer of these formats: 2^53-1, the largest that a JavaScript number counts exactly.
pub const MAX_UINT: u64 = (1 << 53) - 1;

/// Bytes of the longest integer that is accepted: 8 × 7 bits hold 2^53-1; over-long forms up to here are harmless.
const MAX_INTEGER_BYTES: usize = 8;

/// A position in borrowed bytes. See the module's first lines for what a failed read leaves behind.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// At the first of `input`.
    #[inline]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0 }
    }

    /// Bytes read so far: an offset into the slice given to [`Reader::new`].
    #[inline]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.input.len() - self.position
    }

    /// Is nothing left?
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// All bytes left, without reading them.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    /// The bytes between `start`, an earlier [`Reader::position`] of this reader, and the position now. Empty if
    /// `start` lies ahead.
    #[inline]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.position).unwrap_or_default()
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.input.get(self.position) {
            Some(&byte) => {
                self.position += 1;
                Ok(byte)
            }
            None => Err(DecodeError::Truncated { at: self.position }),
        }
    }

    /// Reads `n` bytes as they are.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        match rest.get(..n) {
            Some(taken) => {
                self.position += n;
                Ok(taken)
            }
            None => Err(DecodeError::TooLong { at: self.position, announced: n as u64, remaining: rest.len() }),
        }
    }

    /// Reads `N` bytes as they are.
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest().first_chunk::<N>() {
            Some(taken) => {
                self.position += N;
                Ok(*taken)
            }
            None => Err(DecodeError::Truncated { at: self.position }),
        }
    }

    /// Reads an unsigned integer, at most [`MAX_UINT`]. Layout: lib0 `varUint`.
    ///
    /// Over-long forms are accepted up to eight bytes. [`DecodeError::IntegerRange`] above that; never wraps.
    #[inline]
    pub fn var_uint(&mut self) -> Result<u64, DecodeError> {
        match self.input.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            Some(&byte) => self.continued(u64::from(byte & 0x7f), 7),
            None => Err(DecodeError::Truncated { at: self.position }),
        }
    }

    /// Reads a length or count as an index of this machine. [`DecodeError::IntegerRange`] if it has no such index.
    #[inline]
    pub fn var_usize(&mut self) -> Result<usize, DecodeError> {
        let at = self.position;
        usize::try_from(self.var_uint()?).map_err(|_| DecodeError::IntegerRange { at })
    }

    /// Reads the number of things that follow, of which each takes at least `min_size_bytes` (not 0).
    ///
    /// [`DecodeError::TooLong`] if the rest of the input cannot hold as many: a count that passed may size an
    /// allocation.
    #[inline]
    pub fn count(&mut self, min_size_bytes: usize) -> Result<usize, DecodeError> {
        let announced = self.var_uint()?;
        let remaining = self.remaining();
        let possible = remaining / min_size_bytes.max(1);
        match usize::try_from(announced) {
            Ok(count) if count <= possible => Ok(count),
            _ => Err(DecodeError::TooLong { at: self.position, announced, remaining }),
        }
    }

    /// Reads a signed integer of magnitude at most [`MAX_UINT`]; minus zero becomes 0. Layout: lib0 `varInt`.
    #[inline]
    pub fn var_int(&mut self) -> Result<i64, DecodeError> {
        let (negative, magnitude) = self.var_sign_magnitude()?;
        // At most 2^53-1: fits, and so does its negative.
        let magnitude = magnitude as i64;
        Ok(if negative { -magnitude } else { magnitude })
    }

    /// Reads a signed integer as sign (true: negative) and magnitude, so that minus zero survives. Layout: lib0
    /// `varInt`.
    #[inline]
    pub fn var_sign_magnitude(&mut self) -> Result<(bool, u64), DecodeError> {
        let Some(&first) = self.input.get(self.position) else {
            return Err(DecodeError::Truncated { at: self.position });
        };
        let negative = first & 0x40 != 0;
        let low = u64::from(first & 0x3f);
        if first < 0x80 {
            self.position += 1;
            return Ok((negative, low));
        }
        Ok((negative, self.continued(low, 6)?))
    }

    /// Reads an integer whose first byte, not yet read, says that others follow and holds the `bits` bits `low`.
    fn continued(&mut self, low: u64, bits: u32) -> Result<u64, DecodeError> {
        let at = self.position;
        let mut value = low;
        let mut shift = bits;
        for (i, &byte) in self.rest().iter().enumerate().skip(1) {
            if i == MAX_INTEGER_BYTES {
                return Err(DecodeError::IntegerRange { at });
            }
            // At most seven turns: the shift stays below 56, nothing is lost.
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                if value > MAX_UINT {
                    return Err(DecodeError::IntegerRange { at });
                }
                self.position = at + i + 1;
                return Ok(value);
            }
        }
        Err(DecodeError::Truncated { at: self.input.len() })
    }

    /// Reads a length and as many bytes. Layout: lib0 `varUint8Array`.
    #[inline]
    pub fn var_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count(1)?;
        self.bytes(length)
    }

    /// Reads a length in bytes and as much UTF-8; a leading byte order mark is kept. Layout: lib0 `varString`.
    #[inline]
    pub fn var_string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.var_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { at: self.position - bytes.len() })
    }

    /// Reads a 32-bit float, big endian.
    #[inline]
    pub fn f32(&mut self) -> Result<f32, DecodeError> {
        Ok(f32::from_be_bytes(self.array()?))
    }

    /// Reads a 64-bit float, big endian.
    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// Reads a signed 64-bit integer, two's complement, big endian. Layout: lib0 `bigInt64`.
    #[inline]
    pub fn bigint64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Passes over `n` bytes.
    #[inline]
    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.bytes(n).map(drop)
    }

    /// Passes over an integer, checked as [`Reader::var_uint`] does.
    #[inline]
    pub fn skip_var_uint(&mut self) -> Result<(), DecodeError> {
        self.var_uint().map(drop)
    }

    /// Passes over a signed integer, checked as [`Reader::var_int`] does.
    #[inline]
    pub fn skip_var_int(&mut self) -> Result<(), DecodeError> {
        self.var_sign_magnitude().map(drop)
    }

    /// Passes over bytes with a length.
    #[inline]
    pub fn skip_var_bytes(&mut self) -> Result<(), DecodeError> {
        self.var_bytes().map(drop)
    }

    /// Passes over a string, checked to be UTF-8.
    #[inline]
    pub fn skip_var_string(&mut self) -> Result<(), DecodeError> {
        self.var_string().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_end_at_eight_bytes_and_at_2_to_the_53() {
        let read = |bytes: &[u8]| Reader::new(bytes).var_uint();
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(MAX_UINT));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]), Err(DecodeError::IntegerRange { at: 0 }));
        assert_eq!(read(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Ok(1), "over-long");
        assert_eq!(read(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(DecodeError::IntegerRange { at: 0 }));
        assert_eq!(read(&[0x80, 0x80]), Err(DecodeError::Truncated { at: 2 }));
        assert_eq!(read(&[]), Err(DecodeError::Truncated { at: 0 }));
    }

    #[test]
    fn a_length_cannot_pass_the_end() {
        let mut reader = Reader::new(&[0x00, 0x05, 1, 2]);
        reader.skip(1).unwrap();
        assert_eq!(reader.var_bytes(), Err(DecodeError::TooLong { at: 2, announced: 5, remaining: 2 }));
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(matches!(Reader::new(&huge).var_bytes(), Err(DecodeError::TooLong { announced: MAX_UINT, .. })));
        assert_eq!(Reader::new(&[3, 0, 0, 0, 0, 0]).count(2), Err(DecodeError::TooLong { at: 1, announced: 3, remaining: 5 }));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 0, 0]).count(2), Ok(2));
    }

    #[test]
    fn minus_zero_is_not_zero() {
        assert_eq!(Reader::new(&[0x40]).var_sign_magnitude(), Ok((true, 0)));
        assert_eq!(Reader::new(&[0x40]).var_int(), Ok(0));
        assert_eq!(Reader::new(&[0xc0, 0x01]).var_int(), Ok(-64));
    }

    #[test]
    fn strings_are_checked() {
        let mut reader = Reader::new(&[2, 0xc3, 0x28]);
        assert_eq!(reader.var_string(), Err(DecodeError::Utf8 { at: 1 }));
        assert_eq!(Reader::new(b"\x04\xef\xbb\xbfa").var_string(), Ok("\u{feff}a"));
    }
}
