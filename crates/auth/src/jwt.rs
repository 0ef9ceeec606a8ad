//! Signed tokens (JWT, RFC 7519; JWS, RFC 7515): HS256, RS256, ES256, ES384 and EdDSA.
//!
//! The header, algorithms and JWKs are read by `jsonwebtoken`. The signature is checked by `ring` through [`Key`], and what a
//! token says by `claims`: `jsonwebtoken` would do both only with a cryptography that is set for the whole process, which a hub
//! that is mounted in somebody's server must leave to them, and only by the clock of the machine.
//!
//! [`Key`]: crate::key::Key

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header, decode_header};
use yhub_core::{
    TimeSource,
    access::{Identity, Via},
};

use crate::{
    AuthError, Caller, Jwks, KeySet, Secret,
    claims::{self, Times},
    key::{Find, Key},
};

/// Where keys come from.
#[derive(Debug)]
pub enum JwtKeys {
    /// They are known.
    Fixed(KeySet),
    /// They are published somewhere.
    Published(Arc<Jwks>),
}

/// What is demanded of tokens.
#[derive(Clone, Debug)]
pub struct JwtOptions {
    /// Who may have issued them (`iss`); empty: anybody who has the key.
    pub issuers: Vec<String>,
    /// For whom they must be (`aud`), one of these; empty: for anybody.
    pub audiences: Vec<String>,
    /// So much may the clocks of whoever signs and of the hub differ.
    pub leeway: Duration,
    /// They may hold for so long, from `iat` to `exp`.
    pub max_lifetime: Option<Duration>,
    /// The claim with the user id; `None`: `yuserid`, or if that is missing `sub`.
    pub user_claim: Option<String>,
    /// The claim with the grants.
    pub grants_claim: String,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(60),
            max_lifetime: None,
            user_claim: None,
            grants_claim: "yhub".to_owned(),
        }
    }
}

/// Who somebody is, as a signed token says it.
pub struct Jwt {
    keys: JwtKeys,
    options: JwtOptions,
    time: Arc<dyn TimeSource>,
}

impl Jwt {
    /// Tokens signed with one of these keys.
    pub fn new(keys: JwtKeys, options: JwtOptions, time: Arc<dyn TimeSource>) -> Self {
        Self { keys, options, time }
    }

    /// The keys, if they are published and have to be fetched.
    pub(crate) fn jwks(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            JwtKeys::Fixed(_) => None,
            JwtKeys::Published(jwks) => Some(jwks),
        }
    }

    /// Who holds this token. Of what a token says nothing is believed before its signature was checked.
    pub(crate) async fn caller(&self, token: &Secret) -> Result<Caller, AuthError> {
        let token = token.expose();
        let wrong_form = || AuthError::refused("it is no JWT");
        let (message, signature) = token.rsplit_once('.').ok_or_else(wrong_form)?;
        let (_, payload) = message.split_once('.').ok_or_else(wrong_form)?;
        let header = header(token)?;
        let key = self.key(header.alg, header.kid.as_deref()).await?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| bad_signature())?;
        if !key.verifies(message.as_bytes(), &signature) {
            return Err(bad_signature());
        }
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| wrong_form())?;
        self.of_claims(&payload)
    }

    /// Who is meant by the payload of a genuine token.
    fn of_claims(&self, payload: &[u8]) -> Result<Caller, AuthError> {
        let options = &self.options;
        let not_json = || AuthError::refused("its claims are no JSON object, or one of them stands twice");
        let mut object = claims::object(payload).ok_or_else(not_json)?;
        let times = Times { leeway: options.leeway, max_lifetime: options.max_lifetime };
        let expires_ms = times.check(&object, self.time.now_ms())?;
        claims::names_one(&object, "iss", &options.issuers)?;
        claims::names_one(&object, "aud", &options.audiences)?;
        let user = claims::user(&object, options.user_claim.as_deref())?;
        let grants = claims::grants(&object, &options.grants_claim)?;
        object.insert("userid", user.as_str().into());
        Ok(Caller::new(Identity { user, claims: object, via: Via::Jwt }, grants, Some(expires_ms)))
    }

    async fn key(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Arc<Key>, AuthError> {
        let found = match &self.keys {
            JwtKeys::Fixed(keys) => keys.find(algorithm, kid),
            JwtKeys::Published(jwks) => jwks.find(algorithm, kid).await?,
        };
        match found {
            Find::This(key) => Ok(key),
            Find::OtherAlgorithm => Err(AuthError::refused("it is signed with another algorithm than its key is for")),
            Find::Unknown => Err(AuthError::refused("it is signed with a key that is not known")),
            Find::Ambiguous => Err(AuthError::refused("it does not say by which of several keys it is signed (`kid`)")),
        }
    }
}

/// The header, if everything that it demands is understood.
fn header(token: &str) -> Result<Header, AuthError> {
    let header =
        decode_header(token).map_err(|_| AuthError::refused("its header is none, or names an algorithm that is not taken"))?;
    if header.crit.is_some() {
        return Err(AuthError::refused("its header demands something that is not understood (`crit`)"));
    }
    Ok(header)
}

fn bad_signature() -> AuthError {
    AuthError::refused("its signature is not that of the key")
}
