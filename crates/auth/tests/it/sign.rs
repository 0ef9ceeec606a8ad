//! Signs tokens, as they should be and as they should not.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use yhub_auth::{Jwt, JwtKeys, JwtOptions, KeySet};
use yhub_core::ManualTime;

/// When tests happen.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;
pub(crate) const NOW: i64 = 1_790_000_000;

pub(crate) const SECRET: &str = "a secret for tests of thirty-two bytes";

enum Pair {
    Hs256(Vec<u8>),
    Rs256(Box<RsaKeyPair>),
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// Somebody who signs.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pair: Pair,
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The DER in a PEM file.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

impl Signer {
    pub(crate) fn hs256(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Hs256(SECRET.into()) }
    }

    pub(crate) fn rs256(kid: &str) -> Self {
        Self::rsa(kid, include_str!("../keys/rsa-2048.pem"))
    }

    pub(crate) fn rsa(kid: &str, pem: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Rs256(Box::new(RsaKeyPair::from_pkcs8(&der(pem)).unwrap())) }
    }

    pub(crate) fn es256(kid: &str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap();
        Self { kid: kid.into(), pair: Pair::Es256(pair) }
    }

    pub(crate) fn es384(kid: &str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, made.as_ref(), &random).unwrap();
        Self { kid: kid.into(), pair: Pair::Es384(pair) }
    }

    pub(crate) fn eddsa(kid: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid: kid.into(), pair: Pair::EdDsa(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()) }
    }

    /// One of each kind.
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::hs256("hs"), Self::rs256("rs"), Self::es256("es256"), Self::es384("es384"), Self::eddsa("ed")]
    }

    /// Another key of the same kind.
    pub(crate) fn other(&self) -> Self {
        match &self.pair {
            Pair::Hs256(_) => Self { kid: self.kid.clone(), pair: Pair::Hs256([7; 32].into()) },
            Pair::Rs256(_) => Self::rsa(&self.kid, include_str!("../keys/rsa-other.pem")),
            Pair::Es256(_) => Self::es256(&self.kid),
            Pair::Es384(_) => Self::es384(&self.kid),
            Pair::EdDsa(_) => Self::eddsa(&self.kid),
        }
    }

    pub(crate) fn alg(&self) -> &'static str {
        match &self.pair {
            Pair::Hs256(_) => "HS256",
            Pair::Rs256(_) => "RS256",
            Pair::Es256(_) => "ES256",
            Pair::Es384(_) => "ES384",
            Pair::EdDsa(_) => "EdDSA",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Hs256(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Es256(pair) | Pair::Es384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The bytes of the public key as they are published; of a secret, itself.
    pub(crate) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Hs256(secret) => secret.clone(),
            Pair::Rs256(pair) => pair.public().as_ref().to_vec(),
            Pair::Es256(pair) | Pair::Es384(pair) => pair.public_key().as_ref().to_vec(),
            Pair::EdDsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// Its key as a JWK, with its name.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Hs256(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
            Pair::Rs256(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": base64url(public.n), "e": base64url(public.e) })
            }
            Pair::Es256(_) | Pair::Es384(_) => {
                let public = self.public();
                let (x, y) = public[1..].split_at(public.len() / 2);
                let crv = if public.len() == 65 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y) })
            }
            Pair::EdDsa(_) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(self.public()) }),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.alg().into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": self.alg(), "kid": self.kid })
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header().to_string(), claims.to_string())
    }

    /// A token of these texts, signed.
    pub(crate) fn token_of(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        let signature = base64url(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// Claims with which nothing is wrong.
pub(crate) fn claims() -> Value {
    json!({ "iss": "https://issuer.example", "aud": "yhub", "sub": "ann", "iat": NOW - 10, "exp": NOW + 600 })
}

/// The same but for some.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value == "ABSENT" {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// What is demanded of tokens in tests.
pub(crate) fn options() -> JwtOptions {
    JwtOptions {
        issuers: vec!["https://issuer.example".into()],
        audiences: vec!["yhub".into(), "other".into()],
        ..Default::default()
    }
}

/// Takes the tokens of one.
pub(crate) fn jwt_of(signer: &Signer, options: JwtOptions) -> Jwt {
    let keys = KeySet::of_text(&signer.jwk().to_string()).unwrap();
    Jwt::new(JwtKeys::Fixed(keys), options, Arc::new(ManualTime::new(NOW_MS)))
}
