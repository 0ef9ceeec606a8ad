//! What operators and the reconciler do with one shard.

use std::collections::{HashMap, HashSet};

use yhub_core::{RoomId, StreamClock};
use yhub_store::{LiveRoom, PendingTask, QuarantineId, QuarantinedStream, Reconciled, StreamLogError};

use crate::{
    entries::StoredEntry,
    error::corrupt,
    shard::{Shard, owned, scripts, text},
};

/// So many tasks are read in one go.
const TASKS_AT_ONCE: usize = 1000;
/// A worker that has had nothing to do for so long is gone.
const WORKER_GONE_MS: u64 = 3_600_000;

/// Where a listing of all shards stands: `SHARD/REST`.
pub(crate) struct Cursor {
    pub(crate) shard: usize,
    pub(crate) rest: String,
}

impl Cursor {
    pub(crate) fn parse(cursor: Option<&str>, shards: usize) -> Result<Self, StreamLogError> {
        let Some(cursor) = cursor else { return Ok(Self { shard: 0, rest: String::new() }) };
        let wrong = || corrupt("the cursor of a listing", format!("{cursor:?} is none that a listing gave"));
        let (shard, rest) = cursor.split_once('/').ok_or_else(wrong)?;
        let shard = shard.parse().ok().filter(|shard| *shard < shards).ok_or_else(wrong)?;
        Ok(Self { shard, rest: rest.to_owned() })
    }

    pub(crate) fn with(&self, rest: String) -> String {
        format!("{}/{rest}", self.shard)
    }

    /// What comes after `rest` of this shard, or the next shard.
    pub(crate) fn next(&self, rest: Option<String>, shards: usize) -> Option<String> {
        match rest {
            Some(rest) => Some(self.with(rest)),
            None if self.shard + 1 < shards => Some(format!("{}/", self.shard + 1)),
            None => None,
        }
    }
}

/// A task as the queue has it.
struct Queued {
    id: String,
    stream: String,
    /// `None` if it is not in the pending list.
    pending: Option<PendingTask>,
}

impl Shard {
    /// One step of a scan for keys: the keys, and the cursor of the next step.
    pub(crate) async fn scan(
        &self,
        pattern: String,
        cursor: &str,
        max: usize,
    ) -> Result<(Vec<String>, Option<String>), StreamLogError> {
        let cursor = if cursor.is_empty() { "0".to_owned() } else { cursor.to_owned() };
        let (next, keys): (String, Vec<String>) = self
            .run(move |mut conn| async move {
                redis::cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(max.max(1)).query_async(&mut conn).await
            })
            .await?;
        Ok((keys, (next != "0").then_some(next)))
    }

    pub(crate) async fn live_rooms(&self, cursor: &str, max: usize) -> Result<(Vec<LiveRoom>, Option<String>), StreamLogError> {
        let (keys, next) = self.scan(self.keys.space.stream_pattern(), cursor, max).await?;
        if keys.is_empty() {
            return Ok((Vec::new(), next));
        }
        let paused = self.keys.paused.clone();
        let streams = keys.clone();
        type Found = (u64, Vec<StoredEntry>, Vec<StoredEntry>, bool);
        let found: Vec<redis::Value> = self
            .run(move |mut conn| async move {
                let mut all = redis::pipe();
                for stream in &streams {
                    all.cmd("XLEN").arg(stream);
                    all.cmd("XRANGE").arg(stream).arg("-").arg("+").arg("COUNT").arg(1);
                    all.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
                    all.cmd("SISMEMBER").arg(&paused).arg(stream);
                }
                all.query_async(&mut conn).await
            })
            .await?;
        let mut tasks: HashMap<String, Vec<PendingTask>> = HashMap::new();
        for task in self.queue().await? {
            tasks.entry(task.stream).or_default().extend(task.pending);
        }
        let mut rooms = Vec::new();
        let mut found = found.into_iter();
        for key in keys {
            let four = redis::Value::Array(found.by_ref().take(4).collect());
            let (entries, first, last, is_paused): Found =
                redis::from_redis_value(four).map_err(|error| corrupt(&key, error.to_string()))?;
            // One that has ended meanwhile is not live; a key that is no room's is none of ours.
            let (Some(room), [first, ..], [last, ..]) = (self.keys.space.room_of_stream(&key), &first[..], &last[..]) else {
                continue;
            };
            let (first, last) = (first.0.clock, last.0.clock);
            rooms.push(LiveRoom { room, entries, first, last, is_paused, tasks: tasks.remove(&key).unwrap_or_default() });
        }
        Ok((rooms, next))
    }

    pub(crate) async fn quarantined(
        &self,
        room: Option<&RoomId>,
        cursor: &str,
        max: usize,
    ) -> Result<(Vec<QuarantinedStream>, Option<String>), StreamLogError> {
        let space = &self.keys.space;
        let pattern = room.map_or_else(|| space.all_quarantine_pattern(), |room| space.quarantine_pattern(room));
        let (keys, next) = self.scan(pattern, cursor, max).await?;
        let named: Vec<(String, RoomId, QuarantineId)> = keys
            .into_iter()
            .filter_map(|key| {
                let (of, id) = self.keys.room_of_aside(&key)?;
                // A pattern may match more than it should: `org:doc` in one part is another room.
                room.is_none_or(|room| *room == of).then_some((key, of, id))
            })
            .collect();
        if named.is_empty() {
            return Ok((Vec::new(), next));
        }
        let streams: Vec<String> = named.iter().map(|(key, ..)| key.clone()).collect();
        let counts: Vec<u64> = self
            .run(move |mut conn| async move {
                let mut all = redis::pipe();
                streams.iter().for_each(|stream| {
                    all.cmd("XLEN").arg(stream);
                });
                all.query_async(&mut conn).await
            })
            .await?;
        let items = named.into_iter().zip(counts).filter(|(_, entries)| *entries > 0);
        Ok((items.map(|((_, room, id), entries)| QuarantinedStream { room, id, entries }).collect(), next))
    }

    /// The whole queue, oldest first.
    async fn queue(&self) -> Result<Vec<Queued>, StreamLogError> {
        let worker = self.keys.worker.clone();
        let mut pending: HashMap<String, PendingTask> = HashMap::new();
        let mut from = "-".to_owned();
        loop {
            let (key, start) = (worker.clone(), from.clone());
            let page: Vec<(String, String, u64, u32)> = self
                .run(move |mut conn| async move {
                    let page = redis::cmd("XPENDING")
                        .arg(&key)
                        .arg(&key)
                        .arg(start)
                        .arg("+")
                        .arg(TASKS_AT_ONCE)
                        .query_async(&mut conn)
                        .await;
                    match page {
                        // Nothing was ever enqueued.
                        Err(error) if redis::RedisError::code(&error) == Some("NOGROUP") => Ok(Vec::new()),
                        page => page,
                    }
                })
                .await?;
            let is_last = page.len() < TASKS_AT_ONCE;
            if let Some((last, ..)) = page.last() {
                from = format!("({last}");
            }
            for (id, owner, idle_ms, delivered) in page {
                let is_claimed = owner != "pending" && owner != "delayed";
                let attempt = delivered.saturating_sub(1);
                pending.insert(id, PendingTask { owner: is_claimed.then_some(owner), attempt, idle_ms });
            }
            if is_last {
                break;
            }
        }
        let mut queue = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let (key, start) = (worker.clone(), from.clone());
            let page: Vec<(String, HashMap<String, String>)> = self
                .run(move |mut conn| async move {
                    redis::cmd("XRANGE").arg(key).arg(start).arg("+").arg("COUNT").arg(TASKS_AT_ONCE).query_async(&mut conn).await
                })
                .await?;
            let is_last = page.len() < TASKS_AT_ONCE;
            if let Some((last, _)) = page.last() {
                from = format!("({last}");
            }
            // What has no room is moved away when it is claimed.
            queue.extend(page.into_iter().filter_map(|(id, mut fields)| {
                let (stream, pending) = (fields.remove("compact")?, pending.remove(&id));
                Some(Queued { id, stream, pending })
            }));
            if is_last {
                return Ok(queue);
            }
        }
    }

    pub(crate) async fn disable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let keys = &self.keys;
        let names = [&keys.stream(room), &keys.worker, &keys.claims, &keys.delayed, &keys.paused];
        self.call(&scripts().pause, owned(&names), Vec::new()).await
    }

    pub(crate) async fn enable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let keys = &self.keys;
        self.call(&scripts().resume, owned(&[&keys.stream(room), &keys.worker, &keys.paused]), Vec::new()).await
    }

    pub(crate) async fn hasten(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let keys = &self.keys;
        let names = [&keys.stream(room), &keys.worker, &keys.delayed, &keys.paused];
        self.call(&scripts().hasten, owned(&names), Vec::new()).await
    }

    pub(crate) async fn clear(&self, room: &RoomId) -> Result<u64, StreamLogError> {
        self.call(&scripts().clear, vec![self.keys.stream(room), self.keys.meta(room)], Vec::new()).await
    }

    pub(crate) async fn discard(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        self.call(&scripts().discard, vec![self.keys.aside(room, id)], Vec::new()).await
    }

    /// Puts right what the queue and about `max` rooms or tasks after `cursor` show: first all rooms (`r` and where the scan
    /// stands), then all tasks (`t` and the last id).
    pub(crate) async fn reconcile(&self, cursor: &str, max: usize) -> Result<(Reconciled, Option<String>), StreamLogError> {
        let mut done = Reconciled::default();
        let queue = self.queue().await?;
        let Some(last_id) = cursor.strip_prefix('t') else {
            let (streams, next) = self.scan(self.keys.space.stream_pattern(), cursor.trim_start_matches('r'), max).await?;
            let with_task: HashSet<&String> = queue.iter().map(|task| &task.stream).collect();
            // Seen without one; whether it is still so is looked at by the script.
            for stream in streams.into_iter().filter(|stream| !with_task.contains(stream)) {
                let Some(room) = self.keys.space.room_of_stream(&stream) else { continue };
                let keys = owned(&[&stream, &self.keys.worker, &self.keys.paused]);
                if self.call(&scripts().repair_room, keys, Vec::new()).await? {
                    done.enqueued.push(room);
                }
            }
            let next = next.map_or_else(|| "t".to_owned(), |next| format!("r{next}"));
            return Ok((done, Some(next)));
        };
        let after: StreamClock = if last_id.is_empty() { StreamClock::ZERO } else { clock(last_id)? };
        let mut seen: HashSet<String> = HashSet::new();
        let mut part = Vec::new();
        for task in queue {
            let is_first = seen.insert(task.stream.clone());
            if clock(&task.id)? > after && part.len() < max.max(1) {
                part.push((task, is_first));
            }
        }
        let next = (part.len() == max.max(1)).then(|| part.last().map(|(task, _)| format!("t{}", task.id))).flatten();
        for (task, odd) in self.odd_ones(part).await? {
            if odd {
                let keys = &self.keys;
                let names = [&task.stream, &keys.worker, &keys.claims, &keys.delayed, &keys.paused];
                let dropped: u64 = self.call(&scripts().repair_task, owned(&names), vec![text(&task.id)]).await?;
                done.dropped += dropped;
            }
        }
        if next.is_none() {
            let names = [&self.keys.worker, &self.keys.claims, &self.keys.delayed];
            let _: u64 = self.call(&scripts().tidy, owned(&names), vec![text(WORKER_GONE_MS)]).await?;
        }
        Ok((done, next))
    }

    /// Which tasks should not be as they are.
    async fn odd_ones(&self, tasks: Vec<(Queued, bool)>) -> Result<Vec<(Queued, bool)>, StreamLogError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let streams: Vec<String> = tasks.iter().map(|(task, _)| task.stream.clone()).collect();
        let paused = self.keys.paused.clone();
        let found: Vec<bool> = self
            .run(move |mut conn| async move {
                let mut all = redis::pipe();
                for stream in &streams {
                    all.cmd("EXISTS").arg(stream);
                    all.cmd("SISMEMBER").arg(&paused).arg(stream);
                }
                all.query_async(&mut conn).await
            })
            .await?;
        let odd = |(task, is_first): &(Queued, bool), lives: bool, paused: bool| {
            // A name that is no room's is not ours to touch; claiming it moves it away.
            self.keys.space.room_of_stream(&task.stream).is_some() && (!is_first || !lives || paused || task.pending.is_none())
        };
        Ok(tasks
            .into_iter()
            .zip(found.chunks(2))
            .map(|(task, found)| {
                let is_odd = odd(&task, found[0], found[1]);
                (task.0, is_odd)
            })
            .collect())
    }
}

fn clock(id: &str) -> Result<StreamClock, StreamLogError> {
    id.parse().map_err(|error: yhub_core::ClockError| corrupt("the queue", error.to_string()))
}
