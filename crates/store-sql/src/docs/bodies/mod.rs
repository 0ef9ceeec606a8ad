//! The traits' methods, for every database that diesel-async speaks to.
//!
//! Written against `Conn`, `Engine` and `together` of the module above, which takes this one in by its path: it is compiled
//! once for each database. Nothing in a body is one database's own.

/// Rows of one room, in a table that has rooms.
macro_rules! of_room {
    ($table:ident, $room:expr) => {
        $table::org.eq($room.org()).and($table::docid.eq($room.docid())).and($table::branch.eq($room.branch()))
    };
}

/// Rows of the rooms after one, in the order of their parts. The first condition is one that an index serves.
macro_rules! after_room {
    ($table:ident, $room:expr) => {
        $table::org.ge($room.org()).and(
            $table::org
                .gt($room.org())
                .or($table::docid.gt($room.docid()))
                .or($table::docid.eq($room.docid()).and($table::branch.gt($room.branch()))),
        )
    };
}

mod audits;
mod deleting;
mod deletions;
mod failures;
mod notices;
mod recording;
mod tokens;
mod versions;

use async_trait::async_trait;
use yhub_core::RoomId;
use yhub_store::{
    AssetSelection, AuditRecord, Brought, DocStore, DocStoreError, FailureReport, FailureStore, FailureTally, Page, QuarantineId,
    QuarantineRecord, RoomFailure, StoreOutcome, StoreVersion, StoredRoom, TaskEpoch, Tombstone, TombstoneOutcome,
};

use self::versions::NewVersion;
use super::{Conn, Db, Engine, together};
use crate::docs::{
    Access, Stop,
    records::{StoredQuarantine, StoredVersion, number, quarantine_records, room_failure, version_rows},
};

#[async_trait]
impl DocStore for Engine {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        let of = room.clone();
        // One transaction, which is one moment: a row and the tombstone that erased it never meet.
        let found = self.within(Some(room), Access::Read, move |tx| {
            Box::pin(async move {
                Ok(together!(
                    tx,
                    versions::versions(&of, assets, number(upto_ms)),
                    versions::tombstone(&of),
                    failures::quarantines_of(&of)
                ))
            })
        });
        let (rows, tombstone, quarantined) = found.await?;
        stored_room(room, rows, tombstone, quarantined)
    }

    async fn read_within(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        upto_ms: u64,
        max_bytes: u64,
    ) -> Result<Brought<StoredRoom>, DocStoreError> {
        if assets == AssetSelection::NONE || max_bytes == u64::MAX {
            return self.read_upto(room, assets, upto_ms).await.map(Brought::Whole);
        }
        let of = room.clone();
        let found = self.within(Some(room), Access::Read, move |tx| {
            Box::pin(async move {
                // The lengths with what is short anyway, so that usually one answer more is waited for, and no more.
                let (size_bytes, tombstone, quarantined) = together!(
                    tx,
                    versions::size_bytes(&of, assets, number(upto_ms)),
                    versions::tombstone(&of),
                    failures::quarantines_of(&of)
                );
                if size_bytes > max_bytes {
                    return Ok(Err(size_bytes));
                }
                Ok(Ok((versions::versions(tx, &of, assets, number(upto_ms)).await?, tombstone, quarantined)))
            })
        });
        let (rows, tombstone, quarantined) = match found.await? {
            Ok(found) => found,
            Err(size_bytes) => return Ok(Brought::TooLong { size_bytes }),
        };
        stored_room(room, rows, tombstone, quarantined).map(Brought::Whole)
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        let room = version.room.clone();
        self.within(Some(&room), Access::Write, move |tx| Box::pin(async move { store(tx, &version).await })).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        let (of, audit) = (room.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                // The lock that `store` holds while it inserts: see there. Epoch 0 raises no fence.
                versions::raise_fence(tx, &of, 0).await?;
                // Whoever puts a hold takes that lock too: either we see theirs, or they come after us.
                if tombstone.hard && deletions::is_held(tx, &of).await? {
                    return Err(Stop::Outcome(TombstoneOutcome::Held));
                }
                if let Some(audit) = &audit {
                    let adds = |before: Tombstone| {
                        tombstone.hard && !before.hard || tombstone.purged_at_ms.is_some() && before.purged_at_ms.is_none()
                    };
                    if versions::tombstone(tx, &of).await?.is_none_or(adds) {
                        audits::append(tx, audit).await?;
                    }
                }
                versions::put_tombstone(tx, &of, &tombstone).await?;
                Ok(TombstoneOutcome::Recorded)
            })
        })
        .await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        self.within(None, Access::Read, |tx| {
            Box::pin(async move {
                versions::check(tx).await?;
                Ok(look_at_columns(tx).await?)
            })
        })
        .await
    }
}

fn stored_room(
    room: &RoomId,
    rows: Vec<StoredVersion>,
    tombstone: Option<Tombstone>,
    quarantined: Vec<StoredQuarantine>,
) -> Result<StoredRoom, DocStoreError> {
    let quarantined = quarantine_records(quarantined)?.into_iter().map(|record| record.id).collect();
    Ok(StoredRoom { rows: version_rows(room, rows)?, tombstone, quarantined })
}

/// Fails unless every column of every table is there and may be read.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> diesel::QueryResult<()> {
    versions::look_at_columns(conn).await?;
    deletions::look_at_columns(conn).await?;
    failures::look_at_columns(conn).await?;
    audits::look_at_columns(conn).await?;
    tokens::look_at_columns(conn).await?;
    notices::look_at_columns(conn).await
}

/// Where a listing starts: at the beginning, or after a room. No room stands before the one without any name.
fn start(after: Option<&RoomId>) -> (bool, RoomId) {
    (after.is_none(), after.cloned().unwrap_or_else(|| RoomId::new("", "", "")))
}

/// Stores a version, in a transaction of its own.
///
/// The fence comes first, for its lock. Where statements see what was committed before they began, the INSERT alone would be
/// no barrier: it could look for a tombstone, find none, and be committed after the tombstone was put *and* the rows were
/// purged; nobody would delete that row again. So whoever puts a tombstone takes the same lock. Either it waits until our
/// row is committed, and a purge finds it; or we wait until the tombstone is, and our INSERT, which begins after that, sees it.
/// A tombstone that y/hub puts takes no such lock: between it and us that gap stays open, as it is between two of theirs.
async fn store(tx: &mut Conn<'_>, version: &StoreVersion) -> Result<StoreOutcome, Stop<StoreOutcome>> {
    let room = &version.room;
    let t = version.clock.to_string();
    let superseded = !versions::raise_fence(tx, room, number(version.epoch.0)).await?;
    let new = NewVersion {
        room,
        t: &t,
        created_ms: number(version.clock.ms),
        assets: version.assets.each_ref().map(|asset| &asset[..]),
        is_reference: version.is_reference,
    };
    let replaced: Vec<&str> = version.replaces.iter().map(String::as_str).filter(|old| *old != t).collect();
    let mut inserted = false;
    if !superseded {
        // If the first did nothing because the room is deleted for good, the second is taken back.
        (inserted, ()) = together!(tx, versions::insert_version(new), versions::delete_versions(room, &replaced));
    }
    if !inserted {
        // What is for good is said first.
        if versions::tombstone(tx, room).await?.is_some_and(|tombstone| tombstone.hard) {
            return Err(Stop::Outcome(StoreOutcome::HardDeleted));
        }
        if superseded {
            let by = versions::fence(tx, room).await?.and_then(|epoch| u64::try_from(epoch).ok());
            // It stands higher than a number that is not negative.
            let by = TaskEpoch(by.unwrap_or(version.epoch.0));
            return Err(Stop::Outcome(StoreOutcome::Superseded { by }));
        }
    }
    Ok(if inserted { StoreOutcome::Stored } else { StoreOutcome::AlreadyThere })
}

#[async_trait]
impl FailureStore for Engine {
    async fn record_failure(&self, report: &FailureReport, since_ms: u64) -> Result<FailureTally, DocStoreError> {
        let told = report.clone();
        self.within(Some(&report.room), Access::Write, move |tx| {
            Box::pin(async move {
                failures::record(tx, &told).await?;
                let in_a_row = failures::in_a_row(tx, &told.room).await?;
                let others = failures::others_alike(tx, &told, number(since_ms)).await?;
                let count = |found: i64| u64::try_from(found).unwrap_or(0);
                Ok(FailureTally { in_a_row: count(in_a_row), rooms_alike: count(others).saturating_add(1) })
            })
        })
        .await
    }

    async fn forget_failures(&self, room: &RoomId) -> Result<(), DocStoreError> {
        let of = room.clone();
        self.within(Some(room), Access::Write, move |tx| Box::pin(async move { Ok(failures::forget(tx, &of).await?) })).await
    }

    async fn failures(&self, page: Page<'_>) -> Result<Vec<RoomFailure>, DocStoreError> {
        let (after, max) = (page.after.cloned(), page.max);
        let found = self.within(page.after, Access::Read, move |tx| {
            Box::pin(async move { Ok(failures::failures(tx, after.as_ref(), max).await?) })
        });
        found.await?.into_iter().map(room_failure).collect()
    }

    async fn put_quarantine(&self, record: &QuarantineRecord) -> Result<(), DocStoreError> {
        if record.id.0.contains('\0') {
            let why = "U+0000 in the name of a stream that was set aside".to_owned();
            return Err(DocStoreError::Room { room: record.room.clone(), why });
        }
        let new = record.clone();
        self.within(Some(&record.room), Access::Write, move |tx| {
            Box::pin(async move { Ok(failures::put_quarantine(tx, &new).await?) })
        })
        .await
    }

    async fn end_quarantine(&self, room: &RoomId, id: &QuarantineId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        if id.0.contains('\0') {
            return Ok(false);
        }
        let (of, id, audit) = (room.clone(), id.clone(), audit.map(AuditRecord::bounded));
        self.within(Some(room), Access::Write, move |tx| {
            Box::pin(async move {
                if !failures::end_quarantine(tx, &of, &id).await? {
                    return Err(Stop::Outcome(false));
                }
                audits::append_some(tx, audit.as_ref()).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn quarantines(&self, page: Page<'_>) -> Result<Vec<QuarantineRecord>, DocStoreError> {
        let (after, max) = (page.after.cloned(), page.max);
        let found = self.within(page.after, Access::Read, move |tx| {
            Box::pin(async move {
                // Two statements in one moment: which rooms, then all of theirs.
                let Some(last) = failures::last_of_page(tx, after.as_ref(), max).await? else { return Ok(Vec::new()) };
                Ok(failures::quarantines_upto(tx, after.as_ref(), &last).await?)
            })
        });
        quarantine_records(found.await?)
    }
}
