//! What always holds, each with its id. Asserted in debug builds; counted in release builds, where a violation must not
//! take a room down.

use std::sync::atomic::{AtomicU64, Ordering};

/// One thing that always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// I-1: an update reaches another client only after the stream accepted it.
    DurableBeforeVisible,
    /// I-2: an entry leaves the stream only after a committed row holds it.
    NothingTrimmedUnpersisted,
    /// I-3: one task is pending per live room.
    OnePendingTask,
    /// I-4: a row is deleted before the assets it names.
    RowBeforeAsset,
    /// I-5: a room that was deleted for good is never persisted again.
    DeletedStaysDeleted,
    /// I-6: the first writer keeps the attribution.
    FirstWriterKept,
    /// I-7: every step may run twice or stop half way.
    Idempotent,
    /// I-8: every awareness state dies with its session.
    AwarenessDies,
    /// I-9: no queue without a bound, so what counts against a bound is counted back exactly.
    QueuesBounded,
    /// I-10: one home per fact.
    OneHomePerFact,
    /// I-11: a session sees no entry before its predecessor, and misses none.
    InOrder,
}

impl Invariant {
    /// All, by number.
    pub const ALL: [Self; 11] = [
        Self::DurableBeforeVisible,
        Self::NothingTrimmedUnpersisted,
        Self::OnePendingTask,
        Self::RowBeforeAsset,
        Self::DeletedStaysDeleted,
        Self::FirstWriterKept,
        Self::Idempotent,
        Self::AwarenessDies,
        Self::QueuesBounded,
        Self::OneHomePerFact,
        Self::InOrder,
    ];

    /// Its number, from 1.
    pub const fn number(self) -> usize {
        self as usize + 1
    }
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I-{}", self.number())
    }
}

static VIOLATIONS: [AtomicU64; Invariant::ALL.len()] = [const { AtomicU64::new(0) }; Invariant::ALL.len()];

/// States that `invariant` holds here. Where it does not, debug builds panic with `details`, and release builds count.
#[inline]
pub fn check(invariant: Invariant, holds: bool, details: impl FnOnce() -> String) {
    if !holds {
        violated(invariant, details);
    }
}

#[cold]
fn violated(invariant: Invariant, details: impl FnOnce() -> String) {
    VIOLATIONS[invariant as usize].fetch_add(1, Ordering::Relaxed);
    if cfg!(debug_assertions) {
        panic!("{invariant} does not hold: {}", details());
    }
}

/// How often each invariant was found not to hold since the process started, by number.
pub fn violations() -> [(Invariant, u64); Invariant::ALL.len()] {
    Invariant::ALL.map(|invariant| (invariant, VIOLATIONS[invariant as usize].load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_numbers_of_the_design() {
        let ids: Vec<String> = Invariant::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(ids, (1..=11).map(|n| format!("I-{n}")).collect::<Vec<_>>());
        for (at, invariant) in Invariant::ALL.into_iter().enumerate() {
            assert_eq!(invariant as usize, at, "the counter of {invariant} is in its own place");
        }
    }

    /// The only test that violates this one, so that its count is its own.
    #[test]
    fn a_violation_panics_in_debug_builds_and_is_counted_in_all() {
        let invariant = Invariant::OneHomePerFact;
        let before = violations()[invariant as usize].1;
        check(invariant, true, || unreachable!("not asked for details"));
        assert_eq!(violations()[invariant as usize], (invariant, before));
        let checked = std::panic::catch_unwind(|| check(invariant, false, || "a fact has two homes".into()));
        assert_eq!(checked.is_err(), cfg!(debug_assertions));
        assert_eq!(violations()[invariant as usize], (invariant, before + 1));
    }
}
