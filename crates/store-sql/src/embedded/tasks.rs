//! The statements on the queue of rooms to compact, one function an operation. All run inside a transaction that the caller
//! opens.

use std::time::Duration;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection, dsl,
    insert_or_ignore_into,
};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{Completed, StreamLogError, Task, TaskEpoch, TaskId, WorkerId};

use super::{
    heads::Head,
    rows::{LAST, Tx, clock_of, head, head_or_new, highest_entry, note_trimmed, signed},
};
use crate::error::{OpError, unsigned};
use crate::schema::stream::{stream_entries, stream_rooms, stream_tasks};

/// A task that was given back waits no longer than this. So one that waits for longer shows that time has gone back.
const LONGEST_DELAY_MS: u64 = 3_600_000;

/// Enqueues the room if it has no task and may have one.
pub(super) fn ensure(tx: &mut Tx<'_>, head: &mut Head) -> Result<(), OpError> {
    if !head.has_task && !head.paused {
        use stream_tasks::dsl as t;
        // If there is one all the same, which only damage explains, it will do.
        insert_or_ignore_into(t::stream_tasks)
            .values((t::room.eq(head.id), t::since_ms.eq(signed(tx.now_ms))))
            .execute(tx.conn)?;
        head.has_task = true;
    }
    Ok(())
}

pub(super) fn has_task(conn: &mut SqliteConnection, room: i64) -> Result<bool, OpError> {
    Ok(dsl::select(dsl::exists(stream_tasks::table.filter(stream_tasks::room.eq(room)))).get_result(conn)?)
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
    let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    // Since when it must have waited, and a time so far ahead that the log's must have gone back since: neither may wait
    // for ever.
    let (now_ms, ago) = (tx.now_ms, |age: u64| (tx.now_ms.checked_sub(age), tx.now_ms.saturating_add(age)));
    let waits = [
        (Waits::New, ago(ms(debounce))),
        (Waits::GivenBack, (Some(now_ms), now_ms.saturating_add(LONGEST_DELAY_MS))),
        (Waits::Claimed, ago(ms(lease))),
    ];
    let mut found = Vec::new();
    for (waits, (before, beyond)) in waits {
        if let Some(before) = before {
            found.extend(claimable(tx.conn, waits, (i64::MIN, signed(before)), max)?);
        }
        found.extend(claimable(tx.conn, waits, (signed(beyond).saturating_add(1), i64::MAX), max)?);
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
                .set((
                    t::owner.eq(&worker.0),
                    t::epoch.eq(epoch),
                    t::attempt.eq(attempt),
                    t::since_ms.eq(signed(tx.now_ms)),
                    t::not_before_ms.eq(None::<i64>),
                ))
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

/// What a task waits for.
#[derive(Clone, Copy)]
enum Waits {
    /// Nobody claimed it: for the debounce.
    New,
    /// It was given back: for its time.
    GivenBack,
    /// It is somebody's: for the lease to lapse.
    Claimed,
}

/// Tasks that wait since, or until, a time between the two.
fn claimable(
    conn: &mut SqliteConnection,
    waits: Waits,
    (from, upto): (i64, i64),
    max: usize,
) -> Result<Vec<Claimable>, diesel::result::Error> {
    use stream_rooms::dsl as r;
    use stream_tasks::dsl as t;
    let found = t::stream_tasks.inner_join(r::stream_rooms).limit(i64::try_from(max).unwrap_or(i64::MAX)).select((
        t::id,
        t::room,
        t::attempt,
        r::epoch,
        (r::org, r::docid, r::branch),
    ));
    // The conditions of the three indexes, word for word: else SQLite does not use them.
    let nobodys = found.filter(t::owner.is_null());
    match waits {
        Waits::New => nobodys
            .filter(t::not_before_ms.is_null().and(t::since_ms.between(from, upto)))
            .order((t::since_ms.asc(), t::id.asc()))
            .load(conn),
        Waits::GivenBack => nobodys
            .filter(t::not_before_ms.is_not_null().and(t::not_before_ms.between(from, upto)))
            .order((t::not_before_ms.asc(), t::id.asc()))
            .load(conn),
        Waits::Claimed => found
            .filter(t::owner.is_not_null().and(t::since_ms.between(from, upto)))
            .order((t::since_ms.asc(), t::id.asc()))
            .load(conn),
    }
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

pub(crate) fn give_back(tx: &mut Tx<'_>, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), OpError> {
    if let Some((id, _)) = owned(tx, worker, task)? {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).min(LONGEST_DELAY_MS);
        // At once is at once, also if time goes back.
        let not_before_ms = if after.is_zero() { 0 } else { signed(tx.now_ms.saturating_add(after_ms)) };
        use stream_tasks::dsl as t;
        diesel::update(t::stream_tasks.find(id))
            .set((t::owner.eq(None::<String>), t::not_before_ms.eq(not_before_ms)))
            .execute(tx.conn)?;
    }
    Ok(())
}

pub(crate) fn raise_epoch(tx: &mut Tx<'_>, room: &RoomId, known: TaskEpoch) -> Result<(), OpError> {
    let known = match i64::try_from(known.0) {
        Ok(known) if known < i64::MAX => known,
        _ => {
            let what = format!("no epoch can follow {}", known.0);
            return Err(OpError::Refused(StreamLogError::Corrupt { at: format!("the epoch of room {room}"), what }));
        }
    };
    let head = head_or_new(tx, room)?;
    use stream_rooms::dsl as r;
    diesel::update(r::stream_rooms.find(head.id).filter(r::epoch.lt(known))).set(r::epoch.eq(known)).execute(tx.conn)?;
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
    // Where time went back, entries seem to be of the future, and how old they are is not known: they would stay until time
    // has caught up. They go with what is persisted; who has not read them is told of a gap.
    let is_ahead = upto.ms > tx.now_ms.saturating_add(1_000);
    let upto = oldest_kept.map(|ms| if is_ahead { upto } else { upto.min(StreamClock::new(ms, u64::MAX)) });
    let mut trimmed = 0;
    if let Some(upto) = upto
        && let Some((ms, seq)) = highest_entry(tx.conn, room, upto)?
    {
        // Before anything is written, because it may refuse.
        let trimmed_upto = clock_of(ms, seq, &task.room)?;
        use stream_entries::dsl as e;
        let gone =
            diesel::delete(e::stream_entries.filter(e::room.eq(room).and(e::ms.le(ms)).and(e::ms.lt(ms).or(e::seq.le(seq)))))
                .execute(tx.conn)?;
        trimmed = gone as u64;
        note_trimmed(tx, room, trimmed_upto, head.last)?;
    }
    diesel::delete(stream_tasks::table.find(id)).execute(tx.conn)?;
    let left = highest_entry(tx.conn, room, LAST)?.is_some();
    head.has_task = false;
    if left {
        ensure(tx, &mut head)?;
    }
    tx.heads.set(&task.room, head);
    Ok(Completed::Done { trimmed, left })
}
