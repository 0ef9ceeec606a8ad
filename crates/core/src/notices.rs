//! Which notices of the document store are new to a node that reads them again and again.
//!
//! A notice has the time of whoever wrote it, and is there once it is committed: neither says that those read later are younger.
//! So each read reaches back over a window, and what was read before is known by its id.

use std::{collections::HashSet, hash::Hash, time::Duration};

/// Each read reaches back so long: longer than a notice is on its way, and than clocks of a cluster differ.
pub const NOTICE_WINDOW: Duration = Duration::from_secs(120);
/// While there are more notices than are read, everybody is checked at most so often.
const FLOOD_PAUSE: Duration = Duration::from_secs(15);

/// What is new.
#[derive(Debug, PartialEq, Eq)]
pub struct News<T> {
    /// What was not read before, in the order in which it was found.
    pub notices: Vec<T>,
    /// There was more than could be read, so it may concern anybody.
    pub anybody: bool,
    /// What is older is from before the node began; 0 for all reads but the first.
    pub began_ms: u64,
}

/// What a node has read of the notices. All times are in milliseconds since 1970 by its own clock, which may go back.
#[derive(Debug)]
pub struct Lookback<Id> {
    /// When the last read began that was answered; before the first one, when the node began.
    since_ms: u64,
    /// What that read brought: at most as many as a read brings.
    known: HashSet<Id>,
    has_read: bool,
    /// When anybody was concerned last.
    flooded_ms: Option<u64>,
}

impl<Id: Clone + Eq + Hash> Lookback<Id> {
    /// Of a node that begins at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, known: HashSet::new(), has_read: false, flooded_ms: None }
    }

    /// A read at `now_ms` is to bring the notices of this time and later. It reaches back before the last one that was answered,
    /// however long ago that was.
    pub fn from_ms(&self, now_ms: u64) -> u64 {
        self.since_ms.min(now_ms).saturating_sub(NOTICE_WINDOW.as_millis() as u64)
    }

    /// A read that began at `begun_ms` has brought these; with `more`, there were others that it did not bring.
    pub fn on_read<T>(&mut self, begun_ms: u64, found: Vec<(Id, T)>, more: bool) -> News<T> {
        let began_ms = if std::mem::replace(&mut self.has_read, true) { 0 } else { self.since_ms };
        self.since_ms = begun_ms;
        let before = std::mem::replace(&mut self.known, found.iter().map(|(id, _)| id.clone()).collect());
        let notices = found.into_iter().filter(|(id, _)| !before.contains(id)).map(|(_, notice)| notice).collect();
        let is_due = |last_ms: u64| u128::from(begun_ms.abs_diff(last_ms)) >= FLOOD_PAUSE.as_millis();
        let anybody = more && self.flooded_ms.is_none_or(is_due);
        if anybody {
            self.flooded_ms = Some(begun_ms);
        }
        News { notices, anybody, began_ms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: u64 = NOTICE_WINDOW.as_millis() as u64;

    fn read(lookback: &mut Lookback<u32>, now_ms: u64, ids: &[u32], more: bool) -> (Vec<u32>, bool) {
        let news = lookback.on_read(now_ms, ids.iter().map(|id| (*id, *id)).collect(), more);
        (news.notices, news.anybody)
    }

    #[test]
    fn what_is_read_again_is_not_new() {
        let mut lookback = Lookback::new(1_000_000);
        assert_eq!(lookback.from_ms(1_000_000), 1_000_000 - WINDOW_MS);
        assert_eq!(read(&mut lookback, 1_000_000, &[1], false), (vec![1], false));
        assert_eq!(read(&mut lookback, 1_000_500, &[2, 1], false), (vec![2], false));
        assert_eq!(read(&mut lookback, 1_001_000, &[2, 1], false), (vec![], false));
    }

    #[test]
    fn only_the_first_read_has_notices_from_before_the_node() {
        let mut lookback = Lookback::<u32>::new(7);
        let began_ms = [9, 10, 11].map(|now_ms| lookback.on_read::<()>(now_ms, Vec::new(), false).began_ms);
        assert_eq!(began_ms, [7, 0, 0]);
    }

    #[test]
    fn reads_reach_back_before_the_last_that_was_answered() {
        let mut lookback = Lookback::new(1_000_000);
        // Nothing was answered for an hour: from the start.
        assert_eq!(lookback.from_ms(4_600_000), 1_000_000 - WINDOW_MS);
        read(&mut lookback, 4_600_000, &[], false);
        assert_eq!(lookback.from_ms(9_000_000), 4_600_000 - WINDOW_MS);
        // A clock that was set back: notices are of that time again.
        assert_eq!(lookback.from_ms(2_000_000), 2_000_000 - WINDOW_MS);
        assert_eq!(Lookback::<u32>::new(5).from_ms(7), 0);
    }

    #[test]
    fn a_flood_concerns_anybody_now_and_then() {
        let mut lookback = Lookback::new(0);
        assert_eq!(read(&mut lookback, 1_000, &[1], true), (vec![1], true));
        assert_eq!(read(&mut lookback, 1_500, &[1], true), (vec![], false));
        assert_eq!(read(&mut lookback, 15_999, &[1], true), (vec![], false));
        assert_eq!(read(&mut lookback, 16_000, &[1], true), (vec![], true));
        assert_eq!(read(&mut lookback, 16_500, &[1, 2], false), (vec![2], false));
        // A clock that was set back does not make it wait until it is as late again.
        assert_eq!(read(&mut lookback, 500, &[1, 2], true), (vec![], true));
    }

    proptest! {
        /// However late notices are committed by clocks that differ, within the window: each is news once, in the first read after
        /// its commit.
        #[test]
        fn each_notice_is_news_once(
            mut written in prop::collection::vec((0u64..600_000, 0u64..118_000), 0..40),
            pauses in prop::collection::vec(1u64..2_000, 1..400),
        ) {
            written.sort_unstable();
            let notices: Vec<_> = written.iter().map(|(commit_ms, early)| (commit_ms, (commit_ms + 200_000) - early)).collect();
            let mut lookback = Lookback::new(200_000);
            let (mut now_ms, mut last_ms) = (0, None::<u64>);
            for pause in pauses {
                now_ms += pause;
                let from_ms = lookback.from_ms(now_ms + 200_000);
                let committed = notices.iter().enumerate().filter(|(_, (commit_ms, _))| **commit_ms <= now_ms);
                let found = committed.filter(|(_, (_, at_ms))| *at_ms >= from_ms).map(|(id, _)| (id, id)).collect();
                let news = lookback.on_read(now_ms + 200_000, found, false).notices;
                let is_new = |commit_ms: u64| commit_ms <= now_ms && last_ms.is_none_or(|last_ms| commit_ms > last_ms);
                let expected: Vec<_> = (0..notices.len()).filter(|id| is_new(*notices[*id].0)).collect();
                prop_assert_eq!(news, expected);
                last_ms = Some(now_ms);
            }
        }
    }
}
