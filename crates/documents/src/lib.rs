//! What one does with a room: load it, fold it, compact it. Async over the storage traits.
//!
//! Knows no actor and no engine. What takes long runs on the [`ComputePool`].

mod compact;
mod compute;
mod error;
mod fold;
mod load;
mod read;

use std::sync::Arc;

use tokio::sync::Semaphore;
use yhub_content as content;
use yhub_store::{DocStore, StreamLog};

pub use compact::Compacted;
pub use compute::{ComputeError, ComputePool};
pub use error::DocumentsError;
pub use fold::fold;

/// The rooms of a deployment, through its storage.
#[derive(Clone)]
pub struct Documents {
    log: Arc<dyn StreamLog>,
    store: Arc<dyn DocStore>,
    compute: ComputePool,
    limits: content::Limits,
    loads: Arc<Semaphore>,
}

/// So many loads read and merge at once, which bounds the documents in memory that nobody holds yet; further ones wait
/// their turn, within the time that a load may take.
const LOADS_AT_ONCE: usize = 64;

impl Documents {
    /// Over these stores.
    pub fn new(log: Arc<dyn StreamLog>, store: Arc<dyn DocStore>, compute: ComputePool, limits: content::Limits) -> Self {
        Self { log, store, compute, limits, loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)) }
    }

    /// The stream log.
    pub fn log(&self) -> &Arc<dyn StreamLog> {
        &self.log
    }

    /// The document store.
    pub fn store(&self) -> &Arc<dyn DocStore> {
        &self.store
    }

    /// The pool for what takes long.
    pub fn compute(&self) -> &ComputePool {
        &self.compute
    }

    /// What updates from outside are held to.
    pub fn limits(&self) -> &content::Limits {
        &self.limits
    }

    /// What stored documents are held to: they are made of many updates, so only their form is bounded.
    pub fn stored_limits(&self) -> content::Limits {
        content::Limits {
            max_size_bytes: usize::MAX,
            max_clients: usize::MAX,
            max_structs: usize::MAX,
            max_delete_ranges: usize::MAX,
            max_depth: self.limits.max_depth,
        }
    }
}
