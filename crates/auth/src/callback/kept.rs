//! Answers that are kept for a while, in bounded number.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Answer, Key};

/// Answers in two generations. When the younger one is full the older one goes: those that are asked for come into the younger one
/// again by being asked anew, and nothing has to be searched for what is to go.
pub(super) struct Kept {
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
    /// In each generation.
    most: usize,
}

struct Entry {
    answer: Arc<Answer>,
    /// A clock that is set back makes answers old, not eternal.
    since_ms: u64,
    until_ms: u64,
}

impl Kept {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: (most / 2).max(1) }
    }

    pub(super) fn get(&self, key: &Key, now_ms: u64) -> Option<Arc<Answer>> {
        let entry = self.young.get(key).or_else(|| self.old.get(key))?;
        (entry.since_ms..entry.until_ms).contains(&now_ms).then(|| entry.answer.clone())
    }

    /// Keeps an answer for `ttl`, and no longer than it is true.
    pub(super) fn put(&mut self, key: Key, answer: Arc<Answer>, now_ms: u64, ttl: Duration) {
        self.forget(&key);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let until_ms = now_ms.saturating_add(ttl_ms).min(answer.expires_ms().unwrap_or(u64::MAX));
        if until_ms <= now_ms {
            return;
        }
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, Entry { answer, since_ms: now_ms, until_ms });
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(nr: u16) -> Key {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&nr.to_be_bytes());
        key
    }

    #[test]
    fn answers_are_kept_for_a_while_and_not_by_a_clock_that_was_set_back() {
        let mut kept = Kept::new(10);
        kept.put(key(1), Arc::new(Answer::Denied), 1_000, Duration::from_millis(500));
        for (now_ms, is_there) in [(999, false), (1_000, true), (1_499, true), (1_500, false)] {
            assert_eq!(kept.get(&key(1), now_ms).is_some(), is_there, "{now_ms}");
        }
        kept.forget(&key(1));
        assert!(kept.get(&key(1), 1_000).is_none());
        kept.put(key(1), Arc::new(Answer::Denied), 1_000, Duration::ZERO);
        assert!(kept.get(&key(1), 1_000).is_none());
    }

    #[test]
    fn never_more_are_kept_than_the_bound_and_the_last_ones_are() {
        let mut kept = Kept::new(100);
        for nr in 0..1_000 {
            kept.put(key(nr), Arc::new(Answer::Denied), 0, Duration::from_secs(1));
            assert!(kept.young.len() + kept.old.len() <= 100);
        }
        assert!((950..1_000).all(|nr| kept.get(&key(nr), 0).is_some()));
        assert!(kept.get(&key(0), 0).is_none());
    }

    #[test]
    fn an_answer_in_the_older_generation_is_replaced_and_forgotten() {
        let mut kept = Kept::new(4);
        for nr in 0..3 {
            kept.put(key(nr), Arc::new(Answer::Denied), 0, Duration::from_secs(1));
        }
        assert!(kept.old.contains_key(&key(0)));
        kept.put(key(0), Arc::new(Answer::Refused), 0, Duration::from_secs(1));
        assert!(matches!(*kept.get(&key(0), 0).unwrap(), Answer::Refused));
        kept.forget(&key(1));
        assert!(kept.get(&key(1), 0).is_none());
    }
}
