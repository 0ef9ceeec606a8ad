//! The short-lived log of each room, with the queue of rooms to compact.
//!
//! Appending an entry and enqueuing the room's compaction is one atomic step, so log and queue are one trait.

use std::{pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use yhub_core::{RoomId, StreamClock};

use crate::StreamLogError;

/// One line of a room's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub clock: StreamClock,
    /// The any-encoded message; `None` is a filler, which has a position and says nothing.
    pub message: Option<Bytes>,
}

/// What to append to one room.
#[derive(Clone, Debug)]
pub struct Append {
    /// The room.
    pub room: RoomId,
    /// Any-encoded messages, in the order in which they are to stand. Must not be empty.
    pub messages: Vec<Bytes>,
    /// The highest clock that the caller knows of this room: every new entry gets a higher one, even if the log's
    /// time went backwards.
    pub floor: StreamClock,
}

/// How much one read may return. At least one entry is returned if there is one.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// At most so many entries.
    pub entries: usize,
    /// Stop after the entry that reaches so many bytes of messages.
    pub size_bytes: usize,
}

/// A run of a room's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPage {
    /// In log order, all after the clock asked for.
    pub entries: Vec<LogEntry>,
    /// Are there more after the last one?
    pub more: bool,
    /// Entries up to and including this clock may have been trimmed; [`StreamClock::ZERO`] if none ever were.
    pub trimmed_upto: StreamClock,
}

/// Name of a pending task, unique in its queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub String);

/// Name of a stream that was set aside, unique in its room: a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuarantineId(pub String);

/// Grows with every claim of any task of a room: who holds a lower one has been superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskEpoch(pub u64);

/// Name of whoever claims tasks, unique per process start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub String);

/// A claimed compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name in the queue.
    pub id: TaskId,
    /// The room to compact.
    pub room: RoomId,
    /// The fence of this claim.
    pub epoch: TaskEpoch,
    /// How often it was claimed, this time included.
    pub attempt: u32,
}

/// How [`StreamLog::complete`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The task is done; so many entries were trimmed. If any are left, a new task is pending.
    Done {
        /// How many entries left the stream.
        trimmed: u64,
        /// Is anything left in the stream?
        left: bool,
    },
    /// The task is somebody else's or gone. Nothing was changed.
    NotOwner,
}

/// What a tail brings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailEvent {
    /// New entries of one followed room, in log order, each once, none left out since the clock it is followed from.
    Entries {
        /// The room.
        room: RoomId,
        /// At least one.
        entries: std::sync::Arc<[LogEntry]>,
    },
    /// The log was restarted, or came back without all that it held. What the room has heard of it may be gone from it:
    /// compare ([`StreamLog::holds`]). The room is still followed.
    Suspect {
        /// The room.
        room: RoomId,
    },
    /// Entries that this room was to get are no longer in the log. It is not followed any more: load it anew.
    Gap {
        /// The room.
        room: RoomId,
    },
}

/// Says which rooms a tail follows. Calls return at once; their effect comes through the tail.
pub trait TailControl: Send + Sync {
    /// Brings every entry of `room` after `after`. Following a room that is followed already starts over from `after`:
    /// nothing arrives any more of what was under way before.
    fn follow(&self, room: RoomId, after: StreamClock);
    /// No entries of `room` from now on. Some may be under way; none of them arrives after a later `follow` of it.
    fn unfollow(&self, room: &RoomId);
}

/// The stream of new entries of all followed rooms. An error says that the tail has ended and must be opened anew.
pub type Tail = Pin<Box<dyn Stream<Item = Result<TailEvent, StreamLogError>> + Send>>;

/// The log of every room and the queue of rooms to compact.
///
/// A room is *live* while its stream holds entries. One task is pending per live room, however many writers there are.
/// Every method may be cancelled: what it was about to do then happened wholly or not at all.
#[async_trait]
pub trait StreamLog: Send + Sync + 'static {
    /// Appends to one room in order, and enqueues its compaction if the room was not live, in one atomic step.
    /// Returns the clocks of the entries, one a message, ascending. When it returns, the entries are durable.
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError>;

    /// The same, unless an update or a prune stands after [`Append::floor`], up to where the caller has looked: then, and where that
    /// cannot be told any more because entries after it were trimmed, nothing is appended and the answer is `None`. An engine
    /// may take for a change what only looks like one.
    async fn append_unless_changed(&self, append: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError>;

    /// Reads entries of `room` after `after`.
    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError>;

    /// Opens a tail that follows no room yet. Entries of a call to [`StreamLog::append`] arrive after they are durable.
    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError>;

    /// "Now" of the log: milliseconds since 1970. Everything stored takes its time from here.
    async fn now_ms(&self) -> Result<u64, StreamLogError>;

    /// Claims up to `max` tasks for `worker`: those that nobody claimed and that are at least `debounce` old, and those
    /// whose owner did not renew them for `lease`. Oldest first; in a log of several parts, within each part. Where the log's time has gone back by more than that,
    /// they may be claimed at once: neither waits until time has caught up.
    async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError>;

    /// Renews those of `tasks` that are still `worker`'s under the same epoch, and returns which these are.
    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError>;

    /// Ends `task` and trims its room: entries up to and including `upto` that are at least `min_lifetime` old leave the
    /// stream (an engine that counts in seconds may leave the last one's). Entries of a time that is yet to come, because the
    /// log's went back, count as old. If entries are left a new task is enqueued, otherwise the room is no longer live; both
    /// in one atomic step. Does nothing if the task is not `worker`'s under
    /// its epoch.
    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError>;

    /// Gives a claimed task back: another worker may claim it `after` that time, at once if it is zero. Does nothing if it
    /// is not `worker`'s any more.
    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError>;

    /// Every later claim of `room` has an epoch above `known`: for a log that has lost its own.
    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError>;

    /// Is the entry at `clock` in the stream of `room`, or was it trimmed? A log that has neither has lost it, or has
    /// forgotten the trim: then a version row holds it.
    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError>;

    /// Sets the stream of `room` aside under the name `id`, in one atomic step: the room goes on with an empty stream that
    /// holds one filler, above the last clock, and stays live. Who follows it from before that is told of a gap. False if
    /// the room holds no entries; true also if it was set aside under this name before.
    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError>;

    /// Reads entries of a stream that was set aside, as [`StreamLog::read`] does; nothing if there is none of this name.
    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError>;

    /// Appends what was set aside to the stream of its room again, bytes unchanged, in order, fillers and auth checks left
    /// out, and forgets what was set aside; in one atomic step. Returns how many entries it held, `None` if there is none of
    /// this name.
    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError>;

    /// Answers iff the log can take appends now.
    async fn check(&self) -> Result<(), StreamLogError>;
}
