//! A rate with a reserve: tokens come in evenly, what is not taken is kept up to a bound.

/// What was saved up is taken so much faster than it came in, where it is taken by many.
const PEAK: u64 = 4;

/// How many tokens come in how many milliseconds, and how many are kept. The default is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    tokens: u64,
    per_ms: u64,
    burst: u64,
}

impl Rate {
    /// No bound.
    pub const NONE: Self = Self { tokens: 0, per_ms: 1, burst: 0 };

    /// So many tokens a second, of which those of `burst_seconds` are kept; 0 tokens are no bound.
    pub fn per_second(tokens: usize, burst_seconds: usize) -> Self {
        let (tokens, seconds) = (tokens as u64, burst_seconds.max(1) as u64);
        Self { tokens, per_ms: 1_000, burst: tokens.saturating_mul(seconds) }
    }

    /// So many tokens a minute, all of which are kept; 0 tokens are no bound.
    pub fn per_minute(tokens: usize) -> Self {
        Self { tokens: tokens as u64, per_ms: 60_000, burst: tokens as u64 }
    }

    /// So many tokens a day, all of which are kept; 0 tokens are no bound.
    pub fn per_day(tokens: usize) -> Self {
        Self { tokens: tokens as u64, per_ms: 86_400_000, burst: tokens as u64 }
    }

    /// How fast what was saved up may be taken: four times as fast as it comes in, and a quarter of a second's worth at once.
    pub(super) fn peak(&self) -> Self {
        Self {
            tokens: self.tokens.saturating_mul(PEAK),
            burst: (self.tokens.saturating_mul(250)).div_ceil(self.per_ms.max(1)),
            ..*self
        }
    }

    /// Is it no bound?
    pub fn is_none(&self) -> bool {
        self.tokens == 0
    }

    /// What a full bucket holds.
    fn full(&self) -> i128 {
        i128::from(self.burst).saturating_mul(i128::from(self.per_ms))
    }
}

/// The tokens of one who keeps to a [`Rate`], which is the same at every call. Times are milliseconds that do not go backwards;
/// one that does brings no tokens.
///
/// What cannot be refused is spent all the same ([`Self::spend`]): the debt is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// In parts of a token, `per_ms` to one, so that a millisecond brings a whole number of them. Below zero it is debt.
    level: i128,
    at_ms: u64,
}

impl TokenBucket {
    /// One that is full.
    pub fn full(rate: &Rate, now_ms: u64) -> Self {
        Self { level: rate.full(), at_ms: now_ms }
    }

    /// Takes `cost` tokens if they are there, and of more than are ever there, all.
    ///
    /// # Errors
    /// After how many milliseconds they are there. Nothing is taken then.
    pub fn try_take(&mut self, rate: &Rate, cost: u64, now_ms: u64) -> Result<(), u64> {
        let needed = i128::from(cost.min(rate.burst)) * i128::from(rate.per_ms);
        match self.wait_for(rate, needed, now_ms) {
            0 => {
                self.spend(rate, cost, now_ms);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// Takes `cost` tokens, also those that are not there yet.
    pub fn spend(&mut self, rate: &Rate, cost: u64, now_ms: u64) {
        if rate.is_none() {
            return;
        }
        self.refill(rate, now_ms);
        self.level = self.level.saturating_sub(i128::from(cost) * i128::from(rate.per_ms));
    }

    /// After how many milliseconds there is a token; 0 if there is one.
    pub fn wait_ms(&mut self, rate: &Rate, now_ms: u64) -> u64 {
        self.wait_for_ms(rate, 1, now_ms)
    }

    /// After how many milliseconds there are so many tokens, or as many as are ever there; 0 if they are.
    pub fn wait_for_ms(&mut self, rate: &Rate, tokens: u64, now_ms: u64) -> u64 {
        self.wait_for(rate, i128::from(tokens.min(rate.burst)) * i128::from(rate.per_ms), now_ms)
    }

    /// Is it as if nothing had been taken?
    pub fn is_full(&mut self, rate: &Rate, now_ms: u64) -> bool {
        self.refill(rate, now_ms);
        self.level >= rate.full()
    }

    fn wait_for(&mut self, rate: &Rate, needed: i128, now_ms: u64) -> u64 {
        if rate.is_none() {
            return 0;
        }
        self.refill(rate, now_ms);
        let missing = needed.saturating_sub(self.level).max(0);
        let tokens = i128::from(rate.tokens);
        u64::try_from((missing + tokens - 1) / tokens).unwrap_or(u64::MAX)
    }

    fn refill(&mut self, rate: &Rate, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let gained = i128::from(passed_ms).saturating_mul(i128::from(rate.tokens));
        self.level = self.level.saturating_add(gained).min(rate.full());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_taken_is_kept_up_to_the_burst() {
        let rate = Rate::per_second(10, 2);
        let mut bucket = TokenBucket::full(&rate, 1_000);
        for _ in 0..20 {
            assert_eq!(bucket.try_take(&rate, 1, 1_000), Ok(()));
        }
        assert_eq!(bucket.try_take(&rate, 1, 1_000), Err(100));
        assert_eq!(bucket.try_take(&rate, 1, 1_099), Err(1));
        assert_eq!(bucket.try_take(&rate, 1, 1_100), Ok(()));
        assert!(!bucket.is_full(&rate, 3_099));
        assert!(bucket.is_full(&rate, 3_100));
        // A clock that goes backwards brings nothing and takes nothing.
        let mut bucket = TokenBucket::full(&rate, 5_000);
        bucket.spend(&rate, 20, 5_000);
        assert_eq!(bucket.wait_ms(&rate, 1), 100);
        assert_eq!(bucket.wait_ms(&rate, 5_050), 50);
    }

    #[test]
    fn debt_is_waited_for_and_more_than_ever_fits_is_let_through_once() {
        let rate = Rate::per_second(1_000, 1);
        let mut bucket = TokenBucket::full(&rate, 0);
        assert_eq!(bucket.try_take(&rate, 5_000, 0), Ok(()));
        assert_eq!(bucket.wait_ms(&rate, 0), 4_001);
        assert_eq!(bucket.try_take(&rate, 1, 4_000), Err(1));
        assert_eq!(bucket.try_take(&rate, 1, 4_001), Ok(()));
        assert_eq!(Rate::per_minute(6).full(), 360_000);
        let mut bucket = TokenBucket::full(&Rate::per_day(2), 0);
        assert_eq!(bucket.try_take(&Rate::per_day(2), 2, 0), Ok(()));
        assert_eq!(bucket.try_take(&Rate::per_day(2), 1, 0), Err(43_200_000));
    }

    #[test]
    fn no_bound_is_none_whatever_is_taken_and_extremes_do_not_overflow() {
        let mut bucket = TokenBucket::full(&Rate::NONE, 0);
        for _ in 0..3 {
            assert_eq!(bucket.try_take(&Rate::NONE, u64::MAX, 0), Ok(()));
        }
        assert_eq!(bucket.wait_ms(&Rate::NONE, 0), 0);
        assert!(Rate::per_second(0, 10).is_none() && Rate::default().is_none());
        let rate = Rate::per_second(usize::MAX, usize::MAX);
        let mut bucket = TokenBucket::full(&rate, 0);
        for _ in 0..3 {
            bucket.spend(&rate, u64::MAX, u64::MAX);
        }
        let rate = Rate::per_minute(1);
        let mut bucket = TokenBucket::full(&rate, 0);
        for _ in 0..3 {
            bucket.spend(&rate, u64::MAX, 0);
        }
        assert_eq!(bucket.wait_ms(&rate, 0), u64::MAX);
    }

    proptest! {
        /// Within any time no more is taken than the burst and what came in; who waits as long as is said gets a token, and
        /// nobody gets one earlier.
        #[test]
        fn the_rate_is_kept(
            per_second in 1usize..5_000,
            burst_seconds in 1usize..20,
            steps in prop::collection::vec((0u64..2_000, 1u64..50, any::<bool>()), 1..200),
        ) {
            let rate = Rate::per_second(per_second, burst_seconds);
            let mut bucket = TokenBucket::full(&rate, 7);
            let (mut now_ms, mut taken) = (7, 0);
            for (pause_ms, cost, waits) in steps {
                now_ms += pause_ms;
                let cost = cost.min(rate.burst);
                match bucket.try_take(&rate, cost, now_ms) {
                    Ok(()) => taken += cost,
                    Err(wait_ms) => {
                        prop_assert!(wait_ms > 0);
                        let mut earlier = bucket;
                        prop_assert!(earlier.try_take(&rate, cost, now_ms + wait_ms - 1).is_err());
                        if waits {
                            now_ms += wait_ms;
                            prop_assert_eq!(bucket.try_take(&rate, cost, now_ms), Ok(()));
                            taken += cost;
                        }
                    }
                }
                let came = u128::from(now_ms - 7) * per_second as u128 / 1_000;
                prop_assert!(u128::from(taken) <= u128::from(rate.burst) + came);
            }
        }

        /// What is spent on debt is no more in the long run either: at any time when there is a token, all that was spent but
        /// the last has come in.
        #[test]
        fn debt_is_paid(costs in prop::collection::vec(1u64..10_000, 1..100), per_second in 1usize..1_000) {
            let rate = Rate::per_second(per_second, 1);
            let mut bucket = TokenBucket::full(&rate, 0);
            let (mut now_ms, mut spent) = (0, 0u64);
            for cost in costs {
                now_ms += bucket.wait_ms(&rate, now_ms);
                prop_assert!(u128::from(spent) * 1_000 <= u128::from(rate.burst) * 1_000 + u128::from(now_ms) * per_second as u128);
                bucket.spend(&rate, cost, now_ms);
                spent += cost;
            }
        }
    }
}
