//! Notices: their statements, which run inside a transaction that the caller opens, and [`NoticeStore`].

use async_trait::async_trait;
use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, insert_into};
use diesel_async::RunQueryDsl;
use yhub_core::{RoomId, UserMatcher};
use yhub_store::{
    AuditRecord, DocStoreError, MAX_NOTICE_USERS, MAX_NOTICES_BYTES, Notice, NoticeHead, NoticeId, NoticeList, NoticeStore,
};

use super::{Conn, Engine, audits};
use crate::{
    docs::{
        Access,
        records::{StoredNotice, notice, notice_head, number, record_id},
    },
    schema::documents::{length, yhub_notices_v1 as notices},
};

/// Leaves a notice: as many rows as its users need.
pub(super) async fn publish(conn: &mut Conn<'_>, notice: &Notice) -> QueryResult<()> {
    let encode = |users: &[UserMatcher]| UserMatcher::list_to_any(users).to_bytes();
    let parts: Vec<Option<Vec<u8>>> = match &notice.users {
        None => vec![None],
        Some(users) if users.is_empty() => vec![Some(encode(&[]))],
        Some(users) => users.chunks(MAX_NOTICE_USERS).map(|users| Some(encode(users))).collect(),
    };
    for users in parts {
        insert_into(notices::table)
            .values((
                (notices::at_ms.eq(number(notice.at_ms)), notices::id.eq(record_id())),
                (notices::org.eq(&notice.org), notices::users.eq(users), notices::cut.eq(notice.cut)),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// So many notices are brought by one statement.
const IDS_AT_ONCE: usize = 500;

/// A row without its users: `at_ms` and `id`; org, how long its users are.
type StoredHead = (i64, String, Option<String>, Option<i32>);

/// The last `max` notices of `at_ms` or later, the youngest first.
async fn heads(conn: &mut Conn<'_>, at_ms: i64, max: usize) -> QueryResult<Vec<StoredHead>> {
    notices::table
        .filter(notices::at_ms.ge(at_ms))
        .order((notices::at_ms.desc(), notices::id.desc()))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((notices::at_ms, notices::id, notices::org, length(notices::users)))
        .load(conn)
        .await
}

/// Of the notices from `from_ms` to `upto_ms`, those of these names.
async fn named(conn: &mut Conn<'_>, (from_ms, upto_ms): (i64, i64), ids: &[&str]) -> QueryResult<Vec<StoredNotice>> {
    notices::table
        .filter(notices::at_ms.ge(from_ms).and(notices::at_ms.le(upto_ms)).and(notices::id.eq_any(ids)))
        .order((notices::at_ms, notices::id))
        .select(((notices::at_ms, notices::id), (notices::org, notices::users, notices::cut)))
        .load(conn)
        .await
}

/// Deletes up to `max` of the notices from before `before_ms`, oldest first. How many?
async fn delete_before(conn: &mut Conn<'_>, before_ms: i64, max: usize) -> QueryResult<usize> {
    let oldest: Vec<(i64, String)> = notices::table
        .filter(notices::at_ms.lt(before_ms))
        .order((notices::at_ms, notices::id))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((notices::at_ms, notices::id))
        .load(conn)
        .await?;
    let Some((at_ms, id)) = oldest.last() else { return Ok(0) };
    let upto = notices::at_ms.le(at_ms).and(notices::at_ms.lt(at_ms).or(notices::id.le(id)));
    diesel::delete(notices::table.filter(upto)).execute(conn).await
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    notices::table.limit(0).execute(conn).await?;
    Ok(())
}

#[async_trait]
impl NoticeStore for Engine {
    async fn publish(&self, notice: &Notice, audit: Option<&AuditRecord>) -> Result<(), DocStoreError> {
        // So that an org is refused as its rooms are.
        let about = notice.org.as_ref().map(|org| RoomId::new(org, "", ""));
        let (notice, audit) = (notice.clone(), audit.map(AuditRecord::bounded));
        self.within(about.as_ref(), Access::Write, move |tx| {
            Box::pin(async move {
                publish(tx, &notice).await?;
                Ok(audits::append_some(tx, audit.as_ref()).await?)
            })
        })
        .await
    }

    async fn list(&self, at_ms: u64, max: usize) -> Result<NoticeList, DocStoreError> {
        let at_ms = number(at_ms);
        self.within(None, Access::Read, move |tx| {
            Box::pin(async move {
                // One more: it says whether there are more.
                let mut found = heads(tx, at_ms, max.saturating_add(1)).await?;
                let more = found.len() > max;
                found.truncate(max);
                Ok(NoticeList { heads: found.into_iter().rev().map(notice_head).collect(), more })
            })
        })
        .await
    }

    async fn bring(&self, heads: &[NoticeHead]) -> Result<Vec<(NoticeId, Notice)>, DocStoreError> {
        let heads = heads.to_vec();
        self.within(None, Access::Read, move |tx| {
            Box::pin(async move {
                let mut brought = Vec::new();
                for heads in heads.chunks(IDS_AT_ONCE) {
                    let (too_long, heads): (Vec<_>, Vec<_>) = heads.iter().partition(|head| head.size_bytes > MAX_NOTICES_BYTES);
                    brought.extend(too_long.into_iter().map(|head| {
                        let notice = Notice { org: head.org.clone(), ..Notice::check_everybody(head.at_ms) };
                        (head.id.clone(), notice)
                    }));
                    let times = || heads.iter().map(|head| number(head.at_ms));
                    let (Some(from_ms), Some(upto_ms)) = (times().min(), times().max()) else { continue };
                    let ids: Vec<_> = heads.iter().map(|head| head.id.0.as_str()).collect();
                    brought.extend(named(tx, (from_ms, upto_ms), &ids).await?.into_iter().map(notice));
                }
                brought.sort_by(|(id, notice), (other_id, other)| (notice.at_ms, &id.0).cmp(&(other.at_ms, &other_id.0)));
                Ok(brought)
            })
        })
        .await
    }

    async fn delete_before(&self, at_ms: u64, max: usize) -> Result<u64, DocStoreError> {
        self.within(None, Access::Write, move |tx| {
            Box::pin(async move { Ok(delete_before(tx, number(at_ms), max).await? as u64) })
        })
        .await
    }
}
