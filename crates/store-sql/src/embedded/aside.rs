//! The statements on streams that are set aside, released, discarded or emptied, one function an operation. All run inside a
//! transaction that the caller opens.

use bytes::Bytes;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection, dsl, insert_into,
};
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{QuarantineId, ReadLimit, ReadPage, StreamLogError};

use super::rows::{self, LAST, Tx, append, append_unsaid, clock_after, clock_of, find_room, head, highest_entry, note_trimmed};
use crate::error::OpError;
use crate::schema::stream::{stream_entries, stream_quarantined};

/// The number of the stream that was set aside; its entries stand under the room of that number, negated.
fn find(conn: &mut SqliteConnection, room: i64, id: &QuarantineId) -> Result<Option<i64>, OpError> {
    use stream_quarantined::dsl as q;
    Ok(q::stream_quarantined.filter(q::room.eq(room).and(q::qid.eq(&id.0))).select(q::id).first(conn).optional()?)
}

pub(crate) fn quarantine(tx: &mut Tx<'_>, room: &RoomId, id: &QuarantineId) -> Result<bool, OpError> {
    let Some(mut head) = head(tx, room)? else { return Ok(false) };
    if find(tx.conn, head.id, id)?.is_some() {
        return Ok(true);
    }
    if highest_entry(tx.conn, head.id, LAST)?.is_none() {
        return Ok(false);
    }
    // A clock of its own for the gap, above the last entry: so those too are told who have heard all that was there.
    let gap = clock_after(head.last, tx.now_ms, room)?;
    // The filler's, before anything is written: it may be the clock that there is not.
    clock_after(gap, tx.now_ms, room)?;
    {
        use stream_quarantined::dsl as q;
        insert_into(q::stream_quarantined).values((q::room.eq(head.id), q::qid.eq(&id.0))).execute(tx.conn)?;
    }
    let number = find(tx.conn, head.id, id)?.ok_or(diesel::result::Error::NotFound)?;
    {
        use stream_entries::dsl as e;
        diesel::update(e::stream_entries.filter(e::room.eq(head.id))).set(e::room.eq(-number)).execute(tx.conn)?;
    }
    note_trimmed(tx, head.id, gap, gap)?;
    head.last = gap;
    tx.heads.set(room, head);
    tx.news.to_read.push(room.clone());
    append(tx, room, &[None], StreamClock::ZERO)?;
    Ok(true)
}

pub(crate) fn read_quarantined(
    conn: &mut SqliteConnection,
    room: &RoomId,
    id: &QuarantineId,
    after: StreamClock,
    limit: ReadLimit,
) -> Result<ReadPage, OpError> {
    let mut page = ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO };
    if let Some((of, _)) = find_room(conn, room)?
        && let Some(number) = find(conn, of, id)?
    {
        rows::fill(conn, &mut page, (room, -number), after, limit)?;
    }
    Ok(page)
}

pub(crate) fn release(tx: &mut Tx<'_>, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, OpError> {
    let Some(head) = head(tx, room)? else { return Ok(None) };
    let Some(number) = find(tx.conn, head.id, id)? else { return Ok(None) };
    if head.last.ms >= LAST.ms {
        // Clocks might end half way, when it is too late to refuse.
        let what = format!("too few clocks follow {}", head.last);
        return Err(OpError::Refused(StreamLogError::Corrupt { at: format!("the clock of room {room}"), what }));
    }
    use stream_entries::dsl as e;
    // The places of all, and the bytes of one at a time: it may be long.
    let places: Vec<i64> =
        e::stream_entries.filter(e::room.eq(-number)).order((e::ms.asc(), e::seq.asc())).select(e::pos).load(tx.conn)?;
    for place in &places {
        let message: Option<Vec<u8>> = e::stream_entries.find(place).select(e::message).first(tx.conn)?;
        if let Some(message) = message.map(Bytes::from)
            && !matches!(StreamMessage::decode(&message), Ok(StreamMessage::AuthCheck { .. }))
        {
            append_unsaid(tx, room, &[Some(message)], StreamClock::ZERO)?;
        }
    }
    diesel::delete(e::stream_entries.filter(e::room.eq(-number))).execute(tx.conn)?;
    diesel::delete(stream_quarantined::table.find(number)).execute(tx.conn)?;
    // Read rather than handed over, for the same reason.
    tx.news.to_read.push(room.clone());
    Ok(Some(places.len() as u64))
}

pub(crate) fn discard(tx: &mut Tx<'_>, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, OpError> {
    let Some(head) = head(tx, room)? else { return Ok(None) };
    let Some(number) = find(tx.conn, head.id, id)? else { return Ok(None) };
    let gone = diesel::delete(stream_entries::table.filter(stream_entries::room.eq(-number))).execute(tx.conn)?;
    diesel::delete(stream_quarantined::table.find(number)).execute(tx.conn)?;
    Ok(Some(gone as u64))
}

pub(crate) fn clear(tx: &mut Tx<'_>, room: &RoomId) -> Result<u64, OpError> {
    let Some(head) = head(tx, room)? else { return Ok(0) };
    let Some((ms, seq)) = highest_entry(tx.conn, head.id, LAST)? else { return Ok(0) };
    let upto = clock_of(ms, seq, room)?;
    let gone = diesel::delete(stream_entries::table.filter(stream_entries::room.eq(head.id))).execute(tx.conn)?;
    note_trimmed(tx, head.id, upto, head.last)?;
    Ok(gone as u64)
}

/// How many entries stand under `room`.
pub(super) fn count(conn: &mut SqliteConnection, room: i64) -> Result<u64, OpError> {
    let count: i64 = stream_entries::table.filter(stream_entries::room.eq(room)).select(dsl::count_star()).first(conn)?;
    crate::error::unsigned(count, || "the number of entries".to_owned())
}
