//! What is kept of assets, for how long, and that nobody is told what is not true any more.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, ManualTime, RoomId};
use yhub_store::{
    AssetCacheOptions, AssetStore, Branches, CacheKey, CachedAssets, MemoryCache, ResponseCache, StreamLogError,
    faults::{AssetMethod, Fault, FaultPlan, FaultyAssetStore},
    testsuite::{AssetStoreRig, MemoryAssets},
};

const TTL: Duration = Duration::from_secs(600);

/// A cache over a store that counts its calls.
struct Cached {
    cached: Arc<CachedAssets>,
    inner: Arc<dyn AssetStore>,
    plan: Arc<FaultPlan<AssetMethod>>,
    time: Arc<ManualTime>,
}

fn over_memory(options: AssetCacheOptions, shared: Option<Arc<dyn ResponseCache>>) -> Cached {
    let (plan, time) = (FaultPlan::new(), Arc::new(ManualTime::new(1_000_000)));
    let memory = Arc::new(MemoryAssets::new("Memory:v1", Branches::All));
    let inner: Arc<dyn AssetStore> = Arc::new(FaultyAssetStore::new(memory, plan.clone()));
    let cached = Arc::new(CachedAssets::new(inner.clone(), options, shared, time.clone()));
    Cached { cached, inner, plan, time }
}

fn options() -> AssetCacheOptions {
    AssetCacheOptions { branches: Branches::All, ttl: TTL, ..AssetCacheOptions::default() }
}

fn shared_cache() -> Arc<dyn ResponseCache> {
    Arc::new(MemoryCache::new(256 << 20, Arc::new(ManualTime::new(1_000_000))))
}

impl Cached {
    async fn get(&self, id: &AssetId) -> Option<Bytes> {
        self.cached.retrieve(id).await.expect("an asset is looked for")
    }

    /// How often the store was asked for an asset.
    fn brought(&self) -> u64 {
        self.plan.calls(AssetMethod::Retrieve)
    }
}

fn id(n: usize) -> AssetId {
    AssetId { kind: AssetIdKind::ContentMap, room: RoomId::new("o", &format!("d{n}"), RoomId::MAIN), t: "1-0".into() }
}

fn asset(text: &str) -> Bytes {
    Asset::ContentMap { contentmap: Bytes::copy_from_slice(text.as_bytes()) }.encode()
}

async fn rig(options: AssetCacheOptions, shared: Option<Arc<dyn ResponseCache>>) -> AssetStoreRig {
    let Cached { cached, .. } = over_memory(options, shared);
    AssetStoreRig { assets: cached, takes: Box::new(|_| true), keep: Box::new(()) }
}

mod in_memory {
    use super::*;

    yhub_store::asset_store_conformance!(rig(options(), None));
}

mod shared {
    use super::*;

    yhub_store::asset_store_conformance!(rig(AssetCacheOptions { memory_bytes: 0, ..options() }, Some(shared_cache())));
}

mod in_both {
    use super::*;

    yhub_store::asset_store_conformance!(rig(options(), Some(shared_cache())));
}

#[tokio::test]
async fn an_asset_is_brought_once_until_its_time_is_over() {
    let cached = over_memory(options(), None);
    cached.cached.store(&id(1), &asset("x")).await.unwrap();
    for _ in 0..5 {
        assert_eq!(cached.get(&id(1)).await, Some(asset("x")));
    }
    assert_eq!(cached.brought(), 1);
    cached.time.advance(TTL - Duration::from_millis(1));
    cached.get(&id(1)).await;
    assert_eq!(cached.brought(), 1);
    cached.time.advance(Duration::from_millis(1));
    cached.get(&id(1)).await;
    assert_eq!(cached.brought(), 2);
    // That there is none is not kept: it may come.
    assert_eq!(cached.get(&id(2)).await, None);
    cached.inner.store(&id(2), &asset("y")).await.unwrap();
    assert_eq!(cached.get(&id(2)).await, Some(asset("y")));
}

#[tokio::test]
async fn those_used_longest_ago_go_first() {
    // Room for three.
    let three = 3 * (asset("0").len() + 512);
    let cached = over_memory(AssetCacheOptions { memory_bytes: three, ..options() }, None);
    for n in 0..4 {
        cached.inner.store(&id(n), &asset(&n.to_string())).await.unwrap();
    }
    for n in [0, 1, 2, 0, 3] {
        cached.get(&id(n)).await;
    }
    assert_eq!(cached.brought(), 4);
    for n in [0, 2, 3] {
        cached.get(&id(n)).await;
    }
    assert_eq!(cached.brought(), 4, "the three used last are there");
    cached.get(&id(1)).await;
    assert_eq!(cached.brought(), 5, "the fourth is not");
}

#[tokio::test]
async fn what_is_too_large_or_of_another_branch_is_brought_each_time() {
    let large = AssetCacheOptions { max_asset_bytes: asset("x").len() - 1, ..options() };
    let other = AssetCacheOptions { branches: Branches::Only(["draft".to_owned()].into()), ..options() };
    let none = AssetCacheOptions { memory_bytes: 0, ..options() };
    for options in [large, other, none] {
        let shared = shared_cache();
        // A shared cache keeps what the memory has no room for.
        let cached = over_memory(options.clone(), (options.memory_bytes > 0).then_some(shared));
        cached.inner.store(&id(1), &asset("x")).await.unwrap();
        for n in 1..4 {
            assert_eq!(cached.get(&id(1)).await, Some(asset("x")));
            assert_eq!(cached.brought(), n, "{options:?}");
        }
    }
}

#[tokio::test]
async fn another_node_finds_it_in_the_shared_cache() {
    let shared = shared_cache();
    let (one, other) = (over_memory(options(), Some(shared.clone())), over_memory(options(), Some(shared)));
    one.inner.store(&id(1), &asset("x")).await.unwrap();
    assert_eq!(one.get(&id(1)).await, Some(asset("x")));
    // The other's own store does not even have it.
    assert_eq!(other.get(&id(1)).await, Some(asset("x")));
    assert_eq!(other.brought(), 0);
    one.cached.delete(&id(1)).await.unwrap();
    assert_eq!(one.get(&id(1)).await, None);
    // For its own memory the other has to wait.
    other.time.advance(TTL);
    assert_eq!(other.get(&id(1)).await, None);
}

#[tokio::test]
async fn what_is_no_asset_is_not_taken_from_a_shared_cache() {
    let shared = shared_cache();
    let cached = over_memory(options(), Some(shared.clone()));
    cached.inner.store(&id(1), &asset("x")).await.unwrap();
    let arguments = vec!["Memory:v1".to_owned(), id(1).to_string()];
    let key = CacheKey { room: id(1).room, endpoint: "asset".into(), arguments };
    shared.cache(&key, Bytes::from_static(b"garbage"), TTL).await.unwrap();
    assert_eq!(cached.get(&id(1)).await, Some(asset("x")));
    assert_eq!(shared.cached(&key).await.unwrap(), Some(asset("x")), "and it is put right");
}

/// A cache that is away: it fails, or never answers.
struct Away {
    hangs: bool,
}

#[async_trait::async_trait]
impl ResponseCache for Away {
    async fn cached(&self, _: &CacheKey) -> Result<Option<Bytes>, StreamLogError> {
        self.answer().await.map(|()| None)
    }

    async fn cache(&self, _: &CacheKey, _: Bytes, _: Duration) -> Result<(), StreamLogError> {
        self.answer().await
    }

    async fn reserve(&self, _: &CacheKey, _: Bytes, _: Duration) -> Result<bool, StreamLogError> {
        self.answer().await.map(|()| true)
    }

    async fn release(&self, _: &CacheKey) -> Result<(), StreamLogError> {
        self.answer().await
    }

    async fn forget_cached(&self, _: &RoomId) -> Result<(), StreamLogError> {
        self.answer().await
    }
}

impl Away {
    async fn answer(&self) -> Result<(), StreamLogError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(StreamLogError::Unavailable { at: "nowhere".into(), source: "away".into() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_away_fails_nothing() {
    for hangs in [false, true] {
        let cached = over_memory(AssetCacheOptions { memory_bytes: 0, ..options() }, Some(Arc::new(Away { hangs })));
        cached.cached.store(&id(1), &asset("x")).await.unwrap();
        assert_eq!(cached.get(&id(1)).await, Some(asset("x")));
        cached.cached.delete(&id(1)).await.unwrap();
        assert_eq!(cached.get(&id(1)).await, None);
    }
}

#[tokio::test]
async fn a_failed_store_may_have_stored() {
    let cached = over_memory(options(), Some(shared_cache()));
    cached.cached.store(&id(1), &asset("old")).await.unwrap();
    assert_eq!(cached.get(&id(1)).await, Some(asset("old")));
    cached.plan.on_nth(AssetMethod::Store, 1, Fault::FailAfter);
    assert!(cached.cached.store(&id(1), &asset("new")).await.is_err());
    assert_eq!(cached.get(&id(1)).await, Some(asset("new")));
    cached.plan.on_nth(AssetMethod::Delete, 1, Fault::FailAfter);
    assert!(cached.cached.delete(&id(1)).await.is_err());
    assert_eq!(cached.get(&id(1)).await, None);
}

/// A store that answers only when it is told to, with what it had when it was asked.
struct Slow {
    inner: Arc<MemoryAssets>,
    answers: tokio::sync::Semaphore,
    asked: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl AssetStore for Slow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn init(&self) -> Result<(), yhub_store::AssetStoreError> {
        Ok(())
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<yhub_store::Stored, yhub_store::AssetStoreError> {
        self.inner.store(id, asset).await
    }

    async fn retrieve_within(
        &self,
        id: &AssetId,
        allowance: &yhub_store::Allowance,
    ) -> Result<Option<yhub_store::Brought<Bytes>>, yhub_store::AssetStoreError> {
        let found = self.inner.retrieve_within(id, allowance).await;
        self.asked.notify_one();
        self.answers.acquire().await.expect("it is never closed").forget();
        found
    }

    async fn delete(&self, id: &AssetId) -> Result<(), yhub_store::AssetStoreError> {
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<yhub_store::ScanPage<yhub_store::StoredObject>, yhub_store::AssetStoreError> {
        self.inner.list(of, cursor, max).await
    }

    async fn check(&self) -> Result<(), yhub_store::AssetStoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn what_was_on_its_way_when_it_changed_is_not_kept() {
    for deletes in [false, true] {
        for shared in [None, Some(shared_cache())] {
            let slow = Arc::new(Slow {
                inner: Arc::new(MemoryAssets::new("Memory:v1", Branches::All)),
                answers: tokio::sync::Semaphore::new(0),
                asked: tokio::sync::Notify::new(),
            });
            let time = Arc::new(ManualTime::new(0));
            let cached = Arc::new(CachedAssets::new(slow.clone(), options(), shared, time));
            cached.store(&id(1), &asset("old")).await.unwrap();
            let reader = tokio::spawn({
                let cached = cached.clone();
                async move { cached.retrieve(&id(1)).await.unwrap() }
            });
            slow.asked.notified().await;
            if deletes {
                cached.delete(&id(1)).await.unwrap();
            } else {
                cached.store(&id(1), &asset("new")).await.unwrap();
            }
            slow.answers.add_permits(1);
            // Whoever asked before may be told what was.
            assert_eq!(reader.await.unwrap(), Some(asset("old")));
            slow.answers.add_permits(1);
            assert_eq!(cached.retrieve(&id(1)).await.unwrap(), (!deletes).then(|| asset("new")));
        }
    }
}

/// A shared cache in which one kind of call waits until it is told to go on.
struct SlowCache {
    inner: Arc<dyn ResponseCache>,
    /// Those that keep something, or those that forget something?
    slow_to_keep: bool,
    turns: tokio::sync::Semaphore,
    waits: tokio::sync::Notify,
}

impl SlowCache {
    async fn wait_if(&self, slow: bool) {
        if slow {
            self.waits.notify_one();
            self.turns.acquire().await.expect("it is never closed").forget();
        }
    }
}

#[async_trait::async_trait]
impl ResponseCache for SlowCache {
    async fn cached(&self, key: &CacheKey) -> Result<Option<Bytes>, StreamLogError> {
        self.inner.cached(key).await
    }

    async fn cache(&self, key: &CacheKey, response: Bytes, ttl: Duration) -> Result<(), StreamLogError> {
        self.wait_if(self.slow_to_keep).await;
        self.inner.cache(key, response, ttl).await
    }

    async fn reserve(&self, key: &CacheKey, mark: Bytes, ttl: Duration) -> Result<bool, StreamLogError> {
        self.inner.reserve(key, mark, ttl).await
    }

    async fn release(&self, key: &CacheKey) -> Result<(), StreamLogError> {
        self.wait_if(!self.slow_to_keep).await;
        self.inner.release(key).await
    }

    async fn forget_cached(&self, room: &RoomId) -> Result<(), StreamLogError> {
        self.inner.forget_cached(room).await
    }
}

async fn over_slow(slow_to_keep: bool) -> (Arc<CachedAssets>, Arc<SlowCache>) {
    let (turns, waits) = (tokio::sync::Semaphore::new(0), tokio::sync::Notify::new());
    let slow = Arc::new(SlowCache { inner: shared_cache(), slow_to_keep, turns, waits });
    let patient = AssetCacheOptions { shared_timeout: Duration::from_secs(3_600), ..options() };
    let Cached { cached, inner, .. } = over_memory(patient, Some(slow.clone()));
    inner.store(&id(1), &asset("old")).await.expect("it is stored");
    (cached, slow)
}

#[tokio::test]
async fn what_comes_late_into_a_shared_cache_does_not_outlive_its_deletion() {
    let (cached, slow) = over_slow(true).await;
    let reader = tokio::spawn({
        let cached = cached.clone();
        async move { cached.retrieve(&id(1)).await.unwrap() }
    });
    slow.waits.notified().await;
    cached.delete(&id(1)).await.unwrap();
    slow.turns.add_permits(1);
    assert_eq!(reader.await.unwrap(), Some(asset("old")));
    assert_eq!(cached.retrieve(&id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_shared_cache_is_slow_to_forget_does_not_come_back_from_there() {
    let (cached, slow) = over_slow(false).await;
    cached.retrieve(&id(1)).await.unwrap();
    let deleter = tokio::spawn({
        let cached = cached.clone();
        async move { cached.delete(&id(1)).await.unwrap() }
    });
    slow.waits.notified().await;
    // From the shared cache into the memory, while it is being deleted.
    assert_eq!(cached.retrieve(&id(1)).await.unwrap(), Some(asset("old")));
    // It may lie there as a short one and as a long one.
    slow.turns.add_permits(2);
    deleter.await.unwrap();
    assert_eq!(cached.retrieve(&id(1)).await.unwrap(), None);
}
