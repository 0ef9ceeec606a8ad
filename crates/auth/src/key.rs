//! Keys that signatures are checked with. A key has one algorithm, and checks nothing else.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use ring::{agreement, hmac, rand::SystemRandom, rsa, signature as ring_signature};
use serde_json::Value;

use crate::key_form::{self, KeyFault, PublicKey};

/// Keys of one set; a set with more is not taken.
const MAX_KEYS: usize = 100;
/// Bytes of a key's name.
const MAX_KID_BYTES: usize = 256;
/// Bytes of the secret of HS256: as many as the hash has.
const MIN_SECRET_BYTES: usize = 32;

/// A key. Which algorithm it is for is a matter of its type, not of what a token says.
pub(crate) struct Key {
    /// Its name, if it has one.
    kid: Option<String>,
    material: Material,
}

enum Material {
    Hs256(hmac::Key),
    Rs256(rsa::PublicKeyComponents<Vec<u8>>),
    Es256(Vec<u8>),
    Es384(Vec<u8>),
    EdDsa(Vec<u8>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Key {
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Hs256(_) => Algorithm::HS256,
            Material::Rs256(_) => Algorithm::RS256,
            Material::Es256(_) => Algorithm::ES256,
            Material::Es384(_) => Algorithm::ES384,
            Material::EdDsa(_) => Algorithm::EdDSA,
        }
    }

    /// Was `message` signed with it?
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn ring_signature::VerificationAlgorithm, key: &[u8]| {
            ring_signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let verified = match &self.material {
            // Takes as long wherever the first wrong byte is.
            Material::Hs256(key) => hmac::verify(key, message, signature),
            Material::Rs256(key) => key.verify(&ring_signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            Material::Es256(point) => by(&ring_signature::ECDSA_P256_SHA256_FIXED, point),
            Material::Es384(point) => by(&ring_signature::ECDSA_P384_SHA384_FIXED, point),
            Material::EdDsa(key) => by(&ring_signature::ED25519, key),
        };
        verified.is_ok()
    }

    fn of_secret(secret: &[u8]) -> Result<Material, KeyFault> {
        if secret.len() < MIN_SECRET_BYTES {
            let what = format!("has {} bytes, and a secret for HS256 has at least {MIN_SECRET_BYTES}", secret.len());
            return Err(KeyFault::new(what));
        }
        Ok(Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    fn of_rsa(n: &[u8], e: &[u8]) -> Result<Material, KeyFault> {
        let (n, e) = (key_form::without_zeros(n), key_form::without_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyFault::new(format!("is an RSA key of {bits} bits; 2048 to 8192 are taken")));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        // More than 33 bits are not taken when something is verified; 1 would let everything pass.
        if !is_odd(n) || !is_odd(e) || e == [1] || e.len() > 4 {
            return Err(KeyFault::new("is no RSA key: its modulus or exponent cannot be one"));
        }
        Ok(Material::Rs256(rsa::PublicKeyComponents { n: n.to_vec(), e: e.to_vec() }))
    }

    fn of_point(curve: &EllipticCurve, point: &[u8]) -> Result<Material, KeyFault> {
        let (agreement, material) = match curve {
            EllipticCurve::P256 => (&agreement::ECDH_P256, Material::Es256(point.to_vec())),
            EllipticCurve::P384 => (&agreement::ECDH_P384, Material::Es384(point.to_vec())),
            _ => return Err(KeyFault::new("is on a curve that is not taken; P-256, P-384 and Ed25519 are")),
        };
        // Agreeing on something with whoever has the key is a way to have it checked that the point is on its curve.
        let own = agreement::EphemeralPrivateKey::generate(agreement, &SystemRandom::new())
            .map_err(|_| KeyFault::new("cannot be checked: the system gives no random numbers"))?;
        let peer = agreement::UnparsedPublicKey::new(agreement, point);
        agreement::agree_ephemeral(own, &peer, |_: &[u8]| ()).map_err(|_| KeyFault::new("is no point of its curve"))?;
        Ok(material)
    }

    fn of_ed25519(key: &[u8]) -> Result<Material, KeyFault> {
        if key.len() != ring_signature::ED25519_PUBLIC_KEY_LEN {
            return Err(KeyFault::new("is no Ed25519 key, which has 32 bytes"));
        }
        Ok(Material::EdDsa(key.to_vec()))
    }

    fn of_pem(text: &str) -> Result<Self, KeyFault> {
        let (label, der) = key_form::pem(text)?;
        let material = match key_form::public_key(label, &der)? {
            PublicKey::Rsa { n, e } => Self::of_rsa(n, e)?,
            PublicKey::P256(point) => Self::of_point(&EllipticCurve::P256, point)?,
            PublicKey::P384(point) => Self::of_point(&EllipticCurve::P384, point)?,
            PublicKey::Ed25519(key) => Self::of_ed25519(key)?,
        };
        Ok(Self { kid: None, material })
    }

    fn of_jwk(value: Value) -> Result<Self, KeyFault> {
        if value.get("d").is_some() {
            return Err(KeyFault::new(
                "is a private key, which belongs to whoever signs and nowhere else; leave `d` and its like out",
            ));
        }
        // What the reader says of it could tell of the key.
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| KeyFault::new("is no JWK"))?;
        let bytes = |text: &str, field: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::new(format!("has a `{field}` that is no base64url")))
        };
        let material = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(key) => Self::of_secret(&bytes(&key.value, "k")?)?,
            AlgorithmParameters::RSA(key) => Self::of_rsa(&bytes(&key.n, "n")?, &bytes(&key.e, "e")?)?,
            AlgorithmParameters::EllipticCurve(key) => {
                // Not compressed: both coordinates follow.
                let (x, y) = (bytes(&key.x, "x")?, bytes(&key.y, "y")?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                Self::of_point(&key.curve, &point)?
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Self::of_ed25519(&bytes(&key.x, "x")?)?
            }
            _ => return Err(KeyFault::new("has a `kty` or `crv` that is not taken")),
        };
        let key = Self { kid: jwk.common.key_id, material };
        if key.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(KeyFault::new(format!("has a `kid` of more than {MAX_KID_BYTES} bytes")));
        }
        if jwk.common.key_algorithm.is_some_and(|named| named != KeyAlgorithm::from(key.algorithm())) {
            return Err(KeyFault::new(format!("has an `alg` that is not taken; with such a key it is {:?}", key.algorithm())));
        }
        let is_for_signatures = jwk.common.public_key_use.is_none_or(|purpose| purpose == PublicKeyUse::Signature)
            && jwk.common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if is_for_signatures { Ok(key) } else { Err(KeyFault::new("is not for signatures, as its `use` or `key_ops` say")) }
    }
}

/// Some keys, and which of them checks what.
#[derive(Debug)]
pub struct KeySet(Vec<Arc<Key>>);

/// Which key of a set is for a token.
#[derive(Debug)]
pub(crate) enum Find {
    This(Arc<Key>),
    /// The key that the token names or the only one there is has another algorithm.
    OtherAlgorithm,
    /// The token names a key that is not in the set.
    Unknown,
    /// The token names none, and several could be meant.
    Ambiguous,
}

impl KeySet {
    /// The secret of HS256, its bytes as they are.
    ///
    /// # Errors
    /// If it is too short.
    pub fn of_secret(secret: &str) -> Result<Self, KeyFault> {
        let material = Key::of_secret(secret.as_bytes())?;
        Ok(Self(vec![Arc::new(Key { kid: None, material })]))
    }

    /// One key: a public one as PEM (`PUBLIC KEY`, `RSA PUBLIC KEY`), or a JWK of any kind.
    ///
    /// # Errors
    /// If it has another form, is too short, or of a kind that is not taken.
    pub fn of_text(text: &str) -> Result<Self, KeyFault> {
        let text = text.trim();
        if !text.starts_with('{') {
            return Ok(Self(vec![Arc::new(Key::of_pem(text)?)]));
        }
        let value: Value = serde_json::from_str(text).map_err(|_| KeyFault::new("is no JWK: it is not JSON"))?;
        if value.get("keys").is_some() {
            return Err(KeyFault::new("is a set of keys; write the one key that is meant, or give the address of the set"));
        }
        Ok(Self(vec![Arc::new(Key::of_jwk(value)?)]))
    }

    /// The keys of a JWK set as one is published. Those that are not for us (to encrypt, of other algorithms) are passed over, and
    /// returned with why. So are secrets: one that is published is none.
    ///
    /// # Errors
    /// If it has another form, no key that can be used, or too many.
    pub(crate) fn of_jwks(json: &[u8]) -> Result<(Self, Vec<KeyFault>), KeyFault> {
        #[derive(serde::Deserialize)]
        struct Jwks {
            keys: Vec<Value>,
        }
        let Jwks { keys } = serde_json::from_slice(json).map_err(|_| KeyFault::new("is no JWK set"))?;
        if keys.len() > MAX_KEYS {
            return Err(KeyFault::new(format!("holds {} keys, at most {MAX_KEYS} are taken", keys.len())));
        }
        let (mut taken, mut passed_over) = (Vec::new(), Vec::new());
        for (nr, value) in keys.into_iter().enumerate() {
            let key = match value.get("kty").and_then(Value::as_str) {
                Some("oct") => Err(KeyFault::new("is a secret, and published")),
                _ => Key::of_jwk(value),
            };
            match key {
                Ok(key) => taken.push(Arc::new(key)),
                Err(KeyFault(what)) => passed_over.push(KeyFault(format!("key {nr} {what}"))),
            }
        }
        if taken.is_empty() {
            let why = passed_over.first().map_or_else(String::new, |fault| format!(": {fault}"));
            return Err(KeyFault(format!("holds no key that can be used{why}")));
        }
        Ok((Self(taken), passed_over))
    }

    /// The key for a token with this header. Never one of another algorithm, whatever the header says.
    pub(crate) fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Find {
        let named = |key: &&Arc<Key>| kid.is_some() && key.kid.as_deref() == kid;
        if self.0.iter().any(|key| named(&key)) {
            let fits = self.0.iter().filter(named).find(|key| key.algorithm() == algorithm);
            return fits.map_or(Find::OtherAlgorithm, |key| Find::This(key.clone()));
        }
        // Who names a key can mean one that has no name here; who names none can mean any.
        let mut possible = self.0.iter().filter(|key| kid.is_none() || key.kid.is_none()).peekable();
        if possible.peek().is_none() {
            return Find::Unknown;
        }
        let mut fitting = possible.filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Find::This(key.clone()),
            (Some(_), Some(_)) => Find::Ambiguous,
            (None, _) => Find::OtherAlgorithm,
        }
    }
}
