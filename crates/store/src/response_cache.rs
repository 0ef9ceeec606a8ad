//! Responses that took long to compute, kept for a few seconds: for who asks the same again, on any node.
//!
//! Keys lie where those of y/hub 0.7 lie, so that either forgets what both keep of a room.

use std::{
    collections::HashMap,
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

    /// Keeps a response for `ttl` unless there is one already, in one atomic step: false if there is.
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
    responses: Mutex<HashMap<CacheKey, Kept>>,
}

struct Kept {
    response: Bytes,
    until_ms: u64,
}

impl MemoryCache {
    /// An empty cache of at most about `bound_bytes`. At the bound nothing is kept until what is there is over.
    pub fn new(bound_bytes: usize, time: Arc<dyn TimeSource>) -> Self {
        Self { bound_bytes, time, responses: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Kept>> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response if there is room for it: is there?
    fn keep(&self, responses: &mut HashMap<CacheKey, Kept>, key: &CacheKey, response: Bytes, ttl: Duration) -> bool {
        let now_ms = self.time.now_ms();
        responses.retain(|_, kept| kept.until_ms > now_ms);
        let held: usize = responses.iter().map(|(key, kept)| cost_bytes(key, &kept.response)).sum();
        let is_kept = response.len() < MAX_CACHED_BYTES && held + cost_bytes(key, &response) <= self.bound_bytes;
        let until_ms = now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if is_kept && until_ms > now_ms {
            responses.insert(key.clone(), Kept { response, until_ms });
        }
        is_kept
    }
}

#[async_trait]
impl ResponseCache for MemoryCache {
    async fn cached(&self, key: &CacheKey) -> Result<Option<Bytes>, StreamLogError> {
        let now_ms = self.time.now_ms();
        Ok(self.lock().get(key).filter(|kept| kept.until_ms > now_ms).map(|kept| kept.response.clone()))
    }

    async fn cache(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        let mut responses = self.lock();
        responses.remove(key);
        self.keep(&mut responses, key, response, ttl);
        Ok(())
    }

    async fn reserve(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<bool, StreamLogError> {
        let now_ms = self.time.now_ms();
        let mut responses = self.lock();
        if responses.get(key).is_some_and(|kept| kept.until_ms > now_ms) {
            return Ok(false);
        }
        if self.keep(&mut responses, key, response, ttl) {
            Ok(true)
        } else {
            Err(StreamLogError::Busy { waiting: responses.len() })
        }
    }

    async fn release(&self, key: &CacheKey) -> Result<(), StreamLogError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn forget_cached(&self, room: &RoomId) -> Result<(), StreamLogError> {
        self.lock().retain(|key, _| key.room != *room);
        Ok(())
    }
}

/// What a kept response takes, roughly.
fn cost_bytes(key: &CacheKey, response: &Bytes) -> usize {
    const ENTRY_OVERHEAD_BYTES: usize = 256;
    ENTRY_OVERHEAD_BYTES + response.len() + key.endpoint.len() + key.arguments.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_the_bound_nothing_is_kept_until_something_is_over() {
        let time = Arc::new(yhub_core::ManualTime::new(0));
        let cache = MemoryCache::new(1_000, time.clone());
        let key =
            |endpoint: &str| CacheKey { room: RoomId::new("o", "d", "main"), endpoint: endpoint.into(), arguments: Vec::new() };
        cache.cache(&key("a"), Bytes::from(vec![1; 500]), Duration::from_secs(5)).await.unwrap();
        cache.cache(&key("b"), Bytes::from(vec![2; 500]), Duration::from_secs(50)).await.unwrap();
        assert!(cache.cached(&key("a")).await.unwrap().is_some());
        assert_eq!(cache.cached(&key("b")).await.unwrap(), None);
        time.advance(Duration::from_secs(6));
        cache.cache(&key("b"), Bytes::from(vec![2; 500]), Duration::from_secs(50)).await.unwrap();
        assert!(cache.cached(&key("b")).await.unwrap().is_some());
    }
}
