//! How much of the hub one client may take: each bound is reached by a real client, is counted, is answered as is said of it, and
//! others do not notice.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use yhub::config::{AuthMode, Millis};
use yhub_core::limiting::Bound;
use yhub_encoding::sync::{self, Message};
use yhub_store::faults::{DocMethod, Fault};
use yhub_testkit::{
    Answered, BackEnd, Connect, Oracle, TestClient, TextWriter,
    client::{awareness_message, awareness_of, frame},
    http::send,
    servers::{Web, WebReply},
    until, within,
};

use crate::{
    access::{SECRET, signed},
    support::{ORG, Stage, TestHub},
};

on_one_node!(
    sessions_of_one_address_are_bounded_whatever_proxies_say,
    sessions_of_one_user_one_room_and_one_org_are_bounded,
    messages_beyond_the_rate_are_read_later,
    those_who_are_one_have_a_rate_together,
    upgrades_from_one_address_have_a_rate,
    of_presence_beyond_the_rate_the_newest_arrives,
    a_document_does_not_grow_beyond_its_bound,
    loads_wait_in_turn_and_too_many_are_sent_away,
    histories_wait_in_turn_and_too_many_are_sent_away,
    one_user_leaves_turns_at_histories_to_others,
    requests_of_one_address_and_of_one_user_have_a_rate,
    a_head_that_is_too_long_is_refused,
    failing_to_show_who_one_is_has_a_rate,
    a_token_that_nobody_can_say_anything_of_is_a_quarter_of_a_failure,
    checks_of_an_org_have_a_rate,
    metrics_are_told_on_a_listener_of_their_own,
);
on_stage!(only_direct, Direct; a_head_has_its_time);
on_stage!(without_a_session, Direct; connections_have_a_rate, connections_without_a_session_are_bounded,
    an_answer_that_nobody_takes_is_let_go_of, whatever_is_long_has_its_share_until_it_is_sent);
on_stage!(without_a_session_mounted, Mounted; connections_have_a_rate, connections_without_a_session_are_bounded,
    an_answer_that_nobody_takes_is_let_go_of, whatever_is_long_has_its_share_until_it_is_sent);

/// A connection to the room from an address that the proxy in front names.
fn from(hub: &TestHub, docid: &str, address: &str) -> Connect {
    hub.connect(docid).header("x-forwarded-for", address)
}

async fn refused(connect: Connect, status: u16) -> String {
    let refused = connect.open().await.err().expect("it is refused");
    assert_eq!(refused.status, status, "{}", refused.answer);
    assert!(refused.answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{}", refused.answer);
    refused.answer
}

/// Somebody else writes, and it is shown: nobody else notices.
async fn others_go_on(hub: &TestHub, docid: &str) {
    let mut other = hub.client(docid).await;
    other.sync().await;
    let update = TextWriter::new(99).append("here");
    other.send_update(&update).await;
    other.shown(&update).await;
}

async fn sessions_of_one_address_are_bounded_whatever_proxies_say(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.trusted_proxies = vec!["127.0.0.0/8".into()];
        config.limits.connections_per_address = 2;
    };
    let hub = TestHub::with(stage, change).await;
    for (one, another, elsewhere) in [
        ("203.0.113.1", "203.0.113.1", "203.0.113.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        // Said by the client itself, and so by nobody.
        ("6.6.6.6, 203.0.113.7", "7.7.7.7, 203.0.113.7", "203.0.113.8"),
    ] {
        let before = hub.limited(Bound::AddressConnections);
        let first = from(&hub, "a", one).open().await.unwrap();
        let _second = from(&hub, "b", another).open().await.unwrap();
        let answer = refused(from(&hub, "c", one), 429).await;
        assert!(answer.contains("too-many-requests"), "{answer}");
        assert_eq!(hub.limited(Bound::AddressConnections), before + 1);
        from(&hub, "c", elsewhere).open().await.unwrap().sync().await;
        let open = hub.open_sessions();
        drop(first);
        until("a place to be free", async || (hub.open_sessions() < open).then_some(())).await;
        from(&hub, "c", another).open().await.unwrap().sync().await;
    }
}

async fn sessions_of_one_user_one_room_and_one_org_are_bounded(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.limits.connections_per_user = 2;
        config.limits.connections_per_room = 3;
        config.limits.orgs = vec!["small?connections_per_org=1".into()];
    };
    let hub = TestHub::with(stage, change).await;
    let mut open = Vec::new();
    for docid in ["a?user=ann", "b?user=ann", "a", "a"] {
        open.push(hub.client(docid).await);
    }
    refused(hub.connect("c?user=ann"), 429).await;
    refused(hub.connect("a?user=bob"), 503).await;
    assert_eq!((hub.limited(Bound::UserConnections), hub.limited(Bound::RoomConnections)), (1, 1));
    others_go_on(&hub, "c?user=bob").await;
    let small = |docid: &str| Connect::to(hub.addr(), &format!("/api/ws/v1/small/{docid}"));
    let one = small("a").open().await.unwrap();
    refused(small("b"), 503).await;
    assert_eq!(hub.limited(Bound::OrgConnections), 1);
    drop(one);
    drop(open);
    until("all to be gone", async || (hub.open_sessions() == 0).then_some(())).await;
    small("b").open().await.unwrap().sync().await;
    hub.client("a?user=ann").await.sync().await;
}

/// Sends so many updates at once, and returns them.
async fn send_at_once(client: &mut TestClient, writer: &mut TextWriter, count: usize, len: usize) -> Vec<Vec<u8>> {
    let updates: Vec<_> = (0..count).map(|_| writer.append(&"x".repeat(len))).collect();
    let wire: Vec<u8> = updates.iter().flat_map(|update| frame(&sync::update(update)).to_vec()).collect();
    client.send_raw(&wire).await.unwrap();
    updates
}

async fn messages_beyond_the_rate_are_read_later(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.limits.burst_seconds = 1;
        config.limits.messages_per_second = 20;
        config.limits.orgs = vec!["bytes?messages_per_second=0&message_bytes_per_second=20000".into()];
        // Longer than the pause: silence that is our doing is not held against the client.
        config.server.keepalive_ms = Millis::new(100);
        config.server.idle_timeout_ms = Millis::new(1_000);
    };
    let hub = TestHub::with(stage, change).await;
    for (org, bound, len) in [(ORG, Bound::SessionMessages, 1), ("bytes", Bound::SessionBytes, 900)] {
        let mut client = Connect::to(hub.addr(), &format!("/api/ws/v1/{org}/a")).open().await.unwrap();
        client.sync().await;
        let updates = send_at_once(&mut client, &mut TextWriter::new(7), 60, len).await;
        others_go_on(&hub, "other").await;
        for update in &updates {
            client.shown(update).await;
        }
        assert!(hub.limited(bound) > 0, "{bound:?}");
    }
}

async fn those_who_are_one_have_a_rate_together(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
        config.limits.burst_seconds = 1;
        config.limits.address_messages_per_second = 20;
        config.limits.address_bytes_per_second = 20_000;
        let own = ["user_messages_per_second=20", "user_bytes_per_second=20000", "room_messages_per_second=20"];
        config.limits.orgs = own.iter().enumerate().map(|(at, own)| format!("own{at}?{own}")).collect();
        config.limits.orgs.push("own3?room_bytes_per_second=20000".into());
    };
    let hub = TestHub::with(stage, change).await;
    let mut elsewhere = 0;
    for (org, bound, updates_each, len) in [
        ("own0", Bound::UserMessages, 10, 1),
        ("own1", Bound::UserBytes, 10, 900),
        ("own2", Bound::RoomMessages, 10, 1),
        ("own3", Bound::RoomBytes, 10, 900),
        (ORG, Bound::AddressMessages, 10, 1),
        (ORG, Bound::AddressBytes, 10, 3_000),
    ] {
        let (one_user, one_room) = (matches!(org, "own0" | "own1"), matches!(org, "own2" | "own3"));
        elsewhere += 1;
        let mut clients = Vec::new();
        for id in 1..=4 {
            // Only what is looked at is the same for all of them.
            if org != ORG {
                elsewhere += 1;
            }
            let user = if one_user { "ann".to_owned() } else { format!("user{id}") };
            let docid = if one_room { "a".to_owned() } else { format!("a{elsewhere}-{id}") };
            let path = format!("/api/ws/v1/{org}/{docid}?user={user}");
            let from = Connect::to(hub.addr(), &path).header("x-forwarded-for", &format!("203.0.113.{elsewhere}"));
            let mut client = from.open().await.unwrap();
            client.sync().await;
            let updates = send_at_once(&mut client, &mut TextWriter::new(id), updates_each, len).await;
            clients.push((client, updates));
        }
        others_go_on(&hub, "other").await;
        for (client, updates) in &mut clients {
            for update in updates {
                client.shown(update).await;
            }
        }
        assert!(hub.limited(bound) > 0, "{bound:?}");
    }
}

async fn upgrades_from_one_address_have_a_rate(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
        // So slow that nothing comes in while the test runs.
        config.limits.burst_seconds = 3;
        config.limits.upgrades_per_second = 1;
    };
    let hub = TestHub::with(stage, change).await;
    let mut taken = 0;
    let refused = loop {
        match from(&hub, "a", "203.0.113.1").open().await {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 100, "nobody was refused");
    };
    assert!(taken >= 3, "what was not used is kept");
    assert!(refused.status == 429 && refused.answer.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{refused:?}");
    assert_eq!(hub.limited(Bound::AddressUpgrades), 1);
    others_go_on(&hub, "a").await;
}

async fn of_presence_beyond_the_rate_the_newest_arrives(stage: Stage) {
    const MESSAGES: u64 = 500;
    let change = |config: &mut yhub::Config| {
        config.limits.burst_seconds = 1;
        config.limits.awareness_per_second = 5;
    };
    let hub = TestHub::with(stage, change).await;
    let mut watcher = hub.client("a").await;
    watcher.sync().await;
    let mut client = hub.client("a").await;
    client.sync().await;
    // Two that one connection speaks for: neither takes the other's place.
    let wire: Vec<u8> = (1..=MESSAGES)
        .flat_map(|clock| frame(&awareness_message(&[(7 + clock % 2, clock, &clock.to_string())])).to_vec())
        .collect();
    client.send_raw(&wire).await.unwrap();
    // What comes behind it does not wait for it.
    let update = TextWriter::new(1).append("at once");
    client.send_update(&update).await;
    client.shown(&update).await;
    let (mut newest, mut seen) = ([0, 0], 0);
    watcher
        .until("the newest", |message| {
            for (id, clock, _) in awareness_of(message)? {
                newest[id as usize - 7] = clock;
                seen += 1;
            }
            (newest == [MESSAGES, MESSAGES - 1]).then_some(())
        })
        .await;
    assert!(seen < MESSAGES / 4, "{seen} of {MESSAGES} states were passed on");
    assert_eq!(hub.limited(Bound::Presence), 1);
}

async fn patch(back_end: &BackEnd, docid: &str, update: &[u8]) -> Answered {
    let body = json!({ "update": BASE64_STANDARD.encode(update) });
    back_end.send_json(Method::PATCH, &format!("/api/ydoc/v1/{ORG}/{docid}"), &body).await
}

async fn a_document_does_not_grow_beyond_its_bound(stage: Stage) {
    const MOST: usize = 10_000;
    let hub = TestHub::with(stage, |config| config.limits.max_document_bytes = MOST).await;
    let back_end = BackEnd::of(hub.addr());
    let mut writer = TextWriter::new(7);
    assert_eq!(patch(&back_end, "a", &writer.append(&"x".repeat(6_000))).await.code(), 200);
    let mut client = hub.client("a").await;
    client.sync().await;
    let mut kept = 6_000;
    let closed = loop {
        let update = writer.append(&"y".repeat(1_000));
        client.send_update(&update).await;
        let shown = async {
            loop {
                match client.next().await {
                    Ok(message) if matches!(Message::decode(&message), Ok(Message::Update(shown)) if shown == update) => {
                        return None;
                    }
                    Ok(_) => {}
                    Err(closed) => return Some(closed),
                }
            }
        };
        if let Some(closed) = shown.await {
            break closed;
        }
        kept += 1_000;
        assert!(kept < 2 * MOST, "it has {kept} bytes by now");
    };
    assert_eq!((closed.code, closed.reason.as_str()), (Some(4413), "document too large"));
    assert_eq!(hub.limited(Bound::DocumentSize), 1);
    // Nobody else can make it larger either, nor in another way; all can read it, and make it smaller.
    let more = writer.append(&"z".repeat(4_000));
    let answered = patch(&back_end, "a", &more).await;
    assert_eq!((answered.code(), answered.json()["code"].clone()), (413, json!("document-too-large")));
    assert_eq!(hub.limited(Bound::DocumentSize), 2);
    let mut reader = hub.client("a").await;
    assert_eq!(Oracle::of([reader.sync().await]).text().len(), kept);
    let delete = writer.delete(0, 5_000);
    reader.send_update(&delete).await;
    reader.shown(&delete).await;
    others_go_on(&hub, "other").await;
}

async fn loads_wait_in_turn_and_too_many_are_sent_away(stage: Stage) {
    let change = |config: &mut yhub::Config| (config.limits.concurrent_loads, config.limits.waiting_loads) = (1, 1);
    let hub = TestHub::with(stage, change).await;
    hub.doc_plan.on_every(DocMethod::Read, Fault::Hang);
    let mut clients = Vec::new();
    for docid in ["a", "b", "c", "d"] {
        clients.push(hub.client(docid).await);
    }
    // Which two are let in is not said, only that two are.
    until("two to be sent away", async || (hub.limited(Bound::Loads) == 2).then_some(())).await;
    until("two to be gone", async || (hub.open_sessions() == 2).then_some(())).await;
    hub.doc_plan.clear();
    hub.doc_plan.release();
    let mut let_in = 0;
    for client in &mut clients {
        client.try_send(&sync::step1(&[0])).await.ok();
        loop {
            match client.next().await {
                Ok(message) if matches!(Message::decode(&message), Ok(Message::SyncStep2(_))) => {
                    let_in += 1;
                    break;
                }
                Ok(_) => {}
                Err(closed) => {
                    assert_eq!(closed.code, Some(1013), "{closed:?}");
                    break;
                }
            }
        }
    }
    assert_eq!(let_in, 2);
    others_go_on(&hub, "other").await;
}

async fn histories_wait_in_turn_and_too_many_are_sent_away(stage: Stage) {
    let change = |config: &mut yhub::Config| (config.limits.concurrent_histories, config.limits.waiting_histories) = (1, 0);
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    for docid in ["a", "b"] {
        assert_eq!(patch(&back_end, docid, &TextWriter::new(7).append("x")).await.code(), 200);
    }
    // The first read of a question looks for the last change; the second is of the history.
    let ask = |docid: &str| {
        let (back_end, path) = (back_end.clone(), format!("/api/activity/v1/{ORG}/{docid}"));
        tokio::spawn(async move { back_end.get(&path).await })
    };
    let before = hub.doc_plan.calls(DocMethod::Read);
    hub.doc_plan.on_nth(DocMethod::Read, 2, Fault::Hang);
    let first = ask("a");
    until("the history to be read", async || (hub.doc_plan.calls(DocMethod::Read) >= before + 2).then_some(())).await;
    let second = ask("b").await.unwrap();
    assert_eq!((second.code(), second.json()["code"].clone()), (429, json!("too-many-requests")));
    assert!(second.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(hub.limited(Bound::Histories), 1);
    // A view is built anew, too.
    let view = async || back_end.get(&format!("/api/ydoc/v1/{ORG}/b?view=text")).await;
    assert_eq!(view().await.code(), 429);
    assert_eq!(hub.limited(Bound::Histories), 2);
    // Documents are not concerned.
    others_go_on(&hub, "b").await;
    hub.doc_plan.clear();
    hub.doc_plan.release();
    assert_eq!(first.await.unwrap().code(), 200);
    assert_eq!(ask("b").await.unwrap().code(), 200);
    assert_eq!(view().await.code(), 200);
}

async fn one_user_leaves_turns_at_histories_to_others(stage: Stage) {
    let change = |config: &mut yhub::Config| (config.limits.concurrent_histories, config.limits.waiting_histories) = (1, 1);
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    for docid in ["a", "b"] {
        assert_eq!(patch(&back_end, docid, &TextWriter::new(7).append("x")).await.code(), 200);
    }
    let ask = |docid: &str, user: &str| {
        let (back_end, path) = (back_end.clone(), format!("/api/activity/v1/{ORG}/{docid}?user={user}"));
        tokio::spawn(async move { back_end.get(&path).await.code() })
    };
    let before = hub.doc_plan.calls(DocMethod::Read);
    hub.doc_plan.on_nth(DocMethod::Read, 2, Fault::Hang);
    let first = ask("a", "ann");
    until("the history to be read", async || (hub.doc_plan.calls(DocMethod::Read) >= before + 2).then_some(())).await;
    assert_eq!(ask("b", "ann").await.unwrap(), 429, "one is computed for them, and there are two places");
    assert_eq!(hub.limited(Bound::Histories), 1);
    let second = ask("b", "bob");
    hub.doc_plan.clear();
    hub.doc_plan.release();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200));
    assert_eq!(ask("b", "ann").await.unwrap(), 200);
}

async fn requests_of_one_address_and_of_one_user_have_a_rate(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
        // So slow that nothing comes in while the test runs.
        config.limits.burst_seconds = 3;
        config.limits.rest_per_second = 1;
        config.limits.orgs = vec!["users?rest_per_second_of_user=1".into()];
    };
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    let ask = async |address: &str, org: &str, user: &str| {
        let request = back_end.ask(Method::GET, &format!("/api/ydoc/v1/{org}/a?user={user}"));
        send(request.header("accept", "application/json").header("x-forwarded-for", address)).await
    };
    for (bound, org, mut address, user) in
        [(Bound::AddressRequests, ORG, 1_u8..=1, "ann"), (Bound::UserRequests, "users", 2..=200, "bob")]
    {
        let mut asked = 0;
        let refused = loop {
            let from = format!("203.0.113.{}", if org == ORG { 1 } else { address.next().unwrap() });
            let answered = ask(&from, org, user).await;
            asked += 1;
            match answered.code() {
                200 => assert!(asked < 100, "nobody was refused"),
                _ => break answered,
            }
        };
        assert!(asked > 3, "what was not used is kept");
        assert_eq!((refused.code(), refused.json()["code"].clone()), (429, json!("too-many-requests")));
        let retry_after: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=3).contains(&retry_after), "{retry_after}");
        assert_eq!(hub.limited(bound), 1);
        assert_eq!(ask("203.0.113.250", org, "eve").await.code(), 200);
        others_go_on(&hub, "other").await;
    }
}

async fn a_head_that_is_too_long_is_refused(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.max_head_bytes = 1_024).await;
    let long = "x".repeat(1_000);
    let request = BackEnd::of(hub.addr()).ask(Method::GET, &format!("/api/ydoc/v1/{ORG}/a"));
    let answered = send(request.header("accept", "application/json").header("x-long", &long)).await;
    assert_eq!((answered.code(), answered.json()["code"].clone()), (431, json!("head-too-large")));
    let refused = hub.connect("a").header("x-long", &long).open().await.err().expect("it is too long");
    assert_eq!(refused.status, 431, "{}", refused.answer);
    assert_eq!(hub.limited(Bound::HeadSize), 2);
    others_go_on(&hub, "a").await;
}

async fn failing_to_show_who_one_is_has_a_rate(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Token].into();
        config.jwt.secret = Some(SECRET.into());
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
        config.limits.failed_auth_per_minute = 2;
    };
    let hub = TestHub::with(stage, change).await;
    let try_from = async |address: &str, token: Option<&str>| {
        let connect = from(&hub, "a", address);
        let connect = token.iter().fold(connect, |connect, token| connect.header("authorization", &format!("Bearer {token}")));
        connect.open().await.err().expect("it is no token").status
    };
    let over = signed(&json!({ "sub": "ann", "exp": 1 }));
    for _ in 0..2 {
        // Neither who shows nothing nor who comes with what was good has guessed.
        assert_eq!(try_from("203.0.113.1", None).await, 401);
        assert_eq!(try_from("203.0.113.1", Some(&over)).await, 401);
        assert_eq!(try_from("203.0.113.1", Some("a-guess")).await, 401);
    }
    assert_eq!(try_from("203.0.113.1", Some("a-guess")).await, 429);
    assert_eq!(hub.limited(Bound::FailedAuth), 1);
    assert_eq!(try_from("203.0.113.2", Some("a-guess")).await, 401);
}

async fn a_token_that_nobody_can_say_anything_of_is_a_quarter_of_a_failure(stage: Stage) {
    let web = Web::start(|_| WebReply::Status(500, String::new()));
    let change = |config: &mut yhub::Config| {
        config.auth.mode = vec![AuthMode::Jwt, AuthMode::Callback].into();
        config.jwt.secret = Some(SECRET.into());
        config.auth_callback.url = web.url("/may");
        config.auth_callback.breaker_failures = 1;
        config.server.trusted_proxies = vec!["127.0.0.1".into()];
        config.limits.failed_auth_per_minute = 1;
    };
    let hub = TestHub::with(stage, change).await;
    let try_from = async |address: &str, token: &str| {
        let connect = from(&hub, "a", address).header("authorization", &format!("Bearer {token}"));
        connect.open().await.err().expect("nobody says yes").status
    };
    // The first costs a quarter, and less than a whole failure is left.
    assert_eq!(try_from("203.0.113.1", "some-token").await, 503);
    assert_eq!(try_from("203.0.113.1", "another-token").await, 429);
    assert_eq!(hub.limited(Bound::FailedAuth), 1);
    // Who is known has guessed nothing; and who comes from elsewhere is asked about.
    let ann = signed(&json!({ "sub": "ann", "exp": 9_999_999_999u64 }));
    for asked in 2..5 {
        assert_eq!(try_from("203.0.113.2", &ann).await, 503);
        assert_eq!(web.requests().len(), asked);
    }
}

async fn checks_of_an_org_have_a_rate(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.auth.purposes.push("recheck".into());
        config.limits.burst_seconds = 60;
        config.limits.org_rechecks_per_second = 1;
        config.limits.org_recheck_bytes_per_second = 100;
    };
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    let check = async |org: &str, users: serde_json::Value| {
        back_end.send_json(Method::POST, &format!("/api/recheck-auth/v1/{org}"), &json!({ "users": users })).await
    };
    for _ in 0..2 {
        assert_eq!(check("loud", json!(["x".repeat(2_500)])).await.code(), 200);
    }
    let refused = check("loud", json!(["x".repeat(2_500)])).await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (429, json!("too-many-requests")));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(hub.limited(Bound::OrgRecheckBytes), 1);
    let mut asked = 0;
    while check("loud", json!(null)).await.code() == 200 {
        asked += 1;
        assert!(asked < 1_000, "there is a bound");
    }
    assert_eq!(hub.limited(Bound::OrgRechecks), 1);
    assert_eq!(check("quiet", json!(["ann"])).await.code(), 200);
    assert_eq!(check("quiet", json!(["x".repeat(1 << 20)])).await.code(), 413);
}

async fn metrics_are_told_on_a_listener_of_their_own(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.metrics = Some("127.0.0.1:0".parse().unwrap());
        config.limits.connections_per_user = 1;
    };
    let hub = TestHub::with(stage, change).await;
    let mut client = hub.client("secret-document?user=ann").await;
    client.sync().await;
    refused(hub.connect("secret-document?user=ann"), 429).await;
    let metrics = send(BackEnd::of(hub.metrics_addr()).ask(Method::GET, "/metrics")).await;
    assert_eq!(metrics.code(), 200);
    let text = metrics.text();
    for line in
        ["yhub_limited_total{bound=\"user_connections\"} 1", "yhub_open_sessions 1", "yhub_rooms 1", "yhub_rooms_started_total 1"]
    {
        assert!(text.lines().any(|said| said == line), "{line} in {text}");
    }
    for bound in Bound::ALL {
        assert!(text.contains(&format!("yhub_limited_total{{bound=\"{}\"}} ", bound.name())), "{} in {text}", bound.name());
    }
    for name in [ORG, "secret", "ann"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert_eq!(send(BackEnd::of(hub.addr()).ask(Method::GET, "/metrics")).await.code(), 404);
}

/// Reads until the other side ends.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = within("the connection to end", stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

async fn connections_without_a_session_are_bounded(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.limits.http_connections_per_address = 2;
        config.server.head_timeout_ms = Millis::new(60_000);
    };
    let hub = TestHub::with(stage, change).await;
    // Sessions do not count.
    let mut session = hub.client("a").await;
    let mut silent = Vec::new();
    let mut many = false;
    for _ in 0..3 {
        let mut stream = TcpStream::connect(hub.addr()).await.unwrap();
        // Which one of those that wait comes first is not said.
        if tokio::time::timeout(Duration::from_millis(500), stream.readable()).await.is_ok() {
            let answer = rest_of(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: "), "{answer}");
            many = true;
        } else {
            silent.push(stream);
        }
    }
    assert!(many && silent.len() == 2 && hub.limited(Bound::HttpConnections) == 1, "{} are open", silent.len());
    session.sync().await;
    drop(silent.pop());
    until("a place to be free", async || {
        let mut stream = TcpStream::connect(hub.addr()).await.ok()?;
        stream.write_all(b"GET /api/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.ok()?;
        rest_of(&mut stream).await.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

async fn connections_have_a_rate(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        // So slow that nothing comes in while the test runs.
        config.limits.burst_seconds = 3;
        config.limits.http_connections_per_second = 1;
    };
    let hub = TestHub::with(stage, change).await;
    let mut session = hub.client("a").await;
    session.sync().await;
    let mut silent = Vec::new();
    let answer = loop {
        let mut stream = TcpStream::connect(hub.addr()).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(500), stream.readable()).await.is_ok() {
            break rest_of(&mut stream).await;
        }
        silent.push(stream);
        assert!(silent.len() < 10, "nobody was refused");
    };
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: "), "{answer}");
    assert_eq!(hub.limited(Bound::HttpConnectionRate), 1);
    let elsewhere = hub.connect("a").from(std::net::Ipv4Addr::new(127, 0, 0, 9));
    elsewhere.open().await.unwrap().sync().await;
}

async fn a_head_has_its_time(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.head_timeout_ms = Millis::new(1_000);
        config.server.write_timeout_ms = Millis::new(500);
    };
    let hub = TestHub::with(stage, change).await;
    let mut slow = TcpStream::connect(hub.addr()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = rest_of(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    until("it to be counted", async || (hub.limited(Bound::HeadTime) == 1).then_some(())).await;
    // The second of a connection, too.
    let mut slow = TcpStream::connect(hub.addr()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = rest_of(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(hub.limited(Bound::HeadTime), 2);
}

async fn an_answer_that_nobody_takes_is_let_go_of(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.limits.answer_bytes = 1 << 20;
        config.server.write_timeout_ms = Millis::new(1_000);
    };
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    assert_eq!(patch(&back_end, "large", &TextWriter::new(7).append(&"x".repeat(32 << 20))).await.code(), 200);
    assert_eq!(patch(&back_end, "other", &TextWriter::new(7).append(&"x".repeat(700 << 10))).await.code(), 200);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stalled = socket.connect(hub.addr()).await.unwrap();
    stalled.write_all(format!("GET /api/ydoc/v1/{ORG}/large HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    // It has come to be sent, which takes all of the budget.
    within("the answer to begin", stalled.readable()).await.unwrap();
    let other = async || back_end.get(&format!("/api/ydoc/v1/{ORG}/other")).await.code();
    until("the answer to be let go of", async || (hub.limited(Bound::AnswerTime) == 1).then_some(())).await;
    assert_eq!(other().await, 200);
    let got = rest_of(&mut stalled).await.len();
    assert!(got < 32 << 20, "{got} bytes");
}

async fn whatever_is_long_has_its_share_until_it_is_sent(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.limits.answer_bytes = 1 << 20).await;
    let back_end = BackEnd::of(hub.addr());
    assert_eq!(patch(&back_end, "large", &TextWriter::new(7).append(&"x".repeat(8 << 20))).await.code(), 200);
    assert_eq!(patch(&back_end, "other", &TextWriter::new(7).append(&"x".repeat(700 << 10))).await.code(), 200);
    assert_eq!(patch(&back_end, "small", &TextWriter::new(7).append("x")).await.code(), 200);
    let path = |question: &str, docid: &str| {
        let (kind, query) = question.split_once('?').unwrap();
        format!("/api/{kind}/v1/{ORG}/{docid}?{query}")
    };
    let questions = ["ydoc?view=text", "ydoc?view=json", "changeset?ydoc=true"];
    for (question, accept) in questions.into_iter().flat_map(|question| [(question, "application/json"), (question, "*/*")]) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stalled = socket.connect(hub.addr()).await.unwrap();
        let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n", path(question, "large"));
        stalled.write_all(head.as_bytes()).await.unwrap();
        // It has come to be sent, which takes all of the budget, and nobody takes it.
        within("the answer to begin", stalled.readable()).await.unwrap();
        let refused_before = hub.limited(Bound::Answers);
        for other in ["ydoc?gc=true", "ydoc?view=text", "changeset?ydoc=true"] {
            let refused = back_end.get(&path(other, "other")).await;
            assert_eq!((refused.code(), refused.header("retry-after")), (503, "2"), "{other} beside {question} {accept}");
            assert_eq!(refused.json()["code"], "unavailable");
        }
        assert_eq!(hub.limited(Bound::Answers), refused_before + 3);
        // What is short finds its way.
        assert_eq!(back_end.get(&path("changeset?ydoc=true", "small")).await.code(), 200);
        drop(stalled);
        let other = async || back_end.get(&path("changeset?ydoc=true", "other")).await.code();
        until("its share to be given back", async || (other().await == 200).then_some(())).await;
    }
}
