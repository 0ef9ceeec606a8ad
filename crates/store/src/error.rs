//! What storage says when it cannot.

use yhub_core::RoomId;

/// The cause below an error of ours.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the stream log could not do it. The same call may be tried again iff [`StreamLogError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamLogError {
    /// The log is not there, or did not answer in time. It may have done it all the same.
    #[error("cannot reach the stream log at {at}; check that it is running and not full")]
    Unavailable {
        /// Where the log was looked for: a file or a host, without secrets.
        at: String,
        /// What the engine said.
        #[source]
        source: BoxError,
    },
    /// The queue in front of the log is full. Nothing was done.
    #[error("the stream log has {waiting} operations waiting, which is its bound; try again later")]
    Busy {
        /// How many operations wait.
        waiting: usize,
    },
    /// What the log holds cannot be read.
    #[error("the stream log holds unreadable data at {at}: {what}")]
    Corrupt {
        /// Table, column and key.
        at: String,
        /// What is wrong with it.
        what: String,
    },
}

impl StreamLogError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Corrupt { .. })
    }
}

/// Why the document store could not do it. The same call may be tried again iff [`DocStoreError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocStoreError {
    /// The store is not there, or did not answer in time. It may have done it all the same.
    #[error("cannot reach the document store at {at}; check that it is running and not full")]
    Unavailable {
        /// Where the store was looked for: a file or a host, without secrets.
        at: String,
        /// What the engine said.
        #[source]
        source: BoxError,
    },
    /// The store cannot hold a room of this name.
    #[error("room {room} cannot be stored: {why}")]
    Room {
        /// The room.
        room: RoomId,
        /// What the store refuses.
        why: String,
    },
    /// What the store holds cannot be read.
    #[error("the document store holds unreadable data at {at}: {what}")]
    Corrupt {
        /// Table, column and key.
        at: String,
        /// What is wrong with it.
        what: String,
    },
}

impl DocStoreError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
