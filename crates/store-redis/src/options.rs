//! How a log on Redis is reached, and its bounds.

use std::{fmt, path::PathBuf, time::Duration};

use yhub_core::KeySpace;

/// Options of [`crate::RedisLog`].
#[derive(Clone)]
pub struct RedisLogOptions {
    /// `redis://` or `rediss://` (TLS), with user, password and database if need be. With sentinels, host and port are those
    /// of the master as the sentinels name it, and only the rest of this counts; with a cluster, it is any node of it.
    pub url: String,
    /// What every key begins with.
    pub prefix: String,
    /// So many parts the rooms are divided into, each in a slot of a cluster of its own. With one part, the keys are exactly
    /// those of y/hub.
    pub shards: usize,
    /// Is it a cluster?
    pub cluster: bool,
    /// `host:port` of sentinels; empty if there are none.
    pub sentinels: Vec<String>,
    /// The name under which the sentinels know the master.
    pub sentinel_master: String,
    /// A file with the certificates, in PEM, of who is trusted in place of the system's: for `rediss://`.
    pub ca_file: Option<PathBuf>,
    /// How long entries stay in the stream at least. Who was cut off for longer may have missed some.
    pub min_lifetime: Duration,
    /// How often every followed room is looked at, for entries of writers that do not push, and for lost pushes.
    pub sweep: Duration,
    /// A command or connection attempt without an answer for so long has failed.
    pub timeout: Duration,
    /// Connections of each shard for all but appends and pushes, which have one each.
    pub connections: usize,
    /// New entries that wait in one tail, in bytes; what does not fit is read when its turn comes.
    pub tail_bytes: usize,
    /// Appends of more bytes are not pushed: who follows the room reads them.
    pub push_bytes: usize,
}

impl RedisLogOptions {
    /// The defaults, for the Redis at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: KeySpace::DEFAULT_PREFIX.to_owned(),
            shards: 1,
            cluster: false,
            sentinels: Vec::new(),
            sentinel_master: String::new(),
            ca_file: None,
            min_lifetime: Duration::from_secs(60),
            sweep: Duration::from_millis(800),
            timeout: Duration::from_secs(5),
            connections: 4,
            tail_bytes: 16 << 20,
            push_bytes: 256 << 10,
        }
    }
}

impl fmt::Debug for RedisLogOptions {
    /// Without the url, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLogOptions")
            .field("prefix", &self.prefix)
            .field("shards", &self.shards)
            .field("cluster", &self.cluster)
            .field("sentinels", &self.sentinels)
            .finish_non_exhaustive()
    }
}
