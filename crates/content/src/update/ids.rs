//! What an update holds, without applying it: content ids and state vector.

use yhub_encoding::Reader;

use super::UpdateError;
use super::heal::healed;
use super::reader::Scanner;
use super::structs::SKIP;
use crate::{ContentIds, IdRange, IdSet, StateVector};

/// The ids that `update` inserts (every id of an item or a GC, not of a Skip) and those that it deletes (its delete
/// set).
///
/// What the insertion would delete as a consequence, such as the value that an attribute had before, is not in it
/// unless the update says so.
///
/// # Errors
/// If `update` is damaged.
pub fn content_ids(update: &[u8]) -> Result<ContentIds, UpdateError> {
    healed(update, read_content_ids)
}

fn read_content_ids(update: &[u8]) -> Result<ContentIds, UpdateError> {
    let mut scanner = Scanner::new(update)?;
    let mut inserts = IdSet::new();
    while let Some(section) = scanner.next_section()? {
        let mut ranges = RangeCollector::new(section.client, section.clock);
        while let Some(place) = scanner.next_in_section()? {
            ranges.push(place.skim.content() != SKIP, place.clock, place.end, &mut inserts);
        }
        ranges.finish(&mut inserts);
    }
    let deletes = read_delete_set(scanner.rest())?;
    Ok(ContentIds { inserts, deletes })
}

/// Joins the structs of a section to ranges.
pub(crate) struct RangeCollector {
    client: u64,
    start: u32,
    end: u32,
}

impl RangeCollector {
    pub(crate) fn new(client: u64, clock: u32) -> Self {
        Self { client, start: clock, end: clock }
    }

    /// Adds the next struct; `known`: it is no Skip.
    #[inline]
    pub(crate) fn push(&mut self, known: bool, clock: u32, end: u32, into: &mut IdSet) {
        if known && clock == self.end {
            self.end = end;
        } else if known {
            self.flush(into);
            (self.start, self.end) = (clock, end);
        }
    }

    pub(crate) fn finish(self, into: &mut IdSet) {
        self.flush(into);
    }

    fn flush(&self, into: &mut IdSet) {
        if let Some(range) = IdRange::between(self.start, self.end) {
            into.insert(self.client, range);
        }
    }
}

/// Reads the delete set at the reader's position.
pub(crate) fn read_delete_set(mut reader: Reader<'_>) -> Result<IdSet, UpdateError> {
    Ok(IdSet::decode_v1(&mut reader)?)
}

/// The state vector of an update alone: per client whose structs begin at clock 0, the clock up to which they follow
/// without a Skip. Other clients are not in it.
///
/// # Errors
/// If the structs of `update` are damaged.
pub fn state_vector_of(update: &[u8]) -> Result<StateVector, UpdateError> {
    healed(update, read_state_vector)
}

fn read_state_vector(update: &[u8]) -> Result<StateVector, UpdateError> {
    let mut scanner = Scanner::new(update)?;
    let mut vector = StateVector::new();
    while let Some(section) = scanner.next_section()? {
        let mut counting = section.clock == 0;
        let mut end = 0;
        while let Some(place) = scanner.next_in_section()? {
            counting &= place.skim.content() != SKIP;
            if counting {
                end = place.end;
            }
        }
        if end > vector.get(section.client) {
            vector.set(section.client, end);
        }
    }
    Ok(vector)
}
