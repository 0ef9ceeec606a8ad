//! Who may work on a document now, who waits for it, and who is sent away.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yhub_core::{
    RoomId,
    limiting::{Bound, Tally},
};

use crate::DocumentsError;

/// How many may at once, how many may wait for it, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct TurnLimits {
    /// At once.
    pub at_once: usize,
    /// Waiting.
    pub waiting: usize,
    /// Each of them at most so long.
    pub within: Duration,
}

/// Turns at something that takes memory while it is done. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Turns {
    bound: Bound,
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    within: Duration,
    tally: Arc<Tally>,
}

impl Turns {
    pub(crate) fn new(bound: Bound, limits: TurnLimits, tally: Arc<Tally>) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { bound, at_once: places(limits.at_once.max(1)), waiting: places(limits.waiting), within: limits.within, tally }
    }

    /// A turn, given back when dropped.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if as many wait as may, or it did not come in time.
    pub(crate) async fn take(&self, room: &RoomId) -> Result<OwnedSemaphorePermit, DocumentsError> {
        if let Ok(turn) = self.at_once.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| self.busy(room))?;
        let turn = self.wait_for(room, self.at_once.clone().acquire_owned()).await?;
        Ok(turn.expect("nothing closes the semaphore"))
    }

    /// Waits for something else, as long as one waits for a turn.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if it did not come in time.
    pub(crate) async fn wait_for<T>(&self, room: &RoomId, what: impl Future<Output = T>) -> Result<T, DocumentsError> {
        tokio::time::timeout(self.within, what).await.map_err(|_| self.busy(room))
    }

    fn busy(&self, room: &RoomId) -> DocumentsError {
        self.tally.count(self.bound);
        DocumentsError::Busy { room: room.clone(), bound: self.bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_a_turn_who_is_too_many_does_not_and_nobody_waits_for_ever() {
        let (room, tally) = (RoomId::new("o", "d", "main"), Arc::<Tally>::default());
        let limits = TurnLimits { at_once: 1, waiting: 1, within: Duration::from_secs(5) };
        let turns = Turns::new(Bound::Loads, limits, tally.clone());
        let first = turns.take(&room).await.unwrap();
        let waiting = tokio::spawn({
            let (turns, room) = (turns.clone(), room.clone());
            async move { turns.take(&room).await }
        });
        tokio::task::yield_now().await;
        assert!(matches!(turns.take(&room).await, Err(DocumentsError::Busy { bound: Bound::Loads, .. })));
        assert_eq!(tally.of(Bound::Loads), 1);
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        // Nobody gives it back: the time is over.
        assert!(turns.take(&room).await.is_err());
        assert_eq!(tally.of(Bound::Loads), 2);
        drop(second);
        drop(turns.take(&room).await.unwrap());
    }
}
