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

struct Waiting {
    session: Option<SessionId>,
    message: Bytes,
    cost_bytes: usize,
}

#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Waiting>,
    under_way: Vec<Waiting>,
    attempts: u32,
    /// What the clocks of the append under way must be above.
    floor: StreamClock,
    size_bytes: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, session: Option<SessionId>, message: Bytes, cost_bytes: usize) {
        self.size_bytes += cost_bytes;
        self.queue.push_back(Waiting { session, message, cost_bytes });
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

    /// The append under way is done, up to `last`. Returns what each session gets back of its budget.
    pub(super) fn on_appended(&mut self, last: StreamClock) -> Vec<(SessionId, usize)> {
        // An entry below what the tail has brought would be taken for known, and reach nobody.
        check(Invariant::InOrder, last > self.floor, || format!("an append above {} ended at {last}", self.floor));
        let mut credit: HashMap<SessionId, usize> = HashMap::new();
        for done in self.under_way.drain(..) {
            self.size_bytes -= done.cost_bytes;
            if let Some(session) = done.session {
                *credit.entry(session).or_default() += done.cost_bytes;
            }
        }
        let is_even = !self.queue.is_empty() || self.size_bytes == 0;
        check(Invariant::QueuesBounded, is_even, || format!("nothing waits, and {} bytes are counted", self.size_bytes));
        let mut credit: Vec<_> = credit.into_iter().collect();
        credit.sort_unstable();
        credit
    }

    /// The append under way failed. How long to wait before the next attempt, `None` if that was the last.
    pub(super) fn on_failed(&mut self) -> Option<Duration> {
        let wait = FIRST_RETRY * 4u32.pow(self.attempts.saturating_sub(1).min(4));
        self.attempts += 1;
        (self.attempts <= MAX_APPEND_ATTEMPTS).then_some(wait)
    }

    /// Drops everything that waits. Returns the sessions whose updates these were.
    pub(super) fn give_up(&mut self) -> Vec<SessionId> {
        self.size_bytes = 0;
        let mut sessions: Vec<_> = self.under_way.drain(..).chain(self.queue.drain(..)).filter_map(|w| w.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
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
