//! Reading one room from both stores, in the order that misses nothing.

use bytes::Bytes;
use futures_util::{future::try_join_all, try_join};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use yhub_content::IdSet;
use yhub_core::{Asset, RoomId, StreamClock, StreamMessage};
use yhub_store::{
    Allowance, Asset4, AssetKind, AssetSelection, AssetStoreError, Brought, LogEntry, QuarantineId, ReadLimit, ReadPage,
    StreamLogError, Tombstone, VersionRow,
};

use crate::{Documents, DocumentsError, delete::objects::asset_id, long::MAX_SHORT_BYTES, turns::Turns};

/// One read of the stream brings at most so much.
pub(crate) const PAGE: ReadLimit = ReadLimit { entries: 4096, size_bytes: 16 << 20 };

/// A version row whose assets were read.
pub(crate) struct Row {
    pub(crate) t: String,
    pub(crate) clock: StreamClock,
    /// The payloads of the selected assets, in column order; empty columns are `None`.
    pub(crate) assets: Asset4<Option<Bytes>>,
    /// Who has them, where the column held a reference.
    pub(crate) plugins: Asset4<Option<String>>,
}

/// What both stores hold of a room. Every update that was ever accepted is in one of them.
pub(crate) struct RoomContent {
    pub(crate) entries: Vec<LogEntry>,
    /// Entries up to here have left the stream: the rows hold whatever of them changed the document.
    pub(crate) trimmed_upto: StreamClock,
    /// Oldest first.
    pub(crate) rows: Vec<Row>,
    pub(crate) tombstone: Option<Tombstone>,
    /// The names of the streams that were set aside.
    pub(crate) quarantined: Vec<QuarantineId>,
}

/// What was set aside.
#[derive(Default)]
pub(crate) struct SetAsideContent {
    pub(crate) entries: Vec<(QuarantineId, LogEntry)>,
    /// Was some of it named and not there? It was released meanwhile, or was never moved.
    pub(crate) is_incomplete: bool,
}

/// Why something is not at hand.
#[derive(Debug)]
pub(crate) enum Unread {
    /// There is more of it than was allowed. What was read of it is gone, and of the rest it is only known how long it is.
    TooLong,
    /// It cannot be read.
    Failed(DocumentsError),
}

impl From<DocumentsError> for Unread {
    fn from(error: DocumentsError) -> Self {
        Self::Failed(error)
    }
}

impl Unread {
    /// The same for somebody who was allowed to read all.
    pub(crate) fn of_all(self, room: &RoomId) -> DocumentsError {
        match self {
            Self::Failed(error) => error,
            Self::TooLong => DocumentsError::TooLarge { room: room.clone(), max_bytes: usize::MAX },
        }
    }
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

    /// What of its history is to be forgotten: all prunes of the stream, whatever their clocks. One whose row is stored is carried
    /// out again, which changes nothing.
    pub(crate) fn pruned(&self, room: &RoomId) -> Result<IdSet, DocumentsError> {
        let mut pruned = IdSet::default();
        for entry in &self.entries {
            if let Some(StreamMessage::Prune { prune }) = open_entry(room, entry)? {
                let ids = IdSet::from_bytes(&prune).map_err(|error| {
                    let what = format!("a prune whose ids cannot be read: {error}");
                    DocumentsError::Entry { room: room.clone(), clock: entry.clock, what }
                })?;
                pruned.insert_all(&ids);
            }
        }
        Ok(pruned)
    }

    /// How much of it there is to merge.
    pub(crate) fn size_bytes(&self) -> usize {
        let of_rows = self.rows.iter().flat_map(|row| &row.assets).flatten().map(Bytes::len).sum::<usize>();
        of_rows + self.fresh().filter_map(|entry| entry.message.as_ref()).map(Bytes::len).sum::<usize>()
    }

    /// The messages of the stream that are newer than every row.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &LogEntry> {
        let stored = self.stored();
        self.entries.iter().filter(move |entry| Some(entry.clock) > stored)
    }
}

impl Documents {
    /// Reads the rows to what was read of the stream before. Those made after `upto_ms` come without their assets.
    ///
    /// The order matters: an entry that is no longer in the stream when that is read was in a committed row before (I-2),
    /// so rows that are read afterwards hold it. Read the other way round, what moves in between is in neither.
    pub(crate) async fn read_rows(
        &self,
        room: &RoomId,
        stretch: Stretch,
        assets: AssetSelection,
        upto_ms: u64,
        allowance: &Allowance,
    ) -> Result<RoomContent, Unread> {
        let Stretch { entries, trimmed_upto } = stretch;
        let mut attempts = 0;
        loop {
            attempts += 1;
            // What an attempt before has brought is gone.
            let left = allowance.left();
            let of_rows = Allowance::of(left);
            let stored = self.store.read_within(room, assets, upto_ms, left).await;
            let stored = match stored.map_err(|source| DocumentsError::Store { room: room.clone(), source })? {
                Brought::Whole(stored) if of_rows.take(stored.size_bytes()) => stored,
                _ => return Err(Unread::TooLong),
            };
            let rows = if stored.tombstone.as_ref().is_some_and(|tombstone| tombstone.hard) {
                // Nobody looks into them any more, and what cannot be read must not stand in the way of their end.
                let clocks = stored.rows.into_iter().filter_map(|row| Some((row.t.parse().ok()?, row.t)));
                Ok(clocks.map(|(clock, t)| Row { t, clock, assets: Default::default(), plugins: Default::default() }).collect())
            } else {
                try_join_all(stored.rows.into_iter().map(|row| self.open_row(room, row, &of_rows))).await
            };
            match rows {
                Ok(rows) => {
                    // Nobody else has taken of it since.
                    allowance.take(left - of_rows.left());
                    let (tombstone, quarantined) = (stored.tombstone, stored.quarantined);
                    return Ok(RoomContent { entries, trimmed_upto, rows, tombstone, quarantined });
                }
                // Its row may have been replaced since it was read: then another one is there.
                Err(Unread::Failed(DocumentsError::Assets { source: AssetStoreError::Missing { .. }, .. }))
                    if attempts < READ_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a row, and what it refers to.
    async fn open_row(&self, room: &RoomId, row: VersionRow, allowance: &Allowance) -> Result<Row, Unread> {
        let wrong = |column, what: String| DocumentsError::Row { room: room.clone(), t: row.t.clone(), column, what };
        let clock = clock_of(room, &row)?;
        let open = async |kind: AssetKind| {
            let Some(bytes) = &row.assets[kind as usize] else { return Ok((None, None)) };
            let asset = Asset::decode(bytes).map_err(|error| wrong(column(kind), error.to_string()))?;
            let plugin = if let Asset::Retrievable { plugin } = &asset { Some(plugin.clone()) } else { None };
            let asset = self.assets.resolve(&asset_id(room, kind, &row.t), asset, allowance).await;
            let asset = match asset.map_err(|source| DocumentsError::Assets { room: room.clone(), source })? {
                Brought::Whole(asset) => asset,
                Brought::TooLong { .. } => return Err(Unread::TooLong),
            };
            let payload = match (kind, asset) {
                (AssetKind::GcDoc | AssetKind::NongcDoc, Asset::YDoc { update }) => update,
                (AssetKind::ContentMap, Asset::ContentMap { contentmap }) => contentmap,
                (AssetKind::ContentIds, Asset::ContentIds { contentids }) => contentids,
                _ => return Err(wrong(column(kind), "the column holds an asset of another kind".into()).into()),
            };
            Ok((Some(payload), plugin))
        };
        let [gc, nongc, map, ids] = AssetKind::ALL.map(open);
        let opened: [_; 4] = try_join!(gc, nongc, map, ids).map(|(gc, nongc, map, ids)| [gc, nongc, map, ids])?;
        let (mut assets, mut plugins) = (Asset4::default(), Asset4::default());
        for (at, (asset, plugin)) in opened.into_iter().enumerate() {
            (assets[at], plugins[at]) = (asset, plugin);
        }
        Ok(Row { t: row.t.clone(), clock, assets, plugins })
    }

    /// Reads all that a room holds, in turn: with one of `turns` what is short, and with a turn at a long document, for which the other
    /// is given back first, what is not. The turn is to be kept as long as anything of what was read is in use.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if as many wait as may, for the one or for the other, or it takes too long altogether.
    pub(crate) async fn read_everything(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        turns: &Turns,
    ) -> Result<(RoomContent, SetAsideContent, OwnedSemaphorePermit), DocumentsError> {
        let since = Instant::now();
        let turn = turns.take(room).await?;
        match self.read_everything_now(room, assets, MAX_SHORT_BYTES).await {
            Ok((content, set_aside)) => return Ok((content, set_aside, turn)),
            Err(Unread::Failed(error)) => return Err(error),
            Err(Unread::TooLong) => drop(turn),
        }
        let turn = turns.take_long(room, &self.long, since).await?;
        let (content, set_aside) =
            self.read_everything_now(room, assets, u64::MAX).await.map_err(|unread| unread.of_all(room))?;
        Ok((content, set_aside, turn))
    }

    /// All that a room holds at one time.
    ///
    /// A stream is on record before it is set aside, so one that was moved before the stream was read is named by the rows,
    /// which are read after it; and what is moved later was in the stream when that was read. What is set aside is read last.
    /// What was released by then is in the stream again, with new clocks: so the stream is read on. Only where somebody has
    /// compacted it by then, all is read again.
    async fn read_everything_now(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        max_bytes: u64,
    ) -> Result<(RoomContent, SetAsideContent), Unread> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let allowance = Allowance::of(max_bytes);
            let stretch = self.read_stream(room, StreamClock::ZERO, usize::MAX, &allowance).await?;
            let mut content = match self.read_rows(room, stretch, assets, u64::MAX, &allowance).await {
                // What cannot be read of a deleted room nobody misses; and what its rows refer to may be gone already.
                Err(Unread::Failed(DocumentsError::Row { .. } | DocumentsError::Assets { .. }))
                    if self.tombstone(room).await?.is_some() =>
                {
                    return Err(DocumentsError::Deleted { room: room.clone() }.into());
                }
                content => content?,
            };
            if content.quarantined.is_empty() {
                return Ok((content, SetAsideContent::default()));
            }
            let set_aside = self.read_set_aside(room, &content.quarantined, &allowance).await?;
            if !set_aside.is_incomplete {
                return Ok((content, set_aside));
            }
            let rest = self.read_stream(room, content.clock(), usize::MAX, &allowance).await?;
            // Or it was discarded, because the room is deleted for good since: then there is no document, and no part of it.
            content.tombstone = self.tombstone(room).await?.or(content.tombstone);
            let is_whole = rest.trimmed_upto <= content.clock();
            if is_whole {
                content.entries.extend(rest.entries);
            }
            // Not whole is right as well: the content says how far it reaches, and who follows it from there is told of a gap.
            if is_whole || attempts == READ_ATTEMPTS {
                return Ok((content, set_aside));
            }
        }
    }

    /// Reads the stream from somewhere, at most about `max_bytes` of it.
    pub(crate) async fn read_stream(
        &self,
        room: &RoomId,
        after: StreamClock,
        max_bytes: usize,
        allowance: &Allowance,
    ) -> Result<Stretch, Unread> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let (mut after, mut trimmed_upto, mut size_bytes) = (after, StreamClock::ZERO, 0);
        loop {
            let page = self.log.read(room, after, page_within(allowance)).await;
            let page = page.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
            size_bytes += allowed(&page, allowance)?;
            trimmed_upto = trimmed_upto.max(page.trimmed_upto);
            after = page.entries.last().map_or(after, |entry| entry.clock);
            let more = page.more && !page.entries.is_empty();
            entries.extend(page.entries);
            if !more || size_bytes >= max_bytes {
                return Ok(Stretch { entries, trimmed_upto });
            }
        }
    }

    /// Reads what was set aside. Where the log says that it cannot be read, the rest of that stream is left out and logged: that
    /// may be what it was set aside for.
    async fn read_set_aside(
        &self,
        room: &RoomId,
        ids: &[QuarantineId],
        allowance: &Allowance,
    ) -> Result<SetAsideContent, Unread> {
        let mut content = SetAsideContent::default();
        for id in ids {
            let mut after = StreamClock::ZERO;
            loop {
                let page = match self.log.read_quarantined(room, id, after, page_within(allowance)).await {
                    Ok(page) => page,
                    Err(error @ StreamLogError::Corrupt { .. }) => {
                        log::error!(room:% = room; "left out of the document: what was set aside of room {room} as {}: {error}", id.0);
                        break;
                    }
                    Err(source) => return Err(DocumentsError::Stream { room: room.clone(), source }.into()),
                };
                allowed(&page, allowance)?;
                let ReadPage { entries, more, .. } = page;
                // No stream without entries is set aside, and none is read on of which there is no more: it is gone.
                let Some(last) = entries.last() else {
                    content.is_incomplete = true;
                    break;
                };
                after = last.clock;
                content.entries.extend(entries.into_iter().map(|entry| (id.clone(), entry)));
                if !more {
                    break;
                }
            }
        }
        Ok(content)
    }

    /// Do the stores hold what was appended to `room` at `clock`: in the stream, set aside, or in a row? If not, the log has
    /// lost it, and who still has it in memory should append it again.
    ///
    /// Where something that was set aside is missing, the rows prove nothing, because they do not hold it: the answer is no,
    /// and what is appended again then is merged with what is there.
    pub async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, DocumentsError> {
        if clock == StreamClock::ZERO {
            // Nothing was ever appended there.
            return Ok(true);
        }
        let in_log = |source| DocumentsError::Stream { room: room.clone(), source };
        // The log first: what leaves it is in a row by then.
        if self.log.holds(room, clock).await.map_err(in_log)? {
            return Ok(true);
        }
        let stored = self.store.read(room, AssetSelection::NONE).await;
        let stored = stored.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        let one = ReadLimit { entries: 1, size_bytes: 1 };
        let mut is_missing = false;
        for id in &stored.quarantined {
            let after = before(clock);
            let page = self.log.read_quarantined(room, id, after, one).await.map_err(in_log)?;
            if page.entries.first().is_some_and(|entry| entry.clock == clock) {
                return Ok(true);
            }
            if page.entries.is_empty() {
                let first = self.log.read_quarantined(room, id, StreamClock::ZERO, one).await.map_err(in_log)?;
                is_missing |= first.entries.is_empty();
            }
        }
        let clocks = stored.rows.iter().map(|row| clock_of(room, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(!is_missing && clocks.into_iter().any(|row| row >= clock))
    }
}

/// A page that brings no more than is allowed; but one entry, however long.
fn page_within(allowance: &Allowance) -> ReadLimit {
    let left = usize::try_from(allowance.left()).unwrap_or(usize::MAX);
    ReadLimit { size_bytes: PAGE.size_bytes.min(left).max(1), ..PAGE }
}

/// How many bytes a page has brought, which are taken from what is allowed.
fn allowed(page: &ReadPage, allowance: &Allowance) -> Result<usize, Unread> {
    let size_bytes = page.entries.iter().map(|entry| entry.message.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    if allowance.take(size_bytes as u64) { Ok(size_bytes) } else { Err(Unread::TooLong) }
}

/// How often a room is read as long as others release and compact it meanwhile.
const READ_ATTEMPTS: u32 = 3;

/// A part of a stream, from somewhere to its end.
pub(crate) struct Stretch {
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) trimmed_upto: StreamClock,
}

/// The greatest clock below `clock`.
fn before(clock: StreamClock) -> StreamClock {
    match clock.seq.checked_sub(1) {
        Some(seq) => StreamClock::new(clock.ms, seq),
        None => clock.ms.checked_sub(1).map_or(StreamClock::ZERO, |ms| StreamClock::new(ms, u64::MAX)),
    }
}

/// Reads an entry of the stream.
pub(crate) fn open_entry(room: &RoomId, entry: &LogEntry) -> Result<Option<StreamMessage>, DocumentsError> {
    let Some(message) = &entry.message else { return Ok(None) };
    let message = StreamMessage::decode(message);
    message.map(Some).map_err(|error| DocumentsError::Entry { room: room.clone(), clock: entry.clock, what: error.to_string() })
}

/// The clock of a row.
pub(crate) fn clock_of(room: &RoomId, row: &VersionRow) -> Result<StreamClock, DocumentsError> {
    row.t.parse().map_err(|error| {
        let what = format!("{error}");
        DocumentsError::Row { room: room.clone(), t: row.t.clone(), column: "t", what }
    })
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

/// Something is wrong with an asset of a row.
pub(crate) fn row_error(room: &RoomId, row: &Row, kind: AssetKind, what: impl std::fmt::Display) -> DocumentsError {
    DocumentsError::Row { room: room.clone(), t: row.t.clone(), column: column(kind), what: what.to_string() }
}

/// An asset of a row that was read with it.
pub(crate) fn payload<'a>(room: &RoomId, row: &'a Row, kind: AssetKind) -> Result<&'a Bytes, DocumentsError> {
    row.assets[kind as usize].as_ref().ok_or_else(|| row_error(room, row, kind, "the column holds nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_whose_presence_was_trimmed_reaches_what_was_trimmed() {
        let row = Row { t: "5-0".into(), clock: StreamClock::new(5, 0), assets: Default::default(), plugins: Default::default() };
        let mut content = RoomContent {
            entries: Vec::new(),
            trimmed_upto: StreamClock::new(7, 3),
            rows: vec![row],
            tombstone: None,
            quarantined: Vec::new(),
        };
        assert_eq!(content.clock(), StreamClock::new(7, 3));
        content.entries.push(LogEntry { clock: StreamClock::new(9, 0), message: None });
        assert_eq!(content.clock(), StreamClock::new(9, 0));
    }
}
