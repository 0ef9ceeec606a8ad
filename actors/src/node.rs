//! What every actor of one node shares.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use yhub_core::{RoomLimits, SessionId, SessionLimits, TimeSource};
use yhub_documents::Documents;

/// Settings of the compactor pool.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// How many tasks run at once; 0: this node does not compact.
    pub concurrency: usize,
    /// A room is compacted at the earliest so long after its first entry.
    pub task_debounce: Duration,
    /// Who does not renew a task for so long loses it.
    pub lease: Duration,
    /// Entries stay in the stream for at least so long.
    pub min_message_lifetime: Duration,
    /// How often the queue is asked for tasks.
    pub poll: Duration,
}

/// What every actor of one node shares: stores, limits, time.
pub struct Node {
    /// The rooms' storage.
    pub documents: Documents,
    /// "Now" for attribution.
    pub time: Arc<dyn TimeSource>,
    /// Bounds of each session.
    pub session_limits: SessionLimits,
    /// Bounds of each room.
    pub room_limits: RoomLimits,
    /// A room that is not loaded within so long refuses its joins.
    pub load_timeout: Duration,
    /// All rooms together keep at most so many bytes of document.
    pub snapshot_budget_bytes: usize,
    /// The compactor pool's settings.
    pub worker: WorkerSettings,
    /// How many sessions may be open at once.
    pub max_connections: usize,
    started: tokio::time::Instant,
    next_session: AtomicU64,
    open: AtomicUsize,
}

/// Everything a [`Node`] is made of.
pub struct NodeParts {
    /// See [`Node::documents`].
    pub documents: Documents,
    /// See [`Node::time`].
    pub time: Arc<dyn TimeSource>,
    /// See [`Node::session_limits`].
    pub session_limits: SessionLimits,
    /// See [`Node::room_limits`].
    pub room_limits: RoomLimits,
    /// See [`Node::load_timeout`].
    pub load_timeout: Duration,
    /// See [`Node::snapshot_budget_bytes`].
    pub snapshot_budget_bytes: usize,
    /// See [`Node::worker`].
    pub worker: WorkerSettings,
    /// See [`Node::max_connections`].
    pub max_connections: usize,
}

impl Node {
    /// A node that starts now.
    pub fn new(parts: NodeParts) -> Arc<Self> {
        Arc::new(Self {
            documents: parts.documents,
            time: parts.time,
            session_limits: parts.session_limits,
            room_limits: parts.room_limits,
            load_timeout: parts.load_timeout,
            snapshot_budget_bytes: parts.snapshot_budget_bytes,
            worker: parts.worker,
            max_connections: parts.max_connections,
            started: tokio::time::Instant::now(),
            next_session: AtomicU64::new(1),
            open: AtomicUsize::new(0),
        })
    }

    /// Milliseconds since the start, never backwards; for timers.
    pub fn uptime_ms(&self) -> u64 {
        // A node that is up for half a billion years may wrap.
        self.started.elapsed().as_millis() as u64
    }

    /// An id that no other session of this node has.
    pub(crate) fn session_id(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// A place for one more session; `None` if [`Self::max_connections`] are open.
    pub fn open_place(self: &Arc<Self>) -> Option<Place> {
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        (taken < self.max_connections).then_some(place)
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// One session counted; given back when dropped.
pub struct Place(Arc<Node>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
