//! Why a room could not be loaded or compacted, and what kind of failure that is.

use yhub_content::UpdateError;
use yhub_core::{RoomId, StreamClock, limiting::Bound};
use yhub_store::{AssetStoreError, DocStoreError, StreamLogError};

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
    /// A place for assets failed.
    #[error("cannot read or write the assets of {room}")]
    Assets {
        /// The room.
        room: RoomId,
        /// What the place said.
        #[source]
        source: AssetStoreError,
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
    /// Entries of the stream cannot be merged with what is stored.
    #[error("stream of {room}, entries up to {upto}: cannot be merged with what is stored: {what}")]
    Merge {
        /// The room.
        room: RoomId,
        /// The last entry of those.
        upto: StreamClock,
        /// What is wrong.
        what: String,
    },
    /// The history cannot be computed with, or takes too many steps for what was asked.
    #[error("history of {room}: {source}")]
    History {
        /// The room.
        room: RoomId,
        /// What is wrong.
        #[source]
        source: UpdateError,
    },
    /// What somebody wants to write cannot be taken.
    #[error("refused for {room}: {what}")]
    Refused {
        /// The room.
        room: RoomId,
        /// What is wrong with it.
        what: String,
    },
    /// Something panicked.
    #[error("working on room {room} panicked: {what}")]
    Panicked {
        /// The room.
        room: RoomId,
        /// What the panic said.
        what: String,
    },
    /// A room that was deleted for good could not be erased wholly.
    #[error("room {room} is deleted but not erased wholly yet: {what}; it is tried again")]
    NotErased {
        /// The room.
        room: RoomId,
        /// What is left, or in the way.
        what: String,
    },
    /// As many work on documents as may, and as many wait for it as may.
    #[error("too many wait for {} already, which is the bound `{}`; room {room} was not worked on; try again later", bound.about(), bound.key())]
    Busy {
        /// The room.
        room: RoomId,
        /// Which bound was reached.
        bound: Bound,
    },
    /// The document would be larger than documents may be.
    #[error("the document of {room} would have more than {max_bytes} bytes")]
    TooLarge {
        /// The room.
        room: RoomId,
        /// The bound.
        max_bytes: usize,
    },
    /// A hold is on the room: nothing of it is erased.
    #[error("a hold is on room {room}{}; release it first", by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default())]
    Held {
        /// The room.
        room: RoomId,
        /// Who put it on, and why; `None`: it was taken off meanwhile.
        by: Option<String>,
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
            Self::Assets { source, .. } => source.is_transient(),
            Self::NotErased { .. } | Self::Busy { .. } => true,
            Self::Compute { source, .. } => !matches!(source, ComputeError::Panicked),
            _ => false,
        }
    }

    /// What kind of failure it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Stream { .. } => FailureClass::Stream,
            Self::Store { .. } | Self::Assets { .. } => FailureClass::Store,
            Self::Compute { .. } | Self::Busy { .. } => FailureClass::Compute,
            Self::Row { .. } => FailureClass::Row,
            Self::Entry { .. } => FailureClass::Entry,
            Self::Merge { .. } | Self::History { .. } | Self::Refused { .. } | Self::TooLarge { .. } => FailureClass::Merge,
            Self::Panicked { .. } => FailureClass::Panic,
            Self::Deleted { .. } | Self::NotErased { .. } | Self::Held { .. } => FailureClass::Deleted,
        }
    }

    /// What went wrong without the name of the room and the place in it: what failures of several rooms have in common.
    pub fn cause(&self) -> String {
        match self {
            Self::Stream { source: StreamLogError::Corrupt { what, .. }, .. } => what.clone(),
            Self::Store { source: DocStoreError::Corrupt { what, .. }, .. } => what.clone(),
            Self::Store { source: DocStoreError::Room { why, .. }, .. } => why.clone(),
            Self::Stream { source, .. } => source.to_string(),
            Self::Store { source, .. } => source.to_string(),
            Self::Compute { source, .. } => source.to_string(),
            Self::Assets { source, .. } => source.to_string(),
            Self::Row { column, what, .. } => format!("{column}: {what}"),
            Self::Entry { what, .. } | Self::Merge { what, .. } => what.clone(),
            Self::Panicked { what, .. } | Self::Refused { what, .. } | Self::NotErased { what, .. } => what.clone(),
            Self::History { source, .. } => source.to_string(),
            Self::Busy { bound, .. } => format!("the bound `{}` is reached", bound.key()),
            Self::TooLarge { .. } => "the document is too large".into(),
            Self::Deleted { .. } => "the room was deleted".into(),
            Self::Held { .. } => "a hold is on the room".into(),
        }
    }
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The stream log is away, or what it holds cannot be read.
    Stream,
    /// The document store is away, or what it holds cannot be read.
    Store,
    /// The computation failed.
    Compute,
    /// A version row cannot be read.
    Row,
    /// An entry of the stream cannot be read.
    Entry,
    /// Entries cannot be merged.
    Merge,
    /// Something panicked.
    Panic,
    /// The room was deleted.
    Deleted,
}

impl FailureClass {
    /// Its name in records and logs: one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Store => "store",
            Self::Compute => "compute",
            Self::Row => "row",
            Self::Entry => "entry",
            Self::Merge => "merge",
            Self::Panic => "panic",
            Self::Deleted => "deleted",
        }
    }

    /// May what the stream holds be what is wrong, so that a room whose stream is set aside goes on? Where a row cannot be read,
    /// setting the stream aside helps nobody, and would hide edits from hubs that can. A log that cannot read what it holds is a
    /// case for its operator.
    pub const fn is_of_stream(self) -> bool {
        matches!(self, Self::Compute | Self::Entry | Self::Merge | Self::Panic)
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A compaction that failed, with what was to be folded.
#[derive(Debug, thiserror::Error)]
#[error("entries {from} to {upto} were not compacted")]
pub struct CompactionFailed {
    /// Why.
    #[source]
    pub error: DocumentsError,
    /// The first entry of the stream that was to be folded; [`StreamClock::ZERO`] if the stream was not read.
    pub from: StreamClock,
    /// The last one.
    pub upto: StreamClock,
}

impl CompactionFailed {
    /// May the same compaction succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        self.error.is_transient()
    }
}
