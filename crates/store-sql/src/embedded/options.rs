//! How the embedded log is to run.

use std::{path::PathBuf, time::Duration};

/// What an accepted append survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power, and everything below. One fdatasync a group of appends (`synchronous=FULL`).
    #[default]
    PowerLoss,
    /// The end of the process, however sudden, but not of the machine: a power loss may take the last seconds to minutes
    /// of every stream along (`synchronous=NORMAL`). What was compacted is safe all the same: version rows are always
    /// written for power loss.
    ProcessCrash,
}

/// Options of the embedded log. The defaults are for one node that serves and compacts.
#[derive(Clone, Debug)]
pub struct EmbeddedLogOptions {
    /// The data directory; made if it is not there. The log keeps `stream.sqlite3` in it, and SQLite's files beside that.
    pub path: PathBuf,
    /// What an accepted append survives.
    pub durability: Durability,
    /// At most so many operations wait for, or are in, the writer.
    pub queue_operations: usize,
    /// At most so many bytes of messages wait for, or are in, the writer. A single larger append goes alone.
    pub queue_bytes: usize,
    /// How long a call waits for room in a queue before it is [`yhub_store::StreamLogError::Busy`].
    pub queue_wait: Duration,
    /// At most so many operations are committed together, and one long one beyond.
    pub group_operations: usize,
    /// A group takes no further operation once it holds so many bytes of messages.
    pub group_bytes: usize,
    /// So many threads read, each on a connection of its own.
    pub readers: usize,
    /// At most so many bytes of new entries wait in one tail. Beyond, its rooms are read from the file when their turn
    /// comes, so that a tail that nobody drains costs no more.
    pub tail_bytes: usize,
    /// So many rooms the writer knows by heart; beyond, it forgets all and looks them up again.
    pub cached_rooms: usize,
}

impl EmbeddedLogOptions {
    /// The defaults, in the data directory `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            queue_operations: 4096,
            queue_bytes: 64 << 20,
            queue_wait: Duration::from_secs(5),
            group_operations: 256,
            group_bytes: 2 << 20,
            readers: 2,
            tail_bytes: 16 << 20,
            cached_rooms: 65_536,
        }
    }
}
