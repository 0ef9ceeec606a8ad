//! The version rows of each room and the tombstones of deleted ones.
//!
//! Layout of rows and columns: the tables `yhub_ydoc_v1` and `yhub_ydoc_tombstones_v1` that y/hub 0.7 writes.

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::{RoomId, StreamClock};

use crate::{AuditRecord, Brought, DocStoreError, QuarantineId, TaskEpoch};

/// Which of the four assets of a version row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum AssetKind {
    /// The document without deleted content.
    GcDoc = 0,
    /// The document with deleted content.
    NongcDoc = 1,
    /// Who wrote and deleted what, and when.
    ContentMap = 2,
    /// Which ids the row holds.
    ContentIds = 3,
}

impl AssetKind {
    /// All four, in column order.
    pub const ALL: [Self; 4] = [Self::GcDoc, Self::NongcDoc, Self::ContentMap, Self::ContentIds];
}

/// One value for each [`AssetKind`], in column order.
pub type Asset4<T> = [T; 4];

/// Which assets a read brings along; the others stay in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AssetSelection(pub Asset4<bool>);

impl AssetSelection {
    /// None: only the clocks of the rows.
    pub const NONE: Self = Self([false; 4]);
    /// All four.
    pub const ALL: Self = Self([true; 4]);

    /// The kinds listed.
    pub const fn of(kinds: &[AssetKind]) -> Self {
        let mut wanted = [false; 4];
        let mut at = 0;
        while at < kinds.len() {
            wanted[kinds[at] as usize] = true;
            at += 1;
        }
        Self(wanted)
    }

    /// Is `kind` among them?
    pub const fn has(self, kind: AssetKind) -> bool {
        self.0[kind as usize]
    }
}

/// One persisted version of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// The key as it is stored; usually a stream clock as text, `ms-I` for imported rows.
    pub t: String,
    /// Milliseconds since 1970: the `ms` part of the clock.
    pub created_ms: i64,
    /// The any-encoded assets that were selected; `None` for the others, and for columns that hold nothing.
    pub assets: Asset4<Option<Bytes>>,
    /// Whether a column may hold a reference (`asset:retrievable:v1`) instead of the asset itself.
    pub is_reference: Asset4<bool>,
}

/// The record that a room was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When, in milliseconds since 1970.
    pub deleted_at_ms: i64,
    /// Content erased (true) or kept.
    pub hard: bool,
    /// When its content was erased, if it was.
    pub purged_at_ms: Option<i64>,
    /// Who did it.
    pub by: Option<String>,
}

/// What the store holds of one room, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StoredRoom {
    /// Its version rows, by clock, oldest first.
    pub rows: Vec<VersionRow>,
    /// Its tombstone, if it was deleted.
    pub tombstone: Option<Tombstone>,
    /// Its streams that were set aside, oldest first: their updates are part of the document, and are not compacted.
    pub quarantined: Vec<QuarantineId>,
}

impl StoredRoom {
    /// How many bytes the assets have that were brought along.
    pub fn size_bytes(&self) -> u64 {
        self.rows.iter().flat_map(|row| &row.assets).flatten().map(|asset| asset.len() as u64).sum()
    }
}

/// A version row to insert.
#[derive(Clone, Debug)]
pub struct StoreVersion {
    /// The room.
    pub room: RoomId,
    /// The clock it reaches; becomes `t` (`ms-seq`) and `created` (`ms`).
    pub clock: StreamClock,
    /// The any-encoded assets.
    pub assets: Asset4<Bytes>,
    /// Whether a column holds a reference.
    pub is_reference: Asset4<bool>,
    /// The `t` of the rows that this one replaces; they are deleted in the same transaction. One equal to the new
    /// row's own key is ignored.
    pub replaces: Vec<String>,
    /// Refused if the store has seen a higher epoch for this room.
    pub epoch: TaskEpoch,
}

/// How [`DocStore::store`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The row is there and the rows it replaces are gone.
    Stored,
    /// A row with this clock was there already and was left alone; the rows it replaces are gone.
    AlreadyThere,
    /// The room was deleted for good: nothing was stored or deleted.
    HardDeleted,
    /// A later claim of this room has stored since: nothing was stored or deleted. Of a room that was deleted for good,
    /// that is said instead.
    Superseded {
        /// The epoch that it stored under.
        by: TaskEpoch,
    },
}

/// How [`DocStore::put_tombstone`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TombstoneOutcome {
    /// It is on record.
    Recorded,
    /// A hold is on the room, and the tombstone was a hard one: nothing was changed.
    Held,
}

/// Where version rows and tombstones live.
///
/// Every method may be cancelled: what it was about to do then happened wholly or not at all.
#[async_trait]
pub trait DocStore: Send + Sync + 'static {
    /// Reads the rows of a room with the selected assets, and its tombstone, as of one moment.
    async fn read(&self, room: &RoomId, assets: AssetSelection) -> Result<StoredRoom, DocStoreError> {
        self.read_upto(room, assets, u64::MAX).await
    }

    /// The same, but rows that were made after `upto_ms` ([`VersionRow::created_ms`]) come without their assets. Who looks for
    /// what a room lacks up to then has no use for those of a room that lacks nothing.
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError>;

    /// The same if the selected assets have at most `max_bytes` together, as they lie in their rows; otherwise none is read, and the
    /// answer says how long they are. All of that is of one moment, too.
    ///
    /// An engine that does not know how long something is that it has not read does as is done here.
    async fn read_within(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        upto_ms: u64,
        max_bytes: u64,
    ) -> Result<Brought<StoredRoom>, DocStoreError> {
        let stored = self.read_upto(room, assets, upto_ms).await?;
        let size_bytes = stored.size_bytes();
        Ok(if size_bytes <= max_bytes { Brought::Whole(stored) } else { Brought::TooLong { size_bytes } })
    }

    /// Inserts a version row and deletes the rows it replaces, in one transaction. The barrier of hard deletion is part
    /// of the INSERT.
    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError>;

    /// Records a deletion. Storing again keeps time and author of the first; it can only turn hard from false to true, and
    /// say when the room was purged if that was not known. A hard one is refused while a hold is on the room
    /// ([`crate::DeletionStore::hold`]), whatever is recorded.
    ///
    /// `audit` is written in the same transaction iff that changes what is recorded.
    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError>;

    /// Answers iff the store can be read now.
    async fn check(&self) -> Result<(), DocStoreError>;
}
