//! What operators and the reconciler do with the embedded log.
//!
//! Listings go by the number of the room, so a cursor is the number of the last one listed. Here every change is one
//! transaction, so a queue that is not right has been damaged from outside.

use async_trait::async_trait;
use diesel::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};
use yhub_core::RoomId;
use yhub_store::{LiveRoom, PendingTask, QuarantineId, QuarantinedStream, Reconciled, ScanPage, StreamAdmin, StreamLogError};

use super::{
    EmbeddedLog, aside,
    heads::Head,
    rows::{LAST, Tx, clock_of, find_room, head, head_or_new, highest_entry},
    tasks,
};
use crate::error::OpError;
use crate::schema::stream::{stream_entries, stream_quarantined, stream_rooms, stream_tasks};

/// However many are asked for, one part of a listing has no more: a reader is not to be held up for long.
const LONGEST_PART: usize = 1_000;

/// What was listed before `cursor`.
fn after(cursor: Option<&str>) -> Result<i64, StreamLogError> {
    let Some(cursor) = cursor else { return Ok(i64::MIN) };
    cursor.parse().map_err(|_| StreamLogError::Corrupt {
        at: "the cursor of a listing".to_owned(),
        what: format!("{cursor:?} is none that this log gave; begin without one"),
    })
}

#[async_trait]
impl StreamAdmin for EmbeddedLog {
    async fn live_rooms(&self, cursor: Option<&str>, max: usize) -> Result<ScanPage<LiveRoom>, StreamLogError> {
        let (after, now_ms) = (after(cursor)?, self.time.now_ms());
        self.look(move |conn| live_rooms(conn, after, max, now_ms)).await
    }

    async fn quarantined(
        &self,
        room: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<QuarantinedStream>, StreamLogError> {
        let (after, room) = (after(cursor)?, room.cloned());
        self.look(move |conn| quarantined(conn, room.as_ref(), after, max)).await
    }

    async fn disable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let room = room.clone();
        self.write(0, move |tx| disable_compaction(tx, &room)).await
    }

    async fn enable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let room = room.clone();
        self.write(0, move |tx| enable_compaction(tx, &room)).await
    }

    async fn hasten(&self, room: &RoomId) -> Result<bool, StreamLogError> {
        let room = room.clone();
        self.write(0, move |tx| hasten(tx, &room)).await
    }

    async fn clear(&self, room: &RoomId) -> Result<u64, StreamLogError> {
        let room = room.clone();
        self.write(0, move |tx| aside::clear(tx, &room)).await
    }

    async fn discard(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        let (room, id) = (room.clone(), id.clone());
        self.write(0, move |tx| aside::discard(tx, &room, &id)).await
    }

    async fn reconcile(&self, cursor: Option<&str>, max: usize) -> Result<Reconciled, StreamLogError> {
        let after = after(cursor)?;
        self.write(0, move |tx| reconcile(tx, after, max)).await
    }
}

/// The first room after `after` that holds entries. One step in the index, however many entries there are.
fn next_with_entries(conn: &mut SqliteConnection, after: i64) -> Result<Option<i64>, OpError> {
    use stream_entries::dsl as e;
    // Streams that are set aside stand under numbers below zero.
    Ok(e::stream_entries.filter(e::room.gt(after.max(0))).order(e::room.asc()).select(e::room).first(conn).optional()?)
}

/// The first room after `after` that has a task.
fn next_with_task(conn: &mut SqliteConnection, after: i64) -> Result<Option<i64>, OpError> {
    use stream_tasks::dsl as t;
    Ok(t::stream_tasks.filter(t::room.gt(after)).order(t::room.asc()).select(t::room).first(conn).optional()?)
}

/// Name and pause of the room of this number; none if only its entries or its task are there.
fn named(conn: &mut SqliteConnection, id: i64) -> Result<Option<(RoomId, bool)>, OpError> {
    use stream_rooms::dsl as r;
    let found: Option<(String, String, String, bool)> =
        r::stream_rooms.find(id).select((r::org, r::docid, r::branch, r::paused)).first(conn).optional()?;
    Ok(found.map(|(org, docid, branch, paused)| (RoomId::new(&org, &docid, &branch), paused)))
}

fn live_rooms(conn: &mut SqliteConnection, mut after: i64, max: usize, now_ms: u64) -> Result<ScanPage<LiveRoom>, OpError> {
    let mut items = Vec::new();
    for _ in 0..max.clamp(1, LONGEST_PART) {
        let Some(id) = next_with_entries(conn, after)? else { return Ok(ScanPage { items, next: None }) };
        after = id;
        let Some((room, is_paused)) = named(conn, id)? else { continue };
        use stream_entries::dsl as e;
        let (ms, seq): (i64, i64) =
            e::stream_entries.filter(e::room.eq(id)).order((e::ms.asc(), e::seq.asc())).select((e::ms, e::seq)).first(conn)?;
        let first = clock_of(ms, seq, &room)?;
        let last = match highest_entry(conn, id, LAST)? {
            Some((ms, seq)) => clock_of(ms, seq, &room)?,
            None => first,
        };
        use stream_tasks::dsl as t;
        let tasks: Vec<(Option<String>, i64, i64)> =
            t::stream_tasks.filter(t::room.eq(id)).select((t::owner, t::attempt, t::since_ms)).load(conn)?;
        let tasks = tasks.into_iter().map(|(owner, attempt, since_ms)| PendingTask {
            owner,
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            // Nothing, if time has gone back.
            idle_ms: now_ms.saturating_sub(u64::try_from(since_ms).unwrap_or(0)),
        });
        let (entries, tasks) = (aside::count(conn, id)?, tasks.collect());
        items.push(LiveRoom { room, entries, first, last, is_paused, tasks });
    }
    Ok(ScanPage { items, next: Some(after.to_string()) })
}

fn quarantined(
    conn: &mut SqliteConnection,
    room: Option<&RoomId>,
    mut after: i64,
    max: usize,
) -> Result<ScanPage<QuarantinedStream>, OpError> {
    let nothing = ScanPage { items: Vec::new(), next: None };
    let only = match room {
        Some(room) => match find_room(conn, room)? {
            Some((id, _)) => Some(id),
            None => return Ok(nothing),
        },
        None => None,
    };
    use stream_quarantined::dsl as q;
    use stream_rooms::dsl as r;
    let max = max.clamp(1, LONGEST_PART);
    let mut found = q::stream_quarantined
        .inner_join(r::stream_rooms)
        .filter(q::id.gt(after))
        .order(q::id.asc())
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((q::id, q::qid, (r::org, r::docid, r::branch)))
        .into_boxed();
    if let Some(only) = only {
        found = found.filter(q::room.eq(only));
    }
    let found: Vec<(i64, String, (String, String, String))> = found.load(conn)?;
    let is_last = found.len() < max;
    let mut items = Vec::with_capacity(found.len());
    for (number, qid, (org, docid, branch)) in found {
        after = number;
        let room = RoomId::new(&org, &docid, &branch);
        items.push(QuarantinedStream { room, id: QuarantineId(qid), entries: aside::count(conn, -number)? });
    }
    Ok(ScanPage { items, next: (!is_last).then(|| after.to_string()) })
}

fn set_paused(tx: &mut Tx<'_>, room: &RoomId, head: &mut Head, paused: bool) -> Result<(), OpError> {
    use stream_rooms::dsl as r;
    diesel::update(r::stream_rooms.find(head.id)).set(r::paused.eq(paused)).execute(tx.conn)?;
    head.paused = paused;
    if paused {
        drop_tasks(tx, head.id)?;
        head.has_task = false;
    } else if highest_entry(tx.conn, head.id, LAST)?.is_some() {
        tasks::ensure(tx, head)?;
    }
    tx.heads.set(room, *head);
    Ok(())
}

fn drop_tasks(tx: &mut Tx<'_>, room: i64) -> Result<u64, OpError> {
    Ok(diesel::delete(stream_tasks::table.filter(stream_tasks::room.eq(room))).execute(tx.conn)? as u64)
}

fn disable_compaction(tx: &mut Tx<'_>, room: &RoomId) -> Result<bool, OpError> {
    // Also of a room that nobody wrote to yet.
    let mut head = head_or_new(tx, room)?;
    let was_paused = head.paused;
    set_paused(tx, room, &mut head, true)?;
    Ok(!was_paused)
}

fn enable_compaction(tx: &mut Tx<'_>, room: &RoomId) -> Result<bool, OpError> {
    let Some(mut head) = head(tx, room)?.filter(|head| head.paused) else { return Ok(false) };
    set_paused(tx, room, &mut head, false)?;
    Ok(true)
}

fn hasten(tx: &mut Tx<'_>, room: &RoomId) -> Result<bool, OpError> {
    // From the file: what is known by heart does not show that a task was lost.
    tx.heads.forget(room);
    let Some(mut head) = head(tx, room)?.filter(|head| !head.paused) else { return Ok(false) };
    if highest_entry(tx.conn, head.id, LAST)?.is_some() {
        tasks::ensure(tx, &mut head)?;
        tx.heads.set(room, head);
    }
    use stream_tasks::dsl as t;
    diesel::update(t::stream_tasks.filter(t::room.eq(head.id).and(t::owner.is_null())))
        .set(t::not_before_ms.eq(0))
        .execute(tx.conn)?;
    Ok(head.has_task)
}

fn reconcile(tx: &mut Tx<'_>, mut after: i64, max: usize) -> Result<Reconciled, OpError> {
    let mut done = Reconciled::default();
    for _ in 0..max.clamp(1, LONGEST_PART) {
        let next = [next_with_entries(tx.conn, after)?, next_with_task(tx.conn, after)?];
        let Some(id) = next.into_iter().flatten().min() else { return Ok(done) };
        after = id;
        let is_live = next[0] == Some(id);
        let Some((room, paused)) = named(tx.conn, id)? else {
            // Nobody could claim it.
            done.dropped += drop_tasks(tx, id)?;
            continue;
        };
        // What is known by heart may be what was so before the damage.
        tx.heads.forget(&room);
        let Some(mut head) = head(tx, &room)? else { continue };
        if is_live && !paused && !head.has_task {
            tasks::ensure(tx, &mut head)?;
            done.enqueued.push(room.clone());
        } else if paused {
            done.dropped += drop_tasks(tx, id)?;
        } else if !is_live {
            // A claimed one ends by itself: its room may have been emptied while somebody worked on it.
            use stream_tasks::dsl as t;
            let unclaimed = t::stream_tasks.filter(t::room.eq(id).and(t::owner.is_null()));
            done.dropped += diesel::delete(unclaimed).execute(tx.conn)? as u64;
        }
        // Looked up anew when it is needed.
        tx.heads.forget(&room);
    }
    done.next = Some(after.to_string());
    Ok(done)
}
