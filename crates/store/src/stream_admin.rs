//! What operators and the reconciler do with the log: look at it, pause and hasten compaction, set streams aside, repair.

use async_trait::async_trait;
use yhub_core::{RoomId, StreamClock};

use crate::{QuarantineId, StreamLogError};

/// One part of a long listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage<T> {
    /// What was found. May be empty although there is more, and while others write, what was listed may be listed again.
    pub items: Vec<T>,
    /// What to ask with for the next part; `None` if this was the last.
    pub next: Option<String>,
}

/// A room whose stream holds entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRoom {
    /// Which.
    pub room: RoomId,
    /// How many entries.
    pub entries: u64,
    /// The first one.
    pub first: StreamClock,
    /// The last one.
    pub last: StreamClock,
    /// Is its compaction paused?
    pub is_paused: bool,
    /// Its tasks in the queue; there should be one, and none while it is paused.
    pub tasks: Vec<PendingTask>,
}

/// A task in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingTask {
    /// The worker that has claimed it; `None` while nobody has.
    pub owner: Option<String>,
    /// How often it was claimed.
    pub attempt: u32,
    /// Milliseconds since it was enqueued, claimed or renewed.
    pub idle_ms: u64,
}

/// A stream that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedStream {
    /// Whose stream it was.
    pub room: RoomId,
    /// Its name among those of the room.
    pub id: QuarantineId,
    /// How many entries it holds.
    pub entries: u64,
}

/// What [`StreamAdmin::reconcile`] put right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Live rooms that had no task and now have one.
    pub enqueued: Vec<RoomId>,
    /// Tasks that were taken off: of rooms that are not live, and second ones of one room.
    pub dropped: u64,
    /// What to ask with for the next part; `None` if everything was looked at.
    pub next: Option<String>,
}

/// Operations on the log and its queue that no client waits for. Each change is one atomic step, and may be repeated.
#[async_trait]
pub trait StreamAdmin: Send + Sync + 'static {
    /// Lists the live rooms, about `max` at a time; from the start without a `cursor`.
    async fn live_rooms(&self, cursor: Option<&str>, max: usize) -> Result<ScanPage<LiveRoom>, StreamLogError>;

    /// Lists the streams that were set aside, of one room or of all.
    async fn quarantined(
        &self,
        room: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<QuarantinedStream>, StreamLogError>;

    /// Pauses the compaction of `room`: its tasks are taken off, also a claimed one, and none is enqueued. Appending goes
    /// on. False if it was paused already.
    async fn disable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError>;

    /// Ends the pause; a live room gets a task. False if it was not paused.
    async fn enable_compaction(&self, room: &RoomId) -> Result<bool, StreamLogError>;

    /// Lets the task of `room` be claimed at once, whatever debounce or delay it waits for; a live room without one gets
    /// one. One that somebody works on stays theirs. False if the room is not live or paused.
    async fn hasten(&self, room: &RoomId) -> Result<bool, StreamLogError>;

    /// Empties the stream of `room`: what clients appended and no row holds is gone. The stream goes on above its last
    /// clock, and the room stays live until its task has ended. Returns how many entries it held.
    async fn clear(&self, room: &RoomId) -> Result<u64, StreamLogError>;

    /// Erases what was set aside of `room` under the name `id`; it is not appended to the room again. Returns how many entries
    /// it held, `None` if there is none of this name.
    async fn discard(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError>;

    /// Puts the queue right, about `max` rooms and tasks at a time: a live room that is not paused has one task, others
    /// have none. Tasks that cannot be read are moved to where operators find them.
    async fn reconcile(&self, cursor: Option<&str>, max: usize) -> Result<Reconciled, StreamLogError>;
}
