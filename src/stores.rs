//! The storage of a hub, opened: by a hub, by commands that look into it, by tests.

use std::sync::Arc;

use yhub_documents::Documents;
use yhub_store::{
    AccessTokenStore, AssetPlugins, AuditStore, DeletionStore, DocStore, FailureStore, NoticeStore, ResponseCache, StreamAdmin,
    StreamLog, TicketStore,
};

use crate::{Config, wiring};

/// The storage of a hub, from all its sides. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    /// The short-lived log of every room, with the queue of rooms to compact.
    pub log: Arc<dyn StreamLog>,
    /// The same log, as operators and the reconciler need it.
    pub admin: Arc<dyn StreamAdmin>,
    /// The version rows.
    pub docs: Arc<dyn DocStore>,
    /// Which rooms fail, and which streams were set aside; where the version rows are.
    pub failures: Arc<dyn FailureStore>,
    /// Tombstones, holds, receipts and duties; where the version rows are.
    pub deletions: Arc<dyn DeletionStore>,
    /// What was done and refused; where the version rows are.
    pub audit: Arc<dyn AuditStore>,
    /// Access tokens; where the version rows are.
    pub tokens: Arc<dyn AccessTokenStore>,
    /// What changes access in many rooms at once, for every node; where the version rows are.
    pub notices: Arc<dyn NoticeStore>,
    /// What lets somebody in once; where the log is.
    pub tickets: Arc<dyn TicketStore>,
    /// Responses that may be asked for again.
    pub cache: Arc<dyn ResponseCache>,
    /// Answers to requests that may be sent again under the same key.
    pub records: Arc<dyn ResponseCache>,
    /// The places for assets outside their rows.
    pub assets: Arc<AssetPlugins>,
}

impl Stores {
    /// Opens those that `config` names. Embedded ones are made if they are not there.
    ///
    /// # Errors
    /// If one of them cannot be opened or must not be used.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        wiring::open_stores(config).await
    }

    /// The same for a command that looks into the storage of a hub. Embedded ones must be there, and no hub may be running
    /// on them.
    ///
    /// # Errors
    /// If one of them is not there, or see [`Self::open`].
    pub async fn open_for_operator(config: &Config) -> anyhow::Result<Self> {
        wiring::open_for_operator(config).await
    }

    /// What one does with the rooms in them: for commands, which do one thing at a time.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn documents(&self, config: &Config) -> anyhow::Result<Documents> {
        wiring::documents(config, self, 1)
    }
}

/// Brings the tables of the document store up to date. Returns the names of the migrations that were run, `None` if the
/// stores are embedded, which do that by themselves. Blocks.
///
/// # Errors
/// If the store cannot be reached or refuses.
pub fn migrate(config: &Config) -> anyhow::Result<Option<Vec<String>>> {
    wiring::migrate(config)
}
