//! What the hub asks of storage: traits, their errors, and the suites that say when an engine is correct.
//!
//! An engine is correct when it passes the conformance suite; nothing outside relies on more than the suite proves.

mod doc_store;
mod error;
#[cfg(feature = "testsuite")]
pub mod faults;
mod stream_log;
#[cfg(feature = "testsuite")]
pub mod testsuite;

pub use doc_store::{Asset4, AssetKind, AssetSelection, DocStore, StoreOutcome, StoreVersion, StoredRoom, Tombstone, VersionRow};
pub use error::{BoxError, DocStoreError, StreamLogError};
pub use stream_log::{
    Append, Completed, LogEntry, ReadLimit, ReadPage, StreamLog, Tail, TailControl, TailEvent, Task, TaskEpoch, TaskId, WorkerId,
};
