//! The statements on `stream.sqlite3`, one function an operation. All run inside a transaction that the caller opens.

use std::time::Duration;

use bytes::Bytes;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, SqliteConnection,
    connection::DefaultLoadingMode, dsl, insert_into,
};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{Completed, LogEntry, ReadLimit, ReadPage, StreamLogError, Task, TaskEpoch, TaskId, WorkerId};

use super::heads::{Head, Heads};
use crate::error::{OpError, unsigned};
use crate::schema::stream::{stream_entries, stream_probe, stream_rooms, stream_tasks};

/// What an operation works on: the open transaction, and what the writer knows of the rooms.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a mut SqliteConnection,
    pub(crate) heads: &'a mut Heads,
    /// Milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// What the transaction appended, for the tails, in order.
    pub(crate) appended: &'a mut Vec<(RoomId, Vec<LogEntry>)>,
}

diesel::define_sql_function! {
    /// The key of the row that this connection inserted last.
    fn last_insert_rowid() -> BigInt;
}

/// SQLite's integers are signed. Clocks beyond that are refused: they would be 292 million years away.
const LAST: StreamClock = StreamClock::new(i64::MAX as u64, i64::MAX as u64);

/// A number that is known to fit, or the largest that does: only for bounds of comparisons and for times.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn clock_of(ms: i64, seq: i64, room: &RoomId) -> Result<StreamClock, OpError> {
    let at = || format!("stream_rooms or stream_entries, ms and seq, of room {room}");
    Ok(StreamClock::new(unsigned(ms, at)?, unsigned(seq, at)?))
}

/// The smallest clock after `last` that says `now_ms`, or the next one if time stands still or went back.
fn next_clock(last: StreamClock, now_ms: u64) -> StreamClock {
    if now_ms > last.ms {
        return StreamClock::new(now_ms, 0);
    }
    // As if `seq` had 63 bits, which is what the column holds.
    if last.seq >= LAST.seq { StreamClock::new(last.ms.saturating_add(1), 0) } else { last.next() }
}

pub(crate) fn append(
    tx: &mut Tx<'_>,
    room: &RoomId,
    messages: &[Option<Bytes>],
    floor: StreamClock,
) -> Result<Vec<StreamClock>, OpError> {
    if messages.is_empty() {
        // Else the room would be live without an entry.
        return Ok(Vec::new());
    }
    let known = head(tx, room)?;
    let mut last = known.as_ref().map_or(StreamClock::ZERO, |head| head.last).max(floor);
    let mut clocks = Vec::with_capacity(messages.len());
    for _ in messages {
        let next = next_clock(last, tx.now_ms);
        if next <= last || next > LAST {
            let what = format!("no clock can follow {last}");
            return Err(OpError::Refused(StreamLogError::Corrupt { at: format!("the clock of room {room}"), what }));
        }
        clocks.push(next);
        last = next;
    }
    let mut head = match known {
        Some(head) => head,
        None => create_room(tx, room)?,
    };
    for (clock, message) in clocks.iter().zip(messages) {
        use stream_entries::dsl as e;
        insert_into(e::stream_entries)
            .values((
                e::room.eq(head.id),
                e::ms.eq(signed(clock.ms)),
                e::seq.eq(signed(clock.seq)),
                e::message.eq(message.as_deref()),
            ))
            .execute(tx.conn)?;
    }
    if !head.live {
        enqueue(tx, head.id)?;
        head.live = true;
    }
    head.last = last;
    tx.heads.set(room, head);
    let entries = clocks.iter().zip(messages).map(|(clock, message)| LogEntry { clock: *clock, message: message.clone() });
    tx.appended.push((room.clone(), entries.collect()));
    Ok(clocks)
}

/// What is known of `room`: by heart, or from the file.
fn head(tx: &mut Tx<'_>, room: &RoomId) -> Result<Option<Head>, OpError> {
    if let Some(head) = tx.heads.get(room) {
        return Ok(Some(head));
    }
    use stream_rooms::dsl as r;
    let stored: Option<(i64, i64, i64)> = r::stream_rooms
        .filter(r::org.eq(room.org()).and(r::docid.eq(room.docid())).and(r::branch.eq(room.branch())))
        .select((r::id, r::last_ms, r::last_seq))
        .first(tx.conn)
        .optional()?;
    let Some((id, ms, seq)) = stored else { return Ok(None) };
    let mut last = clock_of(ms, seq, room)?;
    if let Some((ms, seq)) = highest_entry(tx.conn, id, LAST)? {
        last = last.max(clock_of(ms, seq, room)?);
    }
    let live = dsl::select(dsl::exists(stream_tasks::table.filter(stream_tasks::room.eq(id)))).get_result(tx.conn)?;
    let head = Head { id, last, live };
    tx.heads.set(room, head);
    Ok(Some(head))
}

fn create_room(tx: &mut Tx<'_>, room: &RoomId) -> Result<Head, OpError> {
    use stream_rooms::dsl as r;
    insert_into(r::stream_rooms)
        .values((r::org.eq(room.org()), r::docid.eq(room.docid()), r::branch.eq(room.branch())))
        .execute(tx.conn)?;
    let id = dsl::select(last_insert_rowid()).get_result(tx.conn)?;
    Ok(Head { id, last: StreamClock::ZERO, live: false })
}

fn enqueue(tx: &mut Tx<'_>, room: i64) -> Result<(), OpError> {
    use stream_tasks::dsl as t;
    insert_into(t::stream_tasks).values((t::room.eq(room), t::since_ms.eq(signed(tx.now_ms)))).execute(tx.conn)?;
    Ok(())
}

fn highest_entry(conn: &mut SqliteConnection, room: i64, upto: StreamClock) -> Result<Option<(i64, i64)>, OpError> {
    use stream_entries::dsl as e;
    let (ms, seq) = (signed(upto.ms), signed(upto.seq));
    Ok(e::stream_entries
        // `ms <= ?` first, so that the index narrows it down.
        .filter(e::room.eq(room).and(e::ms.le(ms)).and(e::ms.lt(ms).or(e::seq.le(seq))))
        .order((e::ms.desc(), e::seq.desc()))
        .select((e::ms, e::seq))
        .first(conn)
        .optional()?)
}

/// Reads a page; in a transaction of its own, so that entries and `trimmed_upto` are of one moment.
pub(crate) fn read(
    conn: &mut SqliteConnection,
    room: &RoomId,
    after: StreamClock,
    limit: ReadLimit,
) -> Result<ReadPage, OpError> {
    use stream_rooms::dsl as r;
    let stored: Option<(i64, i64, i64)> = r::stream_rooms
        .filter(r::org.eq(room.org()).and(r::docid.eq(room.docid())).and(r::branch.eq(room.branch())))
        .select((r::id, r::trimmed_ms, r::trimmed_seq))
        .first(conn)
        .optional()?;
    let Some((id, ms, seq)) = stored else {
        return Ok(ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO });
    };
    let mut page = ReadPage { entries: Vec::new(), more: false, trimmed_upto: clock_of(ms, seq, room)? };
    let mut size_bytes = 0;
    let most = limit.entries.max(1);
    // One more than asked for, to know whether there is more.
    let fetch = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let (ms, seq) = (signed(after.ms), signed(after.seq));
    use stream_entries::dsl as e;
    // In two steps, each a range of the index. As one condition, every page would walk again over all of its first
    // millisecond, and when time has gone back everything is of one millisecond.
    let same_ms = e::stream_entries
        .filter(e::room.eq(id).and(e::ms.eq(ms)).and(e::seq.gt(seq)))
        .order(e::seq.asc())
        .limit(fetch)
        .select((e::ms, e::seq, e::message));
    let later = e::stream_entries
        .filter(e::room.eq(id).and(e::ms.gt(ms)))
        .order((e::ms.asc(), e::seq.asc()))
        .limit(fetch)
        .select((e::ms, e::seq, e::message));
    let mut fill = |row: QueryResult<(i64, i64, Option<Vec<u8>>)>| {
        if page.entries.len() >= most || (size_bytes >= limit.size_bytes && !page.entries.is_empty()) {
            page.more = true;
            return Ok(false);
        }
        let (ms, seq, message) = row?;
        size_bytes += message.as_ref().map_or(0, Vec::len);
        page.entries.push(LogEntry { clock: clock_of(ms, seq, room)?, message: message.map(Bytes::from) });
        Ok::<_, OpError>(true)
    };
    let mut goes_on = true;
    for row in same_ms.load_iter::<_, DefaultLoadingMode>(conn)? {
        goes_on = fill(row)?;
        if !goes_on {
            break;
        }
    }
    if goes_on {
        for row in later.load_iter::<_, DefaultLoadingMode>(conn)? {
            if !fill(row)? {
                break;
            }
        }
    }
    Ok(page)
}

/// A task that may be claimed, with the name of its room.
type Claimable = (i64, i64, i64, i64, (String, String, String));

pub(crate) fn claim(
    tx: &mut Tx<'_>,
    worker: &WorkerId,
    max: usize,
    debounce: Duration,
    lease: Duration,
) -> Result<Vec<Task>, OpError> {
    let mut found = Vec::new();
    for (owned, age) in [(false, debounce), (true, lease)] {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        // Long ago, or so far ahead that time must have gone back since: neither may wait for ever.
        let (before, beyond) = (tx.now_ms.checked_sub(age), tx.now_ms.saturating_add(age));
        if let Some(before) = before {
            found.extend(claimable(tx.conn, owned, (0, signed(before)), max)?);
        }
        found.extend(claimable(tx.conn, owned, (signed(beyond).saturating_add(1), i64::MAX), max)?);
    }
    found.sort_by_key(|(id, ..)| *id);
    found.dedup_by_key(|(id, ..)| *id);
    found.truncate(max);
    let mut tasks = Vec::with_capacity(found.len());
    for (id, room, attempt, last_epoch, (org, docid, branch)) in found {
        // Never below the time: should this file be lost and made anew, the fences elsewhere still let claims pass.
        let epoch = signed(tx.now_ms).max(last_epoch.saturating_add(1));
        let attempt = attempt.saturating_add(1);
        {
            use stream_tasks::dsl as t;
            diesel::update(t::stream_tasks.find(id))
                .set((t::owner.eq(&worker.0), t::epoch.eq(epoch), t::attempt.eq(attempt), t::since_ms.eq(signed(tx.now_ms))))
                .execute(tx.conn)?;
        }
        {
            use stream_rooms::dsl as r;
            diesel::update(r::stream_rooms.find(room)).set(r::epoch.eq(epoch)).execute(tx.conn)?;
        }
        tasks.push(Task {
            id: TaskId(id.to_string()),
            room: RoomId::new(&org, &docid, &branch),
            epoch: TaskEpoch(unsigned(epoch, || format!("stream_rooms, epoch, id {room}"))?),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        });
    }
    Ok(tasks)
}

fn claimable(
    conn: &mut SqliteConnection,
    owned: bool,
    since: (i64, i64),
    max: usize,
) -> Result<Vec<Claimable>, diesel::result::Error> {
    use stream_rooms::dsl as r;
    use stream_tasks::dsl as t;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let found = t::stream_tasks
        .inner_join(r::stream_rooms)
        .filter(t::since_ms.between(since.0, since.1))
        .order((t::since_ms.asc(), t::id.asc()))
        .limit(max)
        .select((t::id, t::room, t::attempt, r::epoch, (r::org, r::docid, r::branch)));
    if owned { found.filter(t::owner.is_not_null()).load(conn) } else { found.filter(t::owner.is_null()).load(conn) }
}

/// The id of `task` in the file, if it is `worker`'s under its epoch; with the id of its room.
fn owned(tx: &mut Tx<'_>, worker: &WorkerId, task: &Task) -> Result<Option<(i64, i64)>, OpError> {
    let Ok(id) = task.id.0.parse::<i64>() else { return Ok(None) };
    let Ok(epoch) = i64::try_from(task.epoch.0) else { return Ok(None) };
    use stream_rooms::dsl as r;
    use stream_tasks::dsl as t;
    let room = &task.room;
    let found: Option<i64> = t::stream_tasks
        .inner_join(r::stream_rooms)
        .filter(t::id.eq(id).and(t::owner.eq(&worker.0)).and(t::epoch.eq(epoch)))
        .filter(r::org.eq(room.org()).and(r::docid.eq(room.docid())).and(r::branch.eq(room.branch())))
        .select(t::room)
        .first(tx.conn)
        .optional()?;
    Ok(found.map(|room| (id, room)))
}

pub(crate) fn renew(tx: &mut Tx<'_>, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, OpError> {
    let mut renewed = Vec::with_capacity(tasks.len());
    for task in tasks {
        if let Some((id, _)) = owned(tx, worker, task)? {
            use stream_tasks::dsl as t;
            diesel::update(t::stream_tasks.find(id)).set(t::since_ms.eq(signed(tx.now_ms))).execute(tx.conn)?;
            renewed.push(task.id.clone());
        }
    }
    Ok(renewed)
}

pub(crate) fn give_back(tx: &mut Tx<'_>, worker: &WorkerId, task: &Task) -> Result<(), OpError> {
    if let Some((id, _)) = owned(tx, worker, task)? {
        use stream_tasks::dsl as t;
        diesel::update(t::stream_tasks.find(id)).set((t::owner.eq(None::<String>), t::since_ms.eq(0))).execute(tx.conn)?;
    }
    Ok(())
}

pub(crate) fn complete(
    tx: &mut Tx<'_>,
    worker: &WorkerId,
    task: &Task,
    upto: StreamClock,
    min_lifetime: Duration,
) -> Result<Completed, OpError> {
    let Some((id, room)) = owned(tx, worker, task)? else { return Ok(Completed::NotOwner) };
    let Some(mut head) = head(tx, &task.room)? else { return Ok(Completed::NotOwner) };
    let min_lifetime = u64::try_from(min_lifetime.as_millis()).unwrap_or(u64::MAX);
    // Nothing is older than that if 1970 is not.
    let oldest_kept = tx.now_ms.checked_sub(min_lifetime);
    let upto = oldest_kept.map(|ms| upto.min(StreamClock::new(ms, u64::MAX)));
    let mut trimmed = 0;
    if let Some(upto) = upto
        && let Some((ms, seq)) = highest_entry(tx.conn, room, upto)?
    {
        use stream_entries::dsl as e;
        let gone =
            diesel::delete(e::stream_entries.filter(e::room.eq(room).and(e::ms.le(ms)).and(e::ms.lt(ms).or(e::seq.le(seq)))))
                .execute(tx.conn)?;
        trimmed = gone as u64;
        use stream_rooms::dsl as r;
        diesel::update(r::stream_rooms.find(room))
            .set((
                r::trimmed_ms.eq(ms),
                r::trimmed_seq.eq(seq),
                r::last_ms.eq(signed(head.last.ms)),
                r::last_seq.eq(signed(head.last.seq)),
            ))
            .execute(tx.conn)?;
    }
    diesel::delete(stream_tasks::table.find(id)).execute(tx.conn)?;
    let left = highest_entry(tx.conn, room, LAST)?.is_some();
    if left {
        enqueue(tx, room)?;
    }
    head.live = left;
    tx.heads.set(&task.room, head);
    Ok(Completed::Done { trimmed, left })
}

/// Writes something, to see whether it can be written.
pub(crate) fn probe(tx: &mut Tx<'_>) -> Result<(), OpError> {
    use stream_probe::dsl as p;
    diesel::replace_into(p::stream_probe).values((p::id.eq(1), p::checked_ms.eq(signed(tx.now_ms)))).execute(tx.conn)?;
    Ok(())
}
