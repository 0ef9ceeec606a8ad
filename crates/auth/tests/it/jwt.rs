//! Tokens: every algorithm, every fault.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::json;
use yhub_auth::{AuthError, Authenticator, Caller, Jwt, JwtOptions, Method, Secret};
use yhub_core::{
    Freshness, ManualTime, RoomId,
    access::{Level, Target, Via},
};
use yhub_encoding::Any;

use crate::sign::*;

/// Tokens are checked without asking anybody when the keys are known.
fn ask(jwt: Jwt, token: &str) -> Result<Caller, AuthError> {
    let authenticator = Authenticator::new(vec![Method::Jwt(Box::new(jwt))], Arc::new(ManualTime::new(NOW_MS)))
        .expect("methods that go together");
    let secret = Secret::new(token)?;
    authenticator.authenticate(Some(&secret), Target::Hub, Freshness::Cached).now_or_never().expect("nobody is waited for")
}

fn check(signer: &Signer, token: &str) -> Result<Caller, AuthError> {
    ask(jwt_of(signer, options()), token)
}

/// Why it is refused, and that nothing of the token is said.
fn why(signer: &Signer, token: &str) -> String {
    match check(signer, token) {
        Err(error @ (AuthError::Refused { .. } | AuthError::Expired)) => {
            let told = format!("{error} {error:?}");
            for part in token.split('.').filter(|part| part.len() > 8) {
                assert!(!told.contains(part), "{told}");
            }
            told
        }
        other => panic!("{}: {other:?}", signer.alg()),
    }
}

#[test]
fn a_good_token_says_who_and_until_when() {
    for signer in Signer::all() {
        let caller = check(&signer, &signer.token(&claims())).unwrap();
        assert_eq!((caller.identity.user.as_str(), caller.identity.via), ("ann", Via::Jwt), "{}", signer.alg());
        // With the leeway.
        assert_eq!(caller.expires_ms, Some(NOW_MS + 660_000));
        assert_eq!(caller.identity.claims.get("userid"), Some(&Any::from("ann")));
        assert_eq!(caller.identity.claims.get("iss"), Some(&Any::from("https://issuer.example")));
        assert!(caller.grants.is_none());
        // Names of keys are not needed where there is one.
        assert!(check(&signer, &signer.token_of(&json!({ "alg": signer.alg() }).to_string(), claims().to_string())).is_ok());
    }
}

#[test]
fn every_fault_of_a_claim_is_refused_with_every_algorithm() {
    let long = "u".repeat(257);
    let faults = [
        (json!({ "exp": NOW - 61 }), "expired"),
        (json!({ "exp": NOW - 60 }), "expired"),
        (json!({ "exp": "ABSENT" }), "no `exp`"),
        (json!({ "exp": "soon" }), "`exp` is no time"),
        (json!({ "exp": null }), "`exp` is no time"),
        (json!({ "exp": -1 }), "`exp` is no time"),
        (json!({ "exp": 1e300 }), "`exp` is no time"),
        (json!({ "exp": [NOW + 600] }), "`exp` is no time"),
        (json!({ "nbf": NOW + 61 }), "not valid yet"),
        (json!({ "nbf": "now" }), "`nbf` is no time"),
        (json!({ "iat": NOW + 61 }), "in the future"),
        (json!({ "iat": true }), "`iat` is no time"),
        (json!({ "aud": "somebody" }), "`aud` is another"),
        (json!({ "aud": ["somebody", "else"] }), "`aud` is another"),
        (json!({ "aud": [] }), "`aud` is another"),
        (json!({ "aud": { "yhub": 1 } }), "`aud` is another"),
        (json!({ "aud": "YHUB" }), "`aud` is another"),
        (json!({ "aud": "ABSENT" }), "no `aud`"),
        (json!({ "iss": "https://issuer.example/" }), "`iss` is another"),
        (json!({ "iss": ["https://issuer.example"] }), "`iss` is another"),
        (json!({ "iss": "ABSENT" }), "no `iss`"),
        (json!({ "sub": "ABSENT" }), "names no user in `yuserid` or `sub`"),
        (json!({ "sub": "" }), "`sub` is no text"),
        (json!({ "sub": long }), "`sub` is no text"),
        (json!({ "sub": 5 }), "`sub` is no text"),
        // The one that is asked for first counts, also if it is bad.
        (json!({ "yuserid": null }), "`yuserid` is no text"),
        (json!({ "yhub": { "org": "a", "access": "all" } }), "`access` of a grant"),
        (json!({ "yhub": [{ "access": "rw" }] }), "`org` of a grant"),
        (json!({ "yhub": "admin" }), "grants are a list"),
        (json!({ "yhub": null }), "grants are a list"),
    ];
    for signer in Signer::all() {
        for (changes, expected) in &faults {
            let said = why(&signer, &signer.token(&claims_with(changes.clone())));
            assert!(said.contains(expected), "{} {changes}: {said}", signer.alg());
        }
    }
}

#[test]
fn what_is_just_right_is_taken() {
    for signer in Signer::all() {
        for changes in [
            json!({ "exp": NOW - 59 }),
            json!({ "exp": NOW as f64 + 0.5 }),
            json!({ "nbf": NOW + 59 }),
            json!({ "nbf": NOW + 60 }),
            json!({ "iat": NOW + 59 }),
            json!({ "iat": "ABSENT" }),
            json!({ "aud": ["somebody", "other"] }),
            json!({ "sub": "u".repeat(256) }),
            json!({ "sub": "ABSENT", "yuserid": "bob" }),
            json!({ "sub": 5, "yuserid": "bob" }),
            json!({ "yhub": [] }),
        ] {
            let checked = check(&signer, &signer.token(&claims_with(changes.clone())));
            assert!(checked.is_ok(), "{} {changes}: {checked:?}", signer.alg());
        }
    }
}

#[test]
fn options_say_what_is_demanded() {
    let signer = Signer::eddsa("k");
    let with = |options: JwtOptions, changes| ask(jwt_of(&signer, options), &signer.token(&claims_with(changes)));
    let anything = JwtOptions { leeway: Duration::ZERO, ..Default::default() };
    assert!(with(anything.clone(), json!({ "iss": "ABSENT", "aud": "ABSENT" })).is_ok());
    assert!(with(anything.clone(), json!({ "iss": 1, "aud": 1 })).is_ok());
    assert!(with(anything.clone(), json!({ "exp": NOW })).is_err());
    assert!(with(anything.clone(), json!({ "exp": NOW + 1 })).is_ok());
    assert!(with(anything.clone(), json!({ "nbf": NOW + 1 })).is_err());
    let short = JwtOptions { max_lifetime: Some(Duration::from_secs(600)), ..anything.clone() };
    assert!(with(short.clone(), json!({ "iat": NOW, "exp": NOW + 600 })).is_ok());
    for changes in [json!({ "iat": NOW - 1, "exp": NOW + 600 }), json!({ "iat": "ABSENT" })] {
        assert!(matches!(with(short.clone(), changes), Err(AuthError::Refused { .. })));
    }
    let named = JwtOptions { user_claim: Some("email".into()), grants_claim: "may".into(), ..anything };
    let grants = json!({ "org": "acme", "access": "rw" });
    let caller = with(named.clone(), json!({ "email": "ann@a.example", "may": grants, "yhub": "not looked at" })).unwrap();
    assert_eq!(caller.identity.user, "ann@a.example");
    let room = RoomId::new("acme", "d", "main");
    assert_eq!(caller.grants.unwrap().access(Target::Room(&room)).level, Level::Write);
    assert!(with(named, json!({})).is_err());
}

#[test]
fn faults_of_the_form_are_refused() {
    for signer in Signer::all() {
        let header = signer.header().to_string();
        let good = claims().to_string();
        let alg = signer.alg();
        let twice = |claim: &str| format!("{},{claim}}}", good.trim_end_matches('}'));
        for (header, payload, expected) in [
            (header.as_str(), "[]".to_owned(), "no JSON object"),
            (&header, "null".to_owned(), "no JSON object"),
            (&header, "{".to_owned(), "no JSON object"),
            (&header, format!("{good} "), ""),
            (&header, format!("{good}{good}"), "no JSON object"),
            (&header, twice(r#""sub":"bob""#), "stands twice"),
            (&header, twice(r#""x":{"a":1,"b":[{"c":1,"c":1}]}"#), "stands twice"),
            // The same key, written differently.
            (&header, twice(r#""\u0073ub":"bob""#), "stands twice"),
            (&format!(r#"{{"alg":"{alg}","alg":"{alg}"}}"#), good.clone(), "header"),
            (&format!(r#"{{"alg":"{alg}","kid":"{0}","kid":"{0}"}}"#, signer.kid), good.clone(), "header"),
            (&format!(r#"{{"alg":"{alg}","kid":5}}"#), good.clone(), "header"),
            (&format!(r#"{{"alg":["{alg}"]}}"#), good.clone(), "header"),
            (&format!(r#"{{"alg":"{alg}","crit":["b64"],"b64":false}}"#), good.clone(), "`crit`"),
            (&format!(r#"{{"alg":"{alg}","crit":[]}}"#), good.clone(), "`crit`"),
            (r#"{"typ":"JWT"}"#, good.clone(), "header"),
            ("[]", good.clone(), "header"),
            ("{", good.clone(), "header"),
        ] {
            let token = signer.token_of(header, &payload);
            if expected.is_empty() {
                assert!(check(&signer, &token).is_ok(), "white space at the end is JSON");
            } else {
                let said = why(&signer, &token);
                assert!(said.contains(expected), "{header} {payload}: {said}");
            }
        }
        let not_text = signer.token_of(&header, [b'{', b'"', 0xff, b'"', b':', b'1', b'}']);
        assert!(why(&signer, &not_text).contains("no JSON object"));
        let deep = signer.token_of(&header, format!("{{\"x\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000)));
        assert!(why(&signer, &deep).contains("no JSON object"));
        let huge = signer.token(&claims_with(json!({ "x": "y".repeat(9_000) })));
        assert!(matches!(check(&signer, &huge), Err(AuthError::Refused { why }) if why.contains("8192 bytes")));
        // As much as fits is taken.
        assert!(check(&signer, &signer.token(&claims_with(json!({ "x": "y".repeat(5_000) })))).is_ok());
    }
}

#[test]
fn what_is_not_signed_or_damaged_is_refused() {
    for signer in Signer::all() {
        let token = signer.token(&claims());
        let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let bad = "signature is not that of the key";
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let header = base64url(json!({ "alg": none }).to_string());
            for signature in ["", signature] {
                assert!(why(&signer, &format!("{header}.{payload}.{signature}")).contains("algorithm"), "{none}");
            }
        }
        assert!(why(&signer, &format!("{header}.{payload}.")).contains(bad));
        assert!(why(&signer, &format!("{header}.{payload}.AAAA")).contains(bad));
        assert!(why(&signer, &format!("{header}.{payload}.{}", signature.replace(&signature[..4], "AAAA"))).contains(bad));
        assert!(why(&signer, &format!("{header}.{payload}.{signature}AAAA")).contains(bad));
        assert!(why(&signer, &format!("{header}.{payload}.{}", &signature[..signature.len() - 4])).contains(bad));
        // The claims of another token under this signature, and another header.
        let other = base64url(claims_with(json!({ "sub": "root" })).to_string());
        assert!(why(&signer, &format!("{header}.{other}.{signature}")).contains(bad));
        let other = base64url(json!({ "alg": signer.alg(), "x": 1 }).to_string());
        assert!(why(&signer, &format!("{other}.{payload}.{signature}")).contains(bad));
        assert!(why(&signer, &signer.other().token(&claims())).contains(bad));
        let padded = format!("{token}=");
        assert!(check(&signer, &padded).is_err());
        for what in ["", ".", "..", "a.b", "a.b.c.d"] {
            assert!(check(&signer, what).is_err(), "{what:?}");
        }
    }
}

#[test]
fn a_key_checks_nothing_but_its_own_algorithm() {
    let signers = Signer::all();
    for own in &signers {
        for alg in ["HS256", "HS384", "HS512", "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "ES512", "ES256K", "Ed25519"]
        {
            if alg == own.alg() {
                continue;
            }
            // Signed in truth, under another name.
            for header in [json!({ "alg": alg }), json!({ "alg": alg, "kid": own.kid })] {
                let said = why(own, &own.token_of(&header.to_string(), claims().to_string()));
                assert!(said.contains("algorithm"), "{alg} for {}: {said}", own.alg());
            }
        }
        for other in signers.iter().filter(|other| other.alg() != own.alg()) {
            // Signed by another, whose key is not known here, also under the name of ours.
            for kid in [&own.kid, &other.kid] {
                let header = json!({ "alg": other.alg(), "kid": kid }).to_string();
                let said = why(own, &other.token_of(&header, claims().to_string()));
                assert!(said.contains("algorithm") || said.contains("not known"), "{said}");
            }
            let header = json!({ "alg": own.alg(), "kid": own.kid }).to_string();
            assert!(why(own, &other.token_of(&header, claims().to_string())).contains("signature"));
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    use ring::hmac;
    let pem = include_str!("../keys/rsa-2048.pub.pem");
    for own in Signer::all().iter().filter(|own| own.alg() != "HS256") {
        let jwk = own.jwk();
        let mut forms = vec![own.public(), jwk.to_string().into_bytes()];
        forms.extend([pem.as_bytes().to_vec(), pem.trim().as_bytes().to_vec(), der(pem)]);
        forms.extend(["n", "x"].iter().filter_map(|field| jwk[field].as_str()).map(|text| text.as_bytes().to_vec()));
        for secret in forms {
            for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": own.kid })] {
                let message = format!("{}.{}", base64url(header.to_string()), base64url(claims().to_string()));
                let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
                let token = format!("{message}.{}", base64url(signature));
                assert!(why(own, &token).contains("another algorithm"), "{}", own.alg());
            }
        }
    }
}

#[test]
fn the_name_of_a_key_chooses_it() {
    let signer = Signer::es256("k1");
    let with =
        |kid: &str| check(&signer, &signer.token_of(&json!({ "alg": "ES256", "kid": kid }).to_string(), claims().to_string()));
    assert!(with("k1").is_ok());
    for kid in ["k2", "", "K1"] {
        assert!(matches!(with(kid), Err(AuthError::Refused { why }) if why.contains("not known")), "{kid:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_gets_in_or_does_harm(text in ".{0,300}") {
        let signer = Signer::hs256("hs");
        prop_assert!(check(&signer, &text).is_err());
    }

    #[test]
    fn no_signed_bytes_do_harm(header in prop::collection::vec(any::<u8>(), 0..60), payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let signer = Signer::hs256("hs");
        let own = signer.header().to_string();
        prop_assert!(check(&signer, &signer.token_of(&own, &payload)).is_err());
        let header = String::from_utf8_lossy(&header).into_owned();
        prop_assert!(check(&signer, &signer.token_of(&header, claims().to_string())).is_err());
    }

    #[test]
    fn no_token_with_a_changed_byte_gets_in(which in 0..5usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let signer = &Signer::all()[which];
        let mut token = signer.token(&claims()).into_bytes();
        let at = at.index(token.len());
        prop_assume!(token[at] != byte);
        token[at] = byte;
        prop_assert!(check(signer, &String::from_utf8_lossy(&token)).is_err());
    }

    #[test]
    fn claims_of_any_kind_do_no_harm(name in prop::sample::select(vec!["exp", "nbf", "iat", "iss", "aud", "sub", "yuserid", "yhub"]), json in json_value()) {
        let signer = Signer::hs256("hs");
        let _ = check(&signer, &signer.token(&claims_with(json!({ name: json }))));
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        ".{0,20}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::hash_map("org|docid|branch|access|purposes|[a-z]", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}
