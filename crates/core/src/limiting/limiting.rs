//! What the bounds of one node are, and how often they were reached.

use std::sync::Arc;

use super::{PaceRates, Quotas, Tally};
use crate::AnswerMemory;

/// The bounds of one node that are no session's and no room's own, and how often any was reached. The default bounds nothing.
#[derive(Clone, Debug)]
pub struct Limiting {
    /// Counts them all.
    pub tally: Arc<Tally>,
    /// What differs by org.
    pub quotas: Quotas,
    /// Sessions from one address; 0 is no bound.
    pub connections_per_address: usize,
    /// What all sessions from one address may send together.
    pub address: PaceRates,
    /// Bytes of messages whose end has not come, of all sessions together.
    pub unfinished_bytes: usize,
    /// What the sessions from one address may hold of them.
    pub unfinished_bytes_of_address: usize,
    /// What was made for clients and is held by anybody.
    pub answers: AnswerMemory,
}

impl Default for Limiting {
    fn default() -> Self {
        Self {
            tally: Arc::default(),
            quotas: Quotas::default(),
            connections_per_address: 0,
            address: PaceRates::default(),
            unfinished_bytes: usize::MAX,
            unfinished_bytes_of_address: usize::MAX,
            answers: AnswerMemory::default(),
        }
    }
}
