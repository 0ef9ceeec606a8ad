//! The changes that a room has heard of last: their clocks, and as long as it may the lines themselves.
//!
//! The log may come back without its last lines. Then this says what to look for, and gives back what is gone as it was
//! written, with its author.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Loaded;
use crate::StreamClock;

/// So many lines are remembered, and about so many bytes of them. At the bound the oldest are forgotten: what they held is
/// in the document of the room, and comes back without its author. The latest is remembered whatever its length.
const MAX_MESSAGES: usize = 1024;
const MAX_BYTES: usize = 256 << 10;
/// So many clocks are remembered. What is older was heard of long before a loss of the log is noticed.
const MAX_CLOCKS: usize = 1024;

#[derive(Default)]
pub(super) struct Recent {
    /// In the order in which they were heard of.
    clocks: VecDeque<StreamClock>,
    messages: VecDeque<(StreamClock, Bytes)>,
    size_bytes: usize,
}

impl Recent {
    /// A document was loaded.
    pub(super) fn load(&mut self, loaded: &Loaded) {
        // A long stream is longer than what is remembered.
        let skipped = loaded.recent.len().saturating_sub(MAX_MESSAGES);
        for (clock, message) in &loaded.recent[skipped..] {
            self.remember(*clock, message.clone());
        }
        // Also zero: whoever knows of no change has heard of all since the beginning.
        self.heard(loaded.changed);
    }

    fn heard(&mut self, clock: StreamClock) {
        if self.clocks.iter().rev().any(|known| *known == clock) {
            return;
        }
        self.clocks.push_back(clock);
        if self.clocks.len() > MAX_CLOCKS {
            self.clocks.pop_front();
        }
    }

    /// A change that the room appended, or that the tail brings; in the end, both.
    pub(super) fn remember(&mut self, clock: StreamClock, message: Bytes) {
        self.heard(clock);
        // Where a log was rewound, another line may have got the clock of one that is gone: then both are remembered.
        if let Some((_, known)) = self.messages.iter_mut().rev().find(|(at, known)| *at == clock && *known == message) {
            // The tail's share of memory is kept anyway, until the next fold.
            *known = message;
            return;
        }
        self.size_bytes += message.len();
        self.messages.push_back((clock, message));
        while self.messages.len() > MAX_MESSAGES || (self.size_bytes > MAX_BYTES && self.messages.len() > 1) {
            let (_, oldest) = self.messages.pop_front().expect("more than one: checked above");
            self.size_bytes -= oldest.len();
        }
    }

    /// The clocks of the last changes, ascending.
    pub(super) fn clocks(&self) -> Vec<StreamClock> {
        let mut clocks: Vec<_> = self.clocks.iter().copied().collect();
        clocks.sort_unstable();
        clocks
    }

    /// The lines, in the order in which they were heard of.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Bytes> {
        self.messages.iter().map(|(_, message)| message)
    }

    /// The clocks heard of so far are gone from the log, or may be; the lines stay.
    pub(super) fn forget_clocks(&mut self) {
        self.clocks = VecDeque::new();
    }

    /// Forgets these lines: they are appended anew, and heard of again.
    pub(super) fn forget(&mut self, appended: &[Bytes]) {
        let is_among = |message: &Bytes| appended.iter().any(|other| other.as_ptr() == message.as_ptr());
        self.messages.retain(|(_, message)| !is_among(message));
        self.size_bytes = self.messages().map(Bytes::len).sum();
    }

    /// Forgets all lines: the node is short of memory.
    pub(super) fn let_go(&mut self) {
        self.messages = VecDeque::new();
        self.size_bytes = 0;
    }

    /// Bytes of lines in memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> StreamClock {
        StreamClock::new(n, 0)
    }

    #[test]
    fn memory_is_bounded_and_the_latest_is_remembered_whatever_its_length() {
        let mut recent = Recent::default();
        for n in 1..5_000 {
            recent.remember(at(n), Bytes::from(n.to_string()));
        }
        assert_eq!((recent.messages.len(), recent.clocks.len()), (MAX_MESSAGES, MAX_CLOCKS));
        assert_eq!(recent.messages().last().unwrap(), "4999");
        let long = Bytes::from(vec![7; MAX_BYTES + 1]);
        recent.remember(at(5_000), long.clone());
        assert_eq!((recent.messages.len(), recent.size_bytes()), (1, long.len()));
        recent.remember(at(5_001), Bytes::from_static(b"short"));
        assert_eq!((recent.messages.len(), recent.size_bytes()), (1, 5));
        assert_eq!(recent.clocks().last(), Some(&at(5_001)));
    }

    #[test]
    fn a_line_is_remembered_once_unless_another_took_its_clock() {
        let mut recent = Recent::default();
        recent.remember(at(1), Bytes::from_static(b"ours"));
        recent.remember(at(1), Bytes::from_static(b"ours"));
        assert_eq!(recent.messages.len(), 1);
        recent.remember(at(1), Bytes::from_static(b"theirs"));
        assert_eq!((recent.messages.len(), recent.clocks.len()), (2, 1));
        let appended: Vec<Bytes> = recent.messages().take(1).cloned().collect();
        recent.forget(&appended);
        let left: Vec<_> = recent.messages().cloned().collect();
        assert_eq!((left, recent.size_bytes()), (vec![Bytes::from_static(b"theirs")], 6));
    }
}
