//! Writes a struct, or the piece of one that covers some of its clocks, as a byte-level writer does: without what only
//! an integrated document knows.
//!
//! A piece that does not begin where its struct begins has its own previous id as origin, keeps the right origin, and
//! loses the explicit parent. A text cut between the halves of a surrogate pair loses the character: both halves become
//! U+FFFD, as they do in every other implementation.

use yhub_encoding::{DecodeError, MAX_ANY_DEPTH, Reader, skip_any, write_var_uint};

use super::UpdateError;
use super::structs::{
    ANY, CONTENT, DELETED, GC, HAS_KEY, HAS_NEIGHBOUR, HAS_ORIGIN, HAS_RIGHT_ORIGIN, JSON, SKIP, STRING, Struct,
};

/// One lost half of a surrogate pair.
const LOST_HALF: &[u8] = "\u{fffd}".as_bytes();

/// Appends the piece of `whole` that begins `from` clocks after its start and ends `to` clocks after it.
///
/// `from < to <= whole.len` is the caller's to know.
pub(crate) fn write_piece(out: &mut Vec<u8>, whole: &Struct<'_>, from: u32, to: u32) -> Result<(), UpdateError> {
    debug_assert!(from < to && to <= whole.len, "{from}..{to} is no piece of {}", whole.len);
    let kind = whole.content_ref();
    if kind == GC || kind == SKIP {
        out.push(kind);
        write_var_uint(out, u64::from(to - from));
        return Ok(());
    }
    write_head(out, whole, from);
    if from == 0 && to == whole.len {
        out.extend_from_slice(whole.content);
        return Ok(());
    }
    match kind {
        DELETED => write_var_uint(out, u64::from(to - from)),
        STRING => {
            let text = Reader::new(whole.content).var_bytes()?;
            let piece = cut_text(text, from, to);
            write_var_uint(out, piece.len() as u64);
            piece.write(out);
        }
        ANY | JSON => {
            write_var_uint(out, u64::from(to - from));
            let mut reader = Reader::new(whole.content);
            reader.skip_var_uint()?;
            out.extend_from_slice(cut_elements(reader.rest(), kind, from, to)?);
        }
        // Everything else covers one clock: no piece of it is smaller than the whole.
        found => return Err(UpdateError::UnknownContent { at: whole.offset, found }),
    }
    Ok(())
}

/// Appends what stands before the content of a piece.
fn write_head(out: &mut Vec<u8>, whole: &Struct<'_>, from: u32) {
    if from == 0 {
        let head = whole.bytes.len() - whole.content.len();
        let start = out.len();
        out.extend_from_slice(&whole.bytes[..head]);
        if whole.info & HAS_NEIGHBOUR != 0 {
            out[start] = whole.info & !HAS_KEY;
        }
        return;
    }
    out.push((whole.info & (CONTENT | HAS_RIGHT_ORIGIN)) | HAS_ORIGIN);
    write_var_uint(out, whole.id.client);
    write_var_uint(out, u64::from(whole.id.clock + from - 1));
    if let Some(right) = whole.right_origin {
        write_var_uint(out, right.client);
        write_var_uint(out, u64::from(right.clock));
    }
}

/// A piece of a text: what is left of it, and whether a lost half stands before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextPiece<'a> {
    pub(crate) lost_before: bool,
    pub(crate) middle: &'a [u8],
    pub(crate) lost_after: bool,
}

impl TextPiece<'_> {
    /// Bytes that [`TextPiece::write`] appends.
    pub(crate) fn len(&self) -> usize {
        self.middle.len() + (usize::from(self.lost_before) + usize::from(self.lost_after)) * LOST_HALF.len()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.lost_before {
            out.extend_from_slice(LOST_HALF);
        }
        out.extend_from_slice(self.middle);
        if self.lost_after {
            out.extend_from_slice(LOST_HALF);
        }
    }
}

/// The UTF-16 code units `from..to` of a text in UTF-8.
pub(crate) fn cut_text(text: &[u8], from: u32, to: u32) -> TextPiece<'_> {
    let (before, lost_before) = byte_offset(text, from);
    // The lost half belongs to the character at `before`; what goes on begins after it.
    let start = if lost_before { after_character(text, before) } else { before };
    let (length, lost_after) = byte_offset(&text[start..], to - from - u32::from(lost_before));
    TextPiece { lost_before, middle: &text[start..start + length], lost_after }
}

/// Where the code unit number `units` begins in `text`, and whether it is the second half of the character there.
fn byte_offset(text: &[u8], units: u32) -> (usize, bool) {
    if text.len() == units as usize {
        // At the end of a text without anything but ASCII; or past the end of another, which the loop would find too.
        return (text.len(), false);
    }
    let mut seen = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte & 0xc0 == 0x80 {
            continue;
        }
        if seen == units {
            return (at, false);
        }
        seen += 1;
        if byte >= 0xf0 {
            if seen == units {
                return (at, true);
            }
            seen += 1;
        }
    }
    (text.len(), false)
}

/// The offset after the character that begins at `at`.
pub(crate) fn after_character(text: &[u8], at: usize) -> usize {
    let rest = text.get(at + 1..).unwrap_or_default();
    at + 1 + rest.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(rest.len())
}

/// The bytes of the elements `from..to` among those in `elements` (without their count).
pub(crate) fn cut_elements(elements: &[u8], kind: u8, from: u32, to: u32) -> Result<&[u8], UpdateError> {
    let mut reader = Reader::new(elements);
    let pass = |reader: &mut Reader<'_>, count: u32| -> Result<(), DecodeError> {
        for _ in 0..count {
            if kind == ANY { skip_any(reader, MAX_ANY_DEPTH)? } else { reader.skip_var_bytes()? }
        }
        Ok(())
    };
    pass(&mut reader, from)?;
    let start = reader.position();
    pass(&mut reader, to - from)?;
    Ok(reader.since(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_code_units() {
        let cut = |text: &'static str, from, to| {
            let mut out = Vec::new();
            let piece = cut_text(text.as_bytes(), from, to);
            piece.write(&mut out);
            assert_eq!(out.len(), piece.len());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(cut("hello", 1, 3), "el");
        assert_eq!(cut("hello", 0, 5), "hello");
        assert_eq!(cut("häß€x", 1, 4), "äß€");
        assert_eq!(cut("a😀b", 0, 1), "a");
        assert_eq!(cut("a😀b", 0, 2), "a\u{fffd}");
        assert_eq!(cut("a😀b", 1, 3), "😀");
        assert_eq!(cut("a😀b", 2, 4), "\u{fffd}b");
        assert_eq!(cut("a😀b", 2, 3), "\u{fffd}");
        assert_eq!(cut("😀😀", 1, 3), "\u{fffd}\u{fffd}");
        assert_eq!(cut("😀😀", 1, 4), "\u{fffd}😀");
        assert_eq!(cut("ää", 1, 2), "ä");
    }

    #[test]
    fn every_cut_is_what_javascript_makes_of_it() {
        for text in ["", "abc", "a😀b€😀", "é😀", "漢字かな😀😀x"] {
            let units: Vec<u16> = text.encode_utf16().collect();
            for from in 0..units.len() {
                for to in from + 1..=units.len() {
                    let mut out = Vec::new();
                    cut_text(text.as_bytes(), from as u32, to as u32).write(&mut out);
                    assert_eq!(
                        String::from_utf8(out).unwrap(),
                        String::from_utf16_lossy(&units[from..to]),
                        "{text} {from}..{to}"
                    );
                }
            }
        }
    }
}
