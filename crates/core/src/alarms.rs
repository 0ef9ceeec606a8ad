//! What operators want to be told of, counted since the process started. Whoever raises an alarm also logs it, with the count.

use std::sync::atomic::{AtomicU64, Ordering};

/// One thing that should be rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// A room's stream was set aside.
    Quarantined,
    /// So many rooms failed alike that the hub is taken to be at fault.
    BreakerOpened,
    /// Work on a task ended because its lease was lost.
    LeaseLost,
    /// The stream log came back without something that it had accepted.
    LogLost,
    /// The stream log was restarted.
    LogRestarted,
    /// A task that cannot be read was moved away.
    DeadLetter,
    /// A task that was missing was made, or one too many was taken off.
    TaskReconciled,
}

impl Alarm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Quarantined,
        Self::BreakerOpened,
        Self::LeaseLost,
        Self::LogLost,
        Self::LogRestarted,
        Self::DeadLetter,
        Self::TaskReconciled,
    ];

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::BreakerOpened => "breaker_opened",
            Self::LeaseLost => "lease_lost",
            Self::LogLost => "log_lost",
            Self::LogRestarted => "log_restarted",
            Self::DeadLetter => "dead_letter",
            Self::TaskReconciled => "task_reconciled",
        }
    }
}

static RAISED: [AtomicU64; Alarm::ALL.len()] = [const { AtomicU64::new(0) }; Alarm::ALL.len()];

/// Counts `times` more of `alarm`, and returns how many there were since the process started.
pub fn raise(alarm: Alarm, times: u64) -> u64 {
    RAISED[alarm as usize].fetch_add(times, Ordering::Relaxed).wrapping_add(times)
}

/// How often each alarm was raised since the process started.
pub fn raised() -> [(Alarm, u64); Alarm::ALL.len()] {
    Alarm::ALL.map(|alarm| (alarm, RAISED[alarm as usize].load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test here that raises these two, so that their counts are its own.
    #[test]
    fn each_alarm_has_a_count_of_its_own() {
        for (at, alarm) in Alarm::ALL.into_iter().enumerate() {
            assert_eq!(alarm as usize, at, "the counter of {} is in its own place", alarm.name());
        }
        assert_eq!((raise(Alarm::LogLost, 1), raise(Alarm::LogLost, 2), raise(Alarm::DeadLetter, 1)), (1, 3, 1));
        let counts = raised();
        assert_eq!(counts[Alarm::LogLost as usize], (Alarm::LogLost, 3));
        assert_eq!(counts[Alarm::DeadLetter as usize], (Alarm::DeadLetter, 1));
    }
}
