//! What one open connection may do, over time: when it is asked for anew, what the answers mean, when it is over.
//!
//! An answer that says "no" ends the connection; that there is no answer does not, for a while: nobody is sent away because
//! somebody else's server is down, and nobody is let in by it either.

use std::time::Duration;

use crate::{Close, access::Level};

/// After a check without an answer the next one comes so much later, doubling up to the second.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(15);

/// When access is asked for anew.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    /// About so often, of every connection; zero: only when it is demanded.
    pub sweep: Duration,
    /// A connection whose access could not be found out for so long is closed with 1013.
    pub grace: Duration,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        Self { sweep: Duration::from_secs(15), grace: Duration::from_secs(1800) }
    }
}

/// How an answer is to be got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// One that was given a short while ago will do.
    Cached,
    /// Whoever decides is asked now.
    Fresh,
}

/// What was found out about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It may do this.
    May {
        /// How far it may go with the document.
        level: Level,
        /// When that ends, on the clock of [`Standing`].
        expires_ms: Option<u64>,
    },
    /// Who it belongs to may not be here any more.
    Refused,
    /// That could not be found out.
    Unavailable,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// It may write from now on: what it wrote meanwhile was not taken, so it is to be asked for that.
    Raised,
    /// It ends.
    Close(Close),
}

/// What the passing of time asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Nothing.
    Nothing,
    /// Ask again; report with [`Standing::on_checked`].
    Check(Freshness),
    /// It is over.
    Close(Close),
}

/// What one connection may do. All times are milliseconds on one clock that never goes backwards.
#[derive(Debug)]
pub struct Standing {
    level: Level,
    expires_ms: Option<u64>,
    /// When to ask next; `None` while somebody is being asked, or if it is never to be asked by itself.
    next_ms: Option<u64>,
    /// Is an answer under way?
    is_asking: bool,
    /// It was demanded, and not answered yet.
    demanded: bool,
    /// It was demanded, for this time, while an answer was under way that may be older.
    again: Option<u64>,
    /// Since when there is no answer, and how often there was none.
    silent: Option<(u64, u32)>,
    policy: AccessPolicy,
}

impl Standing {
    /// A connection that was let in at `now_ms`. `spread` in 0..=1 is where in the first period it is checked, so that not all are
    /// checked at one moment.
    pub fn new(level: Level, expires_ms: Option<u64>, now_ms: u64, spread: f64, policy: AccessPolicy) -> Self {
        let sweep_ms = policy.sweep.as_millis() as f64;
        let next_ms = (sweep_ms > 0.0).then(|| now_ms + (sweep_ms * spread.clamp(0.0, 1.0)) as u64);
        Self { level, expires_ms, next_ms, is_asking: false, demanded: false, again: None, silent: None, policy }
    }

    /// May it write?
    pub fn may_write(&self) -> bool {
        self.level >= Level::Write
    }

    /// Somebody wants it checked, at `at_ms`. Returns whether to ask at once; if not, [`Self::on_time`] says when. Who is being asked
    /// is asked again when the answer is there.
    pub fn demand(&mut self, at_ms: u64, now_ms: u64) -> bool {
        self.demanded = true;
        if self.is_asking {
            self.again = Some(self.again.map_or(at_ms, |again_ms| again_ms.min(at_ms)));
            return false;
        }
        if at_ms > now_ms {
            self.next_ms = Some(self.next_ms.map_or(at_ms, |next_ms| next_ms.min(at_ms)));
            return false;
        }
        self.begin();
        true
    }

    /// Somebody is being asked, for this or another reason; report with [`Self::on_checked`].
    pub fn begin(&mut self) {
        self.is_asking = true;
        self.next_ms = None;
    }

    /// Is an answer under way?
    pub fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// The answer is there, or is known not to come.
    pub fn on_checked(&mut self, checked: Checked, now_ms: u64) -> Change {
        self.is_asking = false;
        let again = self.again.take();
        match checked {
            Checked::Refused | Checked::May { level: Level::None, .. } => Change::Close(Close::REVOKED),
            Checked::Unavailable => {
                let (since, failures) = self.silent.map_or((now_ms, 1), |(since, failures)| (since, failures + 1));
                self.silent = Some((since, failures));
                if u128::from(now_ms - since) >= self.policy.grace.as_millis() {
                    return Change::Close(Close::UNCHECKED);
                }
                let wait = RETRY.saturating_mul(1 << (failures - 1).min(10)).min(RETRY_AT_MOST);
                self.next_ms = Some(now_ms + wait.as_millis() as u64);
                Change::Nothing
            }
            Checked::May { level, expires_ms } => {
                if level < self.level {
                    return Change::Close(Close::ACCESS_CHANGED);
                }
                let raised = level > self.level;
                (self.level, self.expires_ms, self.silent) = (level, expires_ms, None);
                self.demanded = again.is_some();
                let sweep_ms = self.policy.sweep.as_millis() as u64;
                let swept_ms = (sweep_ms > 0).then_some(now_ms + sweep_ms);
                self.next_ms = again.map(|at_ms| at_ms.max(now_ms)).or(swept_ms);
                if raised { Change::Raised } else { Change::Nothing }
            }
        }
    }

    /// Time passes.
    pub fn on_time(&mut self, now_ms: u64) -> Lapse {
        if self.expires_ms.is_some_and(|expires| expires <= now_ms) {
            return Lapse::Close(Close::EXPIRED);
        }
        if self.next_ms.is_some_and(|next| next <= now_ms) {
            self.begin();
            return Lapse::Check(if self.demanded { Freshness::Fresh } else { Freshness::Cached });
        }
        Lapse::Nothing
    }

    /// When [`Self::on_time`] has something to say next.
    pub fn next_ms(&self) -> Option<u64> {
        [self.expires_ms, self.next_ms].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const READER: Checked = Checked::May { level: Level::Read, expires_ms: None };
    const WRITER: Checked = Checked::May { level: Level::Write, expires_ms: None };

    fn writer() -> Standing {
        Standing::new(Level::Write, None, 0, 0.5, AccessPolicy::default())
    }

    #[test]
    fn no_ends_it_and_silence_does_not() {
        let mut standing = writer();
        assert!(standing.demand(0, 0));
        assert_eq!(standing.on_checked(Checked::Unavailable, 0), Change::Nothing);
        // Asked again, and still of whoever decides.
        assert_eq!(standing.on_time(999), Lapse::Nothing);
        assert_eq!(standing.on_time(1_000), Lapse::Check(Freshness::Fresh));
        assert_eq!(standing.on_checked(Checked::Unavailable, 1_000), Change::Nothing);
        assert_eq!(standing.on_time(2_999), Lapse::Nothing);
        assert_eq!(standing.on_time(3_000), Lapse::Check(Freshness::Fresh));
        assert_eq!(standing.on_checked(Checked::Refused, 3_000), Change::Close(Close::REVOKED));
    }

    #[test]
    fn silence_is_borne_for_as_long_as_was_said() {
        let mut standing = writer();
        standing.demand(0, 0);
        assert_eq!(standing.on_checked(Checked::Unavailable, 10), Change::Nothing);
        let now_ms = loop {
            let now_ms = standing.next_ms().unwrap();
            assert_eq!(standing.on_time(now_ms), Lapse::Check(Freshness::Fresh));
            match standing.on_checked(Checked::Unavailable, now_ms) {
                Change::Nothing => assert!(now_ms < 1_800_010),
                change => {
                    assert_eq!(change, Change::Close(Close::UNCHECKED));
                    break now_ms;
                }
            }
        };
        assert!((1_800_010..1_830_000).contains(&now_ms), "{now_ms}");
    }

    #[test]
    fn an_answer_after_silence_starts_anew() {
        let mut standing = writer();
        standing.demand(0, 0);
        standing.on_checked(Checked::Unavailable, 0);
        assert_eq!(standing.on_time(1_000), Lapse::Check(Freshness::Fresh));
        assert_eq!(standing.on_checked(WRITER, 1_000), Change::Nothing);
        assert_eq!(standing.on_time(15_999), Lapse::Nothing);
        assert_eq!(standing.on_time(16_000), Lapse::Check(Freshness::Cached));
    }

    #[test]
    fn less_closes_and_more_raises() {
        let mut standing = writer();
        standing.demand(0, 0);
        assert_eq!(standing.on_checked(READER, 0), Change::Close(Close::ACCESS_CHANGED));
        let mut standing = Standing::new(Level::Read, None, 0, 0.0, AccessPolicy::default());
        assert!(!standing.may_write());
        standing.demand(0, 0);
        assert_eq!(standing.on_checked(WRITER, 0), Change::Raised);
        assert!(standing.may_write());
        standing.demand(0, 0);
        let none = Checked::May { level: Level::None, expires_ms: None };
        assert_eq!(standing.on_checked(none, 0), Change::Close(Close::REVOKED));
    }

    #[test]
    fn a_demand_during_a_check_is_followed_by_another() {
        let mut standing = writer();
        assert!(standing.demand(0, 0));
        assert!(!standing.demand(5, 5), "one at a time");
        assert_eq!(standing.on_checked(WRITER, 5), Change::Nothing);
        assert_eq!(standing.on_time(5), Lapse::Check(Freshness::Fresh));
        assert_eq!(standing.on_checked(WRITER, 6), Change::Nothing);
        assert_eq!(standing.on_time(6), Lapse::Nothing);
    }

    #[test]
    fn a_demand_for_later_is_kept_until_then() {
        let mut standing = writer();
        assert_eq!(standing.next_ms(), Some(7_500), "it would be looked at then anyway");
        assert!(!standing.demand(300, 0) && !standing.is_asking());
        assert!(!standing.demand(400, 0), "one will do");
        assert_eq!(standing.on_time(299), Lapse::Nothing);
        assert_eq!(standing.on_time(300), Lapse::Check(Freshness::Fresh));
        // While somebody is asked: then afterwards, and not before its time.
        assert!(!standing.demand(900, 300) && !standing.demand(800, 300));
        assert_eq!(standing.on_checked(WRITER, 310), Change::Nothing);
        assert_eq!((standing.on_time(799), standing.on_time(800)), (Lapse::Nothing, Lapse::Check(Freshness::Fresh)));
        assert_eq!(standing.on_checked(WRITER, 810), Change::Nothing);
        // Whoever is looked at before that anyway is asked for afresh.
        assert!(!standing.demand(100_000, 810));
        assert_eq!(standing.on_time(15_810), Lapse::Check(Freshness::Fresh));
    }

    #[test]
    fn it_expires_also_while_somebody_is_asked() {
        let mut standing = Standing::new(Level::Write, Some(100), 0, 1.0, AccessPolicy::default());
        assert_eq!(standing.next_ms(), Some(100));
        standing.demand(0, 0);
        assert_eq!(standing.on_time(99), Lapse::Nothing);
        assert_eq!(standing.on_time(100), Lapse::Close(Close::EXPIRED));
        // Unless it was renewed before.
        assert_eq!(standing.on_checked(Checked::May { level: Level::Write, expires_ms: Some(200) }, 99), Change::Nothing);
        assert_eq!(standing.on_time(100), Lapse::Nothing);
    }

    #[test]
    fn who_is_never_swept_is_asked_on_demand() {
        let policy = AccessPolicy { sweep: Duration::ZERO, ..AccessPolicy::default() };
        let mut standing = Standing::new(Level::Write, None, 0, 0.0, policy);
        assert_eq!(standing.next_ms(), None);
        standing.demand(0, 0);
        standing.on_checked(Checked::Unavailable, 0);
        assert_eq!(standing.next_ms(), Some(1_000));
    }

    proptest! {
        /// Whatever happens: one check at a time, nobody writes who was last said to read, and there is always a next moment.
        #[test]
        fn standing_is_what_was_last_said(steps in prop::collection::vec((0u8..5, 0u64..20_000), 1..60)) {
            let mut standing = writer();
            let (mut now_ms, mut said) = (0, Level::Write);
            for (what, passed) in steps {
                now_ms += passed;
                let change = match what {
                    0 => { let was = standing.is_asking();
                        let is_later = passed % 2 == 0;
                        let asks = standing.demand(now_ms + u64::from(is_later), now_ms);
                        prop_assert_eq!(asks, !was && !is_later); Change::Nothing }
                    1 => match standing.on_time(now_ms) { Lapse::Close(close) => Change::Close(close), _ => Change::Nothing },
                    what if standing.is_asking() => {
                        let checked = [READER, WRITER, Checked::Unavailable][usize::from(what) - 2];
                        let change = standing.on_checked(checked, now_ms);
                        if let (Checked::May { level, .. }, Change::Nothing | Change::Raised) = (checked, &change) {
                            said = level;
                        }
                        change
                    }
                    _ => Change::Nothing,
                };
                if let Change::Close(_) = change { break; }
                prop_assert_eq!(standing.may_write(), said == Level::Write);
                prop_assert!(standing.is_asking() || standing.next_ms().is_some());
            }
        }
    }
}
