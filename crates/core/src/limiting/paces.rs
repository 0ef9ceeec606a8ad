//! What those who are one (an address, a user, the members of a room) may send together, over all their connections.

use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::{Pace, PaceRates, Rate, TokenBucket, kept::Kept};

/// A pace that several connections keep together. Those who have to wait are let through in the order in which they came.
pub struct SharedPace {
    rates: PaceRates,
    /// How fast bytes that were saved up may come. Of those that are counted when their message is whole it says nothing.
    peak: Rate,
    inner: Mutex<Inner>,
}

struct Inner {
    pace: Pace,
    peak: TokenBucket,
    waiting: BTreeMap<u64, Waker>,
    /// How many have waited so far.
    waited: u64,
}

/// One's place among those who wait for a [`SharedPace`]; given up when dropped.
pub struct Turn {
    pace: Arc<SharedPace>,
    number: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.pace.lock();
        let was_first = inner.waiting.first_key_value().is_some_and(|(first, _)| *first == self.number);
        // Let go of after the lock is, as whatever it may be the last of.
        let _own = inner.waiting.remove(&self.number);
        let next = inner.waiting.first_key_value().filter(|_| was_first).map(|(_, waker)| waker.clone());
        drop(inner);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// Somebody has to wait, for messages or for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// To be asked again after so many milliseconds; `None` if others come first: who waits is woken after them.
    pub ms: Option<u64>,
    /// Is it for bytes?
    pub for_bytes: bool,
}

impl SharedPace {
    fn new(rates: &PaceRates, now_ms: u64) -> Self {
        let peak = rates.bytes.peak();
        let (pace, peak_bucket) = (Pace::full(rates, now_ms), TokenBucket::full(&peak, now_ms));
        let inner = Inner { pace, peak: peak_bucket, waiting: BTreeMap::new(), waited: 0 };
        Self { rates: *rates, peak, inner: Mutex::new(inner) }
    }

    /// A whole message of so many bytes has come.
    pub fn spend(&self, size_bytes: usize, now_ms: u64) {
        self.lock().pace.spend(&self.rates, size_bytes, now_ms);
    }

    /// So many bytes have come just now, of messages that are counted by themselves.
    pub fn spend_bytes(&self, size_bytes: usize, now_ms: u64) {
        let mut inner = self.lock();
        inner.pace.spend_bytes(&self.rates, size_bytes, now_ms);
        inner.peak.spend(&self.peak, size_bytes as u64, now_ms);
    }

    /// May one of those who keep this pace send something? If not, `turn` is its place among those who wait, and `waker` is woken when
    /// it is the first of them.
    ///
    /// # Errors
    /// It has to wait.
    pub fn poll_turn(self: &Arc<Self>, turn: &mut Option<Turn>, now_ms: u64, waker: &Waker) -> Result<(), Waits> {
        // Outlives the lock.
        let _replaced;
        let mut inner = self.lock();
        let (messages_ms, bytes_ms) = inner.pace.waits_ms(&self.rates, now_ms);
        let bytes_ms = bytes_ms.max(inner.peak.wait_ms(&self.peak, now_ms));
        let wait_ms = messages_ms.max(bytes_ms);
        let first = inner.waiting.first_key_value().map(|(first, _)| *first);
        let own = turn.as_ref().map(|turn| turn.number);
        if wait_ms == 0 && first == own {
            drop(inner);
            // Whoever is next is woken.
            *turn = None;
            return Ok(());
        }
        let number = own.unwrap_or(inner.waited);
        match inner.waiting.get_mut(&number) {
            Some(known) if known.will_wake(waker) => {}
            Some(known) => _replaced = std::mem::replace(known, waker.clone()),
            None => {
                inner.waited += 1;
                inner.waiting.insert(number, waker.clone());
                *turn = Some(Turn { pace: self.clone(), number });
            }
        }
        let is_first = first.is_none_or(|first| first == number);
        let for_bytes = if wait_ms > 0 { bytes_ms >= messages_ms } else { !self.rates.bytes.is_none() };
        Err(Waits { ms: is_first.then_some(wait_ms), for_bytes })
    }

    /// Does somebody have to wait?
    pub fn is_busy(&self, now_ms: u64) -> bool {
        let mut inner = self.lock();
        !inner.waiting.is_empty() || inner.pace.wait_ms(&self.rates, now_ms) > 0 || inner.peak.wait_ms(&self.peak, now_ms) > 0
    }

    fn is_full(&self, now_ms: u64) -> bool {
        // What comes in faster, and is less, is full earlier.
        self.lock().pace.is_full(&self.rates, now_ms)
    }

    /// Nothing that is done with it panics; were it to, the pace is still one.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// After how many milliseconds may who has not waited send?
    fn wait_ms(pace: &Arc<SharedPace>, now_ms: u64) -> Option<u64> {
        pace.poll_turn(&mut None, now_ms, Waker::noop()).err().and_then(|waits| waits.ms)
    }

    #[test]
    fn who_comes_again_has_no_new_pace_before_the_old_one_is_full() {
        let rates = PaceRates { messages: Rate::per_second(2, 1), bytes: Rate::default() };
        let paces = Paces::new(1);
        for _ in 0..2 {
            paces.of("a", &rates, 0).unwrap().spend(1, 0);
        }
        assert_eq!(wait_ms(&paces.of("a", &rates, 0).unwrap(), 0), Some(500));
        // No place: newcomers share one.
        for newcomer in ["b", "c"] {
            paces.of(newcomer, &rates, 0).unwrap().spend(1, 0);
        }
        assert_eq!(wait_ms(&paces.of("d", &rates, 0).unwrap(), 0), Some(500));
        // It is kept while somebody uses it, however full.
        let used = paces.of("a", &rates, 0).unwrap();
        let newcomer = paces.of("e", &rates, 5_000).unwrap();
        assert!(Arc::ptr_eq(&newcomer, &paces.of("f", &rates, 5_000).unwrap()));
        drop(used);
        let newcomer = paces.of("g", &rates, 6_000).unwrap();
        assert!(!Arc::ptr_eq(&newcomer, &paces.of("h", &rates, 6_000).unwrap()), "a place has become free");
        assert!(paces.of("a", &PaceRates::default(), 0).is_none());
    }

    #[test]
    fn what_is_saved_up_comes_at_four_times_the_rate() {
        let rates = PaceRates { messages: Rate::default(), bytes: Rate::per_second(1_000, 10) };
        let pace = Arc::new(SharedPace::new(&rates, 0));
        // What is counted when it is whole has come in its own time.
        pace.spend(9_999, 0);
        assert_eq!(wait_ms(&pace, 0), None);
        let pace = Arc::new(SharedPace::new(&rates, 0));
        // A quarter of a second's worth at once.
        pace.spend_bytes(249, 0);
        assert_eq!(wait_ms(&pace, 0), None);
        pace.spend_bytes(401, 0);
        assert_eq!(wait_ms(&pace, 0), Some(101));
        assert_eq!(wait_ms(&pace, 101), None);
        // All of it is still no more than was saved up.
        pace.spend_bytes(9_450, 101);
        assert_eq!(wait_ms(&pace, 3_000), None);
        pace.spend_bytes(3_000, 3_000);
        assert_eq!(wait_ms(&pace, 3_000), Some(688));
        pace.spend_bytes(4_000, 3_688);
        assert_eq!(wait_ms(&pace, 3_688), Some(3_413));
    }

    #[test]
    fn those_who_wait_go_in_the_order_in_which_they_came() {
        let rates = PaceRates { messages: Rate::per_second(1, 1), bytes: Rate::default() };
        let pace = Arc::new(SharedPace::new(&rates, 0));
        pace.spend(1, 0);
        let woken: [Arc<Woken>; 3] = Default::default();
        let wakers = woken.clone().map(Waker::from);
        let mut turns = [const { None }; 3];
        let waits = |ms| Err(Waits { ms, for_bytes: false });
        assert_eq!(pace.poll_turn(&mut turns[0], 0, &wakers[0]), waits(Some(1_000)));
        assert_eq!(pace.poll_turn(&mut turns[1], 0, &wakers[1]), waits(None));
        assert_eq!(pace.poll_turn(&mut turns[2], 0, &wakers[2]), waits(None));
        // There is a token, but it is another's turn.
        assert!(pace.poll_turn(&mut turns[1], 1_000, &wakers[1]).is_err());
        assert!(pace.poll_turn(&mut None, 1_000, &wakers[1]).is_err());
        assert_eq!(pace.poll_turn(&mut turns[0], 1_000, &wakers[0]), Ok(()));
        pace.spend(1, 1_000);
        let count = |at: usize| woken[at].0.load(Ordering::Relaxed);
        assert_eq!([count(0), count(1), count(2)], [0, 1, 0]);
        // Who has been served waits behind the others.
        assert_eq!(pace.poll_turn(&mut turns[0], 1_000, &wakers[0]), waits(None));
        assert_eq!(pace.poll_turn(&mut turns[1], 1_000, &wakers[1]), waits(Some(1_000)));
        // Who goes makes room, and is in nobody's way.
        turns[1] = None;
        assert_eq!([count(0), count(1), count(2)], [0, 1, 1]);
        turns[0] = None;
        assert_eq!(pace.poll_turn(&mut turns[2], 2_000, &wakers[2]), Ok(()));
        assert!(pace.lock().waiting.is_empty());
        assert_eq!([count(0), count(1), count(2)], [0, 1, 1]);
    }

    proptest! {
        /// Whoever comes and goes: who waits is the first, or somebody is before it who knows of it; nobody is forgotten.
        #[test]
        fn nobody_waits_in_vain(steps in prop::collection::vec((0usize..6, 0u64..400, any::<bool>()), 1..300)) {
            // Less comes in than is asked for.
            let rates = PaceRates { messages: Rate::per_second(1, 1), bytes: Rate::default() };
            let pace = Arc::new(SharedPace::new(&rates, 0));
            let woken: [Arc<Woken>; 6] = Default::default();
            let wakers = woken.clone().map(Waker::from);
            let mut turns = [const { None }; 6];
            // Who has been told to wait until it is woken, and how often it had been by then.
            let mut told: [Option<usize>; 6] = [None; 6];
            let mut now_ms = 0;
            for (who, pause_ms, goes) in steps {
                now_ms += pause_ms;
                told[who] = None;
                if goes {
                    turns[who] = None;
                } else {
                    match pace.poll_turn(&mut turns[who], now_ms, &wakers[who]) {
                        Ok(()) => pace.spend(1, now_ms),
                        Err(Waits { ms: Some(_), .. }) => {}
                        Err(Waits { ms: None, .. }) => told[who] = Some(woken[who].0.load(Ordering::Relaxed)),
                    }
                }
                let waiting: Vec<u64> = pace.lock().waiting.keys().copied().collect();
                let mut held: Vec<u64> = turns.iter().flatten().map(|turn| turn.number).collect();
                held.sort_unstable();
                prop_assert_eq!(&waiting, &held);
                for (who, told) in told.iter().enumerate() {
                    let Some(then) = told else { continue };
                    let is_first = turns[who].as_ref().is_some_and(|turn| waiting.first() == Some(&turn.number));
                    prop_assert!(!is_first || woken[who].0.load(Ordering::Relaxed) > *then, "{} is the first and sleeps", who);
                }
            }
        }
    }
}
