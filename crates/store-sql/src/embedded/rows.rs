//! The statements on rooms and their entries, one function an operation. All run inside a transaction that the caller
//! opens.

use bytes::Bytes;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, SqliteConnection,
    connection::DefaultLoadingMode, dsl, insert_into,
};
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{LogEntry, ReadLimit, ReadPage, StreamLogError};

use super::{
    heads::{Head, Heads},
    tasks,
};
use crate::error::{OpError, unsigned};
use crate::schema::stream::{stream_entries, stream_probe, stream_rooms};

/// What an operation works on: the open transaction, and what the writer knows of the rooms.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a mut SqliteConnection,
    pub(crate) heads: &'a mut Heads,
    /// Milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// What the tails are to be told once it is committed.
    pub(crate) news: &'a mut News,
}

/// What a transaction did that followers must hear of.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What was appended, in order.
    pub(crate) appended: Vec<(RoomId, Vec<LogEntry>)>,
    /// Rooms of which that is not all, or of which entries are gone: these are to be read.
    pub(crate) to_read: Vec<RoomId>,
}

diesel::define_sql_function! {
    /// The key of the row that this connection inserted last.
    fn last_insert_rowid() -> BigInt;
}

/// Of a room in which so many entries are new, it is said that it has changed.
const MAX_LOOKED_AT: i64 = 1_000;

/// SQLite's integers are signed. Clocks beyond that are refused: they would be 292 million years away.
pub(super) const LAST: StreamClock = StreamClock::new(i64::MAX as u64, i64::MAX as u64);

/// A number that is known to fit, or the largest that does: only for bounds of comparisons and for times.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn clock_of(ms: i64, seq: i64, room: &RoomId) -> Result<StreamClock, OpError> {
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

/// The clock after `last`, or why there is none.
pub(super) fn clock_after(last: StreamClock, now_ms: u64, room: &RoomId) -> Result<StreamClock, OpError> {
    let next = next_clock(last, now_ms);
    if next <= last || next > LAST {
        let what = format!("no clock can follow {last}");
        return Err(OpError::Refused(StreamLogError::Corrupt { at: format!("the clock of room {room}"), what }));
    }
    Ok(next)
}

pub(crate) fn append(
    tx: &mut Tx<'_>,
    room: &RoomId,
    messages: &[Option<Bytes>],
    floor: StreamClock,
) -> Result<Vec<StreamClock>, OpError> {
    let clocks = append_unsaid(tx, room, messages, floor)?;
    if !clocks.is_empty() {
        let entries = clocks.iter().zip(messages).map(|(clock, message)| LogEntry { clock: *clock, message: message.clone() });
        tx.news.appended.push((room.clone(), entries.collect()));
    }
    Ok(clocks)
}

/// Does an update or a prune stand after `known`, or is that not to be told any more?
pub(crate) fn has_changed(tx: &mut Tx<'_>, room: &RoomId, known: StreamClock) -> Result<bool, OpError> {
    use stream_entries::dsl as e;
    use stream_rooms::dsl as r;
    let Some(Head { id, .. }) = head(tx, room)? else { return Ok(false) };
    let (ms, seq): (i64, i64) = r::stream_rooms.find(id).select((r::trimmed_ms, r::trimmed_seq)).first(tx.conn)?;
    if clock_of(ms, seq, room)? > known {
        return Ok(true);
    }
    let after = e::ms.gt(signed(known.ms)).or(e::ms.eq(signed(known.ms)).and(e::seq.gt(signed(known.seq))));
    let messages: Vec<Option<Vec<u8>>> =
        e::stream_entries.filter(e::room.eq(id).and(after)).select(e::message).limit(MAX_LOOKED_AT).load(tx.conn)?;
    let changes = |message: Vec<u8>| {
        matches!(StreamMessage::decode(&message.into()), Err(_) | Ok(StreamMessage::Update { .. } | StreamMessage::Prune { .. }))
    };
    Ok(messages.len() as i64 == MAX_LOOKED_AT || messages.into_iter().flatten().any(changes))
}

/// Appends, and leaves it to the caller that the tails hear of it. Refuses before it has written anything.
pub(super) fn append_unsaid(
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
        last = clock_after(last, tx.now_ms, room)?;
        clocks.push(last);
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
    tasks::ensure(tx, &mut head)?;
    head.last = last;
    tx.heads.set(room, head);
    Ok(clocks)
}

/// What is known of `room`: by heart, or from the file.
pub(super) fn head(tx: &mut Tx<'_>, room: &RoomId) -> Result<Option<Head>, OpError> {
    if let Some(head) = tx.heads.get(room) {
        return Ok(Some(head));
    }
    use stream_rooms::dsl as r;
    let stored: Option<(i64, i64, i64, bool)> = r::stream_rooms
        .filter(r::org.eq(room.org()).and(r::docid.eq(room.docid())).and(r::branch.eq(room.branch())))
        .select((r::id, r::last_ms, r::last_seq, r::paused))
        .first(tx.conn)
        .optional()?;
    let Some((id, ms, seq, paused)) = stored else { return Ok(None) };
    let mut last = clock_of(ms, seq, room)?;
    if let Some((ms, seq)) = highest_entry(tx.conn, id, LAST)? {
        last = last.max(clock_of(ms, seq, room)?);
    }
    let has_task = tasks::has_task(tx.conn, id)?;
    let head = Head { id, last, has_task, paused };
    tx.heads.set(room, head);
    Ok(Some(head))
}

/// What is known of `room`, which is made if it was not there.
pub(super) fn head_or_new(tx: &mut Tx<'_>, room: &RoomId) -> Result<Head, OpError> {
    match head(tx, room)? {
        Some(head) => Ok(head),
        None => create_room(tx, room),
    }
}

fn create_room(tx: &mut Tx<'_>, room: &RoomId) -> Result<Head, OpError> {
    use stream_rooms::dsl as r;
    insert_into(r::stream_rooms)
        .values((r::org.eq(room.org()), r::docid.eq(room.docid()), r::branch.eq(room.branch())))
        .execute(tx.conn)?;
    let id = dsl::select(last_insert_rowid()).get_result(tx.conn)?;
    Ok(Head { id, last: StreamClock::ZERO, has_task: false, paused: false })
}

/// Removes nothing by itself: notes that entries up to `upto` are gone, and that clocks go on after `last`.
pub(super) fn note_trimmed(tx: &mut Tx<'_>, room: i64, upto: StreamClock, last: StreamClock) -> Result<(), OpError> {
    use stream_rooms::dsl as r;
    diesel::update(r::stream_rooms.find(room))
        .set((
            r::trimmed_ms.eq(signed(upto.ms)),
            r::trimmed_seq.eq(signed(upto.seq)),
            r::last_ms.eq(signed(last.ms)),
            r::last_seq.eq(signed(last.seq)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

pub(super) fn highest_entry(conn: &mut SqliteConnection, room: i64, upto: StreamClock) -> Result<Option<(i64, i64)>, OpError> {
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

/// The id of `room`, and up to where its entries were trimmed; for readers, who know nothing by heart.
pub(super) fn find_room(conn: &mut SqliteConnection, room: &RoomId) -> Result<Option<(i64, StreamClock)>, OpError> {
    use stream_rooms::dsl as r;
    let stored: Option<(i64, i64, i64)> = r::stream_rooms
        .filter(r::org.eq(room.org()).and(r::docid.eq(room.docid())).and(r::branch.eq(room.branch())))
        .select((r::id, r::trimmed_ms, r::trimmed_seq))
        .first(conn)
        .optional()?;
    stored.map(|(id, ms, seq)| Ok((id, clock_of(ms, seq, room)?))).transpose()
}

/// Reads a page; in a transaction of its own, so that entries and `trimmed_upto` are of one moment.
pub(crate) fn read(
    conn: &mut SqliteConnection,
    room: &RoomId,
    after: StreamClock,
    limit: ReadLimit,
) -> Result<ReadPage, OpError> {
    let mut page = ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO };
    if let Some((id, trimmed_upto)) = find_room(conn, room)? {
        page.trimmed_upto = trimmed_upto;
        fill(conn, &mut page, (room, id), after, limit)?;
    }
    Ok(page)
}

/// Is the entry at `clock` there, or was it trimmed?
pub(crate) fn holds(conn: &mut SqliteConnection, room: &RoomId, clock: StreamClock) -> Result<bool, OpError> {
    let Some((id, trimmed_upto)) = find_room(conn, room)? else { return Ok(clock == StreamClock::ZERO) };
    if clock <= trimmed_upto || clock > LAST {
        return Ok(clock <= trimmed_upto);
    }
    use stream_entries::dsl as e;
    let at = e::stream_entries.filter(e::room.eq(id).and(e::ms.eq(signed(clock.ms))).and(e::seq.eq(signed(clock.seq))));
    Ok(dsl::select(dsl::exists(at)).get_result(conn)?)
}

/// Reads the entries after `after` that stand under `id` into `page`. `room` is for errors.
pub(super) fn fill(
    conn: &mut SqliteConnection,
    page: &mut ReadPage,
    (room, id): (&RoomId, i64),
    after: StreamClock,
    limit: ReadLimit,
) -> Result<(), OpError> {
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
    let mut take = |row: QueryResult<(i64, i64, Option<Vec<u8>>)>| {
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
        goes_on = take(row)?;
        if !goes_on {
            break;
        }
    }
    if goes_on {
        for row in later.load_iter::<_, DefaultLoadingMode>(conn)? {
            if !take(row)? {
                break;
            }
        }
    }
    Ok(())
}

/// Writes something, to see whether it can be written.
pub(crate) fn probe(tx: &mut Tx<'_>) -> Result<(), OpError> {
    use stream_probe::dsl as p;
    diesel::replace_into(p::stream_probe).values((p::id.eq(1), p::checked_ms.eq(signed(tx.now_ms)))).execute(tx.conn)?;
    Ok(())
}
