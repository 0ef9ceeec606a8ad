//! `[embedded]`: the storage engines in the data directory.

use serde::{Deserialize, Serialize};

use super::section::{section, words};

/// What an accepted edit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Sudden loss of power: every group of edits waits for the disk.
    PowerLoss,
    /// Sudden death of the process, but not of the machine.
    ProcessCrash,
}

words!(Durability: "\"power-loss\" or \"process-crash\"");

section! {
    /// The storage engines in the data directory.
    Embedded = "embedded" {
        /// What an edit survives from the moment that others see it: "power-loss", or "process-crash", which is faster
        /// on slow disks but may lose the last moments when the machine itself goes down.
        durability: Durability = Durability::PowerLoss;
    }
}
