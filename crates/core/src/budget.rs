//! A node-wide budget of memory that many holders share: least recently used out first.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

#[derive(Clone, Copy)]
struct Holder {
    size_bytes: usize,
    /// Its place in the order of use.
    used: u64,
}

/// Who holds how much of a budget, and who is to let go when it is exceeded.
pub struct Budget<K> {
    max_bytes: usize,
    holders: HashMap<K, Holder>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
    held_bytes: usize,
}

impl<K: Clone + Eq + Hash> Budget<K> {
    /// A budget of `max_bytes` of which nothing is held.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, holders: HashMap::new(), by_use: BTreeMap::new(), uses: 0, held_bytes: 0 }
    }

    /// `holder` was used just now.
    pub fn touch(&mut self, holder: &K) {
        self.uses += 1;
        let used = self.uses;
        let entry = self.holders.entry(holder.clone()).or_insert(Holder { size_bytes: 0, used });
        self.by_use.remove(&entry.used);
        entry.used = used;
        self.by_use.insert(used, holder.clone());
    }

    /// `holder` now holds `size_bytes`. Returns who is to let go, least recently used first, until the rest is within the
    /// budget. They are still counted until they say so themselves, by this call or by [`Self::remove`].
    pub fn set(&mut self, holder: &K, size_bytes: usize) -> Vec<K> {
        if !self.holders.contains_key(holder) {
            self.touch(holder);
        }
        let entry = self.holders.get_mut(holder).expect("touched above");
        self.held_bytes = self.held_bytes - entry.size_bytes + size_bytes;
        entry.size_bytes = size_bytes;
        let mut excess = self.held_bytes.saturating_sub(self.max_bytes);
        let mut out = Vec::new();
        for holder in self.by_use.values() {
            if excess == 0 {
                break;
            }
            let size_bytes = self.holders.get(holder).map_or(0, |entry| entry.size_bytes);
            if size_bytes > 0 {
                excess = excess.saturating_sub(size_bytes);
                out.push(holder.clone());
            }
        }
        out
    }

    /// `holder` is gone.
    pub fn remove(&mut self, holder: &K) {
        if let Some(entry) = self.holders.remove(holder) {
            self.by_use.remove(&entry.used);
            self.held_bytes -= entry.size_bytes;
        }
    }

    /// Bytes held by all.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_let_go_first() {
        let mut budget = Budget::new(100);
        assert_eq!(budget.set(&"a", 40), [""; 0]);
        assert_eq!(budget.set(&"b", 40), [""; 0]);
        budget.touch(&"a");
        assert_eq!(budget.set(&"c", 50), ["b"]);
        assert_eq!(budget.set(&"b", 0), [""; 0]);
        assert_eq!(budget.held_bytes(), 90);
        // One that alone is too much lets go as well.
        assert_eq!(budget.set(&"c", 500), ["a", "c"]);
    }

    proptest! {
        /// When those who are told to let go do so, the budget is kept; what is held is what was said last.
        #[test]
        fn the_budget_is_kept(steps in prop::collection::vec((0u8..8, 0u8..3, 0usize..60), 1..200)) {
            let mut budget = Budget::new(100);
            let mut model: HashMap<u8, usize> = HashMap::new();
            for (holder, step, size_bytes) in steps {
                match step {
                    0 => budget.touch(&holder),
                    1 => {
                        budget.remove(&holder);
                        model.remove(&holder);
                    }
                    _ => {
                        model.insert(holder, size_bytes);
                        for out in budget.set(&holder, size_bytes) {
                            budget.set(&out, 0);
                            model.insert(out, 0);
                        }
                        prop_assert!(budget.held_bytes() <= 100);
                    }
                }
                prop_assert_eq!(budget.held_bytes(), model.values().sum::<usize>());
                prop_assert_eq!(budget.by_use.len(), budget.holders.len());
            }
        }
    }
}
