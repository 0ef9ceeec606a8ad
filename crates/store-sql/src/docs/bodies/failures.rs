//! The statements on failures and quarantines. All run inside a transaction that the caller opens.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, IntoSql, QueryDsl, QueryResult,
    dsl::{case_when, not},
    insert_into,
    sql_types::Bool,
    upsert::excluded,
};
use diesel_async::RunQueryDsl;
use yhub_core::RoomId;
use yhub_store::{FailureReport, QuarantineId, QuarantineRecord};

use super::{Conn, start};
use crate::{
    docs::records::{MAX_SIGNATURE, MAX_TEXT, StoredFailure, StoredName, StoredQuarantine, kept, number},
    schema::documents::{yhub_failures_v1 as failures, yhub_quarantines_v1 as quarantines},
};

/// Records a failure over the one before it in this room.
pub(super) async fn record(conn: &mut Conn<'_>, report: &FailureReport) -> QueryResult<()> {
    let alike = || failures::signature.eq(excluded(failures::signature));
    // A call that is made again because its answer was lost tells of the same attempt at the same time: it counts once.
    let again =
        || alike().and(failures::attempt.eq(excluded(failures::attempt))).and(failures::last_ms.eq(excluded(failures::last_ms)));
    insert_into(failures::table)
        .values((
            failures::org.eq(report.room.org()),
            failures::docid.eq(report.room.docid()),
            failures::branch.eq(report.room.branch()),
            failures::class.eq(kept(&report.class, MAX_TEXT)),
            failures::signature.eq(kept(&report.signature, MAX_SIGNATURE)),
            failures::message.eq(kept(&report.message, MAX_TEXT)),
            failures::from_clock.eq(report.from.to_string()),
            failures::upto_clock.eq(report.upto.to_string()),
            failures::in_a_row.eq(1),
            failures::attempt.eq(i64::from(report.attempt)),
            failures::first_ms.eq(number(report.at_ms)),
            failures::last_ms.eq(number(report.at_ms)),
        ))
        .on_conflict((failures::org, failures::docid, failures::branch))
        .do_update()
        .set((
            failures::in_a_row.eq(case_when(again(), failures::in_a_row)
                .when(alike(), failures::in_a_row + 1)
                .otherwise(excluded(failures::in_a_row))),
            failures::first_ms.eq(case_when(alike(), failures::first_ms).otherwise(excluded(failures::first_ms))),
            failures::class.eq(excluded(failures::class)),
            failures::signature.eq(excluded(failures::signature)),
            failures::message.eq(excluded(failures::message)),
            failures::from_clock.eq(excluded(failures::from_clock)),
            failures::upto_clock.eq(excluded(failures::upto_clock)),
            failures::attempt.eq(excluded(failures::attempt)),
            failures::last_ms.eq(excluded(failures::last_ms)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// How often `room` has failed alike in a row; it must have failed.
pub(super) async fn in_a_row(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<i64> {
    failures::table.find((room.org(), room.docid(), room.branch())).select(failures::in_a_row).first(conn).await
}

/// How many other rooms have failed like `report` since `since_ms`.
pub(super) async fn others_alike(conn: &mut Conn<'_>, report: &FailureReport, since_ms: i64) -> QueryResult<i64> {
    failures::table
        .filter(failures::signature.eq(kept(&report.signature, MAX_SIGNATURE)))
        .filter(failures::last_ms.ge(since_ms))
        .filter(not(of_room!(failures, report.room)))
        .count()
        .get_result(conn)
        .await
}

/// Forgets the failures of `room`.
pub(super) async fn forget(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<()> {
    diesel::delete(failures::table.filter(of_room!(failures, room))).execute(conn).await?;
    Ok(())
}

/// The first `max` rooms that fail, after the room `after`.
pub(super) async fn failures(conn: &mut Conn<'_>, after: Option<&RoomId>, max: usize) -> QueryResult<Vec<StoredFailure>> {
    let (from_start, after) = start(after);
    failures::table
        .filter(from_start.into_sql::<Bool>().or(after_room!(failures, after)))
        .order((failures::org, failures::docid, failures::branch))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((
            (failures::org, failures::docid, failures::branch),
            (failures::class, failures::signature, failures::message),
            (failures::from_clock, failures::upto_clock),
            (failures::in_a_row, failures::attempt, failures::first_ms, failures::last_ms),
        ))
        .load(conn)
        .await
}

/// Records a quarantine, unless one of this name is recorded.
pub(super) async fn put_quarantine(conn: &mut Conn<'_>, record: &QuarantineRecord) -> QueryResult<()> {
    insert_into(quarantines::table)
        .values((
            quarantines::org.eq(record.room.org()),
            quarantines::docid.eq(record.room.docid()),
            quarantines::branch.eq(record.room.branch()),
            quarantines::qid.eq(&record.id.0),
            quarantines::class.eq(kept(&record.class, MAX_TEXT)),
            quarantines::signature.eq(kept(&record.signature, MAX_SIGNATURE)),
            quarantines::reason.eq(kept(&record.reason, MAX_TEXT)),
            quarantines::from_clock.eq(record.from.to_string()),
            quarantines::upto_clock.eq(record.upto.to_string()),
            quarantines::at_ms.eq(number(record.at_ms)),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets a quarantine. Was there one?
pub(super) async fn end_quarantine(conn: &mut Conn<'_>, room: &RoomId, id: &QuarantineId) -> QueryResult<bool> {
    let one = quarantines::table.filter(of_room!(quarantines, room)).filter(quarantines::qid.eq(&id.0));
    Ok(diesel::delete(one).execute(conn).await? > 0)
}

/// The columns of a quarantine, as [`StoredQuarantine`] has them.
macro_rules! quarantine_columns {
    () => {
        (
            (quarantines::org, quarantines::docid, quarantines::branch),
            quarantines::qid,
            (quarantines::class, quarantines::signature, quarantines::reason),
            (quarantines::from_clock, quarantines::upto_clock),
            quarantines::at_ms,
        )
    };
}

/// The quarantines of `room`, in no order.
pub(super) async fn quarantines_of(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Vec<StoredQuarantine>> {
    quarantines::table.filter(of_room!(quarantines, room)).select(quarantine_columns!()).load(conn).await
}

/// Of the first `max` rooms with quarantines after the room `after`, the last; `None` if there are none.
pub(super) async fn last_of_page(conn: &mut Conn<'_>, after: Option<&RoomId>, max: usize) -> QueryResult<Option<RoomId>> {
    let (from_start, after) = start(after);
    let rooms: Vec<StoredName> = quarantines::table
        .filter(from_start.into_sql::<Bool>().or(after_room!(quarantines, after)))
        .select((quarantines::org, quarantines::docid, quarantines::branch))
        .distinct()
        .order((quarantines::org, quarantines::docid, quarantines::branch))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .load(conn)
        .await?;
    Ok(rooms.last().map(|(org, docid, branch)| RoomId::new(org, docid, branch)))
}

/// The quarantines of the rooms after `after`, up to and including `last`, in no order.
pub(super) async fn quarantines_upto(
    conn: &mut Conn<'_>,
    after: Option<&RoomId>,
    last: &RoomId,
) -> QueryResult<Vec<StoredQuarantine>> {
    let (from_start, after) = start(after);
    quarantines::table
        .filter(from_start.into_sql::<Bool>().or(after_room!(quarantines, after)))
        .filter(not(after_room!(quarantines, last)))
        .select(quarantine_columns!())
        .load(conn)
        .await
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    failures::table.limit(0).execute(conn).await?;
    quarantines::table.limit(0).execute(conn).await?;
    Ok(())
}
