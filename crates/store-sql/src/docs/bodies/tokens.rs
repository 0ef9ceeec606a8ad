//! The statements on access tokens. All run inside a transaction that the caller opens.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult,
    dsl::{self, exists},
    insert_into,
};
use diesel_async::RunQueryDsl;
use yhub_store::{AccessToken, MAX_TOKEN_LABEL};

use super::{Conn, Db};
use crate::{
    docs::records::{MAX_TEXT, StoredToken, kept, number},
    schema::documents::{yhub_access_token_ancestors_v1 as ancestors, yhub_access_tokens_v1 as tokens},
};

/// So many ids go into one statement.
const IDS_AT_ONCE: usize = 500;

/// The columns of a token, as [`StoredToken`] has them.
macro_rules! token_columns {
    () => {
        (
            (tokens::id, tokens::secret_hash),
            (tokens::user_id, tokens::label, tokens::grants, tokens::created_by),
            (tokens::created_ms, tokens::expires_ms, tokens::revoked_ms),
        )
    };
}

/// The lock of the tree with this root, until the end of the transaction. Statements after this one see what others did who had
/// it before.
pub(super) async fn lock(conn: &mut Conn<'_>, root: &str) -> QueryResult<()> {
    // An update that changes nothing locks the row in every database.
    diesel::update(tokens::table.find(root)).set(tokens::id.eq(tokens::id)).execute(conn).await?;
    Ok(())
}

/// An ancestor of a token: its id; whether it is there; when it ends; when it was revoked.
pub(super) type Ancestor = (String, Option<String>, Option<i64>, Option<i64>);

/// The ancestors of a token, from the root down.
pub(super) async fn lineage(conn: &mut Conn<'_>, id: &str) -> QueryResult<Vec<Ancestor>> {
    ancestors::table
        .left_join(tokens::table.on(tokens::id.eq(ancestors::ancestor)))
        .filter(ancestors::token.eq(id))
        .order(ancestors::depth)
        .select((ancestors::ancestor, tokens::id.nullable(), tokens::expires_ms.nullable(), tokens::revoked_ms.nullable()))
        .load(conn)
        .await
}

/// The token of this id.
pub(super) async fn token(conn: &mut Conn<'_>, id: &str) -> QueryResult<Option<StoredToken>> {
    tokens::table.find(id).select(token_columns!()).first(conn).await.optional()
}

/// Inserts a token with its ancestors. False if there is one of its id.
pub(super) async fn insert(conn: &mut Conn<'_>, token: &AccessToken) -> QueryResult<bool> {
    let inserted = insert_into(tokens::table)
        .values((
            (tokens::id.eq(&token.id), tokens::secret_hash.eq(&token.secret_hash[..]), tokens::org.eq(token.grants.only_org())),
            (
                tokens::user_id.eq(&token.user),
                tokens::label.eq(kept(&token.label, MAX_TOKEN_LABEL)),
                tokens::grants.eq(token.grants.to_any().to_json()),
                tokens::created_by.eq(kept(&token.by, MAX_TEXT)),
            ),
            (
                tokens::created_ms.eq(number(token.created_ms)),
                tokens::expires_ms.eq(token.expires_ms.map(number)),
                tokens::revoked_ms.eq(token.revoked_ms.map(number)),
            ),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    for (depth, ancestor) in token.ancestors.iter().enumerate() {
        insert_into(ancestors::table)
            .values((ancestors::token.eq(&token.id), ancestors::depth.eq(number(depth as u64)), ancestors::ancestor.eq(ancestor)))
            .execute(conn)
            .await?;
    }
    Ok(true)
}

/// The first `max` tokens after the id `after`.
pub(super) async fn page(
    conn: &mut Conn<'_>,
    org: Option<&str>,
    after: Option<&str>,
    max: usize,
) -> QueryResult<Vec<StoredToken>> {
    let mut query = tokens::table.into_boxed::<Db>();
    if let Some(org) = org {
        query = query.filter(tokens::org.eq(org));
    }
    if let Some(after) = after {
        query = query.filter(tokens::id.gt(after));
    }
    query.order(tokens::id).limit(i64::try_from(max).unwrap_or(i64::MAX)).select(token_columns!()).load(conn).await
}

/// Token and ancestor, for all of these tokens, of each from the root down.
pub(super) async fn lineages(conn: &mut Conn<'_>, ids: &[&str]) -> QueryResult<Vec<(String, String)>> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let part = ancestors::table
            .filter(ancestors::token.eq_any(ids))
            .order((ancestors::token, ancestors::depth))
            .select((ancestors::token, ancestors::ancestor));
        found.extend(part.load::<(String, String)>(conn).await?);
    }
    Ok(found)
}

/// Is there a token of this id?
pub(super) async fn is_there(conn: &mut Conn<'_>, id: &str) -> QueryResult<bool> {
    dsl::select(exists(tokens::table.filter(tokens::id.eq(id)))).get_result(conn).await
}

/// A token and all that descend from it, those that are not revoked yet.
macro_rules! revocable {
    ($id:expr) => {{
        let descendants = ancestors::table.filter(ancestors::ancestor.eq($id)).select(ancestors::token);
        tokens::table.filter(tokens::revoked_ms.is_null()).filter(tokens::id.eq($id).or(tokens::id.eq_any(descendants)))
    }};
}

/// The ids of the first `max` tokens after the id `after` that [`revoke`] would revoke, in their order.
pub(super) async fn revocable(conn: &mut Conn<'_>, id: &str, after: &str, max: usize) -> QueryResult<Vec<String>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    revocable!(id).filter(tokens::id.gt(after)).order(tokens::id).limit(max).select(tokens::id).load(conn).await
}

/// Revokes a token and all that descend from it, those that are not revoked yet. How many?
pub(super) async fn revoke(conn: &mut Conn<'_>, id: &str, at_ms: i64) -> QueryResult<usize> {
    diesel::update(revocable!(id)).set(tokens::revoked_ms.eq(at_ms)).execute(conn).await
}

/// Deletes up to `max` tokens that ended before `before_ms`. How many?
pub(super) async fn delete_ended(conn: &mut Conn<'_>, before_ms: i64, max: usize) -> QueryResult<usize> {
    let ended: Vec<String> = tokens::table
        .filter(tokens::revoked_ms.lt(before_ms).or(tokens::expires_ms.lt(before_ms)))
        .order(tokens::id)
        .limit(i64::try_from(max).unwrap_or(i64::MAX))
        .select(tokens::id)
        .load(conn)
        .await?;
    let mut deleted = 0;
    for ids in ended.chunks(IDS_AT_ONCE) {
        diesel::delete(ancestors::table.filter(ancestors::token.eq_any(ids))).execute(conn).await?;
        deleted += diesel::delete(tokens::table.filter(tokens::id.eq_any(ids))).execute(conn).await?;
    }
    Ok(deleted)
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    tokens::table.limit(0).execute(conn).await?;
    ancestors::table.limit(0).execute(conn).await?;
    Ok(())
}
