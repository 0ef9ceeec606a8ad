//! Items without content, which some clients once wrote (an empty text, inserted all the same).
//!
//! They say nothing and cover no id. Every other function here would have to step around them for the sake of a few old
//! documents; instead they refuse them, and what came with them is read again without.

use std::borrow::Cow;

use yhub_encoding::{Reader, write_var_uint};

use super::UpdateError;
use super::reader::{read_section, read_section_count};
use super::structs::{Id, Struct, end_of};

/// What `work` makes of `update`, or of `update` without its empty items if it has some.
pub(crate) fn healed<T>(update: &[u8], work: impl Fn(&[u8]) -> Result<T, UpdateError>) -> Result<T, UpdateError> {
    match work(update) {
        Err(UpdateError::EmptyStruct { .. }) => work(&without_empty_items(update)?),
        other => other,
    }
}

/// `update` without its empty items.
pub(crate) fn without_empty_items(update: &[u8]) -> Result<Cow<'_, [u8]>, UpdateError> {
    let mut reader = Reader::new(update);
    let mut out = Vec::with_capacity(update.len());
    let sections = read_section_count(&mut reader)?;
    write_var_uint(&mut out, sections as u64);
    let mut structs = Vec::new();
    let mut dropped = false;
    for _ in 0..sections {
        let section = read_section(&mut reader)?;
        structs.clear();
        let (mut clock, mut kept) = (section.clock, 0);
        for _ in 0..section.structs {
            let one = Struct::read(&mut reader, Id { client: section.client, clock })?;
            clock = end_of(clock, one.len, one.offset)?;
            if one.len > 0 {
                structs.extend_from_slice(one.bytes);
                kept += 1;
            } else {
                dropped = true;
            }
        }
        write_var_uint(&mut out, kept);
        write_var_uint(&mut out, section.client);
        write_var_uint(&mut out, u64::from(section.clock));
        out.extend_from_slice(&structs);
    }
    if !dropped {
        return Ok(Cow::Borrowed(update));
    }
    out.extend_from_slice(reader.rest());
    Ok(Cow::Owned(out))
}
