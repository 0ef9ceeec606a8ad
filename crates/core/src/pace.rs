//! When a session is checked that a demand concerns: not all at one moment, for whoever is asked about them may be one small server.

use std::time::Duration;

/// So many checks are begun at once where none were demanded a moment ago.
pub const CHECKS_AT_ONCE: u64 = 100;
/// So many follow in each second.
pub const CHECKS_PER_SECOND: u64 = 1_000;
/// None waits for longer, however many there are: then they come closer together.
pub const LONGEST_CHECK_WAIT: Duration = Duration::from_secs(10);

const APART_MS: u64 = 1_000 / CHECKS_PER_SECOND;

/// The places of a node's demanded checks in time. All times are milliseconds on one clock that never goes backwards.
#[derive(Debug, Default)]
pub struct CheckPace {
    /// The next place; before the present if some are free.
    next_ms: u64,
}

impl CheckPace {
    /// When a check is to begin that is demanded at `now_ms`.
    pub fn place(&mut self, now_ms: u64) -> u64 {
        let mut place_ms = self.next_ms.max(now_ms.saturating_sub(CHECKS_AT_ONCE * APART_MS));
        if place_ms >= now_ms + LONGEST_CHECK_WAIT.as_millis() as u64 {
            // Once more from the beginning, between those that wait.
            place_ms = now_ms;
        }
        self.next_ms = place_ms + APART_MS;
        place_ms.max(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATE_MS: u64 = 1_000_000;

    #[test]
    fn few_are_checked_at_once_and_many_one_after_the_other() {
        let mut pace = CheckPace::default();
        let places: Vec<u64> = (0..2_100).map(|_| pace.place(LATE_MS)).collect();
        assert!(places[..100].iter().all(|place_ms| *place_ms == LATE_MS));
        assert_eq!(
            (places[100], places[101], places[1_100], places[2_099]),
            (LATE_MS, LATE_MS + 1, LATE_MS + 1_000, LATE_MS + 1_999)
        );
        // Whoever comes behind them waits with them, and once they are through nobody does.
        assert_eq!(pace.place(LATE_MS + 500), LATE_MS + 2_000);
        assert_eq!(pace.place(LATE_MS + 60_000), LATE_MS + 60_000);
    }

    #[test]
    fn nobody_waits_for_longer_than_the_bound_however_many_there_are() {
        let mut pace = CheckPace::default();
        let mut counts = vec![0; 10_000];
        for _ in 0..100_000 {
            counts[(pace.place(LATE_MS) - LATE_MS) as usize] += 1;
        }
        assert!(counts[1..].iter().all(|count| (9..=10).contains(count)), "evenly");
    }

    proptest! {
        /// Whenever they are demanded: nobody before that, nobody much later, and in no stretch of time more than may be.
        #[test]
        fn checks_keep_their_pace(demands in prop::collection::vec((0u64..300, 1usize..200), 1..30)) {
            let (mut pace, mut now_ms, mut places) = (CheckPace::default(), LATE_MS, Vec::new());
            for (passed_ms, count) in demands {
                now_ms += passed_ms;
                for _ in 0..count {
                    let place_ms = pace.place(now_ms);
                    prop_assert!((now_ms..now_ms + 10_000).contains(&place_ms));
                    places.push(place_ms);
                }
            }
            prop_assert!(places.is_sorted());
            for (n, from_ms) in places.iter().enumerate().step_by(7) {
                for (further, upto_ms) in places[n..].iter().enumerate() {
                    prop_assert!(further as u64 <= CHECKS_AT_ONCE + (upto_ms - from_ms) / APART_MS + 1);
                }
            }
        }
    }
}
