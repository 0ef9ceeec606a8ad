//! Which notices of the document store are new to a node that reads them again and again.
//!
//! A notice has the time of whoever wrote it, and is there once it is committed: neither says that those read later are younger.
//! So each read looks back over a window, and what was read before is known by its id. Of what is new only so much is brought in one
//! read; the orgs take turns, so that one that leaves very many keeps nobody else's waiting.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

/// Each read reaches back so long: longer than a notice is on its way, and than clocks of a cluster differ.
pub const NOTICE_WINDOW: Duration = Duration::from_secs(120);
/// While there are more notices than are read, everybody is checked at most so often.
const FLOOD_PAUSE: Duration = Duration::from_secs(15);

/// What follows from a read, besides what it has brought.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// There were more than could be listed, so it may concern anybody.
    pub anybody: bool,
    /// What is older is from before the node began; 0 for all reads but the first.
    pub began_ms: u64,
}

/// A notice that is there.
pub trait Listed {
    /// Its name.
    type Id: Clone + Eq + Hash;

    /// Its name.
    fn id(&self) -> &Self::Id;
    /// Whose rooms it concerns; `None`: those of every org.
    fn org(&self) -> Option<&str>;
    /// What it costs to bring it.
    fn size_bytes(&self) -> usize;
}

/// What a node has read of the notices. All times are in milliseconds since 1970 by its own clock, which may go back.
#[derive(Debug)]
pub struct Lookback<Id> {
    /// When the last read began that was answered and left nothing behind; before the first one, when the node began.
    since_ms: u64,
    /// Of those that the last read has listed, what was brought: at most as many as are listed.
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

    /// A read at `now_ms` is to list the notices of this time and later. It reaches back before the last one that was answered,
    /// however long ago that was.
    pub fn from_ms(&self, now_ms: u64) -> u64 {
        self.since_ms.min(now_ms).saturating_sub(NOTICE_WINDOW.as_millis() as u64)
    }

    /// Which of these are to be brought: what is new, up to `max_bytes`, or one.
    pub fn choose<T: Listed<Id = Id>>(&self, listed: Vec<T>, max_bytes: usize) -> Vec<T> {
        let new = listed.into_iter().filter(|notice| !self.known.contains(notice.id()));
        // By org, each in its order, with where it stands; who has waited for longest is the first to have a turn.
        let (mut waiting, mut orgs) = (Vec::<VecDeque<(usize, T)>>::new(), HashMap::<Option<String>, usize>::new());
        for (at, notice) in new.enumerate() {
            let turn = *orgs.entry(notice.org().map(str::to_owned)).or_insert_with(|| {
                waiting.push(VecDeque::new());
                waiting.len() - 1
            });
            waiting[turn].push_back((at, notice));
        }
        let (mut chosen, mut left_bytes) = (Vec::new(), max_bytes);
        while !waiting.is_empty() {
            waiting.retain_mut(|of_org| {
                let Some((at, notice)) = of_org.pop_front() else { return false };
                let size_bytes = notice.size_bytes();
                let has_place = size_bytes <= left_bytes || chosen.is_empty();
                if has_place {
                    left_bytes = left_bytes.saturating_sub(size_bytes);
                    chosen.push((at, notice));
                }
                // What comes later in this org stays behind what had no place.
                has_place && !of_org.is_empty()
            });
        }
        chosen.sort_by_key(|(at, _)| *at);
        chosen.into_iter().map(|(_, notice)| notice).collect()
    }

    /// A read that began at `begun_ms` has listed these, and brought some of them; with `more`, there were others that it did not list.
    pub fn on_read(&mut self, begun_ms: u64, listed: &[Id], brought: impl IntoIterator<Item = Id>, more: bool) -> News {
        let began_ms = if std::mem::replace(&mut self.has_read, true) { 0 } else { self.since_ms };
        self.known.extend(brought);
        let before = std::mem::take(&mut self.known);
        self.known = listed.iter().filter(|id| before.contains(*id)).cloned().collect();
        // What waits must still be listed when its turn comes.
        if self.known.len() == listed.len() || more {
            self.since_ms = begun_ms;
        }
        let is_due = |last_ms: u64| u128::from(begun_ms.abs_diff(last_ms)) >= FLOOD_PAUSE.as_millis();
        let anybody = more && self.flooded_ms.is_none_or(is_due);
        if anybody {
            self.flooded_ms = Some(begun_ms);
        }
        News { anybody, began_ms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: u64 = NOTICE_WINDOW.as_millis() as u64;

    /// Of a hundred bytes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Head(u32, Option<&'static str>);

    impl Listed for Head {
        type Id = u32;

        fn id(&self) -> &u32 {
            &self.0
        }

        fn org(&self) -> Option<&str> {
            self.1
        }

        fn size_bytes(&self) -> usize {
            100
        }
    }

    fn read_some(lookback: &mut Lookback<u32>, now_ms: u64, heads: &[Head], max_bytes: usize, more: bool) -> (Vec<u32>, bool) {
        let ids: Vec<_> = heads.iter().map(|head| head.0).collect();
        let brought: Vec<_> = lookback.choose(heads.to_vec(), max_bytes).into_iter().map(|head| head.0).collect();
        let news = lookback.on_read(now_ms, &ids, brought.iter().copied(), more);
        (brought, news.anybody)
    }

    fn read(lookback: &mut Lookback<u32>, now_ms: u64, ids: &[u32], more: bool) -> (Vec<u32>, bool) {
        let heads: Vec<_> = ids.iter().map(|id| Head(*id, None)).collect();
        read_some(lookback, now_ms, &heads, usize::MAX, more)
    }

    #[test]
    fn an_org_that_leaves_very_many_keeps_nobody_elses_waiting() {
        let mut lookback = Lookback::new(0);
        let mut heads: Vec<_> = (0..1_000).map(|id| Head(id, Some("loud"))).collect();
        heads.extend([Head(1_000, Some("quiet")), Head(1_001, None), Head(1_002, Some("quiet"))]);
        let (brought, anybody) = read_some(&mut lookback, 1_000, &heads, 700, false);
        assert_eq!((brought, anybody), (vec![0, 1, 2, 3, 1_000, 1_001, 1_002], false));
        // It goes on where it stopped, and nobody is concerned by what waits.
        heads.push(Head(1_003, Some("quiet")));
        assert_eq!(read_some(&mut lookback, 1_500, &heads, 300, false), (vec![4, 5, 1_003], false));
        assert_eq!(read_some(&mut lookback, 2_000, &heads, 0, false), (vec![6], false), "one comes however long it is");
        // However long that takes, what waits is listed.
        assert_eq!(lookback.from_ms(900_000), 0);
        let (mut next, mut now_ms) = (7, 2_500);
        while next < 1_000 {
            let (brought, _) = read_some(&mut lookback, now_ms, &heads, 10_000, false);
            assert!(brought.iter().copied().eq(next..next + brought.len() as u32) && !brought.is_empty());
            (next, now_ms) = (next + brought.len() as u32, now_ms + 500_000);
        }
        assert_eq!(lookback.from_ms(now_ms), now_ms - 500_000 - WINDOW_MS);
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
        let began_ms = [9, 10, 11].map(|now_ms| lookback.on_read(now_ms, &[], [], false).began_ms);
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
                let found: Vec<_> = committed.filter(|(_, (_, at_ms))| *at_ms >= from_ms).map(|(id, _)| id as u32).collect();
                let (news, _) = read(&mut lookback, now_ms + 200_000, &found, false);
                let is_new = |commit_ms: u64| commit_ms <= now_ms && last_ms.is_none_or(|last_ms| commit_ms > last_ms);
                let expected: Vec<_> = (0..notices.len()).filter(|id| is_new(*notices[*id].0)).map(|id| id as u32).collect();
                prop_assert_eq!(news, expected);
                last_ms = Some(now_ms);
            }
        }
    }
}
