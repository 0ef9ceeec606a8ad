//! `[server]`: how clients reach the hub, and what one connection may cost.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    error::Problem,
    section::{Millis, section, words},
};
use crate::peer::network;

/// The header by which proxies that are trusted say who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

words!(TrustedHeader: "\"x-forwarded-for\" or \"forwarded\"");

section! {
    /// How clients reach the hub, and what one connection may cost.
    Server = "server" {
        /// The address and port to listen on. Port 0 takes a free one.
        /// While nobody has to identify themselves (see `[auth]`), only loopback addresses are taken.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4400));
        /// The first segment of the paths of the API: clients connect to `ws://HOST/{prefix}/ws/v1/{org}/{docid}`.
        prefix: String = "api".to_owned();
        /// Take org and docid as they stand in the path, without decoding `%20` and the like.
        /// Needed only to go on with the data of a y/hub, which stores them so.
        raw_room_names: bool = false;
        /// The web origins whose pages may connect and ask, besides the hub's own: exact origins such as
        /// `https://editor.example`, all below a domain such as `https://*.example.com`, or `*` for every page on the web. A port
        /// that is not the scheme's own is spelled out. Clients that are no browsers are not concerned.
        allowed_origins: Vec<String> = Vec::new();
        /// May those pages send cookies and the like with what they ask over HTTP? Never together with `*`.
        allow_credentials: bool = false;
        /// The proxies in front of the hub, as networks or addresses: `10.0.0.0/8`, `::1`. Only what they say of who asks is believed;
        /// without them everybody behind a proxy counts as one address.
        trusted_proxies: Vec<String> = Vec::new();
        /// In which header they say it: "x-forwarded-for" or "forwarded". The other one is not looked at, as clients can set it.
        trusted_header: TrustedHeader = TrustedHeader::XForwardedFor;
        /// Where the hub answers `GET /metrics` for Prometheus, on a listener of its own. Nobody is asked there who they are, so an
        /// address that only those reach who may know: best a loopback address.
        metrics: Option<SocketAddr> = None;
        /// The head of a request must have come by then.
        head_timeout_ms: Millis = Millis::new(5_000), 1_000..=600_000;
        /// Bytes of the head of a request. A longer one is refused with 431.
        max_head_bytes: usize = 128 << 10, 1 << 10..=128 << 10;
        /// A client that takes none of an answer over HTTP for so long is cut off: it holds memory of `limits.answer_bytes`.
        write_timeout_ms: Millis = Millis::new(30_000), 100..=600_000;
        /// Connections that may be open at once. Further ones are refused with status 503.
        max_connections: usize = 50_000, 1..=1_000_000;
        /// Bytes of one message. A longer one closes the connection before it is read.
        max_message_bytes: usize = 64 << 20, 1 << 10..=1 << 30;
        /// Bytes that wait for one client that reads too slowly. At the bound it is closed with 1013 and syncs again.
        outbox_bytes: usize = 4 << 20, 1 << 10..=1 << 30;
        /// Bytes of one client's edits that wait to be stored. At the bound nothing more is read from it.
        inbound_bytes: usize = 1 << 20, 1 << 10..=1 << 30;
        /// An open connection is never silent for longer. Clients give up after 30 s of silence.
        keepalive_ms: Millis = Millis::new(12_000), 10..=15_000;
        /// A client that takes none of what waits for it for so long is closed with 1013.
        stall_timeout_ms: Millis = Millis::new(30_000), 100..=600_000;
        /// A client from which nothing arrives for so long, not even the answer to a ping, is taken for dead.
        idle_timeout_ms: Millis = Millis::new(45_000), 100..=3_600_000;
        /// A client that has not said by then what it holds gets the whole document.
        first_sync_ms: Millis = Millis::new(5_000), 10..=60_000;
        /// When the hub stops, connections are closed one after the other over so long, so that their clients do not all
        /// come back at one moment. 0 closes them at once.
        drain_ms: Millis = Millis::new(0), 0..=600_000;
        /// How long connections may take to end when the hub stops, after `server.drain_ms`.
        shutdown_ms: Millis = Millis::new(5_000), 0..=600_000;
        /// Threads that serve connections and rooms; 0 for one per core.
        threads: usize = 0, 0..=256;
    }
    rules: rules
}

fn rules(server: &Server, problems: &mut Vec<Problem>) {
    let prefix = &server.prefix;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(plain) || matches!(prefix.as_str(), "." | "..") {
        problems.push(Problem::new(
            "server.prefix",
            format!("is {prefix:?}"),
            "choose one path segment of 1 to 64 letters, digits, `-`, `_`, `.` or `~`, without slashes, such as \"api\"",
        ));
    } else if matches!(prefix.as_str(), "healthz" | "readyz" | "metrics") {
        problems.push(Problem::new(
            "server.prefix",
            format!("is {prefix:?}"),
            "choose another word: the hub answers about itself on this path",
        ));
    }
    for proxy in &server.trusted_proxies {
        if network(proxy).is_none() {
            let advice = "write a network or an address, such as \"10.0.0.0/8\" or \"::1\", and one of IPv4 as such";
            problems.push(Problem::new("server.trusted_proxies", format!("holds {proxy:?}"), advice));
        }
    }
    if server.metrics.is_some_and(|metrics| metrics.port() != 0 && metrics == server.listen) {
        let advice = "choose another address or port than `server.listen`: not everybody is to read them";
        problems.push(Problem::new("server.metrics", format!("is {}", server.listen), advice));
    }
    for origin in &server.allowed_origins {
        if let Some(advice) = wrong_origin(origin) {
            problems.push(Problem::new("server.allowed_origins", format!("holds {origin:?}"), advice));
        }
    }
    if server.allow_credentials && server.allowed_origins.iter().any(|origin| origin == "*") {
        problems.push(Problem::new(
            "server.allow_credentials",
            "is true, while `server.allowed_origins` holds \"*\"".to_owned(),
            "name the origins: any page on the web could otherwise act with the credentials of whoever looks at it",
        ));
    }
    if server.idle_timeout_ms <= server.keepalive_ms {
        problems.push(Problem::new(
            "server.idle_timeout_ms",
            format!("is {:?}", server.idle_timeout_ms),
            format!(
                "choose more than `server.keepalive_ms`, which is {:?}: clients are asked for a sign of life at that pace",
                server.keepalive_ms
            ),
        ));
    }
}

/// What to do about a text that no browser would ever send as an origin, and which would therefore allow nobody.
fn wrong_origin(origin: &str) -> Option<&'static str> {
    const FORM: &str = "write an origin as browsers send it, such as \"https://editor.example\" or \"http://localhost:3000\", \
                        or with a star for all names below a domain, in lower case and with neither path nor `/` at the end, or \"*\" for every page on the web";
    if origin == "*" {
        return None;
    }
    if origin == "null" {
        return Some("remove it: any page can present itself with this origin, so it says nothing");
    }
    let Some((scheme, host)) = origin.split_once("://") else { return Some(FORM) };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    // A star stands for all names below a domain that is somebody's, not for those of everybody below `com`.
    let host = match host.strip_prefix("*.") {
        Some(domain) if !domain.split(':').next().is_some_and(|name| name.contains('.')) => {
            return Some("name at least two labels behind the star, as in \"https://*.example.com\"");
        }
        Some(domain) => domain,
        None => host,
    };
    let host_fits = !host.is_empty()
        && !host.starts_with('.')
        && host
            .chars()
            .all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase() && !matches!(c, '/' | '?' | '#' | '@' | '*' | ','));
    let default_port = matches!((scheme, host.rsplit_once(':')), ("http", Some((_, "80"))) | ("https", Some((_, "443"))));
    match (scheme_fits && host_fits, default_port) {
        (false, _) => Some(FORM),
        (true, true) => Some("leave the port out: browsers do not send the default port of the scheme"),
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_only_as_browsers_send_them() {
        for good in [
            "*",
            "https://a.example",
            "https://*.example.com",
            "http://*.dev.test:3000",
            "http://localhost:3000",
            "http://[::1]:8080",
            "chrome-extension://abcdef",
            "tauri://localhost",
        ] {
            assert_eq!(wrong_origin(good), None, "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://A.example",
            "HTTPS://a.example",
            "https://*.example",
            "https://*.com:8443",
            "https://*",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://*..example.com",
            "https://*a.example.com",
            "https://*.example.com:443",
            "https://a.example:443",
            "http://a.example:80",
            "null",
            "https://u@a.example",
            "https://a.example,b",
        ] {
            assert!(wrong_origin(bad).is_some(), "{bad}");
        }
    }
}
