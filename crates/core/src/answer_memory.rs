//! Bytes that are made for clients to take: how many there are for as long as anybody holds them.
//!
//! What many share is one piece of memory and counted once. A client that takes nothing keeps its piece alive after everybody else
//! has let go of it; only here is that seen.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// What is shorter is not counted.
const COUNTED_FROM_BYTES: usize = 64 << 10;

/// Counts the bytes of a node. Cheap to clone; the clones count together.
#[derive(Clone, Debug)]
pub struct AnswerMemory {
    held: Arc<AtomicUsize>,
    max_bytes: usize,
}

impl Default for AnswerMemory {
    /// Without a bound.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl AnswerMemory {
    /// Short of memory beyond `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { held: Arc::default(), max_bytes }
    }

    /// The same bytes, counted until the last of what shares them is gone.
    pub fn count(&self, bytes: Bytes) -> Bytes {
        if bytes.len() < COUNTED_FROM_BYTES {
            return bytes;
        }
        self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, held: self.held.clone() })
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Are more held than should be? Then nothing long is made before some of it is gone, and who is slow to take theirs is not waited
    /// for.
    pub fn is_short(&self) -> bool {
        self.held_bytes() > self.max_bytes
    }
}

struct Counted {
    bytes: Bytes,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once_and_until_the_last_is_gone() {
        let memory = AnswerMemory::new(COUNTED_FROM_BYTES);
        let short = memory.count(Bytes::from(vec![1; COUNTED_FROM_BYTES - 1]));
        let long = memory.count(Bytes::from(vec![2; COUNTED_FROM_BYTES]));
        assert_eq!((memory.held_bytes(), memory.is_short()), (COUNTED_FROM_BYTES, false));
        let part = long.slice(1..2);
        let other = memory.clone().count(Bytes::from(vec![3; COUNTED_FROM_BYTES]));
        assert!(memory.is_short());
        assert_eq!((&part[..], short[0]), (&[2][..], 1));
        drop((long, other));
        assert_eq!(memory.held_bytes(), COUNTED_FROM_BYTES);
        drop(part);
        assert_eq!(memory.held_bytes(), 0);
    }
}
