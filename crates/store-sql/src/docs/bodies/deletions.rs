//! The statements on holds, on what was erased, on receipts and duties, and the listings of rooms. All run inside a transaction
//! that the caller opens.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, IntoSql, OptionalExtension, QueryDsl, QueryResult,
    dsl::{self, case_when, exists},
    insert_into,
    sql_types::Bool,
    upsert::excluded,
};
use diesel_async::RunQueryDsl;
use yhub_core::RoomId;
use yhub_store::{ErasedRow, Hold, PurgeReceipt, TombstoneFilter, TombstoneState};

use super::{Conn, start};
use crate::{
    docs::records::{MAX_REFERENCE, MAX_TEXT, StoredDeletion, StoredErased, StoredHold, StoredSizes, StoredVictim, kept, number},
    schema::documents::{
        length, yhub_deletion_receipts_v1 as receipts, yhub_duties_v1 as duties, yhub_erased_rows_v1 as erased,
        yhub_holds_v1 as holds, yhub_ydoc_tombstones_v1 as tombstones, yhub_ydoc_v1 as versions,
    },
};

/// The tombstone of `room` is gone.
pub(super) async fn forget_tombstone(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<()> {
    diesel::delete(tombstones::table.filter(of_room!(tombstones, room))).execute(conn).await?;
    Ok(())
}

/// Makes the tombstone of `room` a hard one.
pub(super) async fn harden(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<()> {
    let tombstone = tombstones::table.filter(of_room!(tombstones, room));
    diesel::update(tombstone).set(tombstones::hard.eq(true)).execute(conn).await?;
    Ok(())
}

/// Has `room` any version row?
pub(super) async fn has_rows(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<bool> {
    dsl::select(exists(versions::table.filter(of_room!(versions, room)))).get_result(conn).await
}

/// How long the columns of a row are.
macro_rules! sizes {
    () => {
        (length(versions::gcdoc), length(versions::nongcdoc), length(versions::contentmap), length(versions::contentids))
    };
}

/// Up to `max` rows of `room` that are to be erased: their keys and sizes, and what may be a reference.
pub(super) async fn victims(conn: &mut Conn<'_>, room: &RoomId, max: usize) -> QueryResult<Vec<StoredVictim>> {
    /// A column that is longer is no reference, whatever is said of it, and is not read.
    macro_rules! reference {
        ($is:expr, $column:expr) => {
            case_when($is.and(length($column).le(MAX_REFERENCE)), $column)
        };
    }
    versions::table
        .filter(of_room!(versions, room))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((
            versions::t,
            sizes!(),
            (
                reference!(versions::gcdoc_is_reference, versions::gcdoc),
                reference!(versions::nongcdoc_is_reference, versions::nongcdoc),
                reference!(versions::contentmap_is_reference, versions::contentmap),
                reference!(versions::contentids_is_reference, versions::contentids),
            ),
        ))
        .load(conn)
        .await
}

/// Notes that a row is erased.
pub(super) async fn note_erased(conn: &mut Conn<'_>, room: &RoomId, row: &ErasedRow) -> QueryResult<()> {
    let [gcdoc_bytes, nongcdoc_bytes, contentmap_bytes, contentids_bytes] = row.sizes_bytes.map(|size| size.map(number));
    let [gcdoc_plugin, nongcdoc_plugin, contentmap_plugin, contentids_plugin] =
        row.plugins.each_ref().map(|plugin| plugin.as_deref().map(|plugin| kept(plugin, MAX_TEXT)));
    insert_into(erased::table)
        .values((
            (erased::org.eq(room.org()), erased::docid.eq(room.docid()), erased::branch.eq(room.branch()), erased::t.eq(&row.t)),
            (
                erased::gcdoc_bytes.eq(gcdoc_bytes),
                erased::nongcdoc_bytes.eq(nongcdoc_bytes),
                erased::contentmap_bytes.eq(contentmap_bytes),
                erased::contentids_bytes.eq(contentids_bytes),
            ),
            (
                erased::gcdoc_plugin.eq(gcdoc_plugin),
                erased::nongcdoc_plugin.eq(nongcdoc_plugin),
                erased::contentmap_plugin.eq(contentmap_plugin),
                erased::contentids_plugin.eq(contentids_plugin),
            ),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// Up to `max` rows that were erased, after the key `after`.
pub(super) async fn erased_rows(
    conn: &mut Conn<'_>,
    room: &RoomId,
    after: Option<&str>,
    max: usize,
) -> QueryResult<Vec<StoredErased>> {
    erased::table
        .filter(of_room!(erased, room))
        .filter(after.is_none().into_sql::<Bool>().or(erased::t.gt(after.unwrap_or(""))))
        .order(erased::t)
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((
            erased::t,
            (erased::gcdoc_bytes, erased::nongcdoc_bytes, erased::contentmap_bytes, erased::contentids_bytes),
            (erased::gcdoc_plugin, erased::nongcdoc_plugin, erased::contentmap_plugin, erased::contentids_plugin),
        ))
        .load(conn)
        .await
}

/// Notes when `room` was purged, unless that is known, and keeps its first receipt. Is this the first?
pub(super) async fn put_receipt(conn: &mut Conn<'_>, room: &RoomId, receipt: &PurgeReceipt) -> QueryResult<bool> {
    diesel::update(tombstones::table.filter(of_room!(tombstones, room)).filter(tombstones::purged_at.is_null()))
        .set(tombstones::purged_at.eq(receipt.purged_at_ms))
        .execute(conn)
        .await?;
    let put = insert_into(receipts::table)
        .values((
            receipts::org.eq(room.org()),
            receipts::docid.eq(room.docid()),
            receipts::branch.eq(room.branch()),
            receipts::purged_at.eq(receipt.purged_at_ms),
            receipts::receipt.eq(kept(&receipt.json, usize::MAX)),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    diesel::delete(erased::table.filter(of_room!(erased, room))).execute(conn).await?;
    Ok(put > 0)
}

/// The receipt of `room`.
pub(super) async fn receipt(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Option<PurgeReceipt>> {
    let found: Option<(i64, String)> = receipts::table
        .find((room.org(), room.docid(), room.branch()))
        .select((receipts::purged_at, receipts::receipt))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(purged_at_ms, json)| PurgeReceipt { purged_at_ms, json }))
}

/// The columns of a tombstone with its room, as [`StoredDeletion`] has them.
macro_rules! deletion_columns {
    () => {
        (
            (tombstones::org, tombstones::docid, tombstones::branch),
            (tombstones::deleted_at, tombstones::hard, tombstones::purged_at, tombstones::by),
        )
    };
}

/// The first `max` deleted rooms that `filter` lets through, after the room `after`.
pub(super) async fn tombstones(
    conn: &mut Conn<'_>,
    filter: TombstoneFilter<'_>,
    after: Option<&RoomId>,
    max: usize,
) -> QueryResult<Vec<StoredDeletion>> {
    let (from_start, after) = start(after);
    let (any, pending, before_ms) = match filter.state {
        TombstoneState::Any => (true, false, None),
        TombstoneState::PurgePending => (false, true, None),
        TombstoneState::KeptSinceBefore(ms) => (false, false, Some(ms)),
    };
    let pending = pending.into_sql::<Bool>().and(tombstones::hard.eq(true)).and(tombstones::purged_at.is_null());
    let due = before_ms.is_some().into_sql::<Bool>().and(tombstones::hard.eq(false));
    let due = due.and(tombstones::purged_at.is_null()).and(tombstones::deleted_at.lt(before_ms.unwrap_or(i64::MIN)));
    tombstones::table
        .filter(from_start.into_sql::<Bool>().or(after_room!(tombstones, after)))
        .filter(filter.org.is_none().into_sql::<Bool>().or(tombstones::org.eq(filter.org.unwrap_or(""))))
        .filter(any.into_sql::<Bool>().or(pending).or(due))
        .order((tombstones::org, tombstones::docid, tombstones::branch))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select(deletion_columns!())
        .load(conn)
        .await
}

/// Rows of a table, of one organisation, after a docid and branch: the first condition is one that an index serves.
macro_rules! after_in_org {
    ($table:ident, $from_start:expr, $room:expr) => {
        $table::org
            .eq($room.org())
            .and($table::docid.ge($room.docid()))
            .and($from_start.into_sql::<Bool>().or($table::docid.gt($room.docid())).or($table::branch.gt($room.branch())))
    };
}

/// Rows of a table up to and including a docid and branch.
macro_rules! upto_in_org {
    ($table:ident, $room:expr) => {
        $table::docid.le($room.docid()).and($table::docid.lt($room.docid()).or($table::branch.le($room.branch())))
    };
}

/// The first `max` rooms with rows of the organisation of `after`, after that room: in the database's own order, which is that
/// of the key of a table that may be y/hub's.
pub(super) async fn rooms_with_rows(
    conn: &mut Conn<'_>,
    from_start: bool,
    after: &RoomId,
    max: usize,
) -> QueryResult<Vec<(String, String)>> {
    versions::table
        .filter(after_in_org!(versions, from_start, after))
        .select((versions::docid, versions::branch))
        .distinct()
        .order((versions::docid, versions::branch))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .load(conn)
        .await
}

/// `t` of each row of a room, with how long its columns are; in no order.
pub(super) async fn row_sizes_of(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Vec<(String, StoredSizes)>> {
    versions::table.filter(of_room!(versions, room)).select((versions::t, sizes!())).load(conn).await
}

/// The tombstone of a room.
pub(super) async fn tombstone_of(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Option<StoredDeletion>> {
    tombstones::table.filter(of_room!(tombstones, room)).select(deletion_columns!()).first(conn).await.optional()
}

/// Docid, branch and `t` of each row between two rooms of one organisation, with how long its columns are; in no order.
pub(super) async fn row_sizes(
    conn: &mut Conn<'_>,
    from_start: bool,
    after: &RoomId,
    upto: &RoomId,
) -> QueryResult<Vec<(String, String, String, StoredSizes)>> {
    versions::table
        .filter(after_in_org!(versions, from_start, after))
        .filter(upto_in_org!(versions, upto))
        .select((versions::docid, versions::branch, versions::t, sizes!()))
        .load(conn)
        .await
}

/// The tombstones between two rooms of one organisation; in no order.
pub(super) async fn tombstones_between(
    conn: &mut Conn<'_>,
    from_start: bool,
    after: &RoomId,
    upto: &RoomId,
) -> QueryResult<Vec<StoredDeletion>> {
    tombstones::table
        .filter(after_in_org!(tombstones, from_start, after))
        .filter(upto_in_org!(tombstones, upto))
        .select(deletion_columns!())
        .load(conn)
        .await
}

/// Puts a hold on a room, unless it has one. Had it none?
pub(super) async fn hold(conn: &mut Conn<'_>, hold: &Hold) -> QueryResult<bool> {
    let put = insert_into(holds::table)
        .values((
            holds::org.eq(hold.room.org()),
            holds::docid.eq(hold.room.docid()),
            holds::branch.eq(hold.room.branch()),
            holds::held_by.eq(kept(&hold.by, MAX_TEXT)),
            holds::reason.eq(kept(&hold.reason, MAX_TEXT)),
            holds::at_ms.eq(number(hold.at_ms)),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(put > 0)
}

/// Takes the hold off a room. Had it one?
pub(super) async fn release_hold(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<bool> {
    Ok(diesel::delete(holds::table.filter(of_room!(holds, room))).execute(conn).await? > 0)
}

/// Is a hold on `room`?
pub(super) async fn is_held(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<bool> {
    dsl::select(exists(holds::table.filter(of_room!(holds, room)))).get_result(conn).await
}

/// The columns of a hold, as [`StoredHold`] has them.
macro_rules! hold_columns {
    () => {
        ((holds::org, holds::docid, holds::branch), holds::held_by, holds::reason, holds::at_ms)
    };
}

/// The hold on `room`.
pub(super) async fn hold_of(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Option<StoredHold>> {
    holds::table.find((room.org(), room.docid(), room.branch())).select(hold_columns!()).first(conn).await.optional()
}

/// The first `max` holds after the room `after`.
pub(super) async fn holds(conn: &mut Conn<'_>, after: Option<&RoomId>, max: usize) -> QueryResult<Vec<StoredHold>> {
    let (from_start, after) = start(after);
    holds::table
        .filter(from_start.into_sql::<Bool>().or(after_room!(holds, after)))
        .order((holds::org, holds::docid, holds::branch))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select(hold_columns!())
        .load(conn)
        .await
}

/// Takes a duty, unless another owner has it. Is it ours now?
pub(super) async fn take_duty(conn: &mut Conn<'_>, name: &str, owner: &str, now_ms: i64, lease_ms: i64) -> QueryResult<bool> {
    use diesel::query_dsl::methods::FilterDsl;
    let taken = insert_into(duties::table)
        .values((
            duties::name.eq(name),
            duties::owner.eq(owner),
            duties::taken_ms.eq(now_ms),
            duties::until_ms.eq(now_ms.saturating_add(lease_ms)),
        ))
        .on_conflict(duties::name)
        .do_update()
        .set((
            duties::owner.eq(excluded(duties::owner)),
            duties::taken_ms.eq(excluded(duties::taken_ms)),
            duties::until_ms.eq(excluded(duties::until_ms)),
        ))
        .filter(
            duties::owner
                .eq(excluded(duties::owner))
                .or(duties::until_ms.le(now_ms))
                // It was taken at a time that is yet to come: the log's has gone back, and nobody is to wait for it.
                .or(duties::taken_ms.gt(now_ms.saturating_add(lease_ms))),
        )
        .execute(conn)
        .await?;
    Ok(taken > 0)
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    holds::table.limit(0).execute(conn).await?;
    erased::table.limit(0).execute(conn).await?;
    receipts::table.limit(0).execute(conn).await?;
    duties::table.limit(0).execute(conn).await?;
    Ok(())
}
