//! Where the data of a hub lies, in words.

use std::path;

use super::{Config, Redis};

impl Config {
    /// Where the stores are: a name and a place each, for people. Without secrets.
    pub fn places(&self) -> Vec<(&'static str, String)> {
        let mut places = match (&self.redis.url, &self.postgres.url) {
            (Some(redis), Some(postgres)) => {
                vec![("stream", format!("{redis}{}", self.redis.in_words())), ("documents", postgres.to_string())]
            }
            _ => {
                let data_dir = path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
                vec![("data", data_dir.display().to_string())]
            }
        };
        places.extend(self.assets.plugins.iter().map(|plugin| ("assets", self.place_of_assets(plugin))));
        places
    }

    fn place_of_assets(&self, plugin: &str) -> String {
        match plugin {
            "s3" => format!("{}/{}/{}", self.s3.service(), self.s3.bucket, self.s3.key_prefix),
            _ => {
                let dir = self.files_dir();
                path::absolute(&dir).unwrap_or(dir).display().to_string()
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
        config.assets.plugins = vec!["s3".into(), "files".into()];
        (config.s3.bucket, config.s3.secret_key) = ("b".into(), Some("hunter2".into()));
        let assets =
            [("assets", "https://s3.us-east-1.amazonaws.com/b/".to_owned()), ("assets", "/var/lib/yhub/assets".to_owned())];
        assert_eq!(config.places()[1..], assets);
        config.assets.plugins = Vec::new();
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
