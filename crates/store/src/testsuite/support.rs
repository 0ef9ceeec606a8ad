//! What the cases share: short ways to call the traits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use yhub_core::{RoomId, StreamClock};

use super::StreamLogRig;
use crate::{Append, Completed, LiveRoom, LogEntry, QuarantineId, ReadLimit, StreamLog, Tail, TailEvent, Task, WorkerId};

/// Reads that stop at nothing.
pub(super) const NO_LIMIT: ReadLimit = ReadLimit { entries: 1_000_000, size_bytes: usize::MAX };

/// Names that break whatever pastes parts together, folds case, trims, or compares as something else than bytes.
pub(super) const ODD_PARTS: [&str; 18] = [
    "",
    " ",
    ".",
    "..",
    "a",
    "A",
    "a ",
    "a:b",
    "a%3Ab",
    "a/b",
    "%",
    "'\"`;--",
    "*?[a]",
    "é",
    "e\u{301}",
    "文档🦀",
    "\u{202e}\u{feff}",
    "\n\t\u{1}",
];

/// Room number `n`.
pub(super) fn room(n: usize) -> RoomId {
    RoomId::new("org", &format!("doc-{n}"), RoomId::MAIN)
}

/// Rooms of which any two differ in one part, or in where one part ends.
pub(super) fn odd_rooms() -> Vec<RoomId> {
    let mut rooms: Vec<RoomId> = Vec::new();
    for part in ODD_PARTS {
        rooms.extend([RoomId::new(part, "x", "x"), RoomId::new("x", part, "x"), RoomId::new("x", "x", part)]);
    }
    rooms.extend([RoomId::new("a:b", "c", ""), RoomId::new("a", "b:c", ""), RoomId::new("a", "b", "c")]);
    rooms.extend([RoomId::new("", "", ""), RoomId::new("x", "", ""), RoomId::new("", "x", ""), RoomId::new("", "", "x")]);
    rooms.sort();
    rooms.dedup();
    rooms
}

/// Appends texts to a room, with no floor.
pub(super) async fn append(log: &dyn StreamLog, room: &RoomId, texts: &[&str]) -> Vec<StreamClock> {
    append_above(log, room, texts, StreamClock::ZERO).await
}

/// Appends texts to a room above `floor`.
pub(super) async fn append_above(log: &dyn StreamLog, room: &RoomId, texts: &[&str], floor: StreamClock) -> Vec<StreamClock> {
    let messages = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    log.append(Append { room: room.clone(), messages, floor }).await.expect("append")
}

/// All entries of a room that are left.
pub(super) async fn entries(log: &dyn StreamLog, room: &RoomId) -> Vec<LogEntry> {
    let page = log.read(room, StreamClock::ZERO, NO_LIMIT).await.expect("read");
    assert!(!page.more, "more, without a limit");
    page.entries
}

/// The clocks of all entries of a room that are left.
pub(super) async fn clocks(log: &dyn StreamLog, room: &RoomId) -> Vec<StreamClock> {
    entries(log, room).await.iter().map(|entry| entry.clock).collect()
}

/// The messages as texts; `-` is a filler.
pub(super) fn texts(entries: &[LogEntry]) -> Vec<String> {
    let text =
        |entry: &LogEntry| entry.message.as_ref().map_or("-".to_owned(), |message| String::from_utf8_lossy(message).into_owned());
    entries.iter().map(text).collect()
}

/// Name number `n` of a stream that is set aside.
pub(super) fn qid(n: usize) -> QuarantineId {
    QuarantineId(format!("00000000-0000-4000-8000-{n:012}"))
}

/// All entries of a stream that was set aside.
pub(super) async fn set_aside(rig: &StreamLogRig, room: &RoomId, id: &QuarantineId) -> Vec<LogEntry> {
    let page = rig.log.read_quarantined(room, id, StreamClock::ZERO, NO_LIMIT).await.expect("read");
    assert!(!page.more, "more, without a limit");
    page.entries
}

/// A listing has this many parts at most: one that goes on for ever fails the case.
const MOST_PARTS: usize = 10_000;

/// All live rooms. What is listed again counts once, as it was listed last.
pub(super) async fn all_live(rig: &StreamLogRig) -> BTreeMap<RoomId, LiveRoom> {
    let (mut all, mut cursor) = (BTreeMap::new(), None::<String>);
    for _ in 0..MOST_PARTS {
        let page = rig.admin.live_rooms(cursor.as_deref(), 3).await.expect("list");
        all.extend(page.items.into_iter().map(|live| (live.room.clone(), live)));
        let Some(next) = page.next else { return all };
        cursor = Some(next);
    }
    panic!("a listing that does not end");
}

/// All streams that are set aside, of one room or of all, in order, each once: room, name, number of entries.
pub(super) async fn all_quarantined(rig: &StreamLogRig, room: Option<&RoomId>) -> Vec<(RoomId, QuarantineId, u64)> {
    let (mut all, mut cursor) = (BTreeSet::new(), None::<String>);
    for _ in 0..MOST_PARTS {
        let page = rig.admin.quarantined(room, cursor.as_deref(), 2).await.expect("list");
        all.extend(page.items.into_iter().map(|stream| (stream.room, stream.id, stream.entries)));
        let Some(next) = page.next else { return all.into_iter().collect() };
        cursor = Some(next);
    }
    panic!("a listing that does not end");
}

/// Puts the whole queue right: which rooms got a task, in order, and how many tasks were taken off.
pub(super) async fn reconcile_all(rig: &StreamLogRig) -> (Vec<RoomId>, u64) {
    let (mut enqueued, mut dropped, mut cursor) = (Vec::new(), 0, None::<String>);
    for _ in 0..MOST_PARTS {
        let part = rig.admin.reconcile(cursor.as_deref(), 3).await.expect("reconcile");
        enqueued.extend(part.enqueued);
        dropped += part.dropped;
        let Some(next) = part.next else {
            enqueued.sort();
            return (enqueued, dropped);
        };
        cursor = Some(next);
    }
    panic!("a reconciliation that does not end");
}

pub(super) async fn claim(rig: &StreamLogRig, worker: &WorkerId, debounce: u32, lease: u32) -> Vec<Task> {
    rig.log.claim(worker, 100, rig.ticks(debounce), rig.ticks(lease)).await.expect("claim")
}

pub(super) async fn renew(rig: &StreamLogRig, worker: &WorkerId, task: &Task) -> bool {
    let renewed = rig.log.renew(worker, std::slice::from_ref(task)).await.expect("renew");
    assert!(renewed.is_empty() || renewed == [task.id.clone()], "renewed {renewed:?}");
    !renewed.is_empty()
}

pub(super) fn worker(name: &str) -> WorkerId {
    WorkerId(name.to_owned())
}

impl StreamLogRig {
    pub(super) fn log(&self) -> &dyn StreamLog {
        self.log.as_ref()
    }

    /// So many ticks.
    pub(super) fn ticks(&self, ticks: u32) -> Duration {
        self.control.tick() * ticks
    }

    pub(super) async fn wait(&self, ticks: u32) {
        self.control.advance(self.ticks(ticks)).await;
    }

    /// Claims all that is pending, with a lease of 10 ticks.
    pub(super) async fn claim_all(&self, worker: &WorkerId) -> Vec<Task> {
        self.log.claim(worker, 1_000, Duration::ZERO, self.ticks(10)).await.expect("claim")
    }

    /// Claims the one task that must be pending.
    pub(super) async fn claim_one(&self, worker: &WorkerId) -> Task {
        let [task] = <[Task; 1]>::try_from(self.claim_all(worker).await).expect("one task is pending");
        task
    }

    /// Compacts away everything up to `upto`, however young.
    pub(super) async fn trim(&self, room: &RoomId, upto: StreamClock) -> Completed {
        let worker = worker("trimmer");
        let tasks = self.claim_all(&worker).await;
        let task = tasks.iter().find(|task| task.room == *room).expect("the room is live");
        for other in tasks.iter().filter(|task| task.room != *room) {
            self.log.give_back(&worker, other, Duration::ZERO).await.expect("give back");
        }
        // So that all are old, whatever the engine takes for a moment.
        self.wait(2).await;
        self.log.complete(&worker, task, upto, Duration::ZERO).await.expect("complete")
    }
}

/// The next event of a tail.
pub(super) async fn next(tail: &mut Tail) -> TailEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), tail.next()).await.expect("nothing arrives");
    event.expect("the tail ended").expect("the tail failed")
}

/// Takes from a tail until `count` entries of `room` have come, which must be exactly that many; those of other rooms
/// go to `other`.
pub(super) async fn take(tail: &mut Tail, room: &RoomId, count: usize, other: &mut Vec<(RoomId, LogEntry)>) -> Vec<LogEntry> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match next(tail).await {
            TailEvent::Entries { room: of, entries } if of == *room => taken.extend(entries.iter().cloned()),
            TailEvent::Entries { room: of, entries } => other.extend(entries.iter().map(|entry| (of.clone(), entry.clone()))),
            TailEvent::Gap { room } => panic!("a gap in {room}"),
            TailEvent::Suspect { room } => panic!("{room} is suspect"),
        }
    }
    assert_eq!(taken.len(), count, "more than there should be: {taken:?}");
    taken
}

/// Are the clocks strictly ascending?
pub(super) fn assert_ascending(clocks: &[StreamClock]) {
    for pair in clocks.windows(2) {
        assert!(pair[0] < pair[1], "{} stands before {}", pair[0], pair[1]);
    }
}
