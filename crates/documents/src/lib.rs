//! What one does with a room: load it, fold it, compact it, set its stream aside, delete it. Async over the storage traits.
//!
//! Knows no actor and no engine. What takes long runs on the [`ComputePool`].

mod compact;
mod compare;
mod compute;
mod delete;
mod error;
mod fold;
mod history;
mod load;
mod long;
mod quarantine;
mod read;
mod turns;
pub mod view;
mod write;

use std::{sync::Arc, time::Duration};

use yhub_content as content;
use yhub_core::limiting::{Bound, Quotas, Tally};
use yhub_store::{AssetPlugins, DeletionStore, DocStore, FailureStore, ResponseCache, StreamAdmin, StreamLog};

pub use compact::Compacted;
pub use compute::{ComputeError, ComputePool};
pub use delete::{DeleteKind, Deleted, DueRoom, OrphanCursor, OrphanError, Orphans, Purged, Swept};
pub use error::{CompactionFailed, DocumentsError, FailureClass};
pub use fold::fold;
pub use history::AsOf;
pub use quarantine::{QuarantineReason, SetAside, quarantine_id};
pub use turns::TurnLimits;
pub use write::{Writer, Written};

use long::LongDocuments;
use turns::Turns;

/// What the rooms of a deployment are stored in, and what works on them.
pub struct DocumentsParts {
    /// The stream log.
    pub log: Arc<dyn StreamLog>,
    /// The same log, as deletion needs it.
    pub admin: Arc<dyn StreamAdmin>,
    /// The version rows.
    pub store: Arc<dyn DocStore>,
    /// The records of failures and quarantines.
    pub failures: Arc<dyn FailureStore>,
    /// What deletes, beside the rows.
    pub deletions: Arc<dyn DeletionStore>,
    /// Responses that are kept for a while.
    pub cache: Arc<dyn ResponseCache>,
    /// The places for assets outside their rows.
    pub assets: Arc<AssetPlugins>,
    /// The pool for what takes long.
    pub compute: ComputePool,
    /// What updates from outside are held to.
    pub limits: content::Limits,
}

/// The rooms of a deployment, through its storage.
#[derive(Clone)]
pub struct Documents {
    log: Arc<dyn StreamLog>,
    admin: Arc<dyn StreamAdmin>,
    store: Arc<dyn DocStore>,
    failures: Arc<dyn FailureStore>,
    deletions: Arc<dyn DeletionStore>,
    cache: Arc<dyn ResponseCache>,
    assets: Arc<AssetPlugins>,
    compute: ComputePool,
    limits: content::Limits,
    loads: Turns,
    histories: Turns,
    long: LongDocuments,
    quotas: Quotas,
    tally: Arc<Tally>,
}

/// What bounds the work on documents, beside the pool: the documents in memory that nobody holds yet.
#[derive(Clone, Debug)]
pub struct DocumentsBounds {
    /// Documents that are loaded, and streams that are looked at.
    pub loads: TurnLimits,
    /// Histories that are read and computed with.
    pub histories: TurnLimits,
    /// What differs by org.
    pub quotas: Quotas,
    /// Counts who is sent away.
    pub tally: Arc<Tally>,
}

impl Default for DocumentsBounds {
    fn default() -> Self {
        let turns = |at_once| TurnLimits { at_once, waiting: 4_096, within: Duration::from_secs(30) };
        Self { loads: turns(64), histories: turns(4), quotas: Quotas::default(), tally: Arc::default() }
    }
}

impl Documents {
    /// Over these stores, with the usual bounds.
    pub fn new(parts: DocumentsParts) -> Self {
        let DocumentsParts { log, admin, store, failures, deletions, cache, assets, compute, limits } = parts;
        let DocumentsBounds { loads, histories, quotas, tally } = DocumentsBounds::default();
        let loads = Turns::new(Bound::Loads, loads, tally.clone());
        let histories = Turns::new(Bound::Histories, histories, tally.clone());
        let long = LongDocuments::default();
        Self { log, admin, store, failures, deletions, cache, assets, compute, limits, loads, histories, long, quotas, tally }
    }

    /// The same with other bounds. Not for what is in use: who works already is not counted.
    pub fn bounded(self, bounds: DocumentsBounds) -> Self {
        let DocumentsBounds { loads, histories, quotas, tally } = bounds;
        let loads = Turns::new(Bound::Loads, loads, tally.clone());
        let histories = Turns::new(Bound::Histories, histories, tally.clone());
        let compute = self.compute.counted(tally.clone());
        Self { loads, histories, quotas, tally, compute, ..self }
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

    /// Tombstones, holds and receipts.
    pub fn deletions(&self) -> &Arc<dyn DeletionStore> {
        &self.deletions
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
