//! Assets as files of a directory.
//!
//! One file an asset, `{aa}/{room}/{asset}`: hashes of the room and of the id, so that no name from outside becomes a path.
//! Which asset it is, the file itself says ([`record`]). A file is written under `tmp/`, flushed, and moved into its place;
//! so there is never half an asset.

mod disk;
mod record;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use yhub_core::{AssetId, RoomId, TimeSource};

use crate::{Allowance, AssetStore, AssetStoreError, Branches, Brought, ScanPage, Stored, StoredObject};
use disk::{Disk, Failure};

/// How the assets of a directory are kept.
#[derive(Clone, Debug)]
pub struct FileAssetsOptions {
    /// The directory; made when it is missing. Nodes that share it must see one file system.
    pub dir: PathBuf,
    /// The rooms whose assets are kept here; those of others are passed on.
    pub branches: Branches,
    /// The most bytes that an asset may have.
    pub max_asset_bytes: u64,
    /// So many files are read and written at once, at most. The others wait.
    pub at_once: usize,
    /// A file that was being written and has not been touched for so long was left behind by a crash.
    pub abandoned_after: Duration,
}

impl FileAssetsOptions {
    /// Of all branches, up to 1 GiB each, eight at once; what was being written is abandoned after an hour.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            branches: Branches::All,
            max_asset_bytes: 1 << 30,
            at_once: 8,
            abandoned_after: Duration::from_secs(3_600),
        }
    }
}

/// Assets as files of a directory.
pub struct FileAssets {
    disk: Arc<Disk>,
    branches: Branches,
    max_asset_bytes: u64,
    turns: Arc<Semaphore>,
    time: Arc<dyn TimeSource>,
}

impl FileAssets {
    /// The name that references carry.
    pub const NAME: &str = "FilePersistence:v1";

    /// Assets in the directory that the options name; it is made by [`AssetStore::init`].
    pub fn new(options: FileAssetsOptions, time: Arc<dyn TimeSource>) -> Self {
        let FileAssetsOptions { dir, branches, max_asset_bytes, at_once, abandoned_after } = options;
        Self {
            disk: Arc::new(Disk { dir, abandoned_after }),
            branches,
            max_asset_bytes,
            turns: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
            time,
        }
    }

    /// Does something with the disk on a thread that may wait for it. Dropped meanwhile, it goes on to its end.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, AssetStoreError> {
        let turn = self.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let disk = self.disk.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&disk)
        });
        match task.await {
            Ok(done) => done.map_err(|failure| self.error(failure)),
            Err(error) => Err(self.error(Failure::Io(io::Error::other(error)))),
        }
    }

    fn at(&self) -> String {
        self.disk.dir.display().to_string()
    }

    fn error(&self, failure: Failure) -> AssetStoreError {
        let at = self.at();
        match failure {
            Failure::Damaged { id, file, what } => AssetStoreError::Corrupt { at: file.display().to_string(), id, what },
            Failure::TooLarge { id, size_bytes } => {
                AssetStoreError::TooLarge { at, id, size_bytes, bound_bytes: self.max_asset_bytes }
            }
            Failure::Io(error) => match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                    let advice = "give the user that the hub runs as the right to write in this directory".to_owned();
                    AssetStoreError::Refused { at, what: error.to_string(), advice }
                }
                _ => AssetStoreError::Unavailable { at, source: error.into() },
            },
        }
    }
}

#[async_trait]
impl AssetStore for FileAssets {
    fn name(&self) -> &str {
        Self::NAME
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        let now_ms = self.time.now_ms();
        self.blocking(move |disk| {
            disk.make()?;
            disk.clear_abandoned(now_ms)
        })
        .await
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        if !self.branches.have(&id.room) || !record::takes(id) {
            return Ok(Stored::PassedOn);
        }
        let size_bytes = asset.len() as u64;
        if size_bytes > self.max_asset_bytes {
            return Err(self.error(Failure::TooLarge { id: id.clone(), size_bytes }));
        }
        let (id, asset) = (id.clone(), asset.clone());
        self.blocking(move |disk| disk.write(&id, &asset)).await?;
        Ok(Stored::Here)
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        let (id, max_bytes, allowance) = (id.clone(), self.max_asset_bytes, allowance.clone());
        self.blocking(move |disk| disk.read(&id, max_bytes, &allowance)).await
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        let id = id.clone();
        self.blocking(move |disk| disk.delete(&id)).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        let (of, cursor, now_ms) = (of.cloned(), cursor.map(str::to_owned), self.time.now_ms());
        self.blocking(move |disk| {
            if of.is_none() && cursor.is_none() {
                disk.clear_abandoned(now_ms)?;
            }
            disk.list(of.as_ref(), cursor.as_deref(), max.max(1))
        })
        .await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        self.blocking(Disk::probe).await
    }
}
