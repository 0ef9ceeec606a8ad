//! Whether compaction works on this node, for readiness. What is decided is in `yhub_core::PoisonGuard`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use yhub_core::{
    BreakerChange, Failed, HubFault, PoisonGuard, PoisonPolicy, RoomId, Verdict,
    alarms::{Alarm, raise},
};

/// What this node has seen of its compactions. Cheap to clone; outlives a compactor that panicked.
#[derive(Clone)]
pub struct CompactionHealth {
    guard: Arc<Mutex<PoisonGuard>>,
    policy: Arc<PoisonPolicy>,
    started: Instant,
}

impl CompactionHealth {
    pub(crate) fn new(policy: PoisonPolicy, started: Instant) -> Self {
        let guard = Arc::new(Mutex::new(PoisonGuard::new(policy.clone())));
        Self { guard, policy: Arc::new(policy), started }
    }

    /// Why the hub is taken to be at fault: so many rooms fail alike that it cannot be they. `None` if it is not.
    pub fn fault(&self) -> Option<HubFault> {
        self.lock().fault().cloned()
    }

    /// Is the node not ready because of that? Ends after a while even where the fault does not, so that nobody's rooms can keep
    /// a hub out of service.
    pub fn withholds_readiness(&self) -> bool {
        self.lock().withholds_readiness(self.now_ms())
    }

    pub(crate) fn policy(&self) -> &PoisonPolicy {
        &self.policy
    }

    pub(crate) fn on_failed(&self, failed: Failed<'_>, jitter: f64) -> Verdict {
        let (verdict, change) = self.lock().on_failed(failed, jitter, self.now_ms());
        tell(change);
        verdict
    }

    pub(crate) fn on_stored(&self, room: &RoomId) {
        let change = self.lock().on_stored(room, self.now_ms());
        tell(change);
    }

    pub(crate) fn take_on_record(&self, room: &RoomId) -> bool {
        self.lock().take_on_record(room)
    }

    /// Time has passed.
    pub(crate) fn look(&self) {
        let change = self.lock().look(self.now_ms());
        tell(change);
    }

    fn lock(&self) -> MutexGuard<'_, PoisonGuard> {
        // Nothing under this lock leaves it half-changed in a way that matters: rooms are remembered one by one.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        // A node that is up for half a billion years may wrap.
        self.started.elapsed().as_millis() as u64
    }
}

fn tell(change: Option<BreakerChange>) {
    match change {
        Some(BreakerChange::Opened(fault)) => {
            let count = raise(Alarm::BreakerOpened, 1);
            log::error!(
                signature:% = fault.signature, rooms = fault.rooms, alarm = Alarm::BreakerOpened.name(), count = count;
                "this hub is at fault: {} rooms fail to be compacted alike, so none is set aside and all are tried again; look for \
                 what is wrong with this version or its machine ({}); alarm {count}",
                fault.rooms, fault.signature
            );
        }
        Some(BreakerChange::Closed(fault)) => {
            log::info!(signature:% = fault.signature; "compactions succeed again, or nothing fails any more ({})", fault.signature);
        }
        None => {}
    }
}
