//! A store of assets with faults.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::{AssetId, RoomId};

use super::{Asked, FaultPlan};
use crate::{Allowance, AssetStore, AssetStoreError, BoxError, Brought, ScanPage, Stored, StoredObject};

/// A method of [`AssetStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the methods")]
pub enum AssetMethod {
    Init,
    Store,
    Retrieve,
    Delete,
    List,
    Check,
}

fn asset_failure() -> AssetStoreError {
    AssetStoreError::Unavailable { at: "a test's fault plan".to_owned(), source: BoxError::from(Asked) }
}

/// A store of assets with faults.
pub struct FaultyAssetStore {
    assets: Arc<dyn AssetStore>,
    plan: Arc<FaultPlan<AssetMethod>>,
}

impl FaultyAssetStore {
    /// `assets`, with the faults of `plan`.
    pub fn new(assets: Arc<dyn AssetStore>, plan: Arc<FaultPlan<AssetMethod>>) -> Self {
        Self { assets, plan }
    }
}

#[async_trait]
impl AssetStore for FaultyAssetStore {
    fn name(&self) -> &str {
        self.assets.name()
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        self.plan.run(AssetMethod::Init, self.assets.init(), asset_failure).await
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        self.plan.run(AssetMethod::Store, self.assets.store(id, asset), asset_failure).await
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        self.plan.run(AssetMethod::Retrieve, self.assets.retrieve_within(id, allowance), asset_failure).await
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        self.plan.run(AssetMethod::Delete, self.assets.delete(id), asset_failure).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        self.plan.run(AssetMethod::List, self.assets.list(of, cursor, max), asset_failure).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        self.plan.run(AssetMethod::Check, self.assets.check(), asset_failure).await
    }
}
