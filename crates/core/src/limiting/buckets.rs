//! Token buckets of many who are told apart by a key, in bounded memory.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Rate, TokenBucket, kept::Kept};

/// A bucket for each key that has taken something lately.
pub struct Buckets<K>(Mutex<Kept<K, TokenBucket>>);

impl<K: Eq + Hash> Buckets<K> {
    /// None yet; of at most `most` keys. Newcomers beyond share one.
    pub fn new(most: usize) -> Self {
        Self(Mutex::new(Kept::new(most)))
    }

    /// Takes one token of `key`, whose rate is always the same.
    ///
    /// # Errors
    /// After how many milliseconds there is one.
    pub fn try_take(&self, key: K, rate: &Rate, now_ms: u64) -> Result<(), u64> {
        self.try_take_many(key, rate, 1, now_ms)
    }

    /// Takes `cost` tokens of `key`, whose rate is always the same; of more than are ever there, all.
    ///
    /// # Errors
    /// After how many milliseconds they are there.
    pub fn try_take_many(&self, key: K, rate: &Rate, cost: u64, now_ms: u64) -> Result<(), u64> {
        self.with(key, rate, now_ms, |bucket| bucket.try_take(rate, cost, now_ms))
    }

    /// Takes `cost` tokens of `key`, also those that are not there yet.
    pub fn spend(&self, key: K, rate: &Rate, cost: u64, now_ms: u64) {
        self.with(key, rate, now_ms, |bucket| bucket.spend(rate, cost, now_ms));
    }

    /// After how many milliseconds `key` has so many tokens; 0 if it has them.
    pub fn wait_ms(&self, key: &K, rate: &Rate, tokens: u64, now_ms: u64) -> u64 {
        self.lock().find(key).map_or(0, |bucket| bucket.wait_for_ms(rate, tokens, now_ms))
    }

    /// How many keys have one.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Has nobody taken anything lately?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(&self, key: K, rate: &Rate, now_ms: u64, work: impl FnOnce(&mut TokenBucket) -> T) -> T {
        // Rates of different keys differ, if at all, by their org: as full by this one is full enough.
        let is_as_new = |bucket: &mut TokenBucket| bucket.is_full(rate, now_ms);
        work(self.lock().of(key, now_ms, || TokenBucket::full(rate, now_ms), is_as_new))
    }

    fn lock(&self) -> MutexGuard<'_, Kept<K, TokenBucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_do_not_take_from_each_other_and_full_ones_are_forgotten() {
        let (buckets, rate) = (Buckets::new(2), Rate::per_second(1, 2));
        for key in ["a", "b"] {
            for _ in 0..2 {
                assert_eq!(buckets.try_take(key, &rate, 1_000), Ok(()));
            }
            assert_eq!(buckets.try_take(key, &rate, 1_000), Err(1_000));
        }
        // No place: newcomers share one bucket.
        assert_eq!(buckets.try_take("c", &rate, 1_000), Ok(()));
        assert_eq!(buckets.try_take("d", &rate, 1_000), Ok(()));
        assert_eq!(buckets.try_take("e", &rate, 1_000), Err(1_000));
        assert_eq!(buckets.wait_ms(&"f", &rate, 1, 1_000), 1_000);
        assert_eq!(buckets.len(), 2);
        // Those who have waited are forgotten, and others find a place.
        for _ in 0..2 {
            assert_eq!(buckets.try_take("e", &rate, 3_000), Ok(()));
        }
        assert_eq!(buckets.len(), 1);
        assert_eq!(buckets.wait_ms(&"a", &rate, 1, 3_000), 0);
    }

    proptest! {
        /// Memory is bounded whoever comes, and nobody gets more than their rate.
        #[test]
        fn the_bound_is_kept(steps in prop::collection::vec((0u8..20, 0u64..3_000), 1..300)) {
            let (buckets, rate) = (Buckets::new(4), Rate::per_second(2, 1));
            let (mut now_ms, mut taken) = (0, [0u64; 20]);
            for (key, pause_ms) in steps {
                now_ms += pause_ms;
                taken[key as usize] += u64::from(buckets.try_take(key, &rate, now_ms).is_ok());
                prop_assert!(buckets.len() <= 4);
                // Once more for each time it may have changed between its own bucket and the shared one.
                prop_assert!(taken[key as usize] <= 2 * (2 + now_ms / 500), "{} after {} ms", taken[key as usize], now_ms);
            }
        }
    }
}
