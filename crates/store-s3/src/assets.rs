//! Assets as objects: which go there, what failures mean, and how long one tries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};
use yhub_core::{AssetId, RoomId};
use yhub_store::{Allowance, AssetStore, AssetStoreError, Brought, ScanPage, Stored, StoredObject};

use crate::{
    S3ClientKind, S3Options,
    client::{Client, Failure},
    download::{self, Bounds},
    keys::Keys,
    retry::Patience,
    upload,
};

/// The parts of an upload that others than the last must have, in bytes.
const LEAST_PART_BYTES: usize = 5 << 20;
/// What a service lists at once.
const LIST_AT_ONCE: usize = 1_000;

/// Assets as objects of a bucket.
///
/// Requests are sent by a thread of its own, whichever thread asks: connections live there. What somebody asked for and does
/// not wait for any more goes on to its end.
pub struct S3Assets {
    inner: Arc<Inner>,
    turns: Arc<Semaphore>,
    runtime: OwnRuntime,
}

struct Inner {
    client: Box<dyn Client>,
    keys: Keys,
    patience: Patience,
    options: S3Options,
}

/// A runtime that may be dropped anywhere, also on a thread of another one: nothing waits for its end.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl S3Assets {
    /// The name that references carry: that of y/hub.
    pub const NAME: &str = "S3Persistence:v1";

    /// Assets in the bucket that the options name. Nothing is sent yet.
    ///
    /// # Errors
    /// [`AssetStoreError::Refused`] if the options cannot be used, with what to do.
    pub fn new(options: S3Options) -> Result<Self, AssetStoreError> {
        if options.part_bytes < LEAST_PART_BYTES {
            return Err(options.unusable("the parts of an upload have less than 5 MiB", "choose larger parts"));
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("assets-s3").enable_all().build();
        let runtime = runtime.map_err(|source| AssetStoreError::Unavailable { at: options.at(), source: source.into() })?;
        let client = {
            let _on_it = runtime.enter();
            connect(&options)?
        };
        let patience = Patience {
            attempts: options.attempts.max(1),
            first_backoff: options.first_backoff,
            request_timeout: options.request_timeout,
        };
        let turns = Arc::new(Semaphore::new(options.at_once.clamp(1, Semaphore::MAX_PERMITS)));
        let keys = Keys { prefix: options.key_prefix.clone() };
        Ok(Self { inner: Arc::new(Inner { client, keys, patience, options }), turns, runtime: OwnRuntime(Some(runtime)) })
    }

    /// Does something on our own thread. Dropped meanwhile, it goes on to its end.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AssetStoreError>> + Send + 'static,
    ) -> Result<T, AssetStoreError> {
        let runtime = self.runtime.0.as_ref().expect("it is only taken when it is dropped");
        match runtime.spawn(work).await {
            Ok(done) => done,
            // A client that panics, say over an answer that it did not expect.
            Err(error) => Err(AssetStoreError::Unavailable { at: self.inner.options.at(), source: error.into() }),
        }
    }

    /// The same, when it is its turn.
    async fn in_turn<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, AssetStoreError>
    where
        F: Future<Output = Result<T, AssetStoreError>> + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let work = work(self.inner.clone());
        self.run(async move {
            let _turn = turn;
            work.await
        })
        .await
    }
}

fn connect(options: &S3Options) -> Result<Box<dyn Client>, AssetStoreError> {
    match options.client {
        #[cfg(feature = "object-store")]
        S3ClientKind::ObjectStore => Ok(Box::new(crate::with_object_store::ObjectStoreClient::new(options)?)),
        #[cfg(feature = "rusoto")]
        S3ClientKind::Rusoto => Ok(Box::new(crate::with_rusoto::RusotoClient::new(options)?)),
        #[allow(unreachable_patterns, reason = "with both features there is no other")]
        other => Err(options.unusable(format!("the client {other:?} is not built in"), "choose another client, or build it in")),
    }
}

impl Inner {
    fn error(&self, id: Option<&AssetId>, failure: Failure) -> AssetStoreError {
        let at = self.options.at();
        let refused =
            |what: String, advice: &str| AssetStoreError::Refused { at: self.options.at(), what, advice: advice.to_owned() };
        match (failure, id) {
            (Failure::Transient(source), _) => AssetStoreError::Unavailable { at, source },
            (Failure::Denied(said), _) => {
                refused(said, "check the access key, the secret key and what they may do, and that the clock is right")
            }
            (Failure::NoBucket, _) => refused("there is no such bucket".to_owned(), "make it, or have it made"),
            (Failure::TooLarge(size_bytes), Some(id)) => {
                let bound_bytes = self.options.max_asset_bytes;
                AssetStoreError::TooLarge { at, id: id.clone(), size_bytes, bound_bytes }
            }
            (Failure::TooLarge(size_bytes), None) => refused(format!("an answer of {size_bytes} bytes"), "check the endpoint"),
            (Failure::Rejected(said), _) => refused(said, "check endpoint, region and bucket, and what the service can do"),
            (Failure::NotFound | Failure::NoUpload | Failure::Changed | Failure::OutOfRange, _) => {
                refused("the service does not know what it was asked for".to_owned(), "check the endpoint")
            }
        }
    }

    async fn prepare(&self) -> Result<(), AssetStoreError> {
        let look = || self.patience.ask("looking for the bucket", || self.client.head_bucket());
        match look().await {
            Err(Failure::NoBucket) if self.options.create_bucket => {}
            looked => return looked.map_err(|failure| self.error(None, failure)),
        }
        let made = self.patience.ask("making the bucket", || self.client.create_bucket()).await;
        match look().await {
            // Perhaps somebody else has made it.
            Ok(()) => Ok(()),
            Err(failure) => Err(self.error(None, made.err().unwrap_or(failure))),
        }
    }

    async fn store(&self, id: &AssetId, key: &str, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        let size_bytes = asset.len() as u64;
        if size_bytes > self.options.max_asset_bytes {
            return Err(self.error(Some(id), Failure::TooLarge(size_bytes)));
        }
        let sent = if asset.len() > self.options.multipart_from_bytes {
            upload::in_parts(self.client.as_ref(), self.patience, key, asset, self.options.part_bytes).await
        } else {
            self.patience.ask("storing an asset", || self.client.put(key, asset.clone())).await
        };
        sent.map(|()| Stored::Here).map_err(|failure| self.error(Some(id), failure))
    }

    async fn retrieve(&self, id: &AssetId, key: &str, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        let (max_bytes, part_bytes) = (self.options.max_asset_bytes, self.options.part_bytes);
        let bounds = Bounds { max_bytes, allowance, part_bytes };
        match download::in_ranges(self.client.as_ref(), self.patience, key, &bounds).await {
            Ok(asset) => Ok(Some(asset)),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(self.error(Some(id), failure)),
        }
    }

    async fn delete(&self, id: &AssetId, key: &str) -> Result<(), AssetStoreError> {
        match self.patience.ask("deleting an asset", || self.client.delete(key)).await {
            Ok(()) | Err(Failure::NotFound) => Ok(()),
            Err(failure) => Err(self.error(Some(id), failure)),
        }
    }

    /// The cursor says which of the beginnings is being listed, and the service's own token after a colon.
    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        let beginnings = self.keys.beginnings(of);
        let (at, token) = cursor.and_then(|cursor| cursor.split_once(':')).unwrap_or(("0", ""));
        let at: usize = at.parse().unwrap_or(0);
        let Some(beginning) = beginnings.get(at) else { return Ok(ScanPage { items: Vec::new(), next: None }) };
        let (token, max) = (Some(token).filter(|token| !token.is_empty()), max.clamp(1, LIST_AT_ONCE));
        let page = self.patience.ask("listing assets", || self.client.list(beginning, token, max)).await;
        let page = page.map_err(|failure| self.error(None, failure))?;
        let items = page.objects.into_iter().map(|object| StoredObject {
            name: self.keys.named(&object.key),
            size_bytes: object.size_bytes,
            modified_ms: object.modified_ms,
        });
        let next = match page.next {
            Some(token) => Some(format!("{at}:{token}")),
            None => (at + 1 < beginnings.len()).then(|| format!("{}:", at + 1)),
        };
        Ok(ScanPage { items: items.collect(), next })
    }
}

#[async_trait]
impl AssetStore for S3Assets {
    fn name(&self) -> &str {
        Self::NAME
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        let inner = self.inner.clone();
        self.run(async move { inner.prepare().await }).await
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        let key = self.inner.keys.of(id).filter(|_| self.inner.options.branches.have(&id.room));
        let Some(key) = key else { return Ok(Stored::PassedOn) };
        let (id, asset) = (id.clone(), asset.clone());
        self.in_turn(|inner| async move { inner.store(&id, &key, &asset).await }).await
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        let Some(key) = self.inner.keys.of(id) else {
            let what = format!("asset {id} has a name that no request can carry");
            return Err(self.inner.options.unusable(what, "bring it into its row by other means"));
        };
        let (id, allowance) = (id.clone(), allowance.clone());
        self.in_turn(|inner| async move { inner.retrieve(&id, &key, &allowance).await }).await
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        // What can have no object has none.
        let Some(key) = self.inner.keys.of(id) else { return Ok(()) };
        let id = id.clone();
        self.in_turn(|inner| async move { inner.delete(&id, &key).await }).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        let (of, cursor) = (of.cloned(), cursor.map(str::to_owned));
        self.in_turn(|inner| async move { inner.list(of.as_ref(), cursor.as_deref(), max).await }).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        let inner = self.inner.clone();
        self.run(async move {
            let looked = inner.patience.once().ask("looking for the bucket", || inner.client.head_bucket()).await;
            looked.map_err(|failure| inner.error(None, failure))
        })
        .await
    }
}
