//! A document store in memory, with records of failures, that does what a test says: it fails or hangs.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use yhub_core::{RoomId, UserMatcher};
use yhub_store::{
    AssetSelection, AuditRecord, BoxError, DeletedRoom, DeletionStore, DocStore, DocStoreError, Erased, ErasedRow, FailureReport,
    FailureStore, FailureTally, Hardened, Hold, Notice, NoticeHead, NoticeId, NoticeList, NoticeStore, Page, PurgeReceipt,
    QuarantineId, QuarantineRecord, Restored, RoomFailure, RoomOverview, StoreOutcome, StoreVersion, StoredRoom, TaskEpoch,
    Tombstone, TombstoneFilter, TombstoneOutcome, VersionRow,
};

use super::stores::lock;

/// A document store.
#[derive(Default)]
pub(crate) struct MemoryDocs {
    rows: Mutex<HashMap<RoomId, Vec<VersionRow>>>,
    /// Stores begin and never end; how many were cut off.
    hanging: Mutex<Option<usize>>,
    fail_reads: Mutex<bool>,
    fail_records: Mutex<bool>,
    records: Mutex<Records>,
    tombstones: Mutex<HashMap<RoomId, Tombstone>>,
    notices: Mutex<Notices>,
}

#[derive(Default)]
struct Notices {
    all: Vec<(NoticeId, Notice)>,
    reads: usize,
    fail: bool,
    panic: bool,
    most: Option<usize>,
}

#[derive(Default)]
struct Records {
    failures: HashMap<RoomId, (FailureReport, u64)>,
    quarantines: Vec<QuarantineRecord>,
    epochs: HashMap<RoomId, TaskEpoch>,
    calls: HashMap<&'static str, usize>,
    duty: Option<String>,
}

struct CutOff<'a>(&'a MemoryDocs);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if let Some(count) = &mut *lock(&self.0.hanging) {
            *count += 1;
        }
    }
}

impl MemoryDocs {
    /// From now on stores begin and never end.
    pub(crate) fn hang(&self) {
        *lock(&self.hanging) = Some(0);
    }

    /// How many hanging stores were cut off.
    pub(crate) fn cut_off(&self) -> usize {
        lock(&self.hanging).unwrap_or(0)
    }

    /// Do reads fail?
    pub(crate) fn fail_reads(&self, fail: bool) {
        *lock(&self.fail_reads) = fail;
    }

    /// Can failures not be recorded?
    pub(crate) fn fail_records(&self, fail: bool) {
        *lock(&self.fail_records) = fail;
    }

    /// Can notices not be read?
    pub(crate) fn fail_notices(&self, fail: bool) {
        lock(&self.notices).fail = fail;
    }

    /// The next read of notices panics.
    pub(crate) fn panic_at_notices(&self) {
        lock(&self.notices).panic = true;
    }

    /// A read lists at most so many notices.
    pub(crate) fn list_notices(&self, most: usize) {
        lock(&self.notices).most = Some(most);
    }

    /// How often it was tried to read notices.
    pub(crate) fn notice_reads(&self) -> usize {
        lock(&self.notices).reads
    }

    /// How often a method of the failure store was called.
    pub(crate) fn record_calls(&self, method: &'static str) -> usize {
        lock(&self.records).calls.get(method).copied().unwrap_or(0)
    }

    /// The rooms that fail now, and how often they did in a row.
    pub(crate) fn failing(&self) -> Vec<(FailureReport, u64)> {
        lock(&self.records).failures.values().cloned().collect()
    }

    fn record(&self, method: &'static str) -> Result<MutexGuard<'_, Records>, DocStoreError> {
        let mut records = lock(&self.records);
        *records.calls.entry(method).or_default() += 1;
        if *lock(&self.fail_records) { Err(gone()) } else { Ok(records) }
    }

    pub(crate) fn row_count(&self, room: &RoomId) -> usize {
        lock(&self.rows).get(room).map_or(0, Vec::len)
    }
}

fn gone() -> DocStoreError {
    DocStoreError::Unavailable { at: "memory".into(), source: BoxError::from("on purpose") }
}

#[async_trait]
impl FailureStore for MemoryDocs {
    async fn record_failure(&self, report: &FailureReport, since_ms: u64) -> Result<FailureTally, DocStoreError> {
        let mut records = self.record("record failure")?;
        let before = records.failures.get(&report.room).filter(|(before, _)| before.signature == report.signature);
        let in_a_row = before.map_or(0, |(_, count)| *count) + 1;
        records.failures.insert(report.room.clone(), (report.clone(), in_a_row));
        let is_alike = |(other, _): &&(FailureReport, u64)| other.signature == report.signature && other.at_ms >= since_ms;
        let rooms_alike = records.failures.values().filter(is_alike).count() as u64;
        Ok(FailureTally { in_a_row, rooms_alike })
    }

    async fn forget_failures(&self, room: &RoomId) -> Result<(), DocStoreError> {
        self.record("forget failures")?.failures.remove(room);
        Ok(())
    }

    async fn failures(&self, _: Page<'_>) -> Result<Vec<RoomFailure>, DocStoreError> {
        let all = self.record("failures")?.failures.values().cloned().collect::<Vec<_>>();
        Ok(all.into_iter().map(|(report, in_a_row)| RoomFailure { first_ms: report.at_ms, report, in_a_row }).collect())
    }

    async fn put_quarantine(&self, record: &QuarantineRecord) -> Result<(), DocStoreError> {
        let mut records = self.record("put quarantine")?;
        if !records.quarantines.iter().any(|other| (&other.room, &other.id) == (&record.room, &record.id)) {
            records.quarantines.push(record.clone());
        }
        Ok(())
    }

    async fn end_quarantine(&self, room: &RoomId, id: &QuarantineId, _: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        let mut records = self.record("end quarantine")?;
        let before = records.quarantines.len();
        records.quarantines.retain(|record| (&record.room, &record.id) != (room, id));
        Ok(records.quarantines.len() < before)
    }

    async fn quarantines(&self, _: Page<'_>) -> Result<Vec<QuarantineRecord>, DocStoreError> {
        Ok(self.record("quarantines")?.quarantines.clone())
    }
}

#[async_trait]
impl DocStore for MemoryDocs {
    async fn read_upto(&self, room: &RoomId, _: AssetSelection, _: u64) -> Result<StoredRoom, DocStoreError> {
        if *lock(&self.fail_reads) {
            return Err(gone());
        }
        let tombstone = lock(&self.tombstones).get(room).cloned();
        let records = lock(&self.records);
        let named = records.quarantines.iter().filter(|record| record.room == *room).map(|record| record.id.clone());
        let quarantined = named.collect();
        Ok(StoredRoom { rows: lock(&self.rows).get(room).cloned().unwrap_or_default(), tombstone, quarantined })
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        if lock(&self.hanging).is_some() {
            let _cut_off = CutOff(self);
            std::future::pending::<()>().await;
        }
        let mut records = lock(&self.records);
        let seen = records.epochs.entry(version.room.clone()).or_insert(version.epoch);
        if *seen > version.epoch {
            return Ok(StoreOutcome::Superseded { by: *seen });
        }
        *seen = version.epoch;
        let mut rooms = lock(&self.rows);
        let rows = rooms.entry(version.room).or_default();
        rows.retain(|row| !version.replaces.contains(&row.t));
        let (t, created_ms) = (version.clock.to_string(), version.clock.ms as i64);
        rows.push(VersionRow { t, created_ms, assets: version.assets.map(Some), is_reference: version.is_reference });
        Ok(StoreOutcome::Stored)
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        _: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        lock(&self.tombstones).insert(room.clone(), tombstone);
        Ok(TombstoneOutcome::Recorded)
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        Ok(())
    }
}

#[async_trait]
impl NoticeStore for MemoryDocs {
    async fn publish(&self, notice: &Notice, _: Option<&AuditRecord>) -> Result<(), DocStoreError> {
        let mut notices = lock(&self.notices);
        let id = NoticeId(notices.all.len().to_string());
        notices.all.push((id, notice.clone()));
        Ok(())
    }

    async fn list(&self, at_ms: u64, max: usize) -> Result<NoticeList, DocStoreError> {
        let mut notices = lock(&self.notices);
        notices.reads += 1;
        if std::mem::take(&mut notices.panic) {
            drop(notices);
            panic!("on purpose");
        }
        if notices.fail {
            return Err(gone());
        }
        let max = notices.most.unwrap_or(max);
        let mut found: Vec<_> = notices.all.iter().filter(|(_, notice)| notice.at_ms >= at_ms).collect();
        found.sort_by_key(|(_, notice)| notice.at_ms);
        let more = found.len() > max;
        let heads = found[found.len().saturating_sub(max)..].iter().map(|(id, notice)| NoticeHead {
            id: id.clone(),
            at_ms: notice.at_ms,
            org: notice.org.clone(),
            size_bytes: notice.users.as_ref().map_or(0, |users| UserMatcher::list_to_any(users).to_bytes().len()),
        });
        Ok(NoticeList { heads: heads.collect(), more })
    }

    async fn bring(&self, heads: &[NoticeHead]) -> Result<Vec<(NoticeId, Notice)>, DocStoreError> {
        let notices = lock(&self.notices);
        let is_named = |id: &NoticeId| heads.iter().any(|head| head.id == *id);
        Ok(notices.all.iter().filter(|(id, _)| is_named(id)).cloned().collect())
    }

    async fn delete_before(&self, _: u64, _: usize) -> Result<u64, DocStoreError> {
        Err(gone())
    }
}

/// Only what takes a deletion back; erasing is not played here.
#[async_trait]
impl DeletionStore for MemoryDocs {
    async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, DocStoreError> {
        if *lock(&self.fail_reads) { Err(gone()) } else { Ok(lock(&self.tombstones).get(room).cloned()) }
    }

    async fn restore(&self, room: &RoomId, _: Option<&AuditRecord>) -> Result<Restored, DocStoreError> {
        Ok(lock(&self.tombstones).remove(room).map_or(Restored::NotDeleted, |_| Restored::Restored))
    }

    async fn harden(&self, _: &RoomId, _: i64, _: Option<&AuditRecord>) -> Result<Hardened, DocStoreError> {
        Err(gone())
    }

    async fn erase_rows(&self, _: &RoomId, _: usize) -> Result<Erased, DocStoreError> {
        Err(gone())
    }

    async fn erased_rows(&self, _: &RoomId, _: Option<&str>, _: usize) -> Result<Vec<ErasedRow>, DocStoreError> {
        Err(gone())
    }

    async fn finish_purge(&self, _: &RoomId, _: &PurgeReceipt, _: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        Err(gone())
    }

    async fn receipt(&self, _: &RoomId) -> Result<Option<PurgeReceipt>, DocStoreError> {
        Err(gone())
    }

    async fn tombstones(&self, _: TombstoneFilter<'_>, _: Page<'_>) -> Result<Vec<DeletedRoom>, DocStoreError> {
        Ok(Vec::new())
    }

    async fn overview_of(&self, _: &RoomId) -> Result<Option<RoomOverview>, DocStoreError> {
        Err(gone())
    }

    async fn rooms_of(&self, _: &str, _: Option<(&str, &str)>, _: usize) -> Result<Vec<RoomOverview>, DocStoreError> {
        Err(gone())
    }

    async fn hold(&self, _: &Hold, _: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        Err(gone())
    }

    async fn release_hold(&self, _: &RoomId, _: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        Err(gone())
    }

    async fn hold_of(&self, _: &RoomId) -> Result<Option<Hold>, DocStoreError> {
        Ok(None)
    }

    async fn holds(&self, _: Page<'_>) -> Result<Vec<Hold>, DocStoreError> {
        Ok(Vec::new())
    }

    async fn take_duty(&self, _: &str, owner: &str, _: u64, _: Duration) -> Result<bool, DocStoreError> {
        let mut records = self.record("take duty")?;
        Ok(records.duty.get_or_insert_with(|| owner.to_owned()) == owner)
    }
}
