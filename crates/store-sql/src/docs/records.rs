//! From columns to what the traits speak of, and back; the same for every database.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use yhub_core::{Asset, RoomId, StreamClock, UserMatcher, access::Grants};
use yhub_encoding::Any;
pub(super) use yhub_store::kept_text as kept;
use yhub_store::{
    AccessToken, Asset4, AuditRecord, DeletedRoom, DocStoreError, ErasedRow, FailureReport, Hold, Notice, NoticeHead, NoticeId,
    QuarantineId, QuarantineRecord, RoomFailure, RoomOverview, Tombstone, VersionRow,
};

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

/// A tombstone with its room: `deleted_at`, `hard`, `purged_at`, `by`.
pub(super) type StoredDeletion = (StoredName, (i64, bool, Option<i64>, Option<String>));
/// How long the four columns are.
pub(super) type StoredSizes = (Option<i32>, Option<i32>, Option<i32>, Option<i32>);
/// A version row that is to be erased: `t`, how long its columns are, and what they hold where that may be a reference.
pub(super) type StoredVictim = (String, StoredSizes, StoredAssets);
/// A row of `yhub_erased_rows_v1` without its room: `t`, how long the columns were, whose the references.
pub(super) type StoredErased = (
    String,
    (Option<i64>, Option<i64>, Option<i64>, Option<i64>),
    (Option<String>, Option<String>, Option<String>, Option<String>),
);
/// A row of `yhub_holds_v1`: the room; by whom, why, when.
pub(super) type StoredHold = (StoredName, String, String, i64);

/// A row of `yhub_audit_v1`: `at_ms` and `id`; actor, via, action; the room, as far as there is one; result, request id, address,
/// detail; `stands_for`.
pub(super) type StoredAudit = (
    (i64, String),
    (String, String, String),
    (Option<String>, Option<String>, Option<String>),
    (String, String, Option<String>, String),
    i64,
);
/// A row of `yhub_access_tokens_v1`: id and hash; user, label, grants, by whom; `created_ms`, `expires_ms`, `revoked_ms`.
pub(super) type StoredToken = ((String, Vec<u8>), (String, String, String, String), (i64, Option<i64>, Option<i64>));

/// A row of `yhub_notices_v1`: `at_ms` and `id`; org, users, whether they are cut.
pub(super) type StoredNotice = ((i64, String), (Option<String>, Option<Vec<u8>>, bool));

/// What is longer is no reference but the asset itself, whatever is said of its column: a reference is little more than the name
/// of a plugin.
pub(super) const MAX_REFERENCE: i32 = 4_096;
/// At most so many bytes of a signature are kept: it stands in an index, and those of PostgreSQL hold no long texts.
pub(super) const MAX_SIGNATURE: usize = 500;
/// At most so many bytes of another text for operators are kept.
pub(super) const MAX_TEXT: usize = 4_000;

/// A name for a record that no other has: of this process or another, before or after. Those of one process ascend.
pub(super) fn record_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:012x}{:016x}", COUNT.fetch_add(1, Ordering::Relaxed), *PROCESS)
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

/// A row that is to be erased.
pub(super) fn victim(stored: StoredVictim) -> ErasedRow {
    let (t, (gcdoc, nongcdoc, contentmap, contentids), (gc_ref, nongc_ref, map_ref, ids_ref)) = stored;
    let size = |length: Option<i32>| length.map(|length| u64::try_from(length).unwrap_or(0));
    let plugin = |held: Option<Vec<u8>>| match Asset::decode(&Bytes::from(held?)) {
        Ok(Asset::Retrievable { plugin }) => Some(plugin),
        // Where nobody said what a column holds, it may hold anything.
        _ => None,
    };
    ErasedRow {
        t,
        sizes_bytes: [gcdoc, nongcdoc, contentmap, contentids].map(size),
        plugins: [gc_ref, nongc_ref, map_ref, ids_ref].map(plugin),
    }
}

/// A row that was erased.
pub(super) fn erased_row(room: &RoomId, stored: StoredErased) -> Result<ErasedRow, DocStoreError> {
    let (t, (gcdoc, nongcdoc, contentmap, contentids), (gc_plugin, nongc_plugin, map_plugin, ids_plugin)) = stored;
    let mut sizes_bytes: Asset4<Option<u64>> = [None; 4];
    for (size, found) in sizes_bytes.iter_mut().zip([gcdoc, nongcdoc, contentmap, contentids]) {
        *size = found.map(|found| unsigned(found, || format!("yhub_erased_rows_v1, room {room}, t {t}"))).transpose()?;
    }
    Ok(ErasedRow { t, sizes_bytes, plugins: [gc_plugin, nongc_plugin, map_plugin, ids_plugin] })
}

/// A deleted room.
pub(super) fn deleted_room(stored: StoredDeletion) -> DeletedRoom {
    let ((org, docid, branch), (deleted_at_ms, hard, purged_at_ms, by)) = stored;
    DeletedRoom { room: RoomId::new(&org, &docid, &branch), tombstone: Tombstone { deleted_at_ms, hard, purged_at_ms, by } }
}

/// A room of which these rows are stored: keys, and how long their columns are. A key that cannot be read counts as oldest.
pub(super) fn overview(room: RoomId, rows: Vec<(String, StoredSizes)>, tombstone: Option<Tombstone>) -> RoomOverview {
    let mut sizes_bytes: Asset4<u64> = [0; 4];
    for (_, (gcdoc, nongcdoc, contentmap, contentids)) in &rows {
        for (sum, length) in sizes_bytes.iter_mut().zip([gcdoc, nongcdoc, contentmap, contentids]) {
            *sum = sum.saturating_add(length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0));
        }
    }
    let count = rows.len() as u64;
    let newest = rows.into_iter().map(|(t, _)| t).max_by_key(|t| (t.parse::<StreamClock>().ok(), t.clone()));
    RoomOverview { room, newest: newest.unwrap_or_default(), rows: count, sizes_bytes, tombstone }
}

/// What is on a room that must not be erased.
pub(super) fn hold(stored: StoredHold) -> Result<Hold, DocStoreError> {
    let ((org, docid, branch), by, reason, at_ms) = stored;
    let room = RoomId::new(&org, &docid, &branch);
    let at_ms = unsigned(at_ms, || format!("yhub_holds_v1, column at_ms, of room {room}"))?;
    Ok(Hold { room, by, reason, at_ms })
}

/// A record of what was done.
pub(super) fn audit_record(stored: StoredAudit) -> Result<AuditRecord, DocStoreError> {
    let ((at_ms, id), (actor, via, action), (org, docid, branch), (result, request_id, address, detail), count) = stored;
    let at = |column: &str| format!("yhub_audit_v1, column {column}, id {id}");
    let count = u32::try_from(count)
        .map_err(|_| DocStoreError::Corrupt { at: at("stands_for"), what: format!("{count} is out of range") })?;
    let at_ms = unsigned(at_ms, || at("at_ms"))?;
    Ok(AuditRecord { at_ms, actor, via, action, org, docid, branch, result, request_id, address, detail, count })
}

/// An access token with its ancestors.
pub(super) fn access_token(stored: StoredToken, ancestors: Vec<String>) -> Result<AccessToken, DocStoreError> {
    let ((id, hash), (user, label, grants, by), (created_ms, expires_ms, revoked_ms)) = stored;
    let corrupt = |column: &str, what: String| DocStoreError::Corrupt {
        at: format!("yhub_access_tokens_v1, column {column}, of token {id}"),
        what,
    };
    let secret_hash =
        hash.try_into().map_err(|hash: Vec<u8>| corrupt("secret_hash", format!("it has {} bytes, not 32", hash.len())))?;
    let grants = Any::from_json(&grants).map_err(|error| corrupt("grants", error.to_string()))?;
    let grants = Grants::from_any(&grants).map_err(|error| corrupt("grants", error.to_string()))?;
    let ms = |column: &str, ms: i64| u64::try_from(ms).map_err(|_| corrupt(column, format!("{ms} is negative")));
    let created_ms = ms("created_ms", created_ms)?;
    let expires_ms = expires_ms.map(|at_ms| ms("expires_ms", at_ms)).transpose()?;
    let revoked_ms = revoked_ms.map(|at_ms| ms("revoked_ms", at_ms)).transpose()?;
    Ok(AccessToken { id, secret_hash, ancestors, user, label, grants, created_ms, expires_ms, revoked_ms, by })
}

/// What is told of a notice before it is brought: its time, name, org, and how long its users are.
pub(super) fn notice_head((at_ms, id, org, length): (i64, String, Option<String>, Option<i32>)) -> NoticeHead {
    let size_bytes = usize::try_from(length.unwrap_or(0)).unwrap_or(0);
    NoticeHead { id: NoticeId(id), at_ms: u64::try_from(at_ms).unwrap_or(0), org, size_bytes }
}

/// A notice. What it says of its users may be from a newer version, or damaged: then everybody is concerned, but nobody cut.
pub(super) fn notice(stored: StoredNotice) -> (NoticeId, Notice) {
    let ((at_ms, id), (org, users, cut)) = stored;
    let at_ms = u64::try_from(at_ms).unwrap_or(0);
    let users = users.map(|users| Any::from_bytes(&users).ok().and_then(UserMatcher::list_from_any));
    let notice = match users {
        Some(None) => Notice { at_ms, org, users: None, cut: false },
        users => Notice { at_ms, org, users: users.flatten(), cut },
    };
    (NoticeId(id), notice)
}
