//! Tickets: one key each, which ends by itself. The command that brings it deletes it; of one whose answer is lost
//! the ticket is, too.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use yhub_store::{StreamLogError, TicketHash, TicketStore, refuse_too_large};

use crate::RedisLog;

#[async_trait]
impl TicketStore for RedisLog {
    async fn put(&self, ticket: &TicketHash, says: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        refuse_too_large(&says)?;
        let shard = self.shard_of_hash(ticket);
        let name = shard.keys.ticket(ticket);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1);
        shard
            .run(async |mut conn| {
                if ttl_ms == 0 {
                    redis::cmd("UNLINK").arg(name).exec_async(&mut conn).await
                } else {
                    redis::cmd("SET").arg(name).arg(&says[..]).arg("PX").arg(ttl_ms).exec_async(&mut conn).await
                }
            })
            .await
    }

    async fn take(&self, ticket: &TicketHash) -> Result<Option<Bytes>, StreamLogError> {
        let shard = self.shard_of_hash(ticket);
        let name = shard.keys.ticket(ticket);
        let taken: Option<Vec<u8>> =
            shard.run(async |mut conn| redis::cmd("GETDEL").arg(name).query_async(&mut conn).await).await?;
        Ok(taken.map(Bytes::from))
    }
}
