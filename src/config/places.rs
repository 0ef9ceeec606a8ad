//! Where the data of a hub lies, in words.

use std::path;

use super::{Config, Redis};

impl Config {
    /// Where the stores are: a name and a place each, for people. Without secrets.
    pub fn places(&self) -> Vec<(&'static str, String)> {
        match (&self.redis.url, &self.postgres.url) {
            (Some(redis), Some(postgres)) => {
                vec![("stream", format!("{redis}{}", self.redis.in_words())), ("documents", postgres.to_string())]
            }
            _ => {
                let data_dir = path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
                vec![("data", data_dir.display().to_string())]
            }
        }
    }
}

impl Redis {
    /// What matters beside the server: how it is reached, whose keys, in how many parts.
    fn in_words(&self) -> String {
        let mut words = String::new();
        if self.cluster {
            words.push_str(" (a cluster)");
        }
        if !self.sentinels.is_empty() {
            let (master, sentinels) = (&self.sentinel_master, self.sentinels.join(", "));
            words.push_str(&format!(", master {master:?} by the sentinels {sentinels}"));
        }
        let (prefix, shards) = (&self.prefix, self.shards);
        words.push_str(&format!(", prefix {prefix}, {shards} {}", if shards == 1 { "shard" } else { "shards" }));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_without_secrets() {
        let mut config = Config { data_dir: "/var/lib/yhub".into(), ..Config::default() };
        assert_eq!(config.places(), [("data", "/var/lib/yhub".to_owned())]);
        config.redis.url = Some("rediss://:hunter2@r.example:6380/0".into());
        config.postgres.url = Some("postgres://u:hunter2@p.example/yhub".into());
        let [(_, stream), (_, documents)] = config.places().try_into().unwrap();
        assert_eq!(stream, "rediss://…@r.example:6380/0, prefix yhub, 1 shard");
        assert_eq!(documents, "postgres://…@p.example/yhub");
        (config.redis.shards, config.redis.cluster) = (8, true);
        assert_eq!(config.places()[0].1, "rediss://…@r.example:6380/0 (a cluster), prefix yhub, 8 shards");
        config.redis.cluster = false;
        (config.redis.sentinels, config.redis.sentinel_master) = (vec!["a:1".into(), "b:1".into()], "main".into());
        assert!(config.places()[0].1.contains(", master \"main\" by the sentinels a:1, b:1, prefix"), "{:?}", config.places());
    }
}
