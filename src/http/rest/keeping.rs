//! How much is kept of what was answered: records of requests with a key, for who asks again, and answers about histories, for who asks
//! the same. With Redis both lie beside the edits that are in no version yet, and must never take the room that those need.
//!
//! What is taken at once is bounded by how much comes in: a bucket for the node, and one for each user, so that nobody takes it all.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;
use yhub_core::{
    access::Identity,
    limiting::{Bound, Buckets, Rate, Tally, TokenBucket},
};

use crate::{Config, http::HttpError, limiting::user_key, peer::Client};

/// So many users are told apart at a time. Newcomers beyond share one bucket.
const MAX_SHARERS: usize = 65_536;
/// What a record takes in a store: about 250 bytes, its key, and what the store itself needs for an entry.
const RECORD_BYTES: u64 = 512;
/// A longer answer is not kept. What is dear to compute is mostly short: who changed what, and when; what is long is mostly the document
/// itself, and costs more memory than time.
pub(super) const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Bytes of answers that a node keeps a second, and what of that one user takes; of both those of ten seconds may come at once. At most 30 s
/// are kept, so these are about 80 MiB of a node at a time.
const ANSWER_BYTES_PER_SECOND: usize = 2 << 20;
const ANSWER_BYTES_PER_SECOND_OF_USER: usize = 512 << 10;
const ANSWER_BURST_SECONDS: usize = 10;

/// Whose share something takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sharer {
    User(String),
    /// Somebody who says nothing of themselves.
    Address(IpAddr),
}

impl Sharer {
    pub(super) fn of(who: &Identity, client: Client) -> Self {
        user_key(who).map_or_else(|| Self::Address(client.key()), |user| Self::User(user.to_owned()))
    }
}

/// What may be kept now.
pub(super) struct Keeping {
    records: SharedRate,
    answers: SharedRate,
    tally: Arc<Tally>,
    started: Instant,
}

/// A rate of bytes for the node, and one for each who shares it.
struct SharedRate {
    rate: Rate,
    node: Mutex<TokenBucket>,
    rate_of_one: Rate,
    each: Buckets<Sharer>,
}

/// Whose bytes are used up, and for how many milliseconds.
enum UsedUp {
    OfOne(u64),
    OfNode,
}

impl SharedRate {
    fn new(rate: Rate, rate_of_one: Rate) -> Self {
        Self { rate, node: Mutex::new(TokenBucket::full(&rate, 0)), rate_of_one, each: Buckets::new(MAX_SHARERS) }
    }

    fn try_take(&self, sharer: &Sharer, cost: u64, now_ms: u64) -> Result<(), UsedUp> {
        // First that of one: who has used theirs up takes nothing from the others by asking.
        self.each.try_take_many(sharer.clone(), &self.rate_of_one, cost, now_ms).map_err(UsedUp::OfOne)?;
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        node.try_take(&self.rate, cost, now_ms).map_err(|_| UsedUp::OfNode)
    }

    /// Also what is not there: it is waited for.
    fn spend(&self, sharer: &Sharer, cost: u64, now_ms: u64) {
        self.each.spend(sharer.clone(), &self.rate_of_one, cost, now_ms);
        self.node.lock().unwrap_or_else(PoisonError::into_inner).spend(&self.rate, cost, now_ms);
    }
}

impl Keeping {
    pub(super) fn new(config: &Config, tally: Arc<Tally>) -> Self {
        // Half at once and half within a day, for which they are kept: never more than the whole is there.
        let of_a_day = |bytes: usize| Rate::per_day(bytes.div_ceil(2));
        let a_second = |bytes| Rate::per_second(bytes, ANSWER_BURST_SECONDS);
        Self {
            records: SharedRate::new(
                of_a_day(config.limits.idempotency_bytes),
                of_a_day(config.limits.idempotency_bytes_of_user),
            ),
            answers: SharedRate::new(a_second(ANSWER_BYTES_PER_SECOND), a_second(ANSWER_BYTES_PER_SECOND_OF_USER)),
            tally,
            started: Instant::now(),
        }
    }

    /// May one more request be recorded?
    ///
    /// # Errors
    /// 429 if its user has used up what one may, 503 if all together have.
    pub(super) fn may_record(&self, sharer: &Sharer) -> Result<(), HttpError> {
        self.records.try_take(sharer, RECORD_BYTES, self.now_ms()).map_err(|used_up| match used_up {
            UsedUp::OfOne(wait_ms) => {
                self.tally.count(Bound::UserRecords);
                HttpError::TooManyRequests { retry_after_s: wait_ms.div_ceil(1_000).max(1) }
            }
            UsedUp::OfNode => {
                self.tally.count(Bound::Records);
                log::warn!(
                    "a request with a key is told to come again: as much is recorded as may be (`limits.idempotency_bytes`)"
                );
                HttpError::Unavailable
            }
        })
    }

    /// A record has become so long.
    pub(super) fn spend_record(&self, sharer: &Sharer, size_bytes: usize) {
        let more = (size_bytes as u64).saturating_sub(RECORD_BYTES / 2);
        self.records.spend(sharer, more, self.now_ms());
    }

    /// May an answer of so many bytes be kept? One that is not is computed anew.
    pub(super) fn may_keep(&self, sharer: &Sharer, size_bytes: usize) -> bool {
        size_bytes <= MAX_ANSWER_BYTES && self.answers.try_take(sharer, size_bytes as u64, self.now_ms()).is_ok()
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn user(name: &str) -> Sharer {
        Sharer::User(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_a_node_and_of_one_user_take_no_more_than_is_said() {
        let mut config = Config::for_testing("somewhere");
        // Half of it at once: four records of one user, six of all.
        (config.limits.idempotency_bytes_of_user, config.limits.idempotency_bytes) = (8 * 512, 12 * 512);
        let keeping = Keeping::new(&config, Arc::default());
        let all_of = |name: &str| (0..100).map_while(|_| keeping.may_record(&user(name)).ok()).count();
        assert_eq!(all_of("ann"), 4);
        assert!(
            matches!(keeping.may_record(&user("ann")), Err(HttpError::TooManyRequests { retry_after_s }) if retry_after_s > 3_600)
        );
        assert_eq!(keeping.tally.of(Bound::UserRecords), 2);
        assert_eq!(all_of("bob"), 2);
        assert_eq!(keeping.may_record(&user("eve")), Err(HttpError::Unavailable));
        assert_eq!(keeping.tally.of(Bound::Records), 2);
        // Within a day the other half.
        tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
        assert_eq!((all_of("ann"), all_of("bob")), (4, 2));
        // What was longer than thought is made up for.
        tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
        keeping.spend_record(&user("ann"), 256 + 3 * 512);
        assert_eq!(all_of("ann"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_as_long_as_there_is_room() {
        let keeping = Keeping::new(&Config::for_testing("somewhere"), Arc::default());
        assert!(!keeping.may_keep(&user("ann"), MAX_ANSWER_BYTES + 1));
        let all_of = |name: &str| (0..1_000).filter(|_| keeping.may_keep(&user(name), MAX_ANSWER_BYTES)).count();
        assert_eq!((all_of("ann"), all_of("bob")), (5, 5));
        let many: usize = (0..100).map(|at| all_of(&at.to_string())).sum();
        assert_eq!(many, 10, "of a node 20 MiB at once");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((all_of("ann"), all_of("new")), (1, 3));
    }
}
