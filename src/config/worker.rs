//! `[worker]`: folding the streams into stored versions.

use super::section::{Millis, section};

section! {
    /// Folding the streams into stored versions.
    Worker = "worker" {
        /// How long a room's edits gather before they are folded.
        task_debounce_ms: Millis = Millis::new(10_000), 0..=3_600_000;
        /// A task whose owner has not renewed it for so long goes to another.
        lease_ms: Millis = Millis::new(30_000), 200..=3_600_000;
        /// Rooms that are folded at once; 0 for one per core.
        concurrency: usize = 0, 0..=256;
    }
}
