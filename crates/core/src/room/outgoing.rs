//! What waits to be appended: one append under way at a time, everything that came meanwhile goes with the next.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::Effect;
use crate::{
    SessionId, StreamClock,
    invariants::{Invariant, check},
};

/// One append carries at most so many messages and, unless a single one is longer, so many bytes.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 4 << 20;

/// So often is an append tried before the sessions behind it are closed.
pub const MAX_APPEND_ATTEMPTS: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// What was salvaged is tried in so many rounds of that many attempts, with a pause before each.
const SALVAGE_ROUNDS: u32 = 12;
const SALVAGE_PAUSE: Duration = Duration::from_secs(5);

struct Waiting {
    session: Option<SessionId>,
    message: Bytes,
    cost_bytes: usize,
    kind: Kind,
}

/// What a message is to the room that appends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Presence,
    Change,
    /// A change that the log had and lost. Nobody would bring it again: it is not given up with the others.
    Salvaged,
}

/// What became of an append that was done.
pub(super) struct Appended {
    /// What each session gets back of its budget.
    pub(super) credit: Vec<(SessionId, usize)>,
    /// Which changes the stream now has.
    pub(super) changes: Vec<(StreamClock, Bytes)>,
}

/// What became of an append that failed.
pub(super) enum Failed {
    /// It is tried again after this time.
    Again(Duration),
    /// What waited is dropped, but for what was salvaged.
    GivenUp {
        /// Whose updates these were.
        sessions: Vec<SessionId>,
        /// What is left is tried again after this time.
        again: Option<Duration>,
        /// Was something dropped that was salvaged?
        lost: bool,
    },
}

#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Waiting>,
    under_way: Vec<Waiting>,
    attempts: u32,
    /// How often others than salvaged messages were given up since something was appended.
    rounds: u32,
    /// What the clocks of the append under way must be above.
    floor: StreamClock,
    size_bytes: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, session: Option<SessionId>, message: Bytes, cost_bytes: usize, kind: Kind) {
        self.size_bytes += cost_bytes;
        self.queue.push_back(Waiting { session, message, cost_bytes, kind });
    }

    /// Starts the next append if none is under way and something waits.
    pub(super) fn begin(&mut self, floor: StreamClock) -> Option<Effect> {
        if !self.under_way.is_empty() || self.queue.is_empty() {
            return None;
        }
        let mut size_bytes = 0;
        while let Some(next) = self.queue.front() {
            if !self.under_way.is_empty()
                && (self.under_way.len() == MAX_BATCH || size_bytes + next.message.len() > MAX_BATCH_BYTES)
            {
                break;
            }
            size_bytes += next.message.len();
            self.under_way.extend(self.queue.pop_front());
        }
        self.attempts = 1;
        self.again(floor)
    }

    /// The append under way, once more.
    pub(super) fn again(&mut self, floor: StreamClock) -> Option<Effect> {
        if self.under_way.is_empty() {
            return None;
        }
        self.floor = floor;
        Some(Effect::Append { messages: self.under_way.iter().map(|waiting| waiting.message.clone()).collect(), floor })
    }

    /// The append under way is done, its messages have these clocks.
    pub(super) fn on_appended(&mut self, clocks: &[StreamClock]) -> Appended {
        // An entry below what the tail has brought would be taken for known, and reach nobody.
        let is_above = clocks.first().is_some_and(|first| *first > self.floor);
        check(Invariant::InOrder, is_above, || format!("an append above {} has the clocks {clocks:?}", self.floor));
        self.rounds = 0;
        let mut credit: HashMap<SessionId, usize> = HashMap::new();
        let mut changes = Vec::new();
        for (at, done) in self.under_way.drain(..).enumerate() {
            self.size_bytes -= done.cost_bytes;
            if let (Some(clock), true) = (clocks.get(at), done.kind != Kind::Presence) {
                changes.push((*clock, done.message));
            }
            if let Some(session) = done.session {
                *credit.entry(session).or_default() += done.cost_bytes;
            }
        }
        let is_even = !self.queue.is_empty() || self.size_bytes == 0;
        check(Invariant::QueuesBounded, is_even, || format!("nothing waits, and {} bytes are counted", self.size_bytes));
        let mut credit: Vec<_> = credit.into_iter().collect();
        credit.sort_unstable();
        Appended { credit, changes }
    }

    /// Is an append under way?
    pub(super) fn is_appending(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The append under way failed.
    pub(super) fn on_failed(&mut self) -> Failed {
        let wait = FIRST_RETRY * 4u32.pow(self.attempts.saturating_sub(1).min(4));
        self.attempts += 1;
        if self.attempts <= MAX_APPEND_ATTEMPTS { Failed::Again(wait) } else { self.give_up() }
    }

    /// Drops everything that waits; what was salvaged only after many rounds.
    fn give_up(&mut self) -> Failed {
        self.rounds += 1;
        let waited: Vec<Waiting> = self.under_way.drain(..).chain(self.queue.drain(..)).collect();
        let mut sessions: Vec<_> = waited.iter().filter_map(|waiting| waiting.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let salvaged: Vec<Waiting> = waited.into_iter().filter(|waiting| waiting.kind == Kind::Salvaged).collect();
        let lost = !salvaged.is_empty() && self.rounds >= SALVAGE_ROUNDS;
        self.under_way = if lost { Vec::new() } else { salvaged };
        self.size_bytes = self.under_way.iter().map(|waiting| waiting.cost_bytes).sum();
        self.attempts = 1;
        let again = (!self.under_way.is_empty()).then_some(SALVAGE_PAUSE);
        Failed::GivenUp { sessions, again, lost }
    }

    /// A session is gone: its budget needs no credit, what it submitted stays.
    pub(super) fn forget_session(&mut self, session: SessionId) {
        for waiting in self.queue.iter_mut().chain(&mut self.under_way).filter(|waiting| waiting.session == Some(session)) {
            waiting.session = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.under_way.is_empty()
    }

    /// Bytes of budget that wait.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}
