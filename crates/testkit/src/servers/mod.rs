//! The servers that a hub needs, as private processes that a test can break, and ways to break what is between them.
//!
//! Everything listens on 127.0.0.1, lives in a temporary directory and is gone with whoever started it, also when that is
//! killed. A missing program is a failure that says what to install, never a skip. All methods block the calling thread,
//! for milliseconds as a rule; those that wait have a deadline.

mod background;
mod balancer;
mod certificates;
mod guarded;
mod postgres;
mod proxy;
mod redis;
mod redis_cluster;
mod redis_options;
mod redis_sentinel;
mod resp;
mod s3;
mod shifted_time;
mod web;

pub use balancer::Balancer;
pub use certificates::Certificates;
pub use postgres::{Database, Postgres};
pub use proxy::{Direction, Proxy};
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_options::{Fsync, RedisOptions};
pub use redis_sentinel::RedisSentinel;
pub use s3::{S3, S3Fault};
pub use web::{Gate, Web, WebReply, WebRequest};
