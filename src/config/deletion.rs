//! `[deletion]`: what becomes of deleted documents.

use super::section::{Millis, section};

section! {
    /// What becomes of deleted documents.
    Deletion = "deletion" {
        /// A document that was deleted with its content kept is erased after so long, unless a hold is on it; 0 for never.
        /// `yhub tombstones --due` lists what would be erased.
        retention_ms: Millis = Millis::new(0), 0..=315_360_000_000;
        /// How often a node that compacts looks for deletions that were not ended, for content that was kept for long
        /// enough, for stored objects that no version refers to, and for audit records and access tokens that are to be
        /// forgotten. One node at a time does.
        janitor_ms: Millis = Millis::new(60_000), 100..=86_400_000;
        /// Objects that are younger are left alone: what refers to them may still be written.
        orphan_grace_ms: Millis = Millis::new(3_600_000), 60_000..=31_536_000_000;
    }
}
