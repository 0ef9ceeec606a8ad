//! Reading one room from both stores, in the order that misses nothing.

use bytes::Bytes;
use yhub_core::{Asset, RoomId, StreamClock, StreamMessage};
use yhub_store::{AssetKind, AssetSelection, LogEntry, ReadLimit, Tombstone, VersionRow};

use crate::{Documents, DocumentsError};

/// One read of the stream brings at most so much.
const PAGE: ReadLimit = ReadLimit { entries: 4096, size_bytes: 16 << 20 };

/// A version row whose assets were read.
pub(crate) struct Row {
    pub(crate) t: String,
    pub(crate) clock: StreamClock,
    /// The payloads of the selected assets, in column order; empty columns are `None`.
    pub(crate) assets: [Option<Bytes>; 4],
}

/// What both stores hold of a room. Every update that was ever accepted is in one of them.
pub(crate) struct RoomContent {
    pub(crate) entries: Vec<LogEntry>,
    /// Entries up to here have left the stream: the rows hold whatever of them changed the document.
    pub(crate) trimmed_upto: StreamClock,
    /// Oldest first.
    pub(crate) rows: Vec<Row>,
    pub(crate) tombstone: Option<Tombstone>,
}

impl RoomContent {
    /// The highest clock among the rows.
    pub(crate) fn stored(&self) -> Option<StreamClock> {
        self.rows.iter().map(|row| row.clock).max()
    }

    /// The clock that this content reaches: whatever is newer is in neither. Presence is trimmed and never stored, so what
    /// was trimmed counts too: whoever follows the stream from an earlier clock is told that lines are missing.
    pub(crate) fn clock(&self) -> StreamClock {
        let last = self.entries.last().map_or(StreamClock::ZERO, |entry| entry.clock);
        last.max(self.trimmed_upto).max(self.stored().unwrap_or(StreamClock::ZERO))
    }

    /// The messages of the stream that are newer than every row.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &LogEntry> {
        let stored = self.stored();
        self.entries.iter().filter(move |entry| Some(entry.clock) > stored)
    }
}

impl Documents {
    /// Reads the stream, at most about `max_bytes` of it, and then the rows.
    ///
    /// The order matters: an entry that is no longer in the stream when that is read was in a committed row before (I-2),
    /// so rows that are read afterwards hold it. Read the other way round, what moves in between is in neither.
    pub(crate) async fn read_content(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        max_bytes: usize,
    ) -> Result<RoomContent, DocumentsError> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let (mut after, mut trimmed_upto, mut size_bytes) = (StreamClock::ZERO, StreamClock::ZERO, 0);
        loop {
            let page = self.log.read(room, after, PAGE).await;
            let page = page.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
            size_bytes += page.entries.iter().map(|e| e.message.as_ref().map_or(0, Bytes::len)).sum::<usize>();
            trimmed_upto = trimmed_upto.max(page.trimmed_upto);
            after = page.entries.last().map_or(after, |entry| entry.clock);
            let more = page.more && !page.entries.is_empty();
            entries.extend(page.entries);
            if !more || size_bytes >= max_bytes {
                break;
            }
        }
        let stored = self.store.read(room, assets).await;
        let stored = stored.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        let rows = stored.rows.into_iter().map(|row| open_row(room, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(RoomContent { entries, trimmed_upto, rows, tombstone: stored.tombstone })
    }
}

/// Reads an entry of the stream.
pub(crate) fn open_entry(room: &RoomId, entry: &LogEntry) -> Result<Option<StreamMessage>, DocumentsError> {
    let Some(message) = &entry.message else { return Ok(None) };
    let message = StreamMessage::decode(message);
    message.map(Some).map_err(|error| DocumentsError::Entry { room: room.clone(), clock: entry.clock, what: error.to_string() })
}

pub(crate) fn open_row(room: &RoomId, row: VersionRow) -> Result<Row, DocumentsError> {
    let wrong = |column, what: String| DocumentsError::Row { room: room.clone(), t: row.t.clone(), column, what };
    let clock = row.t.parse().map_err(|error| wrong("t", format!("{error}")))?;
    let mut assets = [None, None, None, None];
    for kind in AssetKind::ALL {
        let column = column(kind);
        let Some(bytes) = &row.assets[kind as usize] else { continue };
        let asset = Asset::decode(bytes).map_err(|error| wrong(column, error.to_string()))?;
        assets[kind as usize] = Some(match (kind, asset) {
            (AssetKind::GcDoc | AssetKind::NongcDoc, Asset::YDoc { update }) => update,
            (AssetKind::ContentMap, Asset::ContentMap { contentmap }) => contentmap,
            (AssetKind::ContentIds, Asset::ContentIds { contentids }) => contentids,
            (_, Asset::Retrievable { plugin }) => {
                return Err(wrong(column, format!("the asset is kept by the plugin {plugin:?}, which this hub does not have")));
            }
            _ => return Err(wrong(column, "the column holds an asset of another kind".into())),
        });
    }
    Ok(Row { t: row.t, clock, assets })
}

/// The name of the column that holds this asset.
pub(crate) fn column(kind: AssetKind) -> &'static str {
    match kind {
        AssetKind::GcDoc => "gcdoc",
        AssetKind::NongcDoc => "nongcdoc",
        AssetKind::ContentMap => "contentmap",
        AssetKind::ContentIds => "contentids",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_whose_presence_was_trimmed_reaches_what_was_trimmed() {
        let row = Row { t: "5-0".into(), clock: StreamClock::new(5, 0), assets: Default::default() };
        let mut content =
            RoomContent { entries: Vec::new(), trimmed_upto: StreamClock::new(7, 3), rows: vec![row], tombstone: None };
        assert_eq!(content.clock(), StreamClock::new(7, 3));
        content.entries.push(LogEntry { clock: StreamClock::new(9, 0), message: None });
        assert_eq!(content.clock(), StreamClock::new(9, 0));
    }
}
