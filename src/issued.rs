//! Credentials that the hub itself has issued: access tokens, which last, and tickets, which let a browser in once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use yhub_auth::{AuthError, Caller};
use yhub_core::{
    Freshness, TimeSource,
    access::{Grants, Identity, MAX_USER_BYTES, TokenText, Via},
};
use yhub_encoding::{Any, Object};
use yhub_store::{AccessTokenStore, FoundToken, TicketStore};

use crate::new_token;

/// What every ticket begins with.
const TICKET: &str = "yhubt_";
/// What was found out about a token is believed for so long, unless whoever decides is to be asked now.
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
    believed: Mutex<HashMap<String, (u64, FoundToken)>>,
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
            return Err(refused("it has expired"));
        }
        self.still(&identity, Freshness::Cached).await?;
        Ok(Caller::new(identity, Some(grants), Some(expires_ms)))
    }

    async fn find(&self, id: &str, freshness: Freshness) -> Result<Option<FoundToken>, AuthError> {
        let now_ms = self.0.time.now_ms();
        if freshness == Freshness::Cached {
            let believed = self.0.believed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since_ms, found)) = believed.get(id)
                && u128::from(now_ms.abs_diff(*since_ms)) < BELIEVED.as_millis()
            {
                return Ok(Some(found.clone()));
            }
        }
        let found = match tokio::time::timeout(ANSWER_WITHIN, self.0.tokens.find(id)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(unavailable("access tokens", &yhub_core::chain(&error))),
            Err(_) => return Err(unavailable("access tokens", "no answer")),
        };
        let mut believed = self.0.believed.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            // Only what is there is kept: nobody fills this with what they make up.
            Some(found) => {
                if believed.len() >= MAX_BELIEVED {
                    believed.clear();
                }
                believed.insert(id.to_owned(), (now_ms, found.clone()));
            }
            None => drop(believed.remove(id)),
        }
        Ok(found)
    }

    fn alive(&self, found: &FoundToken) -> Result<(), AuthError> {
        if found.is_revoked {
            return Err(refused("the access token is revoked"));
        }
        if found.is_alive(self.0.time.now_ms()) { Ok(()) } else { Err(refused("it has expired")) }
    }
}

/// The id of the access token by which somebody came in, themselves or through a ticket.
pub(crate) fn token_of(who: &Identity) -> Option<&str> {
    match who.via {
        Via::Token | Via::Ticket => who.claims.get("token").and_then(Any::as_str),
        _ => None,
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
    AuthError::Unavailable { what: what.into() }
}
