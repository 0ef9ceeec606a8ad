//! The statements on version rows, tombstones and fences. All run inside a transaction that the caller opens.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, IntoSql, OptionalExtension, QueryDsl, QueryResult,
    dsl::{self, case_when, exists, not},
    insert_into,
    sql_types::{BigInt, Bool, Nullable, Text},
    upsert::excluded,
};
use diesel_async::RunQueryDsl;
use yhub_core::RoomId;
use yhub_store::{Asset4, AssetSelection, Tombstone};

use super::Conn;
use crate::{
    docs::records::{StoredSizes, StoredVersion, kept},
    schema::documents::{length, yhub_room_epochs_v1 as epochs, yhub_ydoc_tombstones_v1 as tombstones, yhub_ydoc_v1 as versions},
};

/// So many keys go into one statement.
const KEYS_AT_ONCE: usize = 500;

/// Which of the four columns of a row are looked at: those in `wanted`, unless the row was made after `upto_ms`.
macro_rules! wanted {
    ($wanted:expr, $upto_ms:expr) => {
        $wanted.0.map(|wanted| wanted.into_sql::<Bool>().and(versions::created.is_null().or(versions::created.le($upto_ms))))
    };
}

/// How many bytes the assets have that [`versions`] would bring. None of them is read: how long a value is stands before it.
pub(super) async fn size_bytes(conn: &mut Conn<'_>, room: &RoomId, wanted: AssetSelection, upto_ms: i64) -> QueryResult<u64> {
    let [gcdoc, nongcdoc, contentmap, contentids] = wanted!(wanted, upto_ms);
    let rows: Vec<StoredSizes> = versions::table
        .filter(of_room!(versions, room))
        .select((
            case_when(gcdoc, length(versions::gcdoc)),
            case_when(nongcdoc, length(versions::nongcdoc)),
            case_when(contentmap, length(versions::contentmap)),
            case_when(contentids, length(versions::contentids)),
        ))
        .load(conn)
        .await?;
    let lengths =
        rows.into_iter().flat_map(|(gcdoc, nongcdoc, contentmap, contentids)| [gcdoc, nongcdoc, contentmap, contentids]);
    Ok(lengths.flatten().map(|length| u64::try_from(length).unwrap_or(0)).sum())
}

/// The rows of `room`, in no order, with the assets in `wanted` unless they were made after `upto_ms`; the others are not even
/// read from the disk.
pub(super) async fn versions(
    conn: &mut Conn<'_>,
    room: &RoomId,
    wanted: AssetSelection,
    upto_ms: i64,
) -> QueryResult<Vec<StoredVersion>> {
    let [gcdoc, nongcdoc, contentmap, contentids] = wanted!(wanted, upto_ms);
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
pub(super) async fn tombstone(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Option<Tombstone>> {
    let found: Option<(i64, bool, Option<i64>, Option<String>)> = tombstones::table
        .find((room.org(), room.docid(), room.branch()))
        .select((tombstones::deleted_at, tombstones::hard, tombstones::purged_at, tombstones::by))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(deleted_at_ms, hard, purged_at_ms, by)| Tombstone { deleted_at_ms, hard, purged_at_ms, by }))
}

/// A version row to insert.
pub(super) struct NewVersion<'a> {
    pub(super) room: &'a RoomId,
    pub(super) t: &'a str,
    pub(super) created_ms: i64,
    pub(super) assets: Asset4<&'a [u8]>,
    pub(super) is_reference: Asset4<bool>,
}

/// Inserts a row, unless the room is deleted for good or a row with this key is there. Was it inserted?
pub(super) async fn insert_version(conn: &mut Conn<'_>, new: NewVersion<'_>) -> QueryResult<bool> {
    let NewVersion { room, t, created_ms, assets, is_reference } = new;
    let [gcdoc, nongcdoc, contentmap, contentids] = assets.map(|asset| asset.into_sql::<Nullable<diesel::sql_types::Binary>>());
    let [gcdoc_ref, nongcdoc_ref, contentmap_ref, contentids_ref] = is_reference.map(|is| is.into_sql::<Bool>());
    // The barrier is part of this statement. That no deletion comes between its look and the commit is for the fence's lock.
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
pub(super) async fn delete_versions(conn: &mut Conn<'_>, room: &RoomId, keys: &[&str]) -> QueryResult<()> {
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

/// Raises the fence of `room` to `epoch`; false if it stands higher already. From here to the end of the transaction nobody
/// else gets past this statement for this room: also a fence that stands higher is locked.
pub(super) async fn raise_fence(conn: &mut Conn<'_>, room: &RoomId, epoch: i64) -> QueryResult<bool> {
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

/// The epoch at which the fence of `room` stands, if it has one.
pub(super) async fn fence(conn: &mut Conn<'_>, room: &RoomId) -> QueryResult<Option<i64>> {
    epochs::table.find((room.org(), room.docid(), room.branch())).select(epochs::epoch).first(conn).await.optional()
}

/// Records a deletion over what is recorded: time and author of the first stay, hard stays hard, purged stays purged.
pub(super) async fn put_tombstone(conn: &mut Conn<'_>, room: &RoomId, tombstone: &Tombstone) -> QueryResult<()> {
    insert_into(tombstones::table)
        .values((
            tombstones::org.eq(room.org()),
            tombstones::docid.eq(room.docid()),
            tombstones::branch.eq(room.branch()),
            tombstones::deleted_at.eq(tombstone.deleted_at_ms),
            tombstones::hard.eq(tombstone.hard),
            tombstones::purged_at.eq(tombstone.purged_at_ms),
            tombstones::by.eq(tombstone.by.as_deref().map(|by| kept(by, usize::MAX))),
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
pub(super) async fn check(conn: &mut Conn<'_>) -> QueryResult<()> {
    dsl::select(exists(versions::table.select(versions::t))).get_result::<bool>(conn).await?;
    Ok(())
}

/// Names every column, reads no row.
pub(super) async fn look_at_columns(conn: &mut Conn<'_>) -> QueryResult<()> {
    versions::table.limit(0).execute(conn).await?;
    tombstones::table.limit(0).execute(conn).await?;
    epochs::table.limit(0).execute(conn).await?;
    Ok(())
}
