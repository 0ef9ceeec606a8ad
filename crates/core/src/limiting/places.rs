//! How many of something are open at once, told apart by a key.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts what is open by key. There is an entry only for what is open, so there are as many as that at most.
pub struct Places<K: Eq + Hash + Clone>(Mutex<HashMap<K, usize>>);

/// One that is open; counted until it is dropped.
pub struct PlaceOf<K: Eq + Hash + Clone> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// One more of `key`, unless `most` are open (0: no bound).
    pub fn take(self: &Arc<Self>, key: K, most: usize) -> Option<PlaceOf<K>> {
        let mut places = self.lock();
        let open = places.get(&key).copied().unwrap_or(0);
        if most > 0 && open >= most {
            return None;
        }
        places.insert(key.clone(), open + 1);
        Some(PlaceOf { places: self.clone(), key })
    }

    /// How many keys have something open.
    pub fn keys(&self) -> usize {
        self.lock().len()
    }

    /// How many of `key` are open.
    pub fn open(&self, key: &K) -> usize {
        self.lock().get(key).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Drop for PlaceOf<K> {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        if let Some(open) = places.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                places.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let places = Arc::new(Places::<&str>::default());
        let first = places.take("a", 2).unwrap();
        let second = places.take("a", 2).unwrap();
        assert!(places.take("a", 2).is_none());
        assert!(places.take("a", 0).is_some() && places.take("b", 2).is_some());
        drop(first);
        assert_eq!((places.open(&"a"), places.keys()), (1, 1));
        drop(second);
        assert_eq!(places.keys(), 0);
    }

    proptest! {
        /// No more are open than may be, and nothing is left of what is not open.
        #[test]
        fn what_is_open_is_counted(steps in prop::collection::vec((0u8..5, any::<bool>()), 1..200)) {
            let places = Arc::new(Places::<u8>::default());
            let mut open: Vec<(u8, PlaceOf<u8>)> = Vec::new();
            for (key, closes) in steps {
                if closes {
                    if let Some(at) = open.iter().position(|(of, _)| *of == key) {
                        open.remove(at);
                    }
                } else {
                    let before = open.iter().filter(|(of, _)| *of == key).count();
                    let place = places.take(key, 3);
                    prop_assert_eq!(place.is_some(), before < 3);
                    open.extend(place.map(|place| (key, place)));
                }
                for key in 0..5 {
                    prop_assert_eq!(places.open(&key), open.iter().filter(|(of, _)| *of == key).count());
                }
            }
            let keys: std::collections::BTreeSet<_> = open.iter().map(|(key, _)| *key).collect();
            prop_assert_eq!(places.keys(), keys.len());
        }
    }
}
