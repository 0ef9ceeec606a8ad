//! Configuration → bounds, and bounds → refusals.

use std::sync::Arc;

use actix_http::RequestHead;
use tokio::time::Instant;
use yhub_actors::{Arrival, Place, SessionParams};
use yhub_core::{
    AnswerMemory,
    access::{Identity, Via},
    limiting::{Bound, FailedAuth, Limiting, PaceRates, Quota, Quotas, Rate, Tally},
};
use yhub_documents::{DocumentsBounds, TurnLimits};

use crate::{
    Config,
    config::{Limits, org_limits},
    http::HttpError,
    peer::{Client, Proxies},
    wiring::Door,
};

/// Who says nothing of themselves, where nobody has to.
const ANONYMOUS: &str = "anonymous";
/// Whoever finds all places taken may come again after so many seconds.
const COME_AGAIN_S: u64 = 5;

/// The bounds of a node.
pub(crate) fn limiting(config: &Config) -> Limiting {
    let orgs = org_limits(&config.limits).into_iter().filter_map(Result::ok);
    let quotas = Quotas::new(quota(&config.limits), orgs.map(|(org, limits)| (org, quota(&limits))));
    let Limits { connections_per_address, address_messages_per_second, address_bytes_per_second, unfinished_bytes, .. } =
        config.limits;
    let address = pace(&config.limits, address_messages_per_second, address_bytes_per_second);
    // The longest message that may be sent can be.
    let longest = config.server.max_message_bytes.saturating_add(1 << 20);
    Limiting {
        tally: Arc::default(),
        quotas,
        connections_per_address,
        address,
        unfinished_bytes: unfinished_bytes.max(longest),
        unfinished_bytes_of_address: (unfinished_bytes / 4).max(longest),
        answers: AnswerMemory::new(config.room.snapshot_budget_bytes.saturating_add(config.limits.sync_bytes)),
    }
}

fn pace(limits: &Limits, messages: usize, bytes: usize) -> PaceRates {
    let rate = |tokens| Rate::per_second(tokens, limits.burst_seconds);
    PaceRates { messages: rate(messages), bytes: rate(bytes) }
}

fn quota(limits: &Limits) -> Quota {
    let rate = |tokens| Rate::per_second(tokens, limits.burst_seconds);
    let pace = |messages, bytes| pace(limits, messages, bytes);
    Quota {
        connections: limits.connections_per_org,
        connections_per_user: limits.connections_per_user,
        connections_per_room: limits.connections_per_room,
        session: pace(limits.messages_per_second, limits.message_bytes_per_second),
        user: pace(limits.user_messages_per_second, limits.user_bytes_per_second),
        room: pace(limits.room_messages_per_second, limits.room_bytes_per_second),
        presence: pace(limits.awareness_per_second, limits.awareness_bytes_per_second),
        max_document_bytes: limits.max_document_bytes,
        requests_per_user: rate(limits.rest_per_second_of_user),
    }
}

/// What bounds the work on documents.
pub(crate) fn documents_bounds(config: &Config, limiting: &Limiting) -> DocumentsBounds {
    let limits = &config.limits;
    let within = config.room.load_timeout_ms.duration();
    DocumentsBounds {
        loads: TurnLimits { at_once: limits.concurrent_loads, waiting: limits.waiting_loads, within },
        histories: TurnLimits { at_once: limits.concurrent_histories, waiting: limits.waiting_histories, within },
        quotas: limiting.quotas.clone(),
        tally: limiting.tally.clone(),
    }
}

/// Who asks, and whether they have failed too often to show who they are.
pub(crate) struct AuthGuard {
    proxies: Proxies,
    failed: FailedAuth,
    tally: Arc<Tally>,
    started: Instant,
}

impl AuthGuard {
    pub(crate) fn new(config: &Config, proxies: Proxies, limiting: &Limiting) -> Self {
        let failed = FailedAuth::per_minute(config.limits.failed_auth_per_minute);
        Self { proxies, failed, tally: limiting.tally.clone(), started: Instant::now() }
    }

    /// Who sends the request with this head.
    pub(crate) fn client(&self, head: &RequestHead) -> Client {
        self.proxies.client(head)
    }

    /// May they try to show who they are? To be asked before that costs anything.
    pub(crate) fn may_try(&self, client: Client) -> Result<(), HttpError> {
        self.failed.may_try(client.key(), self.now_ms()).map_err(|wait_ms| {
            self.tally.count(Bound::FailedAuth);
            HttpError::TooManyRequests { retry_after_s: wait_ms.div_ceil(1_000).max(1) }
        })
    }

    /// They have shown something that is not valid.
    pub(crate) fn failed(&self, client: Client) {
        self.failed.failed(client.key(), self.now_ms());
    }

    /// They have shown something, and whoever knows such things has answered without saying what it is.
    pub(crate) fn unclear(&self, client: Client) {
        self.failed.unclear(client.key(), self.now_ms());
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// What users are told apart by. Those who say nothing of themselves are not one user; and whoever says who they are, where nobody has
/// to show it, is another one than who has shown it.
pub(crate) fn user_key(who: &Identity) -> Option<String> {
    match (who.via, who.user.as_str()) {
        (Via::Open, ANONYMOUS) => None,
        (Via::Open, user) => Some(format!("said {user}")),
        (_, user) => Some(format!("shown {user}")),
    }
}

/// A place for the session that `client` wants to open.
pub(crate) fn admit(door: &Door, client: Client, params: &SessionParams) -> Result<Place, HttpError> {
    let user = user_key(&params.who);
    let arrival = Arrival { address: client.key(), user: user.as_deref(), room: &params.room };
    door.node.admit(&arrival).map_err(|bound| match bound {
        Bound::AddressConnections | Bound::UserConnections => {
            log::debug!("a session is refused: as many are open as `{}` allows", bound.key());
            HttpError::TooManyRequests { retry_after_s: COME_AGAIN_S }
        }
        _ => HttpError::TooManyConnections,
    })
}

#[cfg(test)]
mod tests {
    use yhub_encoding::Object;

    use super::*;

    #[test]
    fn nobody_uses_up_what_is_anothers_by_calling_themselves_so() {
        let shown = |user: &str| Identity { user: user.to_owned(), claims: Object::new(), via: Via::Jwt };
        assert_eq!(user_key(&Identity::anonymous(ANONYMOUS)), None);
        assert!(user_key(&shown(ANONYMOUS)).is_some(), "who shows that this is their name is one user");
        let keys = ["ann", "shown ann", "said ann"].map(|user| [user_key(&shown(user)), user_key(&Identity::anonymous(user))]);
        let mut keys: Vec<_> = keys.into_iter().flatten().flatten().collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
        assert_eq!(user_key(&shown("ann")), user_key(&Identity { via: Via::Token, ..shown("ann") }));
    }
}
