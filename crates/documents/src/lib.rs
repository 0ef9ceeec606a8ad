//! What one does with a room: load it, fold it, compact it, set its stream aside. Async over the storage traits.
//!
//! Knows no actor and no engine. What takes long runs on the [`ComputePool`].

mod compact;
mod compare;
mod compute;
mod error;
mod fold;
mod history;
mod load;
mod quarantine;
mod read;
pub mod view;
mod write;

use std::sync::Arc;

use tokio::sync::Semaphore;
use yhub_content as content;
use yhub_store::{DocStore, FailureStore, StreamLog};

pub use compact::Compacted;
pub use compute::{ComputeError, ComputePool};
pub use error::{CompactionFailed, DocumentsError, FailureClass};
pub use fold::fold;
pub use history::AsOf;
pub use quarantine::{QuarantineReason, SetAside, quarantine_id};
pub use write::{Writer, Written};

/// The rooms of a deployment, through its storage.
#[derive(Clone)]
pub struct Documents {
    log: Arc<dyn StreamLog>,
    store: Arc<dyn DocStore>,
    failures: Arc<dyn FailureStore>,
    compute: ComputePool,
    limits: content::Limits,
    loads: Arc<Semaphore>,
}

/// So many loads read and merge at once, which bounds the documents in memory that nobody holds yet; further ones wait
/// their turn, within the time that a load may take.
const LOADS_AT_ONCE: usize = 64;

impl Documents {
    /// Over these stores.
    pub fn new(
        log: Arc<dyn StreamLog>,
        store: Arc<dyn DocStore>,
        failures: Arc<dyn FailureStore>,
        compute: ComputePool,
        limits: content::Limits,
    ) -> Self {
        Self { log, store, failures, compute, limits, loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)) }
    }

    /// The stream log.
    pub fn log(&self) -> &Arc<dyn StreamLog> {
        &self.log
    }

    /// The document store.
    pub fn store(&self) -> &Arc<dyn DocStore> {
        &self.store
    }

    /// The records of failures and quarantines.
    pub fn failures(&self) -> &Arc<dyn FailureStore> {
        &self.failures
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

/// What a fail point makes a step say that is told to fail: `entry` for a poisoned entry, otherwise a store that is away.
#[cfg(feature = "failpoints")]
pub(crate) fn asked_for(room: &yhub_core::RoomId, how: Option<&str>) -> DocumentsError {
    let (room, what) = (room.clone(), "a failure that a test asked for");
    if how == Some("entry") {
        return DocumentsError::Entry { room, clock: yhub_core::StreamClock::ZERO, what: what.into() };
    }
    let source = yhub_store::DocStoreError::Unavailable { at: "a fail point".into(), source: what.into() };
    DocumentsError::Store { room, source }
}
