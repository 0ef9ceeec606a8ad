//! Assets kept in Redis: found by other nodes, forgotten with them, and never missed when Redis is away.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId, SystemClock};
use yhub_store::{
    AssetCacheOptions, AssetStore, Branches, CachedAssets, ResponseCache,
    faults::{AssetMethod, FaultPlan, FaultyAssetStore},
    testsuite::{AssetStoreRig, MemoryAssets},
};
use yhub_store_redis::{RedisLog, RedisLogOptions};
use yhub_testkit::servers::Redis;

async fn redis() -> (Arc<Redis>, Arc<RedisLog>) {
    let redis = Arc::new(tokio::task::spawn_blocking(Redis::start).await.expect("Redis starts"));
    let log = RedisLog::connect(RedisLogOptions::new(redis.url())).await.expect("the log connects");
    (redis, log)
}

/// Only in Redis.
fn options() -> AssetCacheOptions {
    AssetCacheOptions {
        branches: Branches::All,
        memory_bytes: 0,
        max_asset_bytes: 64 << 20,
        shared_timeout: Duration::from_secs(20),
        ..AssetCacheOptions::default()
    }
}

fn cached(inner: Arc<dyn AssetStore>, log: &Arc<RedisLog>) -> CachedAssets {
    let shared: Arc<dyn ResponseCache> = log.clone();
    CachedAssets::new(inner, options(), Some(shared), Arc::new(SystemClock))
}

async fn rig() -> AssetStoreRig {
    let (redis, log) = redis().await;
    let assets = cached(Arc::new(MemoryAssets::new("Memory:v1", Branches::All)), &log);
    AssetStoreRig { assets: Arc::new(assets), takes: Box::new(|_| true), keep: Box::new((redis, log)) }
}

yhub_store::asset_store_conformance!(rig());

fn id() -> AssetId {
    AssetId { kind: AssetIdKind::ContentMap, room: RoomId::new("o", "a:b*/", RoomId::MAIN), t: "1-0".into() }
}

fn asset() -> Bytes {
    Asset::ContentMap { contentmap: Bytes::from_static(b"map") }.encode()
}

#[tokio::test]
async fn nodes_find_what_others_brought_and_go_on_without_redis() {
    let (redis, log) = redis().await;
    let plan = FaultPlan::new();
    let inner: Arc<dyn AssetStore> =
        Arc::new(FaultyAssetStore::new(Arc::new(MemoryAssets::new("Memory:v1", Branches::All)), plan.clone()));
    let (one, other) = (cached(inner.clone(), &log), cached(inner, &log));
    one.store(&id(), &asset()).await.unwrap();
    for node in [&one, &other, &one] {
        assert_eq!(node.retrieve(&id()).await.unwrap(), Some(asset()));
    }
    assert_eq!(plan.calls(AssetMethod::Retrieve), 1);
    // What is said to be forgotten of a room is forgotten of its assets, too.
    log.forget_cached(&id().room).await.unwrap();
    assert_eq!(other.retrieve(&id()).await.unwrap(), Some(asset()));
    assert_eq!(plan.calls(AssetMethod::Retrieve), 2);
    let stopped = redis.clone();
    tokio::task::spawn_blocking(move || stopped.kill()).await.unwrap();
    for node in [&one, &other] {
        assert_eq!(node.retrieve(&id()).await.unwrap(), Some(asset()));
    }
    one.delete(&id()).await.unwrap();
    assert_eq!(other.retrieve(&id()).await.unwrap(), None);
}
