//! Assets in memory: for tests of what stands before a store of assets.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::{AssetId, RoomId};

use crate::{Allowance, AssetStore, AssetStoreError, Branches, Brought, ScanPage, Stored, StoredName, StoredObject};

/// Assets in memory.
pub struct MemoryAssets {
    name: String,
    branches: Branches,
    assets: Mutex<BTreeMap<String, (AssetId, Bytes)>>,
}

impl MemoryAssets {
    /// An empty store whose references carry `name`, and which takes the assets of `branches`.
    pub fn new(name: &str, branches: Branches) -> Self {
        Self { name: name.to_owned(), branches, assets: Mutex::default() }
    }

    /// Every asset it has.
    pub fn ids(&self) -> Vec<AssetId> {
        self.lock().values().map(|(id, _)| id.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (AssetId, Bytes)>> {
        self.assets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AssetStore for MemoryAssets {
    fn name(&self) -> &str {
        &self.name
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        if !self.branches.have(&id.room) {
            return Ok(Stored::PassedOn);
        }
        self.lock().insert(id.to_string(), (id.clone(), asset.clone()));
        Ok(Stored::Here)
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        Ok(self.lock().get(&id.to_string()).map(|(_, asset)| match asset.len() as u64 {
            size_bytes if !allowance.take(size_bytes) => Brought::TooLong { size_bytes },
            _ => Brought::Whole(asset.clone()),
        }))
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        self.lock().remove(&id.to_string());
        Ok(())
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        let assets = self.lock();
        let after = assets.iter().filter(|(name, _)| cursor.is_none_or(|cursor| name.as_str() > cursor));
        let mut found = after.filter(|(_, (id, _))| of.is_none_or(|room| id.room == *room));
        let object = |(_, (id, asset)): (&String, &(AssetId, Bytes))| StoredObject {
            name: StoredName::Asset(id.clone()),
            size_bytes: asset.len() as u64,
            modified_ms: 1,
        };
        let (mut items, mut last) = (Vec::new(), None);
        for entry in found.by_ref().take(max.max(1)) {
            last = Some(entry.0.clone());
            items.push(object(entry));
        }
        let next = last.filter(|_| found.next().is_some());
        Ok(ScanPage { items, next })
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }
}
