//! Keys as people write them.

use serde_json::json;
use yhub_auth::KeySet;

use crate::sign::Signer;

const GOOD: [&str; 5] = [
    include_str!("../keys/rsa-2048.pub.pem"),
    include_str!("../keys/rsa-2048.pkcs1.pem"),
    include_str!("../keys/ec-P-256.pub.pem"),
    include_str!("../keys/ec-P-384.pub.pem"),
    include_str!("../keys/ed25519.pub.pem"),
];

#[test]
fn public_keys_are_taken_as_pem_and_as_jwk() {
    for pem in GOOD {
        let keys = KeySet::of_text(pem).unwrap();
        // Lines may end as on other systems, and text may stand before it.
        assert!(KeySet::of_text(&pem.replace('\n', "\r\n")).is_ok());
        assert!(KeySet::of_text(&format!("a key of mine\n{pem}")).is_ok());
        assert!(format!("{keys:?}").contains("algorithm"), "{keys:?}");
    }
    for signer in Signer::all() {
        KeySet::of_text(&format!("  {}\n", signer.jwk())).unwrap();
    }
    KeySet::of_secret("0123456789abcdef0123456789abcdef").unwrap();
}

#[test]
fn the_two_forms_of_an_rsa_key_are_one_key() {
    let [one, other] = [GOOD[0], GOOD[1]].map(|pem| format!("{:?}", KeySet::of_text(pem).unwrap()));
    assert!(one.contains("RS256") && one == other);
}

#[test]
fn keys_that_are_too_short_or_none_are_refused_in_words() {
    let with = |mut jwk: serde_json::Value, field: &str, value: serde_json::Value| {
        jwk[field] = value;
        jwk.to_string()
    };
    let (ec, rsa, ed) = (Signer::es256("k").jwk(), Signer::rs256("k").jwk(), Signer::eddsa("k").jwk());
    for (text, expected) in [
        (include_str!("../keys/rsa-1024.pub.pem").to_owned(), "1024 bits"),
        (include_str!("../keys/ec-P-521.pub.pem").to_owned(), "no public key of RSA, P-256"),
        (include_str!("../keys/rsa-2048.pem").to_owned(), "private key"),
        (include_str!("../keys/certificate.pem").to_owned(), "certificate"),
        (format!("{}{}", GOOD[0], GOOD[2]), "more than one"),
        (GOOD[0].replace("PUBLIC", "PUBLISHED"), "no public key"),
        (GOOD[0].replace("-----END", "-----ENDE"), "no PEM"),
        (GOOD[0].replacen('M', "!", 1), "no PEM"),
        (GOOD[0].replacen("IDAQAB", "IDAQAA", 1), "exponent"),
        (String::new(), "no PEM"),
        ("hunter2".to_owned(), "no PEM"),
        ("{".to_owned(), "not JSON"),
        ("{}".to_owned(), "not taken"),
        (json!({ "keys": [ec] }).to_string(), "set of keys"),
        (json!({ "kty": "oct", "k": "c2hvcnQ" }).to_string(), "5 bytes"),
        (json!({ "kty": "oct", "k": "!" }).to_string(), "`k`"),
        (with(ec.clone(), "d", json!("AAAA")), "private key"),
        (with(ec.clone(), "use", json!("enc")), "not for signatures"),
        (with(ec.clone(), "key_ops", json!(["sign"])), "not for signatures"),
        (with(ec.clone(), "alg", json!("RS256")), "`alg`"),
        (with(ec.clone(), "crv", json!("P-384")), "no point"),
        (with(ec.clone(), "crv", json!("P-521")), "curve"),
        (with(ec.clone(), "x", json!(crate::sign::base64url([1; 32]))), "no point"),
        (with(ec.clone(), "x", json!("")), "no point"),
        (with(ec.clone(), "kid", json!("k".repeat(257))), "`kid`"),
        (with(rsa.clone(), "e", json!("AQ")), "exponent"),
        (with(rsa.clone(), "e", json!("AQAC")), "exponent"),
        (with(rsa.clone(), "e", json!("")), "exponent"),
        (with(rsa.clone(), "e", json!("AQAAAAAB")), "exponent"),
        (with(rsa.clone(), "n", json!("")), "0 bits"),
        (with(rsa.clone(), "alg", json!("PS256")), "`alg`"),
        (with(ed.clone(), "x", json!("AAAA")), "32 bytes"),
        (with(ed, "crv", json!("P-256")), "not taken"),
    ] {
        let error = KeySet::of_text(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected: {expected}");
        assert!(!error.contains("hunter2") && !error.contains("AAAA"), "{error}");
    }
    assert!(KeySet::of_secret(&"s".repeat(31)).unwrap_err().to_string().contains("31 bytes"));
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let keys = KeySet::of_secret("hunter2 hunter2 hunter2 hunter2 hunter2").unwrap();
    assert!(!format!("{keys:?}").contains("hunter2"));
}
