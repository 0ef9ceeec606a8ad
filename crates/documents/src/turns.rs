//! Who may work on a document now, who waits for it, and who is sent away.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use yhub_core::{
    RoomId,
    limiting::{Bound, Tally},
};

use crate::{DocumentsError, long::LongDocuments};

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
    /// Others: who waits for a turn at a long document is in nobody's way.
    waiting_long: Arc<Semaphore>,
    within: Duration,
    tally: Arc<Tally>,
}

impl Turns {
    pub(crate) fn new(bound: Bound, limits: TurnLimits, tally: Arc<Tally>) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            bound,
            at_once: places(limits.at_once.max(1)),
            waiting: places(limits.waiting),
            waiting_long: places(limits.waiting),
            within: limits.within,
            tally,
        }
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
        let turn = tokio::time::timeout(self.within, self.at_once.clone().acquire_owned()).await.map_err(|_| self.busy(room))?;
        Ok(turn.expect("nothing closes the semaphore"))
    }

    /// A turn at a long document, given back when dropped; as many may wait for one as for another turn, apart from those. The time
    /// counts from `since`, when somebody began who has waited for another turn before. Not to be waited for with a turn in hand.
    ///
    /// # Errors
    /// [`DocumentsError::Busy`] if as many wait as may, or it did not come in time.
    pub(crate) async fn take_long(
        &self,
        room: &RoomId,
        long: &LongDocuments,
        since: Instant,
    ) -> Result<OwnedSemaphorePermit, DocumentsError> {
        if let Some(turn) = long.try_turn() {
            return Ok(turn);
        }
        let _place = self.waiting_long.try_acquire().map_err(|_| self.busy(room))?;
        let left = self.within.saturating_sub(since.elapsed());
        tokio::time::timeout(left, long.turn()).await.map_err(|_| self.busy(room))
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

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_long_one_takes_no_place_from_others_and_waits_no_longer_altogether() {
        let (room, tally, long) = (RoomId::new("o", "d", "main"), Arc::<Tally>::default(), LongDocuments::default());
        let limits = TurnLimits { at_once: 1, waiting: 1, within: Duration::from_secs(5) };
        let turns = Turns::new(Bound::Histories, limits, tally.clone());
        let began = Instant::now();
        let held = [turns.take_long(&room, &long, began).await.unwrap(), turns.take_long(&room, &long, began).await.unwrap()];
        let waiting = tokio::spawn({
            let (turns, room, long) = (turns.clone(), room.clone(), long.clone());
            async move { turns.take_long(&room, &long, Instant::now()).await }
        });
        tokio::task::yield_now().await;
        let busy = turns.take_long(&room, &long, Instant::now()).await.unwrap_err();
        assert!(matches!(busy, DocumentsError::Busy { bound: Bound::Histories, .. }) && began.elapsed().is_zero());
        let short = turns.take(&room).await.unwrap();
        // The place of those who wait for a short one is free, too.
        assert!(turns.take(&room).await.is_err() && began.elapsed() == Duration::from_secs(5));
        assert!(waiting.await.unwrap().is_err());
        drop(short);
        // Who has waited for four seconds before waits for one.
        tokio::time::advance(Duration::from_secs(4)).await;
        let since = Instant::now() - Duration::from_secs(4);
        assert!(turns.take_long(&room, &long, since).await.is_err() && since.elapsed() == Duration::from_secs(5));
        assert_eq!(tally.of(Bound::Histories), 4);
        drop(held);
        // Who comes late takes what is free all the same.
        drop(turns.take_long(&room, &long, began).await.unwrap());
    }
}
