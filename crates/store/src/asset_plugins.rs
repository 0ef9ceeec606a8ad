//! The places for assets that a hub has, in order: which of them takes an asset, and who has the one that a row refers to.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_core::{Asset, AssetId};

use crate::{Allowance, AssetStore, AssetStoreError, Brought, Stored, discards::Discards};

/// What a column of a version row is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The any-encoded asset, or a reference to it.
    pub bytes: Bytes,
    /// Is it a reference?
    pub is_reference: bool,
}

/// The places for assets, in the order in which they are offered one. Without any, assets stay in their rows.
pub struct AssetPlugins {
    plugins: Arc<[Arc<dyn AssetStore>]>,
    discards: Discards,
}

impl Default for AssetPlugins {
    /// No places: assets stay in their rows.
    fn default() -> Self {
        Self::new(Vec::new(), Duration::ZERO)
    }
}

impl AssetPlugins {
    /// `plugins` in their order. What is [discarded](Self::discard) is deleted after `delete_delay`.
    pub fn new(plugins: Vec<Arc<dyn AssetStore>>, delete_delay: Duration) -> Self {
        let plugins: Arc<[_]> = plugins.into();
        Self { discards: Discards::new(plugins.clone(), delete_delay), plugins }
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// The places, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AssetStore>> {
        self.plugins.iter()
    }

    /// The place of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn AssetStore>> {
        named(&self.plugins, name)
    }

    /// Prepares every place. To be called before anything is stored.
    pub async fn init(&self) -> Result<(), AssetStoreError> {
        for plugin in &*self.plugins {
            plugin.init().await?;
        }
        Ok(())
    }

    /// Answers iff every place can be used now.
    pub async fn check(&self) -> Result<(), AssetStoreError> {
        let checks = self.plugins.iter().map(|plugin| plugin.check());
        futures_util::future::try_join_all(checks).await.map(drop)
    }

    /// Puts an asset into the first place that takes it. Returns what its column is to hold: a reference, or the asset
    /// itself if no place takes it. A place that fails is an error, so that no asset silently goes where none is expected.
    pub async fn store(&self, id: &AssetId, asset: Bytes) -> Result<Column, AssetStoreError> {
        for plugin in &*self.plugins {
            if plugin.store(id, &asset).await? == Stored::Here {
                let reference = Asset::Retrievable { plugin: plugin.name().to_owned() };
                return Ok(Column { bytes: reference.encode(), is_reference: true });
            }
        }
        Ok(Column { bytes: asset, is_reference: false })
    }

    /// Brings the asset that a row refers to.
    ///
    /// # Errors
    /// [`AssetStoreError::UnknownPlugin`] if nothing of that name is configured, [`AssetStoreError::Missing`] if it is not
    /// there.
    pub async fn retrieve(&self, id: &AssetId, plugin: &str) -> Result<Bytes, AssetStoreError> {
        let store = self.known(id, plugin)?;
        let found = store.retrieve(id).await?;
        found.ok_or_else(|| AssetStoreError::Missing { at: store.name().to_owned(), id: id.clone() })
    }

    /// The asset of a column that was decoded: itself, or the one that it refers to, if `allowance` allows it. What is brought is
    /// taken from there.
    ///
    /// # Errors
    /// As [`Self::retrieve`], and [`AssetStoreError::Corrupt`] if what is there is no asset, or once more a reference.
    pub async fn resolve(&self, id: &AssetId, column: Asset, allowance: &Allowance) -> Result<Brought<Asset>, AssetStoreError> {
        let Asset::Retrievable { plugin } = column else { return Ok(Brought::Whole(column)) };
        let store = self.known(id, &plugin)?;
        let bytes = match store.retrieve_within(id, allowance).await? {
            Some(Brought::Whole(bytes)) => bytes,
            Some(Brought::TooLong { size_bytes }) => return Ok(Brought::TooLong { size_bytes }),
            None => return Err(AssetStoreError::Missing { at: store.name().to_owned(), id: id.clone() }),
        };
        let damaged = |what: String| AssetStoreError::Corrupt { at: plugin.clone(), id: id.clone(), what };
        match Asset::decode(&bytes).map_err(|error| damaged(error.to_string()))? {
            Asset::Retrievable { .. } => Err(damaged("it is a reference in place of an asset".to_owned())),
            asset => Ok(Brought::Whole(asset)),
        }
    }

    /// Deletes the asset that a row referred to, at once. The row must be gone (I-4).
    pub async fn delete(&self, id: &AssetId, plugin: &str) -> Result<(), AssetStoreError> {
        self.known(id, plugin)?.delete(id).await
    }

    /// Deletes assets that rows referred to, but not before the delay: until then they can be read by whoever has read a
    /// row just before it went. The rows must be gone (I-4). Returns as soon as all of them wait; that takes time only
    /// while very many do. What cannot be deleted is logged and left behind, as is what waits when the process ends:
    /// listings find it.
    pub async fn discard(&self, assets: Vec<(AssetId, String)>) {
        self.discards.add(assets).await;
    }

    /// How many discarded assets are still there.
    pub fn discarding(&self) -> usize {
        self.discards.waiting()
    }

    fn known(&self, id: &AssetId, plugin: &str) -> Result<&Arc<dyn AssetStore>, AssetStoreError> {
        self.named(plugin).ok_or_else(|| AssetStoreError::UnknownPlugin {
            id: id.clone(),
            plugin: plugin.chars().take(256).collect(),
            configured: self.plugins.iter().map(|plugin| plugin.name().to_owned()).collect(),
        })
    }
}

/// The place of this name.
pub(crate) fn named<'a>(plugins: &'a [Arc<dyn AssetStore>], name: &str) -> Option<&'a Arc<dyn AssetStore>> {
    plugins.iter().find(|plugin| plugin.name() == name)
}
