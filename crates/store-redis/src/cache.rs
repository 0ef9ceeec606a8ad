//! Kept responses: one key each, which ends by itself. What is forgotten is found by a scan, as y/hub does.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::RoomId;
use yhub_store::{CacheKey, MAX_CACHED_BYTES, ResponseCache, StreamLogError};

use crate::{RedisLog, shard::Shard};

/// So many keys one step of a scan looks at.
const SCAN_COUNT: usize = 1_000;

impl Shard {
    fn cached(&self, key: &CacheKey) -> String {
        self.keys.space.cached(&key.room, &key.endpoint, key.arguments.iter().map(String::as_str))
    }
}

#[async_trait]
impl ResponseCache for RedisLog {
    async fn cached(&self, key: &CacheKey) -> Result<Option<Bytes>, StreamLogError> {
        let shard = self.shard(&key.room);
        let name = shard.cached(key);
        let get = async |mut conn| redis::cmd("GET").arg(name).query_async(&mut conn).await;
        let found: Option<Vec<u8>> = shard.run(get).await?;
        Ok(found.map(Bytes::from))
    }

    async fn cache(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        let shard = self.shard(&key.room);
        let name = shard.cached(key);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1);
        // On a connection of the pool: a long one is not to stand before an append.
        shard
            .run(async |mut conn| {
                if response.len() >= MAX_CACHED_BYTES || ttl_ms == 0 {
                    redis::cmd("UNLINK").arg(name).exec_async(&mut conn).await
                } else {
                    redis::cmd("SET").arg(name).arg(&response[..]).arg("PX").arg(ttl_ms).exec_async(&mut conn).await
                }
            })
            .await
    }

    async fn reserve(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<bool, StreamLogError> {
        let shard = self.shard(&key.room);
        let name = shard.cached(key);
        if response.len() >= MAX_CACHED_BYTES {
            return Err(StreamLogError::Busy { waiting: 0 });
        }
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1).max(1);
        let set = async |mut conn| {
            redis::cmd("SET").arg(name).arg(&response[..]).arg("NX").arg("PX").arg(ttl_ms).query_async(&mut conn).await
        };
        let done: Option<String> = shard.run(set).await?;
        Ok(done.is_some())
    }

    async fn release(&self, key: &CacheKey) -> Result<(), StreamLogError> {
        let shard = self.shard(&key.room);
        let name = shard.cached(key);
        shard.run(async |mut conn| redis::cmd("UNLINK").arg(name).exec_async(&mut conn).await).await
    }

    async fn forget_cached(&self, room: &RoomId) -> Result<(), StreamLogError> {
        let shard = self.shard(room);
        let mut cursor = String::new();
        loop {
            let (keys, next) = shard.scan(shard.keys.space.cache_pattern(room), &cursor, SCAN_COUNT).await?;
            if !keys.is_empty() {
                shard.run(async |mut conn| redis::cmd("UNLINK").arg(keys).exec_async(&mut conn).await).await?;
            }
            match next {
                Some(next) => cursor = next,
                None => return Ok(()),
            }
        }
    }
}
