//! Objects that no row refers to: left behind by whoever died between storing an object and its row, or between deleting a row
//! and its objects (I-4).

use std::{collections::BTreeMap, time::Duration};

use yhub_core::{AssetId, RoomId, StreamClock};
use yhub_store::{AssetSelection, AssetStore, AssetStoreError, BoxError, DocStoreError, StoredName, StoredRoom, StreamLogError};

use super::objects::column_of;
use crate::Documents;

/// So many objects are listed in one step.
const AT_ONCE: usize = 500;

/// Where a search stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanCursor {
    place: usize,
    cursor: Option<String>,
}

/// What a part of a search found.
#[derive(Debug, Default)]
pub struct Orphans {
    /// So many objects were looked at.
    pub looked_at: u64,
    /// Removed, with the place they were in.
    pub removed: Vec<(String, AssetId)>,
    /// What was left alone, as it will not succeed until somebody acts: a place, a room or an object, and why.
    pub skipped: Vec<(String, OrphanError)>,
    /// Where the search is to go on; `None` if everything was looked at.
    pub next: Option<OrphanCursor>,
}

/// Why a search stopped.
#[derive(Debug, thiserror::Error)]
#[error("cannot look for objects without a row: {what}")]
pub struct OrphanError {
    what: &'static str,
    #[source]
    source: BoxError,
}

impl Documents {
    /// Looks at about `max` objects from `from` on, and removes those that no row refers to and that are older than `grace`.
    ///
    /// What fails for good is skipped, so that one damaged room or object does not keep all others from being looked at.
    ///
    /// Rows are read after the listing. An object whose row may still come is left alone: only where the room has a newer row,
    /// or is deleted for good, nobody stores one of that key any more.
    pub async fn remove_orphans(&self, from: OrphanCursor, grace: Duration, max: usize) -> Result<Orphans, OrphanError> {
        let mut found = Orphans::default();
        let now_ms = self.log.now_ms().await.map_err(|source| stopped("what time it is", source))?;
        let old_before_ms = now_ms.saturating_sub(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let places: Vec<_> = self.assets.iter().cloned().collect();
        let (mut at, mut cursor) = (from.place, from.cursor);
        while let Some(place) = places.get(at) {
            if found.looked_at >= max as u64 {
                found.next = Some(OrphanCursor { place: at, cursor });
                break;
            }
            let page = place.list(None, cursor.as_deref(), AT_ONCE.min(max.max(1))).await;
            let page = match found.unless_for_good(|| format!("all of {}", place.name()), page, "the listing")? {
                Some(page) => page,
                None => {
                    (at, cursor) = (at + 1, None);
                    continue;
                }
            };
            found.looked_at += page.items.len() as u64;
            let mut old = BTreeMap::<RoomId, Vec<AssetId>>::new();
            for object in page.items {
                // What has no name of ours is not ours to judge.
                if let StoredName::Asset(id) = object.name
                    && object.modified_ms < old_before_ms
                {
                    old.entry(id.room.clone()).or_default().push(id);
                }
            }
            for (room, ids) in old {
                self.remove_orphans_of(place.as_ref(), &room, ids, &mut found).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                at += 1;
            }
        }
        Ok(found)
    }

    async fn remove_orphans_of(
        &self,
        place: &dyn AssetStore,
        room: &RoomId,
        ids: Vec<AssetId>,
        found: &mut Orphans,
    ) -> Result<(), OrphanError> {
        let stored = self.store.read(room, AssetSelection::NONE).await;
        let Some(stored) = found.unless_for_good(|| room.to_string(), stored, "the rows")? else { return Ok(()) };
        fail::fail_point!("orphans::rows_read", |_| Ok(()));
        for id in ids.into_iter().filter(|id| is_orphan(&stored, id)) {
            let deleted = place.delete(&id).await;
            if found.unless_for_good(|| id.to_string(), deleted, "removing one")?.is_some() {
                found.removed.push((place.name().to_owned(), id));
            }
        }
        Ok(())
    }
}

/// Does no row refer to it, and will none?
fn is_orphan(stored: &StoredRoom, id: &AssetId) -> bool {
    let refers = |row: &yhub_store::VersionRow| row.t == id.t && row.is_reference[column_of(id.kind) as usize];
    if stored.rows.iter().any(refers) {
        return false;
    }
    if stored.tombstone.as_ref().is_some_and(|tombstone| tombstone.hard) {
        // Also of a row that is still to be erased.
        return stored.rows.iter().all(|row| row.t != id.t);
    }
    let Ok(clock) = id.t.parse::<StreamClock>() else { return false };
    stored.rows.iter().filter_map(|row| row.t.parse::<StreamClock>().ok()).any(|row| row > clock)
}

fn stopped(what: &'static str, source: impl Into<BoxError>) -> OrphanError {
    OrphanError { what, source: source.into() }
}

impl Orphans {
    /// What came of a step; `None` if it failed for good, which is noted.
    fn unless_for_good<T, E: Into<BoxError>>(
        &mut self,
        of: impl FnOnce() -> String,
        result: Result<T, E>,
        what: &'static str,
    ) -> Result<Option<T>, OrphanError> {
        match result.map_err(|source| stopped(what, source)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.skipped.push((of(), error));
                Ok(None)
            }
        }
    }
}

impl OrphanError {
    /// May the same search succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        if let Some(error) = self.source.downcast_ref::<AssetStoreError>() {
            error.is_transient()
        } else if let Some(error) = self.source.downcast_ref::<DocStoreError>() {
            error.is_transient()
        } else {
            self.source.downcast_ref::<StreamLogError>().is_none_or(StreamLogError::is_transient)
        }
    }
}
