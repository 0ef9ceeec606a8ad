//! `[stream]`: the short-lived log of every room.

use super::section::{Millis, section};

section! {
    /// The short-lived log of every room.
    Stream = "stream" {
        /// An entry stays in the log for at least so long, even when it is long persisted, so that whoever lags behind
        /// still finds it.
        min_message_lifetime_ms: Millis = Millis::new(60_000), 100..=604_800_000;
    }
}
