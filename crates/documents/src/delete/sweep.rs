//! What the janitor does with deleted rooms: those whose content was kept for long enough are deleted for good, and what was
//! not ended is.

use yhub_core::RoomId;
use yhub_store::{DeletedRoom, DocStoreError, Hardened, Hold, Page, TombstoneFilter, TombstoneState};

use super::Deleted;
use crate::{Documents, DocumentsError};

/// A deleted room whose content was kept for long enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRoom {
    /// Which, and since when.
    pub deleted: DeletedRoom,
    /// What keeps it from being deleted for good.
    pub hold: Option<Hold>,
}

/// What one pass over deleted rooms did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Erased now.
    pub erased: Vec<RoomId>,
    /// Left alone, because a hold is on them.
    pub held: Vec<RoomId>,
    /// Not ended this time either.
    pub failed: Vec<(RoomId, DocumentsError)>,
    /// The last room that was looked at, if there may be more.
    pub next: Option<RoomId>,
}

impl Documents {
    /// The deleted rooms whose content is kept since before `before_ms`, in milliseconds since 1970 by the log's time: what
    /// [`Self::carry_out_retention`] would erase, and what it would leave alone. Changes nothing.
    pub async fn due_for_hard(&self, org: Option<&str>, before_ms: i64, page: Page<'_>) -> Result<Vec<DueRoom>, DocStoreError> {
        let filter = TombstoneFilter { org, state: TombstoneState::KeptSinceBefore(before_ms) };
        let mut due = Vec::new();
        for deleted in self.deletions.tombstones(filter, page).await? {
            let hold = self.deletions.hold_of(&deleted.room).await?;
            due.push(DueRoom { deleted, hold });
        }
        Ok(due)
    }

    /// Deletes for good, and erases, up to `max` rooms whose content is kept since before `before_ms`.
    pub async fn carry_out_retention(&self, before_ms: i64, after: Option<&RoomId>, max: usize) -> Result<Swept, DocStoreError> {
        let filter = TombstoneFilter { org: None, state: TombstoneState::KeptSinceBefore(before_ms) };
        let due = self.deletions.tombstones(filter, Page { after, max }).await?;
        let mut swept = Swept { next: next_of(&due, max), ..Swept::default() };
        for DeletedRoom { room, .. } in due {
            // Not by a tombstone of its own: it may have been restored since it was listed.
            match self.deletions.harden(&room, before_ms, None).await {
                Ok(Hardened::Done) => self.end_deletion(room, &mut swept).await,
                Ok(Hardened::NotDue) => {}
                Ok(Hardened::Held) => swept.held.push(room),
                Err(source) => {
                    let error = DocumentsError::Store { room: room.clone(), source };
                    swept.failed.push((room, error));
                }
            }
        }
        Ok(swept)
    }

    /// Brings up to `max` deletions for good to their end that were not, of rooms that were deleted before `before_ms`: those
    /// of others are under way.
    pub async fn resume_deletions(&self, before_ms: i64, after: Option<&RoomId>, max: usize) -> Result<Swept, DocStoreError> {
        let filter = TombstoneFilter { org: None, state: TombstoneState::PurgePending };
        let pending = self.deletions.tombstones(filter, Page { after, max }).await?;
        let mut swept = Swept { next: next_of(&pending, max), ..Swept::default() };
        for DeletedRoom { room, tombstone } in pending {
            if tombstone.deleted_at_ms < before_ms {
                self.end_deletion(room, &mut swept).await;
            }
        }
        Ok(swept)
    }

    async fn end_deletion(&self, room: RoomId, swept: &mut Swept) {
        let ended = match self.tombstone(&room).await {
            Ok(Some(tombstone)) => self.carry_out(&room, tombstone, None).await,
            // Nobody takes such a tombstone away.
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match ended {
            Ok(Deleted::Erased(_)) => swept.erased.push(room),
            Ok(Deleted::Held(_)) => swept.held.push(room),
            Ok(Deleted::Kept(_)) => {}
            Err(error) => swept.failed.push((room, error)),
        }
    }
}

fn next_of(listed: &[DeletedRoom], max: usize) -> Option<RoomId> {
    listed.last().filter(|_| listed.len() >= max).map(|deleted| deleted.room.clone())
}
