//! The forms in which keys are written: PEM, JWK, and the DER inside of PEM.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Why something is no key to check signatures with. Says nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyFault(pub(crate) String);

impl KeyFault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A public key as DER says it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// Modulus and exponent, without zeros before them.
    Rsa { n: &'a [u8], e: &'a [u8] },
    /// A point of P-256, 65 bytes.
    P256(&'a [u8]),
    /// A point of P-384, 97 bytes.
    P384(&'a [u8]),
    /// 32 bytes.
    Ed25519(&'a [u8]),
}

/// What stands before the key in a `SubjectPublicKeyInfo` whose length is always the same.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The algorithm `rsaEncryption` with its parameters, which are none.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The one block of a PEM text: what it is, and the DER in it.
pub(crate) fn pem(text: &str) -> Result<(&str, Vec<u8>), KeyFault> {
    let wrong = || KeyFault::new("is no PEM: expected is one block from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----");
    let (label, rest) = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).ok_or_else(wrong)?;
    let (body, rest) = rest.split_once(&format!("-----END {label}-----")).ok_or_else(wrong)?;
    if rest.contains("-----BEGIN ") {
        return Err(KeyFault::new("holds more than one PEM block; leave one key in it"));
    }
    let body: String = body.split_ascii_whitespace().collect();
    Ok((label, BASE64_STANDARD.decode(body).map_err(|_| wrong())?))
}

/// The key in the DER of a PEM block with this label.
pub(crate) fn public_key<'a>(label: &str, der: &'a [u8]) -> Result<PublicKey<'a>, KeyFault> {
    let found = match label {
        "PUBLIC KEY" => subject_public_key(der),
        "RSA PUBLIC KEY" => rsa(der),
        "CERTIFICATE" => {
            return Err(KeyFault::new("is a certificate; take the key out of it: openssl x509 -pubkey -noout -in FILE"));
        }
        label if label.ends_with("PRIVATE KEY") => {
            return Err(KeyFault::new(
                "is a private key, which belongs to whoever signs and nowhere else; take the public one: openssl pkey -pubout -in FILE",
            ));
        }
        _ => None,
    };
    found.ok_or_else(|| KeyFault::new("holds no public key of RSA, P-256, P-384 or Ed25519"))
}

fn subject_public_key(der: &[u8]) -> Option<PublicKey<'_>> {
    let behind = |prefix: &[u8], length: usize| der.strip_prefix(prefix).filter(|key| key.len() == length);
    if let Some(point) = behind(P256, 65) {
        return Some(PublicKey::P256(point));
    }
    if let Some(point) = behind(P384, 97) {
        return Some(PublicKey::P384(point));
    }
    if let Some(key) = behind(ED25519, 32) {
        return Some(PublicKey::Ed25519(key));
    }
    let info = whole(SEQUENCE, der)?;
    let (algorithm, rest) = element(SEQUENCE, info)?;
    // No bits of the last byte are unused.
    let key = whole(BIT_STRING, rest)?.strip_prefix(&[0])?;
    if algorithm == RSA { rsa(key) } else { None }
}

/// PKCS #1.
fn rsa(der: &[u8]) -> Option<PublicKey<'_>> {
    let (n, rest) = element(INTEGER, whole(SEQUENCE, der)?)?;
    let e = whole(INTEGER, rest)?;
    Some(PublicKey::Rsa { n: without_zeros(n), e: without_zeros(e) })
}

/// A big number without the zeros before it.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// The content of the one element that `der` is.
fn whole(tag: u8, der: &[u8]) -> Option<&[u8]> {
    element(tag, der).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of the element that `der` begins with, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x81, length, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x82, high, low, rest @ ..] if *first == tag => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}
