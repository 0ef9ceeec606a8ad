//! Looking whether the stores still hold what a room has heard of. Policy is in `yhub_core::room`.

use yhub_core::{
    RoomId, StreamClock, StreamMessage,
    room::{Survivors, Verdict, compare, first_to_look_at},
};
use yhub_store::{AssetSelection, ReadLimit};

use crate::{Documents, DocumentsError};

/// One read of the stream brings at most so much.
const PAGE: ReadLimit = ReadLimit { entries: 1024, size_bytes: 1 << 20 };

impl Documents {
    /// Compares the log, and where that lacks something the rows, with the changes that a room has heard of: their clocks
    /// ascending. `upto` is where the room stands in its stream. Reads the lines since the first of them, and no document.
    pub async fn compare(&self, room: &RoomId, changes: &[StreamClock], upto: StreamClock) -> Result<Verdict, DocumentsError> {
        let _turn = self.loads.take(room).await?;
        let last = changes.last().copied().unwrap_or(upto).max(upto);
        let mut found = Survivors::default();
        let mut after = first_to_look_at(changes);
        loop {
            let page = self.log.read(room, after, PAGE).await;
            let page = page.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
            found.trimmed_upto = found.trimmed_upto.max(page.trimmed_upto);
            for entry in &page.entries {
                let message = entry.message.as_ref().map(StreamMessage::decode);
                let is_change = matches!(message, Some(Ok(StreamMessage::Update { .. } | StreamMessage::Prune { .. })));
                found.lines.push((entry.clock, is_change));
            }
            after = page.entries.last().map_or(after, |entry| entry.clock);
            if !page.more || page.entries.is_empty() || after >= last {
                break;
            }
        }
        let verdict = compare(changes, upto, &found);
        if verdict.held {
            return Ok(verdict);
        }
        // After the stream, so that what moves in between is in one of them.
        let stored = self.store.read(room, AssetSelection::NONE).await;
        let stored = stored.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        // A row whose key cannot be read vouches for nothing.
        found.rows = stored.rows.iter().filter_map(|row| row.t.parse().ok()).collect();
        Ok(compare(changes, upto, &found))
    }
}
