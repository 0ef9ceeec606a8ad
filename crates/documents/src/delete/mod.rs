//! Deleting a room, and taking that back.
//!
//! The tombstone comes first: from then on loads are refused, and if it is a hard one, nothing is stored any more (I-5). Then
//! the line in the stream, which ends the sessions of every node. Each step may run twice, at the same time as another, or be
//! the last (I-7): whoever deletes again begins at the first one, and the janitor does so for deletions that were not ended.

pub(crate) mod objects;
mod orphans;
mod purge;
mod receipt;
mod sweep;

use bytes::Bytes;
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{
    Append, AssetSelection, AuditRecord, DocStoreError, Hold, LogEntry, PurgeReceipt, ReadLimit, Restored, StoredRoom,
    StreamLogError, Tombstone, TombstoneOutcome,
};

pub use self::{
    orphans::{OrphanCursor, OrphanError, Orphans},
    purge::Purged,
    sweep::{DueRoom, Swept},
};
use self::{purge::Behalf, receipt::Found};
use crate::{Documents, DocumentsError};

/// A point at which tests make a deletion stop.
macro_rules! fail_point {
    ($name:literal, $room:expr) => {
        fail::fail_point!($name, |how: Option<String>| Err(crate::asked_for($room, how.as_deref())))
    };
}
use fail_point;

/// What becomes of the content of a room that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteKind {
    /// It is kept, and the deletion can be taken back.
    Soft,
    /// It is erased.
    Hard,
}

/// How [`Documents::delete`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The room is deleted, its content is kept.
    Kept(Tombstone),
    /// The room is deleted, and its content is erased, as the receipt says.
    Erased(PurgeReceipt),
    /// A hold is on the room: it was not deleted for good, or its erasing does not go on. `None`: it was taken off meanwhile.
    Held(Option<Hold>),
}

impl Documents {
    /// Deletes a room. May be repeated: what was interrupted is brought to its end, and of one that is deleted already, time and
    /// author stay. One that was deleted for good stays so, also where [`DeleteKind::Soft`] is asked for.
    ///
    /// `audit` is written together with the tombstone, iff that changes what is recorded.
    pub async fn delete(
        &self,
        room: &RoomId,
        kind: DeleteKind,
        by: Option<&str>,
        audit: Option<&AuditRecord>,
    ) -> Result<Deleted, DocumentsError> {
        let at_ms = self.log.now_ms().await.map_err(|source| in_log(room, source))?;
        let tombstone = Tombstone {
            deleted_at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX),
            hard: kind == DeleteKind::Hard,
            purged_at_ms: None,
            by: by.map(str::to_owned),
        };
        if self.store.put_tombstone(room, tombstone.clone(), audit).await.map_err(|source| in_store(room, source))?
            == TombstoneOutcome::Held
        {
            return self.held(room).await;
        }
        fail_point!("delete::recorded", room);
        // It may be an earlier one.
        let recorded = self.tombstone(room).await?.unwrap_or(tombstone);
        self.carry_out(room, recorded, by).await
    }

    /// Does what follows the tombstone.
    async fn carry_out(&self, room: &RoomId, tombstone: Tombstone, by: Option<&str>) -> Result<Deleted, DocumentsError> {
        let mut found = Found::default();
        if tombstone.hard {
            if self.is_held(room).await? {
                return self.held(room).await;
            }
            // After the tombstone: what is appended before it is seen is looked for by the purge.
            found.stream_entries = self.admin.clear(room).await.map_err(|source| in_log(room, source))?;
            fail_point!("delete::cleared", room);
        }
        self.announce(room).await?;
        fail_point!("delete::announced", room);
        self.cache.forget_cached(room).await.map_err(|source| in_log(room, source))?;
        fail_point!("delete::uncached", room);
        if !tombstone.hard {
            return Ok(Deleted::Kept(tombstone));
        }
        match self.purge_found(room, Behalf { by, audit: None }, found).await? {
            Purged::Done(receipt) => Ok(Deleted::Erased(receipt)),
            Purged::Held => self.held(room).await,
            // Only a soft tombstone can be taken away.
            Purged::NotForGood => Err(not_erased(room, "its tombstone is gone; somebody else changes the tables")),
        }
    }

    /// Takes a deletion back of which the content was kept. Nodes that have heard of the deletion load the room anew when
    /// somebody comes. `audit` is written iff that changes something, together with it.
    pub async fn restore(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<Restored, DocumentsError> {
        self.deletions.restore(room, audit).await.map_err(|source| in_store(room, source))
    }

    /// The record that `room` was deleted, if it was.
    pub async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, DocumentsError> {
        self.deletions.tombstone(room).await.map_err(|source| in_store(room, source))
    }

    /// Tells all nodes that the room was deleted. Who hears it ends the room's sessions, if the tombstone is there.
    pub(crate) async fn announce(&self, room: &RoomId) -> Result<(), DocumentsError> {
        let one = ReadLimit { entries: 1, size_bytes: 1 };
        let page = self.log.read(room, StreamClock::ZERO, one).await.map_err(|source| in_log(room, source))?;
        let stored = match self.store.read(room, AssetSelection::NONE).await {
            // A row with an odd key must not keep its room from being deleted.
            Err(DocStoreError::Corrupt { .. }) => StoredRoom::default(),
            stored => stored.map_err(|source| in_store(room, source))?,
        };
        // Above everything that anybody may have heard of, also where the log has forgotten it: else they would not hear this.
        let rows = stored.rows.iter().filter_map(|row| row.t.parse().ok()).fold(StreamClock::ZERO, StreamClock::max);
        let messages = vec![StreamMessage::encode_tombstone()];
        let append = Append { room: room.clone(), messages, floor: page.trimmed_upto.max(rows) };
        self.log.append(append).await.map_err(|source| in_log(room, source)).map(drop)
    }

    async fn is_held(&self, room: &RoomId) -> Result<bool, DocumentsError> {
        Ok(self.deletions.hold_of(room).await.map_err(|source| in_store(room, source))?.is_some())
    }

    async fn held(&self, room: &RoomId) -> Result<Deleted, DocumentsError> {
        Ok(Deleted::Held(self.deletions.hold_of(room).await.map_err(|source| in_store(room, source))?))
    }
}

/// Does this entry say anything but that the room was deleted?
pub(crate) fn is_content(entry: &LogEntry) -> bool {
    entry.message.as_ref().is_some_and(|message| !is_tombstone(message))
}

/// Does it say that?
pub(crate) fn is_tombstone(message: &Bytes) -> bool {
    matches!(StreamMessage::decode(message), Ok(StreamMessage::Tombstone))
}

fn in_log(room: &RoomId, source: StreamLogError) -> DocumentsError {
    DocumentsError::Stream { room: room.clone(), source }
}

fn in_store(room: &RoomId, source: DocStoreError) -> DocumentsError {
    DocumentsError::Store { room: room.clone(), source }
}

fn not_erased(room: &RoomId, what: impl Into<String>) -> DocumentsError {
    DocumentsError::NotErased { room: room.clone(), what: what.into() }
}
