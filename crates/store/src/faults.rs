//! Wrappers that make an engine fail where a test says: the nth call of a method, every call, or calls by chance.
//!
//! A fault before the call is a store that did not get the request, one after it a store whose answer was lost: both look
//! alike to the caller, who must be right in either case. Without a plan the wrappers change nothing.

mod assets;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use yhub_core::{RoomId, StreamClock};

use crate::{
    Append, AssetSelection, AuditRecord, BoxError, Brought, Completed, DocStore, DocStoreError, QuarantineId, ReadLimit,
    ReadPage, StoreOutcome, StoreVersion, StoredRoom, StreamLog, StreamLogError, Tail, TailControl, TailEvent, Task, TaskEpoch,
    TaskId, Tombstone, TombstoneOutcome, WorkerId,
};

pub use assets::{AssetMethod, FaultyAssetStore};

/// A method of [`StreamLog`], or what comes out of its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the methods")]
pub enum LogMethod {
    Append,
    Read,
    Tail,
    /// One event of any tail. A fault before it takes its place, one after it comes next; either ends the tail.
    TailEvent,
    NowMs,
    Claim,
    Renew,
    Complete,
    GiveBack,
    RaiseEpoch,
    Holds,
    Quarantine,
    ReadQuarantined,
    Release,
    Check,
}

/// A method of [`DocStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the methods")]
pub enum DocMethod {
    Read,
    Store,
    PutTombstone,
    Check,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    FailBefore,
    /// It is done, and then it fails.
    FailAfter,
    /// It is done after so long.
    Delay(Duration),
    /// It is not done before [`FaultPlan::release`].
    Hang,
}

/// What goes wrong, and when. Shared between a test and the wrapper; may be changed at any time.
pub struct FaultPlan<M> {
    rules: Mutex<Rules<M>>,
    released: watch::Sender<u64>,
}

struct Rules<M> {
    calls: HashMap<M, u64>,
    at: HashMap<(M, u64), Fault>,
    every: HashMap<M, Fault>,
    chance: Option<Chance<M>>,
}

struct Chance<M> {
    random: fastrand::Rng,
    one_in: u64,
    methods: Vec<M>,
    faults: Vec<Fault>,
}

impl<M: Copy + Eq + Hash> Default for FaultPlan<M> {
    fn default() -> Self {
        let rules = Rules { calls: HashMap::new(), at: HashMap::new(), every: HashMap::new(), chance: None };
        Self { rules: Mutex::new(rules), released: watch::Sender::new(0) }
    }
}

impl<M: Copy + Eq + Hash> FaultPlan<M> {
    /// A plan without faults.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn rules(&self) -> MutexGuard<'_, Rules<M>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` call of `method` from now on has `fault`; the next one is the first.
    pub fn on_nth(&self, method: M, nth: u64, fault: Fault) {
        let mut rules = self.rules();
        let so_far = rules.calls.get(&method).copied().unwrap_or(0);
        rules.at.insert((method, so_far.saturating_add(nth)), fault);
    }

    /// Every call of `method` has `fault`, until it is [cleared](Self::clear).
    pub fn on_every(&self, method: M, fault: Fault) {
        self.rules().every.insert(method, fault);
    }

    /// About one in `one_in` calls of any of `methods` has one of `faults`. The same seed and the same order of calls
    /// give the same faults. Without methods or faults, nothing happens.
    pub fn by_chance(&self, seed: u64, one_in: u64, methods: &[M], faults: &[Fault]) {
        let chance = Chance {
            random: fastrand::Rng::with_seed(seed),
            one_in: one_in.max(1),
            methods: methods.to_vec(),
            faults: faults.to_vec(),
        };
        self.rules().chance = Some(chance);
    }

    /// From now on nothing goes wrong any more. What hangs goes on hanging.
    pub fn clear(&self) {
        let mut rules = self.rules();
        rules.at.clear();
        rules.every.clear();
        rules.chance = None;
    }

    /// Lets go on what hangs now.
    pub fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    /// How often `method` was called so far.
    pub fn calls(&self, method: M) -> u64 {
        self.rules().calls.get(&method).copied().unwrap_or(0)
    }

    /// Counts a call and says what goes wrong with it.
    fn next(&self, method: M) -> Option<Fault> {
        let mut rules = self.rules();
        let count = rules.calls.entry(method).or_insert(0);
        *count += 1;
        let nth = *count;
        if let Some(fault) = rules.at.remove(&(method, nth)).or(rules.every.get(&method).copied()) {
            return Some(fault);
        }
        let chance = rules.chance.as_mut().filter(|chance| chance.methods.contains(&method))?;
        if chance.faults.is_empty() || chance.random.u64(..chance.one_in) != 0 {
            return None;
        }
        let which = chance.random.u64(..chance.faults.len() as u64);
        chance.faults.get(usize::try_from(which).ok()?).copied()
    }

    /// Runs one call of `method`, with what the plan has for it; `fail` makes the error.
    async fn run<T, E>(&self, method: M, call: impl Future<Output = Result<T, E>>, fail: fn() -> E) -> Result<T, E> {
        match self.next(method) {
            None => call.await,
            Some(Fault::FailBefore) => Err(fail()),
            Some(Fault::FailAfter) => {
                // Whatever came of it, the answer is lost.
                let _ = call.await;
                Err(fail())
            }
            Some(wait) => {
                self.wait(wait).await;
                call.await
            }
        }
    }

    async fn wait(&self, fault: Fault) {
        match fault {
            Fault::FailBefore | Fault::FailAfter => {}
            Fault::Delay(by) => tokio::time::sleep(by).await,
            Fault::Hang => {
                // Only a dropped sender could fail this, and the plan holds it.
                let _ = self.released.subscribe().changed().await;
            }
        }
    }
}

/// What a fault says it is.
#[derive(Debug, thiserror::Error)]
#[error("a fault that the test asked for")]
struct Asked;

fn log_failure() -> StreamLogError {
    StreamLogError::Unavailable { at: "a test's fault plan".to_owned(), source: BoxError::from(Asked) }
}

fn doc_failure() -> DocStoreError {
    DocStoreError::Unavailable { at: "a test's fault plan".to_owned(), source: BoxError::from(Asked) }
}

/// A stream log with faults.
pub struct FaultyStreamLog {
    log: Arc<dyn StreamLog>,
    plan: Arc<FaultPlan<LogMethod>>,
}

impl FaultyStreamLog {
    /// `log`, with the faults of `plan`.
    pub fn new(log: Arc<dyn StreamLog>, plan: Arc<FaultPlan<LogMethod>>) -> Self {
        Self { log, plan }
    }

    async fn run<T>(
        &self,
        method: LogMethod,
        call: impl Future<Output = Result<T, StreamLogError>>,
    ) -> Result<T, StreamLogError> {
        self.plan.run(method, call, log_failure).await
    }
}

#[async_trait]
impl StreamLog for FaultyStreamLog {
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError> {
        self.run(LogMethod::Append, self.log.append(append)).await
    }

    async fn append_unless_changed(&self, append: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        self.run(LogMethod::Append, self.log.append_unless_changed(append)).await
    }

    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        self.run(LogMethod::Read, self.log.read(room, after, limit)).await
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        let (control, tail) = self.run(LogMethod::Tail, self.log.tail()).await?;
        Ok((control, faulty_tail(tail, self.plan.clone())))
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        self.run(LogMethod::NowMs, self.log.now_ms()).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError> {
        self.run(LogMethod::Claim, self.log.claim(worker, max, debounce, lease)).await
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        self.run(LogMethod::Renew, self.log.renew(worker, tasks)).await
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        self.run(LogMethod::Complete, self.log.complete(worker, task, upto, min_lifetime)).await
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        self.run(LogMethod::GiveBack, self.log.give_back(worker, task, after)).await
    }

    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError> {
        self.run(LogMethod::RaiseEpoch, self.log.raise_epoch(room, known)).await
    }

    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        self.run(LogMethod::Holds, self.log.holds(room, clock)).await
    }

    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        self.run(LogMethod::Quarantine, self.log.quarantine(room, id)).await
    }

    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        self.run(LogMethod::ReadQuarantined, self.log.read_quarantined(room, id, after, limit)).await
    }

    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.run(LogMethod::Release, self.log.release(room, id)).await
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        self.run(LogMethod::Check, self.log.check()).await
    }
}

/// Where a tail with faults stands.
enum Going {
    On(Tail),
    /// The next thing is the error, then the end.
    Failing,
    Ended,
}

fn faulty_tail(tail: Tail, plan: Arc<FaultPlan<LogMethod>>) -> Tail {
    let events = stream::unfold((Going::On(tail), plan), async |(going, plan)| {
        let mut tail = match going {
            Going::On(tail) => tail,
            Going::Failing => return Some((Err(log_failure()), (Going::Ended, plan))),
            Going::Ended => return None,
        };
        let event: Result<TailEvent, StreamLogError> = tail.next().await?;
        match plan.next(LogMethod::TailEvent) {
            None => Some((event, (Going::On(tail), plan))),
            Some(Fault::FailBefore) => Some((Err(log_failure()), (Going::Ended, plan))),
            Some(Fault::FailAfter) => Some((event, (Going::Failing, plan))),
            Some(wait) => {
                plan.wait(wait).await;
                Some((event, (Going::On(tail), plan)))
            }
        }
    });
    Box::pin(events)
}

/// A document store with faults.
pub struct FaultyDocStore {
    docs: Arc<dyn DocStore>,
    plan: Arc<FaultPlan<DocMethod>>,
}

impl FaultyDocStore {
    /// `docs`, with the faults of `plan`.
    pub fn new(docs: Arc<dyn DocStore>, plan: Arc<FaultPlan<DocMethod>>) -> Self {
        Self { docs, plan }
    }
}

#[async_trait]
impl DocStore for FaultyDocStore {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        self.plan.run(DocMethod::Read, self.docs.read_upto(room, assets, upto_ms), doc_failure).await
    }

    async fn read_within(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        upto_ms: u64,
        max_bytes: u64,
    ) -> Result<Brought<StoredRoom>, DocStoreError> {
        self.plan.run(DocMethod::Read, self.docs.read_within(room, assets, upto_ms, max_bytes), doc_failure).await
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        self.plan.run(DocMethod::Store, self.docs.store(version), doc_failure).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        self.plan.run(DocMethod::PutTombstone, self.docs.put_tombstone(room, tombstone, audit), doc_failure).await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        self.plan.run(DocMethod::Check, self.docs.check(), doc_failure).await
    }
}
