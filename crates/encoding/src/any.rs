//! The self-describing values of lib0 (`any`): what a JavaScript program can put into an update or a stored message.
//!
//! [`Any`] is the owned tree, [`AnyRef`] a look at one value that copies nothing, [`skip_any`] a check without either.
//! Encoding gives the bytes that the JavaScript writer gives; a number of another form on the wire (a float that is an
//! integer, an over-long integer) is therefore written in its normal form. Values that only pass through are best left
//! as the bytes they are.

use std::hash::{Hash, Hasher};

use crate::{
    DecodeError, Object, Reader, write_bigint64, write_f32, write_f64, write_sign_magnitude, write_var_bytes, write_var_string,
    write_var_uint,
};

/// Enough for every value people make, far from what a thread's stack holds.
pub const MAX_ANY_DEPTH: usize = 256;

const UNDEFINED: u8 = 127;
const NULL: u8 = 126;
const INTEGER: u8 = 125;
const FLOAT32: u8 = 124;
const FLOAT64: u8 = 123;
const BIGINT: u8 = 122;
const FALSE: u8 = 121;
const TRUE: u8 = 120;
const STRING: u8 = 119;
const OBJECT: u8 = 118;
const ARRAY: u8 = 117;
const BYTES: u8 = 116;

/// Elements for which memory is set aside before one of them was read. More are announced for free.
const RESERVED_ELEMENTS: usize = 32;

/// A value.
///
/// Two are equal iff they encode to the same bytes: 0 and -0 differ, a NaN equals itself, the order of keys counts.
/// For equality as JavaScript programs mean it see [`Any::deep_equals`].
#[derive(Clone, Debug)]
pub enum Any {
    /// `undefined`.
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. JavaScript has one kind, so integers are here too; -0 is kept.
    Number(f64),
    /// A big integer, signed, 64 bits.
    BigInt(i64),
    /// Text.
    String(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// A list.
    Array(Vec<Any>),
    /// An object with its keys in order.
    Object(Object),
}

impl Any {
    /// Reads one value with at most `depth` arrays and objects inside one another; see [`MAX_ANY_DEPTH`].
    ///
    /// Layout: lib0 `any`. Memory grows with the bytes that are there, never with an announced count.
    pub fn decode(reader: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            STRING => Self::String(reader.var_string()?.into()),
            INTEGER => {
                let (negative, magnitude) = reader.var_sign_magnitude()?;
                // Exact: the magnitude is below 2^53.
                let magnitude = magnitude as f64;
                Self::Number(if negative { -magnitude } else { magnitude })
            }
            FLOAT64 => Self::Number(reader.f64()?),
            FLOAT32 => Self::Number(f64::from(reader.f32()?)),
            BIGINT => Self::BigInt(reader.bigint64()?),
            BYTES => Self::Bytes(reader.var_bytes()?.into()),
            TRUE => Self::Bool(true),
            FALSE => Self::Bool(false),
            NULL => Self::Null,
            UNDEFINED => Self::Undefined,
            ARRAY => {
                let depth = deeper(depth, at)?;
                let count = reader.count(1)?;
                let mut items = Vec::with_capacity(count.min(RESERVED_ELEMENTS));
                for _ in 0..count {
                    items.push(Self::decode(reader, depth)?);
                }
                Self::Array(items)
            }
            OBJECT => {
                let depth = deeper(depth, at)?;
                let count = reader.count(2)?;
                let mut entries = Vec::with_capacity(count.min(RESERVED_ELEMENTS));
                for _ in 0..count {
                    let key = reader.var_string()?.into();
                    entries.push((key, Self::decode(reader, depth)?));
                }
                Self::Object(Object::from_entries(entries))
            }
            tag => return Err(DecodeError::UnknownTag { at, tag: u64::from(tag) }),
        })
    }

    /// Reads the one value that `bytes` begin with; what follows it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes), MAX_ANY_DEPTH)
    }

    /// How many arrays and objects lie inside one another: what [`Any::decode`] needs to read it back.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(object) => object.depth(),
            _ => 0,
        }
    }

    /// Appends the value as the JavaScript writer would. Layout: lib0 `any`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Undefined => out.push(UNDEFINED),
            Self::Null => out.push(NULL),
            Self::Bool(true) => out.push(TRUE),
            Self::Bool(false) => out.push(FALSE),
            Self::Number(number) => write_any_number(out, *number),
            Self::BigInt(value) => {
                out.push(BIGINT);
                write_bigint64(out, *value);
            }
            Self::String(text) => write_any_string(out, text),
            Self::Bytes(bytes) => write_any_bytes(out, bytes),
            Self::Array(items) => {
                out.push(ARRAY);
                write_var_uint(out, items.len() as u64);
                for item in items {
                    item.encode(out);
                }
            }
            Self::Object(object) => {
                write_any_object_header(out, object.len());
                for (key, value) in object.iter() {
                    write_var_string(out, key);
                    value.encode(out);
                }
            }
        }
    }

    /// The value as the JavaScript writer would write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Equality as a deep comparison in JavaScript sees it: 0 equals -0, a NaN equals nothing, keys in any order.
    pub fn deep_equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.deep_equals(b)),
            (Self::Object(a), Self::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| a.deep_equals(b)))
            }
            _ => self == other,
        }
    }
}

impl From<&str> for Any {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<f64> for Any {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Any {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl PartialEq for Any {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a.to_bits() == b.to_bits(),
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Any {}

impl Hash for Any {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Undefined | Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Number(number) => number.to_bits().hash(state),
            Self::BigInt(value) => value.hash(state),
            Self::String(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::Array(items) => items.hash(state),
            Self::Object(object) => object.hash(state),
        }
    }
}

/// One value, borrowed from the bytes it was read from.
///
/// Arrays and objects are checked and kept as bytes: they can be read with [`Any::from_bytes`] where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyRef<'a> {
    /// `undefined`.
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A big integer.
    BigInt(i64),
    /// Text.
    String(&'a str),
    /// Bytes, without their length.
    Bytes(&'a [u8]),
    /// A list: the whole value, tag included.
    Array(&'a [u8]),
    /// An object: the whole value, tag included.
    Object(&'a [u8]),
}

impl<'a> AnyRef<'a> {
    /// Reads one value as [`Any::decode`] does, without allocating.
    pub fn decode(reader: &mut Reader<'a>, depth: usize) -> Result<Self, DecodeError> {
        let start = *reader;
        let at = reader.position();
        Ok(match reader.u8()? {
            STRING => Self::String(reader.var_string()?),
            BYTES => Self::Bytes(reader.var_bytes()?),
            tag @ (ARRAY | OBJECT) => {
                *reader = start;
                skip_any(reader, depth)?;
                let whole = reader.since(at);
                if tag == ARRAY { Self::Array(whole) } else { Self::Object(whole) }
            }
            _ => {
                *reader = start;
                // A scalar: nothing in it allocates.
                match Any::decode(reader, 0)? {
                    Any::Null => Self::Null,
                    Any::Bool(value) => Self::Bool(value),
                    Any::Number(number) => Self::Number(number),
                    Any::BigInt(value) => Self::BigInt(value),
                    _ => Self::Undefined,
                }
            }
        })
    }
}

/// Passes over one value and checks all of it, strings included, as [`Any::decode`] would. Allocates nothing.
pub fn skip_any(reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        STRING => reader.skip_var_string(),
        INTEGER => reader.skip_var_int(),
        FLOAT64 | BIGINT => reader.f64().map(drop),
        FLOAT32 => reader.f32().map(drop),
        BYTES => reader.skip_var_bytes(),
        TRUE | FALSE | NULL | UNDEFINED => Ok(()),
        ARRAY => {
            let depth = deeper(depth, at)?;
            for _ in 0..reader.count(1)? {
                skip_any(reader, depth)?;
            }
            Ok(())
        }
        OBJECT => {
            let depth = deeper(depth, at)?;
            for _ in 0..reader.count(2)? {
                reader.skip_var_string()?;
                skip_any(reader, depth)?;
            }
            Ok(())
        }
        tag => Err(DecodeError::UnknownTag { at, tag: u64::from(tag) }),
    }
}

/// Reads the start of an object: how many pairs of key (`var_string`) and value (`any`) follow. The count is checked
/// against the bytes left.
pub fn read_object_header(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        OBJECT => reader.count(2),
        _ => Err(DecodeError::Invalid { at, what: "something else stands where an object is expected" }),
    }
}

/// Appends the start of an object of `count` entries; each is then a key ([`write_var_string`]) and a value.
pub fn write_any_object_header(out: &mut Vec<u8>, count: usize) {
    out.push(OBJECT);
    write_var_uint(out, count as u64);
}

/// Appends a string with its tag.
pub fn write_any_string(out: &mut Vec<u8>, text: &str) {
    out.push(STRING);
    write_var_string(out, text);
}

/// Appends bytes with their tag.
pub fn write_any_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(BYTES);
    write_var_bytes(out, bytes);
}

/// Appends a number with the tag that the JavaScript writer chooses: integer up to ±(2^31-1), else float32 if that is
/// exact, else float64.
pub fn write_any_number(out: &mut Vec<u8>, number: f64) {
    const MAX_INTEGER: f64 = 2_147_483_647.0;
    if number.fract() == 0.0 && number.abs() <= MAX_INTEGER {
        out.push(INTEGER);
        // The sign of -0 is written too.
        write_sign_magnitude(out, number.is_sign_negative(), number.abs() as u64);
    } else if f64::from(number as f32) == number {
        out.push(FLOAT32);
        write_f32(out, number as f32);
    } else {
        out.push(FLOAT64);
        write_f64(out, number);
    }
}

/// One level less of `depth`, for the array or object at byte `at`.
fn deeper(depth: usize, at: usize) -> Result<usize, DecodeError> {
    depth.checked_sub(1).ok_or(DecodeError::TooDeep { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| {
            let mut bytes = [ARRAY, 1].repeat(levels);
            bytes.push(NULL);
            bytes
        };
        assert_eq!(Any::from_bytes(&nested(MAX_ANY_DEPTH)).unwrap().depth(), MAX_ANY_DEPTH);
        let object = |value: Any| Any::Object(Object::from_entries(vec![("a".into(), Any::Null), ("b".into(), value)]));
        assert_eq!(object(Any::Array(vec![Any::Null, object(Any::Null)])).depth(), 3);
        assert_eq!((Any::Array(Vec::new()).depth(), Any::from("text").depth()), (1, 0));
        let too_deep = nested(MAX_ANY_DEPTH + 1);
        assert_eq!(Any::from_bytes(&too_deep), Err(DecodeError::TooDeep { at: 2 * MAX_ANY_DEPTH }));
        assert_eq!(skip_any(&mut Reader::new(&too_deep), MAX_ANY_DEPTH), Err(DecodeError::TooDeep { at: 2 * MAX_ANY_DEPTH }));
        let mut objects = [OBJECT, 1, 0].repeat(3);
        objects.push(NULL);
        assert!(skip_any(&mut Reader::new(&objects), 3).is_ok());
        assert!(skip_any(&mut Reader::new(&objects), 2).is_err());
        assert!(Any::decode(&mut Reader::new(&objects), 2).is_err());
    }

    #[test]
    fn a_count_is_checked_before_anything_is_read() {
        // 2^40 elements announced, one there.
        let bytes = [ARRAY, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, NULL];
        assert!(matches!(Any::from_bytes(&bytes), Err(DecodeError::TooLong { announced: 0x100_0000_0000, .. })));
        assert!(matches!(Any::from_bytes(&[OBJECT, 2, 0, NULL, 0]), Err(DecodeError::TooLong { announced: 2, .. })));
    }

    #[test]
    fn equality_has_two_meanings() {
        let object = |keys: [&str; 2]| {
            Any::Object(Object::from_entries(keys.map(|key| (key.into(), Any::Number(key.len() as f64))).into()))
        };
        assert_ne!(object(["a", "bb"]), object(["bb", "a"]));
        assert!(object(["a", "bb"]).deep_equals(&object(["bb", "a"])));
        assert!(!object(["a", "bb"]).deep_equals(&object(["a", "cc"])));
        assert_ne!(Any::Number(0.0), Any::Number(-0.0));
        assert!(Any::Number(0.0).deep_equals(&Any::Number(-0.0)));
        assert_eq!(Any::Number(f64::NAN), Any::Number(f64::NAN));
        assert!(!Any::Number(f64::NAN).deep_equals(&Any::Number(f64::NAN)));
    }
}
