//! What the hub asks of storage: traits, their errors, and the suites that say when an engine is correct.
//!
//! An engine is correct when it passes the conformance suite; nothing outside relies on more than the suite proves.

mod allowance;
mod asset_cache;
mod asset_plugins;
mod asset_store;
mod audit_store;
mod deletion_store;
mod discards;
mod doc_store;
mod error;
mod failure_store;
#[cfg(feature = "testsuite")]
pub mod faults;
mod files;
mod notice_store;
mod response_cache;
mod stream_admin;
mod stream_log;
pub mod tail;
#[cfg(feature = "testsuite")]
pub mod testsuite;
mod ticket_store;
mod token_store;

pub use allowance::{Allowance, Brought};
pub use asset_cache::{AssetCacheOptions, CachedAssets};
pub use asset_plugins::{AssetPlugins, Column};
pub use asset_store::{AssetStore, Branches, Stored, StoredName, StoredObject};
pub use audit_store::{
    AuditCursor, AuditCursorError, AuditFilter, AuditPage, AuditRecord, AuditStore, MAX_AUDIT_ACTOR, MAX_AUDIT_DETAIL,
    MAX_AUDIT_NAME, MAX_AUDIT_ORG, MAX_AUDIT_ORIGIN, MAX_AUDIT_WORD, kept_text,
};
pub use deletion_store::{
    DeletedRoom, DeletionStore, Erased, ErasedRow, Hardened, Hold, PurgeReceipt, Restored, RoomOverview, TombstoneFilter,
    TombstoneState,
};
pub use doc_store::{
    Asset4, AssetKind, AssetSelection, DocStore, StoreOutcome, StoreVersion, StoredRoom, Tombstone, TombstoneOutcome, VersionRow,
};
pub use error::{AssetStoreError, BoxError, DocStoreError, StreamLogError};
pub use failure_store::{FailureReport, FailureStore, FailureTally, Page, QuarantineRecord, RoomFailure};
pub use files::{FileAssets, FileAssetsOptions};
pub use notice_store::{MAX_NOTICE_USERS, MAX_NOTICES, MAX_NOTICES_BYTES, Notice, NoticeHead, NoticeId, NoticeList, NoticeStore};
pub use response_cache::{CacheKey, MAX_CACHED_BYTES, MemoryCache, ResponseCache};
pub use stream_admin::{LiveRoom, PendingTask, QuarantinedStream, Reconciled, ScanPage, StreamAdmin};
pub use stream_log::{
    Append, Completed, LogEntry, QuarantineId, ReadLimit, ReadPage, StreamLog, Tail, TailControl, TailEvent, Task, TaskEpoch,
    TaskId, WorkerId,
};
pub use ticket_store::{MAX_TICKET_BYTES, MemoryTickets, TicketBound, TicketHash, TicketStore, refuse_too_large};
pub use token_store::{
    AccessToken, AccessTokenStore, CreateTokenError, FoundToken, MAX_TOKEN_ANCESTORS, MAX_TOKEN_ID, MAX_TOKEN_LABEL,
};
