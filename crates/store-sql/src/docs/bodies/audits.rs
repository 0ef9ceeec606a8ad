//! The statements on audit records. All run inside a transaction that the caller opens, mostly that of what they tell of.

use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, insert_into};
use diesel_async::RunQueryDsl;
use yhub_store::{AuditCursor, AuditFilter, AuditRecord, MAX_AUDIT_ACTOR, MAX_AUDIT_ORG, MAX_AUDIT_WORD};

use super::{Conn, Db};
use crate::{
    docs::records::{StoredAudit, kept, number, record_id},
    schema::documents::yhub_audit_v1 as audit,
};

/// Writes a record, whose texts are within their bounds.
pub(super) async fn append(conn: &mut Conn<'_>, record: &AuditRecord) -> QueryResult<()> {
    insert_into(audit::table)
        .values((
            (audit::at_ms.eq(number(record.at_ms)), audit::id.eq(record_id())),
            (audit::actor.eq(&record.actor), audit::via.eq(&record.via), audit::action.eq(&record.action)),
            (audit::org.eq(&record.org), audit::docid.eq(&record.docid), audit::branch.eq(&record.branch)),
            (
                audit::result.eq(&record.result),
                audit::request_id.eq(&record.request_id),
                audit::address.eq(&record.address),
                audit::detail.eq(&record.detail),
            ),
            audit::stands_for.eq(i64::from(record.count)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes a record if there is one to write.
pub(super) async fn append_some(conn: &mut Conn<'_>, record: Option<&AuditRecord>) -> QueryResult<()> {
    match record {
        Some(record) => append(conn, record).await,
        None => Ok(()),
    }
}

/// The first `max` records that `filter` lets through, after `after`, newest first.
pub(super) async fn page(
    conn: &mut Conn<'_>,
    filter: &AuditFilter,
    after: Option<&AuditCursor>,
    max: usize,
) -> QueryResult<Vec<StoredAudit>> {
    // Only the conditions that are asked for: with others in it, an index would not be used.
    let mut query = audit::table.into_boxed::<Db>();
    if let Some(org) = &filter.org {
        query = query.filter(audit::org.eq(kept(org, MAX_AUDIT_ORG)));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(audit::actor.eq(kept(actor, MAX_AUDIT_ACTOR)));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit::action.eq(kept(action, MAX_AUDIT_WORD)));
    }
    if let Some(result) = &filter.result {
        query = query.filter(audit::result.eq(kept(result, MAX_AUDIT_WORD)));
    }
    if let Some(since_ms) = filter.since_ms {
        query = query.filter(audit::at_ms.ge(number(since_ms)));
    }
    if let Some(until_ms) = filter.until_ms {
        query = query.filter(audit::at_ms.lt(number(until_ms)));
    }
    if let Some(after) = after {
        let (at_ms, id) = after.parts();
        let at_ms = number(at_ms);
        query = query.filter(audit::at_ms.le(at_ms).and(audit::at_ms.lt(at_ms).or(audit::id.lt(id))));
    }
    query
        .order((audit::at_ms.desc(), audit::id.desc()))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((
            (audit::at_ms, audit::id),
            (audit::actor, audit::via, audit::action),
            (audit::org, audit::docid, audit::branch),
            (audit::result, audit::request_id, audit::address, audit::detail),
            audit::stands_for,
        ))
        .load(conn)
        .await
}

/// Deletes up to `max` of the records from before `before_ms`, oldest first. How many?
pub(super) async fn delete_before(conn: &mut Conn<'_>, before_ms: i64, max: usize) -> QueryResult<usize> {
    let oldest: Vec<(i64, String)> = audit::table
        .filter(audit::at_ms.lt(before_ms))
        .order((audit::at_ms, audit::id))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((audit::at_ms, audit::id))
        .load(conn)
        .await?;
    let Some((at_ms, id)) = oldest.last() else { return Ok(0) };
    let upto = audit::at_ms.le(at_ms).and(audit::at_ms.lt(at_ms).or(audit::id.le(id)));
    diesel::delete(audit::table.filter(upto)).execute(conn).await
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    audit::table.limit(0).execute(conn).await?;
    Ok(())
}
