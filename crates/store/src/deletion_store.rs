//! Deletion beside the version rows: what restores and erases rooms, proves that they are erased, forbids it, and finds them.
//!
//! Whatever changes a room here holds the same lock as [`crate::DocStore::store`] and [`crate::DocStore::put_tombstone`]: of a
//! hold and a deletion for good that come at the same time one is first, and the other sees it.

use std::time::Duration;

use async_trait::async_trait;
use yhub_core::RoomId;

use crate::{Asset4, AuditRecord, DocStoreError, Page, Tombstone};

/// How [`DeletionStore::restore`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The tombstone is gone.
    Restored,
    /// There was none.
    NotDeleted,
    /// The room was deleted for good, or purged: nothing was changed.
    Refused,
}

/// How [`DeletionStore::harden`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardened {
    /// The room is deleted for good from now on.
    Done,
    /// It is not, or no longer, one whose content is kept since before that time: nothing was changed.
    NotDue,
    /// A hold is on the room: nothing was changed.
    Held,
}

/// How [`DeletionStore::erase_rows`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// These are gone. None: there are no more.
    Rows(Vec<ErasedRow>),
    /// The room is not deleted for good: nothing was erased.
    NotForGood,
    /// A hold is on the room: nothing was erased.
    Held,
}

/// A version row that was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedRow {
    /// Its key.
    pub t: String,
    /// What each column held, in bytes; `None` for one that held nothing.
    pub sizes_bytes: Asset4<Option<u64>>,
    /// The plugin that has the asset, for columns that held a reference.
    pub plugins: Asset4<Option<String>>,
}

/// What says that a room is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeReceipt {
    /// When, in milliseconds since 1970.
    pub purged_at_ms: i64,
    /// What was found, erased, and read back as gone: JSON.
    pub json: String,
}

/// A deleted room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRoom {
    /// Which.
    pub room: RoomId,
    /// How.
    pub tombstone: Tombstone,
}

/// Which deleted rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TombstoneState {
    /// All.
    Any,
    /// Those deleted for good that are not purged yet.
    PurgePending,
    /// Those whose content is kept and that were deleted before this time, in milliseconds since 1970.
    KeptSinceBefore(i64),
}

/// Which deleted rooms of whom.
#[derive(Clone, Copy, Debug)]
pub struct TombstoneFilter<'a> {
    /// Only those of this organisation.
    pub org: Option<&'a str>,
    /// Only those in this state.
    pub state: TombstoneState,
}

/// What is stored of a room, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomOverview {
    /// Which.
    pub room: RoomId,
    /// The key of its newest row; empty if it has none.
    pub newest: String,
    /// How many rows it has.
    pub rows: u64,
    /// What these hold, by kind of asset, in bytes. An asset that is elsewhere counts with its reference.
    pub sizes_bytes: Asset4<u64>,
    /// Its tombstone, if it was deleted.
    pub tombstone: Option<Tombstone>,
}

/// What keeps a room from being erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which room.
    pub room: RoomId,
    /// Who put it on.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Restoring and erasing, receipts, holds, listings, and the duties of which one node at a time takes care. Every method may be
/// cancelled, and repeated.
///
/// Listings come in pages, each room once, in an order of the store's own. Where a record is taken along, `audit`, it is written in
/// the transaction of the change, and iff there is one: see [`crate::AuditStore`].
#[async_trait]
pub trait DeletionStore: Send + Sync + 'static {
    /// The tombstone of `room`. Unlike [`crate::DocStore::read`] this looks at no row, so that one which cannot be read is not in
    /// the way.
    async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, DocStoreError>;

    /// Takes a deletion back of which the content was kept.
    async fn restore(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<Restored, DocStoreError>;

    /// Deletes a room for good whose content is kept since before `before_ms`, in milliseconds since 1970, and that is not held.
    async fn harden(&self, room: &RoomId, before_ms: i64, audit: Option<&AuditRecord>) -> Result<Hardened, DocStoreError>;

    /// Erases up to `max` rows of a room that is deleted for good and not held, and notes what they were
    /// ([`DeletionStore::erased_rows`]), in one transaction.
    async fn erase_rows(&self, room: &RoomId, max: usize) -> Result<Erased, DocStoreError>;

    /// The rows of `room` that were erased and of which no receipt tells yet: up to `max` after the key `after`, in the order
    /// of the keys as text.
    async fn erased_rows(&self, room: &RoomId, after: Option<&str>, max: usize) -> Result<Vec<ErasedRow>, DocStoreError>;

    /// Notes on the tombstone when the room was purged, keeps the receipt, and forgets which rows were erased, in one
    /// transaction. The first receipt of a room stays. False, and nothing was changed, if the room is not deleted for good, is
    /// held, or has a row.
    async fn finish_purge(
        &self,
        room: &RoomId,
        receipt: &PurgeReceipt,
        audit: Option<&AuditRecord>,
    ) -> Result<bool, DocStoreError>;

    /// The receipt of a room that was purged.
    async fn receipt(&self, room: &RoomId) -> Result<Option<PurgeReceipt>, DocStoreError>;

    /// The deleted rooms.
    async fn tombstones(&self, filter: TombstoneFilter<'_>, page: Page<'_>) -> Result<Vec<DeletedRoom>, DocStoreError>;

    /// The rooms of `org` that have rows: up to `max` after this docid and branch.
    async fn rooms_of(&self, org: &str, after: Option<(&str, &str)>, max: usize) -> Result<Vec<RoomOverview>, DocStoreError>;

    /// What is stored of one room, and whether it was deleted; of one that has neither rows nor a tombstone, nothing.
    async fn overview_of(&self, room: &RoomId) -> Result<Option<RoomOverview>, DocStoreError>;

    /// Puts a hold on a room. One that is there stays as it is, and the answer is false.
    ///
    /// A room that is held is not deleted for good ([`crate::TombstoneOutcome::Held`]), and if it is so already, no row of it is
    /// erased any more. It may be deleted with its content kept.
    async fn hold(&self, hold: &Hold, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError>;

    /// Takes the hold off a room. False if there was none.
    async fn release_hold(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError>;

    /// The hold on a room.
    async fn hold_of(&self, room: &RoomId) -> Result<Option<Hold>, DocStoreError>;

    /// The holds.
    async fn holds(&self, page: Page<'_>) -> Result<Vec<Hold>, DocStoreError>;

    /// Takes a duty for so long from `now_ms` on, which is the log's time, or goes on having it. False if another owner has it.
    /// Where the log's time has gone back by more than `lease`, it may be taken at once. Taking it for no time gives it back.
    async fn take_duty(&self, name: &str, owner: &str, now_ms: u64, lease: Duration) -> Result<bool, DocStoreError>;
}
