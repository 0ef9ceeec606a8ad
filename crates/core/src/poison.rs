//! What becomes of a room whose compaction failed: it is tried again, it is set aside, or the hub itself is at fault.
//!
//! A room that fails by itself again and again would be tried for ever, so it is set aside. Where many rooms fail alike it is
//! not they: a new version, or a machine, does something wrong, and setting them aside would be the larger harm. Then a
//! breaker opens, nobody is set aside, and the hub says that it is at fault.
//!
//! Rooms are made by tenants, and one of them may mean harm. So many poison rooms of one org would look like a fault of the hub,
//! keep the breaker open, and the hub out of service for everybody. Two things stand against that:
//! - Where rooms of several orgs were worked on, most of *these orgs* must fail alike, not only most of the rooms. One org
//!   cannot be most of two.
//! - Where no other org is active there is nothing to compare with. So the hub calls itself not ready for at most
//!   [`PoisonPolicy::unready_for`] within any [`PoisonPolicy::unready_within`], however often the breaker opens. That is long
//!   enough to stop a roll-out of a bad version, and a hub that cannot compact still takes edits: the stream keeps them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::RoomId;

/// When what is done about rooms that fail.
#[derive(Clone, Debug)]
pub struct PoisonPolicy {
    /// A room is set aside when it has failed so often in a row with the same signature.
    pub quarantine_after: u64,
    /// The pause after the first failure; it doubles with each further one …
    pub first_backoff: Duration,
    /// … up to this.
    pub longest_backoff: Duration,
    /// The breaker opens when so many rooms failed alike within the window, and these are at least half of those this node
    /// has worked on.
    pub breaker_rooms: usize,
    /// What lies longer ago does not count.
    pub window: Duration,
    /// The breaker keeps the hub from being ready for at most so long …
    pub unready_for: Duration,
    /// … within any time so long.
    pub unready_within: Duration,
}

impl Default for PoisonPolicy {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            quarantine_after: 5,
            first_backoff: Duration::from_secs(5),
            longest_backoff: minutes(5),
            breaker_rooms: 5,
            window: minutes(10),
            unready_for: minutes(10),
            unready_within: minutes(60),
        }
    }
}

impl PoisonPolicy {
    /// The pause after the `nth` failure, counted from 1: between half of what it has doubled to and all of it, by `jitter`
    /// between 0 and 1. Rooms that failed together are so not tried together.
    pub fn backoff(&self, nth: u64, jitter: f64) -> Duration {
        let doublings = u32::try_from(nth.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let whole = self.first_backoff.saturating_mul(1 << doublings).min(self.longest_backoff);
        whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// A compaction that failed, not for want of something that comes back by itself.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// Of which room.
    pub room: &'a RoomId,
    /// What makes it like others.
    pub signature: &'a str,
    /// So often has this room failed with this signature in a row, this time included.
    pub in_a_row: u64,
    /// So many rooms failed with this signature within the window, on all nodes.
    pub rooms_alike: u64,
    /// How often the task was claimed.
    pub attempt: u32,
    /// Would the room go on if its stream were set aside? Not where the fault is in what is stored.
    pub may_be_set_aside: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again.
    Retry {
        /// After so long.
        after: Duration,
    },
    /// Set the room's stream aside.
    Quarantine,
    /// It is not the room's fault. Try again.
    HubAtFault {
        /// After so long.
        after: Duration,
    },
}

/// Why the hub is taken to be at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFault {
    /// How the rooms fail.
    pub signature: Arc<str>,
    /// How many did when the breaker opened.
    pub rooms: u64,
    /// When it opened, by the time that the guard is told.
    pub since_ms: u64,
}

/// What became of the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// It opened.
    Opened(HubFault),
    /// It closed: compactions succeed again, or the failures lie too long ago.
    Closed(HubFault),
}

/// So many rooms are remembered; beyond, those that were worked on longest ago are forgotten.
const MAX_ROOMS: usize = 4096;
/// So many times of not being ready are remembered one by one.
const MAX_SPELLS: usize = 32;

struct Seen {
    at_ms: u64,
    /// `None`: its last compaction succeeded.
    failed: Option<Arc<str>>,
    /// Is a record of its failure in the store, as far as this node knows?
    on_record: bool,
}

/// What one node remembers of its compactions. Times are milliseconds that never go backwards.
pub struct PoisonGuard {
    policy: PoisonPolicy,
    seen: HashMap<RoomId, Seen>,
    open: Option<HubFault>,
    /// When the hub was not ready because of the breaker, oldest first; the last one may lie ahead.
    unready: VecDeque<(u64, u64)>,
}

impl PoisonGuard {
    /// A guard that has seen nothing yet.
    pub fn new(policy: PoisonPolicy) -> Self {
        Self { policy, seen: HashMap::new(), open: None, unready: VecDeque::new() }
    }

    /// The rules.
    pub fn policy(&self) -> &PoisonPolicy {
        &self.policy
    }

    /// A compaction failed. Where the breaker closes and opens again for another cause, only that is told.
    pub fn on_failed(&mut self, failed: Failed<'_>, jitter: f64, now_ms: u64) -> (Verdict, Option<BreakerChange>) {
        let signature: Arc<str> = failed.signature.into();
        self.remember(failed.room, Seen { at_ms: now_ms, failed: Some(signature.clone()), on_record: true }, now_ms);
        let mut change = self.look(now_ms);
        if self.open.is_none() {
            let (local, is_most) = self.weigh(&signature);
            let rooms = failed.rooms_alike.max(local);
            if is_most && rooms >= self.policy.breaker_rooms as u64 {
                let fault = HubFault { signature, rooms, since_ms: now_ms };
                self.open = Some(fault.clone());
                self.withhold(now_ms);
                change = Some(BreakerChange::Opened(fault));
            }
        }
        let after = self.policy.backoff(failed.in_a_row.max(u64::from(failed.attempt)), jitter);
        let verdict = if self.open.is_some() {
            Verdict::HubAtFault { after }
        } else if failed.may_be_set_aside && failed.in_a_row >= self.policy.quarantine_after {
            Verdict::Quarantine
        } else {
            Verdict::Retry { after }
        };
        (verdict, change)
    }

    /// A compaction merged and stored something. One that only trimmed says nothing: it looks into no document.
    pub fn on_stored(&mut self, room: &RoomId, now_ms: u64) -> Option<BreakerChange> {
        let on_record = self.seen.get(room).is_some_and(|seen| seen.on_record);
        self.remember(room, Seen { at_ms: now_ms, failed: None, on_record }, now_ms);
        self.look(now_ms)
    }

    /// Is a failure of `room` on record, as far as this node knows? Says so once.
    pub fn take_on_record(&mut self, room: &RoomId) -> bool {
        self.seen.get_mut(room).is_some_and(|seen| std::mem::take(&mut seen.on_record))
    }

    /// Time has passed: does the breaker close?
    pub fn look(&mut self, now_ms: u64) -> Option<BreakerChange> {
        let fault = self.open.as_ref()?;
        let window_ms = whole_ms(self.policy.window);
        self.seen.retain(|_, seen| now_ms.saturating_sub(seen.at_ms) < window_ms);
        // That there are many has been seen; as long as they are most of what is worked on, nothing says that it is over.
        if self.weigh(&fault.signature).1 {
            return None;
        }
        // What was not used of the time is not held against the next opening.
        if let Some((_, until_ms)) = self.unready.back_mut() {
            *until_ms = now_ms.min(*until_ms);
        }
        self.open.take().map(BreakerChange::Closed)
    }

    /// Why the hub is taken to be at fault; `None` while the breaker is closed.
    pub fn fault(&self) -> Option<&HubFault> {
        self.open.as_ref()
    }

    /// Is the hub not ready because of it? See the head of this file for why that ends.
    pub fn withholds_readiness(&self, now_ms: u64) -> bool {
        self.open.is_some() && self.unready.back().is_some_and(|(_, until_ms)| now_ms < *until_ms)
    }

    fn remember(&mut self, room: &RoomId, seen: Seen, now_ms: u64) {
        let window_ms = whole_ms(self.policy.window);
        self.seen.insert(room.clone(), seen);
        // Also where a failure is on record: that is found again by the number of attempts.
        self.seen.retain(|_, seen| now_ms.saturating_sub(seen.at_ms) < window_ms);
        while self.seen.len() > MAX_ROOMS {
            let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.at_ms).map(|(room, _)| room.clone());
            let Some(oldest) = oldest else { break };
            self.seen.remove(&oldest);
        }
    }

    /// How many rooms failed alike here, and whether they are most of what this node worked on: at least half of the rooms,
    /// and, where there are several orgs, at least half of the rooms of more than half of the orgs.
    fn weigh(&self, signature: &str) -> (u64, bool) {
        let mut orgs: HashMap<&str, (u64, u64)> = HashMap::new();
        let (mut alike, mut worked) = (0, 0);
        for (room, seen) in &self.seen {
            let (org_alike, org_worked) = orgs.entry(room.org()).or_default();
            *org_worked += 1;
            worked += 1;
            if seen.failed.as_deref() == Some(signature) {
                *org_alike += 1;
                alike += 1;
            }
        }
        let failing_orgs = orgs.values().filter(|(alike, worked)| *alike > 0 && alike * 2 >= *worked).count();
        let is_spread = failing_orgs * 2 > orgs.len();
        (alike, alike > 0 && alike * 2 >= worked && is_spread)
    }

    /// The breaker opens: plans how long the hub is not ready, so that in no time of [`PoisonPolicy::unready_within`] it is for
    /// longer than [`PoisonPolicy::unready_for`] altogether.
    fn withhold(&mut self, now_ms: u64) {
        let earliest_ms = now_ms.saturating_sub(whole_ms(self.policy.unready_within));
        self.unready.retain(|(_, until_ms)| *until_ms > earliest_ms);
        let used_ms: u64 = self.unready.iter().map(|(from_ms, until_ms)| until_ms - from_ms.max(&earliest_ms)).sum();
        let left_ms = whole_ms(self.policy.unready_for).saturating_sub(used_ms);
        self.unready.push_back((now_ms, now_ms.saturating_add(left_ms)));
        if self.unready.len() > MAX_SPELLS {
            // The time between them counts as used, which errs towards being ready.
            if let (Some((from_ms, _)), Some((first_from_ms, _))) = (self.unready.pop_front(), self.unready.front_mut()) {
                *first_from_ms = from_ms;
            }
        }
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod laws;
