//! A budget of bytes that many hold together, of which one alone may hold a part.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A budget of bytes: so many for all, so many for each key.
pub struct Shares<K: Eq + Hash + Clone> {
    max_bytes: usize,
    share_bytes: usize,
    held: Mutex<Held<K>>,
}

struct Held<K> {
    total: usize,
    /// There is an entry only for who holds something.
    by_key: HashMap<K, usize>,
}

/// What one holder has of a budget; given back when dropped.
pub struct Share<K: Eq + Hash + Clone> {
    shares: Arc<Shares<K>>,
    key: K,
    size_bytes: usize,
}

impl<K: Eq + Hash + Clone> fmt::Debug for Share<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// `max_bytes` for all, of which one key holds at most `share_bytes`.
    pub fn new(max_bytes: usize, share_bytes: usize) -> Self {
        Self { max_bytes, share_bytes, held: Mutex::new(Held { total: 0, by_key: HashMap::new() }) }
    }

    /// Nothing yet, for `key`.
    pub fn share(self: &Arc<Self>, key: K) -> Share<K> {
        Share { shares: self.clone(), key, size_bytes: 0 }
    }

    /// How much is held.
    pub fn held_bytes(&self) -> usize {
        self.lock().total
    }

    /// Nothing that is done with it panics; were it to, the numbers are still there.
    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Share<K> {
    /// Holds `size_bytes` from now on. `false` if that is more than there is, or than one may hold: then it holds what it did.
    #[must_use = "who is not given what they ask for must not take it"]
    pub fn set(&mut self, size_bytes: usize) -> bool {
        if size_bytes == self.size_bytes {
            return true;
        }
        let mut held = self.shares.lock();
        let others = held.total - self.size_bytes;
        let of_key = held.by_key.get(&self.key).copied().unwrap_or(0) - self.size_bytes;
        let grows = size_bytes > self.size_bytes;
        if grows && (others + size_bytes > self.shares.max_bytes || of_key + size_bytes > self.shares.share_bytes) {
            return false;
        }
        held.total = others + size_bytes;
        match of_key + size_bytes {
            0 => held.by_key.remove(&self.key),
            all => held.by_key.insert(self.key.clone(), all),
        };
        drop(held);
        self.size_bytes = size_bytes;
        true
    }
}

impl<K: Eq + Hash + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        // What is less is never refused.
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_and_each_alone_are_bounded() {
        let shares = Arc::new(Shares::new(100, 60));
        let (mut ann, mut ann_too, mut bob) = (shares.share("ann"), shares.share("ann"), shares.share("bob"));
        assert!(ann.set(40) && ann_too.set(20));
        assert!(!ann_too.set(21), "more than one may hold");
        assert!(bob.set(40));
        assert!(!bob.set(41), "more than there is");
        assert!(ann.set(39), "less is always possible");
        assert_eq!(shares.held_bytes(), 99);
        drop((ann, ann_too));
        assert!(bob.set(60));
        drop(bob);
        assert_eq!(shares.held_bytes(), 0);
        assert!(shares.lock().by_key.is_empty());
    }
}
