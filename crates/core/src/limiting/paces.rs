//! What those who are one (an address, a user, the members of a room) may send together, over all their connections.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Pace, PaceRates, kept::Kept};

/// A pace that several connections keep together.
pub struct SharedPace {
    rates: PaceRates,
    pace: Mutex<Pace>,
}

impl SharedPace {
    fn new(rates: &PaceRates, now_ms: u64) -> Self {
        Self { rates: *rates, pace: Mutex::new(Pace::full(rates, now_ms)) }
    }

    /// A message of so many bytes has come.
    pub fn spend(&self, size_bytes: usize, now_ms: u64) {
        self.lock().spend(&self.rates, size_bytes, now_ms);
    }

    /// So many bytes have come, of messages that are counted by themselves.
    pub fn spend_bytes(&self, size_bytes: usize, now_ms: u64) {
        self.lock().spend_bytes(&self.rates, size_bytes, now_ms);
    }

    /// After how many milliseconds messages and bytes may come again; 0 if they may now.
    pub fn waits_ms(&self, now_ms: u64) -> (u64, u64) {
        self.lock().waits_ms(&self.rates, now_ms)
    }

    fn is_full(&self, now_ms: u64) -> bool {
        self.lock().is_full(&self.rates, now_ms)
    }

    /// Nothing that is done with it panics; were it to, the pace is still one.
    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The paces of all who have sent something lately. They outlive connections: who comes again at once has not got a new one.
pub struct Paces<K>(Mutex<Kept<K, Arc<SharedPace>>>);

impl<K: Eq + Hash> Paces<K> {
    /// None yet; of at most `most` keys. Newcomers beyond share one.
    pub fn new(most: usize) -> Self {
        Self(Mutex::new(Kept::new(most)))
    }

    /// That of `key`, which is at `rates`; `None` where they bound nothing.
    pub fn of(&self, key: K, rates: &PaceRates, now_ms: u64) -> Option<Arc<SharedPace>> {
        if *rates == PaceRates::default() {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_as_new = |pace: &mut Arc<SharedPace>| Arc::strong_count(pace) == 1 && pace.is_full(now_ms);
        Some(kept.of(key, now_ms, || Arc::new(SharedPace::new(rates, now_ms)), is_as_new).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Rate, *};

    #[test]
    fn who_comes_again_has_no_new_pace_before_the_old_one_is_full() {
        let rates = PaceRates { messages: Rate::per_second(2, 1), bytes: Rate::default() };
        let paces = Paces::new(1);
        for _ in 0..2 {
            paces.of("a", &rates, 0).unwrap().spend(1, 0);
        }
        assert_eq!(paces.of("a", &rates, 0).unwrap().waits_ms(0), (500, 0));
        // No place: newcomers share one.
        for newcomer in ["b", "c"] {
            paces.of(newcomer, &rates, 0).unwrap().spend(1, 0);
        }
        assert_eq!(paces.of("d", &rates, 0).unwrap().waits_ms(0), (500, 0));
        // It is kept while somebody uses it, however full.
        let used = paces.of("a", &rates, 0).unwrap();
        let newcomer = paces.of("e", &rates, 5_000).unwrap();
        assert!(Arc::ptr_eq(&newcomer, &paces.of("f", &rates, 5_000).unwrap()));
        drop(used);
        let newcomer = paces.of("g", &rates, 6_000).unwrap();
        assert!(!Arc::ptr_eq(&newcomer, &paces.of("h", &rates, 6_000).unwrap()), "a place has become free");
        assert!(paces.of("a", &PaceRates::default(), 0).is_none());
    }
}
