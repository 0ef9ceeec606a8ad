//! Who is asked about whom: the methods in order.

use std::{fmt, sync::Arc};

use yhub_core::{
    Freshness, TimeSource,
    access::{Access, Grants, Identity, Purpose, Target, Via},
};

use crate::{
    AuthError, Callback, Jwt, OptionsError, Secret,
    callback::{Answer, Asked},
};

/// The name of those who do not say who they are.
const ANONYMOUS: &str = "anonymous";

/// Everyone may do the same.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// What that is, everywhere.
    pub access: Access,
}

/// A way to show who one is.
#[non_exhaustive]
pub enum Method {
    /// By a signed token.
    Jwt(Box<Jwt>),
    /// The application's back end says so.
    Callback(Callback),
    /// Nobody has to.
    Open(Open),
}

impl Method {
    fn name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => Via::Jwt.name(),
            Self::Callback(_) => Via::Callback.name(),
            Self::Open(_) => Via::Open.name(),
        }
    }
}

/// Somebody who is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// What they bring along with their credential: then nobody else is asked what they may do.
    pub grants: Option<Grants>,
    /// When their credential ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// With what the back end is asked about them, if only it understands that.
    token: Option<Secret>,
}

impl Caller {
    /// Somebody who has shown who they are.
    pub fn new(identity: Identity, grants: Option<Grants>, expires_ms: Option<u64>) -> Self {
        Self { identity, grants, expires_ms, token: None }
    }
}

/// What somebody may do in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// What; never nothing.
    pub access: Access,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// Says who somebody is and what they may do.
pub struct Authenticator {
    methods: Vec<Method>,
    time: Arc<dyn TimeSource>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::name).collect();
        f.debug_struct("Authenticator").field("methods", &methods).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// With these methods, each once. A credential is for the first that takes it. With none everybody is refused but those whom
    /// others let in, see [`Caller::new`].
    ///
    /// # Errors
    /// If one stands twice, or one cannot do without another.
    pub fn new(methods: Vec<Method>, time: Arc<dyn TimeSource>) -> Result<Self, OptionsError> {
        let count = |name: &str| methods.iter().filter(|method| method.name() == name).count();
        if let Some(twice) = methods.iter().find(|method| count(method.name()) > 1) {
            return Err(OptionsError::new(format!("the method {:?} stands twice", twice.name()), "name each once"));
        }
        let this = Self { methods, time };
        if this.callback().is_some_and(|callback| !callback.takes_tokens()) && this.jwt().is_none() {
            let what = "the callback is asked by GET, which names the user, and nothing says who that is";
            return Err(OptionsError::new(what, "add \"jwt\" to the methods, or have the callback asked by POST"));
        }
        Ok(this)
    }

    /// Who sent this credential, in order to get to `place`.
    ///
    /// # Errors
    /// [`AuthError::Missing`] without a credential where one is needed; [`AuthError::Refused`] if it is bad;
    /// [`AuthError::Denied`] if the back end says that they may nothing here; [`AuthError::Unavailable`].
    pub async fn authenticate(
        &self,
        credential: Option<&Secret>,
        place: Target<'_>,
        freshness: Freshness,
    ) -> Result<Caller, AuthError> {
        let credential = match (credential, self.open()) {
            (None, None) => return Err(AuthError::Missing),
            (None, Some(_)) => return Ok(anonymous()),
            (Some(credential), _) => credential,
        };
        // Before all others, wherever it stands: a signed token that is bad here must not be tried elsewhere.
        if let Some(jwt) = self.jwt().filter(|_| credential.is_jwt_like()) {
            return jwt.caller(credential).await;
        }
        match self.callback().filter(|callback| callback.takes_tokens()) {
            Some(callback) => self.by_token(callback, credential, place, freshness).await,
            None => Err(AuthError::refused("it has a form that is not taken")),
        }
    }

    /// What this caller may do in `place`. A `purpose` is only said to be allowed if it was asked for, or their credential
    /// says so.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if that is nothing; [`AuthError::Expired`] if their credential has ended;
    /// [`AuthError::Unavailable`].
    pub async fn access(
        &self,
        caller: &Caller,
        place: Target<'_>,
        purpose: Option<Purpose>,
        freshness: Freshness,
    ) -> Result<Allowed, AuthError> {
        if caller.expires_ms.is_some_and(|expires_ms| expires_ms <= self.time.now_ms()) {
            return Err(AuthError::Expired);
        }
        let known = |access| Allowed { access, expires_ms: caller.expires_ms };
        let allowed = match (&caller.grants, caller.identity.via) {
            (Some(grants), _) => known(grants.access(place)),
            (None, Via::Open) => known(self.open().map_or(Access::NONE, |open| open.access)),
            (None, Via::Jwt) => match self.callback() {
                Some(callback) => {
                    let answer = callback.ask(&Asked::User(&caller.identity.user), place, purpose, freshness).await?;
                    self.of_answer(caller, &answer)?
                }
                None => known(Access::NONE),
            },
            (None, Via::Callback) => match (self.callback(), &caller.token) {
                (Some(callback), Some(token)) => {
                    let answer = callback.ask(&Asked::Token(token), place, purpose, freshness).await?;
                    self.of_answer(caller, &answer)?
                }
                _ => known(Access::NONE),
            },
            // They bring their grants along.
            (None, Via::Token | Via::Ticket) => known(Access::NONE),
        };
        if allowed.access.is_none() { Err(AuthError::Denied) } else { Ok(allowed) }
    }

    /// Keeps fresh what is known of others. Never ends; it is to be run beside everything else.
    pub async fn keep_fresh(&self) {
        match self.jwt().and_then(Jwt::jwks) {
            Some(jwks) => jwks.keep_fresh().await,
            None => std::future::pending().await,
        }
    }

    async fn by_token(
        &self,
        callback: &Callback,
        token: &Secret,
        place: Target<'_>,
        freshness: Freshness,
    ) -> Result<Caller, AuthError> {
        match &*callback.ask(&Asked::Token(token), place, None, freshness).await? {
            Answer::Allowed(found) => {
                let identity = Identity { user: found.user.clone(), claims: found.claims.clone(), via: Via::Callback };
                // Until when is said for this place; the token may be good for longer in another one.
                Ok(Caller { identity, grants: None, expires_ms: None, token: Some(token.clone()) })
            }
            Answer::Denied => Err(AuthError::Denied),
            Answer::Refused => Err(not_accepted()),
        }
    }

    fn of_answer(&self, caller: &Caller, answer: &Answer) -> Result<Allowed, AuthError> {
        match answer {
            Answer::Allowed(found) if found.user != caller.identity.user => {
                // The token is somebody else's now. Whoever holds it has to come again.
                Err(AuthError::refused("it belongs to another user now"))
            }
            Answer::Allowed(found) if found.expires_ms.is_some_and(|expires_ms| expires_ms <= self.time.now_ms()) => {
                Err(AuthError::Denied)
            }
            Answer::Allowed(found) => {
                let expires_ms = [caller.expires_ms, found.expires_ms].into_iter().flatten().min();
                Ok(Allowed { access: found.access, expires_ms })
            }
            Answer::Denied => Err(AuthError::Denied),
            Answer::Refused => Err(not_accepted()),
        }
    }

    fn jwt(&self) -> Option<&Jwt> {
        self.methods.iter().find_map(|method| if let Method::Jwt(jwt) = method { Some(&**jwt) } else { None })
    }

    fn callback(&self) -> Option<&Callback> {
        self.methods.iter().find_map(|method| if let Method::Callback(callback) = method { Some(callback) } else { None })
    }

    fn open(&self) -> Option<&Open> {
        self.methods.iter().find_map(|method| if let Method::Open(open) = method { Some(open) } else { None })
    }
}

fn not_accepted() -> AuthError {
    AuthError::refused("the application does not accept it")
}

fn anonymous() -> Caller {
    let mut claims = yhub_encoding::Object::new();
    claims.insert("userid", ANONYMOUS.into());
    Caller::new(Identity { user: ANONYMOUS.to_owned(), claims, via: Via::Open }, None, None)
}
