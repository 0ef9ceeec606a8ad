//! Where "now" comes from. The one place that asks the system for the time; everything else is given a [`TimeSource`].

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Tells the time. It may go backwards, as the clock of a machine may.
pub trait TimeSource: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl TimeSource for SystemClock {
    fn now_ms(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "this is the TimeSource that everything else is told to use")]
        let now = std::time::SystemTime::now();
        // A machine set to before 1970 counts as 1970: whoever orders by time has a floor anyway.
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is told otherwise; for tests.
#[derive(Debug)]
pub struct ManualTime(AtomicU64);

impl ManualTime {
    /// A clock that shows `now_ms`, in milliseconds since 1970.
    pub const fn new(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    /// Sets it, forwards or backwards, to `now_ms` since 1970.
    pub fn set_ms(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    /// Moves it forwards.
    pub fn advance(&self, by: Duration) {
        self.change(|now| now.saturating_add(whole_ms(by)));
    }

    /// Moves it backwards, at most to 1970.
    pub fn set_back(&self, by: Duration) {
        self.change(|now| now.saturating_sub(whole_ms(by)));
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(to(now))).expect("the closure never returns None");
    }
}

impl TimeSource for ManualTime {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_time_moves_only_when_told() {
        let time = ManualTime::new(5_000);
        assert_eq!(time.now_ms(), 5_000);
        time.advance(Duration::from_millis(250));
        assert_eq!(time.now_ms(), 5_250);
        time.set_back(Duration::from_secs(9));
        assert_eq!(time.now_ms(), 0);
        time.set_ms(u64::MAX);
        time.advance(Duration::from_secs(1));
        assert_eq!(time.now_ms(), u64::MAX);
    }

    #[test]
    fn system_clock_shows_this_century() {
        assert!(SystemClock.now_ms() > 1_577_836_800_000, "later than 2020");
    }
}
