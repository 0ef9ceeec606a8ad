//! What every actor of one node shares.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use yhub_core::{
    AccessPolicy, CheckPace, Close, PoisonPolicy, RoomLimits, SessionId, SessionLimits, TimeSource,
    limiting::{Bound, Limiting},
};
use yhub_documents::Documents;
use yhub_store::StreamAdmin;

use crate::{
    admission::Admission,
    health::CompactionHealth,
    janitor::{Forgets, JanitorSettings},
    notices::NoticeSettings,
};

/// How often it is looked whether there is room again for what is made for clients.
const LOOK_FOR_ROOM_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

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
    /// When the node stops, what is under way may end for so long before it is given back.
    pub stop_within: Duration,
    /// How often the queue is put right, about.
    pub reconcile_every: Duration,
    /// What is done about rooms that fail.
    pub poison: PoisonPolicy,
}

/// What a node is made of: stores, limits, time.
pub struct NodeParts {
    /// The rooms' storage.
    pub documents: Documents,
    /// What the reconciler asks; `None`: nobody reconciles.
    pub admin: Option<Arc<dyn StreamAdmin>>,
    /// Does this node serve clients? One that does not has no rooms and follows no streams; it may compact all the same.
    pub serves: bool,
    /// "Now" for attribution.
    pub time: Arc<dyn TimeSource>,
    /// When access is asked for anew.
    pub access_policy: AccessPolicy,
    /// Where notices of changed access are read, if this node serves; `None`: only streams demand checks.
    pub notices: Option<NoticeSettings>,
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
    /// What is cleared up on nodes that compact; `None`: nobody does.
    pub janitor: Option<JanitorSettings>,
    /// What the janitor forgets besides; `None`: nothing.
    pub forgets: Option<Forgets>,
    /// How many sessions may be open at once.
    pub max_connections: usize,
    /// What they may take, and who may open one.
    pub limiting: Limiting,
}

/// What every actor of one node shares.
pub struct Node {
    parts: NodeParts,
    started: tokio::time::Instant,
    health: CompactionHealth,
    next_session: AtomicU64,
    open: AtomicUsize,
    admission: Admission,
    checks: Mutex<CheckPace>,
}

impl Deref for Node {
    type Target = NodeParts;

    fn deref(&self) -> &NodeParts {
        &self.parts
    }
}

impl Node {
    /// A node that starts now.
    pub fn new(parts: NodeParts) -> Arc<Self> {
        let started = tokio::time::Instant::now();
        let health = CompactionHealth::new(parts.worker.poison.clone(), started);
        let admission = Admission::new(&parts.limiting);
        Arc::new(Self {
            parts,
            started,
            health,
            next_session: AtomicU64::new(1),
            open: AtomicUsize::new(0),
            admission,
            checks: Mutex::default(),
        })
    }

    /// Whether compaction works here, for readiness.
    pub fn compaction_health(&self) -> &CompactionHealth {
        &self.health
    }

    /// Waits until there is room for what is made for clients, for as long as a load may take.
    ///
    /// # Errors
    /// If there is none until then.
    pub(crate) async fn room_for_answers(&self) -> Result<(), Close> {
        let answers = &self.limiting.answers;
        let room = async {
            while answers.is_short() {
                tokio::time::sleep(LOOK_FOR_ROOM_EVERY).await;
            }
        };
        tokio::time::timeout(self.load_timeout, room).await.map_err(|_| {
            log::warn!(
                "{} bytes are held for clients that do not take them; who wants a document is told to come again (`limits.sync_bytes`)",
                answers.held_bytes()
            );
            self.limiting.tally.count(Bound::SyncAnswers);
            Close::TRY_AGAIN
        })
    }

    /// Milliseconds since the start, never backwards; for timers.
    pub fn uptime_ms(&self) -> u64 {
        // A node that is up for half a billion years may wrap.
        self.started.elapsed().as_millis() as u64
    }

    /// The uptime at a time in milliseconds since 1970; of a time that is over, the present one.
    pub fn uptime_at_ms(&self, at_ms: u64) -> u64 {
        self.uptime_ms().saturating_add(at_ms.saturating_sub(self.time.now_ms()))
    }

    /// When a session is to be checked of which that is demanded now, as an uptime.
    pub(crate) fn place_of_check_ms(&self) -> u64 {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).place(self.uptime_ms())
    }

    /// An id that no other session of this node has.
    pub(crate) fn session_id(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Counts one more session, unless [`NodeParts::max_connections`] are open.
    pub(crate) fn take_place(&self) -> bool {
        let most = self.max_connections;
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < most).then_some(open + 1)).is_ok()
    }

    pub(crate) fn close_place(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
