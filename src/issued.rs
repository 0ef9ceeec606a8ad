//! Credentials that the hub itself has issued: access tokens, which last, and tickets, which let a browser in once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use yhub_auth::{AuthError, Caller};
use yhub_core::{
    Freshness, TimeSource, UserMatcher,
    access::{Grants, Identity, MAX_USER_BYTES, TokenText, Via},
};
use yhub_encoding::{Any, Object};
use yhub_store::{AccessTokenStore, FoundToken, Notice, TicketStore};

use crate::new_token;

/// What every ticket begins with.
const TICKET: &str = "yhubt_";
/// What was found out about a token is believed for so long, unless whoever decides is to be asked now. That it is revoked is known
/// sooner: on the node that does it at once, on others when they read the notice.
const BELIEVED: Duration = Duration::from_secs(5);
/// About so many tokens at most; then all are looked up again.
const MAX_BELIEVED: usize = 10_000;
/// A store that does not answer for so long does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Whom the hub's own credentials stand for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Issued(Arc<Inner>);

struct Inner {
    tokens: Arc<dyn AccessTokenStore>,
    tickets: Arc<dyn TicketStore>,
    time: Arc<dyn TimeSource>,
    believed: Mutex<Believed>,
}

/// What was found out about tokens a short while ago.
#[derive(Default)]
struct Believed {
    /// With when, by id.
    tokens: HashMap<String, (u64, FoundToken)>,
    /// How often something was to be forgotten: what was asked for before that may be as it was before that.
    forgotten: u64,
}

impl Believed {
    fn keep(&mut self, id: &str, now_ms: u64, found: &FoundToken) {
        if self.tokens.len() >= MAX_BELIEVED {
            self.tokens.clear();
        }
        self.tokens.insert(id.to_owned(), (now_ms, found.clone()));
    }

    fn forget(&mut self, which: impl Fn(&str, &FoundToken) -> bool) {
        self.forgotten += 1;
        self.tokens.retain(|id, (_, found)| !which(id, found));
    }

    /// Those that a notice concerns. Which ones that are is known of those that name tokens, as revocations do.
    fn forget_noticed(&mut self, notice: &Notice) {
        let named = notice.users.as_ref().map(|users| users.iter().map(token_named).collect::<Option<HashSet<&str>>>());
        match named.flatten() {
            Some(ids) => self.forget(|id, _| ids.contains(id)),
            None => self.forget(|_, _| true),
        }
    }
}

/// What a ticket is to say.
pub(crate) struct TicketFor {
    /// Who comes in by it.
    pub(crate) user: String,
    /// What it gives, until the connection ends.
    pub(crate) grants: Grants,
    /// When a connection that came in by it ends, in milliseconds since 1970.
    pub(crate) expires_ms: u64,
    /// The access token by which it was made: the connection ends with it.
    pub(crate) token: Option<String>,
}

/// Does this text look like a credential of ours?
pub(crate) fn is_ours(text: &str) -> bool {
    is_ticket(text) || TokenText::is_alike(text)
}

/// Is it a ticket, which is the only one of ours that may stand in an address?
pub(crate) fn is_ticket(text: &str) -> bool {
    text.starts_with(TICKET)
}

impl Issued {
    pub(crate) fn new(tokens: Arc<dyn AccessTokenStore>, tickets: Arc<dyn TicketStore>, time: Arc<dyn TimeSource>) -> Self {
        Self(Arc::new(Inner { tokens, tickets, time, believed: Mutex::default() }))
    }

    /// Whom a text stands for that [`is_ours`]. A ticket is used up by that.
    ///
    /// # Errors
    /// If it stands for nobody, or that cannot be found out.
    pub(crate) async fn caller(&self, text: &str, freshness: Freshness) -> Result<Caller, AuthError> {
        if is_ticket(text) {
            return self.of_ticket(text).await;
        }
        let token = TokenText::parse(text).ok_or_else(|| refused("it is no whole access token"))?;
        let found = self.find(token.id(), freshness).await?;
        // The same words for what is not there and what is wrong: ids are no secret, but nobody has to be helped.
        let found = found
            .filter(|found| token.matches(&found.token.secret_hash))
            .ok_or_else(|| refused("there is no such access token"))?;
        self.alive(&found)?;
        let token = found.token;
        let mut claims = Object::default();
        claims.insert("userid", token.user.as_str().into());
        claims.insert("token", token.id.as_str().into());
        let identity = Identity { user: token.user, claims, via: Via::Token };
        Ok(Caller::new(identity, Some(token.grants), token.expires_ms))
    }

    /// Is the token still good by which somebody came in, or by which their ticket was made?
    ///
    /// # Errors
    /// If it is not, or that cannot be found out.
    pub(crate) async fn still(&self, who: &Identity, freshness: Freshness) -> Result<(), AuthError> {
        let Some(id) = token_of(who) else { return Ok(()) };
        let found = self.find(id, freshness).await?.ok_or_else(|| refused("its access token is not there any more"))?;
        self.alive(&found)
    }

    /// Makes a ticket that has to be used within `within`.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub(crate) async fn ticket(&self, says: &TicketFor, within: Duration) -> Result<String, AuthError> {
        let mut object = Object::default();
        object.insert("user", says.user.as_str().into());
        object.insert("grants", says.grants.to_any());
        object.insert("expires", Any::Number(says.expires_ms as f64));
        if let Some(token) = &says.token {
            object.insert("token", token.as_str().into());
        }
        let made = new_token().map_err(|error| unavailable("tickets", &error.to_string()))?;
        // Of a token's text the part with all the randomness.
        let secret = made.reveal();
        let ticket = format!("{TICKET}{}", secret.rsplit('_').next().unwrap_or_default());
        let (hash, says) = (hash(&ticket), Bytes::from(Any::Object(object).to_bytes()));
        let put = self.0.tickets.put(&hash, says, within);
        match tokio::time::timeout(ANSWER_WITHIN, put).await {
            Ok(Ok(())) => Ok(ticket),
            Ok(Err(error)) => Err(unavailable("tickets", &error.to_string())),
            Err(_) => Err(unavailable("tickets", "no answer")),
        }
    }

    /// The access tokens from which one descends that `who` makes: their own and its ancestors.
    ///
    /// # Errors
    /// If theirs is not good any more, or that cannot be found out.
    pub(crate) async fn lineage(&self, who: &Identity) -> Result<Vec<String>, AuthError> {
        let Some(id) = token_of(who) else { return Ok(Vec::new()) };
        let found = self.find(id, Freshness::Fresh).await?.ok_or_else(|| refused("its access token is not there any more"))?;
        self.alive(&found)?;
        let mut lineage = found.token.ancestors;
        lineage.push(found.token.id);
        Ok(lineage)
    }

    /// Notices of changed access have come: what they concern is looked up again.
    pub(crate) fn on_notices(&self, notices: &[Notice]) {
        let mut believed = self.believed();
        notices.iter().for_each(|notice| believed.forget_noticed(notice));
    }

    /// A token was revoked: it and all that were made by it are looked up again.
    pub(crate) fn forget(&self, id: &str) {
        self.believed().forget(|own, found| own == id || found.token.ancestors.iter().any(|ancestor| ancestor == id));
    }

    fn believed(&self) -> MutexGuard<'_, Believed> {
        // Every change to it is whole before anything can panic.
        self.0.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of_ticket(&self, text: &str) -> Result<Caller, AuthError> {
        let taken = match tokio::time::timeout(ANSWER_WITHIN, self.0.tickets.take(&hash(text))).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => return Err(unavailable("tickets", &error.to_string())),
            Err(_) => return Err(unavailable("tickets", "no answer")),
        };
        let says = taken.ok_or_else(|| refused("the ticket was used, is too old, or never was"))?;
        let (identity, grants, expires_ms) =
            read_ticket(&says).ok_or_else(|| refused("the ticket says nothing that is understood"))?;
        if expires_ms <= self.0.time.now_ms() {
            return Err(AuthError::Expired);
        }
        self.still(&identity, Freshness::Cached).await?;
        Ok(Caller::new(identity, Some(grants), Some(expires_ms)))
    }

    async fn find(&self, id: &str, freshness: Freshness) -> Result<Option<FoundToken>, AuthError> {
        let now_ms = self.0.time.now_ms();
        let forgotten = {
            let believed = self.believed();
            if let (Freshness::Cached, Some((since_ms, found))) = (freshness, believed.tokens.get(id))
                && u128::from(now_ms.abs_diff(*since_ms)) < BELIEVED.as_millis()
            {
                return Ok(Some(found.clone()));
            }
            believed.forgotten
        };
        let found = match tokio::time::timeout(ANSWER_WITHIN, self.0.tokens.find(id)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(unavailable("access tokens", &yhub_core::chain(&error))),
            Err(_) => return Err(unavailable("access tokens", "no answer")),
        };
        let mut believed = self.believed();
        match &found {
            // It may be from before what was to be forgotten meanwhile.
            Some(_) if believed.forgotten != forgotten => {}
            // Only what is there is kept: nobody fills this with what they make up.
            Some(found) => believed.keep(id, now_ms, found),
            None => drop(believed.tokens.remove(id)),
        }
        Ok(found)
    }

    fn alive(&self, found: &FoundToken) -> Result<(), AuthError> {
        if found.is_revoked {
            return Err(refused("the access token is revoked"));
        }
        if found.is_alive(self.0.time.now_ms()) { Ok(()) } else { Err(AuthError::Expired) }
    }
}

/// The id of the access token by which somebody came in, themselves or through a ticket.
pub(crate) fn token_of(who: &Identity) -> Option<&str> {
    match who.via {
        Via::Token | Via::Ticket => who.claims.get("token").and_then(Any::as_str),
        _ => None,
    }
}

/// The id of the access token that a matcher names, if it names one.
fn token_named(user: &UserMatcher) -> Option<&str> {
    match user {
        UserMatcher::Identity(identity) => identity.get("token").and_then(Any::as_str),
        UserMatcher::User(_) => None,
    }
}

fn read_ticket(says: &[u8]) -> Option<(Identity, Grants, u64)> {
    let Any::Object(object) = Any::from_bytes(says).ok()? else { return None };
    let user = object.get("user")?.as_str().filter(|user| !user.is_empty() && user.len() <= MAX_USER_BYTES)?.to_owned();
    let grants = Grants::from_any(object.get("grants")?).ok()?;
    let Some(Any::Number(expires_ms)) = object.get("expires") else { return None };
    let mut claims = Object::default();
    claims.insert("userid", user.as_str().into());
    if let Some(token) = object.get("token") {
        claims.insert("token", token.clone());
    }
    Some((Identity { user, claims, via: Via::Ticket }, grants, *expires_ms as u64))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn refused(why: &'static str) -> AuthError {
    AuthError::Refused { why: why.into() }
}

fn unavailable(what: &'static str, why: &str) -> AuthError {
    log::warn!("{what} cannot be looked up, nobody is let in by them: {why}");
    AuthError::Unavailable { what: what.into(), answered: false }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use yhub_core::{ManualTime, access::Access};
    use yhub_store::{AccessToken, AuditRecord, CreateTokenError, DocStoreError, MAX_NOTICES};

    use super::*;
    use crate::{Config, Stores};

    /// A hub on a time that stands still, so that nothing is looked up again because it is old.
    struct Desk {
        issued: Issued,
        stores: Stores,
        tokens: Arc<Meanwhile>,
        time: Arc<ManualTime>,
        _dir: tempfile::TempDir,
    }

    /// Answers after something else was done, or not at all.
    struct Meanwhile {
        tokens: Arc<dyn AccessTokenStore>,
        then: Mutex<Option<Issued>>,
        hangs: Mutex<bool>,
    }

    #[async_trait]
    impl AccessTokenStore for Meanwhile {
        async fn create(&self, token: &AccessToken, audit: Option<&AuditRecord>) -> Result<AccessToken, CreateTokenError> {
            self.tokens.create(token, audit).await
        }

        async fn find(&self, id: &str) -> Result<Option<FoundToken>, DocStoreError> {
            if *self.hangs.lock().unwrap() {
                std::future::pending::<()>().await;
            }
            let found = self.tokens.find(id).await;
            let then = self.then.lock().unwrap().take();
            if let Some(issued) = then {
                self.tokens.revoke(id, 1, None).await?;
                issued.forget(id);
            }
            found
        }

        async fn page(&self, org: Option<&str>, after: Option<&str>, max: usize) -> Result<Vec<AccessToken>, DocStoreError> {
            self.tokens.page(org, after, max).await
        }

        async fn revoke(&self, id: &str, at_ms: u64, audit: Option<&AuditRecord>) -> Result<Option<u64>, DocStoreError> {
            self.tokens.revoke(id, at_ms, audit).await
        }

        async fn delete_ended_before(&self, before_ms: u64, max: usize) -> Result<u64, DocStoreError> {
            self.tokens.delete_ended_before(before_ms, max).await
        }
    }

    impl Desk {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let stores = Stores::open(&Config::for_testing(dir.path())).await.unwrap();
            let tokens = Arc::new(Meanwhile { tokens: stores.tokens.clone(), then: Mutex::default(), hangs: Mutex::default() });
            let time = Arc::new(ManualTime::new(1_000));
            let issued = Issued::new(tokens.clone(), stores.tickets.clone(), time.clone());
            Self { issued, stores, tokens, time, _dir: dir }
        }

        /// Made by the others, and believed in.
        async fn token(&self, ancestors: &[&TokenText]) -> TokenText {
            self.token_until(ancestors, None).await
        }

        async fn token_until(&self, ancestors: &[&TokenText], expires_ms: Option<u64>) -> TokenText {
            let text = new_token().unwrap();
            let token = AccessToken {
                id: text.id().into(),
                secret_hash: text.secret_hash(),
                ancestors: ancestors.iter().map(|ancestor| ancestor.id().to_owned()).collect(),
                user: "ann".into(),
                label: String::new(),
                grants: Grants::everywhere(Access::ADMIN),
                created_ms: 1,
                expires_ms,
                revoked_ms: None,
                by: "ann".into(),
            };
            self.stores.tokens.create(&token, None).await.unwrap();
            assert!(self.lets_in(&text).await);
            text
        }

        /// A ticket that is made by this token.
        async fn ticket(&self, token: &TokenText) -> String {
            let token = Some(token.id().to_owned());
            let says = TicketFor { user: "bob".into(), grants: Grants::everywhere(Access::ADMIN), expires_ms: 2_000, token };
            self.issued.ticket(&says, Duration::from_secs(3_600)).await.unwrap()
        }

        async fn refuses(&self, text: &str, freshness: Freshness) -> String {
            self.issued.caller(text, freshness).await.unwrap_err().to_string()
        }

        async fn lets_in(&self, text: &TokenText) -> bool {
            self.issued.caller(&text.reveal(), Freshness::Cached).await.is_ok()
        }

        async fn notices(&self) -> Vec<Notice> {
            let list = self.stores.notices.list(0, MAX_NOTICES).await.unwrap();
            let brought = self.stores.notices.bring(&list.heads).await.unwrap();
            brought.into_iter().map(|(_, notice)| notice).collect()
        }
    }

    #[tokio::test]
    async fn a_notice_ends_what_is_believed_of_whom_it_concerns() {
        let desk = Desk::new().await;
        let (parent, other) = (desk.token(&[]).await, desk.token(&[]).await);
        let child = desk.token(&[&parent]).await;
        // On another node.
        desk.stores.tokens.revoke(parent.id(), 1, None).await.unwrap();
        assert!(desk.lets_in(&parent).await && desk.lets_in(&child).await, "it is not known yet");
        desk.issued.on_notices(&desk.notices().await);
        assert!(!desk.lets_in(&parent).await && !desk.lets_in(&child).await);
        assert_eq!(desk.issued.believed().tokens.len(), 3, "of the other nothing was forgotten");
        desk.stores.tokens.revoke(other.id(), 1, None).await.unwrap();
        assert!(desk.lets_in(&other).await);
        // Of whom nobody knows which tokens are theirs.
        desk.issued.on_notices(&[Notice { users: Some(vec![UserMatcher::User("bob".into())]), ..Notice::check_everybody(1) }]);
        assert!(!desk.lets_in(&other).await);
    }

    #[tokio::test]
    async fn what_is_wrong_or_over_lets_nobody_in() {
        let desk = Desk::new().await;
        let (one, other) = (desk.token_until(&[], Some(2_000)).await, desk.token(&[]).await);
        let part = |text: &TokenText, n: usize| text.reveal().split('_').nth(n).unwrap().to_owned();
        for freshness in [Freshness::Cached, Freshness::Fresh] {
            let mixed = format!("yhub_{}_{}", part(&one, 1), part(&other, 2));
            let unknown = new_token().unwrap().reveal();
            for text in [mixed, unknown] {
                assert!(desk.refuses(&text, freshness).await.contains("there is no such access token"), "{text}");
            }
            assert!(desk.refuses("yhub_x_y", freshness).await.contains("no whole access token"));
        }
        desk.time.advance(Duration::from_millis(999));
        assert!(desk.lets_in(&one).await);
        desk.time.advance(Duration::from_millis(1));
        for freshness in [Freshness::Cached, Freshness::Fresh] {
            assert!(desk.refuses(&one.reveal(), freshness).await.contains("expired"));
        }
        let caller = desk.issued.caller(&other.reveal(), Freshness::Cached).await.unwrap();
        assert_eq!(desk.issued.lineage(&caller.identity).await.unwrap(), [other.id()]);
        desk.stores.tokens.revoke(other.id(), 1, None).await.unwrap();
        let error = desk.issued.lineage(&caller.identity).await.unwrap_err();
        assert!(error.to_string().contains("revoked"), "what is handed on is not handed on by what was believed: {error}");
    }

    #[tokio::test]
    async fn a_ticket_lets_in_once_until_it_ends_and_with_its_token() {
        let desk = Desk::new().await;
        let token = desk.token(&[]).await;
        let (once, revoked, late) =
            (desk.ticket(&token).await, desk.ticket(&token).await, desk.ticket(&desk.token(&[]).await).await);
        let caller = desk.issued.caller(&once, Freshness::Cached).await.unwrap();
        assert_eq!((caller.identity.user.as_str(), caller.expires_ms), ("bob", Some(2_000)));
        assert!(desk.refuses(&once, Freshness::Cached).await.contains("was used"));
        assert_eq!(desk.issued.still(&caller.identity, Freshness::Cached).await, Ok(()));
        desk.stores.tokens.revoke(token.id(), 1, None).await.unwrap();
        desk.issued.forget(token.id());
        assert!(desk.refuses(&revoked, Freshness::Cached).await.contains("revoked"));
        assert!(desk.issued.still(&caller.identity, Freshness::Cached).await.is_err());
        desk.time.advance(Duration::from_secs(1));
        assert!(desk.refuses(&late, Freshness::Cached).await.contains("expired"));
        assert!(desk.refuses("yhubt_", Freshness::Cached).await.contains("never was"));
    }

    /// Nobody is let in by a store that says nothing, nor refused.
    #[tokio::test]
    async fn a_store_that_does_not_answer_is_away() {
        let desk = Desk::new().await;
        let token = desk.token(&[]).await;
        let caller = desk.issued.caller(&token.reveal(), Freshness::Cached).await.unwrap();
        *desk.tokens.hangs.lock().unwrap() = true;
        tokio::time::pause();
        let found = desk.issued.caller(&token.reveal(), Freshness::Fresh).await;
        assert!(matches!(found, Err(AuthError::Unavailable { .. })), "{found:?}");
        assert!(matches!(desk.issued.still(&caller.identity, Freshness::Fresh).await, Err(AuthError::Unavailable { .. })));
        assert!(desk.lets_in(&token).await, "who is believed is let in for a while");
        desk.time.advance(BELIEVED);
        assert!(!desk.lets_in(&token).await);
    }

    /// Whoever makes up tokens takes no room.
    #[tokio::test]
    async fn what_is_not_there_is_not_kept_and_of_the_others_so_many() {
        let desk = Desk::new().await;
        desk.token(&[]).await;
        for _ in 0..10 {
            assert!(!desk.lets_in(&new_token().unwrap()).await);
        }
        let mut believed = desk.issued.believed();
        assert_eq!(believed.tokens.len(), 1);
        let (_, found) = believed.tokens.values().next().unwrap().clone();
        for n in 0..2 * MAX_BELIEVED {
            believed.keep(&n.to_string(), 1, &found);
            assert!(believed.tokens.len() <= MAX_BELIEVED);
        }
    }

    #[tokio::test]
    async fn who_revokes_believes_nothing_of_it_any_more() {
        let desk = Desk::new().await;
        let (parent, other) = (desk.token(&[]).await, desk.token(&[]).await);
        let child = desk.token(&[&parent]).await;
        desk.stores.tokens.revoke(parent.id(), 1, None).await.unwrap();
        desk.issued.forget(parent.id());
        assert!(!desk.lets_in(&parent).await && !desk.lets_in(&child).await && desk.lets_in(&other).await);
    }

    #[tokio::test]
    async fn an_answer_from_before_is_not_believed_afterwards() {
        let desk = Desk::new().await;
        let token = desk.token(&[]).await;
        desk.issued.forget(token.id());
        *desk.tokens.then.lock().unwrap() = Some(desk.issued.clone());
        assert!(desk.lets_in(&token).await, "it was asked before");
        assert!(!desk.lets_in(&token).await);
    }
}
