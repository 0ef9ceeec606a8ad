//! Notices: their statements, which run inside a transaction that the caller opens, and [`NoticeStore`].

use async_trait::async_trait;
use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, insert_into};
use diesel_async::RunQueryDsl;
use yhub_core::{RoomId, UserMatcher};
use yhub_store::{AuditRecord, DocStoreError, MAX_NOTICE_USERS, MAX_NOTICES_BYTES, Notice, NoticePage, NoticeStore};

use super::{Conn, Engine, audits};
use crate::{
    docs::{
        Access,
        records::{StoredNotice, notice, number, record_id},
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

/// How long the users are of the first `max` notices of `at_ms` or later, each with where it stands.
async fn lengths(conn: &mut Conn<'_>, at_ms: i64, max: usize) -> QueryResult<Vec<(i64, String, Option<i32>)>> {
    notices::table
        .filter(notices::at_ms.ge(at_ms))
        .order((notices::at_ms, notices::id))
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select((notices::at_ms, notices::id, length(notices::users)))
        .load(conn)
        .await
}

/// The notices of `at_ms` or later, up to the one that stands at `upto`.
async fn range(conn: &mut Conn<'_>, at_ms: i64, (upto_ms, upto_id): (i64, &str)) -> QueryResult<Vec<StoredNotice>> {
    notices::table
        .filter(notices::at_ms.ge(at_ms))
        .filter(notices::at_ms.le(upto_ms).and(notices::at_ms.lt(upto_ms).or(notices::id.le(upto_id))))
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

    async fn since(&self, at_ms: u64, max: usize) -> Result<NoticePage, DocStoreError> {
        let at_ms = number(at_ms);
        self.within(None, Access::Read, move |tx| {
            Box::pin(async move {
                // One more: it says whether there are more.
                let found = lengths(tx, at_ms, max.saturating_add(1)).await?;
                let mut size_bytes = 0;
                let fits = |(_, _, length): &&(i64, String, Option<i32>)| {
                    size_bytes += usize::try_from(length.unwrap_or(0)).unwrap_or(0);
                    size_bytes <= MAX_NOTICES_BYTES
                };
                let count = found.iter().take(max).take_while(fits).count();
                let more = found.len() > count;
                let Some((upto_ms, upto_id, _)) = found.get(..count).and_then(<[_]>::last) else {
                    return Ok(NoticePage { notices: Vec::new(), more });
                };
                let stored = range(tx, at_ms, (*upto_ms, upto_id)).await?;
                Ok(NoticePage { notices: stored.into_iter().map(notice).collect(), more })
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
