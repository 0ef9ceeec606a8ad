//! From columns to what the traits speak of, and back; the same for every database.

use std::borrow::Cow;

use bytes::Bytes;
use yhub_core::{RoomId, StreamClock};
use yhub_store::{DocStoreError, FailureReport, QuarantineId, QuarantineRecord, RoomFailure, VersionRow};

/// A version row as it is stored: `t`, `created`, the selected assets, which columns may hold references.
pub(super) type StoredVersion = (String, Option<i64>, StoredAssets, (bool, bool, bool, bool));
type StoredAssets = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// The parts of a room's name.
pub(super) type StoredName = (String, String, String);
/// A row of `yhub_failures_v1`: the room; class, signature, message; first and last clock; the numbers `in_a_row`,
/// `attempt`, `first_ms`, `last_ms`.
pub(super) type StoredFailure = (StoredName, (String, String, String), (String, String), (i64, i64, i64, i64));
/// A row of `yhub_quarantines_v1`: the room; id; class, signature, reason; first and last clock; `at_ms`.
pub(super) type StoredQuarantine = (StoredName, String, (String, String, String), (String, String), i64);

/// At most so many bytes of a signature are kept: it stands in an index, and those of PostgreSQL hold no long texts.
pub(super) const MAX_SIGNATURE: usize = 500;
/// At most so many bytes of another text for operators are kept.
pub(super) const MAX_TEXT: usize = 4_000;

/// `text` as every database can hold it: without U+0000, which PostgreSQL refuses, and of at most `max` bytes.
pub(super) fn kept(text: &str, max: usize) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(max)];
    if !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    // Two bytes more for each of them: cut again.
    let mut whole = text.replace('\0', "\u{fffd}");
    whole.truncate(whole.floor_char_boundary(max));
    Cow::Owned(whole)
}

/// A number as the databases hold it. One that does not fit is as high as can be.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, at: impl FnOnce() -> String) -> Result<u64, DocStoreError> {
    u64::try_from(value).map_err(|_| DocStoreError::Corrupt { at: at(), what: format!("{value} is negative") })
}

fn clock(text: &str, at: impl FnOnce() -> String) -> Result<StreamClock, DocStoreError> {
    text.parse().map_err(|error: yhub_core::ClockError| DocStoreError::Corrupt { at: at(), what: error.to_string() })
}

/// The version rows of `room`, oldest first: by number, which is why the database does not sort them.
pub(super) fn version_rows(room: &RoomId, stored: Vec<StoredVersion>) -> Result<Vec<VersionRow>, DocStoreError> {
    let mut rows = stored.into_iter().map(|row| version_row(room, row)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|(clock, row), (other_clock, other)| (clock, &row.t).cmp(&(other_clock, &other.t)));
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn version_row(room: &RoomId, stored: StoredVersion) -> Result<(StreamClock, VersionRow), DocStoreError> {
    let (t, created, (gcdoc, nongcdoc, contentmap, contentids), (gc_ref, nongc_ref, map_ref, ids_ref)) = stored;
    let clock = clock(&t, || format!("yhub_ydoc_v1, column t, of room {room}"))?;
    let row = VersionRow {
        t,
        created_ms: created.unwrap_or_else(|| number(clock.ms)),
        assets: [gcdoc, nongcdoc, contentmap, contentids].map(|asset| asset.map(Bytes::from)),
        is_reference: [gc_ref, nongc_ref, map_ref, ids_ref],
    };
    Ok((clock, row))
}

/// A room that fails.
pub(super) fn room_failure(stored: StoredFailure) -> Result<RoomFailure, DocStoreError> {
    let ((org, docid, branch), (class, signature, message), (from, upto), (in_a_row, attempt, first_ms, last_ms)) = stored;
    let room = RoomId::new(&org, &docid, &branch);
    let at = |column: &str| format!("yhub_failures_v1, column {column}, of room {room}");
    let (from, upto) = (clock(&from, || at("from_clock"))?, clock(&upto, || at("upto_clock"))?);
    let attempt = u32::try_from(attempt)
        .map_err(|_| DocStoreError::Corrupt { at: at("attempt"), what: format!("{attempt} is out of range") })?;
    let in_a_row = unsigned(in_a_row, || at("in_a_row"))?;
    let (first_ms, at_ms) = (unsigned(first_ms, || at("first_ms"))?, unsigned(last_ms, || at("last_ms"))?);
    let report = FailureReport { room, class, signature, attempt, from, upto, message, at_ms };
    Ok(RoomFailure { report, in_a_row, first_ms })
}

/// Quarantines, by room, of each the oldest first.
pub(super) fn quarantine_records(stored: Vec<StoredQuarantine>) -> Result<Vec<QuarantineRecord>, DocStoreError> {
    let mut records = stored.into_iter().map(quarantine_record).collect::<Result<Vec<_>, _>>()?;
    // What was set aside at the same time is in the order of its edits, whose clocks are no texts to sort by.
    records.sort_by(|one, other| {
        let key = |record: &QuarantineRecord| (record.at_ms, record.from, record.upto);
        one.room.cmp(&other.room).then_with(|| key(one).cmp(&key(other))).then_with(|| one.id.0.cmp(&other.id.0))
    });
    Ok(records)
}

fn quarantine_record(stored: StoredQuarantine) -> Result<QuarantineRecord, DocStoreError> {
    let ((org, docid, branch), id, (class, signature, reason), (from, upto), at_ms) = stored;
    let room = RoomId::new(&org, &docid, &branch);
    let at = |column: &str| format!("yhub_quarantines_v1, column {column}, of room {room}, qid {id}");
    let (from, upto) = (clock(&from, || at("from_clock"))?, clock(&upto, || at("upto_clock"))?);
    let at_ms = unsigned(at_ms, || at("at_ms"))?;
    Ok(QuarantineRecord { room, id: QuarantineId(id), class, signature, reason, from, upto, at_ms })
}

#[cfg(test)]
mod tests {
    use super::{MAX_SIGNATURE, kept};

    #[test]
    fn texts_are_cut_between_characters_and_hold_no_nul() {
        assert_eq!(kept("as it is", MAX_SIGNATURE), "as it is");
        assert_eq!(kept("a\0b", 100), "a\u{fffd}b");
        for max in 0..12 {
            for text in ["é🦀é🦀", "\0\0\0\0", "a\0é\0🦀"] {
                let kept = kept(text, max);
                assert!(kept.len() <= max && !kept.contains('\0'), "{kept:?} of {max}");
            }
        }
    }
}
