//! `[room]`: documents that are open.

use super::section::{Millis, section};

section! {
    /// Documents that are open.
    Room = "room" {
        /// A room without clients leaves memory after so long.
        idle_ms: Millis = Millis::new(30_000), 0..=86_400_000;
        /// Presence is gathered for so long before it is passed on.
        awareness_coalesce_ms: Millis = Millis::new(20), 0..=1_000;
        /// Memory for merged documents of busy rooms, all together. The least recently used leave first.
        snapshot_budget_bytes: usize = 512 << 20, 0..=1 << 40;
        /// Bytes of one room's edits that wait to be stored. At the bound nothing more is read from its clients.
        pending_bytes: usize = 16 << 20, 1 << 10..=1 << 32;
        /// A document that has not been loaded after so long is refused with 1013, and its clients try again.
        load_timeout_ms: Millis = Millis::new(30_000), 100..=600_000;
    }
}
