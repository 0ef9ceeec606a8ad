//! `[redis]`: the stream log and its task queue, when many nodes share them.

use std::path::PathBuf;

use super::{
    error::Problem,
    secret::{RedisServer, SecretUrl, is_host_with_port},
    section::{Millis, section},
};

section! {
    /// The stream log and its task queue, when many nodes share them. With `redis.url` and `postgres.url` the hub is
    /// distributed; without both everything is in the data directory.
    Redis = "redis" {
        /// The server: `redis://user:password@host:6379/0`, or `rediss://` for TLS. A secret: shown without user and
        /// password, and better given in the environment, as YHUB__REDIS__URL.
        url: Option<SecretUrl<RedisServer>> = None;
        /// What the names of all keys begin with. Hubs with different prefixes do not know of each other.
        prefix: String = "yhub".to_owned();
        /// Into how many parts the rooms are spread, which a Redis Cluster can place on different servers. With one the
        /// keys are those of y/hub. Change it only while every stream is empty, and none is in quarantine: rooms move with it.
        shards: usize = 1, 1..=1_024;
        /// Is the server a Redis Cluster?
        cluster: bool = false;
        /// Sentinels that know where the master is, as `host:port`. Host and port in `redis.url` are then not used, the
        /// rest of it is.
        sentinels: Vec<String> = Vec::new();
        /// The name by which the sentinels know the master; needed with `redis.sentinels`.
        sentinel_master: String = String::new();
        /// Certificates, in PEM, of who may vouch for the server, in place of those that the system trusts.
        ca_file: Option<PathBuf> = None;
        /// Connections of one node to each shard, besides one for appends and one that listens.
        connections: usize = 4, 1..=1_000;
        /// How often streams are read without being told that they have grown: what finds the entries of a process that
        /// does not tell, such as y/hub.
        sweep_ms: Millis = Millis::new(800), 10..=60_000;
        /// The server must have answered after so long.
        timeout_ms: Millis = Millis::new(5_000), 50..=60_000;
    }
    rules: rules
}

impl Redis {
    /// A key that says where data lies although `url` is not set.
    pub(crate) fn placed_without_url(&self) -> Option<&'static str> {
        let other = Self::default();
        [
            ("redis.prefix", self.prefix != other.prefix),
            ("redis.shards", self.shards != other.shards),
            ("redis.cluster", self.cluster != other.cluster),
            ("redis.sentinels", self.sentinels != other.sentinels),
            ("redis.sentinel_master", self.sentinel_master != other.sentinel_master),
            ("redis.ca_file", self.ca_file != other.ca_file),
        ]
        .into_iter()
        .find_map(|(key, is_set)| (is_set && self.url.is_none()).then_some(key))
    }

    /// Does the prefix hold `{…}`, which keeps all its keys in one slot of a cluster?
    fn prefix_is_one_slot(&self) -> bool {
        let tag = self.prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        tag.is_some_and(|(tag, _)| !tag.is_empty())
    }
}

fn rules(redis: &Redis, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, what: String, advice: &str| problems.push(Problem::new(format!("redis.{key}"), what, advice));
    let scheme = redis.url.as_ref().and_then(SecretUrl::scheme);
    if redis.url.is_some() && scheme.is_none() {
        wrong("url", "has another form".into(), "write redis://user:password@host:6379/0, or rediss:// for TLS");
    }
    if redis.ca_file.is_some() && scheme == Some("redis") {
        wrong("ca_file", "is set, but `redis.url` asks for no TLS".into(), "write rediss:// in `redis.url`, or remove it");
    }
    let prefix = &redis.prefix;
    if prefix.is_empty() || prefix.chars().any(|c| c.is_control() || c.is_whitespace()) {
        wrong("prefix", format!("is {prefix:?}"), "choose a word without spaces, such as \"yhub\"");
    } else if redis.shards > 1 && prefix.contains(['{', '}']) {
        wrong("prefix", format!("is {prefix:?}"), "leave braces out: with more than one shard the hub puts them itself");
    } else if redis.cluster && redis.shards == 1 && !redis.prefix_is_one_slot() {
        wrong(
            "cluster",
            format!("is true, and `redis.shards` is 1 with the prefix {prefix:?}, whose keys a cluster would tear apart"),
            "choose more shards, or put the prefix into braces, as in \"{yhub}\"",
        );
    }
    if redis.cluster && redis.url.as_ref().and_then(SecretUrl::database).is_some_and(|number| !matches!(number, "" | "0")) {
        wrong("url", "names a database other than 0".into(), "leave it out: a Redis Cluster has only one");
    }
    if redis.cluster && !redis.sentinels.is_empty() {
        wrong("sentinels", "is set, and `redis.cluster` as well".into(), "choose one: a Redis Cluster has no sentinels");
    }
    for sentinel in &redis.sentinels {
        // A sentinel with a password before its name is not shown.
        if !is_host_with_port(sentinel) {
            wrong("sentinels", "holds a text of another form".into(), "write host:port, such as \"10.0.0.1:26379\"");
        }
    }
    match (redis.sentinels.is_empty(), redis.sentinel_master.is_empty()) {
        (false, true) => {
            wrong("sentinel_master", "is not set".into(), "name the master whose address the sentinels are to tell");
        }
        (true, false) => wrong("sentinels", "is empty, but `redis.sentinel_master` is set".into(), "list them, or remove that"),
        _ => {}
    }
}
