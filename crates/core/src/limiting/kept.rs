//! Something for each of many who are told apart by a key, in bounded memory.

use std::{collections::HashMap, hash::Hash};

/// They are looked through at most once in so long: it is a walk over all of them.
const SWEEP_MS: u64 = 1_000;

/// One `V` for each key that has lately needed one. One that is as new is forgotten, which changes nothing.
///
/// At the bound, when nobody can be forgotten, all who are new share one: an attacker with many keys slows other newcomers, and costs
/// no memory.
pub(super) struct Kept<K, V> {
    most: usize,
    values: HashMap<K, V>,
    /// That of all who find no place.
    shared: Option<V>,
    swept_ms: u64,
}

impl<K: Eq + Hash, V> Kept<K, V> {
    /// None yet; of at most `most` keys.
    pub(super) fn new(most: usize) -> Self {
        Self { most, values: HashMap::new(), shared: None, swept_ms: 0 }
    }

    /// That of `key`, or the shared one. `is_as_new` says of which it makes no difference whether it is there.
    pub(super) fn of(&mut self, key: K, now_ms: u64, new: impl FnOnce() -> V, is_as_new: impl Fn(&mut V) -> bool) -> &mut V {
        let is_known = self.values.contains_key(&key);
        if !is_known && self.is_full() && now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
            self.swept_ms = now_ms;
            self.values.retain(|_, value| !is_as_new(value));
        }
        if is_known || !self.is_full() { self.values.entry(key).or_insert_with(new) } else { self.shared.get_or_insert_with(new) }
    }

    /// That of `key` if it has one, or the shared one if it would find no place.
    pub(super) fn find(&mut self, key: &K) -> Option<&mut V> {
        let is_full = self.is_full();
        match self.values.get_mut(key) {
            None if is_full => self.shared.as_mut(),
            found => found,
        }
    }

    /// How many keys have one.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn is_full(&self) -> bool {
        self.values.len() >= self.most
    }
}
