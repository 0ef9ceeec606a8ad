//! What the bounds of one node are, and how often they were reached.

use std::sync::Arc;

use super::{PaceRates, Quotas, Tally};

/// The bounds of one node that are no session's and no room's own, and how often any was reached. The default bounds nothing.
#[derive(Clone, Debug, Default)]
pub struct Limiting {
    /// Counts them all.
    pub tally: Arc<Tally>,
    /// What differs by org.
    pub quotas: Quotas,
    /// Sessions from one address; 0 is no bound.
    pub connections_per_address: usize,
    /// What all sessions from one address may send together.
    pub address: PaceRates,
}
