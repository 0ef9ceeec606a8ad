//! `[worker]`: folding the streams into stored versions.

use super::section::{Millis, section};

section! {
    /// Folding the streams into stored versions.
    Worker = "worker" {
        /// How long a room's edits gather before they are folded.
        task_debounce_ms: Millis = Millis::new(10_000), 0..=3_600_000;
        /// A task whose owner has not renewed it for so long goes to another.
        lease_ms: Millis = Millis::new(30_000), 200..=3_600_000;
        /// Rooms that are folded at once; 0 for one per core, and for at least eight.
        concurrency: usize = 0, 0..=256;
        /// A room that could not be folded is tried again after about so long, and after twice as long each further time,
        /// up to five minutes.
        retry_ms: Millis = Millis::new(5_000), 10..=300_000;
        /// A room that fails so often in a row in the same way is set aside: its stream waits until somebody looks at it,
        /// and the room goes on. See `yhub quarantine --help`.
        quarantine_after: usize = 5, 1..=1_000;
        /// So many rooms that fail in the same way are the hub's fault, not theirs: then none is set aside, the log says
        /// so, and `/readyz` too.
        breaker_rooms: usize = 5, 2..=10_000;
        /// How often the queue is compared with the streams, so that each has the one task that it should have.
        reconcile_ms: Millis = Millis::new(30_000), 100..=3_600_000;
    }
}
