//! Documents over HTTP, as back ends read and write them, in every encoding.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use yhub_core::limiting::Bound;
use yhub_encoding::{Any, Object};
use yhub_testkit::{
    Answered, BackEnd, TextWriter,
    http::send,
    until,
    vectors::{hex, list, load, text},
};

use crate::{
    access::{by_jwt, now_s, signed, token},
    support::{ORG, Stage, TestHub},
};

on_stage!(direct, Direct; reads_and_writes, conditions_are_kept, requests_are_carried_out_once, sessions_see_what_is_written,
    views_show_what_is_in_a_document, pages_are_let_in_by_origin, what_is_long_comes_whole, bodies_share_a_budget,
    a_body_of_unsaid_length_is_bounded, one_user_leaves_room_for_others,
    who_is_gone_is_answered_later, what_was_carried_out_stays_so_after_a_deletion, keys_are_of_one_caller,
    records_of_one_user_are_bounded);
on_stage!(mounted, Mounted; reads_and_writes, sessions_see_what_is_written, pages_are_let_in_by_origin);
on_stage!(full, Full; reads_and_writes, conditions_are_kept, requests_are_carried_out_once, sessions_see_what_is_written,
    many_who_write_on_a_condition_take_turns, who_is_gone_is_answered_later, what_was_carried_out_stays_so_after_a_deletion,
    keys_are_of_one_caller, what_changed_nothing_is_soon_forgotten);
on_stage!(three, Three; conditions_are_kept, requests_are_carried_out_once, sessions_see_what_is_written,
    many_who_write_on_a_condition_take_turns);

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(crate) fn path(kind: &str, docid: &str) -> String {
    format!("/api/{kind}/v1/{ORG}/{docid}")
}

async fn patch(back_end: &BackEnd, docid: &str, update: &[u8]) -> Answered {
    back_end.send_json(Method::PATCH, &path("ydoc", docid), &json!({ "update": base64(update) })).await
}

async fn document(back_end: &BackEnd, docid: &str) -> Vec<u8> {
    let answered = back_end.get(&path("ydoc", docid)).await;
    assert_eq!(answered.code(), 200, "{answered:?}");
    BASE64_STANDARD.decode(answered.json()["doc"].as_str().expect("a document")).expect("base64")
}

async fn reads_and_writes(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    // Nobody has written it: the empty document, of no clock.
    let empty = back_end.get(&path("ydoc", "notes")).await;
    assert_eq!((empty.code(), empty.json(), empty.header("etag")), (200, json!({ "doc": "AAA=" }), "\"0-0/json\""));

    let mut writer = TextWriter::new(7);
    let update = writer.append("hello");
    let written = patch(&back_end, "notes?user=ann", &update).await;
    assert_eq!((written.code(), written.json()), (200, json!({ "success": true, "message": "written" })));
    assert_eq!(document(&back_end, "notes").await, update);
    let read = back_end.get(&path("ydoc", "notes")).await;
    assert_eq!(read.header("etag"), written.header("etag"), "what was written is what is read");

    // The same in lib0-any, with awareness, and with what is known already: only what is new is appended.
    let more = writer.append(" world");
    let object = |entries: Vec<(&str, Any)>| {
        Any::Object(Object::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())).to_bytes()
    };
    let whole = yhub_content::merge(&[update.clone(), more.clone()]).unwrap();
    let pair =
        |key: &str, value: &str| Any::Object(Object::from_entries(vec![("k".into(), key.into()), ("v".into(), value.into())]));
    let body = object(vec![
        ("update", Any::Bytes(whole[..].into())),
        ("awareness", Any::Bytes([1, 9, 1, 4, b'"', b'h', b'i', b'"'].into())),
        ("customAttributions", Any::Array(vec![pair("source", "import")])),
    ]);
    let request = back_end.ask(Method::PATCH, &path("ydoc", "notes?user=bob")).header("content-type", "application/octet-stream");
    let written = send(request.body(body.clone())).await;
    assert_eq!((written.code(), written.header("content-type")), (200, "application/x-lib0any"));
    assert_eq!(written.any(), Any::from_bytes(&object(vec![("success", true.into()), ("message", "written".into())])).unwrap());
    assert_eq!(hub.stream_updates("notes").await, [update.clone(), more.clone()], "what was there already is not appended");
    let again = send(back_end.ask(Method::PATCH, &path("ydoc", "notes?user=eve")).body(body)).await;
    assert_eq!(
        again.any(),
        Any::from_bytes(&object(vec![("success", true.into()), ("message", "there was nothing to write".into())])).unwrap()
    );
    assert_eq!(hub.stream_updates("notes").await.len(), 2);

    let read = send(back_end.ask(Method::GET, &path("ydoc", "notes?awareness=true&gc=false"))).await;
    let expected = object(vec![
        ("doc", Any::Bytes(whole[..].into())),
        ("awareness", Any::Bytes([1, 9, 1, 4, b'"', b'h', b'i', b'"'].into())),
    ]);
    assert_eq!((read.code(), read.header("content-type"), read.body.clone()), (200, "application/x-lib0any", expected));

    let activity = back_end.get(&path("activity", "notes?customAttributions=true")).await.json();
    let by: Vec<_> = activity["activity"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["by"].clone(), entry["customAttributions"].clone()))
        .collect();
    assert_eq!(by, [(json!("ann"), json!([])), (json!("bob"), json!([{ "k": "source", "v": "import" }]))]);

    // Another branch is another document.
    assert_eq!(document(&back_end, "notes?branch=draft").await, [0, 0]);
    // Names are decoded once, and a slash in one is none between two.
    assert_eq!(patch(&back_end, "a%2Fb%2520c", &update).await.code(), 200);
    assert_eq!(document(&back_end, "a%2Fb%2520c").await, update);
    assert_eq!(hub.stream_updates("a/b%20c").await, [update]);
}

async fn conditions_are_kept(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut writer = TextWriter::new(7);
    let conditional = async |update: &[u8], tag: &str| {
        let request = back_end.ask(Method::PATCH, &path("ydoc", "notes")).header("if-match", tag);
        let body = json!({ "update": base64(update) }).to_string();
        send(request.header("accept", "application/json").header("content-type", "application/json").body(body)).await
    };
    let first = conditional(&writer.append("a"), "\"0-0\"").await;
    assert_eq!(first.code(), 200, "{first:?}");
    let refused = conditional(&writer.append("b"), "\"0-0\"").await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (412, json!("changed")));
    assert_eq!(hub.stream_updates("notes").await.len(), 1);
    // Presence is no change.
    let present = json!({ "awareness": base64(&[1, 9, 1, 4, b'"', b'h', b'i', b'"']) });
    assert_eq!(back_end.send_json(Method::PATCH, &path("ydoc", "notes"), &present).await.code(), 200);
    let writer = &mut TextWriter::new(8);
    let second = conditional(&writer.append("b"), first.header("etag")).await;
    assert_eq!(second.code(), 200, "{second:?}");
    for (kind, body) in [("rollback", json!({ "from": 1 })), ("prune", json!({ "from": 1 }))] {
        let request = back_end.ask(Method::POST, &path(kind, "notes")).header("if-match", first.header("etag"));
        let refused = send(request.header("content-type", "application/json").body(body.to_string())).await;
        assert_eq!(refused.code(), 412, "{kind}");
    }

    let unchanged = async |kind: &str, tag: &str| {
        let request = back_end.ask(Method::GET, &path(kind, "notes")).header("accept", "application/json");
        send(request.header("if-none-match", tag)).await
    };
    for kind in ["ydoc", "activity", "changeset"] {
        let answered = unchanged(kind, second.header("etag")).await;
        assert_eq!((answered.code(), answered.body.len(), answered.header("etag")), (304, 0, second.header("etag")), "{kind}");
        assert_eq!(unchanged(kind, first.header("etag")).await.code(), 200, "{kind}");
        // The other form is another answer.
        let other = send(back_end.ask(Method::GET, &path(kind, "notes")).header("if-none-match", second.header("etag"))).await;
        assert_eq!(other.code(), 200, "{kind}");
        let head = back_end.ask(Method::HEAD, &path(kind, "notes")).header("accept", "application/json");
        let head = send(head).await;
        assert_eq!(head.header("content-length"), "", "no length of a body that is not there");
        assert_eq!((head.code(), head.body.len(), head.header("etag")), (200, 0, second.header("etag")), "{kind}");
    }
}

async fn many_who_write_on_a_condition_take_turns(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let writers = (0..8).map(|client| {
        let back_end = back_end.clone();
        tokio::spawn(async move {
            let update = TextWriter::new(100 + client).append("x");
            let body = json!({ "update": base64(&update) }).to_string();
            let (mut tag, mut refused) = (String::from("\"0-0\""), 0);
            loop {
                let request = back_end.ask(Method::PATCH, &path("ydoc", "notes")).header("if-match", &tag);
                let answered = send(request.header("content-type", "application/json").body(body.clone())).await;
                match answered.code() {
                    200 => return (tag, format!("{} {}", answered.header("etag"), answered.text()), refused),
                    412 => refused += 1,
                    _ => panic!("{answered:?}"),
                }
                tag = send(back_end.ask(Method::HEAD, &path("ydoc", "notes"))).await.header("etag").to_owned();
            }
        })
    });
    let mut known = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        known.push(writer.await.unwrap());
    }
    known.sort();
    let mut states: Vec<_> = known.iter().map(|(tag, ..)| tag).collect();
    states.dedup();
    assert_eq!(states.len(), 8, "no two wrote on the same state: {known:#?}");
    let ids = yhub_content::content_ids(&document(&back_end, "notes").await).unwrap();
    assert_eq!(ids.inserts.iter().count(), 8);
}

async fn requests_are_carried_out_once(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut writer = TextWriter::new(7);
    assert_eq!(patch(&back_end, "notes?user=ann", &writer.append("hello")).await.code(), 200);
    assert_eq!(patch(&back_end, "notes?user=bob", &writer.delete(0, 5)).await.code(), 200);
    let shown = async || back_end.get(&path("ydoc", "notes?view=text")).await.text();
    assert_eq!(shown().await, "");
    let rollback = async |key: &str, body: Value| {
        let request = back_end.ask(Method::POST, &path("rollback", "notes?user=ann")).header("idempotency-key", key);
        send(request.header("accept", "application/json").header("content-type", "application/json").body(body.to_string())).await
    };
    // Done twice, taking back that bob has deleted something inserts it twice.
    let first = rollback("key 1", json!({ "by": "bob" })).await;
    assert_eq!((first.code(), first.json()["message"].clone()), (200, json!("written")));
    for _ in 0..3 {
        let again = rollback("key 1", json!({ "by": "bob" })).await;
        assert_eq!((again.code(), again.json(), again.header("etag")), (200, first.json(), first.header("etag")));
    }
    assert_eq!(shown().await, "hello");
    let other = rollback("key 1", json!({ "by": "ann" })).await;
    assert_eq!((other.code(), other.json()["code"].clone()), (422, json!("key-reused")));
    assert_eq!(rollback("", json!({ "by": "ann" })).await.code(), 400);
    // A request that failed may be sent again under its key.
    assert_eq!(rollback("key 2", json!({})).await.code(), 400);
    assert_eq!(rollback("key 2", json!({ "by": "nobody" })).await.code(), 200);
    // Many at once: one does it, the others are told to wait or are given its answer.
    let all = (0..8).map(|_| rollback("key 3", json!({ "by": "bob" })));
    let codes: Vec<u16> = futures_util::future::join_all(all).await.iter().map(Answered::code).collect();
    assert!(codes.contains(&200) && codes.iter().all(|code| matches!(code, 200 | 503)), "{codes:?}");
    assert_eq!(shown().await, "hellohello");
}

async fn keys_are_of_one_caller(stage: Stage) {
    let hub = TestHub::with(stage, by_jwt).await;
    let back_end = BackEnd::of(hub.addr());
    let of = |user: &str, access: &str| token(user, &json!({ "org": ORG, "access": access, "purposes": ["rollback"] }));
    let ask = async |token: &str, method: Method, path: &str, key: &str, body: Value| {
        let request =
            back_end.ask(method, path).header("authorization", format!("Bearer {token}")).header("accept", "application/json");
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        send(request.header("content-type", "application/json").body(body.to_string())).await
    };
    let (ann, bob) = (of("ann", "rw"), of("bob", "rw"));
    let mut writer = TextWriter::new(7);
    for (token, update) in [(&ann, writer.append("hello")), (&bob, writer.delete(0, 5))] {
        assert_eq!(ask(token, Method::PATCH, &path("ydoc", "notes"), "", json!({ "update": base64(&update) })).await.code(), 200);
    }
    let shown = async || ask(&ann, Method::GET, &path("ydoc", "notes?view=text"), "", Value::Null).await.text();
    let rollback = async |token: &str| ask(token, Method::POST, &path("rollback", "notes"), "1", json!({ "by": "bob" })).await;
    let first = rollback(&ann).await;
    assert_eq!((first.code(), shown().await.as_str()), (200, "hello"), "{first:?}");
    // Another's key is another key, whatever it is.
    let others = rollback(&bob).await;
    assert_eq!((others.code(), shown().await.as_str()), (200, "hellohello"), "{others:?}");
    assert_ne!(first.header("etag"), others.header("etag"));
    // A renewed token is the same caller, and the same request, also in the address.
    let renewed =
        signed(&json!({ "sub": "ann", "exp": now_s() + 7200, "yhub": { "org": ORG, "access": "rw", "purposes": ["rollback"] } }));
    assert_eq!(rollback(&renewed).await.header("etag"), first.header("etag"));
    let mut tags = Vec::new();
    for (key, token) in [("1", &renewed), ("2", &ann), ("2", &renewed)] {
        let path = path("rollback", &format!("notes?yauth={token}"));
        let request = back_end.ask(Method::POST, &path).header("idempotency-key", key).header("accept", "application/json");
        let again = send(request.header("content-type", "application/json").body(json!({ "by": "bob" }).to_string())).await;
        assert_eq!(again.code(), 200, "{key}: {again:?}");
        tags.push(again.header("etag").to_owned());
    }
    assert_eq!(tags[0], first.header("etag"));
    assert!(tags[1] == tags[2] && tags[1] != tags[0], "of the second key once: {tags:?}");
    // Who may no longer is not told what they were told before.
    let refused = rollback(&of("ann", "r")).await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (403, json!("no-access")));
}

async fn records_of_one_user_are_bounded(stage: Stage) {
    // Half at once: two of one user, three of all.
    let change = |config: &mut yhub::Config| {
        (config.limits.idempotency_bytes_of_user, config.limits.idempotency_bytes) = (4 * 512, 6 * 512);
    };
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    let keyed = async |user: &str, key: &str| {
        let request = back_end.ask(Method::PATCH, &path("ydoc", &format!("notes?user={user}"))).header("idempotency-key", key);
        let body = json!({ "update": base64(&TextWriter::new(7).append("x")) }).to_string();
        send(request.header("accept", "application/json").header("content-type", "application/json").body(body)).await
    };
    for key in ["1", "2"] {
        assert_eq!(keyed("ann", key).await.code(), 200);
    }
    let refused = keyed("ann", "3").await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (429, json!("too-many-requests")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60);
    assert_eq!(hub.limited(Bound::UserRecords), 1);
    // Who asks again is answered, and others have theirs, as long as there is any.
    assert_eq!(keyed("ann", "1").await.code(), 200);
    assert_eq!(keyed("bob", "1").await.code(), 200);
    let refused = keyed("bob", "2").await;
    assert_eq!((refused.code(), refused.json()["code"].clone(), refused.header("retry-after")), (503, json!("unavailable"), "2"));
    assert_eq!(hub.limited(Bound::Records), 1);
    // Without a key everybody is served.
    assert_eq!(patch(&back_end, "notes?user=ann", &TextWriter::new(8).append("x")).await.code(), 200);
}

async fn what_changed_nothing_is_soon_forgotten(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let body = json!({ "update": base64(&TextWriter::new(7).append("x")) }).to_string();
    let mut known = Vec::new();
    for (key, message, at_least_s, at_most_s) in [("1", "written", 86_000, 86_400), ("2", "there was nothing to write", 500, 600)]
    {
        let request = back_end.ask(Method::PATCH, &path("ydoc", "notes")).header("idempotency-key", key);
        let request = request.header("accept", "application/json").header("content-type", "application/json");
        assert_eq!(send(request.body(body.clone())).await.json()["message"], message);
        let all = hub.redis().cli(["KEYS", "*idempotency*"]);
        let new = all.lines().map(str::trim).find(|name| !known.iter().any(|known| known == name)).expect("a record").to_owned();
        let left_s: u64 = hub.redis().cli(["TTL", &new]).trim().parse().unwrap();
        assert!((at_least_s..=at_most_s).contains(&left_s), "{key}: {left_s} s");
        known.push(new);
    }
}

/// A connection on which a request is written by hand.
async fn by_hand(hub: &TestHub, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(hub.addr()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

async fn bodies_share_a_budget(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.limits.body_bytes = 1 << 20).await;
    let back_end = BackEnd::of(hub.addr());
    let head = format!("PATCH {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900001\r\n\r\n", path("ydoc", "a"));
    // All but its end.
    let slow = by_hand(&hub, &head, &vec![0; 900_000]).await;
    let update = TextWriter::new(7).append(&"x".repeat(400_000));
    let code = async || patch(&back_end, "b", &update).await.code();
    until("the other body to be in", async || (code().await == 503).then_some(())).await;
    // One that is small finds its place.
    assert_eq!(patch(&back_end, "c", &TextWriter::new(7).append("small")).await.code(), 200);
    drop(slow);
    until("its place to be given back", async || (code().await == 200).then_some(())).await;
}

/// Who does not say how long a body is is stopped all the same.
async fn a_body_of_unsaid_length_is_bounded(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        (config.server.max_message_bytes, config.limits.max_awareness_bytes) = (128 << 10, 64);
    };
    let hub = TestHub::with(stage, change).await;
    let head = format!("PATCH {} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", path("ydoc", "a"));
    let mut body = format!("{:x}\r\n", 400_000).into_bytes();
    body.extend(vec![0; 400_000]);
    body.extend(b"\r\n0\r\n\r\n");
    let mut stream = by_hand(&hub, &head, &body).await;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
    assert_eq!(hub.limited(Bound::MessageSize), 1);
}

async fn one_user_leaves_room_for_others(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.max_message_bytes = 128 << 10;
        config.limits.max_awareness_bytes = 64;
        config.limits.body_bytes = 1 << 20;
    };
    let hub = TestHub::with(stage, change).await;
    let back_end = BackEnd::of(hub.addr());
    let path_of = |user: &str| path("ydoc", &format!("a?user={user}"));
    let head = format!("PATCH {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 120001\r\n\r\n", path_of("ann"));
    let update = TextWriter::new(7).append(&"x".repeat(90_000));
    let code = async |user: &str| patch(&back_end, &format!("b?user={user}"), &update).await.code();
    // None of them to its end, until that is half of what there is.
    let mut slow = Vec::new();
    while code("ann").await != 503 {
        assert!(slow.len() < 100, "there is room for all of them");
        slow.push(by_hand(&hub, &head, &vec![0; 120_000]).await);
    }
    assert_eq!(code("bob").await, 200);
    drop(slow);
    until("their places to be given back", async || (code("ann").await == 200).then_some(())).await;
}

async fn who_is_gone_is_answered_later(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut writer = TextWriter::new(7);
    assert_eq!(patch(&back_end, "notes?user=ann", &writer.append("hello")).await.code(), 200);
    assert_eq!(patch(&back_end, "notes?user=bob", &writer.delete(0, 5)).await.code(), 200);
    let body = json!({ "by": "bob" }).to_string();
    for round in 0..5 {
        let path = path("rollback", "notes");
        let key = format!("round-{round}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
            hub.addr(),
            body.len()
        );
        // Sent, and gone before the answer.
        drop(by_hand(&hub, &head, body.as_bytes()).await);
        until("the answer", async || {
            let request = back_end.ask(Method::POST, &path).header("idempotency-key", &key).header("accept", "application/json");
            let answered = send(request.header("content-type", "application/json").body(body.clone())).await;
            assert!(matches!(answered.code(), 200 | 503), "{answered:?}");
            (answered.code() == 200).then_some(())
        })
        .await;
        let shown = back_end.get(&self::path("ydoc", "notes?view=text")).await.text();
        assert_eq!(shown, "hello".repeat(round + 1), "each is carried out once");
    }
}

async fn what_was_carried_out_stays_so_after_a_deletion(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    assert_eq!(patch(&back_end, "notes", &TextWriter::new(7).append("hello")).await.code(), 200);
    let keyed = async |method: Method, path: &str, key: &str| {
        send(back_end.ask(method, path).header("idempotency-key", key).header("accept", "application/json")).await
    };
    let (ydoc, restore) = (path("ydoc", "notes"), format!("{}/restore", path("ydoc", "notes")));
    assert_eq!(keyed(Method::DELETE, &ydoc, "1").await.code(), 200);
    let restored = keyed(Method::POST, &restore, "2").await;
    assert_eq!(restored.json()["message"], "restored");
    assert_eq!(keyed(Method::DELETE, &ydoc, "3").await.code(), 200);
    // Its answer was lost, and it is sent again: the document that was deleted meanwhile does not come back.
    assert_eq!(keyed(Method::POST, &restore, "2").await.json(), restored.json());
    assert_eq!(back_end.get(&ydoc).await.code(), 404);
}

async fn sessions_see_what_is_written(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut client = hub.client("notes?user=ann").await;
    client.sync().await;
    let mut writer = TextWriter::new(7);
    let update = writer.append("hello");
    let body = json!({ "update": base64(&update), "awareness": base64(&[1, 9, 1, 4, b'"', b'h', b'i', b'"']) });
    assert_eq!(back_end.send_json(Method::PATCH, &path("ydoc", "notes?user=bob"), &body).await.code(), 200);
    client.shown(&update).await;
    client.presence(9, "\"hi\"").await;
    // And it sees what a session writes, and what is taken back.
    let more = writer.append("!");
    client.send_update(&more).await;
    client.shown(&more).await;
    let whole = yhub_content::merge(&[update, more]).unwrap();
    assert_eq!(document(&back_end, "notes").await, whole);
    assert_eq!(back_end.send_json(Method::POST, &path("rollback", "notes"), &json!({ "by": "ann" })).await.code(), 200);
    client.shown(&writer.delete(5, 1)).await;
}

async fn views_show_what_is_in_a_document(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let view = async |docid: &str, query: &str| back_end.get(&path("ydoc", &format!("{docid}?{query}"))).await;
    let mut seen = 0;
    for scenario in list(&load("updates-yjs13")["scenarios"]) {
        let name = text(&scenario["name"]).replace([' ', ',', '/'], "-");
        let update = hex(&scenario["gcDoc"]["hex"]);
        if patch(&back_end, &name, &update).await.code() != 200 {
            panic!("{name} is refused");
        }
        let roots = scenario["roots"].as_object().expect("roots");
        if roots.values().any(|kind| kind == "any") {
            continue;
        }
        let wanted: Vec<String> = roots.iter().map(|(root, kind)| format!("{root}:{}", kind.as_str().unwrap())).collect();
        let shown = view(&name, &format!("view=json&roots={}", wanted.join(","))).await;
        if shown.code() == 422 {
            // What yrs does not read: hooks of XML.
            continue;
        }
        assert_eq!(shown.code(), 200, "{name}: {shown:?}");
        let shown = shown.json();
        for (root, kind) in roots {
            let golden = &scenario["finalByYjs13"][root];
            let expected = match kind.as_str().unwrap() {
                "text" => golden["string"].clone(),
                _ => golden["json"].clone(),
            };
            if expected.is_null() || expected.to_string().contains('$') {
                continue;
            }
            assert_eq!(shown[root], expected, "{name}, root {root}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
    let update = TextWriter::new(7).append("plain <b>text</b>");
    assert_eq!(patch(&back_end, "plain", &update).await.code(), 200);
    let plain = view("plain", "view=text").await;
    assert_eq!((plain.header("content-type"), plain.text()), ("text/plain; charset=utf-8", "plain <b>text</b>".into()));
    assert_eq!(view("never", "view=json").await.json(), json!({}));
    // A text is sent once, however often it is asked for.
    let many = format!("view=text&roots={}", vec![":text"; 2_000].join(","));
    for roots in [&many, "view=text&roots=:text,:text", "view=json&roots=:text,:xml"] {
        let refused = view("plain", roots).await;
        assert_eq!((refused.code(), refused.json()["code"].clone()), (400, json!("invalid-query")), "{refused:?}");
        assert!(refused.json()["error"].as_str().unwrap().contains("[roots]"), "{refused:?}");
    }
    // Nested deeper than a program that follows by recursion can bear: refused, and nobody falls.
    let mut nest = vec![1, 0xa0, 0x8d, 0x06, 1, 0, 0x27, 1, 1, b'r', 1, b'k', 1];
    for at in 0..99_999_u64 {
        nest.extend([0x27, 0, 1]);
        yhub_encoding::write_var_uint(&mut nest, at);
        nest.extend([1, b'k', 1]);
    }
    nest.push(0);
    assert_eq!(patch(&back_end, "nest", &nest).await.code(), 200);
    for form in ["json", "text", "xml"] {
        let refused = view("nest", &format!("view={form}&roots=r:map")).await;
        assert_eq!((refused.code(), refused.json()["code"].clone()), (422, json!("too-costly")));
    }
    assert_eq!(back_end.get("/healthz").await.code(), 200);
}

async fn pages_are_let_in_by_origin(stage: Stage) {
    let hub = TestHub::with(stage, |config| {
        config.server.allowed_origins = vec!["https://editor.example".into(), "https://*.team.example".into()];
        config.server.allow_credentials = true;
    })
    .await;
    let back_end = BackEnd::of(hub.addr());
    for (origin, allowed) in [
        ("https://editor.example", true),
        ("https://a.team.example", true),
        ("https://team.example", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let mut body = json!({ "update": base64(&TextWriter::new(7).append("x")) });
        for (method, kind, wanted) in [(Method::GET, "ydoc", 200), (Method::PATCH, "ydoc", 200), (Method::GET, "nothing", 404)] {
            let request = back_end.ask(method.clone(), &path(kind, "notes")).header("origin", origin);
            let request = request.header("accept", "application/json").header("content-type", "application/json");
            let answered = send(request.body(body.take().to_string())).await;
            body = json!({ "update": base64(&TextWriter::new(7).append("x")) });
            assert!(answered.header("vary").contains("accept"));
            assert!(answered.headers.get_all("vary").iter().any(|vary| vary == "origin"), "{answered:?}");
            if allowed && method == Method::GET {
                assert_eq!(answered.code(), wanted, "{origin}: {answered:?}");
                assert_eq!(answered.header("access-control-allow-origin"), origin);
                assert_eq!(answered.header("access-control-allow-credentials"), "true");
            } else if !allowed {
                assert_eq!((answered.code(), answered.json()["code"].clone()), (403, json!("origin-not-allowed")), "{origin}");
                assert_eq!(answered.header("access-control-allow-origin"), "");
            }
        }
        let preflight = back_end.ask(Method::OPTIONS, &path("ydoc", "notes")).header("origin", origin);
        let preflight = send(preflight.header("access-control-request-method", "PATCH")).await;
        assert_eq!(preflight.code(), if allowed { 204 } else { 403 });
        assert_eq!(preflight.header("access-control-allow-methods").contains("PATCH"), allowed);
        assert_eq!(preflight.header("access-control-allow-headers").contains("content-type"), allowed);
        let upgrade = hub.connect("notes").header("origin", origin).open().await;
        assert_eq!(upgrade.is_ok(), allowed, "{origin}");
    }
    let none = back_end.get(&path("ydoc", "notes")).await;
    assert_eq!((none.code(), none.header("access-control-allow-origin")), (200, ""));
    // A page elsewhere that has its own name point here reads without an origin.
    let rebound = send(back_end.ask(Method::GET, &path("ydoc", "notes")).header("host", "evil.example:4400")).await;
    assert_eq!(rebound.code(), 403);
}

async fn what_is_long_comes_whole(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let update = TextWriter::new(7).append(&"0123456789".repeat(1 << 20));
    assert_eq!(patch(&back_end, "long", &update).await.code(), 200);
    assert!(document(&back_end, "long").await == update);
    let read = send(back_end.ask(Method::GET, &path("ydoc", "long"))).await;
    assert_eq!(read.header("content-length"), read.body.len().to_string());
    let Any::Object(object) = read.any() else { panic!("an object") };
    assert!(matches!(object.get("doc"), Some(Any::Bytes(bytes)) if bytes[..] == update));
}
