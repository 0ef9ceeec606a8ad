//! The statements on version rows and tombstones, for every database that diesel-async speaks to.
//!
//! Written against [`Conn`]; nothing in a body is SQLite's own, so that another database needs another alias, not other
//! bodies. All run inside a transaction that the caller opens.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, SqliteConnection,
    dsl::{self, case_when, exists, not},
    insert_into,
    sql_types::{BigInt, Bool, Nullable, Text},
    upsert::excluded,
};
use diesel_async::{RunQueryDsl, sync_connection_wrapper::SyncConnectionWrapper};
use yhub_core::RoomId;
use yhub_store::{Asset4, AssetSelection, Tombstone};

use crate::schema::documents::{yhub_room_epochs_v1 as epochs, yhub_ydoc_tombstones_v1 as tombstones, yhub_ydoc_v1 as versions};

/// The connection that the bodies are written for.
pub(crate) type Conn = SyncConnectionWrapper<SqliteConnection>;

/// So many keys go into one statement.
const KEYS_AT_ONCE: usize = 500;

/// A version row as it is stored: `t`, `created`, the selected assets, which columns may hold references.
pub(crate) type StoredVersion = (String, Option<i64>, StoredAssets, (bool, bool, bool, bool));
type StoredAssets = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// The rows of `room`, in no order, with the assets in `wanted`; the others are not even read from the disk.
pub(crate) async fn versions(conn: &mut Conn, room: &RoomId, wanted: AssetSelection) -> QueryResult<Vec<StoredVersion>> {
    use diesel::expression::AsExpression;
    let [gcdoc, nongcdoc, contentmap, contentids] = wanted.0.map(AsExpression::<Bool>::as_expression);
    versions::table
        .filter(versions::org.eq(room.org()))
        .filter(versions::docid.eq(room.docid()))
        .filter(versions::branch.eq(room.branch()))
        .select((
            versions::t,
            versions::created,
            (
                case_when(gcdoc, versions::gcdoc),
                case_when(nongcdoc, versions::nongcdoc),
                case_when(contentmap, versions::contentmap),
                case_when(contentids, versions::contentids),
            ),
            (
                versions::gcdoc_is_reference,
                versions::nongcdoc_is_reference,
                versions::contentmap_is_reference,
                versions::contentids_is_reference,
            ),
        ))
        .load(conn)
        .await
}

/// The tombstone of `room`.
pub(crate) async fn tombstone(conn: &mut Conn, room: &RoomId) -> QueryResult<Option<Tombstone>> {
    let found: Option<(i64, bool, Option<i64>, Option<String>)> = tombstones::table
        .find((room.org(), room.docid(), room.branch()))
        .select((tombstones::deleted_at, tombstones::hard, tombstones::purged_at, tombstones::by))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(deleted_at_ms, hard, purged_at_ms, by)| Tombstone { deleted_at_ms, hard, purged_at_ms, by }))
}

/// A version row to insert.
pub(crate) struct NewVersion<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) t: &'a str,
    pub(crate) created_ms: i64,
    pub(crate) assets: Asset4<&'a [u8]>,
    pub(crate) is_reference: Asset4<bool>,
}

/// Inserts a row, unless the room is deleted for good or a row with this key is there. Was it inserted?
pub(crate) async fn insert_version(conn: &mut Conn, new: NewVersion<'_>) -> QueryResult<bool> {
    use diesel::IntoSql;
    let NewVersion { room, t, created_ms, assets, is_reference } = new;
    let [gcdoc, nongcdoc, contentmap, contentids] = assets.map(|asset| asset.into_sql::<Nullable<diesel::sql_types::Binary>>());
    let [gcdoc_ref, nongcdoc_ref, contentmap_ref, contentids_ref] = is_reference.map(|is| is.into_sql::<Bool>());
    // The barrier is part of this statement: no deletion can come between the look and the insert.
    let deleted_for_good = tombstones::table
        .filter(tombstones::org.eq(room.org()))
        .filter(tombstones::docid.eq(room.docid()))
        .filter(tombstones::branch.eq(room.branch()))
        .filter(tombstones::hard.eq(true));
    let row = dsl::select((
        room.org().into_sql::<Text>(),
        room.docid().into_sql::<Text>(),
        room.branch().into_sql::<Text>(),
        t.into_sql::<Text>(),
        created_ms.into_sql::<Nullable<BigInt>>(),
        gcdoc,
        nongcdoc,
        contentmap,
        contentids,
        gcdoc_ref,
        nongcdoc_ref,
        contentmap_ref,
        contentids_ref,
    ))
    .filter(not(exists(deleted_for_good)));
    let inserted = insert_into(versions::table)
        .values(row)
        .into_columns(versions::all_columns)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted > 0)
}

/// Deletes the rows with these keys.
pub(crate) async fn delete_versions(conn: &mut Conn, room: &RoomId, keys: &[&str]) -> QueryResult<()> {
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let rows = versions::table
            .filter(versions::org.eq(room.org()))
            .filter(versions::docid.eq(room.docid()))
            .filter(versions::branch.eq(room.branch()))
            .filter(versions::t.eq_any(keys));
        diesel::delete(rows).execute(conn).await?;
    }
    Ok(())
}

/// Raises the fence of `room` to `epoch`; false if it stands higher already. Two transactions that raise the same fence
/// go one after the other.
pub(crate) async fn raise_fence(conn: &mut Conn, room: &RoomId, epoch: i64) -> QueryResult<bool> {
    use diesel::query_dsl::methods::FilterDsl;
    let raised = insert_into(epochs::table)
        .values((
            epochs::org.eq(room.org()),
            epochs::docid.eq(room.docid()),
            epochs::branch.eq(room.branch()),
            epochs::epoch.eq(epoch),
        ))
        .on_conflict((epochs::org, epochs::docid, epochs::branch))
        .do_update()
        .set(epochs::epoch.eq(excluded(epochs::epoch)))
        .filter(epochs::epoch.le(excluded(epochs::epoch)))
        .execute(conn)
        .await?;
    Ok(raised > 0)
}

/// Records a deletion over what is recorded: time and author of the first stay, hard stays hard, purged stays purged.
pub(crate) async fn put_tombstone(conn: &mut Conn, room: &RoomId, tombstone: &Tombstone) -> QueryResult<()> {
    insert_into(tombstones::table)
        .values((
            tombstones::org.eq(room.org()),
            tombstones::docid.eq(room.docid()),
            tombstones::branch.eq(room.branch()),
            tombstones::deleted_at.eq(tombstone.deleted_at_ms),
            tombstones::hard.eq(tombstone.hard),
            tombstones::purged_at.eq(tombstone.purged_at_ms),
            tombstones::by.eq(tombstone.by.as_deref()),
        ))
        .on_conflict((tombstones::org, tombstones::docid, tombstones::branch))
        .do_update()
        .set((
            tombstones::hard.eq(tombstones::hard.or(excluded(tombstones::hard))),
            tombstones::purged_at
                .eq(case_when(tombstones::purged_at.is_null(), excluded(tombstones::purged_at)).otherwise(tombstones::purged_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Answers iff there is somebody to answer.
pub(crate) async fn check(conn: &mut Conn) -> QueryResult<()> {
    dsl::select(exists(versions::table.select(versions::t))).get_result::<bool>(conn).await?;
    Ok(())
}
