//! How many of something are open at once, told apart by a key.

use std::{
    collections::HashMap,
    hash::Hash,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts what is open by key, with something that all of one key share. There is an entry only for what is open, so there are as
/// many as that at most.
pub struct Places<K: Eq + Hash + Clone, S = ()>(Mutex<HashMap<K, Entry<S>>>);

struct Entry<S> {
    open: usize,
    shared: Arc<S>,
}

/// One that is open; counted until it is dropped. Shows what it shares with others of its key.
pub struct PlaceOf<K: Eq + Hash + Clone, S = ()> {
    places: Arc<Places<K, S>>,
    key: K,
    shared: Arc<S>,
}

impl<K: Eq + Hash + Clone, S> Default for Places<K, S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, S> Places<K, S> {
    /// One more of `key`, unless `most` are open (0: no bound). `share` makes what the first one shares with those that come while
    /// one is open.
    pub fn take(self: &Arc<Self>, key: K, most: usize, share: impl FnOnce() -> S) -> Option<PlaceOf<K, S>> {
        let mut places = self.lock();
        let entry = places.entry(key.clone()).or_insert_with(|| Entry { open: 0, shared: Arc::new(share()) });
        if most > 0 && entry.open >= most {
            return None;
        }
        entry.open += 1;
        let shared = entry.shared.clone();
        Some(PlaceOf { places: self.clone(), key, shared })
    }

    /// How many keys have something open.
    pub fn keys(&self) -> usize {
        self.lock().len()
    }

    /// How many of `key` are open.
    pub fn open(&self, key: &K) -> usize {
        self.lock().get(key).map_or(0, |entry| entry.open)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, S> Deref for PlaceOf<K, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.shared
    }
}

impl<K: Eq + Hash + Clone, S> Drop for PlaceOf<K, S> {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        if let Some(entry) = places.get_mut(&self.key) {
            entry.open -= 1;
            if entry.open == 0 {
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
    fn a_place_is_given_back_and_what_is_shared_is_one() {
        let places = Arc::new(Places::<&str, Mutex<u32>>::default());
        let first = places.take("a", 2, Mutex::default).unwrap();
        *first.lock().unwrap() = 7;
        let second = places.take("a", 2, Mutex::default).unwrap();
        assert_eq!(*second.lock().unwrap(), 7);
        assert!(places.take("a", 2, Mutex::default).is_none());
        assert!(places.take("b", 2, Mutex::default).is_some());
        drop(first);
        assert_eq!((places.open(&"a"), places.keys()), (1, 1));
        drop(second);
        assert_eq!(places.keys(), 0);
        assert_eq!(*places.take("a", 0, Mutex::default).unwrap().lock().unwrap(), 0);
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
                    let place = places.take(key, 3, || ());
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
