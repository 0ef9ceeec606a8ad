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
