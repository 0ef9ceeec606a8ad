//! Keys that are published as a JWK set (RFC 7517) under an address.
//!
//! They are fetched before they are old, by [`Jwks::keep_fresh`], and when a token names one that is not there. While they cannot
//! be fetched the last ones hold, for a bounded time; then nobody is let in and nobody is sent away.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jsonwebtoken::Algorithm;
use log::{info, warn};
use reqwest::Url;
use yhub_core::TimeSource;

use crate::{
    AuthError, KeySet, OptionsError,
    http::{self, Http},
    key::Find,
};

/// Bytes of a key set.
const MOST_BYTES: usize = 256 << 10;
/// What is told when there are no keys.
const NO_KEYS: &str = "the keys that tokens are signed with could not be fetched";

/// Where keys are published, and how long they are good for.
#[derive(Clone, Debug)]
pub struct JwksOptions {
    /// `https://host/path`.
    pub url: String,
    /// May it be asked without TLS although it is not this machine?
    pub allow_http: bool,
    /// Certificates, in PEM, of who may vouch for it, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// An answer must be there after so long.
    pub timeout: Duration,
    /// They are fetched anew after so long.
    pub refresh: Duration,
    /// Never more often than this, however many tokens name keys that are not there.
    pub min_interval: Duration,
    /// If they cannot be fetched, the last ones hold for so long.
    pub max_stale: Duration,
}

impl JwksOptions {
    /// The usual patience.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            allow_http: false,
            ca_file: None,
            timeout: Duration::from_secs(5),
            refresh: Duration::from_secs(300),
            min_interval: Duration::from_secs(10),
            max_stale: Duration::from_secs(24 * 3600),
        }
    }
}

/// The keys under one address.
pub struct Jwks {
    options: JwksOptions,
    url: Url,
    http: Http,
    time: Arc<dyn TimeSource>,
    state: Mutex<State>,
    /// Held while they are fetched: once at a time, and who waited looks first at what came.
    fetching: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwks").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// The last keys, and when they came.
    keys: Option<(Arc<KeySet>, u64)>,
    /// When they were asked for last, and whether they came.
    tried: Option<(u64, bool)>,
}

impl Jwks {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// If the address may not be asked, or there is no TLS for it.
    pub fn new(options: JwksOptions, time: Arc<dyn TimeSource>) -> Result<Self, OptionsError> {
        let url = http::parsed(&options.url, options.allow_http, true)
            .map_err(|fault| OptionsError::new(format!("the address of the key set {fault}"), "write https://host/path"))?;
        let http = Http::new(&url, options.ca_file.as_deref(), options.timeout, MOST_BYTES)?;
        Ok(Self { options, url, http, time, state: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// Fetches the keys at once and from then on before they are old. Never ends; it is run beside everything else.
    pub async fn keep_fresh(&self) {
        loop {
            self.fetch_unless_tried_within(Duration::ZERO).await;
            let came = matches!(self.state().tried, Some((_, true)));
            tokio::time::sleep(if came { self.options.refresh } else { self.options.min_interval }).await;
        }
    }

    /// The key for a token. Keys that are not there are fetched, if they were not a moment ago.
    pub(crate) async fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Find, AuthError> {
        let find = || self.current().map(|keys| keys.find(algorithm, kid));
        match find() {
            None | Some(Find::Unknown) => {}
            Some(found) => return Ok(found),
        }
        self.fetch_unless_tried_within(self.options.min_interval).await;
        match find() {
            // It may be one that was published meanwhile.
            Some(Find::Unknown) if matches!(self.state().tried, Some((_, false))) => Err(AuthError::unavailable(NO_KEYS)),
            Some(found) => Ok(found),
            None => Err(AuthError::unavailable(NO_KEYS)),
        }
    }

    /// The last keys, unless they are too old.
    fn current(&self) -> Option<Arc<KeySet>> {
        let age_ms = |since_ms: u64| self.time.now_ms().saturating_sub(since_ms);
        let state = self.state();
        let (keys, since_ms) = state.keys.as_ref()?;
        (Duration::from_millis(age_ms(*since_ms)) <= self.options.max_stale).then(|| keys.clone())
    }

    /// Fetches them, unless that was tried within the last `interval`. Who comes while they are fetched waits for that.
    async fn fetch_unless_tried_within(&self, interval: Duration) {
        let asked_ms = self.time.now_ms();
        let _fetching = self.fetching.lock().await;
        let now_ms = self.time.now_ms();
        let is_recent = |tried_ms: u64| {
            // A clock that was set back is no reason to wait until it is there again.
            tried_ms <= now_ms && (tried_ms >= asked_ms || Duration::from_millis(now_ms - tried_ms) < interval)
        };
        if !interval.is_zero() && self.state().tried.is_some_and(|(tried_ms, _)| is_recent(tried_ms)) {
            return;
        }
        // Who asked may go away meanwhile, and the next one must not begin at once: for now it has failed.
        let came_before = self.state().tried.replace((now_ms, false)).is_some_and(|(_, came)| came);
        let fetched = self.fetch().await;
        let mut state = self.state();
        state.tried = Some((self.time.now_ms(), fetched.is_ok()));
        match fetched {
            Ok(keys) => {
                state.keys = Some((Arc::new(keys), now_ms));
                if !came_before {
                    info!("fetched the keys of tokens from {}", self.url.host_str().unwrap_or_default());
                }
            }
            Err(what) => warn!("cannot fetch the keys of tokens: {what}; check `jwt.jwks_url` and that it answers"),
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let (status, body) = self.http.send(self.http.get(self.url.clone())).await.map_err(|fault| fault.to_string())?;
        if !status.is_success() {
            return Err(format!("the answer has the status {}", status.as_u16()));
        }
        let (keys, passed_over) = KeySet::of_jwks(&body).map_err(|fault| format!("the answer {fault}"))?;
        for fault in passed_over {
            log::debug!("a published key is passed over: {fault}");
        }
        Ok(keys)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is half done when something panics: it is only assigned to.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
