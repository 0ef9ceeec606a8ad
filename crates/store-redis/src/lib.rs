//! The stream log with its task queue on Redis Streams, in the keys and formats of y/hub 0.7.
//!
//! [`RedisLog`] speaks to one Redis (or Valkey), to the master that sentinels name, or to a cluster. Every change is one
//! script. New entries are pushed to who follows their room; the stream stays the truth, and is read wherever a push may
//! have been missed. Layout of keys and streams: `docs/PROTOCOL.md`.

mod admin;
mod cache;
mod conns;
mod entries;
mod error;
mod keys;
mod link;
mod log;
mod options;
mod push;
mod safety;
mod scripts;
mod shard;
mod tickets;
mod wanted;

pub use error::RedisConnectError;
pub use log::RedisLog;
pub use options::RedisLogOptions;
