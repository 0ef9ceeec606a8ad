//! How often who may ask for what, and with how long a head.

use std::{net::IpAddr, sync::Arc};

use actix_web::dev::RequestHead;
use tokio::time::Instant;
use yhub_core::{
    access::Identity,
    limiting::{Bound, Buckets, Limiting, Quotas, Rate, Tally},
};

use crate::{
    Config,
    http::HttpError,
    limiting::user_key,
    peer::{Client, Proxies},
};

/// So many addresses, and so many users, are told apart at a time.
const MAX_CALLERS: usize = 65_536;

/// What those who ask are held to.
pub(crate) struct Callers {
    proxies: Proxies,
    max_head_bytes: usize,
    requests: Rate,
    upgrades: Rate,
    requesting: Buckets<IpAddr>,
    upgrading: Buckets<IpAddr>,
    /// By org and user.
    users: Buckets<(String, String)>,
    /// By org: how many checks of the whole of it are demanded, and how many bytes name whom.
    rechecks: (Buckets<String>, Rate),
    recheck_bytes: (Buckets<String>, Rate),
    quotas: Quotas,
    pub(crate) tally: Arc<Tally>,
    started: Instant,
}

impl Callers {
    pub(crate) fn new(config: &Config, limiting: &Limiting, proxies: Proxies) -> Self {
        let rate = |tokens| Rate::per_second(tokens, config.limits.burst_seconds);
        Self {
            proxies,
            max_head_bytes: config.server.max_head_bytes,
            requests: rate(config.limits.rest_per_second),
            upgrades: rate(config.limits.upgrades_per_second),
            requesting: Buckets::new(MAX_CALLERS),
            upgrading: Buckets::new(MAX_CALLERS),
            users: Buckets::new(MAX_CALLERS),
            rechecks: (Buckets::new(MAX_CALLERS), rate(config.limits.org_rechecks_per_second)),
            recheck_bytes: (Buckets::new(MAX_CALLERS), rate(config.limits.org_recheck_bytes_per_second)),
            quotas: limiting.quotas.clone(),
            tally: limiting.tally.clone(),
            started: Instant::now(),
        }
    }

    /// Whoever sends this request may, if not too often. Before anything else is looked at.
    pub(crate) fn of_request(&self, head: &RequestHead) -> Result<Client, HttpError> {
        self.of_address(head, &self.requesting, &self.requests, Bound::AddressRequests)
    }

    /// Whoever asks for this WebSocket may, if not too often. Before anything else is looked at.
    pub(crate) fn of_upgrade(&self, head: &RequestHead) -> Result<Client, HttpError> {
        self.of_address(head, &self.upgrading, &self.upgrades, Bound::AddressUpgrades)
    }

    fn of_address(&self, head: &RequestHead, buckets: &Buckets<IpAddr>, rate: &Rate, bound: Bound) -> Result<Client, HttpError> {
        check_head(head, self.max_head_bytes, &self.tally)?;
        let client = self.proxies.client(head);
        if !rate.is_none() {
            let taken = buckets.try_take(client.key(), rate, self.now_ms());
            taken.map_err(|wait_ms| self.too_often(bound, wait_ms))?;
        }
        Ok(client)
    }

    /// This user may, if not too often.
    pub(crate) fn of_user(&self, org: &str, who: &Identity) -> Result<(), HttpError> {
        let rate = self.quotas.of(org).requests_per_user;
        let Some(user) = user_key(who).filter(|_| !rate.is_none()) else { return Ok(()) };
        let taken = self.users.try_take((org.to_owned(), user), &rate, self.now_ms());
        taken.map_err(|wait_ms| self.too_often(Bound::UserRequests, wait_ms))
    }

    /// This org may have all of its sessions looked at, with users that have so many bytes, if not too often.
    pub(crate) fn of_recheck(&self, org: &str, users_bytes: usize) -> Result<(), HttpError> {
        let take = |(buckets, rate): &(Buckets<String>, Rate), cost: usize, bound| {
            if rate.is_none() || cost == 0 {
                return Ok(());
            }
            let taken = buckets.try_take_many(org.to_owned(), rate, cost as u64, self.now_ms());
            taken.map_err(|wait_ms| self.too_often(bound, wait_ms))
        };
        take(&self.rechecks, 1, Bound::OrgRechecks)?;
        take(&self.recheck_bytes, users_bytes, Bound::OrgRecheckBytes)
    }

    fn too_often(&self, bound: Bound, wait_ms: u64) -> HttpError {
        self.tally.count(bound);
        HttpError::TooManyRequests { retry_after_s: wait_ms.div_ceil(1_000).max(1) }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Refuses a head that is too long. The server has read it by then, at most 128 KiB of it.
fn check_head(head: &RequestHead, max_bytes: usize, tally: &Tally) -> Result<(), HttpError> {
    let headers = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path + headers.sum::<usize>() > max_bytes {
        tally.count(Bound::HeadSize);
        return Err(HttpError::HeadTooLarge { max_bytes });
    }
    Ok(())
}
