//! The log as its traits want it: every call goes to the shard of its room, or to all of them.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, try_join_all};
use tokio::runtime::{Builder, Handle, Runtime};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{
    Append, Completed, LiveRoom, QuarantineId, QuarantinedStream, ReadLimit, ReadPage, Reconciled, ScanPage, StreamAdmin,
    StreamLog, StreamLogError, Tail, TailControl, Task, TaskEpoch, TaskId, WorkerId,
    tail::{Interest, ReadPages, Tails},
};

use crate::{
    RedisConnectError, RedisLogOptions,
    admin::Cursor,
    conns::Connections,
    error::unavailable,
    keys::{ShardKeys, shard_of},
    link::Link,
    push::PushLoop,
    shard::Shard,
    wanted::Wanted,
};

/// The stream log on Redis.
///
/// Connections: for each shard one for appends, one for pushes, and [`RedisLogOptions::connections`] for the rest; none of
/// them blocks. They are made when they are needed, and anew when they break. A call that finds no server fails within
/// [`RedisLogOptions::timeout`]; nothing is queued for later.
pub struct RedisLog {
    shards: Arc<Shards>,
    tails: Arc<Tails>,
    tail_bytes: usize,
    /// Where the next claim begins, so that no shard is always the last.
    next_claim: AtomicUsize,
    runtime: OwnRuntime,
}

/// A runtime that may be dropped anywhere, also on a thread of another one: nothing waits for its end. What is under way was
/// sent or was not.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is only taken when it is dropped").handle()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// All shards.
pub(crate) struct Shards(Vec<Arc<Shard>>);

impl Shards {
    fn of(&self, room: &RoomId) -> &Arc<Shard> {
        &self.0[shard_of(room, self.0.len())]
    }

    /// The part that has what belongs to no room, by a hash of it.
    fn of_hash(&self, hash: &[u8; 32]) -> &Arc<Shard> {
        let number = hash.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        // Less than there are parts.
        &self.0[(number % self.0.len() as u64) as usize]
    }
}

impl Interest for Shards {
    fn follow(&self, room: &RoomId) {
        let shard = self.of(room);
        shard.wanted.add(shard.keys.channel(room), room, || shard.keys.stream(room));
    }

    fn unfollow(&self, room: &RoomId) {
        let shard = self.of(room);
        shard.wanted.remove(shard.keys.channel(room));
    }
}

/// How tails read: on the log's own runtime, to the end. A tail that nobody takes from would keep a connection otherwise.
struct Pages {
    shards: Arc<Shards>,
    runtime: Handle,
}

impl ReadPages for Pages {
    fn read_page(
        &self,
        room: RoomId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> BoxFuture<'static, Result<ReadPage, StreamLogError>> {
        let shard = self.shards.of(&room).clone();
        let page = self.runtime.spawn(async move { shard.read(&room, after, limit).await });
        Box::pin(async move { page.await.unwrap_or_else(|_| Err(unavailable("redis", "the log was closed"))) })
    }
}

impl RedisLog {
    /// Connects, and looks whether the server is safe to use.
    ///
    /// # Errors
    /// If the options cannot be used, nobody answers, or the server would lose edits.
    pub async fn connect(options: RedisLogOptions) -> Result<Arc<Self>, RedisConnectError> {
        let shards = options.shards.max(1);
        if shards > 1 && options.prefix.contains(['{', '}']) {
            let what = format!("{:?} holds braces, which decide the slot of a key, and each shard has its own", options.prefix);
            return Err(RedisConnectError::Options { key: "redis.prefix", what });
        }
        if options.cluster && shards == 1 && !options.prefix.contains('{') {
            let what =
                "without shards, the keys of a hub lie in different slots of a cluster; set `redis.shards` to a few times \
                        the number of its masters"
                    .to_owned();
            return Err(RedisConnectError::Options { key: "redis.shards", what });
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("yhub-redis")
            .enable_all()
            .build()
            .map_err(|error| RedisConnectError::Options { key: "redis", what: format!("no thread for it: {error}") })?;
        let runtime = OwnRuntime(Some(runtime));
        let mut all = Vec::with_capacity(shards);
        for shard in 0..shards {
            let keys = ShardKeys::new(&options.prefix, shard, shards);
            let link = Link::new(&options, &keys.worker)?;
            let conns = Arc::new(Connections::new(link, options.connections, options.timeout, runtime.handle().clone()));
            let task_prefix = if shards == 1 { String::new() } else { format!("{shard}/") };
            all.push(Arc::new(Shard {
                task_prefix,
                keys,
                conns,
                wanted: Wanted::default(),
                push_bytes: options.push_bytes,
                refused: RwLock::new(None),
            }));
        }
        let shards = Arc::new(Shards(all));
        let tails = Arc::new(Tails::with_interest(shards.clone()));
        let mut loops = Vec::new();
        for (at, shard) in shards.0.iter().enumerate() {
            let count = shards.0.len();
            let is_ours = Arc::new(move |room: &RoomId| shard_of(room, count) == at);
            let push = PushLoop::new(shard.clone(), tails.clone(), is_ours, &options);
            loops.push(runtime.handle().spawn(async move {
                let mut push = push;
                push.inspect_first().await.map(|()| push)
            }));
        }
        let mut ready = Vec::new();
        for inspected in loops {
            let gone = |_| RedisConnectError::Options { key: "redis", what: "the look at the server panicked".to_owned() };
            ready.push(inspected.await.map_err(gone)??);
        }
        for push in ready {
            let tails = tails.clone();
            // A panic in it would leave the rooms to nobody: their tails end, and are opened anew with another log or never.
            let running = runtime.handle().spawn(push.run());
            runtime.handle().spawn(async move {
                if running.await.is_err_and(|error| error.is_panic()) {
                    log::error!("a panic on the connection that pushes come on; this is a bug");
                    tails.end_all(|| unavailable("redis", "a panic on the connection that pushes come on"));
                }
            });
        }
        let log = Self { shards, tails, tail_bytes: options.tail_bytes, next_claim: AtomicUsize::new(0), runtime };
        Ok(Arc::new(log))
    }

    pub(crate) fn shard(&self, room: &RoomId) -> &Arc<Shard> {
        self.shards.of(room)
    }

    /// The same for what belongs to no room, by a hash of it.
    pub(crate) fn shard_of_hash(&self, hash: &[u8; 32]) -> &Arc<Shard> {
        self.shards.of_hash(hash)
    }
}

impl Drop for RedisLog {
    fn drop(&mut self) {
        self.tails.end_all(|| unavailable("redis", "the log was closed"));
    }
}

#[async_trait]
impl StreamLog for RedisLog {
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError> {
        let appended = self.shard(&append.room).append(&append, false).await?;
        Ok(appended.expect("only an append on a condition may append nothing"))
    }

    async fn append_unless_changed(&self, append: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        self.shard(&append.room).append(&append, true).await
    }

    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        self.shard(room).read(room, after, limit).await
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        let runtime = self.runtime.handle().clone();
        let (control, tail) = self.tails.open(self.tail_bytes, Arc::new(Pages { shards: self.shards.clone(), runtime }));
        Ok((Box::new(control), Box::pin(tail)))
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        self.shards.0[0].now_ms().await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError> {
        let mut tasks = Vec::new();
        let (first, count) = (self.next_claim.fetch_add(1, Ordering::Relaxed), self.shards.0.len());
        for at in 0..count {
            if tasks.len() >= max {
                break;
            }
            match self.shards.0[(first + at) % count].claim(worker, max - tasks.len(), debounce, lease).await {
                Ok(claimed) => tasks.extend(claimed),
                // What was claimed elsewhere is worked on all the same.
                Err(error) if !tasks.is_empty() => log::warn!("no tasks could be claimed from a part of the log: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(tasks)
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        let of_shards = self.shards.0.iter().map(async |shard| {
            let own: Vec<&Task> = tasks.iter().filter(|task| Arc::ptr_eq(self.shard(&task.room), shard)).collect();
            if own.is_empty() { Ok(Vec::new()) } else { shard.renew(worker, &own).await }
        });
        Ok(try_join_all(of_shards).await?.concat())
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        self.shard(&task.room).complete(worker, task, upto, min_lifetime).await
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        self.shard(&task.room).give_back(worker, task, after).await
    }

    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError> {
        self.shard(room).raise_epoch(known).await
    }

    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        self.shard(room).holds(room, clock).await
    }

    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        self.shard(room).quarantine(room, id).await
    }

    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        self.shard(room).read_quarantined(room, id, after, limit).await
    }

    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.shard(room).release(room, id).await
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        try_join_all(self.shards.0.iter().map(|shard| shard.check())).await.map(drop)
    }
}

#[async_trait]
impl StreamAdmin for RedisLog {
    async fn live_rooms(&self, cursor: Option<&str>, max: usize) -> Result<ScanPage<LiveRoom>, StreamLogError> {
        let at = Cursor::parse(cursor, self.shards.0.len())?;
        let (items, rest) = self.shards.0[at.shard].live_rooms(&at.rest, max).await?;
        Ok(ScanPage { items, next: at.next(rest, self.shards.0.len()) })
    }

    async fn quarantined(
        &self,
        room: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<QuarantinedStream>, StreamLogError> {
        let mut at = Cursor::parse(cursor, self.shards.0.len())?;
        if let Some(room) = room {
            at.shard = shard_of(room, self.shards.0.len());
        }
        let (items, rest) = self.shards.0[at.shard].quarantined(room, &at.rest, max).await?;
        let next = match room {
            // Its other streams are nowhere else.
            Some(_) => rest.map(|rest| at.with(rest)),
            None => at.next(rest, self.shards.0.len()),
        };
        Ok(ScanPage { items, next })
    }

    async fn disable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.shard(room).disable_compaction(room).await
    }

    async fn enable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.shard(room).enable_compaction(room).await
    }

    async fn hasten(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        self.shard(room).hasten(room).await
    }

    async fn clear(&self, room: &RoomId) -> Result<u64, StreamLogError> {
        self.shard(room).clear(room).await
    }

    async fn discard(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.shard(room).discard(room, id).await
    }

    async fn reconcile(&self, cursor: Option<&str>, max: usize) -> Result<Reconciled, StreamLogError> {
        let at = Cursor::parse(cursor, self.shards.0.len())?;
        let (mut done, rest) = self.shards.0[at.shard].reconcile(&at.rest, max).await?;
        done.next = at.next(rest, self.shards.0.len());
        Ok(done)
    }
}
