//! What commands share that look into the storage of a hub: how it is opened, and how long listings are read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use yhub::{Config, Stores};
use yhub_core::RoomId;
use yhub_store::{LiveRoom, Page, QuarantineId, QuarantineRecord, QuarantinedStream, RoomFailure};

use super::Options;

/// What the log is asked for at a time.
const SCAN: usize = 1_000;
/// The same of rooms in the document store.
const ROOMS: usize = 200;

/// Opens the storage that the configuration names, and does `work` with it.
pub(super) fn with_stores(options: Options, work: impl AsyncFnOnce(Stores, &Config) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let config = options.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start the threads of this command")?.block_on(async {
        let stores = Stores::open_for_operator(&config).await?;
        work(stores, &config).await
    })
}

/// At most `limit` live rooms that `wanted` picks, and whether there are more.
pub(super) async fn live_rooms(
    stores: &Stores,
    wanted: impl Fn(&RoomId) -> bool,
    limit: usize,
) -> anyhow::Result<(Vec<LiveRoom>, bool)> {
    let (mut rooms, mut listed, mut cursor) = (Vec::new(), BTreeSet::new(), None);
    loop {
        let page = stores.admin.live_rooms(cursor.as_deref(), SCAN).await?;
        for live in page.items {
            // While others write, a room may be listed again.
            if !wanted(&live.room) || listed.contains(&live.room) {
                continue;
            }
            if rooms.len() == limit {
                return Ok((rooms, true));
            }
            listed.insert(live.room.clone());
            rooms.push(live);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok((rooms, false)),
        }
    }
}

/// A stream that is set aside, or a record that says so; usually both.
#[derive(Debug, Default)]
pub(super) struct Quarantined {
    pub(super) record: Option<QuarantineRecord>,
    pub(super) stream: Option<QuarantinedStream>,
}

/// All of them, of `room` or of every room. There are few: each wants somebody to look at it.
pub(super) async fn quarantined(
    stores: &Stores,
    room: Option<&RoomId>,
) -> anyhow::Result<BTreeMap<(RoomId, QuarantineId), Quarantined>> {
    let mut found: BTreeMap<_, Quarantined> = BTreeMap::new();
    // Records first: who is set aside gets its record before its stream, so a stream without one was found without one.
    let mut after: Option<RoomId> = None;
    loop {
        let records = stores.failures.quarantines(Page { after: after.as_ref(), max: ROOMS }).await?;
        let Some(last) = records.last() else { break };
        after = Some(last.room.clone());
        for record in records.into_iter().filter(|record| room.is_none_or(|room| *room == record.room)) {
            let name = (record.room.clone(), record.id.clone());
            found.entry(name).or_default().record = Some(record);
        }
    }
    let mut cursor = None;
    loop {
        let page = stores.admin.quarantined(room, cursor.as_deref(), SCAN).await?;
        for stream in page.items {
            let name = (stream.room.clone(), stream.id.clone());
            found.entry(name).or_default().stream = Some(stream);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(found),
        }
    }
}

/// At most `limit` rooms that fail now, and whether there are more.
pub(super) async fn failures(stores: &Stores, limit: usize) -> anyhow::Result<(Vec<RoomFailure>, bool)> {
    let mut failures: Vec<RoomFailure> = Vec::new();
    loop {
        let after = failures.last().map(|failure| &failure.report.room);
        let page = stores.failures.failures(Page { after, max: ROOMS }).await?;
        if page.is_empty() {
            return Ok((failures, false));
        }
        failures.extend(page);
        if failures.len() > limit {
            failures.truncate(limit);
            return Ok((failures, true));
        }
    }
}
