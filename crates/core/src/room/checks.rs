//! Which sessions a demanded check of access concerns, also of those who come in around it.
//!
//! A session was let in a moment before it joins. A check that the stream brought in between has not found it, so the room
//! remembers checks for a while and has the session checked once more.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Effect, RoomCore};
use crate::{Close, SessionId, UserMatcher, access::Identity};

/// How long a check is remembered: longer than anybody takes from being let in to joining, and than clocks of a cluster differ.
pub const CHECKS_REMEMBERED: Duration = Duration::from_secs(120);
/// More of them become one that concerns everybody: checked once too often costs a question, once too few a leak.
const MAX_REMEMBERED: usize = 64;

/// A check of access that the stream or a notice demanded. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthCheck {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whom it concerns; `None`: everybody.
    pub users: Option<Arc<[UserMatcher]>>,
}

impl AuthCheck {
    /// Does it concern them?
    pub fn concerns(&self, who: &Identity) -> bool {
        let Some(users) = &self.users else { return true };
        users.iter().any(|matcher| matcher.matches(&who.user, &who.claims))
    }
}

/// The checks of a short while.
#[derive(Debug, Default)]
pub(super) struct Checks {
    recent: VecDeque<AuthCheck>,
}

impl Checks {
    /// A check was demanded.
    pub(super) fn remember(&mut self, check: AuthCheck, now_ms: u64) {
        self.forget_old(now_ms);
        if self.recent.len() == MAX_REMEMBERED {
            self.recent.clear();
            self.recent.push_back(AuthCheck { at_ms: check.at_ms, users: None });
        } else {
            self.recent.push_back(check);
        }
    }

    /// Must somebody who comes in at `now_ms` be checked once more?
    pub(super) fn concern(&mut self, who: &Identity, now_ms: u64) -> bool {
        self.forget_old(now_ms);
        self.recent.iter().any(|check| check.concerns(who))
    }

    fn forget_old(&mut self, now_ms: u64) {
        let is_old = |check: &AuthCheck| u128::from(now_ms.saturating_sub(check.at_ms)) > CHECKS_REMEMBERED.as_millis();
        // About in the order of time: none stays for much longer.
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
    }
}

impl RoomCore {
    /// A notice from beside the stream demands that sessions are checked, or cut: those who are here as if the stream did, and
    /// those who join soon after [`AuthCheck::at_ms`].
    pub fn on_notice(&mut self, check: AuthCheck, cut: bool, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.is_over() {
            self.check_access(check, cut, now_ms, &mut effects);
        }
        effects
    }

    /// Who is behind a session has shown other claims: those count for checks from now on, and for those of a moment ago, which have
    /// not found them.
    pub fn on_identified(&mut self, session: SessionId, who: Arc<Identity>, now_ms: u64) -> Vec<Effect> {
        let Some(member) = self.members.get_mut(&session) else { return Vec::new() };
        member.who = who;
        if self.checks.concern(&member.who, now_ms) { vec![Effect::Check { sessions: vec![session] }] } else { Vec::new() }
    }

    /// The stream, or a notice, demands that sessions are checked, or cut.
    pub(super) fn check_access(&mut self, check: AuthCheck, cut: bool, now_ms: u64, effects: &mut Vec<Effect>) {
        let concerned = self.members.iter().filter(|(_, member)| check.concerns(&member.who));
        let mut sessions: Vec<_> = concerned.map(|(session, _)| *session).collect();
        sessions.sort_unstable();
        self.checks.remember(check, now_ms);
        if cut {
            effects.extend(sessions.into_iter().map(|session| Effect::Close { session, close: Close::REVOKED }));
        } else if !sessions.is_empty() {
            effects.push(Effect::Check { sessions });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Identity {
        Identity { user: "ann".into(), ..Identity::anonymous("") }
    }

    fn check(at_ms: u64, user: &str) -> AuthCheck {
        AuthCheck { at_ms, users: Some([UserMatcher::User(user.into())].into()) }
    }

    #[test]
    fn a_check_is_remembered_for_who_comes_in_around_it() {
        let mut checks = Checks::default();
        checks.remember(check(1_000, "bob"), 1_000);
        assert!(!checks.concern(&ann(), 1_000));
        checks.remember(check(2_000, "ann"), 2_000);
        assert!(checks.concern(&ann(), 122_000));
        assert!(!checks.concern(&ann(), 122_001));
    }

    #[test]
    fn a_check_of_nobody_concerns_nobody() {
        assert!(!AuthCheck { at_ms: 0, users: Some([].into()) }.concerns(&ann()));
        assert!(AuthCheck { at_ms: 0, users: None }.concerns(&ann()));
    }

    #[test]
    fn too_many_to_remember_concern_everybody() {
        let mut checks = Checks::default();
        for _ in 0..MAX_REMEMBERED {
            checks.remember(check(1_000, "bob"), 1_000);
        }
        assert!(!checks.concern(&ann(), 1_000));
        checks.remember(check(1_000, "bob"), 1_000);
        assert!(checks.concern(&ann(), 1_000));
        assert_eq!(checks.recent.len(), 1);
    }
}
