//! Keys that are published: they change, they cannot be fetched, what is published is none.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use yhub_auth::{AuthError, Authenticator, Caller, Jwks, JwksOptions, Jwt, JwtKeys, Method, Secret};
use yhub_core::{Freshness, ManualTime, access::Target};
use yhub_testkit::{
    ports::free_addr,
    servers::{Gate, Web, WebReply},
    until, within,
};

use crate::sign::*;

/// Somebody who publishes keys, and a hub that fetches them.
struct Scene {
    time: Arc<ManualTime>,
    reply: Arc<Mutex<WebReply>>,
    web: Web,
    hub: Authenticator,
}

fn published<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> WebReply {
    WebReply::ok(json!({ "keys": signers.into_iter().map(Signer::jwk).collect::<Vec<_>>() }).to_string())
}

fn hub(time: &Arc<ManualTime>, options: JwksOptions) -> Authenticator {
    let jwks = Jwks::new(options, time.clone()).unwrap();
    // Not what this is about, while days pass.
    let options = yhub_auth::JwtOptions { max_lifetime: None, ..Default::default() };
    let jwt = Jwt::new(JwtKeys::Published(Arc::new(jwks)), options, time.clone());
    Authenticator::new(vec![Method::Jwt(Box::new(jwt))], time.clone()).unwrap()
}

/// Never so slow in tests, unless a test is about it.
fn patient(url: &str) -> JwksOptions {
    JwksOptions { timeout: Duration::from_secs(20), ..JwksOptions::new(url) }
}

impl Scene {
    fn new(reply: WebReply) -> Self {
        let time = Arc::new(ManualTime::new(NOW_MS));
        let reply = Arc::new(Mutex::new(reply));
        let shared = reply.clone();
        let web = Web::start(move |_| shared.lock().unwrap().clone());
        let hub = hub(&time, patient(&web.url("/keys")));
        Self { time, reply, web, hub }
    }

    fn publish(&self, reply: WebReply) {
        *self.reply.lock().unwrap() = reply;
    }

    async fn check(&self, token: &str) -> Result<Caller, AuthError> {
        check(&self.hub, token).await
    }

    fn fetched(&self) -> usize {
        self.web.requests().len()
    }

    /// Long enough for keys to be asked for again.
    fn wait(&self) {
        self.time.advance(Duration::from_secs(10));
    }
}

async fn check(hub: &Authenticator, token: &str) -> Result<Caller, AuthError> {
    hub.authenticate(Some(&Secret::new(token).unwrap()), Target::Hub, Freshness::Cached).await
}

/// A token that holds for years.
fn long_lived(signer: &Signer) -> String {
    signer.token(&claims_with(json!({ "exp": NOW + 1_000_000_000 })))
}

fn is_unavailable(checked: Result<Caller, AuthError>) -> bool {
    matches!(checked, Err(AuthError::Unavailable { .. }))
}

fn is_unknown(checked: Result<Caller, AuthError>) -> bool {
    matches!(checked, Err(AuthError::Refused { why }) if why.contains("not known"))
}

#[tokio::test]
async fn keys_of_every_public_kind_are_fetched_once() {
    let signers = Signer::all();
    let scene = Scene::new(published(&signers));
    for signer in &signers {
        let checked = scene.check(&signer.token(&claims())).await;
        if signer.alg() == "HS256" {
            // A secret that is published is none.
            assert!(is_unknown(checked));
        } else {
            assert_eq!(checked.unwrap().identity.user, "ann");
        }
    }
    let [request] = scene.web.requests().try_into().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str(), request.header("authorization")), ("GET", "/keys", ""));
    // Signed by one of them, in the name of another.
    let header = json!({ "alg": "ES256", "kid": "es384" }).to_string();
    let other = signers.iter().find(|signer| signer.alg() == "ES256").unwrap().token_of(&header, claims().to_string());
    assert!(matches!(scene.check(&other).await, Err(AuthError::Refused { why }) if why.contains("another algorithm")));
}

#[tokio::test]
async fn a_new_key_is_fetched_and_an_old_one_forgotten() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let scene = Scene::new(published([&old]));
    assert!(scene.check(&old.token(&claims())).await.is_ok());
    scene.publish(published([&new]));
    // Too soon after the last time.
    assert!(is_unknown(scene.check(&new.token(&claims())).await));
    assert!(scene.check(&old.token(&claims())).await.is_ok());
    scene.wait();
    assert!(scene.check(&new.token(&claims())).await.is_ok());
    assert!(is_unknown(scene.check(&old.token(&claims())).await));
    assert_eq!(scene.fetched(), 2);
}

#[tokio::test]
async fn a_storm_of_unknown_keys_fetches_once_an_interval() {
    let signer = Signer::es256("known");
    let gate = Gate::new();
    let scene = Scene::new(WebReply::After(gate.clone(), Box::new(published([&signer]))));
    let tokens: Vec<_> = (0..100)
        .map(|nr| signer.token_of(&json!({ "alg": "ES256", "kid": format!("k{nr}") }).to_string(), claims().to_string()))
        .collect();
    let storm = async || join_all(tokens.iter().map(|token| scene.check(token))).await;
    let open = async {
        until("the keys to be asked for", async || (scene.fetched() > 0).then_some(())).await;
        gate.open();
    };
    let (checked, ()) = tokio::join!(storm(), open);
    assert!(checked.into_iter().all(is_unknown));
    assert_eq!(scene.fetched(), 1);
    for round in 2..5 {
        for _ in 0..2 {
            assert!(storm().await.into_iter().all(is_unknown));
        }
        assert_eq!(scene.fetched(), round - 1);
        scene.wait();
        assert!(storm().await.into_iter().all(is_unknown));
        assert_eq!(scene.fetched(), round);
    }
    // Those that are known are not concerned.
    assert!(scene.check(&signer.token(&claims())).await.is_ok());
}

#[tokio::test]
async fn who_goes_away_while_keys_are_fetched_does_not_cause_another_fetch() {
    let signer = Signer::es256("k");
    let scene = Scene::new(WebReply::Never);
    let token = signer.token(&claims());
    tokio::select! {
        checked = scene.check(&token) => panic!("nobody answers: {checked:?}"),
        () = until("the keys to be asked for", async || (scene.fetched() > 0).then_some(())) => {}
    }
    assert!(is_unavailable(scene.check(&token).await));
    assert_eq!(scene.fetched(), 1);
}

#[tokio::test]
async fn while_nobody_answers_nobody_is_let_in_and_nobody_refused() {
    let (signer, time, addr) = (Signer::eddsa("k"), Arc::new(ManualTime::new(NOW_MS)), free_addr());
    let hub = hub(&time, patient(&format!("http://{addr}/keys")));
    assert!(is_unavailable(check(&hub, &signer.token(&claims())).await));
    let reply = published([&signer]);
    let web = Web::start_at(addr, move |_| reply.clone());
    // Asked a moment ago.
    assert!(is_unavailable(check(&hub, &signer.token(&claims())).await));
    time.advance(Duration::from_secs(10));
    assert!(check(&hub, &signer.token(&claims())).await.is_ok());
    drop(web);
    // Keys that are there are good without it. One that is not may be new: that is not known.
    assert!(check(&hub, &signer.token(&claims())).await.is_ok());
    time.advance(Duration::from_secs(10));
    assert!(is_unavailable(check(&hub, &Signer::eddsa("new").token(&claims())).await));
    // A clock that is set back does not make it wait for that time.
    time.set_back(Duration::from_secs(3_600));
    let reply = published([&Signer::eddsa("other")]);
    let web = Web::start_at(addr, move |_| reply.clone());
    assert!(is_unknown(check(&hub, &Signer::eddsa("new").token(&claims_with(json!({ "iat": "ABSENT" })))).await));
    assert_eq!(web.requests().len(), 1);
}

#[tokio::test]
async fn one_who_is_too_slow_does_not_answer() {
    let signer = Signer::eddsa("k");
    let web = Web::start(|_| WebReply::Never);
    let options = JwksOptions { timeout: Duration::from_millis(50), ..JwksOptions::new(&web.url("/")) };
    let hub = hub(&Arc::new(ManualTime::new(NOW_MS)), options);
    assert!(is_unavailable(within("it to be given up", check(&hub, &signer.token(&claims()))).await));
    assert_eq!(web.requests().len(), 1);
}

#[tokio::test]
async fn what_is_no_key_set_is_no_answer_and_the_last_keys_hold_for_a_while() {
    let signer = Signer::es384("k");
    let good = published([&signer]);
    let key = |key: Value| WebReply::ok(json!({ "keys": [key] }).to_string());
    let without = |field: &str| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove(field);
        jwk
    };
    let WebReply::Status(_, good_body) = &good else { panic!("{good:?}") };
    let bad = [
        WebReply::ok(""),
        WebReply::ok("<html>sign in</html>"),
        WebReply::ok("{}"),
        WebReply::ok(r#"{"keys":{}}"#),
        WebReply::ok(r#"{"keys":[]}"#),
        WebReply::ok(r#"{"keys":[1,"x",null,{}]}"#),
        WebReply::ok(&good_body[..good_body.len() - 1]),
        key(without("x")),
        key(without("kty")),
        key(Signer::hs256("k").jwk()),
        WebReply::ok(json!({ "keys": vec![signer.jwk(); 101] }).to_string()),
        // Good, and too long.
        WebReply::ok(format!("{good_body}{}", " ".repeat(256 << 10))),
        WebReply::Status(500, good_body.clone()),
        WebReply::Status(404, good_body.clone()),
        WebReply::Cut,
    ];
    for reply in bad {
        let scene = Scene::new(reply.clone());
        assert!(is_unavailable(scene.check(&long_lived(&signer)).await), "{reply:?}");
        scene.publish(good.clone());
        scene.wait();
        assert!(scene.check(&long_lived(&signer)).await.is_ok(), "{reply:?}");
        scene.publish(reply.clone());
        let unknown = long_lived(&Signer::es384("other"));
        scene.wait();
        assert!(is_unavailable(scene.check(&unknown).await), "{reply:?}");
        // A day and no longer.
        scene.time.set_ms(NOW_MS + 10_000 + 24 * 3_600_000);
        assert!(scene.check(&long_lived(&signer)).await.is_ok(), "{reply:?}");
        scene.time.advance(Duration::from_millis(1));
        assert!(is_unavailable(scene.check(&long_lived(&signer)).await), "{reply:?}");
        scene.publish(good.clone());
        scene.wait();
        assert!(scene.check(&long_lived(&signer)).await.is_ok(), "{reply:?}");
    }
}

#[tokio::test]
async fn where_an_answer_sends_one_is_not_gone_to() {
    let signer = Signer::es256("k");
    let good = published([&signer]);
    let elsewhere = Web::start(move |_| good.clone());
    let scene = Scene::new(WebReply::Redirect(elsewhere.url("/keys")));
    assert!(is_unavailable(scene.check(&signer.token(&claims())).await));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn keys_that_are_for_something_else_are_passed_over() {
    let signer = Signer::es256("k");
    let mut enc = Signer::rs256("k").jwk();
    enc["use"] = "enc".into();
    let mut other_alg = Signer::rs256("rs512").jwk();
    other_alg["alg"] = "RS512".into();
    let keys = json!({ "keys": [enc, other_alg, { "kty": "new", "x": 1 }, signer.jwk()] });
    let scene = Scene::new(WebReply::ok(keys.to_string()));
    assert!(scene.check(&signer.token(&claims())).await.is_ok());
    assert!(scene.check(&Signer::rs256("k").token(&claims())).await.is_err());
    assert!(scene.check(&Signer::rs256("rs512").token(&claims())).await.is_err());
}

#[tokio::test]
async fn a_token_without_the_name_of_its_key_is_taken_if_only_one_can_be_meant() {
    let (one, other, third) = (Signer::es256("1"), Signer::es256("2"), Signer::eddsa("3"));
    let nameless = |signer: &Signer| signer.token_of(&json!({ "alg": signer.alg() }).to_string(), claims().to_string());
    let scene = Scene::new(published([&one, &other, &third]));
    assert!(scene.check(&nameless(&third)).await.is_ok());
    assert!(matches!(scene.check(&nameless(&one)).await, Err(AuthError::Refused { why }) if why.contains("`kid`")));
}

#[tokio::test]
async fn keys_are_fetched_before_they_are_asked_for_and_again_and_again() {
    let signer = Signer::es256("k");
    let good = published([&signer]);
    let web = Web::start(move |_| good.clone());
    let options = JwksOptions { refresh: Duration::from_millis(5), ..patient(&web.url("/")) };
    let hub = hub(&Arc::new(ManualTime::new(NOW_MS)), options);
    let many = until("keys to be fetched some times", async || (web.requests().len() >= 3).then_some(()));
    tokio::select! {
        () = hub.keep_fresh() => unreachable!(),
        () = many => {}
    }
}

#[tokio::test]
async fn only_addresses_that_are_safe_are_asked() {
    let time = Arc::new(ManualTime::new(NOW_MS));
    for (url, expected) in [
        ("http://keys.example/", "no TLS"),
        ("https://ann:hunter2@keys.example/", "password"),
        ("keys.example", "no URL"),
        ("file:///keys", "no URL"),
    ] {
        let error = Jwks::new(JwksOptions::new(url), time.clone()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
    Jwks::new(JwksOptions { allow_http: true, ..JwksOptions::new("http://keys.example/?tenant=1") }, time).unwrap();
}
