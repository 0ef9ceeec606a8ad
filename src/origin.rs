//! Which pages may talk to the hub, over WebSockets and over HTTP: those of its own origin, and those that are allowed by name.
//!
//! What is no browser sends no origin, and is not concerned.

use std::sync::Arc;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::{Config, http::HttpError};

/// Whether the browser itself takes a request for one of the same origin. No page can set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which pages may talk to the hub. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Origins(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    allowed: Vec<Allowed>,
    credentials: bool,
    /// Is the hub for this machine alone?
    loopback_only: bool,
}

/// An entry of `server.allowed_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// `*`.
    Any,
    /// `https://editor.example`.
    This(String),
    /// `https://*.example:8443`: all names below a domain, not itself.
    Below {
        /// `https://`.
        scheme: String,
        /// `.example:8443`.
        suffix: String,
    },
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// From no page, or from one of the hub's own origin.
    Own,
    /// From one that is allowed: with what the answer says of that, if the page is to read it.
    Allowed {
        /// `Access-Control-Allow-Origin`.
        origin: HeaderValue,
        /// `Access-Control-Allow-Credentials`.
        credentials: bool,
    },
}

impl Origins {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(Rules {
            allowed: config.server.allowed_origins.iter().map(|entry| Allowed::of(entry)).collect(),
            credentials: config.server.allow_credentials,
            loopback_only: config.auth.is_for_own_machine(),
        }))
    }

    /// Where a request with these headers comes from.
    ///
    /// # Errors
    /// If it is a page that may not talk to the hub.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Result<Page, HttpError> {
        let Some(sent) = headers.get(header::ORIGIN) else { return Ok(Page::Own) };
        let origin = sent.to_str().map_err(|_| HttpError::OriginNotAllowed)?;
        if self.is_own(headers, origin) {
            return Ok(Page::Own);
        }
        let allowed = self.0.allowed.iter().find(|allowed| allowed.matches(origin)).ok_or(HttpError::OriginNotAllowed)?;
        Ok(match allowed {
            // Never with credentials: the configuration says so, and browsers refuse it.
            Allowed::Any => Page::Allowed { origin: HeaderValue::from_static("*"), credentials: false },
            _ => Page::Allowed { origin: sent.clone(), credentials: self.0.credentials },
        })
    }

    /// For what is no upgrade: browsers send no origin with what they take for reading of the same origin. A hub for this machine
    /// alone answers under names of this machine only; see [`Self::is_own`].
    ///
    /// # Errors
    /// If it asks for a host that is not ours, or see [`Self::judge`].
    pub(crate) fn judge_request(&self, headers: &HeaderMap) -> Result<Page, HttpError> {
        let is_named_foreign = host(headers).is_some_and(|host| !is_loopback(host));
        if self.0.loopback_only && is_named_foreign { Err(HttpError::OriginNotAllowed) } else { self.judge(headers) }
    }

    /// Is `origin` the hub's own? If the browser does not say so, the host that was asked for is compared.
    ///
    /// A hub for this machine alone is its own origin under a name of this machine only: a page elsewhere can have its own name
    /// point here, and would then be "same origin" with us.
    fn is_own(&self, headers: &HeaderMap, origin: &str) -> bool {
        let host = host(headers);
        let is_same = match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(site) => site == b"same-origin",
            None => origin.split_once("://").is_some_and(|(_, of)| host.is_some_and(|host| of.eq_ignore_ascii_case(host))),
        };
        is_same && (!self.0.loopback_only || host.is_some_and(is_loopback))
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

impl Allowed {
    /// An entry that was found to be well formed.
    fn of(entry: &str) -> Self {
        match entry.split_once("://*.") {
            _ if entry == "*" => Self::Any,
            Some((scheme, domain)) => Self::Below { scheme: format!("{scheme}://"), suffix: format!(".{domain}") },
            None => Self::This(entry.to_owned()),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::This(allowed) => allowed.eq_ignore_ascii_case(origin),
            Self::Below { scheme, suffix } => {
                let origin = origin.to_ascii_lowercase();
                let label = origin.strip_prefix(scheme).and_then(|host| host.strip_suffix(suffix));
                // What stands in place of the star are names: neither a port nor anybody before an `@` ends there.
                label.is_some_and(|label| {
                    !label.is_empty()
                        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
                })
            }
        }
    }
}

/// Does this `Host` name this machine, whatever any name server says?
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Everyone;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn open(allowed: &[&str]) -> Config {
        let mut config = Config::default();
        config.auth.everyone = Some(Everyone::MayWrite);
        config.server.allowed_origins = allowed.iter().map(ToString::to_string).collect();
        config
    }

    fn judge(config: &Config, origin: &str) -> Result<Page, HttpError> {
        Origins::new(config).judge(&headers(&[("origin", origin), ("host", "hub.example:4400")]))
    }

    #[test]
    fn pages_of_other_origins_stay_outside_unless_they_are_allowed() {
        let config = open(&[]);
        assert_eq!(judge(&config, "http://hub.example:4400"), Ok(Page::Own));
        for foreign in ["http://hub.example", "https://evil.example", "null", "http://evil.example/hub.example:4400"] {
            assert_eq!(judge(&config, foreign), Err(HttpError::OriginNotAllowed), "{foreign}");
        }
        let config = open(&["https://editor.example"]);
        let allowed =
            |origin: &str, credentials| Ok(Page::Allowed { origin: HeaderValue::from_str(origin).unwrap(), credentials });
        assert_eq!(judge(&config, "https://editor.example"), allowed("https://editor.example", false));
        for foreign in ["https://editor.example.evil", "http://editor.example", "https://editor.example:8443"] {
            assert_eq!(judge(&config, foreign), Err(HttpError::OriginNotAllowed), "{foreign}");
        }
        assert_eq!(judge(&open(&["*"]), "https://evil.example"), allowed("*", false));
        let mut config = open(&["https://editor.example", "*"]);
        config.server.allow_credentials = true;
        assert_eq!(judge(&config, "https://editor.example"), allowed("https://editor.example", true));
        assert_eq!(judge(&config, "https://evil.example"), allowed("*", false), "never both");
    }

    #[test]
    fn stars_stand_for_names_below_a_domain() {
        let config = open(&["https://*.example.com", "http://*.dev.test:3000"]);
        for good in ["https://a.example.com", "https://a.b.example.com", "HTTPS://A.Example.com", "http://x.dev.test:3000"] {
            assert!(judge(&config, good).is_ok(), "{good}");
        }
        for bad in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.com",
            "https://evil.com:1@a.example.com",
            "https://evil.com/.example.com",
            "https://evil.com?.example.com",
            "https://evil.com#.example.com",
            "http://x.dev.test",
            "http://x.dev.test:3001",
        ] {
            assert_eq!(judge(&config, bad), Err(HttpError::OriginNotAllowed), "{bad}");
        }
    }

    #[test]
    fn what_the_browser_says_comes_before_comparing_hosts() {
        let judge = |site: &str, origin: &str| {
            let headers = headers(&[("origin", origin), ("host", "behind-a-proxy:80"), ("sec-fetch-site", site)]);
            Origins::new(&open(&[])).judge(&headers)
        };
        assert_eq!(judge("same-origin", "https://hub.example"), Ok(Page::Own));
        for site in ["cross-site", "same-site", "none", "whatever"] {
            assert_eq!(judge(site, "http://behind-a-proxy:80"), Err(HttpError::OriginNotAllowed), "{site}");
        }
    }

    #[test]
    fn a_foreign_name_for_this_machine_is_no_origin_of_ours() {
        let origins = Origins::new(&Config::default());
        let judge = |host: &str, site: Option<&str>| {
            let origin = format!("http://{host}");
            let mut pairs = vec![("origin", &*origin), ("host", host)];
            pairs.extend(site.map(|site| ("sec-fetch-site", site)));
            origins.judge(&headers(&pairs))
        };
        for own in ["localhost:4400", "127.0.0.1:4400", "[::1]:4400", "LOCALHOST", "127.0.0.2"] {
            assert_eq!(judge(own, None), Ok(Page::Own), "{own}");
            assert_eq!(origins.judge_request(&headers(&[("host", own)])), Ok(Page::Own), "{own}");
        }
        for foreign in ["evil.example:4400", "localhost.evil.example", "127.0.0.1.evil.example:4400", "[::2]:4400"] {
            for site in [None, Some("same-origin")] {
                assert_eq!(judge(foreign, site), Err(HttpError::OriginNotAllowed), "{foreign}");
            }
            // Reading of the same origin comes without an origin.
            let read = headers(&[("host", foreign)]);
            assert_eq!(origins.judge_request(&read), Err(HttpError::OriginNotAllowed), "{foreign}");
            assert_eq!(Origins::new(&open(&[])).judge_request(&read), Ok(Page::Own), "{foreign}");
        }
        assert_eq!(origins.judge_request(&HeaderMap::new()), Ok(Page::Own));
    }
}
