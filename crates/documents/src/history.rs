//! Questions about the history of a room: who changed what, and when. Documents are read only where the answer needs them.

use bytes::Bytes;
use tokio::time::Instant;
use yhub_content::{
    ContentIds, ContentMap, EMPTY_UPDATE, UpdateError,
    history::{ActivityQuery, ChangesetQuery, activity, changeset},
};
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{AssetKind, AssetSelection, QuarantineId, StreamLogError};

use crate::{
    Documents, DocumentsError,
    load::{Change, Parts, changes, documents_of_rows},
    long::MAX_SHORT_BYTES,
    read::{PAGE, Row, clock_of, payload, row_error},
};

/// Something that was computed from a room, and what it was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf<T> {
    /// What was computed.
    pub value: T,
    /// The clock of the last change that it takes into account; [`StreamClock::ZERO`] if nobody has changed the room yet.
    pub changed: StreamClock,
    /// Everything up to this clock was looked at.
    pub clock: StreamClock,
}

/// What of a room a computation goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Who made what.
    Map,
    /// That, and the document with its history.
    History,
}

impl Documents {
    /// The clock of the last change of a room. Answers about the room at this clock stay right as long as it is the last. Reads no
    /// document, and keeps nothing of the stream.
    pub async fn changed(&self, room: &RoomId) -> Result<StreamClock, DocumentsError> {
        let _turn = self.loads.take(room).await?;
        // The stream first, as always: see `read_rows`.
        let in_stream = self.last_change_in(room, None).await;
        let in_stream = in_stream.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
        let stored = self.store.read(room, AssetSelection::NONE).await;
        let stored = stored.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        if stored.tombstone.is_some() {
            return Err(DocumentsError::Deleted { room: room.clone() });
        }
        let mut changed = in_stream;
        for row in &stored.rows {
            changed = changed.max(clock_of(room, row)?);
        }
        for id in &stored.quarantined {
            let aside = self.last_change_in(room, Some(id)).await;
            match aside {
                Ok(aside) => changed = changed.max(aside),
                // Left out of the document, too.
                Err(StreamLogError::Corrupt { .. }) => {}
                Err(source) => return Err(DocumentsError::Stream { room: room.clone(), source }),
            }
        }
        Ok(changed)
    }

    /// The clock of the last update or prune of the stream, or of one that was set aside.
    async fn last_change_in(&self, room: &RoomId, aside: Option<&QuarantineId>) -> Result<StreamClock, StreamLogError> {
        let (mut changed, mut after) = (StreamClock::ZERO, StreamClock::ZERO);
        loop {
            let page = match aside {
                Some(id) => self.log.read_quarantined(room, id, after, PAGE).await?,
                None => self.log.read(room, after, PAGE).await?,
            };
            for entry in &page.entries {
                let message = entry.message.as_ref().and_then(|message| StreamMessage::decode(message).ok());
                if let Some(StreamMessage::Update { .. } | StreamMessage::Prune { .. }) = message {
                    changed = entry.clock;
                }
            }
            match page.entries.last() {
                Some(last) if page.more => after = last.clock,
                _ => return Ok(changed),
            }
        }
    }

    /// Lists what happened to a room: the answer, any-encoded ([`yhub_content::history::Activity::to_any`]).
    pub async fn activity(&self, room: &RoomId, query: ActivityQuery) -> Result<AsOf<Bytes>, DocumentsError> {
        let needs = if query.delta || query.ydoc || query.attributions { Needs::History } else { Needs::Map };
        self.with_history(room, needs, move |history, map| Ok(activity(history, map, &query)?.to_any().to_bytes().into())).await
    }

    /// What changed in a room between two times: the answer, any-encoded ([`yhub_content::history::Changeset::to_any`]).
    pub async fn changeset(&self, room: &RoomId, query: ChangesetQuery) -> Result<AsOf<Bytes>, DocumentsError> {
        let needs = if query.delta || query.ydoc { Needs::History } else { Needs::Map };
        self.with_history(room, needs, move |history, map| Ok(changeset(history, map, &query)?.to_any().to_bytes().into())).await
    }

    /// Computes `work` on the compute pool, from a document of `size_bytes` that is at hand: in turn, as histories are. The turn is given
    /// back when the work is done, also where nobody waits for that any more.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        room: &RoomId,
        size_bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DocumentsError> {
        let turn = if size_bytes as u64 <= MAX_SHORT_BYTES {
            self.histories.take(room).await?
        } else {
            self.histories.take_long(room, &self.long, Instant::now()).await?
        };
        let job = move || {
            let _turn = turn;
            work()
        };
        let value = self.compute.run_sized(size_bytes, job).await;
        value.map_err(|source| DocumentsError::Compute { room: room.clone(), source })
    }

    /// Computes `work` on the compute pool, from the document with its history, empty where that is not needed, and the map of who
    /// made what.
    pub(crate) async fn with_history<T: Send + 'static>(
        &self,
        room: &RoomId,
        needs: Needs,
        work: impl FnOnce(&[u8], &ContentMap) -> Result<T, UpdateError> + Send + 'static,
    ) -> Result<AsOf<T>, DocumentsError> {
        let selection = match needs {
            Needs::Map => AssetSelection::of(&[AssetKind::ContentMap, AssetKind::ContentIds]),
            Needs::History => AssetSelection::of(&[AssetKind::NongcDoc, AssetKind::ContentMap, AssetKind::ContentIds]),
        };
        let (content, set_aside, turn) = self.read_everything(room, selection, &self.histories).await?;
        if content.tombstone.is_some() {
            return Err(DocumentsError::Deleted { room: room.clone() });
        }
        let changes = changes(room, &content, &set_aside);
        let (changed, clock) = (changes.changed, content.clock());
        let aside = changes.updates.iter().map(|change| change.contentmap.len() + change.update.len()).sum::<usize>();
        // What is made of a history may take long, however short it is.
        let size = if needs == Needs::History { usize::MAX } else { aside.saturating_add(content.size_bytes()) };
        let rows = match needs {
            Needs::Map => Vec::new(),
            Needs::History => documents_of_rows(room, &content, AssetKind::NongcDoc)?,
        };
        let (limits, whole_room) = (self.stored_limits(), room.clone());
        let job = move || {
            // Given back when it is done, also where nobody waits for that any more.
            let _turn = turn;
            let room = whole_room;
            let map = attributions(&room, &content.rows, &changes.updates)?
                .difference(&ContentIds { inserts: changes.pruned.clone(), deletes: changes.pruned.clone() });
            let history = match needs {
                Needs::Map => Bytes::from_static(EMPTY_UPDATE),
                Needs::History => {
                    let entries = changes.updates.into_iter().map(|Change { origin, update, .. }| (origin, update)).collect();
                    let kind = AssetKind::NongcDoc;
                    Parts { room: room.clone(), kind, rows, entries, pruned: changes.pruned }.merge(&limits)?.0
                }
            };
            work(&history, &map).map_err(|source| DocumentsError::History { room, source })
        };
        let value = self.compute.run_sized(size, job).await;
        let value = value.map_err(|source| DocumentsError::Compute { room: room.clone(), source })??;
        Ok(AsOf { value, changed, clock })
    }
}

/// Who made what, as a compaction would store it: of content that came twice, whoever brought it first (I-6). Where a map of the
/// stream cannot be read, its change is nobody's, and that is logged.
fn attributions(room: &RoomId, rows: &[Row], updates: &[Change]) -> Result<ContentMap, DocumentsError> {
    let (mut known, mut maps) = (ContentIds::default(), Vec::with_capacity(rows.len() + updates.len()));
    for row in rows {
        let ids = payload(room, row, AssetKind::ContentIds)?;
        known.insert_all(&ContentIds::from_bytes(ids).map_err(|error| row_error(room, row, AssetKind::ContentIds, error))?);
        let map = payload(room, row, AssetKind::ContentMap)?;
        maps.push(ContentMap::from_bytes(map).map_err(|error| row_error(room, row, AssetKind::ContentMap, error))?);
    }
    for Change { origin, contentmap, .. } in updates {
        match ContentMap::from_bytes(contentmap) {
            Ok(map) => {
                let fresh = map.difference(&known);
                known.insert_all(&fresh.to_ids());
                maps.push(fresh);
            }
            Err(error) => log::error!(room:% = room; "left out of the history of room {room}: {origin}: contentmap: {error}"),
        }
    }
    Ok(ContentMap::union(&maps))
}
