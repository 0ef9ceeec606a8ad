//! Why a room could not be loaded or compacted.

use yhub_core::{RoomId, StreamClock};
use yhub_store::{DocStoreError, StreamLogError};

use crate::ComputeError;

/// Why a room could not be loaded or compacted. May be tried again iff [`DocumentsError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentsError {
    /// The stream log failed.
    #[error("cannot read or write the stream of {room}")]
    Stream {
        /// The room.
        room: RoomId,
        /// What the log said.
        #[source]
        source: StreamLogError,
    },
    /// The document store failed.
    #[error("cannot read or write the stored versions of {room}")]
    Store {
        /// The room.
        room: RoomId,
        /// What the store said.
        #[source]
        source: DocStoreError,
    },
    /// The computation failed.
    #[error("cannot compute the document of {room}")]
    Compute {
        /// The room.
        room: RoomId,
        /// What the pool said.
        #[source]
        source: ComputeError,
    },
    /// A version row holds something that cannot be read.
    #[error("table yhub_ydoc_v1, column {column}, room {room}, t {t}: {what}")]
    Row {
        /// The room.
        room: RoomId,
        /// Key of the row.
        t: String,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// An entry of the stream holds something that cannot be read.
    #[error("stream of {room}, entry {clock}: {what}")]
    Entry {
        /// The room.
        room: RoomId,
        /// Where it stands.
        clock: StreamClock,
        /// What is wrong with it.
        what: String,
    },
    /// The room was deleted.
    #[error("room {room} was deleted")]
    Deleted {
        /// The room.
        room: RoomId,
    },
}

impl DocumentsError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stream { source, .. } => source.is_transient(),
            Self::Store { source, .. } => source.is_transient(),
            Self::Compute { source, .. } => !matches!(source, ComputeError::Panicked),
            Self::Row { .. } | Self::Entry { .. } | Self::Deleted { .. } => false,
        }
    }
}
