//! For tests only: raw clients, the hub's binary and the servers it needs as processes, ways to break them, updates written
//! by hand, an oracle, golden vectors.
//!
//! Everything here panics on what it did not expect: for a test that is the failure it should be. Whatever waits has a
//! deadline and says what it waited for.

pub mod client;
pub mod hostile;
pub mod http;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod random;
pub mod servers;
pub mod updates;
pub mod vectors;
pub mod wait;

pub use client::{Closed, Connect, Refused, TestClient};
pub use hostile::Hostile;
pub use http::{Answered, BackEnd};
pub use oracle::Oracle;
pub use process::{HubProcess, Launch};
pub use random::Random;
pub use servers::{Balancer, Database, Postgres, Proxy, Redis, RedisCluster, RedisSentinel};
pub use updates::TextWriter;
pub use wait::{DEADLINE, block_until, until, within};
