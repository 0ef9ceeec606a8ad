//! Access that is taken away on one node ends on the others, also on one that cannot reach Redis.

use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use yhub::{
    Config,
    config::{Auth, AuthCallback, AuthMode, Millis},
};
use yhub_core::{SystemClock, TimeSource};
use yhub_testkit::{
    Answered, BackEnd, Connect, TestClient, TextWriter,
    http::send,
    servers::{Proxy, Web, WebReply},
    until, within,
};

use crate::{
    access::{Application, admin, by_jwt, known, token, writer},
    support::{ORG, Stage, TestHub, path},
};

/// The node that is cut off.
const APART: usize = 2;

/// Three nodes. The last one reaches Redis through the proxy.
async fn three(change: impl FnOnce(&mut Config)) -> (TestHub, Arc<Proxy>) {
    let proxy = OnceLock::new();
    let hub = TestHub::with_nodes(Stage::Three, change, |number, servers, config| {
        if number == APART {
            let redis = &servers.expect("they share servers").redis;
            let proxy: &Arc<Proxy> = proxy.get_or_init(|| Arc::new(Proxy::start(redis.addr())));
            config.redis.url = Some(redis.url_at(proxy.addr()).into());
        }
    });
    let hub = hub.await;
    (hub, proxy.into_inner().expect("the last node has one"))
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn entered(hub: &TestHub, node: usize, docid: &str, token: &str) -> TestClient {
    let connect = Connect::to(hub.node_addr(node), &path(docid)).header("authorization", &format!("Bearer {token}"));
    let mut client = connect.open().await.unwrap_or_else(|refused| panic!("not let in: {refused:?}"));
    client.sync().await;
    client
}

/// Asks a node that is not cut off.
async fn ask(hub: &TestHub, token: &str, method: Method, path: &str, body: &Value) -> Answered {
    let request = BackEnd::of(hub.node_addr(0)).ask(method, path).header("authorization", format!("Bearer {token}"));
    let request = request.header("accept", "application/json").header("content-type", "application/json");
    let answered = send(request.body(body.to_string())).await;
    assert_eq!(answered.code(), 200, "{answered:?}");
    answered
}

/// All of them are closed with 4401 before anybody loses patience, which is after 30 s. The first and the last is told.
async fn all_closed(what: &str, clients: &mut [TestClient], begun_ms: u64) {
    let closed = clients.iter_mut().map(async |client| {
        assert_eq!(client.closed().await.code, Some(4401));
        SystemClock.now_ms() - begun_ms
    });
    let times = within(what, join_all(closed)).await;
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    println!("{what}: the first of {} connections was closed after {first} ms, the last after {last} ms", times.len());
}

/// Who stayed is as good as before once the node is back.
async fn goes_on(client: &mut TestClient, proxy: &Arc<Proxy>) {
    client.sync().await;
    let healed = proxy.clone();
    blocking(move || healed.heal()).await;
    let update = TextWriter::new(7).append("still here");
    client.send_update(&update).await;
    client.shown(&update).await;
}

/// What was found out about a token a moment ago counts no longer than until the notice is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_not_believed_on_any_node() {
    let hub = TestHub::with(Stage::Three, by_jwt).await;
    let tokens = format!("/api/tokens/v1/{ORG}");
    let make = async |by: &str, purposes: Value| {
        let grants = json!([{ "org": ORG, "access": "rw", "purposes": purposes }]);
        let made = ask(&hub, by, Method::POST, &tokens, &json!({ "user": "srv", "grants": grants })).await.json();
        (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    };
    let (parent, id) = make(&admin(), json!(["token"])).await;
    let (child, _) = make(&parent, json!([])).await;
    let reads = async |node: usize| {
        let request = BackEnd::of(hub.node_addr(node)).ask(Method::GET, &format!("/api/ydoc/v1/{ORG}/doc"));
        send(request.header("authorization", format!("Bearer {parent}"))).await.code()
    };
    // Whose ends say that the notice was read on their nodes. The parent itself is not asked for by them.
    let mut clients = [entered(&hub, 1, "doc", &child).await, entered(&hub, 2, "doc", &child).await];
    for node in 0..3 {
        assert_eq!(reads(node).await, 200);
    }
    ask(&hub, &admin(), Method::DELETE, &format!("{tokens}?id={id}"), &Value::Null).await;
    assert_eq!(reads(0).await, 401, "who has revoked it knows at once");
    for (node, client) in (1..).zip(&mut clients) {
        assert_eq!(client.closed().await.code, Some(4401));
        assert_eq!(reads(node).await, 401, "node {node}");
    }
}

/// A ticket is used up, so it cannot be asked for again: what counts is what it said, as long as the token holds by which it was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_by_ticket_outlives_checks_and_ends_with_its_token() {
    let application = Application::start();
    application.say("ann", json!("rw"));
    let hub = TestHub::with(Stage::Direct, |config| {
        application.asked(config);
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Callback, AuthMode::Token].into();
    })
    .await;
    let tokens = format!("/api/tokens/v1/{ORG}");
    let grants = json!([{ "org": ORG, "access": "rw", "purposes": ["ticket"] }]);
    let made = ask(&hub, &admin(), Method::POST, &tokens, &json!({ "user": "srv", "grants": grants })).await.json();
    let (text, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let made = ask(&hub, text, Method::POST, &format!("/api/tickets/v1/{ORG}/doc"), &json!({ "user": "bob" })).await.json();
    let ticket = made["ticket"].as_str().unwrap();
    let mut bob = Connect::to(hub.addr(), &path(&format!("doc?yauth={ticket}"))).open().await.unwrap();
    bob.sync().await;
    // Checked behind him, in one go with him.
    let mut ann = entered(&hub, 0, "doc", &known("ann")).await;
    let asked = application.asked_about();
    let everybody = json!({ "users": null });
    ask(&hub, &admin(), Method::POST, &format!("/api/recheck-auth/v1/{ORG}/doc"), &everybody).await;
    until("ann is checked", async || (application.asked_about() > asked).then_some(())).await;
    let update = TextWriter::new(7).append("still here");
    bob.send_update(&update).await;
    bob.shown(&update).await;
    ann.shown(&update).await;
    ask(&hub, &admin(), Method::DELETE, &format!("{tokens}?id={id}"), &Value::Null).await;
    assert_eq!(bob.closed().await.code, Some(4401));
    ann.sync().await;
    // That it was ended is recorded, with why.
    until("the end is recorded", async || {
        let records =
            ask(&hub, &admin(), Method::GET, &format!("/api/audit/v1/{ORG}?action=session.end"), &Value::Null).await.json();
        let record = records["records"].as_array().unwrap().first()?.clone();
        assert_eq!((&record["actor"], &record["docid"], &record["result"]), (&json!("bob"), &json!("doc"), &json!("denied")));
        assert!(record["detail"].as_str().unwrap().contains("revoked"), "{record}");
        Some(())
    })
    .await;
}

/// The back end says of one token at first that it is ann's, and then that it is bob's, who may do the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_becomes_somebody_else_on_an_open_connection() {
    let user = Arc::new(Mutex::new("ann"));
    let says = user.clone();
    let web = Web::start(move |_| WebReply::ok(json!({ "yuserid": *says.lock().unwrap(), "yaccess": "rw" }).to_string()));
    let hub = TestHub::with(Stage::Direct, |config| {
        by_jwt(config);
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Callback].into();
        config.auth_callback.url = web.url("/may");
    })
    .await;
    let mut ann = entered(&hub, 0, "doc", "an-opaque-token").await;
    let recheck = async || {
        let asked = web.requests().len();
        let everybody = json!({ "users": null });
        ask(&hub, &admin(), Method::POST, &format!("/api/recheck-auth/v1/{ORG}/doc"), &everybody).await;
        until("she is checked", async || (web.requests().len() > asked).then_some(())).await;
    };
    recheck().await;
    let update = TextWriter::new(7).append("still ann");
    ann.send_update(&update).await;
    ann.shown(&update).await;
    *user.lock().unwrap() = "bob";
    recheck().await;
    assert_eq!(ann.closed().await.code, Some(4401));
}

/// A hub that is not told to take access tokens takes none, also of those it has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_access_tokens_lets_nobody_in_by_them() {
    let hub = TestHub::with(Stage::Direct, |config| {
        by_jwt(config);
        config.auth.mode = AuthMode::Jwt.into();
    })
    .await;
    let grants = json!([{ "org": ORG, "access": "rw" }]);
    let made =
        ask(&hub, &admin(), Method::POST, &format!("/api/tokens/v1/{ORG}"), &json!({ "user": "srv", "grants": grants })).await;
    let text = made.json()["token"].as_str().unwrap().to_owned();
    let refused = Connect::to(hub.addr(), &path("doc")).header("authorization", &format!("Bearer {text}")).open().await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(401));
}

/// By the notice that revoking leaves in the document store: nothing else would tell, as nobody is looked at now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_connections_of_a_node_without_redis() {
    let (hub, proxy) = three(|config| {
        by_jwt(config);
        config.stream.min_message_lifetime_ms = Millis::new(60_000);
        assert_eq!((config.auth.notice_ms, config.auth.sweep_ms), (Auth::default().notice_ms, Millis::new(0)));
    })
    .await;
    let tokens = format!("/api/tokens/v1/{ORG}");
    let body = json!({ "user": "srv", "grants": [{ "org": ORG, "access": "rw" }] });
    let made = ask(&hub, &admin(), Method::POST, &tokens, &body).await.json();
    let (text, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let mut clients = Vec::new();
    for n in 0..5 {
        clients.push(entered(&hub, APART, &format!("doc{n}"), text).await);
    }
    let mut stays = entered(&hub, APART, "doc0", &writer()).await;
    let cut = proxy.clone();
    blocking(move || cut.cut()).await;
    let begun_ms = SystemClock.now_ms();
    let revoked = ask(&hub, &admin(), Method::DELETE, &format!("{tokens}?id={id}"), &Value::Null).await;
    assert_eq!(revoked.json(), json!({ "revoked": 1 }));
    all_closed("a revoked token, by its notice", &mut clients, begun_ms).await;
    goes_on(&mut stays, &proxy).await;
}

/// The check that was demanded is in the stream, where this node cannot see it: it finds out when it looks at everybody, as it does
/// now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_were_taken_away_end_connections_of_a_node_without_redis() {
    let application = Application::start();
    for user in ["ann", "bob"] {
        application.say(user, json!("rw"));
    }
    let (hub, proxy) = three(|config| {
        application.asked(config);
        // What stands in no configuration.
        config.auth.sweep_ms = Auth::default().sweep_ms;
        assert_eq!(config.auth_callback.ttl_ms, AuthCallback::default().ttl_ms);
        config.stream.min_message_lifetime_ms = Millis::new(60_000);
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(entered(&hub, APART, "doc", &known("bob")).await);
    }
    let mut stays = entered(&hub, APART, "doc", &known("ann")).await;
    let cut = proxy.clone();
    blocking(move || cut.cut()).await;
    application.say("bob", Value::Null);
    let recheck = token("ops", &json!({ "org": ORG, "purposes": ["recheck"] }));
    let begun_ms = SystemClock.now_ms();
    let body = json!({ "users": ["bob"] });
    ask(&hub, &recheck, Method::POST, &format!("/api/recheck-auth/v1/{ORG}/doc"), &body).await;
    all_closed("rights that were taken away, by looking now and then", &mut clients, begun_ms).await;
    goes_on(&mut stays, &proxy).await;
}
