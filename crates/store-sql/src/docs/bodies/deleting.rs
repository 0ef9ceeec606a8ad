//! The methods of [`DeletionStore`].

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use yhub_core::RoomId;
use yhub_store::{
    AuditRecord, DeletedRoom, DeletionStore, DocStoreError, Erased, ErasedRow, Hardened, Hold, Page, PurgeReceipt, Restored,
    RoomOverview, Tombstone, TombstoneFilter,
};

use super::{Conn, Engine, audits, deletions, together, versions};
use crate::docs::{
    Access, Stop,
    records::{StoredDeletion, StoredSizes, deleted_room, erased_row, hold, number, overview, victim},
};

/// The lock of a room, as in `store`, and then its tombstone. Epoch 0 raises no fence.
async fn locked(tx: &mut Conn<'_>, room: &RoomId) -> diesel::QueryResult<Option<Tombstone>> {
    versions::raise_fence(tx, room, 0).await?;
    versions::tombstone(tx, room).await
}

/// Erases rows, in a transaction of its own.
async fn erase(tx: &mut Conn<'_>, room: &RoomId, max: usize) -> Result<Erased, Stop<Erased>> {
    if !locked(tx, room).await?.is_some_and(|tombstone| tombstone.hard) {
        return Err(Stop::Outcome(Erased::NotForGood));
    }
    if deletions::is_held(tx, room).await? {
        return Err(Stop::Outcome(Erased::Held));
    }
    let rows: Vec<ErasedRow> = deletions::victims(tx, room, max).await?.into_iter().map(victim).collect();
    for row in &rows {
        deletions::note_erased(tx, room, row).await?;
    }
    let keys: Vec<&str> = rows.iter().map(|row| row.t.as_str()).collect();
    versions::delete_versions(tx, room, &keys).await?;
    Ok(Erased::Rows(rows))
}

#[async_trait]
impl DeletionStore for Engine {
    async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, DocStoreError> {
        let of = room.clone();
        self.within(Some(room), Access::Read, move |tx| Box::pin(async move { Ok(versions::tombstone(tx, &of).await?) })).await
    }

    async fn restore(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<Restored, DocStoreError> {
        let (of, audit) = (room.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                match locked(tx, &of).await? {
                    None => Err(Stop::Outcome(Restored::NotDeleted)),
                    Some(tombstone) if tombstone.hard || tombstone.purged_at_ms.is_some() => {
                        Err(Stop::Outcome(Restored::Refused))
                    }
                    Some(_) => {
                        deletions::forget_tombstone(tx, &of).await?;
                        audits::append_some(tx, audit.as_ref()).await?;
                        Ok(Restored::Restored)
                    }
                }
            })
        })
        .await
    }

    async fn harden(&self, room: &RoomId, before_ms: i64, audit: Option<&AuditRecord>) -> Result<Hardened, DocStoreError> {
        let (of, audit) = (room.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                let is_due = |tombstone: Tombstone| {
                    !tombstone.hard && tombstone.purged_at_ms.is_none() && tombstone.deleted_at_ms < before_ms
                };
                if !locked(tx, &of).await?.is_some_and(is_due) {
                    return Err(Stop::Outcome(Hardened::NotDue));
                }
                if deletions::is_held(tx, &of).await? {
                    return Err(Stop::Outcome(Hardened::Held));
                }
                deletions::harden(tx, &of).await?;
                audits::append_some(tx, audit.as_ref()).await?;
                Ok(Hardened::Done)
            })
        })
        .await
    }

    async fn erase_rows(&self, room: &RoomId, max: usize) -> Result<Erased, DocStoreError> {
        let of = room.clone();
        self.within(Some(room), Access::Write, move |tx| Box::pin(async move { erase(tx, &of, max).await })).await
    }

    async fn erased_rows(&self, room: &RoomId, after: Option<&str>, max: usize) -> Result<Vec<ErasedRow>, DocStoreError> {
        let (of, after) = (room.clone(), after.map(str::to_owned));
        let found = self.within(Some(room), Access::Read, move |tx| {
            Box::pin(async move { Ok(deletions::erased_rows(tx, &of, after.as_deref(), max).await?) })
        });
        found.await?.into_iter().map(|row| erased_row(room, row)).collect()
    }

    async fn finish_purge(
        &self,
        room: &RoomId,
        receipt: &PurgeReceipt,
        audit: Option<&AuditRecord>,
    ) -> Result<bool, DocStoreError> {
        let (of, receipt, audit) = (room.clone(), receipt.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                let is_for_good = locked(tx, &of).await?.is_some_and(|tombstone| tombstone.hard);
                if !is_for_good || deletions::is_held(tx, &of).await? || deletions::has_rows(tx, &of).await? {
                    return Err(Stop::Outcome(false));
                }
                // The first one stays; what follows it changes nothing.
                if deletions::put_receipt(tx, &of, &receipt).await? {
                    audits::append_some(tx, audit.as_ref()).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    async fn receipt(&self, room: &RoomId) -> Result<Option<PurgeReceipt>, DocStoreError> {
        let of = room.clone();
        self.within(Some(room), Access::Read, move |tx| Box::pin(async move { Ok(deletions::receipt(tx, &of).await?) })).await
    }

    async fn tombstones(&self, filter: TombstoneFilter<'_>, page: Page<'_>) -> Result<Vec<DeletedRoom>, DocStoreError> {
        let (org, state, after, max) = (filter.org.map(str::to_owned), filter.state, page.after.cloned(), page.max);
        // What the database cannot hold it cannot find either.
        let named = page.after.cloned().or_else(|| filter.org.map(|org| RoomId::new(org, "", "")));
        let found = self.within(named.as_ref(), Access::Read, move |tx| {
            Box::pin(async move {
                let filter = TombstoneFilter { org: org.as_deref(), state };
                Ok(deletions::tombstones(tx, filter, after.as_ref(), max).await?)
            })
        });
        Ok(found.await?.into_iter().map(deleted_room).collect())
    }

    async fn rooms_of(&self, org: &str, after: Option<(&str, &str)>, max: usize) -> Result<Vec<RoomOverview>, DocStoreError> {
        let (docid, branch) = after.unwrap_or(("", ""));
        let (from_start, after) = (after.is_none(), RoomId::new(org, docid, branch));
        let named = after.clone();
        let found = self.within(Some(&named), Access::Read, move |tx| {
            Box::pin(async move {
                let rooms = deletions::rooms_with_rows(tx, from_start, &after, max).await?;
                let Some((docid, branch)) = rooms.last() else { return Ok((rooms, Vec::new(), Vec::new())) };
                let upto = RoomId::new(after.org(), docid, branch);
                // Of the same moment as the rooms.
                let (sizes, deleted): (_, Vec<StoredDeletion>) = together!(
                    tx,
                    deletions::row_sizes(from_start, &after, &upto),
                    deletions::tombstones_between(from_start, &after, &upto)
                );
                Ok((rooms, sizes, deleted))
            })
        });
        let (rooms, sizes, deleted) = found.await?;
        let mut rows = HashMap::<_, Vec<_>>::new();
        for (docid, branch, t, sizes) in sizes {
            rows.entry((docid, branch)).or_default().push((t, sizes));
        }
        let mut tombstones: HashMap<RoomId, Tombstone> =
            deleted.into_iter().map(deleted_room).map(|deleted| (deleted.room, deleted.tombstone)).collect();
        let overviews = rooms.into_iter().map(|name| {
            let room = RoomId::new(org, &name.0, &name.1);
            let tombstone = tombstones.remove(&room);
            overview(room, rows.remove(&name).unwrap_or_default(), tombstone)
        });
        Ok(overviews.collect())
    }

    async fn overview_of(&self, room: &RoomId) -> Result<Option<RoomOverview>, DocStoreError> {
        let of = room.clone();
        let found = self.within(Some(room), Access::Read, move |tx| {
            Box::pin(async move {
                let (sizes, deleted): (Vec<(String, StoredSizes)>, Option<StoredDeletion>) =
                    together!(tx, deletions::row_sizes_of(&of), deletions::tombstone_of(&of));
                Ok((sizes, deleted))
            })
        });
        let (rows, deleted) = found.await?;
        let tombstone = deleted.map(|deleted| deleted_room(deleted).tombstone);
        Ok((!rows.is_empty() || tombstone.is_some()).then(|| overview(room.clone(), rows, tombstone)))
    }

    async fn hold(&self, new: &Hold, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        let (hold, audit) = (new.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(&new.room), Access::Write, move |tx| {
            Box::pin(async move {
                locked(tx, &hold.room).await?;
                let is_new = deletions::hold(tx, &hold).await?;
                audits::append_some(tx, audit.as_ref().filter(|_| is_new)).await?;
                Ok(is_new)
            })
        })
        .await
    }

    async fn release_hold(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        let (of, audit) = (room.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                let was_held = deletions::release_hold(tx, &of).await?;
                audits::append_some(tx, audit.as_ref().filter(|_| was_held)).await?;
                Ok(was_held)
            })
        })
        .await
    }

    async fn hold_of(&self, room: &RoomId) -> Result<Option<Hold>, DocStoreError> {
        let of = room.clone();
        let found =
            self.within(Some(room), Access::Read, move |tx| Box::pin(async move { Ok(deletions::hold_of(tx, &of).await?) }));
        found.await?.map(hold).transpose()
    }

    async fn holds(&self, page: Page<'_>) -> Result<Vec<Hold>, DocStoreError> {
        let (after, max) = (page.after.cloned(), page.max);
        let found = self.within(page.after, Access::Read, move |tx| {
            Box::pin(async move { Ok(deletions::holds(tx, after.as_ref(), max).await?) })
        });
        found.await?.into_iter().map(hold).collect()
    }

    async fn take_duty(&self, name: &str, owner: &str, now_ms: u64, lease: Duration) -> Result<bool, DocStoreError> {
        let (name, owner, now_ms) = (name.to_owned(), owner.to_owned(), number(now_ms));
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move { Ok(deletions::take_duty(tx, &name, &owner, now_ms, lease_ms).await?) })
        })
        .await
    }
}
