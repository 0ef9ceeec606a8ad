//! The guard: looks at bytes from outside before anything else does.
//!
//! It walks once over what it is given, reserves no memory by a number that it reads, and never panics. What passed can
//! be read by everything in this crate, and by every client, without surprise: counts fit into the bytes, texts are
//! UTF-8, JSON texts are JSON, values are not nested too deeply, clients have 53 bits and clocks 32, and sizes are
//! within [`Limits`].

mod check;
mod error;
mod limits;

use yhub_encoding::Reader;

pub use error::GuardError;
pub use limits::Limits;

use self::check::{Seen, Thorough};
use crate::state_vector::read_entries;
use crate::update::ids::{RangeCollector, read_delete_set};
use crate::update::reader::{read_deletes, read_section, read_section_count};
use crate::update::structs::{Id, SKIP, end_of, skim};
use crate::{ContentIds, IdSet};

/// What an update that passed the guard consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateSummary {
    /// Its bytes.
    pub size_bytes: usize,
    /// Clients that have structs in it.
    pub clients: usize,
    /// Structs, Skips included.
    pub structs: usize,
    /// Ids that it inserts.
    pub inserted_ids: u64,
    /// Ranges of its delete set, as written, without empty ones.
    pub delete_ranges: usize,
}

impl UpdateSummary {
    /// Does it change nothing, whatever the document?
    pub fn is_empty(&self) -> bool {
        self.inserted_ids == 0 && self.delete_ranges == 0
    }
}

/// What [`inspect_update`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// What it inserts and deletes, as [`crate::content_ids`] gives it.
    pub ids: ContentIds,
    /// What it consists of.
    pub summary: UpdateSummary,
}

/// Checks an update.
///
/// # Errors
/// What is wrong first, or which limit is passed first.
pub fn check_update(update: &[u8], limits: &Limits) -> Result<UpdateSummary, GuardError> {
    let (mut summary, reader) = walk(update, limits, |_, _| {})?;
    summary.delete_ranges = count_deletes(reader, limits)?;
    Ok(summary)
}

/// Checks the delete set at the reader's position; gives the number of its ranges.
fn count_deletes(mut reader: Reader<'_>, limits: &Limits) -> Result<usize, GuardError> {
    let mut ranges = 0;
    read_deletes(&mut reader, |_, _, _| {
        ranges += 1;
        Ok(())
    })?;
    within("ranges of deleted ids", ranges, limits.max_delete_ranges)?;
    Ok(ranges)
}

/// Checks an update and gives the content ids too: one walk where [`check_update`] and [`crate::content_ids`] take two.
///
/// # Errors
/// As [`check_update`].
pub fn inspect_update(update: &[u8], limits: &Limits) -> Result<Inspected, GuardError> {
    let mut inserts = IdSet::new();
    let mut open: Option<RangeCollector> = None;
    let (mut summary, reader) = walk(update, limits, |begins, piece| {
        if begins && let Some(done) = open.replace(RangeCollector::new(piece.client, piece.clock)) {
            done.finish(&mut inserts);
        }
        if let Some(open) = &mut open {
            open.push(piece.known, piece.clock, piece.end, &mut inserts);
        }
    })?;
    if let Some(done) = open {
        done.finish(&mut inserts);
    }
    summary.delete_ranges = count_deletes(reader, limits)?;
    let deletes = read_delete_set(reader)?;
    Ok(Inspected { ids: ContentIds { inserts, deletes }, summary })
}

/// A struct, as [`walk`] reports it.
struct Piece {
    client: u64,
    clock: u32,
    end: u32,
    /// It is no Skip.
    known: bool,
}

/// Checks all structs and hands each to `each`, with true if it is the first of a client. Gives a reader at the delete
/// set.
fn walk<'a>(
    update: &'a [u8],
    limits: &Limits,
    mut each: impl FnMut(bool, Piece),
) -> Result<(UpdateSummary, Reader<'a>), GuardError> {
    within_size(update, limits)?;
    let mut summary = UpdateSummary { size_bytes: update.len(), ..UpdateSummary::default() };
    let mut reader = Reader::new(update);
    summary.clients = read_section_count(&mut reader)?;
    within("clients", summary.clients, limits.max_clients)?;
    let check = Thorough::new(limits.max_depth);
    let mut seen = Seen::default();
    for _ in 0..summary.clients {
        let section = read_section(&mut reader)?;
        seen.add(section.client, reader.position())?;
        summary.structs = summary.structs.saturating_add(section.structs);
        within("structs", summary.structs, limits.max_structs)?;
        let mut clock = section.clock;
        for index in 0..section.structs {
            let at = reader.position();
            check.set_own(Id { client: section.client, clock });
            let skim = skim(&mut reader, &check)?;
            let end = end_of(clock, skim.len, at)?;
            let known = skim.content() != SKIP;
            summary.inserted_ids += if known { u64::from(skim.len) } else { 0 };
            each(index == 0, Piece { client: section.client, clock, end, known });
            clock = end;
        }
    }
    seen.finish()?;
    Ok((summary, reader))
}

/// Checks a state vector and gives its number of entries.
///
/// # Errors
/// Also if it announces more entries than it has bytes for: some decoders reserve memory for whatever is announced.
pub fn check_state_vector(bytes: &[u8], limits: &Limits) -> Result<usize, GuardError> {
    within_size(bytes, limits)?;
    let entries = read_entries(&mut Reader::new(bytes), |_, _| {})?;
    within("clients", entries, limits.max_clients)?;
    Ok(entries)
}

/// Checks a delete set in the form it has at the end of an update, and gives its number of ranges.
///
/// # Errors
/// What is wrong first, or which limit is passed first.
pub fn check_delete_set(bytes: &[u8], limits: &Limits) -> Result<usize, GuardError> {
    within_size(bytes, limits)?;
    count_deletes(Reader::new(bytes), limits)
}

/// Checks a set of ids in the form that stands alone ([`IdSet::encode`]), and gives its number of ranges.
///
/// # Errors
/// What is wrong first, or which limit is passed first.
pub fn check_id_set(bytes: &[u8], limits: &Limits) -> Result<usize, GuardError> {
    within_size(bytes, limits)?;
    let ranges = check::id_set(&mut Reader::new(bytes))?;
    within("ranges of ids", ranges, limits.max_delete_ranges)?;
    Ok(ranges)
}

/// Checks content ids ([`ContentIds::encode`]), and gives their number of ranges.
///
/// # Errors
/// What is wrong first, or which limit is passed first.
pub fn check_content_ids(bytes: &[u8], limits: &Limits) -> Result<usize, GuardError> {
    within_size(bytes, limits)?;
    let mut reader = Reader::new(bytes);
    let ranges = check::id_set(&mut reader)? + check::id_set(&mut reader)?;
    within("ranges of ids", ranges, limits.max_delete_ranges)?;
    Ok(ranges)
}

fn within_size(bytes: &[u8], limits: &Limits) -> Result<(), GuardError> {
    if bytes.len() > limits.max_size_bytes {
        return Err(GuardError::TooLarge { size_bytes: bytes.len(), limit_bytes: limits.max_size_bytes });
    }
    Ok(())
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), GuardError> {
    if found > limit { Err(GuardError::TooMany { what, found, limit }) } else { Ok(()) }
}
