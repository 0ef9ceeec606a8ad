//! Who may come in and what they may do: every kind of credential, on every route, over the whole life of a connection.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use yhub::{
    Config,
    config::{AuthMode, Everyone, Millis},
};
use yhub_core::{SystemClock, TimeSource};
use yhub_encoding::sync::{self, Message};
use yhub_testkit::{
    Answered, BackEnd, Refused, TestClient, TextWriter,
    client::awareness_message,
    http::send,
    servers::{Web, WebReply},
    until,
};

use crate::support::{ORG, Stage, TestHub, path};

on_stage!(direct, Direct; a_token_lets_in_where_it_says, every_route_takes_its_right, who_may_only_read_changes_nothing_by_any_message,
    tokens_are_handed_on_narrower_and_end_with_their_parent, a_ticket_lets_in_once, a_new_token_keeps_a_connection,
    an_outage_lets_nobody_in_and_sends_nobody_away, what_is_done_and_refused_is_recorded, every_kind_of_refusal_is_recorded, nobody_speaks_for_another);
on_stage!(mounted, Mounted; a_token_lets_in_where_it_says, a_ticket_lets_in_once);
on_stage!(full, Full; a_token_lets_in_where_it_says, a_ticket_lets_in_once, tokens_are_handed_on_narrower_and_end_with_their_parent,
    what_is_done_and_refused_is_recorded);
on_stage!(three, Three; nobody_speaks_for_another, a_check_reaches_every_node, a_revoked_token_ends_its_connections_on_every_node, a_ticket_lets_in_once);

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A signed token of these claims.
pub(crate) fn signed(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn now_s() -> u64 {
    SystemClock.now_ms() / 1_000
}

/// A token of `user` with these grants, for an hour.
pub(crate) fn token(user: &str, grants: &Value) -> String {
    signed(&json!({ "sub": user, "exp": now_s() + 3600, "yhub": grants }))
}

fn reader() -> String {
    token("rea", &json!({ "org": ORG, "access": "r" }))
}

pub(crate) fn writer() -> String {
    token("wri", &json!({ "org": ORG, "access": "rw" }))
}

pub(crate) fn admin() -> String {
    token("adm", &json!({ "org": "*", "access": "admin" }))
}

pub(crate) fn by_jwt(config: &mut Config) {
    config.auth.mode = vec![AuthMode::Jwt, AuthMode::Token].into();
    config.jwt.secret = Some(SECRET.into());
    config.jwt.leeway_ms = Millis::new(0);
    // Only what is demanded is to be seen here.
    config.auth.sweep_ms = Millis::new(0);
    // What was written is looked for in the stream.
    config.stream.min_message_lifetime_ms = Millis::new(60_000);
}

async fn hub(stage: Stage) -> TestHub {
    TestHub::with(stage, by_jwt).await
}

async fn enter(hub: &TestHub, docid: &str, token: &str) -> Result<TestClient, Refused> {
    hub.connect(docid).header("authorization", &format!("Bearer {token}")).open().await
}

async fn entered(hub: &TestHub, docid: &str, token: &str) -> TestClient {
    enter(hub, docid, token).await.unwrap_or_else(|refused| panic!("not let in: {refused:?}"))
}

async fn ask(hub: &TestHub, token: Option<&str>, method: Method, path: &str, body: Option<&Value>) -> Answered {
    let mut request = BackEnd::of(hub.addr()).ask(method, path).header("accept", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    send(request).await
}

async fn post(hub: &TestHub, token: &str, kind: &str, body: &Value) -> Answered {
    ask(hub, Some(token), Method::POST, &format!("/api/{kind}"), Some(body)).await
}

fn status(entered: Result<TestClient, Refused>) -> u16 {
    entered.map_or_else(|refused| refused.status, |_| 101)
}

async fn a_token_lets_in_where_it_says(stage: Stage) {
    let hub = hub(stage).await;
    let (reader, writer) = (reader(), writer());
    // However it is shown.
    assert_eq!(status(enter(&hub, "doc", &writer).await), 101);
    assert_eq!(status(hub.connect(&format!("doc?yauth={writer}")).open().await), 101);
    let offered = format!("y-sync, yauth-{writer}");
    let client = hub.connect("doc").header("sec-websocket-protocol", &offered).open().await.unwrap();
    assert!(client.head().to_ascii_lowercase().contains("sec-websocket-protocol: y-sync\r\n"), "{}", client.head());
    // Nothing, nonsense, what is over, what is not yet, what is not for here.
    let refused = hub.connect("doc").open().await.err().expect("it is refused");
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.answer.to_ascii_lowercase().contains("www-authenticate: bearer"), "{refused:?}");
    let grants = json!({ "org": ORG, "access": "rw" });
    let elsewhere = token("wri", &json!({ "org": "other", "access": "admin" }));
    let prefixed = token("wri", &json!({ "org": ORG, "docidPrefix": "notes/", "access": "rw" }));
    for (token, expected) in [
        ("nonsense".to_owned(), 401),
        ("a.b.c".to_owned(), 401),
        (signed(&json!({ "sub": "wri", "exp": now_s() - 5, "yhub": grants })), 401),
        (signed(&json!({ "sub": "wri", "exp": now_s() + 99, "nbf": now_s() + 50, "yhub": grants })), 401),
        (signed(&json!({ "sub": "wri", "yhub": grants })), 401),
        (signed(&json!({ "sub": "wri", "exp": now_s() + 99 })), 403),
        (elsewhere, 403),
        (prefixed.clone(), 403),
        (format!("{}x", writer.trim_end_matches(|c| c != '.')), 401),
    ] {
        assert_eq!(status(enter(&hub, "doc", &token).await), expected, "{token}");
        let read = ask(&hub, Some(&token), Method::GET, &format!("/api/ydoc/v1/{ORG}/doc"), None).await;
        assert_eq!(read.code(), expected, "{token}");
        assert!(!read.text().contains(&token), "{read:?}");
    }
    assert_eq!(status(enter(&hub, "notes%2F1", &prefixed).await), 101);
    // What is written is in the name of the token, whatever is said besides.
    let mut client = entered(&hub, "doc", &writer).await;
    let update = TextWriter::new(7).append("signed");
    client.sync().await;
    client.send_update(&update).await;
    client.shown(&update).await;
    let maps = hub.stream_maps("doc").await;
    assert!(format!("{maps:?}").contains("wri"), "{maps:?}");
    assert_eq!(status(hub.connect("doc?user=ann").header("authorization", &format!("Bearer {writer}")).open().await), 403);
    let act_as = token("srv", &json!({ "org": ORG, "access": "rw", "purposes": ["act-as"] }));
    assert_eq!(status(hub.connect("doc?user=ann").header("authorization", &format!("Bearer {act_as}")).open().await), 101);
    // A reader reads.
    let mut client = entered(&hub, "doc", &reader).await;
    assert_eq!(client.sync().await, update);
}

/// Of every route that is described: who shows nothing, who may only read, who has exactly the right.
async fn every_route_takes_its_right(stage: Stage) {
    let hub = hub(stage).await;
    let described = BackEnd::of(hub.addr()).get("/api/openapi.json").await.json();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (route, methods) in described["paths"].as_object().unwrap() {
        let path = route.replace("{org}", ORG).replace("{docid}", "doc");
        for (method, operation) in methods.as_object().unwrap() {
            let right = operation["x-right"].as_str().expect("a route without a right");
            *seen.entry(right.to_owned()).or_default() += 1;
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let body = operation.get("requestBody").map(|_| json!({}));
            let code = async |token: Option<&str>| ask(&hub, token, method.clone(), &path, body.as_ref()).await.code();
            assert_eq!(code(None).await, 401, "{method} {path}");
            assert_eq!(code(Some("nonsense")).await, 401, "{method} {path}");
            let reads = code(Some(&reader())).await;
            assert_eq!(reads == 403, right != "read", "{method} {path}: {reads} for a reader");
            // Enough elsewhere is nothing here.
            let elsewhere = token("adm", &json!({ "org": "other", "access": "admin" }));
            assert_eq!(code(Some(&elsewhere)).await, 403, "{method} {path}");
            let exactly = match right {
                "read" => json!({ "org": ORG, "access": "r" }),
                "write" => json!({ "org": ORG, "access": "rw" }),
                purpose => json!({ "org": ORG, "access": "rw", "purposes": [purpose] }),
            };
            let with_right = code(Some(&token("one", &exactly))).await;
            assert!(!matches!(with_right, 401 | 403), "{method} {path}: {with_right} with the right {right}");
        }
    }
    for right in
        ["read", "write", "audit", "delete", "hold", "list", "prune", "recheck", "restore", "rollback", "ticket", "token"]
    {
        assert!(seen.contains_key(right), "no route takes {right}: {seen:?}");
    }
}

async fn who_may_only_read_changes_nothing_by_any_message(stage: Stage) {
    let hub = hub(stage).await;
    let mut first = entered(&hub, "doc", &writer()).await;
    first.sync().await;
    let update = TextWriter::new(7).append("mine");
    first.send_update(&update).await;
    first.shown(&update).await;
    first.send_awareness(&[(7, 1, "\"here\"")]).await;
    first.presence(7, "\"here\"").await;
    let before = hub.stream_updates("doc").await;

    let purposes = json!(["rollback", "prune", "presence", "act-as"]);
    let reader = token("rea", &json!({ "org": ORG, "access": "r", "purposes": purposes }));
    let mut client = entered(&hub, "doc", &reader).await;
    client.sync().await;
    let other = TextWriter::new(8).append("not mine");
    for message in [
        sync::update(&other),
        sync::step2(&other),
        // Of another's client id: that they are gone, and that they say something else.
        awareness_message(&[(7, 9, "null")]),
        awareness_message(&[(7, 9, "\"spoofed\"")]),
        sync::permission_denied("no"),
        vec![0, 9, 1, 2, 3],
        vec![9, 9, 9],
    ] {
        client.send(&message).await;
    }
    // All of it was read once the answer to what follows is there.
    client.sync().await;
    let base64 = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    for (method, path, body) in [
        (Method::PATCH, "ydoc", json!({ "update": base64(&other) })),
        (Method::PATCH, "ydoc", json!({ "awareness": base64(&[1, 7, 9, 4, b'n', b'u', b'l', b'l']) })),
        (Method::POST, "rollback", json!({ "by": "wri" })),
        (Method::POST, "prune", json!({ "by": "wri" })),
    ] {
        let answered = ask(&hub, Some(&reader), method, &format!("/api/{path}/v1/{ORG}/doc"), Some(&body)).await;
        assert_eq!(answered.code(), 403, "{path} {body}: {answered:?}");
    }
    assert_eq!(hub.stream_updates("doc").await, before);
    let mut late = entered(&hub, "doc", &self::reader()).await;
    assert_eq!(late.sync().await, update);
    assert_eq!(late.presence(7, "\"here\"").await, 1);
}

async fn nobody_speaks_for_another(stage: Stage) {
    let hub = hub(stage).await;
    let mut ann = entered(&hub, "doc", &writer()).await;
    ann.sync().await;
    ann.send_awareness(&[(7, 1, "\"ann\"")]).await;
    ann.presence(7, "\"ann\"").await;
    let eve = token("eve", &json!({ "org": ORG, "access": "rw" }));
    let mut eves = Vec::new();
    // On the same node and on others.
    for n in 0..hub.node_count() as u64 * 3 {
        let mut eve = entered(&hub, "doc", &eve).await;
        eve.sync().await;
        eve.send_awareness(&[(7, 5 + n, "\"eve\"")]).await;
        eve.send_awareness(&[(7, 50 + n, "null")]).await;
        eve.send_awareness(&[(100 + n, 1, "\"eve\"")]).await;
        ann.presence(100 + n, "\"eve\"").await;
        eves.push(eve);
    }
    let mut late = entered(&hub, "doc", &reader()).await;
    late.sync().await;
    assert_eq!(late.presence(7, "\"ann\"").await, 1);
    // Nor do they take her along when they go.
    drop(eves);
    ann.presence(100, "null").await;
    let mut late = entered(&hub, "doc", &reader()).await;
    late.sync().await;
    assert_eq!(late.presence(7, "\"ann\"").await, 1);
    // Nor does a request, without the right to.
    let body = json!({ "awareness": base64::prelude::BASE64_STANDARD.encode([1, 7, 9, 4, b'n', b'u', b'l', b'l']) });
    let path = format!("/api/ydoc/v1/{ORG}/doc");
    assert_eq!(ask(&hub, Some(&writer()), Method::PATCH, &path, Some(&body)).await.code(), 403);
}

async fn tokens_are_handed_on_narrower_and_end_with_their_parent(stage: Stage) {
    let hub = hub(stage).await;
    let org = format!("tokens/v1/{ORG}");
    let make = async |by: &str, grants: Value| post(&hub, by, &org, &json!({ "user": "srv", "grants": grants })).await;
    let parent = make(&admin(), json!([{ "org": ORG, "access": "rw", "purposes": ["token", "list"] }])).await;
    assert_eq!(parent.code(), 200, "{parent:?}");
    let (parent, parent_id) = (parent.json()["token"].as_str().unwrap().to_owned(), parent.json()["id"].clone());
    assert!(parent.starts_with("yhub_"));
    // More, elsewhere, everywhere: refused. Less is given.
    for beyond in [
        json!([{ "org": ORG, "access": "admin" }]),
        json!([{ "org": ORG, "access": "r", "purposes": ["delete"] }]),
        json!([{ "org": "other", "access": "r" }]),
        json!([{ "org": "*", "access": "r" }]),
    ] {
        let refused = make(&parent, beyond.clone()).await;
        assert!(matches!(refused.code(), 400 | 403), "{beyond}: {refused:?}");
    }
    let child = make(&parent, json!([{ "org": ORG, "docid": "doc", "access": "r" }])).await;
    assert_eq!(child.code(), 200, "{child:?}");
    let child = child.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(status(enter(&hub, "doc", &child).await), 101);
    assert_eq!(status(enter(&hub, "other", &child).await), 403);
    assert_eq!(make(&child, json!([{ "org": ORG, "docid": "doc", "access": "r" }])).await.code(), 403);
    // What lasts is not taken from an address, where it would stay.
    let refused = hub.connect(&format!("doc?yauth={child}")).open().await.err().expect("it is refused");
    assert_eq!(refused.status, 401);
    assert!(!refused.answer.contains(&child), "{refused:?}");
    let list = ask(&hub, Some(&parent), Method::GET, &format!("/api/{org}"), None).await;
    assert_eq!(list.json()["tokens"].as_array().unwrap().len(), 2);
    assert!(!list.text().contains(parent.rsplit('_').next().unwrap()), "a list shows no secret");
    // The child ends with its parent, and its open connections with it.
    let mut open = entered(&hub, "doc", &child).await;
    open.sync().await;
    let revoke = format!("/api/{org}?id={}", parent_id.as_str().unwrap());
    let revoked = ask(&hub, Some(&admin()), Method::DELETE, &revoke, None).await;
    assert_eq!((revoked.code(), revoked.json()), (200, json!({ "revoked": 2 })));
    assert_eq!(open.closed().await.code, Some(4401));
    until("the child is refused", async || (status(enter(&hub, "doc", &child).await) == 401).then_some(())).await;
}

async fn a_ticket_lets_in_once(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = token("srv", &json!({ "org": ORG, "access": "rw", "purposes": ["ticket"] }));
    let ticket = async |body: Value| {
        let made = post(&hub, &back_end, &format!("tickets/v1/{ORG}/doc"), &body).await;
        assert_eq!(made.code(), 200, "{made:?}");
        made.json()["ticket"].as_str().unwrap().to_owned()
    };
    let once = ticket(json!({ "user": "bob", "access": "rw" })).await;
    let mut bob = hub.connect(&format!("doc?yauth={once}")).open().await.unwrap();
    assert_eq!(status(hub.connect(&format!("doc?yauth={once}")).open().await), 401, "it is used up");
    bob.sync().await;
    let update = TextWriter::new(7).append("by ticket");
    bob.send_update(&update).await;
    bob.shown(&update).await;
    assert!(format!("{:?}", hub.stream_maps("doc").await).contains("bob"));
    // For its room alone, and no further than it says.
    let elsewhere = ticket(json!({ "user": "bob" })).await;
    assert_eq!(status(hub.connect(&format!("other?yauth={elsewhere}")).open().await), 403);
    let reads = ticket(json!({ "user": "bob", "access": "r" })).await;
    let mut reader = hub.connect(&format!("doc?yauth={reads}")).open().await.unwrap();
    reader.sync().await;
    reader.send_update(&TextWriter::new(8).append("not by a reader")).await;
    reader.sync().await;
    assert_eq!(hub.stream_updates("doc").await, [update]);
    // Who may only read gives no more.
    let weak = token("srv", &json!({ "org": ORG, "access": "r", "purposes": ["ticket"] }));
    assert_eq!(post(&hub, &weak, &format!("tickets/v1/{ORG}/doc"), &json!({ "user": "x", "access": "rw" })).await.code(), 403);
    // No room is in the org that stands for all of them: a ticket for one would be read as one for its like in every org.
    let everywhere = token("srv", &json!({ "org": "*", "access": "rw", "purposes": ["ticket"] }));
    for org in ["*", "%2A"] {
        let refused = post(&hub, &everywhere, &format!("tickets/v1/{org}/doc"), &json!({ "user": "bob" })).await;
        assert_eq!((refused.code(), refused.json()["code"].clone()), (400, json!("bad-request")));
    }
}

async fn a_new_token_keeps_a_connection(stage: Stage) {
    let hub = hub(stage).await;
    let grants = json!({ "org": ORG, "access": "rw" });
    let short = |seconds| signed(&json!({ "sub": "ann", "exp": now_s() + seconds, "yhub": grants }));
    let mut lapses = entered(&hub, "doc", &short(2)).await;
    let mut stays = entered(&hub, "doc", &short(2)).await;
    stays.send(&sync::token(&short(3600))).await;
    let taken = |message: Message<'_>| if let Message::Auth(payload) = message { Some(payload.to_vec()) } else { None };
    assert_eq!(stays.until("the token is taken", taken).await, sync::token_taken("rw")[1..]);
    assert_eq!(lapses.closed().await.code, Some(4401));
    stays.sync().await;
    // Nobody becomes somebody else.
    stays.send(&sync::token(&writer())).await;
    assert_eq!(stays.closed().await.code, Some(4401));
}

/// An application that says what a user may do, or nothing.
pub(crate) struct Application {
    access: Arc<Mutex<Option<BTreeMap<String, Value>>>>,
    web: Web,
}

impl Application {
    pub(crate) fn start() -> Self {
        let access: Arc<Mutex<Option<BTreeMap<String, Value>>>> = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let known = access.clone();
        let web = Web::start(move |request| {
            let asked: Value = serde_json::from_str(&request.body).unwrap_or_default();
            let user = asked["userid"].as_str().unwrap_or_default().to_owned();
            match &*known.lock().unwrap() {
                None => WebReply::Never,
                Some(users) => {
                    let access = users.get(&user).cloned().unwrap_or(Value::Null);
                    WebReply::ok(json!({ "yuserid": user, "yaccess": access }).to_string())
                }
            }
        });
        Self { access, web }
    }

    /// How often it was asked.
    pub(crate) fn asked_about(&self) -> usize {
        self.web.requests().len()
    }

    pub(crate) fn say(&self, user: &str, access: Value) {
        self.access.lock().unwrap().get_or_insert_default().insert(user.into(), access);
    }

    fn fall_silent(&self) {
        *self.access.lock().unwrap() = None;
    }

    pub(crate) fn asked(&self, config: &mut Config) {
        by_jwt(config);
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Callback].into();
        config.auth_callback.url = self.web.url("/may");
        config.auth_callback.timeout_ms = Millis::new(1_000);
    }
}

/// Signed, without grants: the application says what they may do.
pub(crate) fn known(user: &str) -> String {
    signed(&json!({ "sub": user, "exp": now_s() + 3600 }))
}

async fn a_check_reaches_every_node(stage: Stage) {
    let application = Application::start();
    for user in ["ann", "bob"] {
        application.say(user, json!("rw"));
    }
    let hub = TestHub::with(stage, |config| application.asked(config)).await;
    let mut clients = Vec::new();
    for user in ["ann", "bob"] {
        // As many as it takes for each node to have some of both.
        for _ in 0..hub.node_count() * 3 {
            let mut client = entered(&hub, "doc", &known(user)).await;
            client.sync().await;
            clients.push((user, client));
        }
    }
    application.say("bob", json!("r"));
    let begun = SystemClock.now_ms();
    let recheck = token("ops", &json!({ "org": ORG, "purposes": ["recheck"] }));
    let answered = post(&hub, &recheck, &format!("recheck-auth/v1/{ORG}/doc"), &json!({ "users": ["bob"] })).await;
    assert_eq!(answered.code(), 200, "{answered:?}");
    for (_, client) in clients.iter_mut().filter(|(user, _)| *user == "bob") {
        assert_eq!(client.closed().await.code, Some(4401));
    }
    println!("all connections of one user on {} nodes were closed after {} ms", hub.node_count(), SystemClock.now_ms() - begun);
    // The others stay, and he comes back and reads.
    let (_, ann) = clients.iter_mut().find(|(user, _)| *user == "ann").unwrap();
    let update = TextWriter::new(7).append("still here");
    ann.send_update(&update).await;
    ann.shown(&update).await;
    let mut bob = entered(&hub, "doc", &known("bob")).await;
    bob.sync().await;
    bob.send_update(&TextWriter::new(8).append("no more")).await;
    bob.sync().await;
    assert_eq!(hub.stream_updates("doc").await, [update]);
    // And everybody may be cut without a question.
    let answered = post(&hub, &recheck, &format!("recheck-auth/v1/{ORG}/doc"), &json!({ "users": null, "force": true })).await;
    assert_eq!(answered.code(), 200, "{answered:?}");
    for (_, client) in clients.iter_mut().filter(|(user, _)| *user == "ann") {
        assert_eq!(client.closed().await.code, Some(4401));
    }
}

async fn a_revoked_token_ends_its_connections_on_every_node(stage: Stage) {
    let hub = hub(stage).await;
    let org = format!("tokens/v1/{ORG}");
    let body = json!({ "user": "srv", "grants": [{ "org": ORG, "access": "rw" }] });
    let made = post(&hub, &admin(), &org, &body).await.json();
    let (text, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let mut clients = Vec::new();
    for n in 0..hub.node_count() * 3 {
        // In rooms of their own, which nobody names.
        let mut client = entered(&hub, &format!("doc{n}"), text).await;
        client.sync().await;
        clients.push(client);
    }
    let mut other = entered(&hub, "doc0", &writer()).await;
    other.sync().await;
    let begun = SystemClock.now_ms();
    let revoked = ask(&hub, Some(&admin()), Method::DELETE, &format!("/api/{org}?id={id}"), None).await;
    assert_eq!(revoked.json(), json!({ "revoked": 1 }));
    for client in &mut clients {
        assert_eq!(client.closed().await.code, Some(4401));
    }
    println!(
        "all connections of a revoked token on {} nodes were closed after {} ms",
        hub.node_count(),
        SystemClock.now_ms() - begun
    );
    other.sync().await;
}

async fn an_outage_lets_nobody_in_and_sends_nobody_away(stage: Stage) {
    let application = Application::start();
    application.say("ann", json!("rw"));
    let hub = TestHub::with(stage, |config| {
        application.asked(config);
        config.auth.sweep_ms = Millis::new(200);
        config.auth_callback.ttl_ms = Millis::new(0);
    })
    .await;
    let mut ann = entered(&hub, "doc", &known("ann")).await;
    ann.sync().await;
    application.fall_silent();
    assert_eq!(status(enter(&hub, "doc", &known("ann")).await), 503);
    let read = ask(&hub, Some(&known("ann")), Method::GET, &format!("/api/ydoc/v1/{ORG}/doc"), None).await;
    assert_eq!((read.code(), read.json()["code"].as_str()), (503, Some("unavailable")));
    let asked = application.web.requests().len();
    until("the open connection was asked about", async || (application.web.requests().len() > asked).then_some(())).await;
    let update = TextWriter::new(7).append("meanwhile");
    ann.send_update(&update).await;
    ann.shown(&update).await;
    // A no is a no, as soon as there is one.
    application.say("ann", Value::Null);
    assert_eq!(ann.closed().await.code, Some(4401));
    until("no is said to who comes", async || (status(enter(&hub, "doc", &known("ann")).await) == 403).then_some(())).await;
}

async fn what_is_done_and_refused_is_recorded(stage: Stage) {
    let hub = hub(stage).await;
    let doc = format!("/api/ydoc/v1/{ORG}/doc");
    for _ in 0..3 {
        assert_eq!(ask(&hub, Some(&reader()), Method::DELETE, &doc, None).await.code(), 403);
    }
    assert_eq!(status(hub.connect("doc").open().await), 401);
    assert_eq!(ask(&hub, Some(&admin()), Method::DELETE, &doc, None).await.code(), 200);
    assert_eq!(post(&hub, &admin(), &format!("recheck-auth/v1/{ORG}/doc"), &json!({ "users": null })).await.code(), 200);
    let grants = json!([{ "org": ORG, "access": "r" }]);
    let body = json!({ "user": "srv", "label": "for tests", "grants": grants });
    let made = post(&hub, &admin(), &format!("tokens/v1/{ORG}"), &body).await.json();

    let records = async |query: &str| {
        let page = ask(&hub, Some(&admin()), Method::GET, &format!("/api/audit/v1/{ORG}?{query}"), None).await;
        assert_eq!(page.code(), 200, "{page:?}");
        (page.json()["records"].as_array().unwrap().clone(), page.json()["next"].clone(), page.text())
    };
    until("the refusals are written", async || (records("action=denied").await.0.len() >= 2).then_some(())).await;
    let (all, _, text) = records("").await;
    let secret = made["token"].as_str().unwrap().rsplit('_').next().unwrap();
    assert!(!text.contains(secret), "no record holds a secret");
    let of = |action: &str| all.iter().filter(|record| record["action"] == action).collect::<Vec<_>>();
    let denied: u64 = of("denied").iter().filter(|record| record["actor"] == "rea").map(|r| r["count"].as_u64().unwrap()).sum();
    assert_eq!(denied, 3, "{all:#?}");
    let delete = of("delete");
    assert_eq!(delete.len(), 1);
    assert_eq!((&delete[0]["actor"], &delete[0]["docid"], &delete[0]["via"]), (&json!("adm"), &json!("doc"), &json!("jwt")));
    assert_eq!(delete[0]["address"], "127.0.0.1");
    assert!(!delete[0]["requestId"].as_str().unwrap().is_empty());
    assert_eq!((of("token.create").len(), of("recheck").len()), (1, 1));
    // In pages, each record once.
    let (mut seen, mut after) = (0, String::new());
    loop {
        let (page, next, _) = records(&format!("limit=2{after}")).await;
        seen += page.len();
        match next.as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(seen >= all.len(), "{seen} in pages, {} at once", all.len());
    // Who reads them needs the right, and of an org sees that org.
    assert_eq!(ask(&hub, Some(&writer()), Method::GET, &format!("/api/audit/v1/{ORG}"), None).await.code(), 403);
    let other = token("aud", &json!({ "org": "other", "purposes": ["audit"] }));
    assert_eq!(ask(&hub, Some(&other), Method::GET, "/api/audit/v1/other", None).await.json()["records"], json!([]));
    assert_eq!(ask(&hub, Some(&other), Method::GET, "/api/audit/v1/*", None).await.code(), 403);
}

/// Also those at the door, of pages, of who wants to give too much, and of who may do less than when they came.
async fn every_kind_of_refusal_is_recorded(stage: Stage) {
    let level = Arc::new(Mutex::new("rw"));
    let said = level.clone();
    let web = Web::start(move |request| {
        let asked: Value = serde_json::from_str(&request.body).unwrap_or_default();
        match asked["userid"].as_str() {
            None => WebReply::Status(403, String::new()),
            Some(user) => WebReply::ok(json!({ "yuserid": user, "yaccess": *said.lock().unwrap() }).to_string()),
        }
    });
    let hub = TestHub::with(stage, |config| {
        by_jwt(config);
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Callback].into();
        config.auth_callback.url = web.url("/may");
    })
    .await;
    let mut ann = entered(&hub, "doc", &known("ann")).await;
    ann.sync().await;
    assert_eq!(status(enter(&hub, "doc", "a-token-of-the-application").await), 403);
    assert_eq!(status(hub.connect("doc").header("origin", "https://evil.example").open().await), 403);
    let page = BackEnd::of(hub.addr()).ask(Method::GET, &format!("/api/ydoc/v1/{ORG}/doc"));
    assert_eq!(send(page.header("origin", "https://evil.example")).await.code(), 403);
    let maker = token("mak", &json!({ "org": ORG, "access": "r", "purposes": ["token"] }));
    let wants = json!({ "user": "x", "grants": [{ "org": ORG, "access": "rw" }] });
    assert_eq!(post(&hub, &maker, &format!("tokens/v1/{ORG}"), &wants).await.json()["code"], "beyond");
    *level.lock().unwrap() = "r";
    assert_eq!(post(&hub, &admin(), &format!("recheck-auth/v1/{ORG}/doc"), &json!({ "users": null })).await.code(), 200);
    assert_eq!(ann.closed().await.code, Some(4401));

    let auditor = token("aud", &json!({ "org": "*", "purposes": ["audit"] }));
    // By actor, action and place: what the record says.
    for (actor, action, docid, detail) in [
        ("unknown", "denied", json!("doc"), "needs r"),
        ("unknown", "denied", json!("doc"), "pages of this origin"),
        ("unknown", "denied", Value::Null, "pages of this origin"),
        ("mak", "denied", Value::Null, "more than they have: [{"),
        ("ann", "session.end", json!("doc"), "the access is to read now, and was to read and write"),
    ] {
        until(&format!("the record {detail:?} of {docid}"), async || {
            let page = ask(&hub, Some(&auditor), Method::GET, "/api/audit/v1/*?limit=1000", None).await;
            assert_eq!(page.code(), 200, "{page:?}");
            let is_it = |record: &Value| {
                let is_said = record["detail"].as_str().is_some_and(|text| text.contains(detail));
                is_said && record["actor"] == actor && record["action"] == action && record["docid"] == docid
            };
            page.json()["records"].as_array().unwrap().iter().any(is_it).then_some(())
        })
        .await;
    }
}

/// What is shown where nobody has to show anything is not looked at, nor can it be wrong; and who may only read gets no right that
/// changes something, whatever is said of rights besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_has_to_show_anything_nothing_is_looked_at() {
    let hub = TestHub::with(Stage::Direct, |config| {
        config.auth.everyone = Some(Everyone::MayRead);
        config.auth.purposes = ["list", "delete", "rollback", "recheck"].map(String::from).to_vec();
    })
    .await;
    let mut nobody = entered(&hub, "doc", "nonsense").await;
    nobody.sync().await;
    nobody.send(&sync::token("other.nonsense")).await;
    let taken = |message: Message<'_>| if let Message::Auth(payload) = message { Some(payload.to_vec()) } else { None };
    assert_eq!(nobody.until("the token is taken", taken).await, sync::token_taken("r")[1..]);
    nobody.sync().await;
    let code = async |method: Method, path: &str, body: Option<Value>| {
        ask(&hub, Some("nonsense"), method, &format!("/api/{path}"), body.as_ref()).await.code()
    };
    assert_eq!(code(Method::GET, &format!("ydoc/v1/{ORG}/doc"), None).await, 200);
    assert_eq!(code(Method::DELETE, &format!("ydoc/v1/{ORG}/doc"), None).await, 403);
    assert_eq!(code(Method::POST, &format!("rollback/v1/{ORG}/doc"), Some(json!({ "by": "x" }))).await, 403);
}

/// Without a mode that asks, nobody looks at credentials; and with others beside it who shows nothing may do what is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_doors_are_as_open_as_is_said() {
    let hub = TestHub::with(Stage::Direct, |config| {
        by_jwt(config);
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Open].into();
        config.auth.everyone = Some(Everyone::MayRead);
    })
    .await;
    let mut nobody = TestClient::connect(hub.addr(), &path("doc")).await;
    nobody.sync().await;
    nobody.send_update(&TextWriter::new(7).append("no")).await;
    nobody.sync().await;
    assert!(hub.stream_updates("doc").await.is_empty());
    assert_eq!(status(enter(&hub, "doc", "nonsense").await), 401, "who shows something wrong is not nobody");
    let mut ann = entered(&hub, "doc", &writer()).await;
    ann.sync().await;
    let update = TextWriter::new(8).append("yes");
    ann.send_update(&update).await;
    ann.shown(&update).await;
    tokio::time::timeout(Duration::from_secs(20), nobody.shown(&update)).await.expect("readers see it");
}
