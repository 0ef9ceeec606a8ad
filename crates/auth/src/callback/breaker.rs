//! Leaves a back end alone that fails again and again, and lets one question through after a while to see.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use log::{info, warn};

/// Open after some failures in a row: then nobody is asked. After a pause one question goes through; if it is answered, all do.
pub(super) struct Breaker {
    most_failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// Since when it is open.
    opened_ms: Option<u64>,
    /// Is the one question under way?
    is_probing: bool,
}

/// A question that may be asked. Dropped without [`Self::done`], it is as if it had not been asked.
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    /// Opens after `most_failures` in a row (at least one), for `pause`.
    pub(super) fn new(most_failures: u32, pause: Duration) -> Self {
        Self { most_failures: most_failures.max(1), pause, state: Mutex::default() }
    }

    /// Would [`Self::enter`] give nothing?
    pub(super) fn is_closed_to_all(&self, now_ms: u64) -> bool {
        let state = self.state();
        state.opened_ms.is_some_and(|since_ms| state.is_probing || !self.is_over(since_ms, now_ms))
    }

    /// May a question be asked now?
    pub(super) fn enter(&self, now_ms: u64) -> Option<Pass<'_>> {
        let mut state = self.state();
        let Some(since_ms) = state.opened_ms else { return Some(Pass { breaker: self, is_probe: false }) };
        if state.is_probing || !self.is_over(since_ms, now_ms) {
            return None;
        }
        state.is_probing = true;
        Some(Pass { breaker: self, is_probe: true })
    }

    /// A clock that was set back ends a pause: it must not last until that time comes again.
    fn is_over(&self, since_ms: u64, now_ms: u64) -> bool {
        now_ms < since_ms || u128::from(now_ms - since_ms) >= self.pause.as_millis()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers that are each assigned as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Was there an answer, of whatever kind?
    pub(super) fn done(self, answered: bool, now_ms: u64) {
        let mut state = self.breaker.state();
        if answered {
            state.failures = 0;
            if state.opened_ms.take().is_some() {
                info!("the application's back end answers again");
            }
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.opened_ms.is_some() {
            // Those that were under way when it opened do not prolong it.
            if self.is_probe {
                state.opened_ms = Some(now_ms);
            }
        } else if state.failures >= self.breaker.most_failures {
            state.opened_ms = Some(now_ms);
            let pause_ms = self.breaker.pause.as_millis();
            warn!("the application's back end failed {} times in a row and is left alone for {pause_ms} ms", state.failures);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.state().is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, now_ms: u64) {
        breaker.enter(now_ms).expect("it may be asked").done(false, now_ms);
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_one_answer() {
        let breaker = Breaker::new(3, Duration::from_millis(100));
        fail(&breaker, 0);
        fail(&breaker, 0);
        breaker.enter(0).unwrap().done(true, 0);
        for _ in 0..3 {
            assert!(!breaker.is_closed_to_all(0));
            fail(&breaker, 0);
        }
        for now_ms in [0, 99] {
            assert!(breaker.is_closed_to_all(now_ms) && breaker.enter(now_ms).is_none());
        }
        // One goes through, and as long as it is under way no other.
        let probe = breaker.enter(100).unwrap();
        assert!(breaker.is_closed_to_all(100) && breaker.enter(100).is_none());
        probe.done(false, 150);
        assert!(breaker.enter(249).is_none());
        // One that is given up does not count, and keeps nobody out.
        drop(breaker.enter(250).unwrap());
        breaker.enter(250).unwrap().done(true, 250);
        assert!(breaker.enter(250).is_some() && breaker.enter(250).is_some());
    }

    #[test]
    fn what_was_under_way_does_not_prolong_a_pause() {
        let breaker = Breaker::new(1, Duration::from_millis(100));
        let (one, other) = (breaker.enter(0).unwrap(), breaker.enter(0).unwrap());
        one.done(false, 0);
        other.done(false, 90);
        assert!(breaker.enter(100).is_some());
    }

    #[test]
    fn a_clock_that_was_set_back_ends_a_pause() {
        let breaker = Breaker::new(1, Duration::from_millis(100));
        fail(&breaker, 1_000_000);
        assert!(breaker.enter(1_000_001).is_none());
        assert!(breaker.enter(5).is_some());
    }
}
