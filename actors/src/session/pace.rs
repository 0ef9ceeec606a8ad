//! How fast a session's client is read, and how fast its presence is passed on. Rates are in `yhub_core::limiting`.
//!
//! What has come is never thrown away but for presence that is outdated: over a rate the socket is not read, so that the client's own
//! network holds back what it sends.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use yhub_core::{
    Close, Presence,
    limiting::{Bound, HeldPresence, Pace, Quota, SharedPace},
};

use super::Session;
use crate::{room::Act, transport::Transport};

/// Who waits looks again at least so often: meanwhile something else may have come.
const LOOK_AGAIN_MS: u64 = 250;

/// What a session has sent, and what of it waits.
pub(super) struct SessionPace {
    quota: Arc<Quota>,
    own: Pace,
    presence: Pace,
    held: HeldPresence,
    /// Is its client not being read because of a rate?
    is_held_up: bool,
    timer: Option<SpawnHandle>,
}

impl SessionPace {
    pub(super) fn new(quota: Arc<Quota>, now_ms: u64) -> Self {
        Self {
            own: Pace::full(&quota.session, now_ms),
            presence: Pace::full(&quota.presence, now_ms),
            held: HeldPresence::default(),
            is_held_up: false,
            timer: None,
            quota,
        }
    }
}

impl<T: Transport> Session<T> {
    /// May the next message be read? If a rate keeps it from that, the session is woken when it may.
    pub(super) fn may_read(&mut self, corked: bool, ctx: &mut Context<Self>) -> bool {
        let may_read = !self.busy && !corked && self.core.may_read(&self.node.session_limits) && self.keeps_pace(ctx);
        if !may_read {
            // While we do not read, silence is our doing.
            self.core.on_not_read(self.node.uptime_ms());
        }
        may_read
    }

    fn keeps_pace(&mut self, ctx: &mut Context<Self>) -> bool {
        let now_ms = self.node.uptime_ms();
        let pace = &mut self.pace;
        let own = pace.own.waits_ms(&pace.quota.session, now_ms);
        let shared = self.place.paces();
        let of = |pace: &Option<Arc<SharedPace>>| pace.as_ref().map_or((0, 0), |pace| pace.waits_ms(now_ms));
        let (user, address, room) = (of(&shared.user), of(&shared.address), of(&shared.room));
        // So much presence waits that more of it would be a queue.
        let is_full = pace.held.size_bytes() > self.node.session_limits.max_awareness_bytes;
        let waits = [
            (own.0, Bound::SessionMessages),
            (own.1, Bound::SessionBytes),
            (user.0, Bound::UserMessages),
            (user.1, Bound::UserBytes),
            (address.0, Bound::AddressMessages),
            (address.1, Bound::AddressBytes),
            (room.0, Bound::RoomMessages),
            (room.1, Bound::RoomBytes),
            (if is_full { LOOK_AGAIN_MS } else { 0 }, Bound::Presence),
        ];
        let (wait_ms, bound) = waits.into_iter().max_by_key(|(wait_ms, _)| *wait_ms).expect("there are nine");
        if wait_ms == 0 {
            self.pace.is_held_up = false;
            return true;
        }
        if !std::mem::replace(&mut self.pace.is_held_up, true) {
            self.node.limiting.tally.count(bound);
        }
        self.look_again_in(wait_ms, ctx);
        false
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
        self.look_again_in(wait_ms, ctx);
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
            wait_ms => self.look_again_in(wait_ms, ctx),
        }
    }

    fn pass_presence_on(&mut self, entries: Vec<(u64, Presence)>, size_bytes: usize) {
        let pace = &mut self.pace;
        pace.presence.spend(&pace.quota.presence, size_bytes, self.node.uptime_ms());
        self.core.on_submitted(size_bytes);
        self.acts.push(Act::Awareness(entries, size_bytes));
    }

    fn look_again_in(&mut self, wait_ms: u64, ctx: &mut Context<Self>) {
        if self.pace.timer.is_none() {
            let wait = Duration::from_millis(wait_ms.clamp(1, LOOK_AGAIN_MS));
            self.pace.timer = Some(ctx.run_later(wait, |session, _| {
                session.pace.timer = None;
                session.outbox.wake();
            }));
        }
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
