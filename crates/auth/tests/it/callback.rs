//! Back ends that are asked: what they say, what they should not say, and when they say nothing.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use yhub_auth::{AuthError, Authenticator, Callback, CallbackForm, CallbackOptions, Caller, Method, Secret};
use yhub_core::{
    Freshness::{self, Cached, Fresh},
    ManualTime, RoomId,
    access::{Access, Identity, Level, Purpose, Purposes, Right, Target, Via},
};
use yhub_encoding::{Any, Object};
use yhub_testkit::{
    ports::free_addr,
    servers::{Gate, Web, WebReply, WebRequest},
    until, within,
};

use crate::sign::{self, NOW_MS, Signer};

const TOKEN: &str = "hunter2-the-opaque-token";

/// A back end, and a hub that asks it.
struct Scene {
    time: Arc<ManualTime>,
    reply: Arc<Mutex<WebReply>>,
    web: Web,
    hub: Authenticator,
}

fn options(url: &str, form: CallbackForm) -> CallbackOptions {
    CallbackOptions {
        timeout: Duration::from_secs(20),
        secret: Some(Secret::new("hunter2-of-the-hub").unwrap()),
        ..CallbackOptions::new(url, form)
    }
}

/// A hub at which somebody may also come with a signed token.
fn hub(time: &Arc<ManualTime>, options: CallbackOptions) -> Authenticator {
    let callback = Callback::new(options, time.clone()).unwrap();
    let jwt = sign::jwt_of(&Signer::hs256("hs"), sign::options());
    Authenticator::new(vec![Method::Jwt(Box::new(jwt)), Method::Callback(callback)], time.clone()).unwrap()
}

impl Scene {
    fn of(reply: WebReply, form: CallbackForm, change: impl FnOnce(&mut CallbackOptions)) -> Self {
        let time = Arc::new(ManualTime::new(NOW_MS));
        let reply = Arc::new(Mutex::new(reply));
        let shared = reply.clone();
        let web = Web::start(move |_| shared.lock().unwrap().clone());
        let mut options = options(&web.url("/auth"), form);
        change(&mut options);
        let hub = hub(&time, options);
        Self { time, reply, web, hub }
    }

    fn post(reply: WebReply) -> Self {
        Self::of(reply, CallbackForm::Post, |_| {})
    }

    fn get(reply: WebReply) -> Self {
        Self::of(reply, CallbackForm::Get, |_| {})
    }

    fn say(&self, reply: WebReply) {
        *self.reply.lock().unwrap() = reply;
    }

    fn asked(&self) -> usize {
        self.web.requests().len()
    }

    async fn access(&self, user: &str, freshness: Freshness) -> Result<Access, AuthError> {
        access(&self.hub, user, freshness).await
    }

    async fn by_token(&self) -> Result<Caller, AuthError> {
        self.hub.authenticate(Some(&Secret::new(TOKEN).unwrap()), Target::Room(&room()), Cached).await
    }
}

fn room() -> RoomId {
    RoomId::new("acme", "a/b c", "main")
}

/// Somebody who came with a signed token.
fn known(user: &str) -> Caller {
    Caller::new(Identity { user: user.to_owned(), claims: Object::new(), via: Via::Jwt }, None, None)
}

async fn access(hub: &Authenticator, user: &str, freshness: Freshness) -> Result<Access, AuthError> {
    hub.access(&known(user), Target::Room(&room()), None, freshness).await.map(|allowed| allowed.access)
}

/// What a good back end says of ann.
fn may(word: Value) -> WebReply {
    WebReply::ok(json!({ "yroom": "a/b c", "yuserid": "ann", "yaccess": word }).to_string())
}

fn with(changes: Value) -> WebReply {
    let mut answer = json!({ "yroom": "a/b c", "yuserid": "ann", "yaccess": "rw" });
    for (name, value) in changes.as_object().unwrap() {
        if value == "ABSENT" {
            answer.as_object_mut().unwrap().remove(name);
        } else {
            answer[name] = value.clone();
        }
    }
    WebReply::ok(answer.to_string())
}

fn is_unavailable<T>(found: &Result<T, AuthError>) -> bool {
    matches!(found, Err(AuthError::Unavailable { .. }))
}

fn only(requests: Vec<WebRequest>) -> WebRequest {
    let [request] = requests.try_into().unwrap_or_else(|all| panic!("not one request: {all:?}"));
    request
}

const READ: Access = Access { level: Level::Read, purposes: Purposes::NONE };
const WRITE: Access = Access { level: Level::Write, purposes: Purposes::NONE };

#[tokio::test]
async fn the_get_form_is_that_of_y_hub() {
    let scene = Scene::get(may(json!("rw")));
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
    let request = only(scene.web.requests());
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/auth/a%2Fb%20c/ann?org=acme&branch=main"));
    assert_eq!(request.header("authorization"), "Bearer hunter2-of-the-hub");
    let asked = scene.hub.access(&known("ann"), Target::Room(&room()), Some(Purpose::HardDelete), Cached).await.unwrap();
    assert!(scene.web.requests()[1].path.ends_with("&purpose=hard-delete"));
    // One that does not know of purposes has not granted it.
    assert_eq!(asked.access, WRITE);
    // About an org there is nothing to be asked.
    for place in [Target::Org("acme"), Target::Hub] {
        assert_eq!(scene.hub.access(&known("ann"), place, None, Fresh).await, Err(AuthError::Denied));
    }
    for user in [".", ".."] {
        assert_eq!(scene.access(user, Fresh).await, Err(AuthError::Denied));
    }
    assert_eq!(scene.asked(), 2);
    // Nor about a token.
    assert!(matches!(scene.by_token().await, Err(AuthError::Refused { .. })));
}

#[tokio::test]
async fn the_post_form_says_everything_in_its_body() {
    let answer =
        json!({ "yuserid": "ann", "yaccess": "r", "purposes": ["list", "delete", "of-a-later-hub"], "expires": NOW_MS + 5 });
    let scene = Scene::post(WebReply::ok(answer.to_string()));
    let allowed = scene.hub.access(&known("ann"), Target::Room(&room()), Some(Purpose::Delete), Cached).await.unwrap();
    assert_eq!((allowed.access.level, allowed.expires_ms), (Level::Read, Some(NOW_MS + 5)));
    assert_eq!(allowed.access.purposes, [Purpose::List, Purpose::Delete].into_iter().collect());
    let request = only(scene.web.requests());
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/auth"));
    assert_eq!((request.header("x-yhub-secret"), request.header("authorization")), ("hunter2-of-the-hub", ""));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, json!({ "org": "acme", "docid": "a/b c", "branch": "main", "userid": "ann", "purpose": "delete" }));
    for (place, org) in [(Target::Org("acme"), json!("acme")), (Target::Hub, json!(null))] {
        scene.hub.access(&known("ann"), place, None, Cached).await.unwrap();
        let body: Value = serde_json::from_str(&scene.web.requests().last().unwrap().body).unwrap();
        assert_eq!(body, json!({ "org": org, "docid": null, "branch": null, "userid": "ann", "purpose": null }));
    }
}

#[tokio::test]
async fn an_opaque_token_is_passed_through() {
    let answer = json!({ "yuserid": "ann", "yaccess": "rw", "name": "Ann", "expires": NOW_MS + 500 });
    let scene = Scene::post(WebReply::ok(answer.to_string()));
    let caller = scene.by_token().await.unwrap();
    assert_eq!((caller.identity.user.as_str(), caller.identity.via), ("ann", Via::Callback));
    assert_eq!(caller.identity.claims.get("userid"), Some(&Any::from("ann")));
    assert_eq!(caller.identity.claims.get("name"), Some(&Any::from("Ann")));
    let request = only(scene.web.requests());
    assert_eq!(
        (request.header("authorization"), request.header("x-yhub-secret")),
        (format!("Bearer {TOKEN}").as_str(), "hunter2-of-the-hub")
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["userid"], Value::Null);
    // The same answer says what they may do.
    let place = room();
    let access = async |freshness| scene.hub.access(&caller, Target::Room(&place), None, freshness).await;
    assert_eq!(access(Cached).await.unwrap().access, WRITE);
    assert_eq!(scene.asked(), 1);
    assert_eq!(access(Cached).await.unwrap().expires_ms, Some(NOW_MS + 500));
    // It becomes somebody else's, or bad.
    scene.say(with(json!({ "yuserid": "bob" })));
    assert!(matches!(access(Fresh).await, Err(AuthError::Refused { .. })));
    for (status, expected) in [(401, "Refused"), (403, "Denied"), (404, "Unavailable")] {
        scene.say(WebReply::Status(status, String::new()));
        assert!(format!("{:?}", access(Fresh).await).contains(expected), "{status}");
        assert!(format!("{:?}", scene.by_token().await).contains(expected), "{status}");
    }
    let shown = format!("{caller:?} {:?} {:?}", scene.hub, access(Fresh).await);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn yes_and_no_have_several_forms() {
    for make in [Scene::get, Scene::post] {
        for (word, expected) in [("rw", WRITE), ("r", READ), ("readonly", READ)] {
            assert_eq!(make(may(json!(word))).access("ann", Cached).await, Ok(expected), "{word}");
        }
        assert_eq!(make(may(json!(null))).access("ann", Cached).await, Err(AuthError::Denied));
        assert_eq!(make(WebReply::ok(r#"{"yaccess":null}"#)).access("ann", Cached).await, Err(AuthError::Denied));
        assert_eq!(make(WebReply::Status(403, "not JSON".into())).access("ann", Cached).await, Err(AuthError::Denied));
        for status in [401, 404] {
            for body in [r#"{"yaccess":null}"#, r#"{"yaccess":null,"yuserid":"ann","yroom":"a/b c","error":"x"}"#] {
                let reply = WebReply::Status(status, body.into());
                assert_eq!(make(reply).access("ann", Cached).await, Err(AuthError::Denied), "{status} {body}");
            }
        }
    }
}

/// The hub's own secret was changed at one end, or a proxy does not find the back end: that is nobody's right.
#[tokio::test]
async fn who_does_not_know_the_hub_takes_nothing_from_anybody() {
    for make in [Scene::get, Scene::post] {
        for status in [401, 404] {
            let bodies = [
                "",
                "not found",
                "{}",
                r#"{"error":"x"}"#,
                r#"{"yaccess":"rw","yuserid":"ann","yroom":"a/b c"}"#,
                r#"{"yaccess":null,"yuserid":"bob"}"#,
            ];
            for body in bodies {
                let found = make(WebReply::Status(status, body.into())).access("ann", Cached).await;
                assert!(is_unavailable(&found), "{status} {body}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_neither_yes_nor_no() {
    let rw = || match may(json!("rw")) {
        WebReply::Status(_, body) => body,
        other => panic!("{other:?}"),
    };
    for make in [Scene::get, Scene::post] {
        let replies = [
            WebReply::ok(""),
            WebReply::ok("rw"),
            WebReply::ok("[]"),
            WebReply::ok("null"),
            WebReply::ok(format!("{}{}", rw(), rw())),
            WebReply::ok(rw().replace('}', r#","yaccess":"rw"}"#)),
            WebReply::ok(format!("{}{}", rw(), " ".repeat(8 << 10))),
            // Lies.
            with(json!({ "yuserid": "bob" })),
            with(json!({ "yuserid": "Ann" })),
            with(json!({ "yroom": "other" })),
            with(json!({ "yuserid": "bob", "yaccess": null })),
            with(json!({ "yroom": "other", "yaccess": null })),
            // Other shapes.
            with(json!({ "yuserid": "ABSENT" })),
            with(json!({ "yuserid": null })),
            with(json!({ "yuserid": 5 })),
            with(json!({ "yroom": 5 })),
            with(json!({ "yaccess": "ABSENT" })),
            with(json!({ "yaccess": "RW" })),
            with(json!({ "yaccess": "admin" })),
            with(json!({ "yaccess": true })),
            with(json!({ "yaccess": ["rw"] })),
            with(json!({ "purposes": "delete" })),
            with(json!({ "purposes": [1] })),
            with(json!({ "expires": "soon" })),
            with(json!({ "expires": -1 })),
            WebReply::Redirect("/elsewhere".into()),
            WebReply::Cut,
        ];
        let statuses = [201, 204, 304, 400, 402, 405, 408, 410, 429, 500, 502, 503].map(|status| WebReply::Status(status, rw()));
        for reply in replies.into_iter().chain(statuses) {
            let scene = make(reply.clone());
            let found = scene.access("ann", Cached).await;
            assert!(is_unavailable(&found), "{reply:?}: {found:?}");
            assert_eq!(scene.asked(), 1);
            // It is not kept either.
            scene.say(may(json!("r")));
            assert_eq!(scene.access("ann", Cached).await, Ok(READ), "{reply:?}");
        }
    }
    let scene = Scene::get(with(json!({ "yroom": "ABSENT" })));
    assert!(is_unavailable(&scene.access("ann", Cached).await));
}

#[tokio::test]
async fn one_who_is_down_or_slow_says_nothing() {
    let time = Arc::new(ManualTime::new(NOW_MS));
    let down = hub(&time, options(&format!("http://{}", free_addr()), CallbackForm::Post));
    assert!(is_unavailable(&access(&down, "ann", Cached).await));
    let slow = Scene::of(WebReply::Never, CallbackForm::Post, |options| options.timeout = Duration::from_millis(50));
    assert!(is_unavailable(&within("it to be given up", slow.access("ann", Cached)).await));
    assert_eq!(slow.asked(), 1);
}

#[tokio::test]
async fn an_access_that_has_ended_is_none() {
    let scene = Scene::post(with(json!({ "expires": NOW_MS })));
    assert_eq!(scene.access("ann", Cached).await, Err(AuthError::Denied));
    scene.say(with(json!({ "expires": NOW_MS + 1_000 })));
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
    // The answer is not kept for longer than it is true.
    scene.time.advance(Duration::from_secs(1));
    assert_eq!(scene.access("ann", Cached).await, Err(AuthError::Denied));
}

#[tokio::test]
async fn answers_are_kept_and_fresh_ones_take_their_place() {
    for (first, then) in [(json!("rw"), json!(null)), (json!(null), json!("rw"))] {
        let result = |word: &Value| if word.is_null() { Err(AuthError::Denied) } else { Ok(WRITE) };
        let scene = Scene::post(may(first.clone()));
        for _ in 0..3 {
            assert_eq!(scene.access("ann", Cached).await, result(&first));
        }
        assert_eq!(scene.asked(), 1);
        scene.say(may(then.clone()));
        assert_eq!(scene.access("ann", Cached).await, result(&first));
        assert_eq!(scene.access("ann", Fresh).await, result(&then));
        assert_eq!(scene.access("ann", Cached).await, result(&then));
        assert_eq!(scene.asked(), 2);
        scene.say(may(first.clone()));
        scene.time.advance(Duration::from_millis(9_999));
        assert_eq!(scene.access("ann", Cached).await, result(&then));
        scene.time.advance(Duration::from_millis(1));
        assert_eq!(scene.access("ann", Cached).await, result(&first));
        // A fresh one that does not come leaves nothing that was kept before.
        scene.say(WebReply::Cut);
        assert!(is_unavailable(&scene.access("ann", Fresh).await));
        assert!(is_unavailable(&scene.access("ann", Cached).await));
    }
}

#[tokio::test]
async fn answers_are_for_one_user_place_and_purpose() {
    let scene = Scene::post(may(json!("rw")));
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
    // Another user is not given ann's.
    assert!(is_unavailable(&scene.access("bob", Cached).await));
    scene.hub.access(&known("ann"), Target::Room(&room()), Some(Purpose::List), Cached).await.unwrap();
    for other in [RoomId::new("b", "a/b c", "main"), RoomId::new("acme", "a/b c", "draft")] {
        scene.hub.access(&known("ann"), Target::Room(&other), None, Cached).await.unwrap();
    }
    assert_eq!(scene.asked(), 5);
    // A user whose name is a token is no token.
    scene.say(WebReply::Status(403, String::new()));
    assert_eq!(scene.access(TOKEN, Cached).await, Err(AuthError::Denied));
    scene.say(may(json!("rw")));
    assert!(scene.by_token().await.is_ok());
}

#[tokio::test]
async fn who_asks_the_same_at_once_gets_one_answer() {
    let gate = Gate::new();
    let scene = Scene::post(WebReply::After(gate.clone(), Box::new(may(json!("rw")))));
    let all = join_all((0..50).map(|_| scene.access("ann", Cached)));
    // One who goes away takes nothing from the others, although it was the first.
    let gone = async {
        tokio::select! {
            _ = scene.access("ann", Cached) => panic!("it waits for the gate"),
            () = until("the question", async || (scene.asked() > 0).then_some(())) => {}
        }
        gate.open();
    };
    let ((), all) = tokio::join!(gone, all);
    assert!(all.into_iter().all(|found| found == Ok(WRITE)));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_fresh_answer_is_to_a_question_that_was_sent_later_and_wins() {
    let gate = Gate::new();
    let scene = Scene::post(WebReply::After(gate.clone(), Box::new(may(json!("rw")))));
    let old = scene.access("ann", Cached);
    let new = async {
        until("the first question", async || (scene.asked() == 1).then_some(())).await;
        // Meanwhile it is taken from them.
        scene.say(may(json!(null)));
        assert_eq!(scene.access("ann", Fresh).await, Err(AuthError::Denied));
        gate.open();
    };
    let (old, ()) = tokio::join!(old, new);
    assert_eq!(old, Ok(WRITE));
    // What came last is the older answer, and is not kept.
    assert_eq!(scene.access("ann", Cached).await, Err(AuthError::Denied));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn many_who_want_it_fresh_share_a_question_that_was_not_sent() {
    let gate = Gate::new();
    let scene =
        Scene::of(WebReply::After(gate.clone(), Box::new(WebReply::Status(403, String::new()))), CallbackForm::Post, |options| {
            options.at_once = 1
        });
    let first = scene.access("bob", Cached);
    let others = async {
        until("the first question", async || (scene.asked() == 1).then_some(())).await;
        let all = join_all((0..20).map(|_| scene.access("ann", Fresh)));
        let open = async { gate.open() };
        tokio::join!(all, open).0
    };
    let (_, others) = tokio::join!(first, others);
    assert!(others.into_iter().all(|found| found == Err(AuthError::Denied)));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn no_more_is_asked_at_once_than_the_bound_and_nobody_waits_for_ever() {
    let scene = Scene::of(WebReply::Never, CallbackForm::Post, |options| {
        (options.at_once, options.timeout, options.failures) = (2, Duration::from_millis(100), 1_000);
    });
    let users: Vec<_> = (0..8).map(|nr| format!("u{nr}")).collect();
    let found = join_all(users.iter().map(|user| scene.access(user, Cached))).await;
    assert!(found.iter().all(is_unavailable));
    // Those whose turn came in the last moment may have been sent.
    assert!(scene.asked() <= 4, "{}", scene.asked());
}

#[tokio::test]
async fn one_who_fails_is_left_alone_for_a_while() {
    let scene = Scene::of(WebReply::Status(503, String::new()), CallbackForm::Post, |options| options.failures = 3);
    for user in ["a", "b", "c"] {
        assert!(is_unavailable(&scene.access(user, Cached).await));
    }
    for freshness in [Cached, Fresh, Cached] {
        assert!(is_unavailable(&scene.access("ann", freshness).await));
    }
    assert_eq!(scene.asked(), 3);
    scene.time.advance(Duration::from_secs(5));
    // One is let through, and fails.
    assert!(is_unavailable(&scene.access("ann", Cached).await));
    assert!(is_unavailable(&scene.access("ann", Cached).await));
    assert_eq!(scene.asked(), 4);
    scene.time.advance(Duration::from_secs(5));
    scene.say(may(json!("rw")));
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
    scene.say(WebReply::Status(503, String::new()));
    assert!(is_unavailable(&scene.access("b", Cached).await));
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
    assert_eq!(scene.asked(), 6);
    // What was kept is good while it is left alone.
    for user in ["a", "c"] {
        assert!(is_unavailable(&scene.access(user, Cached).await));
    }
    assert_eq!(scene.access("ann", Cached).await, Ok(WRITE));
}

/// An answer that is none is about whom was asked; whoever gives it is there, and is asked about others.
#[tokio::test]
async fn nobody_shuts_the_door_to_others_by_a_token_that_the_back_end_stumbles_over() {
    let replies = [408, 429, 500, 501, 599].map(|status| WebReply::Status(status, String::new()));
    for reply in replies.into_iter().chain([WebReply::ok("{}")]) {
        let scene = Scene::of(reply.clone(), CallbackForm::Post, |options| options.failures = 1);
        for nr in 1..4 {
            let found = scene.by_token().await;
            assert!(matches!(found, Err(AuthError::Unavailable { answered: true, .. })), "{reply:?}: {found:?}");
            assert_eq!(scene.asked(), nr, "{reply:?}");
        }
    }
    for reply in [WebReply::Cut, WebReply::Status(502, String::new()), WebReply::Status(504, String::new())] {
        let scene = Scene::of(reply.clone(), CallbackForm::Post, |options| options.failures = 1);
        for _ in 0..3 {
            let found = scene.by_token().await;
            assert!(matches!(found, Err(AuthError::Unavailable { answered: false, .. })), "{reply:?}: {found:?}");
            assert_eq!(scene.asked(), 1, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn kept_answers_are_bounded_in_number() {
    let scene = Scene::of(WebReply::Status(403, String::new()), CallbackForm::Post, |options| options.most_kept = 2);
    for _ in 0..2 {
        for user in ["a", "b", "c"] {
            assert_eq!(scene.access(user, Cached).await, Err(AuthError::Denied));
        }
    }
    assert_eq!(scene.asked(), 6);
    assert_eq!(scene.access("c", Cached).await, Err(AuthError::Denied));
    assert_eq!(scene.asked(), 6);
}

#[tokio::test]
async fn a_purpose_that_edits_takes_writing() {
    let scene = Scene::post(with(json!({ "yaccess": "r", "purposes": ["rollback", "delete"] })));
    let access = scene.access("ann", Cached).await.unwrap();
    assert!(!access.allows(Right::Purpose(Purpose::Rollback)) && access.allows(Right::Purpose(Purpose::Delete)));
}
