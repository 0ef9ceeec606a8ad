//! Long documents, of which few may be in hand at a time: a document takes several times its length while it is read and merged.
//!
//! How long one is shows only when it has been read. Whoever has read a long one when it is not its turn lets go of it, waits, and
//! reads again; so what waits holds nothing. Rooms of long documents are remembered, to be read once only.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yhub_core::RoomId;

use crate::{DocumentsError, turns::Turns};

/// From so many bytes on, of all that is read of it, a document is long.
const LONG_BYTES: usize = 8 << 20;
/// So many may be in hand: one is read while another is computed with.
const AT_ONCE: usize = 2;
/// So many rooms are remembered. Which are forgotten does not matter: they are read once more.
const MAX_KNOWN: usize = 1024;

/// Turns at long documents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LongDocuments {
    turns: Arc<Semaphore>,
    known: Arc<Mutex<HashSet<RoomId>>>,
}

/// The turn of one who reads, as far as one is needed; given back when dropped. To be kept as long as anything of what was read is in
/// use.
pub(crate) struct Turn<'a> {
    long: &'a LongDocuments,
    room: &'a RoomId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for LongDocuments {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), known: Arc::default() }
    }
}

impl LongDocuments {
    /// To be called before `room` is read: waits for a turn where its document is known to be long, as long as `patience` allows, or
    /// for ever.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if the turn does not come in time.
    pub(crate) async fn before<'a>(&'a self, room: &'a RoomId, patience: Option<&Turns>) -> Result<Turn<'a>, DocumentsError> {
        let mut turn = Turn { long: self, room, permit: None };
        if self.lock().contains(room) {
            turn.wait(patience).await?;
        }
        Ok(turn)
    }

    fn remember(&self, room: &RoomId, is_long: bool) {
        let mut known = self.lock();
        if !is_long {
            known.remove(room);
        } else if !known.contains(room) {
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(room.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RoomId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// May what was read, of so many bytes, be kept? If not, it is to be let go of, and read again after [`Self::wait`].
    pub(crate) fn suffices_for(&mut self, size_bytes: usize) -> bool {
        let is_long = size_bytes >= LONG_BYTES;
        self.long.remember(self.room, is_long);
        if !is_long {
            self.permit = None;
            return true;
        }
        if self.permit.is_none() {
            self.permit = self.long.turns.clone().try_acquire_owned().ok();
        }
        self.permit.is_some()
    }

    /// Waits for a turn at a long document.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if it does not come in time.
    pub(crate) async fn wait(&mut self, patience: Option<&Turns>) -> Result<(), DocumentsError> {
        let permit = self.long.turns.clone().acquire_owned();
        let permit = match patience {
            Some(patience) => patience.wait_for(self.room, permit).await?,
            None => permit.await,
        };
        self.permit = Some(permit.expect("nothing closes the semaphore"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use yhub_core::limiting::Bound;

    use super::*;
    use crate::TurnLimits;

    fn room(docid: &str) -> RoomId {
        RoomId::new("o", docid, "main")
    }

    fn patience() -> Turns {
        let limits = TurnLimits { at_once: 1, waiting: 1, within: Duration::from_secs(5) };
        Turns::new(Bound::Loads, limits, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn few_long_ones_are_in_hand_and_who_waits_reads_again() {
        let long = LongDocuments::default();
        let (a, b, c) = (room("a"), room("b"), room("c"));
        let mut first = long.before(&a, None).await.unwrap();
        let mut second = long.before(&b, None).await.unwrap();
        assert!(first.suffices_for(LONG_BYTES) && second.suffices_for(LONG_BYTES));
        let mut third = long.before(&c, None).await.unwrap();
        assert!(!third.suffices_for(LONG_BYTES));
        assert!(matches!(third.wait(Some(&patience())).await, Err(DocumentsError::Busy { bound: Bound::Loads, .. })));
        // It is known by now: nothing is read before it is its turn.
        assert!(long.before(&c, Some(&patience())).await.is_err());
        drop(first);
        third.wait(Some(&patience())).await.unwrap();
        assert!(third.suffices_for(LONG_BYTES));
        drop((second, third));
        // One is short by now.
        assert!(long.before(&c, None).await.unwrap().suffices_for(LONG_BYTES - 1));
        let (mut first, mut second) = (long.before(&a, None).await.unwrap(), long.before(&b, None).await.unwrap());
        assert!(first.suffices_for(LONG_BYTES) && second.suffices_for(LONG_BYTES));
        assert!(long.before(&c, Some(&patience())).await.unwrap().suffices_for(LONG_BYTES - 1), "short ones never wait");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let long = LongDocuments::default();
        for at in 0..3 * MAX_KNOWN {
            long.remember(&room(&at.to_string()), true);
            assert!(long.lock().len() <= MAX_KNOWN);
        }
    }
}
