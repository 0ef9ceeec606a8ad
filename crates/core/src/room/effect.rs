//! What a room asks of its surroundings, and what they report back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_content::ContentIds;

use super::{AuthCheck, SalvageJob, SessionId};
use crate::{AnswerMemory, Close, StreamClock, limiting::Bound};

/// Which of the two documents of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Without the content that was deleted.
    Gc,
    /// With it.
    Nongc,
}

impl Variant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gc, Self::Nongc];
}

/// One message to a client; the bytes are shared by all who get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// "What do I lack of yours?", with our state vector.
    Step1(Bytes),
    /// The answer to a client's step 1: an update.
    Step2(Bytes),
    /// A new update.
    Update(Bytes),
    /// An awareness update.
    Awareness(Bytes),
}

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Every session of the room.
    Everyone,
    /// These.
    These(Vec<SessionId>),
}

/// One update that a session submits.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What it holds.
    pub ids: ContentIds,
    /// The any-encoded stream message: update and contentmap.
    pub message: Bytes,
    /// The update itself.
    pub update: Bytes,
    /// What it counts against the session's budget until it is appended.
    pub cost_bytes: usize,
}

/// Presence as a line of the stream tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was appended, in milliseconds since 1970.
    pub at_ms: u64,
    /// An awareness update.
    pub update: Bytes,
    /// Who speaks for which client.
    pub users: Vec<(u64, Arc<str>)>,
}

/// What a load brings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The whole document as one update.
    pub base: Bytes,
    /// What it holds.
    pub ids: ContentIds,
    /// Everything up to this clock is in it.
    pub clock: StreamClock,
    /// The clock of the last change that it holds, presence and fillers apart; [`StreamClock::ZERO`] if it holds none. A log that
    /// came back without that has lost something.
    pub changed: StreamClock,
    /// The lines of the stream that are updates or prunes and newer than every version row, as they stand there, oldest
    /// first; the last ones are enough.
    pub recent: Vec<(StreamClock, Bytes)>,
    /// The presence that the stream tells of, oldest first.
    pub awareness: Vec<Heard>,
    /// The checks of access that the stream demands, oldest first.
    pub checks: Vec<AuthCheck>,
}

/// A computation for all who wait: the new whole document, and a difference for each state vector.
#[derive(Clone, Debug)]
pub struct FoldJob {
    /// Which document.
    pub variant: Variant,
    /// The document so far.
    pub base: Bytes,
    /// The updates since, in log order.
    pub tail: Vec<(StreamClock, Bytes)>,
    /// The clock that the result reaches.
    pub upto: StreamClock,
    /// The different state vectors asked for.
    pub state_vectors: Vec<Bytes>,
    /// Is [`Folded::ids`] wanted?
    pub wants_ids: bool,
    /// Where what is made is counted.
    pub memory: AnswerMemory,
}

impl FoldJob {
    /// How many bytes the computation goes through.
    pub fn size_bytes(&self) -> usize {
        self.base.len() + self.tail.iter().map(|(_, update)| update.len()).sum::<usize>()
    }
}

/// What a fold brings.
#[derive(Clone, Debug)]
pub struct Folded {
    /// Which document.
    pub variant: Variant,
    /// The document as one update.
    pub base: Bytes,
    /// Everything up to this clock is in it.
    pub upto: StreamClock,
    /// What it holds, if that was wanted.
    pub ids: Option<ContentIds>,
    /// What they lack, in the order of the job's state vectors: the differences, or the whole document in place of long ones.
    pub answers: Vec<Bytes>,
    /// Updates of the tail that cannot be read and are not in it, with what is wrong with them.
    pub bad: Vec<(StreamClock, String)>,
}

/// What the room wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Load this document; report with `on_loaded` or `on_load_failed`.
    Load(Variant),
    /// Bring every line after this clock to `on_entries`.
    Follow(StreamClock),
    /// Append these messages; report with `on_appended` or `on_append_failed`.
    Append {
        /// Any-encoded, in order.
        messages: Vec<Bytes>,
        /// Their clocks must be higher.
        floor: StreamClock,
    },
    /// Call `on_retry_append` after this time.
    RetryAppend {
        /// How long to wait.
        after: Duration,
    },
    /// Compute this; report with `on_folded` or `on_fold_failed`.
    Fold(FoldJob),
    /// Send messages, in order.
    Broadcast {
        /// One frame each.
        messages: Vec<ServerMessage>,
        /// To whom.
        to: Recipients,
    },
    /// So much of what the session submitted no longer waits.
    Credit {
        /// The session.
        session: SessionId,
        /// Bytes of its budget.
        size_bytes: usize,
    },
    /// What the session has asked for costs as much as messages of so many bytes.
    Charge {
        /// The session.
        session: SessionId,
        /// Bytes of messages.
        work_bytes: usize,
    },
    /// Stop (true) or go on (false) reading the sockets of all sessions.
    Cork(bool),
    /// Have these sessions asked anew what they may do.
    Check {
        /// Whom.
        sessions: Vec<SessionId>,
    },
    /// End a session.
    Close {
        /// The session.
        session: SessionId,
        /// What its client is told.
        close: Close,
    },
    /// Look whether the room is deleted; report with `on_deletion`.
    LookForDeletion,
    /// End every session, and the room, at once; nothing that is under way matters any more.
    End {
        /// What clients are told.
        close: Close,
    },
    /// Call `on_flush_awareness` after this time.
    FlushAwareness {
        /// How long to wait.
        after: Duration,
    },
    /// So many bytes of document are now kept in memory.
    SnapshotSize(usize),
    /// Compare the log with what the room has heard of; report with `on_verified` or `on_verify_failed`.
    Verify {
        /// The clocks of the last changes that it has heard of, ascending.
        changes: Vec<StreamClock>,
        /// Where it stands.
        upto: StreamClock,
    },
    /// Compute this; report with `on_salvaged` or `on_salvage_failed`.
    Salvage(SalvageJob),
    /// Call `on_retry_recovery` after this time.
    RetryRecovery {
        /// How long to wait.
        after: Duration,
    },
    /// The log had lost something of this room, and what the room holds of it is on its way back. To be reported once.
    Recovered {
        /// How many remembered messages are appended again, as they were.
        remembered: usize,
        /// How many ids beyond these are, without their author.
        cut_ids: u64,
        /// How many sessions are asked for what they hold.
        asked: usize,
    },
    /// The log had lost something of this room, and what the room held of it could not be brought back within the bound:
    /// its sessions are closed, and come back with what they hold. To be reported.
    NotRecovered,
    /// A bound was reached. To be counted.
    Limited(Bound),
    /// A line of the stream cannot be read; the room goes on without it.
    BadLine {
        /// Where it stands.
        clock: StreamClock,
        /// What is wrong.
        what: String,
    },
}
