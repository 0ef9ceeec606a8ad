//! Which leases this node may still count on.
//!
//! A lease is counted from the moment its renewal was *asked for*: the store may have granted it then, however long the
//! answer took. So a node never believes in a lease longer than the store does.

use std::{collections::HashMap, hash::Hash};

/// Leases by name.
pub struct Leases<K> {
    lease_ms: u64,
    held: HashMap<K, Held>,
}

struct Held {
    /// When it was last known to be ours.
    since_ms: u64,
    /// Did the store say that it is not? That is also what it says of a task that its own worker has just ended, which we may
    /// hear of a moment later.
    is_doubted: bool,
}

impl<K: Clone + Eq + Hash> Leases<K> {
    /// No leases yet; each lasts `lease_ms` from its claim or renewal.
    pub fn new(lease_ms: u64) -> Self {
        Self { lease_ms, held: HashMap::new() }
    }

    /// `name` was claimed at `now_ms`.
    pub fn keep(&mut self, name: K, now_ms: u64) {
        self.held.insert(name, Held { since_ms: now_ms, is_doubted: false });
    }

    /// The work under it is done.
    pub fn release(&mut self, name: &K) {
        self.held.remove(name);
    }

    /// What to renew.
    pub fn names(&self) -> Vec<K> {
        self.held.keys().cloned().collect()
    }

    /// The store was asked at `asked_ms` to renew `asked`, and says that `ours` of them are still ours. Returns the lost: those
    /// of which it said that for the second time.
    pub fn on_renewed(&mut self, asked: &[K], ours: &[K], asked_ms: u64) -> Vec<K> {
        let mut lost = Vec::new();
        for name in asked {
            let Some(held) = self.held.get_mut(name) else { continue };
            if ours.contains(name) {
                held.since_ms = asked_ms.max(held.since_ms);
            } else if std::mem::replace(&mut held.is_doubted, true) {
                self.held.remove(name);
                lost.push(name.clone());
            }
        }
        lost
    }

    /// Takes out what may be somebody else's by `now_ms`, because no renewal got through in time.
    pub fn lapse(&mut self, now_ms: u64) -> Vec<K> {
        let over = |held: &Held| now_ms.saturating_sub(held.since_ms) >= self.lease_ms;
        let lapsed: Vec<K> = self.held.iter().filter(|(_, held)| over(held)).map(|(name, _)| name.clone()).collect();
        for name in &lapsed {
            self.held.remove(name);
        }
        lapsed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lease_that_is_not_renewed_lapses() {
        let mut leases = Leases::new(100);
        leases.keep("a", 0);
        assert_eq!(leases.lapse(99), [""; 0]);
        assert_eq!(leases.on_renewed(&["a"], &["a"], 50), [""; 0]);
        assert_eq!(leases.lapse(149), [""; 0]);
        assert_eq!(leases.lapse(150), ["a"]);
        assert_eq!(leases.names(), [""; 0]);
    }

    #[test]
    fn what_the_store_does_not_name_twice_is_lost_once() {
        let mut leases = Leases::new(100);
        leases.keep("a", 0);
        leases.keep("b", 0);
        assert_eq!(leases.on_renewed(&["a", "b"], &["a"], 10), [""; 0]);
        assert_eq!(leases.on_renewed(&["a", "b"], &["a"], 20), ["b"]);
        assert_eq!(leases.on_renewed(&["a", "b"], &["a"], 21), [""; 0]);
    }

    #[test]
    fn a_task_whose_end_is_heard_of_after_the_answer_was_not_lost() {
        let mut leases = Leases::new(100);
        leases.keep("a", 0);
        assert_eq!(leases.on_renewed(&["a"], &[], 10), [""; 0]);
        leases.release(&"a");
        assert_eq!(leases.on_renewed(&["a"], &[], 20), [""; 0]);
        // The same name again is another claim.
        leases.keep("a", 30);
        assert_eq!(leases.on_renewed(&["a"], &[], 40), [""; 0]);
    }

    #[test]
    fn what_is_doubted_lapses_like_all_others() {
        let mut leases = Leases::new(100);
        leases.keep("a", 0);
        assert_eq!(leases.on_renewed(&["a"], &[], 50), [""; 0]);
        assert_eq!(leases.lapse(100), ["a"]);
    }

    proptest! {
        /// Answers may come late and in any order: nobody believes in a lease after the store has let it go.
        #[test]
        fn belief_ends_before_the_store_lets_go(steps in prop::collection::vec((0u64..40, 0u8..4), 1..100)) {
            let (mut now, mut granted_ms) = (0u64, 0u64);
            let mut leases = Leases::new(100);
            leases.keep((), 0);
            let mut on_the_way: Vec<u64> = Vec::new();
            for (later, step) in steps {
                now += later;
                match step {
                    // Asked, and granted by the store at that moment if it still was ours; the answer is on its way.
                    0 if now.saturating_sub(granted_ms) < 100 => {
                        granted_ms = now;
                        on_the_way.push(now);
                    }
                    1 if !on_the_way.is_empty() => {
                        let asked_ms = on_the_way.remove(later as usize % on_the_way.len());
                        leases.on_renewed(&[()], &[()], asked_ms);
                    }
                    _ => {}
                }
                leases.lapse(now);
                if !leases.names().is_empty() {
                    prop_assert!(now - granted_ms < 100, "believed at {now}, granted at {granted_ms}");
                }
            }
        }
    }
}
