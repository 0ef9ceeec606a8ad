//! When each session is sent away by a node that stops, so that its clients do not come back all at once.

use std::time::Duration;

use crate::SessionId;

/// When to close each of `sessions`, counted from now, earliest first: all within `window`, evenly spread, in an order that
/// `seed` decides. A single one is as likely to go early as late, so that many small rooms are spread too.
pub fn spread_closes(mut sessions: Vec<SessionId>, window: Duration, seed: u64) -> Vec<(Duration, SessionId)> {
    // The order in which they come must not matter: it is that of a hash map.
    sessions.sort_unstable();
    let mut random = SplitMix(seed);
    for at in (1..sessions.len()).rev() {
        sessions.swap(at, random.below(at as u64 + 1) as usize);
    }
    let count = sessions.len().max(1) as f64;
    let due = |(at, session)| (window.mul_f64((at as f64 + random.fraction()) / count), session);
    sessions.into_iter().enumerate().map(due).collect()
}

/// The generator SplitMix64: small, and good enough to spread.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `bound` is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// At least 0 and less than 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn sessions(count: u64) -> Vec<SessionId> {
        (1..=count).map(SessionId).collect()
    }

    #[test]
    fn one_room_of_many_is_spread_evenly() {
        let closes = spread_closes(sessions(5_000), WINDOW, 7);
        assert!(closes.is_sorted_by_key(|(due, _)| *due) && closes.iter().all(|(due, _)| *due <= WINDOW));
        for second in 0..10 {
            let within = |(due, _): &&(Duration, SessionId)| due.as_secs() == second;
            let count = closes.iter().filter(within).count();
            assert!((499..=501).contains(&count), "{count} in second {second}");
        }
        let mut all: Vec<_> = closes.iter().map(|(_, session)| *session).collect();
        assert!(!all.is_sorted(), "in the order in which they came");
        all.sort_unstable();
        assert_eq!(all, sessions(5_000));
    }

    #[test]
    fn many_rooms_of_one_are_spread_too() {
        let mut early = 0;
        for seed in 0..2_000 {
            let closes = spread_closes(sessions(1), WINDOW, seed);
            early += usize::from(closes[0].0 < WINDOW / 2);
        }
        assert!((900..1_100).contains(&early), "{early} of 2000 in the first half");
    }

    #[test]
    fn a_seed_repeats_it_and_without_a_window_all_go_at_once() {
        let mut backwards = sessions(100);
        backwards.reverse();
        assert_eq!(spread_closes(sessions(100), WINDOW, 3), spread_closes(backwards, WINDOW, 3));
        assert_ne!(spread_closes(sessions(100), WINDOW, 3), spread_closes(sessions(100), WINDOW, 4));
        assert!(spread_closes(sessions(100), Duration::ZERO, 3).iter().all(|(due, _)| due.is_zero()));
        assert!(spread_closes(Vec::new(), WINDOW, 3).is_empty());
    }
}
