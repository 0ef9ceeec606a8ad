//! `[audit]`: the records of what was done and refused.

use super::section::section;

section! {
    /// The records of what was done and refused. `yhub audit` lists them.
    Audit = "audit" {
        /// A record is deleted after so many days; 0 for never. Nodes that compact look for those that are to go every
        /// `deletion.janitor_ms`.
        keep_days: usize = 365, 0..=36_500;
    }
}
