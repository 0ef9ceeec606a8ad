//! The assets of a room that lie outside its rows: what they are called, and erasing them.

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId, StreamClock};
use yhub_store::{Asset4, AssetKind, AssetStoreError, StoredName};

use super::{in_store, receipt::Found};
use crate::{Documents, DocumentsError};

/// So many objects or notes of rows are looked at in one step.
const AT_ONCE: usize = 500;

/// The name of an asset of the row `t`.
pub(crate) fn asset_id(room: &RoomId, kind: AssetKind, t: &str) -> AssetId {
    let kind = match kind {
        AssetKind::GcDoc => AssetIdKind::YDoc { gc: true },
        AssetKind::NongcDoc => AssetIdKind::YDoc { gc: false },
        AssetKind::ContentMap => AssetIdKind::ContentMap,
        AssetKind::ContentIds => AssetIdKind::ContentIds,
    };
    AssetId { kind, room: room.clone(), t: t.to_owned() }
}

/// The column that refers to an asset.
pub(super) fn column_of(kind: AssetIdKind) -> AssetKind {
    match kind {
        AssetIdKind::YDoc { gc: true } => AssetKind::GcDoc,
        AssetIdKind::YDoc { gc: false } => AssetKind::NongcDoc,
        AssetIdKind::ContentMap => AssetKind::ContentMap,
        AssetIdKind::ContentIds => AssetKind::ContentIds,
    }
}

impl Documents {
    /// Erases what the places for assets hold of `room`: what is listed there, and what its erased rows referred to, which a
    /// place that a listing does not reach may have. The rows must be gone (I-4).
    pub(super) async fn erase_objects(&self, room: &RoomId, found: &mut Found) -> Result<(), DocumentsError> {
        let failed = |source| in_assets(room, source);
        for place in self.assets.iter() {
            let mut cursor: Option<String> = None;
            loop {
                let page = place.list(Some(room), cursor.as_deref(), AT_ONCE).await.map_err(failed)?;
                for object in page.items {
                    let StoredName::Asset(id) = object.name else { continue };
                    if id.room == *room {
                        found.object(place.name(), &id, Some(object.size_bytes));
                        place.delete(&id).await.map_err(failed)?;
                    }
                }
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        let mut after: Option<String> = None;
        loop {
            let rows = self.deletions.erased_rows(room, after.as_deref(), AT_ONCE).await;
            let rows = rows.map_err(|source| in_store(room, source))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.t.clone());
            for row in &rows {
                for kind in AssetKind::ALL {
                    let Some(plugin) = &row.plugins[kind as usize] else { continue };
                    let id = asset_id(room, kind, &row.t);
                    found.object(plugin, &id, None);
                    // One that nobody knows is an error: what it has cannot be shown to be gone.
                    self.assets.delete(&id, plugin).await.map_err(failed)?;
                }
            }
        }
    }

    /// How many objects of `room` are listed.
    pub(super) async fn count_objects(&self, room: &RoomId) -> Result<u64, DocumentsError> {
        let mut count = 0;
        for place in self.assets.iter() {
            let mut cursor: Option<String> = None;
            loop {
                let page = place.list(Some(room), cursor.as_deref(), AT_ONCE).await.map_err(|source| in_assets(room, source))?;
                let ours = |name: &StoredName| matches!(name, StoredName::Asset(id) if id.room == *room);
                count += page.items.iter().filter(|object| ours(&object.name)).count() as u64;
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(count)
    }

    /// Erases what was stored for a row that was then refused because its room is deleted for good: the purge may have listed
    /// before it came. What cannot be erased now is found by the janitor.
    pub(crate) async fn take_back_objects(
        &self,
        room: &RoomId,
        clock: StreamClock,
        columns: &Asset4<Bytes>,
        is_reference: Asset4<bool>,
    ) {
        for kind in AssetKind::ALL.into_iter().filter(|kind| is_reference[*kind as usize]) {
            let Ok(Asset::Retrievable { plugin }) = Asset::decode(&columns[kind as usize]) else { continue };
            let id = asset_id(room, kind, &clock.to_string());
            if let Err(error) = self.assets.delete(&id, &plugin).await {
                log::warn!(room:% = room; "asset {id} of the deleted room {room} stays behind for now: {error}");
            }
        }
    }
}

fn in_assets(room: &RoomId, source: AssetStoreError) -> DocumentsError {
    DocumentsError::Assets { room: room.clone(), source }
}
