//! Whether a client takes what waits for it, as long as memory for that is short.
//!
//! A client that takes nothing is closed for that sooner or later; one that takes a little now and then is not, and keeps alive what was
//! made for it. Where the node has no room for more, such clients are let go of: what they lack they get when they come again.

use std::time::Duration;

use actix::prelude::*;
use yhub_core::Close;

use super::{Session, Stage};
use crate::transport::Transport;

/// Who has less waiting for it is nobody's concern.
const WATCHED_FROM_BYTES: usize = 64 << 10;
/// How often a watched client is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What it must have taken by then while memory is short, if so much was there; twice as much each time that it still is.
const LEAST_BYTES: usize = 512 << 10;
/// That is doubled so often at most.
const DOUBLED: u32 = 7;

/// What a client has taken since it was looked at.
#[derive(Default)]
pub(super) struct Taking {
    pub(super) taken_bytes: usize,
    /// Did nothing wait any more at some moment?
    pub(super) has_emptied: bool,
    is_watched: bool,
    /// How often memory was short when it was looked at, without its having taken everything in between.
    looks: u32,
    /// Is it closed for what it has not taken?
    pub(super) is_let_go: bool,
}

impl Taking {
    /// Watches it from now on.
    fn watch(&mut self) {
        *self = Self { is_watched: true, looks: self.looks, ..Self::default() };
    }

    /// Must it be let go of?
    fn look(&mut self, is_short: bool) -> bool {
        self.is_watched = false;
        if self.has_emptied || !is_short {
            self.looks = 0;
            return false;
        }
        self.is_let_go = self.taken_bytes < LEAST_BYTES << self.looks.min(DOUBLED);
        self.looks += 1;
        self.is_let_go
    }
}

impl<T: Transport> Session<T> {
    /// `queued_bytes` wait in the outbox, others on their way to the socket.
    pub(super) fn watch_taking(&mut self, queued_bytes: usize, ctx: &mut Context<Self>) {
        if self.taking.is_watched || self.taking.is_let_go || self.waiting_bytes(queued_bytes) < WATCHED_FROM_BYTES {
            return;
        }
        self.taking.watch();
        ctx.run_later(LOOK_EVERY, |session, _| {
            let is_short = session.node.limiting.answers.is_short();
            if session.taking.look(is_short) && matches!(session.stage, Stage::Open) {
                session.outbox.close(Close::TOO_SLOW);
            } else {
                // Looks whether there is still something to watch.
                session.outbox.wake();
            }
        });
    }

    fn waiting_bytes(&self, queued_bytes: usize) -> usize {
        queued_bytes + self.sending.iter().map(bytes::Bytes::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that takes so many bytes between two looks: when is it let go of?
    fn looks_until_let_go(taken_bytes: usize) -> Option<usize> {
        let mut taking = Taking::default();
        (1..=20).find(|_| {
            taking.watch();
            taking.taken_bytes = taken_bytes;
            taking.look(true)
        })
    }

    #[test]
    fn the_longer_memory_is_short_the_faster_one_must_be() {
        assert_eq!(looks_until_let_go(0), Some(1));
        assert_eq!(looks_until_let_go(LEAST_BYTES - 1), Some(1));
        assert_eq!(looks_until_let_go(LEAST_BYTES), Some(2));
        assert_eq!(looks_until_let_go(10 << 20), Some(6));
        assert_eq!(looks_until_let_go(64 << 20), None, "nobody is held up by who takes as much");
    }

    #[test]
    fn nobody_is_slow_who_has_taken_all_or_while_there_is_room() {
        let mut taking = Taking::default();
        taking.watch();
        taking.taken_bytes = LEAST_BYTES;
        assert!(!taking.look(true));
        for (has_emptied, is_short) in [(true, true), (false, false)] {
            taking.watch();
            taking.has_emptied = has_emptied;
            assert!(!taking.look(is_short));
            assert_eq!(taking.looks, 0);
        }
    }
}
