//! A stream log in memory that does what a test says: it panics, fails, denies a lease or tells of a gap. Without threads, so
//! that paused time works.

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
    Append, BoxError, Completed, LiveRoom, LogEntry, QuarantineId, QuarantinedStream, ReadLimit, ReadPage, Reconciled, ScanPage,
    StreamAdmin, StreamLog, StreamLogError, Tail, TailControl, TailEvent, Task, TaskEpoch, TaskId, WorkerId,
};

/// When the log's time begins, in milliseconds since 1970.
const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone)]
struct Pending {
    id: TaskId,
    attempt: u32,
    owner: Option<String>,
    since_ms: u64,
    /// Given back until then.
    back_ms: Option<u64>,
}

#[derive(Default)]
struct Stored {
    entries: Vec<LogEntry>,
    trimmed_upto: StreamClock,
    task: Option<Pending>,
    epoch: u64,
    quarantined: BTreeMap<String, Vec<LogEntry>>,
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
    /// The next claim is answered so much later.
    late_claim: Option<Duration>,
    /// How many entries one event of a tail carries.
    batch: usize,
    followed: Vec<(RoomId, Option<StreamClock>)>,
    gaps: HashSet<RoomId>,
    /// The log may have lost something of these: every tail that follows one is told, each time that it stands here.
    suspects: Vec<RoomId>,
}

/// A stream log.
pub(crate) struct MemoryLog {
    state: Arc<Mutex<State>>,
    started: Instant,
}

pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
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

    /// The next claim that finds a task is answered so much later.
    pub(crate) fn answer_claim_late(&self, by: Duration) {
        self.lock().late_claim = Some(by);
    }

    /// Somebody has removed the task of `room`.
    pub(crate) fn lose_task(&self, room: &RoomId) {
        self.lock().rooms.get_mut(room).expect("the room is live").task = None;
    }

    /// All claims begin anew, as with a log that was restored without them.
    pub(crate) fn lose_epochs(&self) {
        self.lock().rooms.values_mut().for_each(|stored| stored.epoch = 0);
    }

    /// Appends what nobody can read.
    pub(crate) async fn poison(&self, room: &RoomId) {
        let messages = vec![bytes::Bytes::from_static(b"\x76garbage")];
        let append = Append { room: room.clone(), messages, floor: StreamClock::ZERO };
        self.append(append).await.expect("appending works");
    }

    /// What nobody could read becomes `message`.
    pub(crate) fn heal(&self, room: &RoomId, message: bytes::Bytes) {
        let mut state = self.lock();
        for entry in &mut state.rooms.get_mut(room).expect("the room is live").entries {
            if entry.message.as_deref() == Some(b"\x76garbage") {
                entry.message = Some(message.clone());
            }
        }
    }

    /// How many entries the streams of `room` hold that were set aside.
    pub(crate) fn set_aside(&self, room: &RoomId) -> Vec<usize> {
        let state = self.lock();
        state.rooms.get(room).map_or_else(Vec::new, |stored| stored.quarantined.values().map(Vec::len).collect())
    }

    /// How many entries the stream of `room` holds.
    pub(crate) fn entry_count(&self, room: &RoomId) -> usize {
        self.lock().rooms.get(room).map_or(0, |stored| stored.entries.len())
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

    /// The last `count` entries of `room` are lost, and their clocks free again.
    pub(crate) fn lose(&self, room: &RoomId, count: usize) {
        let mut state = self.lock();
        if let Some(stored) = state.rooms.get_mut(room) {
            stored.entries.truncate(stored.entries.len().saturating_sub(count));
        }
        state.last = state.rooms.values().filter_map(|stored| Some(stored.entries.last()?.clock)).max().unwrap_or_default();
    }

    /// Everything is lost.
    pub(crate) fn lose_everything(&self) {
        let mut state = self.lock();
        state.rooms.clear();
        state.last = StreamClock::ZERO;
    }

    /// Tails say that something may be lost of `room` if they follow it.
    pub(crate) fn suspect(&self, room: &RoomId) {
        let mut state = self.lock();
        state.suspects.push(room.clone());
        state.wake();
    }

    /// The messages in the stream of `room`, with their clocks.
    pub(crate) fn entries(&self, room: &RoomId) -> Vec<(StreamClock, bytes::Bytes)> {
        let state = self.lock();
        let entries = state.rooms.get(room).map_or(&[][..], |stored| &stored.entries);
        entries.iter().filter_map(|entry| Some((entry.clock, entry.message.clone()?))).collect()
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
        let stored = self.rooms.get_mut(&task.room)?;
        let is_ours = stored.epoch == task.epoch.0;
        stored.task.as_mut().filter(|pending| is_ours && pending.owner.as_ref() == Some(&worker.0))
    }

    /// A room that holds entries has a task.
    fn enqueue(&mut self, room: &RoomId, now_ms: u64) {
        self.tasks += 1;
        let id = TaskId(self.tasks.to_string());
        let stored = self.rooms.entry(room.clone()).or_default();
        if !stored.entries.is_empty() {
            stored.task.get_or_insert(Pending { id, attempt: 0, owner: None, since_ms: now_ms, back_ms: None });
        }
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
            let stored = state.rooms.entry(append.room.clone()).or_default();
            let was_live = !stored.entries.is_empty();
            stored.entries.push(LogEntry { clock, message: Some(message) });
            if !was_live {
                state.enqueue(&append.room, now_ms);
            }
            clocks.push(clock);
        }
        state.wake();
        Ok(clocks)
    }

    async fn append_unless_changed(&self, _: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        unreachable!("actors append whatever was appended meanwhile")
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
        let told = self.lock().suspects.len();
        let tail = MemoryTail { state: self.state.clone(), rooms, turn: 0, told, ended: false };
        Ok((Box::new(control), Box::pin(tail)))
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        Ok(self.now())
    }

    async fn claim(&self, worker: &WorkerId, max: usize, wait: Duration, lease: Duration) -> Result<Vec<Task>, StreamLogError> {
        let now_ms = self.now();
        let (mut tasks, mut late) = (Vec::new(), None);
        {
            let mut state = self.hit("claim")?;
            for (room, stored) in &mut state.rooms {
                let Some(pending) = stored.task.as_mut().filter(|_| tasks.len() < max) else { continue };
                let due_ms = match (&pending.owner, pending.back_ms) {
                    (Some(_), _) => pending.since_ms + lease.as_millis() as u64,
                    (None, Some(back_ms)) => back_ms,
                    (None, None) => pending.since_ms + wait.as_millis() as u64,
                };
                if now_ms >= due_ms {
                    stored.epoch += 1;
                    (pending.owner, pending.back_ms) = (Some(worker.0.clone()), None);
                    (pending.attempt, pending.since_ms) = (pending.attempt + 1, now_ms);
                    let (id, epoch, attempt) = (pending.id.clone(), TaskEpoch(stored.epoch), pending.attempt);
                    tasks.push(Task { id, room: room.clone(), epoch, attempt });
                }
            }
            if !tasks.is_empty() {
                late = state.late_claim.take();
            }
        }
        if let Some(late) = late {
            tokio::time::sleep(late).await;
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
        let now_ms = self.now();
        let mut state = self.hit("complete")?;
        if state.task(worker, task).is_none() {
            return Ok(Completed::NotOwner);
        }
        let stored = state.rooms.get_mut(&task.room).expect("its task was found");
        let before = stored.entries.len();
        stored.entries.retain(|entry| entry.clock > upto);
        stored.trimmed_upto = stored.trimmed_upto.max(upto);
        stored.task = None;
        let (trimmed, left) = ((before - stored.entries.len()) as u64, !stored.entries.is_empty());
        state.enqueue(&task.room, now_ms);
        Ok(Completed::Done { trimmed, left })
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        let now_ms = self.now();
        let mut state = self.hit("give back")?;
        if let Some(pending) = state.task(worker, task) {
            (pending.owner, pending.back_ms) = (None, Some(now_ms + after.as_millis() as u64));
        }
        Ok(())
    }

    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError> {
        let mut state = self.hit("raise epoch")?;
        let stored = state.rooms.entry(room.clone()).or_default();
        stored.epoch = stored.epoch.max(known.0);
        Ok(())
    }

    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        let state = self.hit("holds")?;
        let holds = |stored: &Stored| clock <= stored.trimmed_upto || stored.entries.iter().any(|entry| entry.clock == clock);
        Ok(state.rooms.get(room).is_some_and(holds))
    }

    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        let mut state = self.hit("quarantine")?;
        let clock = state.last.next();
        let Some(stored) = state.rooms.get_mut(room) else { return Ok(false) };
        if stored.quarantined.contains_key(&id.0) {
            return Ok(true);
        }
        if stored.entries.is_empty() {
            return Ok(false);
        }
        let moved = std::mem::replace(&mut stored.entries, vec![LogEntry { clock, message: None }]);
        stored.quarantined.insert(id.0.clone(), moved);
        state.last = clock;
        state.gaps.insert(room.clone());
        state.wake();
        Ok(true)
    }

    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        _: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        let state = self.hit("read quarantined")?;
        let entries = state.rooms.get(room).and_then(|stored| stored.quarantined.get(&id.0)).map_or(&[][..], |all| all);
        let entries = entries.iter().filter(|entry| entry.clock > after).cloned().collect();
        Ok(ReadPage { entries, more: false, trimmed_upto: StreamClock::ZERO })
    }

    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        let released = {
            let mut state = self.hit("release")?;
            state.rooms.get_mut(room).and_then(|stored| stored.quarantined.remove(&id.0))
        };
        let Some(entries) = released else { return Ok(None) };
        let count = entries.len() as u64;
        let messages = entries.into_iter().filter_map(|entry| entry.message).collect();
        self.append(Append { room: room.clone(), messages, floor: StreamClock::ZERO }).await?;
        Ok(Some(count))
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        Ok(())
    }
}

/// Only what the reconciler asks for; operators are not played here.
#[async_trait]
impl StreamAdmin for MemoryLog {
    async fn live_rooms(&self, _: Option<&str>, _: usize) -> Result<ScanPage<LiveRoom>, StreamLogError> {
        Err(unavailable())
    }

    async fn quarantined(
        &self,
        _: Option<&RoomId>,
        _: Option<&str>,
        _: usize,
    ) -> Result<ScanPage<QuarantinedStream>, StreamLogError> {
        Err(unavailable())
    }

    async fn disable_compaction(&self, _: &RoomId) -> Result<bool, StreamLogError> {
        Err(unavailable())
    }

    async fn enable_compaction(&self, _: &RoomId) -> Result<bool, StreamLogError> {
        Err(unavailable())
    }

    async fn hasten(&self, _: &RoomId) -> Result<bool, StreamLogError> {
        Err(unavailable())
    }

    async fn clear(&self, _: &RoomId) -> Result<u64, StreamLogError> {
        Err(unavailable())
    }

    async fn discard(&self, _: &RoomId, _: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        Err(unavailable())
    }

    /// One room at a time, by the order of their names.
    async fn reconcile(&self, cursor: Option<&str>, _: usize) -> Result<Reconciled, StreamLogError> {
        let now_ms = self.now();
        let mut state = self.hit("reconcile")?;
        let mut rooms: Vec<RoomId> = state.rooms.keys().cloned().collect();
        rooms.sort();
        let at: usize = cursor.map_or(0, |cursor| cursor.parse().expect("a cursor of ours"));
        let mut found = Reconciled::default();
        if let Some(room) = rooms.get(at) {
            let stored = &state.rooms[room];
            if !stored.entries.is_empty() && stored.task.is_none() {
                state.enqueue(room, now_ms);
                found.enqueued.push(room.clone());
            }
            found.next = Some((at + 1).to_string());
        }
        Ok(found)
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
    /// So many suspicions has it told.
    told: usize,
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
        while let Some(room) = state.suspects.get(this.told) {
            this.told += 1;
            if rooms.contains_key(room) {
                return Poll::Ready(Some(Ok(TailEvent::Suspect { room: room.clone() })));
            }
        }
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
