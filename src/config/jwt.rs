//! `[jwt]`: signed tokens that say who somebody is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use yhub_auth::{KeyFault, KeySet, check_url};

use super::{
    error::Problem,
    secret::SecretText,
    section::{Kind, Millis, Setting, section},
};

/// Bytes of a file with one key.
const MOST_KEY_BYTES: u64 = 64 << 10;

/// A file with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyFile(PathBuf);

impl From<&str> for KeyFile {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl Setting for Option<KeyFile> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "the path of a file";
    const EXAMPLE: Option<&'static str> = Some("\"/etc/yhub/jwt.pem\"");
}

section! {
    /// Signed tokens (JWT) that say who somebody is, for `auth.mode` "jwt": signed with HS256, RS256, ES256, ES384 or EdDSA, and
    /// with an `exp`. Exactly one of `secret`, `key`, `key_file` and `jwks_url` says with which key.
    Jwt = "jwt" {
        /// The secret of HS256, of at least 32 bytes, which whoever makes tokens has too. Better given in the environment, as
        /// YHUB__JWT__SECRET.
        secret: Option<SecretText> = None;
        /// The key: a public one in PEM, or a JWK of any kind.
        key: Option<SecretText> = None;
        /// A file with the same.
        key_file: Option<KeyFile> = None;
        /// Where the public keys are published as a JWK set, such as "https://issuer.example/.well-known/jwks.json".
        jwks_url: String = String::new();
        /// May `jwks_url` be asked without TLS, although it is not this machine? Whoever is between can then be anybody.
        jwks_allow_http: bool = false;
        /// Certificates, in PEM, of who may vouch for `jwks_url`, in place of those that the system trusts.
        jwks_ca_file: Option<PathBuf> = None;
        /// The published keys are fetched anew after so long.
        jwks_refresh_ms: Millis = Millis::new(300_000), 1_000..=86_400_000;
        /// Never more often than this, however many tokens name keys that are not known.
        jwks_min_interval_ms: Millis = Millis::new(10_000), 100..=3_600_000;
        /// While they cannot be fetched the last ones hold for so long; then nobody new is let in.
        jwks_max_stale_ms: Millis = Millis::new(86_400_000), 0..=2_592_000_000;
        /// They must have come after so long.
        jwks_timeout_ms: Millis = Millis::new(5_000), 50..=60_000;
        /// Who may have issued a token (`iss`), one of these. Empty: whoever has the key.
        issuers: Vec<String> = Vec::new();
        /// For whom a token must be (`aud`), one of these. Empty: for anybody. To be set where others are given tokens that are
        /// signed with the same key.
        audiences: Vec<String> = Vec::new();
        /// So much may the clocks of the hub and of whoever makes tokens differ.
        leeway_ms: Millis = Millis::new(60_000), 0..=300_000;
        /// A token may hold for so long, from `iat` to `exp`. 0: for as long as it likes.
        max_lifetime_ms: Millis = Millis::new(0), 0..=31_536_000_000;
        /// The claim with the user id. Empty: `yuserid`, or if that is missing `sub`.
        user_claim: String = String::new();
        /// The claim with what somebody may do where: a list of grants such as { "org": "acme", "docid": "a", "access": "rw" }. Without
        /// it the callback is asked, if there is one; else such a token may nothing.
        grants_claim: String = "yhub".to_owned();
    }
    rules: rules
}

/// Where the keys come from.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// They are here.
    Keys(KeySet),
    /// They are to be fetched from `jwks_url`.
    Url,
}

impl Jwt {
    /// The key, read, or where it is to be fetched.
    ///
    /// # Errors
    /// What is wrong with it, of which nothing is shown.
    pub(crate) fn keys(&self) -> Result<KeySource, Problem> {
        let Self { secret, key, key_file, jwks_url, .. } = self;
        let sources = [
            ("jwt.secret", secret.is_some()),
            ("jwt.key", key.is_some()),
            ("jwt.key_file", key_file.is_some()),
            ("jwt.jwks_url", !jwks_url.is_empty()),
        ];
        let set: Vec<_> = sources.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        let [name] = set[..] else {
            return Err(match set[..] {
                [first, second, ..] => Problem::new(
                    second,
                    format!("is set, and `{first}` as well"),
                    "leave one of them: there is one place for keys",
                ),
                _ => Problem::new(
                    "jwt.jwks_url",
                    "is not set, nor is `jwt.secret`, `jwt.key` or `jwt.key_file`, but `auth.mode` names \"jwt\"",
                    "set one of them: without a key no token can be checked",
                ),
            });
        };
        let read = |keys: Result<KeySet, KeyFault>| {
            let advice = "give a public key in PEM, a JWK, or for HS256 a secret of at least 32 bytes";
            keys.map(KeySource::Keys).map_err(|fault| Problem::new(name, fault.to_string(), advice))
        };
        match (secret, key, key_file) {
            (Some(secret), ..) => read(KeySet::of_secret(secret.expose())),
            (_, Some(key), _) => read(KeySet::of_text(key.expose())),
            (.., Some(KeyFile(file))) => match read_key(file) {
                Ok(text) => read(KeySet::of_text(&text)),
                Err(what) => Err(Problem::new(name, what, "name a file with a key that the hub may read")),
            },
            (None, None, None) => Ok(KeySource::Url),
        }
    }

    /// What is missing when tokens are to be checked.
    pub(super) fn check_used(&self, problems: &mut Vec<Problem>) {
        problems.extend(self.keys().err());
    }
}

/// The text in a file, without what somebody has written into it by mistake ending up in an error.
fn read_key(file: &Path) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("is {}, which cannot be read: {error}", file.display());
    if fs::metadata(file).map_err(wrong)?.len() > MOST_KEY_BYTES {
        return Err(format!("is {}, which has more than {MOST_KEY_BYTES} bytes", file.display()));
    }
    fs::read_to_string(file).map_err(wrong)
}

fn rules(jwt: &Jwt, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, what: String, advice: &str| problems.push(Problem::new(format!("jwt.{key}"), what, advice));
    for (key, secret) in [("secret", &jwt.secret), ("key", &jwt.key)] {
        if secret.as_ref().is_some_and(|secret| !secret.is_usable()) {
            wrong(key, "is empty, or what is shown in place of a secret".into(), "set the secret itself, or leave it out");
        }
    }
    if !jwt.jwks_url.is_empty()
        && let Err(fault) = check_url(&jwt.jwks_url, jwt.jwks_allow_http, true)
    {
        let advice = "write https://host/path; over http:// only this machine is asked, unless `jwt.jwks_allow_http` is true";
        wrong("jwks_url", fault.to_string(), advice);
    }
    if jwt.jwks_ca_file.is_some() && jwt.jwks_url.starts_with("http://") {
        wrong("jwks_ca_file", "is set, but `jwt.jwks_url` asks for no TLS".into(), "write https:// there, or remove it");
    }
    if jwt.jwks_max_stale_ms < jwt.jwks_refresh_ms {
        let refresh = jwt.jwks_refresh_ms;
        let what = format!("is {:?}, less than `jwt.jwks_refresh_ms`, which is {refresh:?}", jwt.jwks_max_stale_ms);
        wrong("jwks_max_stale_ms", what, "choose more, else keys are too old before they are fetched anew");
    }
    if jwt.grants_claim.is_empty() {
        wrong("grants_claim", "is empty".into(), "name a claim, such as \"yhub\"");
    }
    for (key, list) in [("issuers", &jwt.issuers), ("audiences", &jwt.audiences)] {
        if list.iter().any(String::is_empty) {
            wrong(key, "holds an empty text".into(), "name those that are meant, or leave the list empty");
        }
    }
}
