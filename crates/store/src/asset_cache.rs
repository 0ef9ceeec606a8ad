//! Assets at hand that would take long to bring: in the memory of the node, in a cache that nodes share, or in both.
//!
//! What is kept is a copy. A cache that is away is asked again later, and never fails a read.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use log::{info, warn};
use tokio::time::timeout;
use yhub_core::{Asset, AssetId, RoomId, TimeSource};

use crate::{
    Allowance, AssetStore, AssetStoreError, Branches, Brought, CacheKey, ResponseCache, ScanPage, Stored, StoredObject,
    StreamLogError,
};

/// What the keys of a shared cache call it.
const ENDPOINT: &str = "asset";
/// A shared cache hands out what it has without saying before how long it is. Longer assets have keys of their own there, at which
/// only those look who may bring so much.
const SHORT_BYTES: usize = 8 << 20;

/// What is kept beside a [`CachedAssets`], and for how long.
#[derive(Clone, Debug)]
pub struct AssetCacheOptions {
    /// The rooms whose assets are kept.
    pub branches: Branches,
    /// How long an asset is kept after it was brought.
    pub ttl: Duration,
    /// So many bytes the memory holds, about; those used longest ago go first. 0 keeps nothing in memory.
    pub memory_bytes: usize,
    /// An asset with more bytes is not kept anywhere.
    pub max_asset_bytes: usize,
    /// A shared cache that has not answered after so long is away.
    pub shared_timeout: Duration,
}

impl Default for AssetCacheOptions {
    /// Of `main`, for ten minutes, up to 64 MiB in memory and 16 MiB each; a shared cache has half a second.
    fn default() -> Self {
        Self {
            branches: Branches::main(),
            ttl: Duration::from_secs(600),
            memory_bytes: 64 << 20,
            max_asset_bytes: 16 << 20,
            shared_timeout: Duration::from_millis(500),
        }
    }
}

/// A store of assets behind caches. What is stored again or deleted here is forgotten here and in the shared cache at once; the
/// memory of other nodes may hold it as it was, for the time to live. That misleads nobody: other bytes have another id, and
/// who would ask for what was deleted needs its row.
pub struct CachedAssets {
    inner: Arc<dyn AssetStore>,
    options: AssetCacheOptions,
    memory: Mutex<Memory>,
    shared: Option<Arc<dyn ResponseCache>>,
    /// Did the shared cache fail last time? The log tells of changes.
    shared_is_away: AtomicBool,
    time: Arc<dyn TimeSource>,
}

impl CachedAssets {
    /// `inner` behind a memory, and behind `shared` if there is one.
    pub fn new(
        inner: Arc<dyn AssetStore>,
        options: AssetCacheOptions,
        shared: Option<Arc<dyn ResponseCache>>,
        time: Arc<dyn TimeSource>,
    ) -> Self {
        Self { inner, options, memory: Mutex::default(), shared, shared_is_away: AtomicBool::new(false), time }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, id: &AssetId, is_short: bool) -> CacheKey {
        // References name the place, so other places have other answers.
        let mut arguments = vec![self.inner.name().to_owned(), id.to_string()];
        arguments.extend((!is_short).then(|| "long".to_owned()));
        CacheKey { room: id.room.clone(), endpoint: ENDPOINT.to_owned(), arguments }
    }

    async fn in_shared(&self, id: &AssetId, allowance: &Allowance) -> Option<Bytes> {
        let shared = self.shared.as_ref()?;
        let at = async |is_short| self.asked(shared.cached(&self.key(id, is_short))).await.flatten();
        let found = match at(true).await {
            None if allowance.left() > SHORT_BYTES as u64 => at(false).await,
            found => found,
        }?;
        // Others write there as well: what is no asset is not handed on.
        Asset::decode(&found).is_ok().then_some(found)
    }

    async fn put_into_shared(&self, id: &AssetId, asset: Bytes) {
        if let Some(shared) = &self.shared {
            let key = self.key(id, asset.len() <= SHORT_BYTES);
            self.asked(shared.cache(&key, asset, self.options.ttl)).await;
        }
    }

    async fn forget(&self, id: &AssetId) {
        self.memory().forget(id);
        if let Some(shared) = &self.shared {
            for is_short in [true, false] {
                self.asked(shared.release(&self.key(id, is_short))).await;
            }
            // Somebody may have brought it from there into the memory since.
            self.memory().forget(id);
        }
    }

    /// What the shared cache says; `None` if it is away.
    async fn asked<T>(&self, question: impl Future<Output = Result<T, StreamLogError>>) -> Option<T> {
        let (answer, why) = match timeout(self.options.shared_timeout, question).await {
            Ok(Ok(answer)) => (Some(answer), String::new()),
            Ok(Err(error)) => (None, error.to_string()),
            Err(_) => (None, format!("no answer within {:?}", self.options.shared_timeout)),
        };
        match (self.shared_is_away.swap(answer.is_none(), Ordering::Relaxed), answer.is_none()) {
            (false, true) => warn!("the cache of assets is away, they are brought from {}: {why}", self.inner.name()),
            (true, false) => info!("the cache of assets answers again"),
            _ => {}
        }
        answer
    }
}

#[async_trait]
impl AssetStore for CachedAssets {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        self.inner.init().await
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        let stored = self.inner.store(id, asset).await;
        // Also after a failure, which may have stored it all the same. Not kept here: of two who store at once, the one who
        // is last there need not be last here.
        if !matches!(stored, Ok(Stored::PassedOn)) && self.options.branches.have(&id.room) {
            self.forget(id).await;
        }
        stored
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        if !self.options.branches.have(&id.room) {
            return self.inner.retrieve_within(id, allowance).await;
        }
        let allowed = |asset: Bytes| match asset.len() as u64 {
            size_bytes if !allowance.take(size_bytes) => Brought::TooLong { size_bytes },
            _ => Brought::Whole(asset),
        };
        let (found, seen) = self.memory().get(id, self.time.now_ms());
        if let Some(found) = found {
            return Ok(Some(allowed(found)));
        }
        let (brought, was_shared) = match self.in_shared(id, allowance).await {
            Some(found) => (Some(allowed(found)), true),
            None => (self.inner.retrieve_within(id, allowance).await?, false),
        };
        let Some(Brought::Whole(found)) = brought else { return Ok(brought) };
        if found.len() <= self.options.max_asset_bytes {
            let until_ms = self.time.now_ms().saturating_add(u64::try_from(self.options.ttl.as_millis()).unwrap_or(u64::MAX));
            let is_current = self.memory().put(id, &found, until_ms, seen, self.options.memory_bytes);
            if is_current && !was_shared {
                self.put_into_shared(id, found.clone()).await;
                // What was forgotten meanwhile is to be forgotten there, too.
                if self.memory().changes_of(id) != seen {
                    self.forget(id).await;
                }
            }
        }
        Ok(Some(Brought::Whole(found)))
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        let deleted = self.inner.delete(id).await;
        if self.options.branches.have(&id.room) {
            self.forget(id).await;
        }
        deleted
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        self.inner.list(of, cursor, max).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        self.inner.check().await
    }
}

/// Assets in memory, and in which order they were used.
struct Memory {
    kept: HashMap<AssetId, Kept>,
    by_use: BTreeMap<u64, AssetId>,
    held_bytes: usize,
    uses: u64,
    /// Grows with each asset of its slot that is forgotten because it is not true any more: what was read before may be out
    /// of date.
    changes: [u64; SLOTS],
}

const SLOTS: usize = 1_024;

impl Default for Memory {
    fn default() -> Self {
        Self { kept: HashMap::new(), by_use: BTreeMap::new(), held_bytes: 0, uses: 0, changes: [0; SLOTS] }
    }
}

struct Kept {
    asset: Bytes,
    until_ms: u64,
    used: u64,
}

/// What an asset takes beside its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 512;

impl Memory {
    /// The asset, and what to [put](Self::put) it with if it has to be brought.
    fn get(&mut self, id: &AssetId, now_ms: u64) -> (Option<Bytes>, u64) {
        self.uses += 1;
        let uses = self.uses;
        let changes = self.changes_of(id);
        let Some(kept) = self.kept.get_mut(id) else { return (None, changes) };
        if kept.until_ms <= now_ms {
            self.remove(id);
            return (None, changes);
        }
        self.by_use.remove(&kept.used);
        kept.used = uses;
        self.by_use.insert(uses, id.clone());
        (Some(kept.asset.clone()), changes)
    }

    /// Keeps an asset, and lets go of others for it. False if something was forgotten since it was looked for: then it may be
    /// out of date, and is not kept.
    fn put(&mut self, id: &AssetId, asset: &Bytes, until_ms: u64, seen: u64, bound_bytes: usize) -> bool {
        if seen != self.changes_of(id) {
            return false;
        }
        self.remove(id);
        let cost = asset.len() + ENTRY_OVERHEAD_BYTES;
        if cost <= bound_bytes {
            while self.held_bytes + cost > bound_bytes {
                let Some((_, oldest)) = self.by_use.pop_first() else { break };
                self.remove(&oldest);
            }
            self.uses += 1;
            self.by_use.insert(self.uses, id.clone());
            self.kept.insert(id.clone(), Kept { asset: asset.clone(), until_ms, used: self.uses });
            self.held_bytes += cost;
        }
        true
    }

    fn forget(&mut self, id: &AssetId) {
        let slot = self.slot(id);
        self.changes[slot] += 1;
        self.remove(id);
    }

    fn changes_of(&self, id: &AssetId) -> u64 {
        self.changes[self.slot(id)]
    }

    fn slot(&self, id: &AssetId) -> usize {
        (self.kept.hasher().hash_one(id) % SLOTS as u64) as usize
    }

    fn remove(&mut self, id: &AssetId) {
        if let Some(gone) = self.kept.remove(id) {
            self.by_use.remove(&gone.used);
            self.held_bytes -= gone.asset.len() + ENTRY_OVERHEAD_BYTES;
        }
    }
}
