//! Which rooms fail to be compacted, and which streams were set aside for it. Lies beside the version rows, because it must
//! outlive the log.

use async_trait::async_trait;
use yhub_core::{RoomId, StreamClock};

use crate::{AuditRecord, DocStoreError, QuarantineId};

/// A compaction that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReport {
    /// Of which room.
    pub room: RoomId,
    /// What kind of failure, one word: `entry`, `row`, `compute`, …
    pub class: String,
    /// What makes two failures alike, whatever the room: the class, and the message without what is one room's own.
    pub signature: String,
    /// How often its task had been claimed.
    pub attempt: u32,
    /// The first entry of the stream that was to be compacted.
    pub from: StreamClock,
    /// The last one.
    pub upto: StreamClock,
    /// What went wrong, for operators. Never content of documents.
    pub message: String,
    /// When, in milliseconds since 1970, from the log's time.
    pub at_ms: u64,
}

/// How a failure compares with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureTally {
    /// So often has this room failed with this signature in a row, this time included.
    pub in_a_row: u64,
    /// So many rooms have failed with this signature since the time asked for, this one included.
    pub rooms_alike: u64,
}

/// A room that fails now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomFailure {
    /// The latest failure.
    pub report: FailureReport,
    /// How often in a row with this signature.
    pub in_a_row: u64,
    /// When the first of these was, in milliseconds since 1970.
    pub first_ms: u64,
}

/// Why and when a stream was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// Whose stream.
    pub room: RoomId,
    /// Its name in the log.
    pub id: QuarantineId,
    /// The class of the failures; `operator` if somebody asked for it.
    pub class: String,
    /// Their signature.
    pub signature: String,
    /// What the last one said.
    pub reason: String,
    /// The first entry.
    pub from: StreamClock,
    /// The last one.
    pub upto: StreamClock,
    /// When, in milliseconds since 1970, from the log's time.
    pub at_ms: u64,
}

/// A part of a listing by room, in the order of org, docid, branch.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only what comes after this room.
    pub after: Option<&'a RoomId>,
    /// At most so many rooms; those of one room are never torn apart.
    pub max: usize,
}

/// Records of failures and quarantines. Every method may be cancelled, and repeated.
#[async_trait]
pub trait FailureStore: Send + Sync + 'static {
    /// Records a failure over what is known of its room: the count goes on if the signature is the same, else it starts at
    /// one. Counts the rooms that failed alike since `since_ms`.
    async fn record_failure(&self, report: &FailureReport, since_ms: u64) -> Result<FailureTally, DocStoreError>;

    /// The room was compacted: its failures are forgotten.
    async fn forget_failures(&self, room: &RoomId) -> Result<(), DocStoreError>;

    /// The rooms that fail now.
    async fn failures(&self, page: Page<'_>) -> Result<Vec<RoomFailure>, DocStoreError>;

    /// Records that a stream is set aside. From then on [`crate::DocStore::read`] names it. One that is recorded already
    /// stays as it is.
    async fn put_quarantine(&self, record: &QuarantineRecord) -> Result<(), DocStoreError>;

    /// Forgets a quarantine. False if there was none of that name. If there was, `audit` is written in the same transaction.
    async fn end_quarantine(&self, room: &RoomId, id: &QuarantineId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError>;

    /// The quarantines on record, of each room the oldest first.
    async fn quarantines(&self, page: Page<'_>) -> Result<Vec<QuarantineRecord>, DocStoreError>;
}
