//! What storage says when it cannot.

use yhub_core::{AssetId, RoomId};

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
    /// What is to be kept has more bytes than may be. Nothing was done.
    #[error("{what} has {size_bytes} bytes, more than the {bound_bytes} that it may have")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How many it has.
        size_bytes: usize,
        /// How many it may have.
        bound_bytes: usize,
    },
}

impl StreamLogError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Corrupt { .. } | Self::TooLarge { .. })
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

/// Why an asset could not be stored, brought or deleted. The same call may be tried again iff
/// [`AssetStoreError::is_transient`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetStoreError {
    /// The place is not there, or did not answer in time. It may have done it all the same.
    #[error("cannot reach the assets at {at}; check that it is running, reachable and not full")]
    Unavailable {
        /// Where: a directory, or a server and a bucket, without secrets.
        at: String,
        /// What was said.
        #[source]
        source: BoxError,
    },
    /// The place is there and does not let us. It will not until somebody acts.
    #[error("the assets at {at} are refused: {what}; {advice}")]
    Refused {
        /// Where.
        at: String,
        /// What is refused, and why.
        what: String,
        /// What to do.
        advice: String,
    },
    /// What is stored is damaged.
    #[error("asset {id} at {at} is damaged: {what}; restore it from a backup")]
    Corrupt {
        /// Where.
        at: String,
        /// Which.
        id: AssetId,
        /// What is wrong with it.
        what: String,
    },
    /// It has more bytes than may be held at once.
    #[error("asset {id} at {at} has {size_bytes} bytes, more than the {bound_bytes} that an asset may have")]
    TooLarge {
        /// Where.
        at: String,
        /// Which.
        id: AssetId,
        /// How many it has.
        size_bytes: u64,
        /// How many it may have.
        bound_bytes: u64,
    },
    /// A version row refers to it, and it is not there. Never taken for an empty document.
    #[error("asset {id} is not at {at}, although a version row says so; restore it from a backup")]
    Missing {
        /// Where it should be.
        at: String,
        /// Which.
        id: AssetId,
    },
    /// A version row refers to a place that this hub knows nothing of.
    #[error(
        "asset {id} is at {plugin:?}, of which the configuration says nothing; name in `assets.plugins` what stores under that \
         name (it has: {})",
        listed(configured)
    )]
    UnknownPlugin {
        /// Which.
        id: AssetId,
        /// The name that the reference holds.
        plugin: String,
        /// The names that are configured.
        configured: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl AssetStoreError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
