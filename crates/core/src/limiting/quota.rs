//! What is told apart by org: a quota each, or the one for all others.

use std::{collections::HashMap, sync::Arc};

use super::{Rate, TokenBucket};

/// How many messages and how many bytes somebody may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceRates {
    /// Messages.
    pub messages: Rate,
    /// Bytes of them.
    pub bytes: Rate,
}

/// Keeps to two rates at once. What has come is spent, also beyond the rate; then nothing more is read until both have a token.
#[derive(Clone, Debug)]
pub struct Pace {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl Pace {
    /// One that has sent nothing yet.
    pub fn full(rates: &PaceRates, now_ms: u64) -> Self {
        Self { messages: TokenBucket::full(&rates.messages, now_ms), bytes: TokenBucket::full(&rates.bytes, now_ms) }
    }

    /// A message of so many bytes has come.
    pub fn spend(&mut self, rates: &PaceRates, size_bytes: usize, now_ms: u64) {
        self.messages.spend(&rates.messages, 1, now_ms);
        self.bytes.spend(&rates.bytes, size_bytes as u64, now_ms);
    }

    /// So many bytes have come, of messages that are counted by themselves.
    pub fn spend_bytes(&mut self, rates: &PaceRates, size_bytes: usize, now_ms: u64) {
        self.bytes.spend(&rates.bytes, size_bytes as u64, now_ms);
    }

    /// After how many milliseconds messages and bytes may come again; 0 if they may now.
    pub fn waits_ms(&mut self, rates: &PaceRates, now_ms: u64) -> (u64, u64) {
        (self.messages.wait_ms(&rates.messages, now_ms), self.bytes.wait_ms(&rates.bytes, now_ms))
    }

    /// Is it as if nothing had been sent?
    pub fn is_full(&mut self, rates: &PaceRates, now_ms: u64) -> bool {
        self.messages.is_full(&rates.messages, now_ms) && self.bytes.is_full(&rates.bytes, now_ms)
    }

    /// The longer of both.
    pub fn wait_ms(&mut self, rates: &PaceRates, now_ms: u64) -> u64 {
        let (messages, bytes) = self.waits_ms(rates, now_ms);
        messages.max(bytes)
    }
}

/// What an org may take of a node, and those in it. 0 is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Sessions of the org.
    pub connections: usize,
    /// Sessions of one of its users.
    pub connections_per_user: usize,
    /// Sessions of one of its rooms.
    pub connections_per_room: usize,
    /// What a session may send.
    pub session: PaceRates,
    /// What all sessions of a user may send together.
    pub user: PaceRates,
    /// What all sessions of a room may send together, presence apart.
    pub room: PaceRates,
    /// The presence of a session that is passed on.
    pub presence: PaceRates,
    /// Bytes of a document.
    pub max_document_bytes: usize,
    /// Requests of one of its users over HTTP.
    pub requests_per_user: Rate,
}

/// The quotas of all orgs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    others: Arc<Quota>,
    orgs: Arc<HashMap<String, Arc<Quota>>>,
}

impl Quotas {
    /// Those of some orgs, and the one of all others.
    pub fn new(others: Quota, orgs: impl IntoIterator<Item = (String, Quota)>) -> Self {
        let orgs = orgs.into_iter().map(|(org, quota)| (org, Arc::new(quota))).collect();
        Self { others: Arc::new(others), orgs: Arc::new(orgs) }
    }

    /// That of one org.
    pub fn of(&self, org: &str) -> &Arc<Quota> {
        self.orgs.get(org).unwrap_or(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_org_has_its_own_and_the_others_share_none() {
        let quotas = Quotas::new(Quota::default(), [("acme".into(), Quota { connections: 3, ..Quota::default() })]);
        assert_eq!((quotas.of("acme").connections, quotas.of("other").connections), (3, 0));
    }

    #[test]
    fn both_rates_are_kept() {
        let rates = PaceRates { messages: Rate::per_second(2, 1), bytes: Rate::per_second(1_000, 1) };
        let mut pace = Pace::full(&rates, 0);
        pace.spend(&rates, 10, 0);
        assert_eq!(pace.wait_ms(&rates, 0), 0);
        pace.spend(&rates, 10, 0);
        assert_eq!(pace.waits_ms(&rates, 0), (500, 0));
        pace.spend(&rates, 2_979, 500);
        assert_eq!(pace.waits_ms(&rates, 500), (500, 1_980));
        assert_eq!(pace.wait_ms(&rates, 2_480), 0);
    }
}
