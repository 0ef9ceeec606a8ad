//! Objects with their keys in the order of JavaScript properties.

use std::collections::HashMap;

use crate::Any;

/// An object: keys and values in the order in which JavaScript lists them.
///
/// That is: keys that are canonical decimal integers 0 … 2^32-2 first and ascending, then the others in order of
/// insertion. A key stands once; given again it keeps its place and takes the new value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object(Vec<(Box<str>, Any)>);

/// Up to so many keys, comparing each with each is quicker than hashing.
const FEW: usize = 12;

impl Object {
    /// An object without keys.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The object that results from setting `entries` one after the other.
    pub fn from_entries(entries: Vec<(Box<str>, Any)>) -> Self {
        let mut entries = if entries.len() <= FEW { without_repeats_few(entries) } else { without_repeats_many(entries) };
        if entries.iter().any(|(key, _)| array_index(key).is_some()) {
            // Stable: the other keys keep their order behind the integers.
            entries.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
        }
        Self(entries)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Any> {
        self.0.iter().find(|(k, _)| **k == *key).map(|(_, value)| value)
    }

    /// Sets `key`.
    pub fn insert(&mut self, key: &str, value: Any) {
        if let Some((_, old)) = self.0.iter_mut().find(|(k, _)| **k == *key) {
            *old = value;
            return;
        }
        let at = match array_index(key) {
            Some(index) => self.0.partition_point(|(k, _)| array_index(k).is_some_and(|k| k < index)),
            None => self.0.len(),
        };
        self.0.insert(at, (key.into(), value));
    }

    /// Takes `key` out, if it is there.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| **k != *key);
    }

    /// How many arrays and objects lie inside one another, this one included.
    pub fn depth(&self) -> usize {
        1 + self.0.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Any)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Has it no key?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, Any)> for Object {
    fn from_iter<I: IntoIterator<Item = (&'a str, Any)>>(entries: I) -> Self {
        Self::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

fn without_repeats_few(mut entries: Vec<(Box<str>, Any)>) -> Vec<(Box<str>, Any)> {
    let mut at = 1;
    while at < entries.len() {
        match entries[..at].iter().position(|(key, _)| *key == entries[at].0) {
            Some(first) => {
                let (_, value) = entries.remove(at);
                entries[first].1 = value;
            }
            None => at += 1,
        }
    }
    entries
}

fn without_repeats_many(entries: Vec<(Box<str>, Any)>) -> Vec<(Box<str>, Any)> {
    let mut seen = HashMap::with_capacity(entries.len());
    // For each entry the place of the first one with its key, counted without repeats.
    let places: Vec<usize> = entries
        .iter()
        .map(|(key, _)| {
            let next = seen.len();
            *seen.entry(&**key).or_insert(next)
        })
        .collect();
    if seen.len() == entries.len() {
        return entries;
    }
    let mut kept: Vec<(Box<str>, Any)> = Vec::with_capacity(seen.len());
    for ((key, value), place) in entries.into_iter().zip(places) {
        match kept.get_mut(place) {
            Some(first) => first.1 = value,
            None => kept.push((key, value)),
        }
    }
    kept
}

/// The number that `key` is, if JavaScript orders it as an integer: canonical decimal, 0 … 2^32-2.
pub(crate) fn array_index(key: &str) -> Option<u32> {
    let digits = key.as_bytes();
    if !matches!(digits.len(), 1..=10) || !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    key.parse().ok().filter(|&index| index != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(object: &Object) -> Vec<&str> {
        object.iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn integers_come_first() {
        let given = ["x", "4294967294", "08", "10", "4294967295", "9", "-1", "0", ""];
        let wanted = ["0", "9", "10", "4294967294", "x", "08", "4294967295", "-1", ""];
        let at_once: Object = given.map(|key| (key, Any::Null)).into_iter().collect();
        assert_eq!(keys(&at_once), wanted);
        let mut one_by_one = Object::new();
        for key in given {
            one_by_one.insert(key, Any::Null);
        }
        assert_eq!(one_by_one, at_once);
    }

    #[test]
    fn a_repeated_key_keeps_its_place_and_takes_the_last_value() {
        for filler in [0, 2 * FEW] {
            let mut entries: Vec<(Box<str>, Any)> = vec![("a".into(), Any::Number(1.0)), ("b".into(), Any::Number(2.0))];
            entries.extend((0..filler).map(|i| (format!("f{i}").into(), Any::Null)));
            entries.push(("a".into(), Any::Number(3.0)));
            entries.push(("c".into(), Any::Number(4.0)));
            entries.push(("b".into(), Any::Number(5.0)));
            let object = Object::from_entries(entries);
            assert_eq!(object.len(), filler + 3);
            assert_eq!(keys(&object)[..2], ["a", "b"]);
            assert_eq!(keys(&object)[filler + 2], "c");
            assert_eq!(object.get("a"), Some(&Any::Number(3.0)));
            assert_eq!(object.get("b"), Some(&Any::Number(5.0)));
        }
    }
}
