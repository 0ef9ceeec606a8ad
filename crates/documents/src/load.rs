//! Loading a room: what is stored, and what the stream has on top of it, as one update.

use bytes::Bytes;
use yhub_core::{Loaded, RoomId, StreamClock, StreamMessage, Variant};
use yhub_store::{AssetKind, AssetSelection};

use crate::{Documents, DocumentsError, read::column, read::open_entry};

/// Fewer bytes are merged in place: handing them to the pool costs more.
const MERGE_INLINE_BYTES: usize = 16 << 10;

impl Documents {
    /// Loads one document of a room. It holds everything up to [`Loaded::clock`].
    ///
    /// A room of which nothing is stored is the empty document. A room that was deleted, and one that cannot be read, are
    /// errors. An entry of the stream that cannot be read is left out and logged: the stream keeps it.
    pub async fn load(&self, room: &RoomId, variant: Variant) -> Result<Loaded, DocumentsError> {
        let kind = match variant {
            Variant::Gc => AssetKind::GcDoc,
            Variant::Nongc => AssetKind::NongcDoc,
        };
        let _turn = self.loads.acquire().await.expect("nothing closes the semaphore");
        let content = self.read_content(room, AssetSelection::of(&[kind]), usize::MAX).await?;
        if content.tombstone.is_some() {
            return Err(DocumentsError::Deleted { room: room.clone() });
        }
        let clock = content.clock();
        let mut awareness = Vec::new();
        let mut parts: Vec<(Origin, Bytes)> = Vec::new();
        for row in &content.rows {
            let Some(update) = &row.assets[kind as usize] else {
                let what = "the column holds nothing".into();
                return Err(DocumentsError::Row { room: room.clone(), t: row.t.clone(), column: column(kind), what });
            };
            parts.push((Origin::Row(row.t.clone()), update.clone()));
        }
        for entry in &content.entries {
            match open_entry(room, entry) {
                Ok(Some(StreamMessage::Update { update, .. })) if Some(entry.clock) > content.stored() => {
                    parts.push((Origin::Entry(entry.clock), update));
                }
                Ok(Some(StreamMessage::Awareness { update })) => awareness.push((entry.clock.ms, update)),
                Ok(_) => {}
                Err(error) => log::error!(room:% = room; "left out of the document: {error}"),
            }
        }
        let (base, ids) = self.merge_parts(room, kind, parts).await?;
        Ok(Loaded { base, ids, clock, awareness })
    }

    async fn merge_parts(
        &self,
        room: &RoomId,
        kind: AssetKind,
        parts: Vec<(Origin, Bytes)>,
    ) -> Result<(Bytes, yhub_content::ContentIds), DocumentsError> {
        let (limits, whole_room) = (self.stored_limits(), room.clone());
        let size_bytes: usize = parts.iter().map(|(_, update)| update.len()).sum();
        let job = move || {
            let mut good = Vec::with_capacity(parts.len());
            for (origin, update) in parts {
                match (yhub_content::check_update(&update, &limits), origin) {
                    (Ok(_), _) => good.push(update),
                    (Err(error), Origin::Row(t)) => {
                        let what = error.to_string();
                        return Err(DocumentsError::Row { room: whole_room, t, column: column(kind), what });
                    }
                    (Err(error), Origin::Entry(clock)) => {
                        log::error!(room:% = whole_room; "left out of the document: stream of {whole_room}, entry {clock}: {error}");
                    }
                }
            }
            let merged = merge_shared(&good);
            let ids = merged.as_ref().map_err(Clone::clone).and_then(|merged| yhub_content::content_ids(merged));
            match (merged, ids) {
                (Ok(merged), Ok(ids)) => Ok((merged, ids)),
                (Err(error), _) | (_, Err(error)) => {
                    let what = format!("cannot be merged: {error}");
                    Err(DocumentsError::Row { room: whole_room, t: "all".into(), column: column(kind), what })
                }
            }
        };
        if size_bytes <= MERGE_INLINE_BYTES {
            return job();
        }
        let merged = self.compute.run(job).await;
        merged.map_err(|source| DocumentsError::Compute { room: room.clone(), source })?
    }
}

enum Origin {
    Row(String),
    Entry(StreamClock),
}

/// Merges updates; a single one is shared, not copied.
pub(crate) fn merge_shared(updates: &[Bytes]) -> Result<Bytes, yhub_content::UpdateError> {
    match updates {
        [one] => Ok(one.clone()),
        many => yhub_content::merge(many).map(Bytes::from),
    }
}
