//! Tickets: what lets its holder in once, within seconds, on any node.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::TimeSource;

use crate::StreamLogError;

/// Bytes of what a ticket may say.
pub const MAX_TICKET_BYTES: usize = 65_536;

/// The SHA-256 of a ticket: who reads the store has no tickets.
pub type TicketHash = [u8; 32];

/// Where tickets are kept. What is in it lives shortly: with the store they are lost, and clients ask for others.
#[async_trait]
pub trait TicketStore: Send + Sync + 'static {
    /// Keeps what a ticket says for `ttl`, in place of what is there. One whose time is over at once is not kept, nor what was
    /// there.
    ///
    /// # Errors
    /// [`StreamLogError::TooLarge`] beyond [`MAX_TICKET_BYTES`]. [`StreamLogError::Busy`] if an engine has no room: it takes
    /// none in then until others are taken or over, so that nobody can make those of others void by asking for many.
    async fn put(&self, ticket: &TicketHash, says: Bytes, ttl: Duration) -> Result<(), StreamLogError>;

    /// What a ticket says, if it is there and its time is not over. Of any number who take it at once one gets it, and nobody
    /// after.
    async fn take(&self, ticket: &TicketHash) -> Result<Option<Bytes>, StreamLogError>;
}

/// Tickets in the memory of one node.
pub struct MemoryTickets {
    bound: TicketBound,
    time: Arc<dyn TimeSource>,
    kept: Mutex<Kept>,
}

/// How much [`MemoryTickets`] hold.
#[derive(Clone, Copy, Debug)]
pub struct TicketBound {
    /// At most so many tickets.
    pub tickets: usize,
    /// That say at most so many bytes together.
    pub size_bytes: usize,
}

impl Default for TicketBound {
    fn default() -> Self {
        Self { tickets: 100_000, size_bytes: 64 << 20 }
    }
}

#[derive(Default)]
struct Kept {
    /// Until when, and what.
    tickets: HashMap<TicketHash, (u64, Bytes)>,
    /// The same by time, for finding what is over.
    by_time: BTreeSet<(u64, TicketHash)>,
    size_bytes: usize,
}

impl Kept {
    fn remove(&mut self, ticket: &TicketHash) -> Option<(u64, Bytes)> {
        let (until_ms, says) = self.tickets.remove(ticket)?;
        self.by_time.remove(&(until_ms, *ticket));
        self.size_bytes -= says.len();
        Some((until_ms, says))
    }

    fn forget_over(&mut self, now_ms: u64) {
        while let Some((_, ticket)) = self.by_time.first().copied().filter(|(until_ms, _)| *until_ms <= now_ms) {
            self.remove(&ticket);
        }
    }
}

impl MemoryTickets {
    /// None yet, and never more than `bound`: see [`TicketStore::put`] for what happens there.
    pub fn new(bound: TicketBound, time: Arc<dyn TimeSource>) -> Self {
        Self { bound, time, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TicketStore for MemoryTickets {
    async fn put(&self, ticket: &TicketHash, says: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        refuse_too_large(&says)?;
        let now_ms = self.time.now_ms();
        let until_ms = now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let mut kept = self.lock();
        kept.remove(ticket);
        kept.forget_over(now_ms);
        if until_ms <= now_ms {
            return Ok(());
        }
        if kept.tickets.len() >= self.bound.tickets || kept.size_bytes + says.len() > self.bound.size_bytes {
            return Err(StreamLogError::Busy { waiting: kept.tickets.len() });
        }
        kept.size_bytes += says.len();
        kept.by_time.insert((until_ms, *ticket));
        kept.tickets.insert(*ticket, (until_ms, says));
        Ok(())
    }

    async fn take(&self, ticket: &TicketHash) -> Result<Option<Bytes>, StreamLogError> {
        let now_ms = self.time.now_ms();
        let taken = self.lock().remove(ticket);
        Ok(taken.filter(|(until_ms, _)| *until_ms > now_ms).map(|(_, says)| says))
    }
}

/// For engines: may a ticket say so much?
pub fn refuse_too_large(says: &Bytes) -> Result<(), StreamLogError> {
    if says.len() > MAX_TICKET_BYTES {
        return Err(StreamLogError::TooLarge { what: "a ticket", size_bytes: says.len(), bound_bytes: MAX_TICKET_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_the_bound_none_is_taken_in_until_one_is_taken_or_over() {
        let time = Arc::new(yhub_core::ManualTime::new(0));
        let tickets = MemoryTickets::new(TicketBound { tickets: 2, size_bytes: 10 }, time.clone());
        let put = async |n: u8, size, seconds| {
            tickets.put(&[n; 32], Bytes::from(vec![n; size]), Duration::from_secs(seconds)).await.is_ok()
        };
        assert!(put(1, 4, 5).await && put(2, 4, 50).await);
        assert!(!put(3, 1, 5).await, "there are two");
        assert!(put(2, 5, 50).await, "in its own place");
        assert!(tickets.take(&[2; 32]).await.unwrap().is_some());
        assert!(!put(3, 7, 5).await, "they would say too much");
        assert!(put(3, 6, 50).await);
        time.advance(Duration::from_secs(6));
        assert!(put(4, 4, 50).await, "the first is over");
        assert!(tickets.take(&[3; 32]).await.unwrap().is_some(), "nobody's ticket was given up for another");
        assert!(tickets.take(&[4; 32]).await.unwrap().is_some());
        let kept = tickets.lock();
        assert_eq!((kept.tickets.len(), kept.by_time.len(), kept.size_bytes), (0, 0, 0));
    }
}
