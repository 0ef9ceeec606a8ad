//! Several methods beside one another.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use yhub_auth::{AuthError, Authenticator, Callback, CallbackForm, CallbackOptions, Method, Open, Secret};
use yhub_core::{
    Freshness::{Cached, Fresh},
    ManualTime, RoomId,
    access::{Access, Level, Purposes, Target, Via},
};
use yhub_testkit::servers::{Web, WebReply};

use crate::sign::*;

const READ: Access = Access { level: Level::Read, purposes: Purposes::NONE };

fn jwt() -> Method {
    Method::Jwt(Box::new(jwt_of(&Signer::hs256("hs"), options())))
}

fn open() -> Method {
    Method::Open(Open { access: READ })
}

fn callback(web: &Web, form: CallbackForm, time: &Arc<ManualTime>) -> Method {
    let options = CallbackOptions { timeout: Duration::from_secs(20), ..CallbackOptions::new(&web.url("/"), form) };
    Method::Callback(Callback::new(options, time.clone()).unwrap())
}

fn time() -> Arc<ManualTime> {
    Arc::new(ManualTime::new(NOW_MS))
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn room() -> RoomId {
    RoomId::new("acme", "d", "main")
}

#[tokio::test]
async fn without_a_credential_one_is_anonymous_or_nobody() {
    let closed = Authenticator::new(vec![jwt()], time()).unwrap();
    assert_eq!(closed.authenticate(None, Target::Hub, Cached).await.unwrap_err(), AuthError::Missing);
    for methods in [vec![open()], vec![jwt(), open()], vec![open(), jwt()]] {
        let hub = Authenticator::new(methods, time()).unwrap();
        let caller = hub.authenticate(None, Target::Hub, Cached).await.unwrap();
        assert_eq!((caller.identity.user.as_str(), caller.identity.via), ("anonymous", Via::Open));
        assert_eq!(hub.access(&caller, Target::Room(&room()), None, Cached).await.unwrap().access, READ);
    }
}

#[tokio::test]
async fn who_brings_a_bad_credential_is_not_anonymous() {
    for methods in [vec![jwt(), open()], vec![open(), jwt()], vec![open()]] {
        let hub = Authenticator::new(methods, time()).unwrap();
        let expired = Signer::hs256("hs").token(&claims_with(json!({ "exp": NOW - 100 })));
        for credential in [expired.as_str(), "a.b.c", "opaque"] {
            let found = hub.authenticate(Some(&secret(credential)), Target::Hub, Cached).await;
            assert!(matches!(found, Err(AuthError::Refused { .. } | AuthError::Expired)), "{credential}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_signed_token_is_never_handed_on() {
    let web = Web::start(|_| WebReply::ok(json!({ "yuserid": "root", "yaccess": "rw" }).to_string()));
    let time = time();
    for methods in
        [vec![jwt(), callback(&web, CallbackForm::Post, &time)], vec![callback(&web, CallbackForm::Post, &time), jwt()]]
    {
        let hub = Authenticator::new(methods, time.clone()).unwrap();
        let room = room();
        for token in ["a.b.c", "a.b.", &Signer::hs256("hs").other().token(&claims())] {
            let found = hub.authenticate(Some(&secret(token)), Target::Room(&room), Fresh).await;
            assert!(matches!(found, Err(AuthError::Refused { .. })), "{found:?}");
        }
        assert!(web.requests().is_empty());
    }
    // Without the method for them they are tokens like others.
    let hub = Authenticator::new(vec![callback(&web, CallbackForm::Post, &time)], time).unwrap();
    assert!(hub.authenticate(Some(&secret("a.b.c")), Target::Room(&room()), Fresh).await.is_ok());
}

#[tokio::test]
async fn a_token_says_who_and_the_back_end_what_unless_the_token_does() {
    let web = Web::start(|_| WebReply::ok(json!({ "yroom": "d", "yuserid": "ann", "yaccess": "r" }).to_string()));
    let time = time();
    for form in [CallbackForm::Get, CallbackForm::Post] {
        let hub = Authenticator::new(vec![jwt(), callback(&web, form, &time)], time.clone()).unwrap();
        let before = web.requests().len();
        let plain = secret(&Signer::hs256("hs").token(&claims()));
        let caller = hub.authenticate(Some(&plain), Target::Room(&room()), Cached).await.unwrap();
        assert_eq!(web.requests().len(), before);
        let allowed = hub.access(&caller, Target::Room(&room()), None, Cached).await.unwrap();
        assert_eq!((allowed.access, allowed.expires_ms), (READ, caller.expires_ms));
        assert_eq!(web.requests().len(), before + 1);
        let grants = claims_with(json!({ "yhub": [{ "org": "acme", "access": "rw" }] }));
        let caller = hub.authenticate(Some(&secret(&Signer::hs256("hs").token(&grants))), Target::Hub, Cached).await.unwrap();
        let access = async |room: RoomId| hub.access(&caller, Target::Room(&room), None, Fresh).await;
        assert_eq!(access(room()).await.unwrap().access.level, Level::Write);
        assert_eq!(access(RoomId::new("other", "d", "main")).await, Err(AuthError::Denied));
        // No grants are grants of nothing, and nobody is asked.
        let none = claims_with(json!({ "yhub": [] }));
        let caller = hub.authenticate(Some(&secret(&Signer::hs256("hs").token(&none))), Target::Hub, Cached).await.unwrap();
        assert_eq!(hub.access(&caller, Target::Room(&room()), None, Fresh).await, Err(AuthError::Denied));
        assert_eq!(web.requests().len(), before + 1);
    }
}

#[tokio::test]
async fn a_token_without_grants_may_nothing_where_nobody_says_what() {
    let hub = Authenticator::new(vec![jwt(), open()], time()).unwrap();
    let caller = hub.authenticate(Some(&secret(&Signer::hs256("hs").token(&claims()))), Target::Hub, Cached).await.unwrap();
    assert_eq!(hub.access(&caller, Target::Room(&room()), None, Cached).await, Err(AuthError::Denied));
}

#[tokio::test]
async fn what_somebody_may_ends_with_their_token() {
    let time = time();
    let hub = Authenticator::new(vec![jwt()], time.clone()).unwrap();
    let grants = claims_with(json!({ "yhub": { "org": "acme", "access": "rw" } }));
    let caller = hub.authenticate(Some(&secret(&Signer::hs256("hs").token(&grants))), Target::Hub, Cached).await.unwrap();
    time.set_ms(caller.expires_ms.unwrap() - 1);
    assert!(hub.access(&caller, Target::Room(&room()), None, Cached).await.is_ok());
    time.advance(Duration::from_millis(1));
    assert!(matches!(hub.access(&caller, Target::Room(&room()), None, Cached).await, Err(AuthError::Expired)));
}

#[test]
fn methods_must_go_together() {
    let web = Web::start(|_| WebReply::Never);
    for (methods, expected) in [
        (vec![jwt(), jwt()], "twice"),
        (vec![callback(&web, CallbackForm::Get, &time())], "by GET"),
        (vec![callback(&web, CallbackForm::Get, &time()), open()], "by GET"),
    ] {
        let error = Authenticator::new(methods, time()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
