//! The upgrade: origin, room from the path, and what the query asks for.
//!
//! Path: `/{prefix}/ws/v1/{org}/{docid}`, query: `branch`, `gc`, `customAttributions`, and `user` while nobody has to say
//! who they are.

use std::{borrow::Cow, sync::Arc};

use actix_http::RequestHead;
use yhub_actors::SessionParams;
use yhub_core::{
    Author, Variant,
    access::{Right, Target},
};

use crate::{
    Config, author,
    doorkeeper::Doorkeeper,
    http::HttpError,
    names::{Names, query_pair},
    origin::Origins,
};

/// Lets requests in, or says why not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Rules>);

struct Rules {
    prefix: String,
    origins: Origins,
    names: Names,
    doorkeeper: Doorkeeper,
}

impl Gate {
    pub(crate) fn new(config: &Config, doorkeeper: Doorkeeper) -> Self {
        Self(Arc::new(Rules {
            prefix: format!("/{}/ws/v1/", config.server.prefix),
            origins: Origins::new(config),
            names: Names::new(config),
            doorkeeper,
        }))
    }

    /// Which pages may talk to the hub.
    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// What a connection becomes, from its request alone.
    pub(crate) async fn check(&self, head: &RequestHead) -> Result<SessionParams, HttpError> {
        let rooms = head.uri.path().strip_prefix(&self.0.prefix).ok_or(HttpError::NotFound)?;
        self.check_room(head, rooms).await
    }

    /// The same, where `rooms` is the rest of the path: `{org}/{docid}`.
    pub(crate) async fn check_room(&self, head: &RequestHead, rooms: &str) -> Result<SessionParams, HttpError> {
        let (org, docid) = match rooms.split_once('/') {
            Some((org, docid)) if !docid.contains('/') => (org, docid),
            _ => return Err(HttpError::NotFound),
        };
        if let Err(refused) = self.0.origins.judge(head.headers()) {
            let room = self.0.names.room(org, docid, None).ok();
            self.0.doorkeeper.refused_page(head, room.as_ref().map_or(Target::Hub, Target::Room), &refused);
            return Err(refused);
        }
        let query = Query::parse(head.uri.query().unwrap_or(""))?;
        let room = self.0.names.room(org, docid, query.branch.as_deref())?;
        let variant = if query.gc { Variant::Gc } else { Variant::Nongc };
        let place = Target::Room(&room);
        let caller = self.0.doorkeeper.identify(head, query.user.as_deref(), place).await?;
        let allowed = self.0.doorkeeper.access(&caller, place, Right::Read).await?;
        let user = self.0.doorkeeper.author(&caller, place, query.user).await?;
        let pass = self.0.doorkeeper.pass(&caller, &room, allowed.access.level);
        Ok(SessionParams {
            room,
            variant,
            level: allowed.access.level,
            expires_at_ms: allowed.expires_ms,
            who: caller.who,
            author: Author { user, custom: query.custom },
            pass,
        })
    }
}

struct Query {
    branch: Option<String>,
    gc: bool,
    custom: Vec<(String, String)>,
    user: Option<String>,
}

impl Query {
    /// Reads `a=b&c=d`, the first of each name; `+` is a space, as `URLSearchParams` writes it. Unknown names are left alone:
    /// clients put their own there.
    fn parse(query: &str) -> Result<Self, HttpError> {
        let mut found = Self { branch: None, gc: true, custom: Vec::new(), user: None };
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        let is_ours = |pair: &&str| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            matches!(name, "branch" | "gc" | "customAttributions" | "user")
        };
        for pair in query.split('&').filter(is_ours) {
            let (name, value) = query_pair(pair)?;
            if seen.contains(&name) {
                continue;
            }
            seen.push(name.clone());
            match &*name {
                "branch" => found.branch = Some(value),
                "gc" => found.gc = value != "false",
                "user" => found.user = Some(author::user(value)?),
                _ => found.custom = author::custom(&value)?,
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::{self, HeaderName, HeaderValue};
    use futures_util::FutureExt;
    use yhub_core::{RoomId, SystemClock, TimeSource, access::Level};
    use yhub_store::{MemoryTickets, TicketBound};
    use yhub_store_sql::{SqliteDocs, SqliteDocsOptions};

    use super::*;
    use yhub_core::limiting::Limiting;

    use crate::{audit::Audit, issued::Issued, limiting::AuthGuard, peer::Proxies};

    fn head(uri: &str, headers: &[(HeaderName, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.uri = uri.parse().unwrap();
        head.peer_addr = Some("127.0.0.1:4711".parse().unwrap());
        for (name, value) in headers {
            head.headers_mut().insert(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        head
    }

    fn check(config: &Config, head: RequestHead) -> Result<SessionParams, HttpError> {
        let time: Arc<dyn TimeSource> = Arc::new(SystemClock);
        let dir = tempfile::tempdir().unwrap();
        let tokens = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir.path())).unwrap());
        let tickets = Arc::new(MemoryTickets::new(TicketBound::default(), time.clone()));
        let (audit, _) = Audit::new(tokens.clone(), time.clone());
        let guard = AuthGuard::new(config, Proxies::new(config), &Limiting::default());
        let issued = Issued::new(tokens, tickets, time.clone());
        let gate = Gate::new(config, Doorkeeper::new(config, issued, audit, &time, guard).unwrap());
        let params = gate.check(&head).now_or_never();
        params.expect("nobody is asked where everybody may come in")
    }

    fn room(config: &Config, uri: &str) -> Result<RoomId, HttpError> {
        check(config, head(uri, &[])).map(|params| params.room)
    }

    #[test]
    fn the_room_is_in_the_path_and_each_segment_is_decoded_once() {
        let config = Config::default();
        let of = |uri: &str| room(&config, uri);
        assert_eq!(of("/api/ws/v1/acme/notes"), Ok(RoomId::new("acme", "notes", "main")));
        assert_eq!(of("/api/ws/v1/a%2Fb/c%2520d?branch=x%20y"), Ok(RoomId::new("a/b", "c%20d", "x y")));
        for missing in ["/api/ws/v1/acme", "/api/ws/v1/a/b/c", "/other/ws/v1/a/b", "/api/ws/v2/a/b"] {
            assert_eq!(of(missing), Err(HttpError::NotFound), "{missing}");
        }
        let long = format!("/api/ws/v1/a/{}", "x".repeat(513));
        for bad in
            ["/api/ws/v1/a/%", "/api/ws/v1/a/%zz", "/api/ws/v1/a/%ff", "/api/ws/v1//b", "/api/ws/v1/a/", "/api/ws/v1/a/%00"]
        {
            assert!(matches!(of(bad), Err(HttpError::BadRequest { .. })), "{bad}");
        }
        assert!(matches!(of(&long), Err(HttpError::BadRequest { .. })));
        assert!(matches!(of("/api/ws/v1/a/b?branch="), Err(HttpError::BadRequest { .. })));
        // It stands for every org, where rights are said.
        for all in ["/api/ws/v1/*/b", "/api/ws/v1/%2A/b"] {
            assert!(matches!(of(all), Err(HttpError::BadRequest { .. })), "{all}");
        }
        assert_eq!(of("/api/ws/v1/a*/*"), Ok(RoomId::new("a*", "*", "main")));
    }

    /// Also where it is mounted, in a server that listens wherever it likes.
    #[test]
    fn a_hub_that_is_open_by_default_is_open_to_its_own_machine() {
        let from = |config: &Config, peer: Option<&str>| {
            let mut head = head("/api/ws/v1/a/b", &[]);
            head.peer_addr = peer.map(|peer| peer.parse().unwrap());
            check(config, head).map(drop)
        };
        let config = Config::default();
        for own in ["127.0.0.1:1", "127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(from(&config, Some(own)), Ok(()), "{own}");
        }
        for other in [Some("203.0.113.1:1"), Some("10.0.0.1:1"), Some("[fe80::1]:1"), None] {
            assert_eq!(from(&config, other), Err(HttpError::OwnMachineOnly), "{other:?}");
        }
        let mut config = Config::default();
        config.auth.everyone = Some(crate::config::Everyone::MayRead);
        assert_eq!(from(&config, Some("203.0.113.1:1")), Ok(()));
    }

    #[test]
    fn raw_names_stay_as_they_arrive() {
        let mut config = Config::default();
        config.server.raw_room_names = true;
        assert_eq!(room(&config, "/api/ws/v1/a%2Fb/c%zz"), Ok(RoomId::new("a%2Fb", "c%zz", "main")));
        assert!(room(&config, "/api/ws/v1//b").is_err());
    }

    #[test]
    fn the_query_says_branch_variant_author_and_attributions() {
        let config = Config::default();
        let params = check(&config, head("/api/ws/v1/a/b?gc=false&customAttributions=k%3Av%2Cx&user=ann&yauth=1", &[])).unwrap();
        assert_eq!(params.variant, Variant::Nongc);
        assert_eq!(params.author.user, "ann");
        assert_eq!(params.author.custom, [("k", "v"), ("x", "")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        let plain = check(&config, head("/api/ws/v1/a/b?gc=0", &[])).unwrap();
        assert_eq!((plain.variant, plain.author.user.as_str(), plain.level), (Variant::Gc, "anonymous", Level::Write));
    }

    #[test]
    fn pages_of_other_origins_stay_outside() {
        let check = |origin: &str| {
            let head = head("/api/ws/v1/a/b", &[(header::ORIGIN, origin), (header::HOST, "localhost:4400")]);
            check(&Config::default(), head).map(|_| ())
        };
        assert_eq!(check("http://localhost:4400"), Ok(()));
        assert_eq!(check("https://evil.example"), Err(HttpError::OriginNotAllowed));
    }
}
