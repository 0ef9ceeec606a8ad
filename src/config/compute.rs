//! `[compute]`: merging and comparing documents.

use super::section::{Millis, section};

section! {
    /// Merging and comparing documents, away from the threads that serve connections.
    Compute = "compute" {
        /// Threads; 0 for one per core.
        threads: usize = 0, 0..=256;
        /// Computations that may wait. Further ones are refused, and clients try again.
        queue: usize = 1_024, 1..=1_000_000;
        /// A computation that has no result after so long has failed.
        deadline_ms: Millis = Millis::new(30_000), 100..=3_600_000;
    }
}
