//! Several people at once over the same stores, of whom one has a turn: a turn is one call of a store. Who is next is chosen by
//! a seed, so an order that went wrong can be repeated.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{
    Append, AssetSelection, AuditRecord, Completed, DeletedRoom, DeletionStore, DocStore, DocStoreError, Erased, ErasedRow,
    FailureReport, FailureStore, FailureTally, Hardened, Hold, LiveRoom, Page, PurgeReceipt, QuarantineId, QuarantineRecord,
    QuarantinedStream, ReadLimit, ReadPage, Reconciled, Restored, RoomFailure, RoomOverview, ScanPage, StoreOutcome,
    StoreVersion, StoredRoom, StreamAdmin, StreamLog, StreamLogError, Tail, TailControl, Task, TaskEpoch, TaskId, Tombstone,
    TombstoneFilter, TombstoneOutcome, WorkerId,
};

enum Ask {
    Turn(usize, oneshot::Sender<()>),
    Done(usize),
}

/// Where one of them waits for its turn.
#[derive(Clone)]
pub(crate) struct Gate {
    who: usize,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Gate {
    pub(crate) async fn turn(&self) {
        let (grant, granted) = oneshot::channel();
        if self.asks.send(Ask::Turn(self.who, grant)).is_ok() {
            let _ = granted.await;
        }
    }
}

/// Also when it panicked.
struct Leaves(Gate);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = self.0.asks.send(Ask::Done(self.0.who));
    }
}

type Person = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Somebody who is told where to wait.
pub(crate) type Comes = Box<dyn FnOnce(Gate) -> Person>;

/// Lets each of `people` do its calls, in an order that `seed` gives.
pub(crate) async fn interleave(seed: u64, people: Vec<Comes>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (asks, mut asked) = mpsc::unbounded_channel();
    let mut under_way = people.len();
    let mut tasks = Vec::new();
    for (who, person) in people.into_iter().enumerate() {
        let gate = Gate { who, asks: asks.clone() };
        let (leaves, person) = (Leaves(gate.clone()), person(gate));
        tasks.push(tokio::spawn(async move {
            let _leaves = leaves;
            person.await;
        }));
    }
    let mut waiting: BTreeMap<usize, oneshot::Sender<()>> = BTreeMap::new();
    loop {
        while under_way > 0 {
            match asked.recv().await.expect("a sender is kept here") {
                Ask::Turn(who, grant) => drop(waiting.insert(who, grant)),
                Ask::Done(who) => assert!(!waiting.contains_key(&who)),
            }
            under_way -= 1;
        }
        if waiting.is_empty() {
            break;
        }
        let who = *waiting.keys().nth(random.usize(..waiting.len())).expect("below the count");
        waiting.remove(&who).expect("just found").send(()).expect("it waits");
        under_way = 1;
    }
    for task in tasks {
        task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

/// A store of which each call is a turn.
pub(crate) struct Gated<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    pub(crate) gate: Gate,
}

#[async_trait]
impl StreamLog for Gated<dyn StreamLog> {
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError> {
        self.gate.turn().await;
        self.inner.append(append).await
    }

    async fn append_unless_changed(&self, append: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        self.gate.turn().await;
        self.inner.append_unless_changed(append).await
    }

    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        self.gate.turn().await;
        self.inner.read(room, after, limit).await
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        self.inner.tail().await
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        self.inner.now_ms().await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError> {
        self.gate.turn().await;
        self.inner.claim(worker, max, debounce, lease).await
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        self.gate.turn().await;
        self.inner.renew(worker, tasks).await
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        self.gate.turn().await;
        self.inner.complete(worker, task, upto, min_lifetime).await
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        self.gate.turn().await;
        self.inner.give_back(worker, task, after).await
    }

    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError> {
        self.gate.turn().await;
        self.inner.raise_epoch(room, known).await
    }

    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        self.gate.turn().await;
        self.inner.holds(room, clock).await
    }

    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        self.gate.turn().await;
        self.inner.quarantine(room, id).await
    }

    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        self.gate.turn().await;
        self.inner.read_quarantined(room, id, after, limit).await
    }

    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.gate.turn().await;
        self.inner.release(room, id).await
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        self.inner.check().await
    }
}

#[async_trait]
impl DocStore for Gated<dyn DocStore> {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        self.gate.turn().await;
        self.inner.read_upto(room, assets, upto_ms).await
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        self.gate.turn().await;
        self.inner.store(version).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        self.gate.turn().await;
        self.inner.put_tombstone(room, tombstone, audit).await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        self.inner.check().await
    }
}

#[async_trait]
impl FailureStore for Gated<dyn FailureStore> {
    async fn record_failure(&self, report: &FailureReport, since_ms: u64) -> Result<FailureTally, DocStoreError> {
        self.inner.record_failure(report, since_ms).await
    }

    async fn forget_failures(&self, room: &RoomId) -> Result<(), DocStoreError> {
        self.inner.forget_failures(room).await
    }

    async fn failures(&self, page: Page<'_>) -> Result<Vec<RoomFailure>, DocStoreError> {
        self.inner.failures(page).await
    }

    async fn put_quarantine(&self, record: &QuarantineRecord) -> Result<(), DocStoreError> {
        self.gate.turn().await;
        self.inner.put_quarantine(record).await
    }

    async fn end_quarantine(&self, room: &RoomId, id: &QuarantineId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        self.gate.turn().await;
        self.inner.end_quarantine(room, id, audit).await
    }

    async fn quarantines(&self, page: Page<'_>) -> Result<Vec<QuarantineRecord>, DocStoreError> {
        self.inner.quarantines(page).await
    }
}

#[async_trait]
impl StreamAdmin for Gated<dyn StreamAdmin> {
    async fn live_rooms(&self, cursor: Option<&str>, max: usize) -> Result<ScanPage<LiveRoom>, StreamLogError> {
        self.inner.live_rooms(cursor, max).await
    }

    async fn quarantined(
        &self,
        room: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<QuarantinedStream>, StreamLogError> {
        self.gate.turn().await;
        self.inner.quarantined(room, cursor, max).await
    }

    async fn disable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.inner.disable_compaction(room).await
    }

    async fn enable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.inner.enable_compaction(room).await
    }

    async fn hasten(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.inner.hasten(room).await
    }

    async fn clear(&self, room: &RoomId) -> Result<u64, StreamLogError> {
        self.gate.turn().await;
        self.inner.clear(room).await
    }

    async fn discard(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.gate.turn().await;
        self.inner.discard(room, id).await
    }

    async fn reconcile(&self, cursor: Option<&str>, max: usize) -> Result<Reconciled, StreamLogError> {
        self.inner.reconcile(cursor, max).await
    }
}

#[async_trait]
impl DeletionStore for Gated<dyn DeletionStore> {
    async fn tombstone(&self, room: &RoomId) -> Result<Option<Tombstone>, DocStoreError> {
        self.gate.turn().await;
        self.inner.tombstone(room).await
    }

    async fn restore(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<Restored, DocStoreError> {
        self.gate.turn().await;
        self.inner.restore(room, audit).await
    }

    async fn harden(&self, room: &RoomId, before_ms: i64, audit: Option<&AuditRecord>) -> Result<Hardened, DocStoreError> {
        self.gate.turn().await;
        self.inner.harden(room, before_ms, audit).await
    }

    async fn erase_rows(&self, room: &RoomId, max: usize) -> Result<Erased, DocStoreError> {
        self.gate.turn().await;
        self.inner.erase_rows(room, max).await
    }

    async fn erased_rows(&self, room: &RoomId, after: Option<&str>, max: usize) -> Result<Vec<ErasedRow>, DocStoreError> {
        self.inner.erased_rows(room, after, max).await
    }

    async fn finish_purge(
        &self,
        room: &RoomId,
        receipt: &PurgeReceipt,
        audit: Option<&AuditRecord>,
    ) -> Result<bool, DocStoreError> {
        self.gate.turn().await;
        self.inner.finish_purge(room, receipt, audit).await
    }

    async fn receipt(&self, room: &RoomId) -> Result<Option<PurgeReceipt>, DocStoreError> {
        self.inner.receipt(room).await
    }

    async fn tombstones(&self, filter: TombstoneFilter<'_>, page: Page<'_>) -> Result<Vec<DeletedRoom>, DocStoreError> {
        self.gate.turn().await;
        self.inner.tombstones(filter, page).await
    }

    async fn overview_of(&self, room: &RoomId) -> Result<Option<RoomOverview>, DocStoreError> {
        self.inner.overview_of(room).await
    }

    async fn rooms_of(&self, org: &str, after: Option<(&str, &str)>, max: usize) -> Result<Vec<RoomOverview>, DocStoreError> {
        self.inner.rooms_of(org, after, max).await
    }

    async fn hold(&self, hold: &Hold, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        self.gate.turn().await;
        self.inner.hold(hold, audit).await
    }

    async fn release_hold(&self, room: &RoomId, audit: Option<&AuditRecord>) -> Result<bool, DocStoreError> {
        self.inner.release_hold(room, audit).await
    }

    async fn hold_of(&self, room: &RoomId) -> Result<Option<Hold>, DocStoreError> {
        self.gate.turn().await;
        self.inner.hold_of(room).await
    }

    async fn holds(&self, page: Page<'_>) -> Result<Vec<Hold>, DocStoreError> {
        self.inner.holds(page).await
    }

    async fn take_duty(&self, name: &str, owner: &str, now_ms: u64, lease: Duration) -> Result<bool, DocStoreError> {
        self.inner.take_duty(name, owner, now_ms, lease).await
    }
}
