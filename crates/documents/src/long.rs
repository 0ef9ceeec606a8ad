//! Long documents, of which few may be in hand at a time: a document takes several times its length while it is read and merged.
//!
//! How long one is is learned before it is read: with an ordinary turn no more is read than a short one has. Whoever finds more lets go
//! of that and of the turn, waits for one at a long document, and reads once. So who waits here holds nothing, and short documents
//! never wait behind long ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A document is long if all that is read of it has more bytes.
pub(crate) const MAX_SHORT_BYTES: u64 = (8 << 20) - 1;
/// So many may be in hand: one is read while another is computed with.
const AT_ONCE: usize = 2;
/// So many may be folded, from their turn until their assets are stored.
const FOLDS_AT_ONCE: usize = 2;
/// So many compactions may wait for that. The others are done later: who waits keeps short ones from being folded.
const FOLDS_WAITING: usize = 2;

/// Turns at long documents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LongDocuments {
    turns: Arc<Semaphore>,
    folds: Arc<Semaphore>,
    folds_waiting: Arc<Semaphore>,
}

impl Default for LongDocuments {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { turns: places(AT_ONCE), folds: places(FOLDS_AT_ONCE), folds_waiting: places(FOLDS_WAITING) }
    }
}

impl LongDocuments {
    /// A turn, if one is free. To be kept as long as anything of what was read is in use; given back when dropped.
    pub(crate) fn try_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().try_acquire_owned().ok()
    }

    /// Waits for a turn, in the order of those who come.
    pub(crate) async fn turn(&self) -> OwnedSemaphorePermit {
        self.turns.clone().acquire_owned().await.expect("nothing closes the semaphore")
    }

    /// A place for the whole of a compaction. Storing what was merged takes as long as a store likes: meanwhile no turn is held, but
    /// what is stored is in memory, so that of this, too, there is only so much. `None` if as many wait as may.
    pub(crate) async fn fold(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.folds.clone().try_acquire_owned() {
            return Some(place);
        }
        let _waiting = self.folds_waiting.try_acquire().ok()?;
        Some(self.folds.clone().acquire_owned().await.expect("nothing closes the semaphore"))
    }
}
