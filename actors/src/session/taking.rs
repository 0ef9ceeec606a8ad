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
/// What it must have taken by then while memory is short, if so much was there.
const LEAST_BYTES: usize = 512 << 10;

/// What a client has taken since it was looked at.
#[derive(Default)]
pub(super) struct Taking {
    pub(super) taken_bytes: usize,
    /// Did nothing wait any more at some moment?
    pub(super) has_emptied: bool,
    is_watched: bool,
    /// Is it closed for what it has not taken?
    pub(super) is_let_go: bool,
}

impl<T: Transport> Session<T> {
    /// `queued_bytes` wait in the outbox, others on their way to the socket.
    pub(super) fn watch_taking(&mut self, queued_bytes: usize, ctx: &mut Context<Self>) {
        if self.taking.is_watched || self.taking.is_let_go || self.waiting_bytes(queued_bytes) < WATCHED_FROM_BYTES {
            return;
        }
        self.taking = Taking { is_watched: true, ..Taking::default() };
        ctx.run_later(LOOK_EVERY, |session, _| {
            let taking = &mut session.taking;
            taking.is_watched = false;
            let is_slow = !taking.has_emptied && taking.taken_bytes < LEAST_BYTES;
            if is_slow && matches!(session.stage, Stage::Open) && session.node.limiting.answers.is_short() {
                taking.is_let_go = true;
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
