//! Responses that took long to compute, kept for a few seconds: for who asks the same again, on any node.
//!
//! Keys lie where those of y/hub 0.7 lie, so that either forgets what both keep of a room.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::{RoomId, TimeSource};

use crate::StreamLogError;

/// A response of so many bytes or more is not kept.
pub const MAX_CACHED_BYTES: usize = 100_000_000;

/// What a response answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// Of which room.
    pub room: RoomId,
    /// Which question; `activity` and `changeset` are those of y/hub.
    pub endpoint: String,
    /// With which parameters, in the order that the endpoint gives them.
    pub arguments: Vec<String>,
}

/// Where responses are kept. What is in it is a copy: nothing is lost with it, and whoever cannot reach it computes anew.
#[async_trait]
pub trait ResponseCache: Send + Sync + 'static {
    /// The response, if it is there and its time is not over.
    async fn cached(&self, key: &CacheKey) -> Result<Option<Bytes>, StreamLogError>;

    /// Keeps a response for `ttl` in place of the one before. One that is too long ([`MAX_CACHED_BYTES`]) or whose time is over
    /// at once is not kept, nor one for which an engine has no room; nor is the one before then.
    async fn cache(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<(), StreamLogError>;

    /// Keeps a response for `ttl` unless there is one already, in one atomic step: false if there is. It is a place that somebody has
    /// taken who is still at work, until [`Self::cache`] fills it: nothing else takes it before `ttl` is over.
    ///
    /// # Errors
    /// Also if an engine has no room for it, or it is too long.
    async fn reserve(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<bool, StreamLogError>;

    /// Forgets one response.
    async fn release(&self, key: &CacheKey) -> Result<(), StreamLogError>;

    /// Forgets every response about `room`.
    async fn forget_cached(&self, room: &RoomId) -> Result<(), StreamLogError>;
}

/// Responses in the memory of one node.
pub struct MemoryCache {
    bound_bytes: usize,
    time: Arc<dyn TimeSource>,
    responses: Mutex<Responses>,
}

/// What is kept. How much that is and what ends next is known at any time: nothing walks through all of it while others wait.
#[derive(Default)]
struct Responses {
    by_key: HashMap<Arc<CacheKey>, Kept>,
    /// Those that may go for others, by when they end.
    finished: BTreeMap<Ends, Arc<CacheKey>>,
    /// Those whose place is taken by somebody who is still at work.
    reserved: BTreeMap<Ends, Arc<CacheKey>>,
    finished_bytes: usize,
    reserved_bytes: usize,
    /// Tells those apart that end at the same time.
    number: u64,
}

/// Milliseconds since 1970, and a number.
type Ends = (u64, u64);

struct Kept {
    response: Bytes,
    ends: Ends,
    is_reserved: bool,
}

impl Responses {
    fn get(&self, key: &CacheKey, now_ms: u64) -> Option<&Kept> {
        self.by_key.get(key).filter(|kept| kept.ends.0 > now_ms)
    }

    fn insert(&mut self, key: &CacheKey, response: Bytes, until_ms: u64, is_reserved: bool) {
        self.remove(key);
        self.number += 1;
        let (key, ends) = (Arc::new(key.clone()), (until_ms, self.number));
        let cost = cost_bytes(&key, &response);
        let (order, bytes) = self.half(is_reserved);
        order.insert(ends, key.clone());
        *bytes += cost;
        self.by_key.insert(key, Kept { response, ends, is_reserved });
    }

    fn remove(&mut self, key: &CacheKey) {
        let Some(Kept { response, ends, is_reserved }) = self.by_key.remove(key) else { return };
        let cost = cost_bytes(key, &response);
        let (order, bytes) = self.half(is_reserved);
        order.remove(&ends);
        *bytes -= cost;
    }

    fn half(&mut self, is_reserved: bool) -> (&mut BTreeMap<Ends, Arc<CacheKey>>, &mut usize) {
        match is_reserved {
            true => (&mut self.reserved, &mut self.reserved_bytes),
            false => (&mut self.finished, &mut self.finished_bytes),
        }
    }

    /// Lets go of those whose time is over.
    fn end(&mut self, now_ms: u64) {
        for is_reserved in [false, true] {
            while let Some((_, key)) = self.half(is_reserved).0.first_key_value().filter(|((until_ms, _), _)| *until_ms <= now_ms)
            {
                let key = key.clone();
                self.remove(&key);
            }
        }
    }

    /// Makes room for so many bytes within a bound, if that can be done without those who are still at work.
    fn make_room(&mut self, needed_bytes: usize, bound_bytes: usize) -> bool {
        if self.reserved_bytes + needed_bytes > bound_bytes {
            return false;
        }
        while self.reserved_bytes + self.finished_bytes + needed_bytes > bound_bytes {
            let Some(key) = self.finished.first_key_value().map(|(_, key)| key.clone()) else { return false };
            self.remove(&key);
        }
        true
    }
}

impl MemoryCache {
    /// An empty cache of at most about `bound_bytes`. At the bound those go that end first, but never a place that is reserved: if
    /// those take all of it nothing more is kept until one of them is given up, filled or over.
    pub fn new(bound_bytes: usize, time: Arc<dyn TimeSource>) -> Self {
        Self { bound_bytes, time, responses: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Responses> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response if there is room for it: is there?
    fn keep(&self, responses: &mut Responses, key: &CacheKey, response: Bytes, ttl: Duration, is_reserved: bool) -> bool {
        let now_ms = self.time.now_ms();
        responses.end(now_ms);
        let is_kept = response.len() < MAX_CACHED_BYTES && responses.make_room(cost_bytes(key, &response), self.bound_bytes);
        let until_ms = now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if is_kept && until_ms > now_ms {
            responses.insert(key, response, until_ms, is_reserved);
        }
        is_kept
    }
}

#[async_trait]
impl ResponseCache for MemoryCache {
    async fn cached(&self, key: &CacheKey) -> Result<Option<Bytes>, StreamLogError> {
        let now_ms = self.time.now_ms();
        Ok(self.lock().get(key, now_ms).map(|kept| kept.response.clone()))
    }

    async fn cache(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        let mut responses = self.lock();
        responses.remove(key);
        self.keep(&mut responses, key, response, ttl, false);
        Ok(())
    }

    async fn reserve(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<bool, StreamLogError> {
        let now_ms = self.time.now_ms();
        let mut responses = self.lock();
        if responses.get(key, now_ms).is_some() {
            return Ok(false);
        }
        if self.keep(&mut responses, key, response, ttl, true) {
            Ok(true)
        } else {
            Err(StreamLogError::Busy { waiting: responses.reserved.len() })
        }
    }

    async fn release(&self, key: &CacheKey) -> Result<(), StreamLogError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn forget_cached(&self, room: &RoomId) -> Result<(), StreamLogError> {
        let mut responses = self.lock();
        let of_room: Vec<_> = responses.by_key.keys().filter(|key| key.room == *room).cloned().collect();
        of_room.iter().for_each(|key| responses.remove(key));
        Ok(())
    }
}

/// What a kept response takes, roughly.
fn cost_bytes(key: &CacheKey, response: &Bytes) -> usize {
    const ENTRY_OVERHEAD_BYTES: usize = 256;
    let room = key.room.org().len() + key.room.docid().len() + key.room.branch().len();
    ENTRY_OVERHEAD_BYTES + room + response.len() + key.endpoint.len() + key.arguments.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(endpoint: &str) -> CacheKey {
        CacheKey { room: RoomId::new("o", "d", "main"), endpoint: endpoint.into(), arguments: Vec::new() }
    }

    fn bytes(count: usize) -> Bytes {
        Bytes::from(vec![1; count])
    }

    #[tokio::test]
    async fn at_the_bound_what_ends_first_goes_and_never_a_place_that_is_reserved() {
        let time = Arc::new(yhub_core::ManualTime::new(0));
        let cache = MemoryCache::new(2_400, time.clone());
        let long = Duration::from_secs(50);
        assert!(cache.reserve(&key("at work"), bytes(500), Duration::from_secs(5)).await.unwrap());
        cache.cache(&key("a"), bytes(500), long).await.unwrap();
        time.advance(Duration::from_secs(1));
        cache.cache(&key("b"), bytes(500), long).await.unwrap();
        let there = async |endpoint: &str| cache.cached(&key(endpoint)).await.unwrap().is_some();
        assert!(there("a").await && there("b").await && there("at work").await);
        // A place is found as long as something finished is there.
        assert!(cache.reserve(&key("c"), bytes(500), long).await.unwrap());
        assert!(!there("a").await && there("b").await && there("at work").await);
        assert!(cache.reserve(&key("d"), bytes(500), long).await.is_ok());
        assert!(!there("b").await);
        // All of it is reserved: nobody's place is taken, also not for an answer.
        assert!(matches!(cache.reserve(&key("e"), bytes(500), long).await, Err(StreamLogError::Busy { waiting: 3 })));
        cache.cache(&key("f"), bytes(500), long).await.unwrap();
        assert!(there("at work").await && there("c").await && there("d").await && !there("f").await);
        // Who has done their work makes room, and so does who has not for too long.
        cache.cache(&key("c"), bytes(400), long).await.unwrap();
        assert!(cache.reserve(&key("e"), bytes(500), long).await.unwrap());
        assert!(!there("c").await);
        time.advance(Duration::from_secs(5));
        assert!(!there("at work").await);
        cache.cache(&key("f"), bytes(500), long).await.unwrap();
        assert!(there("f").await);
    }

    #[tokio::test]
    async fn what_is_kept_is_counted_right_whatever_happens() {
        let time = Arc::new(yhub_core::ManualTime::new(0));
        let cache = MemoryCache::new(20_000, time.clone());
        // A fixed sequence without a pattern that matters here.
        let mut state = 7_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..5_000 {
            let (key, size, ttl) = (key(&next(60).to_string()), bytes(next(2_000) as usize), Duration::from_millis(next(500)));
            match next(5) {
                0 => cache.release(&key).await.unwrap(),
                1 => drop(cache.reserve(&key, size, ttl).await),
                2 => time.advance(Duration::from_millis(next(50))),
                _ => cache.cache(&key, size, ttl).await.unwrap(),
            }
            let responses = cache.lock();
            for is_reserved in [false, true] {
                let those: Vec<_> = responses.by_key.iter().filter(|(_, kept)| kept.is_reserved == is_reserved).collect();
                let cost: usize = those.iter().map(|(key, kept)| cost_bytes(key, &kept.response)).sum();
                let (order, bytes) = match is_reserved {
                    true => (&responses.reserved, responses.reserved_bytes),
                    false => (&responses.finished, responses.finished_bytes),
                };
                assert_eq!((order.len(), bytes), (those.len(), cost));
                assert!(those.iter().all(|(key, kept)| order.get(&kept.ends) == Some(*key)));
            }
            assert!(responses.finished_bytes + responses.reserved_bytes <= 20_000);
        }
    }
}
