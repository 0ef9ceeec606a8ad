//! Stores in memory that do what a test says: they panic, fail, hang, deny a lease or tell of a gap. Without threads, so that
//! paused time works.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::Stream;
use tokio::time::Instant;
use yhub_core::{RoomId, StreamClock};
use yhub_store::{
    Append, AssetSelection, BoxError, Completed, DocStore, DocStoreError, LogEntry, ReadLimit, ReadPage, StoreOutcome,
    StoreVersion, StoredRoom, StreamLog, StreamLogError, Tail, TailControl, TailEvent, Task, TaskEpoch, TaskId, Tombstone,
    VersionRow, WorkerId,
};

/// When the log's time begins, in milliseconds since 1970.
const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone)]
struct Pending {
    id: TaskId,
    epoch: u64,
    attempt: u32,
    owner: Option<String>,
    since_ms: u64,
}

#[derive(Default)]
struct Stored {
    entries: Vec<LogEntry>,
    trimmed_upto: StreamClock,
    task: Option<Pending>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomId, Stored>,
    last: StreamClock,
    tasks: u64,
    wakers: Vec<Waker>,
    /// What panics at its next call; `tail` is the next poll of any tail.
    panics: HashSet<&'static str>,
    /// What fails at its next call.
    fails: HashSet<&'static str>,
    calls: HashMap<&'static str, usize>,
    reads: HashMap<RoomId, usize>,
    deny_renewals: bool,
    /// How many entries one event of a tail carries.
    batch: usize,
    followed: Vec<(RoomId, Option<StreamClock>)>,
    gaps: HashSet<RoomId>,
}

/// A stream log.
pub(crate) struct MemoryLog {
    state: Arc<Mutex<State>>,
    started: Instant,
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic on purpose may have poisoned it.
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn unavailable() -> StreamLogError {
    StreamLogError::Unavailable { at: "memory".into(), source: BoxError::from("on purpose") }
}

impl MemoryLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Arc::new(Mutex::new(State { batch: 1, ..State::default() })), started: Instant::now() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The next call of `method` panics; of `tail` the next poll.
    pub(crate) fn panic_at(&self, method: &'static str) {
        let mut state = self.lock();
        state.panics.insert(method);
        state.wake();
    }

    /// The next call of `method` fails; of `tail` the next poll, which ends it.
    pub(crate) fn fail_at(&self, method: &'static str) {
        let mut state = self.lock();
        state.fails.insert(method);
        state.wake();
    }

    pub(crate) fn deny_renewals(&self) {
        self.lock().deny_renewals = true;
    }

    /// How often `method` was called.
    pub(crate) fn calls(&self, method: &'static str) -> usize {
        self.lock().calls.get(method).copied().unwrap_or(0)
    }

    /// How often the entries of `room` were read, apart from tails.
    pub(crate) fn reads(&self, room: &RoomId) -> usize {
        self.lock().reads.get(room).copied().unwrap_or(0)
    }

    /// What tails were told to follow, with the clock, and no longer to follow.
    pub(crate) fn followed(&self) -> Vec<(RoomId, Option<StreamClock>)> {
        self.lock().followed.clone()
    }

    /// The next thing that tails say of `room` is that lines are missing.
    pub(crate) fn gap(&self, room: &RoomId) {
        let mut state = self.lock();
        state.gaps.insert(room.clone());
        state.wake();
    }

    fn now(&self) -> u64 {
        START_MS + self.started.elapsed().as_millis() as u64
    }

    /// Counts a call, and does what is asked for.
    fn hit(&self, method: &'static str) -> Result<MutexGuard<'_, State>, StreamLogError> {
        let mut state = self.lock();
        *state.calls.entry(method).or_default() += 1;
        if state.panics.remove(method) {
            drop(state);
            panic!("on purpose");
        }
        if state.fails.remove(method) { Err(unavailable()) } else { Ok(state) }
    }
}

impl State {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn task(&mut self, worker: &WorkerId, task: &Task) -> Option<&mut Pending> {
        let pending = self.rooms.get_mut(&task.room)?.task.as_mut()?;
        (pending.owner.as_ref() == Some(&worker.0) && pending.epoch == task.epoch.0).then_some(pending)
    }
}

#[async_trait]
impl StreamLog for MemoryLog {
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError> {
        let now_ms = self.now();
        let mut state = self.hit("append")?;
        let mut clocks = Vec::new();
        for message in append.messages {
            let clock = state.last.max(append.floor).next().max(StreamClock::new(now_ms, 0));
            state.last = clock;
            state.tasks += 1;
            let id = TaskId(state.tasks.to_string());
            let stored = state.rooms.entry(append.room.clone()).or_default();
            stored.entries.push(LogEntry { clock, message: Some(message) });
            stored.task.get_or_insert(Pending { id, epoch: 0, attempt: 0, owner: None, since_ms: now_ms });
            clocks.push(clock);
        }
        state.wake();
        Ok(clocks)
    }

    async fn read(&self, room: &RoomId, after: StreamClock, _: ReadLimit) -> Result<ReadPage, StreamLogError> {
        let mut state = self.hit("read")?;
        *state.reads.entry(room.clone()).or_default() += 1;
        let Some(stored) = state.rooms.get(room) else {
            return Ok(ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO });
        };
        let entries = stored.entries.iter().filter(|entry| entry.clock > after).cloned().collect();
        Ok(ReadPage { entries, more: false, trimmed_upto: stored.trimmed_upto })
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        drop(self.hit("open tail")?);
        let rooms = Arc::new(Mutex::new(BTreeMap::new()));
        let control = Control { state: self.state.clone(), rooms: rooms.clone() };
        let tail = MemoryTail { state: self.state.clone(), rooms, turn: 0, ended: false };
        Ok((Box::new(control), Box::pin(tail)))
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        Ok(self.now())
    }

    async fn claim(&self, worker: &WorkerId, max: usize, wait: Duration, lease: Duration) -> Result<Vec<Task>, StreamLogError> {
        let now_ms = self.now();
        let mut state = self.hit("claim")?;
        let mut tasks = Vec::new();
        for (room, stored) in &mut state.rooms {
            let Some(pending) = stored.task.as_mut().filter(|_| tasks.len() < max) else { continue };
            let due = if pending.owner.is_some() { lease } else { wait };
            if now_ms - pending.since_ms >= due.as_millis() as u64 {
                pending.owner = Some(worker.0.clone());
                (pending.epoch, pending.attempt, pending.since_ms) = (pending.epoch + 1, pending.attempt + 1, now_ms);
                let (id, epoch, attempt) = (pending.id.clone(), TaskEpoch(pending.epoch), pending.attempt);
                tasks.push(Task { id, room: room.clone(), epoch, attempt });
            }
        }
        Ok(tasks)
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        let now_ms = self.now();
        let mut state = self.hit("renew")?;
        if state.deny_renewals {
            return Ok(Vec::new());
        }
        let mut renewed = Vec::new();
        for task in tasks {
            if let Some(pending) = state.task(worker, task) {
                pending.since_ms = now_ms;
                renewed.push(task.id.clone());
            }
        }
        Ok(renewed)
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        _: Duration,
    ) -> Result<Completed, StreamLogError> {
        let mut state = self.hit("complete")?;
        if state.task(worker, task).is_none() {
            return Ok(Completed::NotOwner);
        }
        let stored = state.rooms.get_mut(&task.room).expect("its task was found");
        let before = stored.entries.len();
        stored.entries.retain(|entry| entry.clock > upto);
        stored.trimmed_upto = stored.trimmed_upto.max(upto);
        stored.task = None;
        Ok(Completed::Done { trimmed: (before - stored.entries.len()) as u64, left: !stored.entries.is_empty() })
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task) -> Result<(), StreamLogError> {
        let mut state = self.hit("give back")?;
        if let Some(pending) = state.task(worker, task) {
            (pending.owner, pending.since_ms) = (None, 0);
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        Ok(())
    }
}

type Followed = Arc<Mutex<BTreeMap<RoomId, StreamClock>>>;

struct Control {
    state: Arc<Mutex<State>>,
    rooms: Followed,
}

impl TailControl for Control {
    fn follow(&self, room: RoomId, after: StreamClock) {
        let mut state = lock(&self.state);
        state.followed.push((room.clone(), Some(after)));
        lock(&self.rooms).insert(room, after);
        state.wake();
    }

    fn unfollow(&self, room: &RoomId) {
        lock(&self.state).followed.push((room.clone(), None));
        lock(&self.rooms).remove(room);
    }
}

struct MemoryTail {
    state: Arc<Mutex<State>>,
    rooms: Followed,
    turn: usize,
    ended: bool,
}

impl Stream for MemoryTail {
    type Item = Result<TailEvent, StreamLogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let mut state = lock(&this.state);
        if state.panics.remove("tail") {
            drop(state);
            panic!("on purpose");
        }
        if state.fails.remove("tail") {
            this.ended = true;
            return Poll::Ready(Some(Err(unavailable())));
        }
        let mut rooms = lock(&this.rooms);
        let count = rooms.len();
        // Every room has its turn.
        for at in 0..count {
            let (room, position) = rooms.iter_mut().nth((this.turn + at) % count).expect("below the count");
            if state.gaps.remove(room) {
                let room = room.clone();
                rooms.remove(&room);
                return Poll::Ready(Some(Ok(TailEvent::Gap { room })));
            }
            let Some(stored) = state.rooms.get(room) else { continue };
            let new = stored.entries.iter().filter(|entry| entry.clock > *position).take(state.batch);
            let entries: Arc<[LogEntry]> = new.cloned().collect();
            if let Some(last) = entries.last() {
                *position = last.clock;
                let room = room.clone();
                this.turn += at + 1;
                return Poll::Ready(Some(Ok(TailEvent::Entries { room, entries })));
            }
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// A document store.
#[derive(Default)]
pub(crate) struct MemoryDocs {
    rows: Mutex<HashMap<RoomId, Vec<VersionRow>>>,
    /// Stores begin and never end; how many were cut off.
    hanging: Mutex<Option<usize>>,
    fail_reads: Mutex<bool>,
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

    pub(crate) fn row_count(&self, room: &RoomId) -> usize {
        lock(&self.rows).get(room).map_or(0, Vec::len)
    }
}

#[async_trait]
impl DocStore for MemoryDocs {
    async fn read(&self, room: &RoomId, _: AssetSelection) -> Result<StoredRoom, DocStoreError> {
        if *lock(&self.fail_reads) {
            return Err(DocStoreError::Unavailable { at: "memory".into(), source: BoxError::from("on purpose") });
        }
        Ok(StoredRoom { rows: lock(&self.rows).get(room).cloned().unwrap_or_default(), tombstone: None })
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        if lock(&self.hanging).is_some() {
            let _cut_off = CutOff(self);
            std::future::pending::<()>().await;
        }
        let mut rooms = lock(&self.rows);
        let rows = rooms.entry(version.room).or_default();
        rows.retain(|row| !version.replaces.contains(&row.t));
        let (t, created_ms) = (version.clock.to_string(), version.clock.ms as i64);
        rows.push(VersionRow { t, created_ms, assets: version.assets.map(Some), is_reference: version.is_reference });
        Ok(StoreOutcome::Stored)
    }

    async fn put_tombstone(&self, _: &RoomId, _: Tombstone) -> Result<(), DocStoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        Ok(())
    }
}
