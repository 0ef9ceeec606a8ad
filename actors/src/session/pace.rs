//! How fast a session's client is read, and how fast its presence is passed on. Rates are in `yhub_core::limiting`.
//!
//! What has come is never thrown away but for presence that is outdated: over a rate the socket is not read, so that the client's own
//! network holds back what it sends.

use std::{sync::Arc, task, time::Duration};

use actix::prelude::*;
use yhub_core::{
    Close, Presence,
    limiting::{Bound, HeldPresence, Pace, Quota, Turn},
};

use super::Session;
use crate::{room::Act, transport::Transport};

/// While presence waits it is looked again at least so often: meanwhile something newer may have come.
const LOOK_AGAIN_MS: u64 = 250;
/// No pause is longer: a debt may take minutes to be paid.
const LONGEST_PAUSE_MS: u64 = 10_000;

/// What a session has sent, and what of it waits.
pub(super) struct SessionPace {
    quota: Arc<Quota>,
    own: Pace,
    presence: Pace,
    held: HeldPresence,
    /// Is its client not being read because of a rate?
    is_held_up: bool,
    /// So many of the paces that are kept together have let it through …
    passed: usize,
    /// … and this is its place among those who wait for the next.
    turn: Option<Turn>,
    /// When the session is woken, and by what.
    timer: Option<(u64, SpawnHandle)>,
}

impl SessionPace {
    pub(super) fn new(quota: Arc<Quota>, now_ms: u64) -> Self {
        Self {
            own: Pace::full(&quota.session, now_ms),
            presence: Pace::full(&quota.presence, now_ms),
            held: HeldPresence::default(),
            is_held_up: false,
            turn: None,
            passed: 0,
            timer: None,
            quota,
        }
    }

    /// Waits for nothing any more, and is in nobody's way.
    pub(super) fn give_up_turn(&mut self) {
        (self.turn, self.passed) = (None, 0);
    }
}

/// What may be read of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MayRead {
    /// The next message, or, if none has arrived whole, what comes.
    Next,
    /// Nothing is known of it yet. Only if it has something to say it waits with those who have: the silent ones, who may be thousands,
    /// would be in their way.
    Beginning,
    /// Nothing. The session is woken when that changes.
    Nothing,
}

impl<T: Transport> Session<T> {
    /// What may be read? Each time that it is something, one thing is.
    pub(super) fn may_read(&mut self, corked: bool, ctx: &mut Context<Self>, cx: &task::Context<'_>) -> MayRead {
        let may_read = if self.busy || corked || !self.core.may_read(&self.node.session_limits) {
            self.pace.give_up_turn();
            MayRead::Nothing
        } else {
            self.keeps_pace(ctx, cx)
        };
        if may_read == MayRead::Nothing {
            // While we do not read, silence is our doing.
            self.core.on_not_read(self.node.uptime_ms());
        }
        may_read
    }

    fn keeps_pace(&mut self, ctx: &mut Context<Self>, cx: &task::Context<'_>) -> MayRead {
        let now_ms = self.node.uptime_ms();
        let pace = &mut self.pace;
        if pace.held.size_bytes() > self.node.session_limits.max_awareness_bytes {
            // So much presence waits that more of it would be a queue.
            pace.give_up_turn();
            return self.hold_up(Some(LOOK_AGAIN_MS), Bound::Presence, ctx);
        }
        let (messages_ms, bytes_ms) = pace.own.waits_ms(&pace.quota.session, now_ms);
        if messages_ms > 0 || bytes_ms > 0 {
            pace.give_up_turn();
            let bound = if messages_ms > bytes_ms { Bound::SessionMessages } else { Bound::SessionBytes };
            return self.hold_up(Some(messages_ms.max(bytes_ms)), bound, ctx);
        }
        let shared = self.place.paces();
        let all = [
            (&shared.user, Bound::UserMessages, Bound::UserBytes),
            (&shared.room, Bound::RoomMessages, Bound::RoomBytes),
            (&shared.address, Bound::AddressMessages, Bound::AddressBytes),
        ];
        if self.inbound.size_bytes() == 0
            && all.iter().filter_map(|(shared, ..)| shared.as_ref()).any(|shared| shared.is_busy(now_ms))
        {
            pace.give_up_turn();
            return MayRead::Beginning;
        }
        let mut held_up = None;
        for (at, (shared, of_messages, of_bytes)) in all.into_iter().enumerate().skip(pace.passed) {
            let Some(shared) = shared else { continue };
            if let Err(waits) = shared.poll_turn(&mut pace.turn, now_ms, cx.waker()) {
                pace.passed = at;
                held_up = Some((waits.ms, if waits.for_bytes { of_bytes } else { of_messages }));
                break;
            }
        }
        if let Some((wait_ms, bound)) = held_up {
            return self.hold_up(wait_ms, bound, ctx);
        }
        pace.passed = 0;
        pace.is_held_up = false;
        MayRead::Next
    }

    /// It waits for so long, or until it is woken.
    fn hold_up(&mut self, wait_ms: Option<u64>, bound: Bound, ctx: &mut Context<Self>) -> MayRead {
        if !std::mem::replace(&mut self.pace.is_held_up, true) {
            self.node.limiting.tally.count(bound);
        }
        if let Some(wait_ms) = wait_ms {
            self.look_again_in(wait_ms.min(LONGEST_PAUSE_MS), ctx);
        }
        MayRead::Nothing
    }

    /// So many bytes have come, of whatever: also a message that never ends is paid for.
    pub(super) fn spend_bytes(&mut self, size_bytes: usize) {
        let now_ms = self.node.uptime_ms();
        let pace = &mut self.pace;
        pace.own.spend_bytes(&pace.quota.session, size_bytes, now_ms);
        let shared = self.place.paces();
        for pace in [&shared.user, &shared.address].into_iter().flatten() {
            pace.spend_bytes(size_bytes, now_ms);
        }
    }

    /// A frame has come, the bytes of which are paid for. What of it goes `to_room` is counted there.
    pub(super) fn spend_frame(&mut self, to_room: Option<usize>) {
        let now_ms = self.node.uptime_ms();
        let pace = &mut self.pace;
        pace.own.spend(&pace.quota.session, 0, now_ms);
        let shared = self.place.paces();
        for pace in [&shared.user, &shared.address].into_iter().flatten() {
            pace.spend(0, now_ms);
        }
        if let (Some(room), Some(size_bytes)) = (&shared.room, to_room) {
            room.spend(size_bytes, now_ms);
        }
    }

    /// The client says who is there: passed on now, or later, if nothing newer comes meanwhile.
    pub(super) fn on_presence(&mut self, entries: Vec<(u64, Presence)>, size_bytes: usize, ctx: &mut Context<Self>) {
        let pace = &mut self.pace;
        let wait_ms = pace.presence.wait_ms(&pace.quota.presence, self.node.uptime_ms());
        let is_first = pace.held.is_empty();
        if is_first && wait_ms == 0 {
            return self.pass_presence_on(entries, size_bytes);
        }
        if is_first {
            self.node.limiting.tally.count(Bound::Presence);
        }
        pace.held.hold(entries);
        self.look_again_in(wait_ms.min(LOOK_AGAIN_MS), ctx);
    }

    /// Passes presence on that waits, if it may go now.
    pub(super) fn release_presence(&mut self, ctx: &mut Context<Self>) {
        if self.pace.held.is_empty() {
            return;
        }
        let pace = &mut self.pace;
        match pace.presence.wait_ms(&pace.quota.presence, self.node.uptime_ms()) {
            0 => {
                let (entries, size_bytes) = pace.held.take();
                self.pass_presence_on(entries, size_bytes);
            }
            wait_ms => self.look_again_in(wait_ms.min(LOOK_AGAIN_MS), ctx),
        }
    }

    fn pass_presence_on(&mut self, entries: Vec<(u64, Presence)>, size_bytes: usize) {
        let pace = &mut self.pace;
        pace.presence.spend(&pace.quota.presence, size_bytes, self.node.uptime_ms());
        self.core.on_submitted(size_bytes);
        self.acts.push(Act::Awareness(entries, size_bytes));
    }

    /// Has the session look around in so many milliseconds, or earlier.
    fn look_again_in(&mut self, wait_ms: u64, ctx: &mut Context<Self>) {
        let at_ms = self.node.uptime_ms() + wait_ms.max(1);
        match self.pace.timer {
            Some((earlier_ms, _)) if earlier_ms <= at_ms => return,
            Some((_, timer)) => drop(ctx.cancel_future(timer)),
            None => {}
        }
        let timer = ctx.run_later(Duration::from_millis(wait_ms.max(1)), |session, _| {
            session.pace.timer = None;
            session.outbox.wake();
        });
        self.pace.timer = Some((at_ms, timer));
    }

    /// Counts what the session is closed for, if it is a bound.
    pub(super) fn count_close(&self, close: &Close) {
        let stall_ms = self.node.session_limits.stall_timeout.as_millis();
        let stalled_ms = self.stalled_since_ms.map_or(0, |since_ms| self.node.uptime_ms().saturating_sub(since_ms));
        let bound = match close {
            close if *close == Close::TOO_LARGE => Bound::MessageSize,
            close if *close == Close::PRESENCE_TOO_LARGE => Bound::PresenceSize,
            close if *close == Close::DOCUMENT_TOO_LARGE => Bound::DocumentSize,
            close if *close == Close::TOO_SLOW && self.taking.is_let_go => Bound::SyncAnswers,
            close if *close == Close::TOO_SLOW && u128::from(stalled_ms) >= stall_ms => Bound::Stall,
            close if *close == Close::TOO_SLOW => Bound::Outbox,
            _ => return,
        };
        self.node.limiting.tally.count(bound);
    }
}
