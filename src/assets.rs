//! The places for assets, from the configuration: beside `wiring.rs` the only file that names them.

use std::sync::Arc;

use yhub_core::SystemClock;
use yhub_store::{AssetCacheOptions, AssetPlugins, AssetStore, CachedAssets, FileAssets, FileAssetsOptions, ResponseCache};

use crate::{
    Config,
    config::{AssetCache, branches},
};

/// The places that `assets.plugins` names, in its order; with caches before those that `asset_cache.plugins` names. `shared` is
/// what nodes share, if they share anything. Nothing is sent and nothing made yet.
pub(crate) fn open_assets(config: &Config, shared: Option<Arc<dyn ResponseCache>>) -> anyhow::Result<Arc<AssetPlugins>> {
    let mut plugins = Vec::new();
    for name in &config.assets.plugins {
        let plugin = open(config, name)?;
        let is_cached = config.asset_cache.plugins.contains(name);
        plugins.push(if is_cached { cached(&config.asset_cache, plugin, shared.as_ref()) } else { plugin });
    }
    Ok(Arc::new(AssetPlugins::new(plugins, config.assets.delete_delay_ms.duration())))
}

fn open(config: &Config, name: &str) -> anyhow::Result<Arc<dyn AssetStore>> {
    match name {
        #[cfg(any(feature = "s3", feature = "s3-rusoto"))]
        "s3" => Ok(Arc::new(yhub_store_s3::S3Assets::new(s3_options(&config.s3)?)?)),
        "files" => Ok(Arc::new(FileAssets::new(file_options(config), Arc::new(SystemClock)))),
        other => anyhow::bail!("`assets.plugins` names {other:?}, which is not built in; build the hub with its feature"),
    }
}

fn cached(cache: &AssetCache, plugin: Arc<dyn AssetStore>, shared: Option<&Arc<dyn ResponseCache>>) -> Arc<dyn AssetStore> {
    let shared = shared.filter(|_| cache.shared).cloned();
    if cache.memory_bytes == 0 && shared.is_none() {
        return plugin;
    }
    Arc::new(CachedAssets::new(plugin, cache_options(cache), shared, Arc::new(SystemClock)))
}

fn cache_options(cache: &AssetCache) -> AssetCacheOptions {
    AssetCacheOptions {
        branches: branches(&cache.branches),
        ttl: cache.ttl_ms.duration(),
        memory_bytes: cache.memory_bytes,
        max_asset_bytes: cache.max_asset_bytes,
        ..AssetCacheOptions::default()
    }
}

fn file_options(config: &Config) -> FileAssetsOptions {
    FileAssetsOptions {
        branches: branches(&config.files.branches),
        max_asset_bytes: config.files.max_asset_bytes as u64,
        at_once: config.files.at_once,
        ..FileAssetsOptions::new(config.files_dir())
    }
}

#[cfg(any(feature = "s3", feature = "s3-rusoto"))]
fn s3_options(s3: &crate::config::S3) -> anyhow::Result<yhub_store_s3::S3Options> {
    use anyhow::Context as _;
    use yhub_store_s3::{S3ClientKind, S3Options};

    use crate::config::S3Client;

    let secret = s3.secret_key.as_ref().context("`s3.secret_key` is not set")?;
    Ok(S3Options {
        client: match s3.client {
            S3Client::ObjectStore => S3ClientKind::ObjectStore,
            S3Client::Rusoto => S3ClientKind::Rusoto,
        },
        region: s3.region.clone(),
        path_style: s3.path_style,
        ca_file: s3.ca_file.clone(),
        key_prefix: s3.key_prefix.clone(),
        branches: branches(&s3.branches),
        create_bucket: s3.create_bucket,
        multipart_from_bytes: s3.multipart_from_bytes,
        part_bytes: s3.part_bytes,
        max_asset_bytes: s3.max_asset_bytes as u64,
        connect_timeout: s3.connect_timeout_ms.duration(),
        request_timeout: s3.request_timeout_ms.duration(),
        attempts: u32::try_from(s3.attempts).unwrap_or(u32::MAX),
        first_backoff: s3.backoff_ms.duration(),
        at_once: s3.at_once,
        ..S3Options::new(&s3.service(), &s3.bucket, &s3.access_key, secret.expose().into())
    })
}

#[cfg(test)]
mod tests {
    use yhub_store::Branches;

    use super::*;

    #[test]
    fn places_come_in_the_order_that_is_configured() {
        let mut config = Config::for_testing("somewhere");
        assert!(open_assets(&config, None).unwrap().is_empty());
        (config.s3.bucket, config.s3.endpoint) = ("bucket".into(), "http://localhost:1".into());
        (config.s3.access_key, config.s3.secret_key) = ("a".into(), Some("s".into()));
        for (plugins, names) in [
            (vec!["s3", "files"], ["S3Persistence:v1", "FilePersistence:v1"]),
            (vec!["files", "s3"], ["FilePersistence:v1", "S3Persistence:v1"]),
        ] {
            config.assets.plugins = plugins.into_iter().map(str::to_owned).collect();
            let opened = open_assets(&config, None).unwrap();
            assert_eq!(opened.iter().map(|plugin| plugin.name()).collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn plugins_are_told_what_is_configured() {
        let mut config = Config::for_testing("somewhere");
        config.s3.secret_key = Some("hunter2".into());
        (config.s3.branches, config.s3.attempts, config.s3.at_once) = (vec!["*".into()], 7, 3);
        (config.s3.key_prefix, config.s3.create_bucket, config.s3.path_style) = ("p/".into(), true, false);
        let s3 = s3_options(&config.s3).unwrap();
        assert_eq!(s3.endpoint, "https://s3.us-east-1.amazonaws.com");
        assert_eq!((s3.branches, s3.attempts, s3.at_once), (Branches::All, 7, 3));
        assert_eq!((s3.key_prefix.as_str(), s3.create_bucket, s3.path_style), ("p/", true, false));
        assert_eq!([s3.connect_timeout, s3.request_timeout, s3.first_backoff].map(|time| time.as_millis()), [5_000, 30_000, 100]);
        (config.files.branches, config.files.at_once) = (vec!["main".into()], 2);
        let files = file_options(&config);
        assert_eq!((files.dir.to_str(), files.branches, files.at_once), (Some("somewhere/assets"), Branches::main(), 2));
        let cache = cache_options(&config.asset_cache);
        assert_eq!((cache.branches, cache.memory_bytes, cache.ttl.as_millis()), (Branches::main(), 64 << 20, 600_000));
    }
}
