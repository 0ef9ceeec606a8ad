//! One shard: its keys, its connections, and every operation of the log on them.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use redis::{RedisError, Script, Value, aio::MultiplexedConnection};
use yhub_core::{
    RoomId, StreamClock, StreamMessage,
    alarms::{Alarm, raise},
    redis_time_ms,
};
use yhub_store::{
    Append, Completed, LogEntry, QuarantineId, ReadLimit, ReadPage, StreamLogError, Task, TaskEpoch, TaskId, WorkerId,
};

use crate::{
    conns::Connections,
    entries::{StoredClock, StoredEntry},
    error::{corrupt, unavailable},
    keys::ShardKeys,
    scripts::Scripts,
    wanted::Wanted,
};

/// One page of what was set aside.
const ASIDE_PAGE: ReadLimit = ReadLimit { entries: 1024, size_bytes: 4 << 20 };

/// One shard.
pub(crate) struct Shard {
    /// What stands before the ids of its tasks, so that those of several shards differ.
    pub(crate) task_prefix: String,
    pub(crate) keys: ShardKeys,
    pub(crate) conns: Arc<Connections>,
    pub(crate) wanted: Wanted,
    pub(crate) push_bytes: usize,
    /// Why it must not be used, if so.
    pub(crate) refused: RwLock<Option<String>>,
}

/// The scripts, which are the same for every log.
pub(crate) fn scripts() -> &'static Scripts {
    static SCRIPTS: OnceLock<Scripts> = OnceLock::new();
    SCRIPTS.get_or_init(Scripts::new)
}

/// Whole milliseconds, as far as they can be told.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Shard {
    /// Runs a script with a short answer.
    pub(crate) async fn call<T>(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Vec<u8>>,
    ) -> Result<T, StreamLogError>
    where
        T: redis::FromRedisValue,
    {
        self.conns.run_short(|conn| invoke(conn, script, keys, args)).await
    }

    /// Runs a script whose answer may be long.
    async fn call_long<T>(&self, script: &'static Script, keys: Vec<String>, args: Vec<Vec<u8>>) -> Result<T, StreamLogError>
    where
        T: redis::FromRedisValue,
    {
        self.conns.run(|conn| invoke(conn, script, keys, args)).await
    }

    /// Runs commands on a connection of the pool.
    pub(crate) async fn run<T, F>(&self, work: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, StreamLogError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        self.conns.run(work).await
    }

    /// Appends; `None` if that was to happen `unless_changed` and the room has changed.
    pub(crate) async fn append(&self, append: &Append, unless_changed: bool) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        let Append { room, messages, floor } = append;
        if messages.is_empty() {
            return Ok(Some(Vec::new()));
        }
        // Numbers in scripts are exact up to 2^53, which is in the year 287396; and a room must have clocks left.
        if floor.ms >= 1 << 53 {
            return Err(corrupt(format!("the clock of room {room}"), format!("no clock can follow {floor}")));
        }
        let keys = &self.keys;
        let mut call = scripts().append.prepare_invoke();
        call.key(keys.stream(room)).key(keys.meta(room)).key(&keys.worker).key(&keys.paused);
        call.arg(floor.to_string()).arg(keys.channel(room)).arg(self.push_bytes).arg(u8::from(unless_changed));
        for message in messages {
            call.arg(&message[..]);
        }
        let append = async |mut conn| call.invoke_async(&mut conn).await;
        let clocks: Option<Vec<StoredClock>> = self.conns.run_short(append).await?;
        Ok(clocks.map(|clocks| clocks.into_iter().map(|clock| clock.0).collect()))
    }

    pub(crate) async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        self.read_stream(self.keys.stream(room), self.keys.meta(room), after, limit).await
    }

    pub(crate) async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        // What was set aside is never trimmed: nothing is remembered under the name of its own key.
        let aside = self.keys.aside(room, id);
        self.read_stream(aside.clone(), format!("{aside}:meta"), after, limit).await
    }

    async fn read_stream(
        &self,
        stream: String,
        meta: String,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        let last = StreamClock::new(u64::MAX, u64::MAX);
        // Redis takes nothing after the last clock for a mistake; nothing but that clock itself could be there.
        let from = if after == last { "+".to_owned() } else { format!("({after}") };
        let args = vec![from.into_bytes(), text(limit.entries.max(1)), text(limit.size_bytes.min(1 << 40))];
        let (trimmed, more, entries): (String, bool, Vec<StoredEntry>) =
            self.call_long(&scripts().read, vec![stream, meta.clone()], args).await?;
        let trimmed_upto = match &trimmed[..] {
            "" => StreamClock::ZERO,
            clock => {
                clock.parse().map_err(|error: yhub_core::ClockError| corrupt(format!("{meta}, trimmed"), error.to_string()))?
            }
        };
        let entries: Vec<LogEntry> = entries.into_iter().map(|entry| entry.0).filter(|entry| entry.clock > after).collect();
        Ok(ReadPage { entries, more, trimmed_upto })
    }

    pub(crate) async fn now_ms(&self) -> Result<u64, StreamLogError> {
        let (seconds, micros): (u64, u32) =
            self.conns.run_short(async |mut conn| redis::cmd("TIME").query_async(&mut conn).await).await?;
        Ok(redis_time_ms(seconds, micros))
    }

    pub(crate) async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError> {
        let keys = &self.keys;
        let names = [&keys.worker, &keys.claims, &keys.delayed, &keys.epoch, &keys.watermark, &keys.dead];
        let args = vec![worker.0.clone().into_bytes(), text(max), text(millis(debounce)), text(millis(lease))];
        let claimed: Vec<(String, String, u32, u64)> = self.call(&scripts().claim, owned(&names), args).await?;
        let mut tasks = Vec::with_capacity(claimed.len());
        for (id, stream, attempt, epoch) in claimed {
            let Some(room) = keys.space.room_of_stream(&stream) else {
                let count = raise(Alarm::DeadLetter, 1);
                log::error!(
                    task = id, key = stream, alarm = Alarm::DeadLetter.name(), count = count;
                    "task {id} of the queue {} is none that this version knows; it was moved to {}", keys.worker, keys.dead
                );
                if !stream.is_empty() {
                    let names = [&keys.worker, &keys.claims, &keys.delayed, &keys.dead];
                    let _: u8 = self.call(&scripts().bury, owned(&names), vec![id.into_bytes()]).await?;
                }
                continue;
            };
            tasks.push(Task { id: TaskId(format!("{}{id}", self.task_prefix)), room, epoch: TaskEpoch(epoch), attempt });
        }
        Ok(tasks)
    }

    /// The id of a task as the queue knows it; an id that is none of ours names nothing.
    fn queue_id<'a>(&self, id: &'a TaskId) -> Option<&'a str> {
        let id = id.0.strip_prefix(&self.task_prefix)?;
        // Anything else than a clock would be taken for a mistake of ours by the server.
        let (ms, seq) = id.split_once('-')?;
        let is_number = |part: &str| part.parse::<u64>().is_ok() && !part.starts_with('+');
        (is_number(ms) && is_number(seq)).then_some(id)
    }

    pub(crate) async fn renew(&self, worker: &WorkerId, tasks: &[&Task]) -> Result<Vec<TaskId>, StreamLogError> {
        let mut args = vec![worker.0.clone().into_bytes()];
        for task in tasks {
            if let Some(id) = self.queue_id(&task.id) {
                args.extend([id.as_bytes().to_vec(), text(task.epoch.0)]);
            }
        }
        if args.len() == 1 {
            return Ok(Vec::new());
        }
        let renewed: Vec<String> = self.call(&scripts().renew, owned(&[&self.keys.worker, &self.keys.claims]), args).await?;
        Ok(renewed.into_iter().map(|id| TaskId(format!("{}{id}", self.task_prefix))).collect())
    }

    pub(crate) async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        let Some(id) = self.queue_id(&task.id) else { return Ok(Completed::NotOwner) };
        let keys = &self.keys;
        let (stream, meta) = (keys.stream(&task.room), keys.meta(&task.room));
        let names = [&stream, &meta, &keys.worker, &keys.claims, &keys.delayed, &keys.paused];
        let args = vec![
            worker.0.clone().into_bytes(),
            id.as_bytes().to_vec(),
            text(task.epoch.0),
            text(upto.next()),
            text(millis(min_lifetime)),
        ];
        let done: Option<(u64, bool)> = self.call(&scripts().complete, owned(&names), args).await?;
        Ok(done.map_or(Completed::NotOwner, |(trimmed, left)| Completed::Done { trimmed, left }))
    }

    pub(crate) async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        let Some(id) = self.queue_id(&task.id) else { return Ok(()) };
        let keys = owned(&[&self.keys.worker, &self.keys.claims, &self.keys.delayed]);
        let args = vec![worker.0.clone().into_bytes(), id.as_bytes().to_vec(), text(task.epoch.0), text(millis(after))];
        let _: u8 = self.call(&scripts().give_back, keys, args).await?;
        Ok(())
    }

    pub(crate) async fn raise_epoch(&self, known: TaskEpoch) -> Result<(), StreamLogError> {
        let _: u8 = self.call(&scripts().raise_epoch, owned(&[&self.keys.epoch]), vec![text(known.0)]).await?;
        Ok(())
    }

    pub(crate) async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        self.call(&scripts().holds, vec![self.keys.stream(room), self.keys.meta(room)], vec![text(clock)]).await
    }

    pub(crate) async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        let keys = vec![self.keys.stream(room), self.keys.meta(room), self.keys.aside(room, id)];
        self.call(&scripts().quarantine, keys, vec![self.keys.channel(room).into_bytes()]).await
    }

    pub(crate) async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        // What was set aside changes no more, so what is left out can be found before.
        let mut args = vec![self.keys.channel(room).into_bytes()];
        let mut after = StreamClock::ZERO;
        loop {
            let page = self.read_quarantined(room, id, after, ASIDE_PAGE).await?;
            args.extend(page.entries.iter().filter(|entry| is_auth_check(entry.message.as_ref())).map(|entry| text(entry.clock)));
            match page.entries.last() {
                Some(last) if page.more => after = last.clock,
                _ => break,
            }
        }
        let keys = &self.keys;
        let names = [keys.stream(room), keys.meta(room), keys.worker.clone(), keys.paused.clone(), keys.aside(room, id)].to_vec();
        self.call(&scripts().release, names, args).await
    }

    pub(crate) async fn check(&self) -> Result<(), StreamLogError> {
        let refused = self.refused.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = refused {
            return Err(unavailable(&self.conns.link().name(), why));
        }
        let probe = self.keys.probe.clone();
        let written: Value = self
            .run(|mut conn| async move { redis::cmd("SET").arg(probe).arg(1).arg("PX").arg(60_000).query_async(&mut conn).await })
            .await?;
        if written == Value::Okay { Ok(()) } else { Err(corrupt(&self.keys.probe, format!("SET answered {written:?}"))) }
    }
}

async fn invoke<T: redis::FromRedisValue>(
    mut conn: MultiplexedConnection,
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
) -> Result<T, RedisError> {
    let mut call = script.prepare_invoke();
    for key in &keys {
        call.key(key);
    }
    for arg in &args {
        call.arg(&arg[..]);
    }
    call.invoke_async(&mut conn).await
}

fn is_auth_check(message: Option<&Bytes>) -> bool {
    message.is_some_and(|message| matches!(StreamMessage::decode(message), Ok(StreamMessage::AuthCheck { .. })))
}

/// An argument that is no bytes.
pub(crate) fn text(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

pub(crate) fn owned(keys: &[&String]) -> Vec<String> {
    keys.iter().map(|key| (*key).clone()).collect()
}
