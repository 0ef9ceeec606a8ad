//! Who is let in, and to what: the one door of WebSocket connections and of requests over HTTP.
//!
//! Signed tokens, the application's back end and open doors are asked through `yhub_auth`; what the hub has issued itself is
//! looked at by [`Issued`]. A connection keeps a [`Pass`] by which it is looked at again while it is open.

use std::sync::{Arc, Mutex, PoisonError};

use actix_http::RequestHead;
use futures_util::{FutureExt, future::BoxFuture};
use yhub_actors::Pass;
use yhub_auth::{Allowed, AuthError, Authenticator, Caller as Shown, Secret};
use yhub_core::{
    Checked, Freshness, RoomId, TimeSource,
    access::{Access, Grants, Identity, Level, Purpose, Right, Target, Via},
};
use yhub_store::AuditRecord;

use crate::{
    Config,
    audit::{Audit, Origin},
    auth::authenticator,
    config::AuthMode,
    credentials::{self, Place},
    http::HttpError,
    issued::{self, Issued},
    limiting::AuthGuard,
    peer::Client,
};

/// Lets callers in, or says why not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doorkeeper(Arc<Rules>);

struct Rules {
    auth: Authenticator,
    issued: Issued,
    audit: Audit,
    /// Are access tokens of this hub taken?
    takes_tokens: bool,
    /// Need nobody show anything, so that nobody looks at what they show?
    only_open: bool,
    /// Is nobody let in who comes from another machine?
    own_machine_only: bool,
    guard: AuthGuard,
}

/// Somebody who was let in.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Who they are.
    pub(crate) who: Arc<Identity>,
    /// Where their request came from.
    pub(crate) origin: Arc<Origin>,
    shown: Shown,
    credential: Option<Secret>,
}

impl Caller {
    /// When what they have shown ends, in milliseconds since 1970.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.shown.expires_ms
    }

    /// What they bring along; `None` if somebody else is asked what they may do.
    pub(crate) fn grants(&self) -> Option<&Grants> {
        self.shown.grants.as_ref()
    }
}

impl Doorkeeper {
    /// As `config` says.
    ///
    /// # Errors
    /// If keys or addresses in it cannot be used.
    pub(crate) fn new(
        config: &Config,
        issued: Issued,
        audit: Audit,
        time: &Arc<dyn TimeSource>,
        guard: AuthGuard,
    ) -> anyhow::Result<Self> {
        let (auth, modes) = (authenticator(config, everyone(config), time)?, &config.auth.mode);
        let (takes_tokens, only_open) = (modes.contains(AuthMode::Token), modes.is_open_only());
        let own_machine_only = config.auth.is_for_own_machine();
        Ok(Self(Arc::new(Rules { auth, issued, audit, takes_tokens, only_open, own_machine_only, guard })))
    }

    /// Where records of what callers do go.
    pub(crate) fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// What the hub has issued itself.
    pub(crate) fn issued(&self) -> &Issued {
        &self.0.issued
    }

    /// Keeps fresh what is known of others; never ends.
    pub(crate) async fn keep_fresh(&self) {
        self.0.auth.keep_fresh().await;
    }

    /// Who sends this request for something at `place`. `user` is who they say they are where nobody has to show it.
    ///
    /// # Errors
    /// 401 if they show nothing or something that is not valid, 403 if they are known and may nothing, or come from another machine to
    /// a hub for its own alone, 503 if that cannot be found out.
    pub(crate) async fn identify(&self, head: &RequestHead, user: Option<&str>, place: Target<'_>) -> Result<Caller, HttpError> {
        let client = self.0.guard.client(head);
        let origin = Arc::new(self.origin(head));
        if !self.0.only_open {
            self.0.guard.may_try(client)?;
        }
        let caller = if self.0.own_machine_only && !is_own_machine(head) {
            Err(HttpError::OwnMachineOnly)
        } else {
            self.identified(head, user, place, client, origin.clone()).await
        };
        if let Err(error) = &caller {
            self.record_refusal(None, place, error, &origin);
        }
        caller
    }

    /// Where a request comes from, under a name of its own.
    fn origin(&self, head: &RequestHead) -> Origin {
        let client = self.0.guard.client(head);
        Origin {
            request_id: uuid::Uuid::new_v4().simple().to_string(),
            address: head.peer_addr.map(|_| client.address.to_string()),
        }
    }

    /// Leaves a record that a page may not talk to the hub, by which this request was sent.
    pub(crate) fn refused_page(&self, head: &RequestHead, place: Target<'_>, error: &HttpError) {
        self.record_refusal(None, place, error, &self.origin(head));
    }

    /// Leaves a record that a caller may not do what they ask for.
    pub(crate) fn refused(&self, caller: &Caller, place: Target<'_>, error: &HttpError) {
        self.record_refusal(Some(&caller.who), place, error, &caller.origin);
    }

    /// Leaves a record, if this error says that somebody may not do something, and not that something does not work.
    fn record_refusal(&self, who: Option<&Identity>, place: Target<'_>, error: &HttpError, origin: &Origin) {
        let (result, detail) = match error {
            HttpError::Unauthorized { why } => ("refused", why.clone()),
            HttpError::OriginNotAllowed | HttpError::OwnMachineOnly => ("refused", error.to_string()),
            HttpError::NoAccess { needs } => ("denied", format!("needs {needs}")),
            HttpError::Beyond { what } => ("denied", format!("wants to give more than they have: {what}")),
            _ => return,
        };
        self.0.audit.refused(AuditRecord { detail, ..self.0.audit.record(who, "denied", place, result, origin) });
    }

    async fn identified(
        &self,
        head: &RequestHead,
        user: Option<&str>,
        place: Target<'_>,
        client: Client,
        origin: Arc<Origin>,
    ) -> Result<Caller, HttpError> {
        let refused = |error: AuthError| {
            // Neither who shows nothing nor who comes with what was good has guessed.
            match error {
                AuthError::Refused { .. } => self.0.guard.failed(client),
                AuthError::Unavailable { answered: true, .. } => self.0.guard.unclear(client),
                _ => {}
            }
            of_auth(&error, Right::Read)
        };
        let shown = if self.0.only_open { None } else { credentials::of_request(head)? };
        let credential = match shown {
            None => None,
            // An address stays in histories and logs: what lasts must not stand there.
            Some((text, Place::Address)) if issued::is_ours(&text) && !issued::is_ticket(&text) => {
                return Err(HttpError::Unauthorized {
                    why: "access tokens are not taken from addresses; send it in a header, or ask for a ticket with it".into(),
                });
            }
            Some((text, _)) => Some(Secret::new(&text).map_err(refused)?),
        };
        let mut caller = self.0.recognise(credential, place, Freshness::Cached, origin).await.map_err(refused)?;
        if let (Via::Open, Some(user)) = (caller.who.via, user) {
            caller.who = Arc::new(Identity::anonymous(user));
        }
        Ok(caller)
    }

    /// What a caller may do at `place`, who must have `right` there, and until when, in milliseconds since 1970.
    ///
    /// # Errors
    /// 403 if they have not, 401 if what they have shown has ended, 503 if that cannot be found out.
    pub(crate) async fn access(&self, caller: &Caller, place: Target<'_>, right: Right) -> Result<Allowed, HttpError> {
        let purpose = if let Right::Purpose(purpose) = right { Some(purpose) } else { None };
        let allowed = self.0.auth.access(&caller.shown, place, purpose, Freshness::Cached).await;
        let allowed = allowed.map_err(|error| of_auth(&error, right)).and_then(|allowed| match allowed.access.allows(right) {
            true => Ok(allowed),
            false => Err(HttpError::NoAccess { needs: right.name() }),
        });
        if let Err(error) = &allowed {
            self.refused(caller, place, error);
        }
        allowed
    }

    /// In whose name a caller writes who asks to write in that of `user`.
    ///
    /// # Errors
    /// 403 if it is another's, and they may not.
    pub(crate) async fn author(&self, caller: &Caller, place: Target<'_>, user: Option<String>) -> Result<String, HttpError> {
        match user {
            Some(user) if user != caller.who.user => {
                self.access(caller, place, Right::Purpose(Purpose::ActAs)).await?;
                Ok(user)
            }
            _ => Ok(caller.who.user.clone()),
        }
    }

    /// What lets a caller stay in a room, who came in as far as `level`.
    pub(crate) fn pass(&self, caller: &Caller, room: &RoomId, level: Level) -> Arc<dyn Pass> {
        Arc::new(RoomPass { rules: self.0.clone(), room: room.clone(), known: Mutex::new((caller.clone(), level)) })
    }
}

impl Rules {
    async fn recognise(
        &self,
        credential: Option<Secret>,
        place: Target<'_>,
        freshness: Freshness,
        origin: Arc<Origin>,
    ) -> Result<Caller, AuthError> {
        let shown = match &credential {
            Some(secret) if issued::is_ours(secret.expose()) && !self.takes_tokens && !issued::is_ticket(secret.expose()) => {
                return Err(AuthError::Refused { why: "this hub takes no access tokens".into() });
            }
            Some(secret) if issued::is_ours(secret.expose()) => self.issued.caller(secret.expose(), freshness).await?,
            credential => self.auth.authenticate(credential.as_ref(), place, freshness).await?,
        };
        // A ticket is used up: what counts from here on is what it said.
        let credential = credential.filter(|_| shown.identity.via != Via::Ticket);
        Ok(Caller { who: Arc::new(shown.identity.clone()), origin, shown, credential })
    }

    /// What somebody may do in a room after all; what they have shown is looked at again if it is to be fresh.
    async fn again(&self, caller: &Caller, room: &RoomId, freshness: Freshness) -> Result<(Caller, Allowed), AuthError> {
        let place = Target::Room(room);
        let found = match &caller.credential {
            Some(credential) if freshness == Freshness::Fresh => {
                let found = self.recognise(Some(credential.clone()), place, freshness, caller.origin.clone()).await?;
                same_user(caller, found)?
            }
            _ => {
                self.issued.still(&caller.shown.identity, freshness).await?;
                caller.clone()
            }
        };
        let allowed = self.auth.access(&found.shown, place, None, freshness).await?;
        Ok((found, allowed))
    }
}

/// Nobody becomes somebody else on an open connection.
fn same_user(before: &Caller, now: Caller) -> Result<Caller, AuthError> {
    if before.shown.identity.user == now.shown.identity.user {
        Ok(now)
    } else {
        Err(AuthError::Refused { why: "it is another user's".into() })
    }
}

/// What has let somebody into a room.
struct RoomPass {
    rules: Arc<Rules>,
    room: RoomId,
    /// Who they are, and how far they may go.
    known: Mutex<(Caller, Level)>,
}

impl RoomPass {
    fn caller(&self) -> Caller {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Leaves a record that they may not stay as they came.
    fn ended(&self, caller: &Caller, detail: String) {
        let audit = &self.rules.audit;
        let record = audit.record(Some(&caller.who), "session.end", Target::Room(&self.room), "denied", &caller.origin);
        audit.refused(AuditRecord { detail, ..record });
    }

    /// What follows from an answer, and who they are from now on.
    fn found(&self, found: Result<(Caller, Allowed), AuthError>) -> Checked {
        match found {
            Ok((caller, allowed)) => {
                let level = if allowed.access.allows(Right::Read) { allowed.access.level } else { Level::None };
                let known = (caller.clone(), level);
                let before = std::mem::replace(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner), known).1;
                if level < before {
                    // Less ends the session; they may come back with it.
                    self.ended(&caller, format!("the access is {} now, and was {}", in_words(level), in_words(before)));
                }
                Checked::May { level, expires_ms: allowed.expires_ms }
            }
            Err(AuthError::Unavailable { .. }) => Checked::Unavailable,
            Err(error) => {
                self.ended(&self.caller(), error.to_string());
                Checked::Refused
            }
        }
    }
}

impl Pass for RoomPass {
    fn check(self: Arc<Self>, freshness: Freshness) -> BoxFuture<'static, Checked> {
        async move {
            let again = self.rules.again(&self.caller(), &self.room, freshness).await;
            self.found(again)
        }
        .boxed()
    }

    fn renew(self: Arc<Self>, token: String) -> BoxFuture<'static, Checked> {
        async move {
            if self.rules.only_open {
                return self.check(Freshness::Cached).await;
            }
            let renewed = async {
                let place = Target::Room(&self.room);
                let before = self.caller();
                let token = Some(Secret::new(&token)?);
                let found = self.rules.recognise(token, place, Freshness::Fresh, before.origin.clone()).await?;
                let found = same_user(&before, found)?;
                let allowed = self.rules.auth.access(&found.shown, place, None, Freshness::Fresh).await?;
                Ok((found, allowed))
            };
            let renewed = renewed.await;
            self.found(renewed)
        }
        .boxed()
    }

    fn who(&self) -> Option<Arc<Identity>> {
        Some(self.caller().who)
    }
}

/// Does this request come from this machine? One whose peer is not known may come from anywhere.
fn is_own_machine(head: &RequestHead) -> bool {
    head.peer_addr.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

fn in_words(level: Level) -> &'static str {
    match level {
        Level::None => "none",
        Level::Read => "to read",
        Level::Write => "to read and write",
    }
}

/// What is answered to who is not let in, who wants to do what takes `right`.
fn of_auth(error: &AuthError, right: Right) -> HttpError {
    match error {
        AuthError::Missing | AuthError::Refused { .. } | AuthError::Expired => HttpError::Unauthorized { why: error.to_string() },
        AuthError::Denied => HttpError::NoAccess { needs: right.name() },
        AuthError::Unavailable { .. } => {
            log::warn!("a caller is told to come again: {error}");
            HttpError::Unavailable
        }
    }
}

/// What everybody may do while nobody has to show who they are.
fn everyone(config: &Config) -> Access {
    let named = config.auth.purposes.iter().filter_map(|name| Purpose::of_name(name));
    if config.auth.may_write() {
        // Whoever says of themselves who they are writes in whatever name they like.
        Access { level: Level::Write, purposes: named.chain([Purpose::ActAs]).collect() }
    } else {
        Access { level: Level::Read, purposes: named.filter(|purpose| !Right::Purpose(*purpose).changes()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use yhub_core::{ManualTime, limiting::Limiting};
    use yhub_encoding::Object;
    use yhub_store::{AuditFilter, AuditStore, MemoryTickets, TicketBound};
    use yhub_store_sql::{SqliteDocs, SqliteDocsOptions};

    use super::*;
    use crate::peer::Proxies;

    /// What ended between the door and the room.
    #[tokio::test]
    async fn a_credential_that_ends_at_the_last_moment_is_refused_and_recorded() {
        let (dir, config, manual) = (tempfile::tempdir().unwrap(), Config::default(), Arc::new(ManualTime::new(1_000)));
        let time: Arc<dyn TimeSource> = manual.clone();
        let docs = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir.path())).unwrap());
        let tickets = Arc::new(MemoryTickets::new(TicketBound::default(), time.clone()));
        let (audit, gather) = Audit::new(docs.clone(), time.clone());
        let guard = AuthGuard::new(&config, Proxies::new(&config), &Limiting::default());
        let issued = Issued::new(docs.clone(), tickets, time.clone());
        let doorkeeper = Doorkeeper::new(&config, issued, audit, &time, guard).unwrap();
        let identity = Identity { user: "ann".to_owned(), claims: Object::new(), via: Via::Jwt };
        let shown = Shown::new(identity.clone(), Some(Grants::everywhere(Access::ADMIN)), Some(2_000));
        let caller = Caller { who: Arc::new(identity), origin: Arc::default(), shown, credential: None };
        let room = RoomId::new("org", "doc", "main");
        assert!(doorkeeper.access(&caller, Target::Room(&room), Right::Read).await.is_ok());
        manual.advance(std::time::Duration::from_secs(1));
        let ended = doorkeeper.access(&caller, Target::Room(&room), Right::Read).await;
        assert!(matches!(ended, Err(HttpError::Unauthorized { .. })), "{:?}", ended.err());
        drop(doorkeeper);
        gather.await;
        let records = docs.page(&AuditFilter::default(), None, 10).await.unwrap().records;
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!((record.actor.as_str(), record.action.as_str(), record.result.as_str()), ("ann", "denied", "refused"));
        assert!(record.detail.contains("expired"), "{}", record.detail);
    }
}
