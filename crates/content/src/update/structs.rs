//! The structs of an update as they lie in its bytes: layout, a quick pass over one, and a full view of one.
//!
//! Layout (Yjs update V1): an info byte, whose low five bits name the content and whose high bits say what stands
//! before it; origin, right origin, parent and key as far as they are there; the content.
//!
//! [`skim`] finds only where a struct ends and how many clocks it covers: that is all that merging, content ids, state
//! vectors and differences need of nearly every struct. [`Struct`] is for the few that are cut, and for integrating.

use yhub_encoding::{DecodeError, MAX_ANY_DEPTH, Reader, skip_any};

use super::UpdateError;

/// Deleted content whose place is forgotten.
pub(crate) const GC: u8 = 0;
/// Deleted content whose place is known.
pub(crate) const DELETED: u8 = 1;
/// JSON texts, one id each.
pub(crate) const JSON: u8 = 2;
/// Bytes.
pub(crate) const BINARY: u8 = 3;
/// Text, one id for each UTF-16 code unit.
pub(crate) const STRING: u8 = 4;
/// An embedded object, as JSON text.
pub(crate) const EMBED: u8 = 5;
/// The start or end of formatting: a key and a JSON text.
pub(crate) const FORMAT: u8 = 6;
/// A nested type.
pub(crate) const TYPE: u8 = 7;
/// Values, one id each.
pub(crate) const ANY: u8 = 8;
/// A subdocument.
pub(crate) const DOC: u8 = 9;
/// Nothing is known about these ids.
pub(crate) const SKIP: u8 = 10;

/// The bits of the info byte that name the content.
pub(crate) const CONTENT: u8 = 0x1f;
/// Info bit: the struct is an attribute. Says nothing where the parent is not written.
pub(crate) const HAS_KEY: u8 = 0x20;
/// Info bit: a right origin is written.
pub(crate) const HAS_RIGHT_ORIGIN: u8 = 0x40;
/// Info bit: an origin is written.
pub(crate) const HAS_ORIGIN: u8 = 0x80;
/// With one of these the parent is not written: it is the one of the neighbour.
pub(crate) const HAS_NEIGHBOUR: u8 = HAS_ORIGIN | HAS_RIGHT_ORIGIN;

/// The highest type reference; 3 and 5 are followed by a name.
const LAST_TYPE: u64 = 6;

/// An id: the number of a client, and its place in the sequence of everything that this client inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// At most 2^53-1.
    pub client: u64,
    /// UTF-16 code units count one each, so do values and nodes.
    pub clock: u32,
}

/// Where an item without neighbours belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent<'a> {
    /// Not written: it is the parent of the origin or of the right origin.
    OfNeighbour,
    /// A root of the document, by name (which may be empty).
    Root(&'a str),
    /// The type that this item holds.
    Item(Id),
}

/// How thoroughly a pass over an update looks at contents. The structure is always checked.
pub(crate) trait Check {
    /// Whether items without content pass.
    const EMPTY_ITEMS: bool;
    /// Passes over a string and gives its bytes.
    fn string<'a>(&self, reader: &mut Reader<'a>) -> Result<&'a [u8], UpdateError>;
    /// Passes over a JSON text; `or_undefined`: the word `undefined` is allowed in its place.
    fn json(&self, reader: &mut Reader<'_>, or_undefined: bool) -> Result<(), UpdateError>;
    /// Passes over a value.
    fn any(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError>;
    /// Passes over the id of a neighbour or of the parent.
    fn id(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError>;
}

/// For bytes that the guard has seen: finds the ends of texts without reading them.
pub(crate) struct Trusting;

impl Check for Trusting {
    const EMPTY_ITEMS: bool = false;

    #[inline]
    fn string<'a>(&self, reader: &mut Reader<'a>) -> Result<&'a [u8], UpdateError> {
        Ok(reader.var_bytes()?)
    }

    #[inline]
    fn json(&self, reader: &mut Reader<'_>, _or_undefined: bool) -> Result<(), UpdateError> {
        Ok(reader.skip_var_bytes()?)
    }

    #[inline]
    fn any(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError> {
        Ok(skip_any(reader, MAX_ANY_DEPTH)?)
    }

    #[inline]
    fn id(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError> {
        pass_two_integers(reader)
    }
}

/// Passes over two integers without reading them: sixteen bytes at once are searched for those that end one.
#[inline]
fn pass_two_integers(reader: &mut Reader<'_>) -> Result<(), UpdateError> {
    const MORE: u128 = u128::from_ne_bytes([0x80; 16]);
    let Some(bytes) = reader.rest().first_chunk::<16>() else {
        reader.skip_var_uint()?;
        return Ok(reader.skip_var_uint()?);
    };
    let ends = !u128::from_le_bytes(*bytes) & MORE;
    // Without its lowest bit: the second integer's end is the lowest then. An integer of more than eight bytes is
    // found where none has an end in sight.
    let second = ends & ends.wrapping_sub(1);
    if second == 0 {
        return Err(DecodeError::IntegerRange { at: reader.position() }.into());
    }
    Ok(reader.skip(second.trailing_zeros() as usize / 8 + 1)?)
}

/// What a quick pass over a struct tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skim {
    /// The info byte.
    pub(crate) info: u8,
    /// Clocks covered; 0 only where [`Check::EMPTY_ITEMS`] are let through.
    pub(crate) len: u32,
}

impl Skim {
    /// The kind of content.
    #[inline]
    pub(crate) fn content(self) -> u8 {
        self.info & CONTENT
    }

    /// Must a byte-level writer clear the attribute bit? Only an integrated document knows what it says here.
    #[inline]
    pub(crate) fn has_idle_key_bit(self) -> bool {
        self.info & HAS_KEY != 0 && self.info & HAS_NEIGHBOUR != 0
    }
}

/// Passes over one struct.
#[inline]
pub(crate) fn skim<C: Check>(reader: &mut Reader<'_>, check: &C) -> Result<Skim, UpdateError> {
    let at = reader.position();
    let info = reader.u8()?;
    let content = info & CONTENT;
    if content != GC && content != SKIP {
        if info & HAS_ORIGIN != 0 {
            check.id(reader)?;
        }
        if info & HAS_RIGHT_ORIGIN != 0 {
            check.id(reader)?;
        }
        if info & HAS_NEIGHBOUR == 0 {
            if reader.var_uint()? == 1 {
                check.string(reader)?;
            } else {
                check.id(reader)?;
            }
            if info & HAS_KEY != 0 {
                check.string(reader)?;
            }
        }
    }
    let len = skim_content(reader, content, at, check)?;
    if len == 0 && !(C::EMPTY_ITEMS && content != GC && content != SKIP) {
        return Err(UpdateError::EmptyStruct { at });
    }
    Ok(Skim { info, len })
}

/// Passes over a content and gives its length in clocks. `at`: where its struct begins.
#[inline]
fn skim_content<C: Check>(reader: &mut Reader<'_>, content: u8, at: usize, check: &C) -> Result<u32, UpdateError> {
    let len = match content {
        STRING => {
            let ahead = reader.rest();
            let text = check.string(reader)?;
            let behind = ahead.len() - reader.remaining();
            match ahead.get(behind - text.len()..).and_then(<[u8]>::first_chunk::<8>) {
                Some(bytes) if text.len() <= 8 => short_utf16_len(*bytes, text.len() as u32),
                _ => utf16_len(text),
            }
        }
        GC | SKIP | DELETED => reader.var_uint()?,
        ANY => {
            let count = reader.count(1)?;
            for _ in 0..count {
                check.any(reader)?;
            }
            count as u64
        }
        JSON => {
            let count = reader.count(1)?;
            for _ in 0..count {
                check.json(reader, true)?;
            }
            count as u64
        }
        BINARY => {
            reader.skip_var_bytes()?;
            1
        }
        EMBED => {
            check.json(reader, false)?;
            1
        }
        FORMAT => {
            check.string(reader)?;
            check.json(reader, false)?;
            1
        }
        TYPE => {
            let kind = reader.var_uint()?;
            if kind > LAST_TYPE {
                return Err(UpdateError::UnknownType { at: reader.position(), found: kind });
            }
            if kind == 3 || kind == 5 {
                check.string(reader)?;
            }
            1
        }
        DOC => {
            check.string(reader)?;
            check.any(reader)?;
            1
        }
        found => return Err(UpdateError::UnknownContent { at, found }),
    };
    u32::try_from(len).map_err(|_| UpdateError::ClockRange { at })
}

#[inline]
pub(crate) fn read_clock(reader: &mut Reader<'_>) -> Result<u32, UpdateError> {
    let at = reader.position();
    u32::try_from(reader.var_uint()?).map_err(|_| UpdateError::ClockRange { at })
}

#[inline]
pub(crate) fn read_id(reader: &mut Reader<'_>) -> Result<Id, UpdateError> {
    Ok(Id { client: reader.var_uint()?, clock: read_clock(reader)? })
}

/// UTF-16 code units of UTF-8: one for each byte that begins a character, one more for each that begins one of four.
#[inline]
pub(crate) fn utf16_len(utf8: &[u8]) -> u64 {
    let mut units = 0;
    // As many as can be counted in one byte: so the compiler counts them side by side.
    for chunk in utf8.chunks(u8::MAX as usize / 2) {
        let mut of_chunk = 0u8;
        for &byte in chunk {
            of_chunk += u8::from(byte & 0xc0 != 0x80) + u8::from(byte >= 0xf0);
        }
        units += u64::from(of_chunk);
    }
    units
}

/// The same of the first `len` of these bytes, at most eight, without a loop: most texts are that short.
#[inline]
fn short_utf16_len(bytes: [u8; 8], len: u32) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let unused = 64 - 8 * len;
    // The bytes behind are shifted out. (By 64 nothing can be shifted at once.)
    let text = if unused == 64 { 0 } else { u64::from_le_bytes(bytes) << unused };
    let continues = (text >> 7) & !(text >> 6) & ONES;
    let begins_four = (text >> 7) & (text >> 6) & (text >> 5) & (text >> 4) & ONES;
    u64::from(len) - u64::from(continues.count_ones()) + u64::from(begins_four.count_ones())
}

/// One struct of an update; everything borrowed from the update's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struct<'a> {
    /// The first id it covers.
    pub id: Id,
    /// How many clocks it covers.
    pub len: u32,
    /// The info byte as written: the low five bits name the content.
    pub info: u8,
    /// The last id of the left neighbour at creation.
    pub origin: Option<Id>,
    /// The first id of the right neighbour at creation.
    pub right_origin: Option<Id>,
    /// Where it belongs.
    pub parent: Parent<'a>,
    /// The key, if it is an attribute and its parent is written.
    pub parent_sub: Option<&'a str>,
    /// The content as written, without what stands before it. For GC and Skip the length.
    pub content: &'a [u8],
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Where they begin in the update.
    pub offset: usize,
}

impl<'a> Struct<'a> {
    /// Reads the struct at the reader's position, which begins at `id`. Texts in the content are not looked at.
    pub(crate) fn read(reader: &mut Reader<'a>, id: Id) -> Result<Self, UpdateError> {
        let offset = reader.position();
        let info = reader.u8()?;
        let content_kind = info & CONTENT;
        let (mut origin, mut right_origin) = (None, None);
        let (mut parent, mut parent_sub) = (Parent::OfNeighbour, None);
        if content_kind != GC && content_kind != SKIP {
            if info & HAS_ORIGIN != 0 {
                origin = Some(read_id(reader)?);
            }
            if info & HAS_RIGHT_ORIGIN != 0 {
                right_origin = Some(read_id(reader)?);
            }
            if info & HAS_NEIGHBOUR == 0 {
                parent =
                    if reader.var_uint()? == 1 { Parent::Root(reader.var_string()?) } else { Parent::Item(read_id(reader)?) };
                if info & HAS_KEY != 0 {
                    parent_sub = Some(reader.var_string()?);
                }
            }
        }
        let start = reader.position();
        let len = skim_content(reader, content_kind, offset, &Trusting)?;
        if len == 0 && (content_kind == GC || content_kind == SKIP) {
            return Err(UpdateError::EmptyStruct { at: offset });
        }
        Ok(Self {
            id,
            len,
            info,
            origin,
            right_origin,
            parent,
            parent_sub,
            content: reader.since(start),
            bytes: reader.since(offset),
            offset,
        })
    }

    /// The kind of content: 0 is GC, 10 is Skip, everything else makes it an item.
    pub fn content_ref(&self) -> u8 {
        self.info & CONTENT
    }

    /// The clock after the last one it covers.
    pub fn end(&self) -> u32 {
        // Checked when it was read: the end of a struct fits.
        self.id.clock.saturating_add(self.len)
    }
}

/// The clock after a struct of `len` at `clock`.
#[inline]
pub(crate) fn end_of(clock: u32, len: u32, at: usize) -> Result<u32, UpdateError> {
    clock.checked_add(len).ok_or(UpdateError::ClockRange { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_as_long_as_the_loop_finds_them() {
        for text in ["", "a", "ab", "12345678", "ä", "äö", "€x", "😀", "😀😀", "a😀b", "ß€", "漢字"] {
            let mut bytes = [0xf0; 8];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(short_utf16_len(bytes, text.len() as u32), utf16_len(text.as_bytes()), "{text}");
            assert_eq!(utf16_len(text.as_bytes()), text.encode_utf16().count() as u64, "{text}");
        }
        // Whatever the bytes, both agree.
        for seed in 0..100_000u64 {
            let bytes = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            let len = seed as usize % 9;
            assert_eq!(short_utf16_len(bytes, len as u32), utf16_len(&bytes[..len]), "{bytes:?} {len}");
        }
    }
}
