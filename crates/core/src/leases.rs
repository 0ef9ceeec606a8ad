//! Which leases this node may still count on.
//!
//! A lease is counted from the moment its renewal was *asked for*: the store may have granted it then, however long the
//! answer took. So a node never believes in a lease longer than the store does.

use std::{collections::HashMap, hash::Hash};

/// Leases by name, with when each was last known to be ours.
pub struct Leases<K> {
    lease_ms: u64,
    held: HashMap<K, u64>,
}

impl<K: Clone + Eq + Hash> Leases<K> {
    /// No leases yet; each lasts `lease_ms` from its claim or renewal.
    pub fn new(lease_ms: u64) -> Self {
        Self { lease_ms, held: HashMap::new() }
    }

    /// `name` was claimed at `now_ms`.
    pub fn keep(&mut self, name: K, now_ms: u64) {
        self.held.insert(name, now_ms);
    }

    /// The work under it is done.
    pub fn release(&mut self, name: &K) {
        self.held.remove(name);
    }

    /// What to renew.
    pub fn names(&self) -> Vec<K> {
        self.held.keys().cloned().collect()
    }

    /// The store was asked at `asked_ms` to renew `asked`, and says that `ours` of them are still ours. Returns the lost.
    pub fn on_renewed(&mut self, asked: &[K], ours: &[K], asked_ms: u64) -> Vec<K> {
        let mut lost = Vec::new();
        for name in asked {
            if ours.contains(name) {
                if let Some(since) = self.held.get_mut(name) {
                    *since = asked_ms.max(*since);
                }
            } else if self.held.remove(name).is_some() {
                lost.push(name.clone());
            }
        }
        lost
    }

    /// Takes out what may be somebody else's by `now_ms`, because no renewal got through in time.
    pub fn lapse(&mut self, now_ms: u64) -> Vec<K> {
        let over = |since: &u64| now_ms.saturating_sub(*since) >= self.lease_ms;
        let lapsed: Vec<K> = self.held.iter().filter(|(_, since)| over(since)).map(|(name, _)| name.clone()).collect();
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
    fn what_the_store_does_not_name_is_lost_once() {
        let mut leases = Leases::new(100);
        leases.keep("a", 0);
        leases.keep("b", 0);
        assert_eq!(leases.on_renewed(&["a", "b"], &["a"], 10), ["b"]);
        assert_eq!(leases.on_renewed(&["a", "b"], &["a"], 11), [""; 0]);
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
