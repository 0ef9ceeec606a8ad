//! How much may be brought of what is not known to be short.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// So many bytes may be brought, by all together who share it: clones do.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// For `bytes` bytes.
    pub fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// For whatever there is.
    pub fn unlimited() -> Self {
        Self::of(u64::MAX)
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes so many bytes. False if fewer are left: then none is taken, and nothing is to be brought.
    pub fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// What was asked for, unless it is longer than was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought<T> {
    /// All of it.
    Whole(T),
    /// It was left where it is.
    TooLong {
        /// How long it is.
        size_bytes: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_an_allowance_takes_no_more_than_there_is() {
        let (allowance, unlimited) = (Allowance::of(10), Allowance::unlimited());
        let other = allowance.clone();
        assert!(allowance.take(6) && !other.take(5) && other.left() == 4 && other.take(4) && !allowance.take(1));
        assert!(allowance.take(0));
        assert!(unlimited.take(1 << 40) && unlimited.take(1 << 40));
    }
}
