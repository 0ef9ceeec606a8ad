//! Where a request comes from: its peer, or, behind proxies that are named, whom they say.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use actix_http::{RequestHead, header::HeaderMap};
use ipnet::{IpNet, Ipv4Net};

use crate::{Config, config::TrustedHeader};

/// A chain of proxies is followed so far. Nobody has more, and each costs a look at all trusted networks.
const MAX_HOPS: usize = 32;
/// The bits before an address of IPv4 that is written as one of IPv6: `::ffff:192.0.2.1`.
const MAPPED_BITS: u8 = 96;

/// Who sent a request, as far as their address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Their address; 0.0.0.0 if it is not known.
    pub(crate) address: IpAddr,
}

impl Client {
    /// What they are told apart by: the address, and of IPv6 its network /64, because whoever has one address there has them all.
    pub(crate) fn key(self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => self.address,
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        }
    }
}

/// Whose word on addresses counts. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    trusted: Vec<IpNet>,
    header: TrustedHeader,
}

impl Proxies {
    pub(crate) fn new(config: &Config) -> Self {
        let trusted = config.server.trusted_proxies.iter().filter_map(|text| network(text)).collect();
        Self(Arc::new(Rules { trusted, header: config.server.trusted_header }))
    }

    /// Is this address that of a proxy that is trusted?
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.trusted.iter().any(|network| network.contains(&address))
    }

    /// Who sent the request with this head.
    pub(crate) fn client(&self, head: &RequestHead) -> Client {
        self.client_behind(head.peer_addr, head.headers())
    }

    /// What stands at the right was added last. From there on each is believed as long as the one who said it is trusted; so nobody
    /// can say of themselves what a proxy has not seen. What cannot be read is nobody's word: then it is the peer.
    fn client_behind(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Client {
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip().to_canonical());
        let mut address = peer;
        if !self.trusts(address) {
            return Client { address };
        }
        let lines: Vec<&[u8]> = headers.get_all(self.0.header.name()).map(|line| line.as_bytes()).collect();
        // Hop by hop: what stands left of the first who is not trusted is not looked at, whatever bytes a client has put there.
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')).take(MAX_HOPS) {
            match str::from_utf8(hop).ok().and_then(|hop| self.0.header.address(hop.trim())) {
                Some(said) => address = said.to_canonical(),
                None => return Client { address: peer },
            }
            if !self.trusts(address) {
                break;
            }
        }
        Client { address }
    }
}

/// A network, or one address, as the configuration has it. One of IPv4 that is written as IPv6 is that of IPv4, as addresses are looked
/// at in that form; `None` if it is wider than that, for then it would hold nobody.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let network: IpNet = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    match network {
        IpNet::V6(wide) => match wide.addr().to_ipv4_mapped() {
            Some(address) => Ipv4Net::new(address, wide.prefix_len().checked_sub(MAPPED_BITS)?).ok().map(IpNet::V4),
            None => Some(network),
        },
        IpNet::V4(_) => Some(network),
    }
}

impl TrustedHeader {
    fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The address in one element of the header.
    fn address(self, hop: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => address(hop),
            // RFC 7239, 4: `for=192.0.2.60;proto=http`, `for="[2001:db8::1]:4711"`.
            Self::Forwarded => {
                let mut pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
                let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
                let node = node.trim();
                address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
            }
        }
    }
}

/// An address with or without a port, that of IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderName, HeaderValue};

    use super::*;

    fn client(proxies: &Proxies, peer: &str, headers: &[(&str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        client_of_bytes(proxies, peer, &headers)
    }

    fn client_of_bytes(proxies: &Proxies, peer: &str, headers: &[(&str, &[u8])]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        proxies.client_behind(Some(SocketAddr::new(peer.parse().unwrap(), 1)), &map).address.to_string()
    }

    fn proxies(trusted: &[&str], header: TrustedHeader) -> Proxies {
        let mut config = Config::default();
        config.server.trusted_proxies = trusted.iter().map(|text| (*text).to_owned()).collect();
        config.server.trusted_header = header;
        Proxies::new(&config)
    }

    #[test]
    fn only_who_is_trusted_is_believed_and_no_further_than_that() {
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8", "192.0.2.7"], TrustedHeader::XForwardedFor);
        let client = |peer: &str, lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            client(&proxies, peer, &lines)
        };
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "nobody says it of themselves");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &["6.6.6.6, 198.51.100.1"]), "198.51.100.1", "what stands before it is the client's own");
        assert_eq!(client("10.1.2.3", &["6.6.6.6, 198.51.100.1, 192.0.2.7,10.9.9.9"]), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &["6.6.6.6", "198.51.100.1", "10.9.9.9"]), "198.51.100.1", "lines are one list");
        assert_eq!(client("10.1.2.3", &["10.4.4.4, 10.5.5.5"]), "10.4.4.4", "all are proxies: the first of them");
        assert_eq!(client("::ffff:10.1.2.3", &["::ffff:198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.1.2.3", &["198.51.100.1:80"]), "198.51.100.1");
        for broken in ["", "unknown", "198.51.100", "1.2.3.4,", "198.51.100.1;x", "evil, 10.0.0.1"] {
            assert_eq!(client("10.1.2.3", &[broken]), "10.1.2.3", "{broken:?}");
        }
        let long = ["10.0.0.1"; 1_000].join(",");
        assert_eq!(client("10.1.2.3", &[&format!("6.6.6.6,{long}")]), "10.0.0.1");
    }

    /// Nobody hides behind the proxy by bytes that no address has.
    #[test]
    fn what_a_client_puts_before_is_not_looked_at_whatever_its_bytes() {
        for (header, name, said) in [
            (TrustedHeader::XForwardedFor, "x-forwarded-for", "198.51.100.1"),
            (TrustedHeader::Forwarded, "forwarded", "for=198.51.100.1"),
        ] {
            let proxies = proxies(&["10.0.0.0/8"], header);
            let of = |lines: &[&[u8]]| {
                let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
                client_of_bytes(&proxies, "10.1.2.3", &lines)
            };
            assert_eq!(of(&[&[b"\xff, ", said.as_bytes()].concat()]), "198.51.100.1");
            assert_eq!(of(&[b"\xc3\xa4", said.as_bytes()]), "198.51.100.1");
            assert_eq!(of(&[&[said.as_bytes(), b",\xff"].concat()]), "10.1.2.3", "a proxy that says what cannot be read");
        }
    }

    #[test]
    fn a_network_of_ipv4_is_one_however_it_is_written() {
        let said = |text: &str| network(text).map(|network| network.to_string());
        assert_eq!(said("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(said("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(said("fd00::/8").as_deref(), Some("fd00::/8"));
        for wrong in ["::ffff:0:0/95", "::ffff:10.0.0.0/8", "10.0.0.0/33", "proxy"] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        assert!(proxies(&["::ffff:10.0.0.0/104"], TrustedHeader::XForwardedFor).trusts("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn one_header_counts_and_the_other_is_anybodys() {
        let proxies = proxies(&["10.0.0.0/8"], TrustedHeader::Forwarded);
        let of = |line: &str| client(&proxies, "10.0.0.1", &[("forwarded", line), ("x-forwarded-for", "6.6.6.6")]);
        assert_eq!(of("for=198.51.100.1;proto=https"), "198.51.100.1");
        assert_eq!(of("proto=https; For=\"[2001:db8::1]:80\", for=10.0.0.2"), "2001:db8::1");
        for broken in ["for=_hidden", "for=unknown", "proto=https", "198.51.100.1"] {
            assert_eq!(of(broken), "10.0.0.1", "{broken}");
        }
    }

    #[test]
    fn clients_of_one_network_are_one() {
        let key = |text: &str| Client { address: text.parse().unwrap() }.key().to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
    }
}
