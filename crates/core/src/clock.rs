//! Positions in a room's stream.

use std::{fmt, str::FromStr};

/// A position in a room's stream: `ms-seq`, two integers, never compared as text.
///
/// `ms` is milliseconds since 1970 of the log's own time, `seq` counts within one millisecond. Layout and order:
/// Redis stream ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamClock {
    /// Milliseconds since 1970, from the log's own time.
    pub ms: u64,
    /// Counter within one millisecond.
    pub seq: u64,
}

impl StreamClock {
    /// Before every entry.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The position `ms-seq`.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The smallest position after this one.
    pub const fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }
}

impl fmt::Display for StreamClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// A text that is no stream clock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no stream clock; expected `milliseconds-sequence`")]
pub struct ClockError(pub String);

impl FromStr for StreamClock {
    type Err = ClockError;

    /// Reads `ms-seq`, `ms` (seq 0), and `ms-I` as imported rows have it (seq 0).
    fn from_str(text: &str) -> Result<Self, ClockError> {
        let wrong = || ClockError(text.chars().take(64).collect());
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self {
            ms: ms.parse().map_err(|_| wrong())?,
            // Rows stored by an import end in `-I`; they order like the start of their millisecond.
            seq: if seq == "I" { 0 } else { seq.parse().map_err(|_| wrong())? },
        })
    }
}

/// The clock of a version row as it was stored: a stream clock, or the `ms-I` that y/hub gives imported rows.
///
/// It has no total order: an imported row is neither before nor after what has the same milliseconds. Where one of two
/// must be chosen, take [`StoredClock::position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredClock {
    ms: u64,
    /// `None` for imported rows.
    seq: Option<u64>,
}

impl StoredClock {
    /// Does it lie before `other`, as y/hub sees it?
    pub fn is_before(self, other: Self) -> bool {
        self.ms < other.ms || (self.ms == other.ms && self.seq.zip(other.seq).is_some_and(|(ours, theirs)| ours < theirs))
    }

    /// The stream clock that it stands for; that of an imported row is the start of its millisecond.
    pub const fn position(self) -> StreamClock {
        StreamClock {
            ms: self.ms,
            seq: match self.seq {
                Some(seq) => seq,
                None => 0,
            },
        }
    }
}

impl FromStr for StoredClock {
    type Err = ClockError;

    /// Reads `ms-seq`, `ms` (seq 0) and `ms-I`.
    fn from_str(text: &str) -> Result<Self, ClockError> {
        let StreamClock { ms, seq } = text.parse()?;
        Ok(Self { ms, seq: (!text.ends_with("-I")).then_some(seq) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_order_as_numbers() {
        let nine: StreamClock = "5-9".parse().unwrap();
        let ten: StreamClock = "5-10".parse().unwrap();
        assert!(nine < ten);
        assert_eq!(nine.next(), ten);
        assert_eq!("7-I".parse(), Ok(StreamClock::new(7, 0)));
        assert_eq!("7".parse(), Ok(StreamClock::new(7, 0)));
        assert!("x-1".parse::<StreamClock>().is_err());
        assert!("1-x".parse::<StreamClock>().is_err());
    }
}
