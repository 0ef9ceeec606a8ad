//! Compaction: folding a room's stream into a version row, then trimming the stream.
//!
//! Every step may run twice, at the same time as another, or be the last (I-7). What is trimmed is in a committed row
//! (I-2); the first writer of an id keeps its attribution (I-6).

use std::{panic::AssertUnwindSafe, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::try_join_all};
use tokio::sync::OwnedSemaphorePermit;
use yhub_content::{self as content, ContentIds, ContentMap, UpdateError};
use yhub_core::{Asset, AssetId, Plan, RoomId, RoomState, StreamClock, StreamMessage};
use yhub_store::{
    Allowance, Asset4, AssetKind, AssetSelection, Column, Completed, LogEntry, StoreOutcome, StoreVersion, Task, TaskEpoch,
    WorkerId,
};

use crate::{
    CompactionFailed, Documents, DocumentsError,
    delete::{is_content, is_tombstone, objects::asset_id},
    load::{merge_shared, without},
    long::MAX_SHORT_BYTES,
    read::{RoomContent, Row, Unread, column, open_entry, payload, row_error},
};

/// A point at which tests make a compaction fail.
macro_rules! fail_point {
    ($name:literal, $task:expr) => {
        fail::fail_point!($name, |how: Option<String>| Err(crate::asked_for(&$task.room, how.as_deref())))
    };
}

/// One compaction folds at most about so much of the stream; the rest goes with the next.
const MAX_FOLD_BYTES: usize = 64 << 20;

/// A compaction that is not to wait for other long documents is tried again after so long.
const POSTPONED: Duration = Duration::from_secs(5);

/// What is folded, and the turn that it takes, if it takes one.
struct InHand {
    content: RoomContent,
    turn: Option<OwnedSemaphorePermit>,
}

/// How a compaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// A row was stored.
    Stored {
        /// The row's clock.
        upto: StreamClock,
        /// How many entries left the stream.
        trimmed: u64,
    },
    /// There was nothing to store.
    Trimmed {
        /// How many entries left the stream.
        trimmed: u64,
    },
    /// The task was somebody else's before it was done; what was stored is right all the same.
    Lost,
    /// The task was ours, but the document store has seen a later claim: the log had lost its epochs. It knows better now, and
    /// the task was given back, to be claimed anew at once.
    GivenBack {
        /// The epoch under which somebody has stored.
        above: TaskEpoch,
    },
    /// The document is long, and as many long ones are folded and wait for it as may: the task was given back, to be claimed again in a
    /// few seconds.
    Postponed,
}

impl Documents {
    /// Does one claimed task: reads, folds, stores, trims. A panic becomes an error.
    pub async fn compact(&self, worker: &WorkerId, task: &Task, min_lifetime: Duration) -> Result<Compacted, CompactionFailed> {
        let mut extent = (StreamClock::ZERO, StreamClock::ZERO);
        // What it had in hand is dropped with it, so nothing half-changed is seen again.
        let compacted = AssertUnwindSafe(self.compact_once(worker, task, min_lifetime, &mut extent)).catch_unwind().await;
        let compacted = compacted.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            Err(DocumentsError::Panicked { room: task.room.clone(), what: said.unwrap_or_else(|| "it said nothing".into()) })
        });
        compacted.map_err(|error| CompactionFailed { error, from: extent.0, upto: extent.1 })
    }

    async fn compact_once(
        &self,
        worker: &WorkerId,
        task: &Task,
        min_lifetime: Duration,
        extent: &mut (StreamClock, StreamClock),
    ) -> Result<Compacted, DocumentsError> {
        fail_point!("compact::claimed", task);
        let room = &task.room;
        let short = Allowance::of(MAX_SHORT_BYTES);
        let (content, last_change, turns) = match self.read_for_fold(room, extent, &short).await {
            Ok((content, last_change)) => (content, last_change, None),
            Err(Unread::Failed(error)) => return Err(error),
            Err(Unread::TooLong) => {
                let Some(place) = self.long.fold().await else { return self.postpone(worker, task).await };
                // Each waits as long as its lease is renewed.
                let turn = self.long.turn().await;
                let read = self.read_for_fold(room, extent, &Allowance::unlimited()).await;
                let (content, last_change) = read.map_err(|unread| unread.of_all(room))?;
                (content, last_change, Some((turn, place)))
            }
        };
        fail_point!("compact::read", task);
        self.announce_again(room, &content).await?;
        // The turn is given back when the content is merged, the place when that is stored.
        let (turn, _place) = turns.unzip();
        let hard_deleted = content.tombstone.as_ref().is_some_and(|tombstone| tombstone.hard);
        let state = RoomState {
            stored: content.stored(),
            hard_deleted,
            // What a room deleted for good still holds is not looked into: nothing in it may stand in the way of its end.
            last_change: if hard_deleted { None } else { last_change? },
            last_entry: content.entries.last().map(|entry| entry.clock),
        };
        match state.plan() {
            Plan::TrimOnly { upto } => {
                let min_lifetime = if hard_deleted { Duration::ZERO } else { min_lifetime };
                self.complete(worker, task, upto, min_lifetime, |trimmed| Compacted::Trimmed { trimmed }).await
            }
            Plan::Fold { upto } => self.fold_into_row(worker, task, InHand { content, turn }, upto, min_lifetime).await,
        }
    }

    /// What a compaction reads, and the clock of the last change in the stream. Where that cannot be told, that matters only if the
    /// room still is.
    async fn read_for_fold(
        &self,
        room: &RoomId,
        extent: &mut (StreamClock, StreamClock),
        allowance: &Allowance,
    ) -> Result<(RoomContent, Result<Option<StreamClock>, DocumentsError>), Unread> {
        // The stream first, as always: see `read_rows`.
        let stretch = self.read_stream(room, StreamClock::ZERO, MAX_FOLD_BYTES, allowance).await?;
        if let (Some(first), Some(last)) = (stretch.entries.first(), stretch.entries.last()) {
            *extent = (first.clock, last.clock);
        }
        let last_change = last_change(room, &stretch.entries);
        let content = match last_change {
            // Rows that reach beyond it hold it: then there is nothing to fold, and their documents stay where they are.
            Ok(Some(change)) => self.read_rows(room, stretch, AssetSelection::ALL, change.ms, allowance).await?,
            Ok(None) | Err(_) => self.read_rows(room, stretch, AssetSelection::NONE, 0, allowance).await?,
        };
        Ok((content, last_change))
    }

    async fn fold_into_row(
        &self,
        worker: &WorkerId,
        task: &Task,
        InHand { content, turn }: InHand,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Compacted, DocumentsError> {
        let room = &task.room;
        let replaces = content.rows.iter().map(|row| row.t.clone()).collect();
        let replaced = referred_to(room, &content.rows, upto);
        let (limits, whole_room) = (self.stored_limits(), room.clone());
        let size = content.size_bytes();
        let job = move || {
            // Given back when it is done, also where nobody waits for that any more.
            let _turn = turn;
            new_assets(&whole_room, content, &limits)
        };
        let assets = self.compute.run_sized(size, job).await;
        let assets = assets.map_err(|source| DocumentsError::Compute { room: room.clone(), source })??;
        fail_point!("compact::merged", task);
        // Before the row: whoever dies in between leaves an object that nothing refers to. The other order leaves a row that refers
        // to nothing (I-4).
        let (columns, is_reference) = self.store_assets(room, upto, assets).await?;
        fail_point!("compact::placed", task);
        let version =
            StoreVersion { room: room.clone(), clock: upto, assets: columns.clone(), is_reference, replaces, epoch: task.epoch };
        let outcome = self.store.store(version).await;
        let outcome = outcome.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        fail_point!("compact::stored", task);
        match outcome {
            StoreOutcome::Superseded { by } => self.superseded(worker, task, by).await,
            StoreOutcome::HardDeleted => {
                // A purge may have looked for objects before ours came. Where a later claim has stored instead, ours stay: they
                // may be called what its own are called, and the janitor tells them apart.
                self.take_back_objects(room, upto, &columns, is_reference).await;
                fail_point!("compact::refused", task);
                self.complete(worker, task, upto, Duration::ZERO, |trimmed| Compacted::Trimmed { trimmed }).await
            }
            StoreOutcome::Stored | StoreOutcome::AlreadyThere => {
                self.assets.discard(replaced).await;
                self.complete(worker, task, upto, min_lifetime, |trimmed| Compacted::Stored { upto, trimmed }).await
            }
        }
    }

    /// Puts the assets of the row `upto` where they belong: what its columns are to hold, and which of them are references.
    async fn store_assets(
        &self,
        room: &RoomId,
        upto: StreamClock,
        assets: Asset4<Bytes>,
    ) -> Result<(Asset4<Bytes>, Asset4<bool>), DocumentsError> {
        if self.assets.is_empty() {
            return Ok((assets, [false; 4]));
        }
        let t = upto.to_string();
        let ids = AssetKind::ALL.map(|kind| asset_id(room, kind, &t));
        let stored = try_join_all(ids.iter().zip(assets).map(|(id, asset)| self.assets.store(id, asset))).await;
        let stored = stored.map_err(|source| DocumentsError::Assets { room: room.clone(), source })?;
        let columns: [Column; 4] = stored.try_into().expect("one for each asset");
        let is_reference = columns.each_ref().map(|column| column.is_reference);
        Ok((columns.map(|column| column.bytes), is_reference))
    }

    /// Gives the task back, to be claimed again when others may be done.
    async fn postpone(&self, worker: &WorkerId, task: &Task) -> Result<Compacted, DocumentsError> {
        let given_back = self.log.give_back(worker, task, POSTPONED).await;
        given_back.map_err(|source| DocumentsError::Stream { room: task.room.clone(), source })?;
        Ok(Compacted::Postponed)
    }

    /// Whoever deleted the room may have died before they told anybody, and whoever writes here may not have heard it: they are
    /// told again. What they wrote is not in the stream for ever, so this ends.
    async fn announce_again(&self, room: &RoomId, content: &RoomContent) -> Result<(), DocumentsError> {
        let is_told = |entry: &LogEntry| entry.message.as_ref().is_some_and(is_tombstone);
        if content.tombstone.is_some() && content.entries.iter().any(is_content) && !content.entries.iter().any(is_told) {
            self.announce(room).await?;
        }
        Ok(())
    }

    /// The store has seen a later claim. Either another worker has the task, or the log gave us an epoch of long ago: one that
    /// has lost its epochs begins anew, and all its claims would be refused for ever.
    async fn superseded(&self, worker: &WorkerId, task: &Task, by: TaskEpoch) -> Result<Compacted, DocumentsError> {
        let in_log = |source| DocumentsError::Stream { room: task.room.clone(), source };
        let ours = self.log.renew(worker, std::slice::from_ref(task)).await.map_err(in_log)?;
        if !ours.contains(&task.id) {
            return Ok(Compacted::Lost);
        }
        self.log.raise_epoch(&task.room, by).await.map_err(in_log)?;
        self.log.give_back(worker, task, Duration::ZERO).await.map_err(in_log)?;
        Ok(Compacted::GivenBack { above: by })
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
        done: impl FnOnce(u64) -> Compacted,
    ) -> Result<Compacted, DocumentsError> {
        let completed = self.log.complete(worker, task, upto, min_lifetime).await;
        fail_point!("compact::completed", task);
        match completed {
            Ok(Completed::Done { trimmed, .. }) => Ok(done(trimmed)),
            Ok(Completed::NotOwner) => Ok(Compacted::Lost),
            Err(source) => Err(DocumentsError::Stream { room: task.room.clone(), source }),
        }
    }
}

/// What rows refer to that the row `upto` replaces: to be deleted once it is there.
fn referred_to(room: &RoomId, rows: &[Row], upto: StreamClock) -> Vec<(AssetId, String)> {
    let t = upto.to_string();
    let of_row = |row: &Row| {
        let plugins = AssetKind::ALL.map(|kind| Some((asset_id(room, kind, &row.t), row.plugins[kind as usize].clone()?)));
        plugins.into_iter().flatten().collect::<Vec<_>>()
    };
    // One of the same key is not replaced, and what it refers to has the same names.
    rows.iter().filter(|row| row.t != t).flat_map(of_row).collect()
}

/// The clock of the last entry that changes the document. Presence does not.
fn last_change(room: &RoomId, entries: &[LogEntry]) -> Result<Option<StreamClock>, DocumentsError> {
    let mut last = None;
    for entry in entries {
        if let Some(StreamMessage::Update { .. } | StreamMessage::Prune { .. }) = open_entry(room, entry)? {
            last = Some(entry.clock);
        }
    }
    Ok(last)
}

/// The four assets of the row that holds these rows and everything newer in the stream. Documents are let go of as soon as they are
/// merged: of a long one each copy counts.
fn new_assets(room: &RoomId, mut content: RoomContent, limits: &content::Limits) -> Result<[Bytes; 4], DocumentsError> {
    let mut known = ContentIds::default();
    let mut maps = Vec::new();
    let (mut gc_docs, mut nongc_docs) = (Vec::new(), Vec::new());
    for row in &mut content.rows {
        gc_docs.push(checked_document(room, row, AssetKind::GcDoc, limits)?);
        nongc_docs.push(checked_document(room, row, AssetKind::NongcDoc, limits)?);
        let ids = payload(room, row, AssetKind::ContentIds)?;
        known.insert_all(&ContentIds::from_bytes(ids).map_err(|error| row_error(room, row, AssetKind::ContentIds, error))?);
        let map = payload(room, row, AssetKind::ContentMap)?;
        maps.push(ContentMap::from_bytes(map).map_err(|error| row_error(room, row, AssetKind::ContentMap, error))?);
    }
    for entry in content.fresh() {
        let wrong = |what: String| DocumentsError::Entry { room: room.clone(), clock: entry.clock, what };
        let Some(StreamMessage::Update { update, contentmap }) = open_entry(room, entry)? else { continue };
        content::check_update(&update, limits).map_err(|error| wrong(error.to_string()))?;
        let map = ContentMap::from_bytes(&contentmap).map_err(|error| wrong(format!("contentmap: {error}")))?;
        // I-6: only what nobody held before is attributed to this writer.
        let fresh = map.difference(&known);
        known.insert_all(&fresh.to_ids());
        maps.push(fresh);
        gc_docs.push(update.clone());
        nongc_docs.push(update);
    }
    let pruned = content.pruned(room)?;
    let rows = content.rows.len();
    let cannot = |what: UpdateError| match merge_shared(&nongc_docs[..rows]) {
        Err(what) if rows > 0 => DocumentsError::Row {
            room: room.clone(),
            t: "all".into(),
            column: column(AssetKind::NongcDoc),
            what: format!("cannot be merged: {what}"),
        },
        _ => DocumentsError::Merge { room: room.clone(), upto: content.clock(), what: what.to_string() },
    };
    let gc = match yhub_content::gc_merge(&gc_docs) {
        Ok(gc) => Bytes::from(gc),
        // Made to be costly, or edited at one place by very many at once: right all the same with its deleted content, and
        // the next compaction tries again.
        Err(UpdateError::TooManySteps) => {
            log::warn!(room:% = room; "the deleted content of room {room} stays in its document: removing it takes too long");
            merge_shared(&gc_docs).map_err(cannot)?
        }
        Err(error) => return Err(cannot(error)),
    };
    drop(gc_docs);
    let gc = Asset::YDoc { update: gc }.encode();
    let nongc = without(merge_shared(&nongc_docs).map_err(cannot)?, &pruned).map_err(cannot)?;
    drop(nongc_docs);
    let pruned = ContentIds { inserts: pruned.clone(), deletes: pruned };
    let contentmap = Bytes::from(ContentMap::union(&maps).difference(&pruned).to_bytes());
    let contentids = Bytes::from(known.difference(&pruned).to_bytes());
    Ok([
        gc,
        Asset::YDoc { update: nongc }.encode(),
        Asset::ContentMap { contentmap }.encode(),
        Asset::ContentIds { contentids }.encode(),
    ])
}

/// A document of a row, taken out of it.
fn checked_document(room: &RoomId, row: &mut Row, kind: AssetKind, limits: &content::Limits) -> Result<Bytes, DocumentsError> {
    let update = payload(room, row, kind)?;
    content::check_update(update, limits).map_err(|error| row_error(room, row, kind, error))?;
    Ok(row.assets[kind as usize].take().expect("it was there just now"))
}
