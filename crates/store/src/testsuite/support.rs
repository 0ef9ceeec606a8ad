//! What the cases share: short ways to call the traits.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use yhub_core::{RoomId, StreamClock};

use super::StreamLogRig;
use crate::{Append, Completed, LogEntry, ReadLimit, StreamLog, Tail, TailEvent, Task, WorkerId};

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
            self.log.give_back(&worker, other).await.expect("give back");
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
