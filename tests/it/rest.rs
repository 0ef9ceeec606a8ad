//! Documents over HTTP, as back ends read and write them: every endpoint, every encoding, every error.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use yhub::config::Everyone;
use yhub_core::access::Purpose;
use yhub_encoding::{Any, Object};
use yhub_testkit::{
    Answered, BackEnd, TextWriter,
    http::send,
    until,
    vectors::{hex, list, load, text, to_hex},
};

use crate::support::{ORG, Stage, TestHub, room};

on_stage!(direct, Direct; reads_and_writes, conditions_are_kept, requests_are_carried_out_once, every_error_has_its_status_and_code,
    who_may_only_read_changes_nothing, sessions_see_what_is_written, views_show_what_is_in_a_document, pages_are_let_in_by_origin,
    what_is_long_comes_whole, the_api_is_described, bodies_share_a_budget, who_is_gone_is_answered_later,
    what_was_carried_out_stays_so_after_a_deletion);
on_stage!(mounted, Mounted; reads_and_writes, sessions_see_what_is_written, pages_are_let_in_by_origin, who_may_only_read_changes_nothing,
    the_api_is_described);
on_stage!(full, Full; reads_and_writes, conditions_are_kept, requests_are_carried_out_once, sessions_see_what_is_written,
    many_who_write_on_a_condition_take_turns, who_is_gone_is_answered_later, what_was_carried_out_stays_so_after_a_deletion);
on_stage!(three, Three; conditions_are_kept, requests_are_carried_out_once, sessions_see_what_is_written,
    many_who_write_on_a_condition_take_turns);

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn path(kind: &str, docid: &str) -> String {
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

/// Every endpoint, of the document `docid` where it is of one: method, path, a body that does, whether it changes anything.
fn endpoints(docid: &str) -> Vec<(Method, String, Option<Value>, bool)> {
    let of = |kind: &str| path(kind, docid);
    vec![
        (Method::GET, of("ydoc"), None, false),
        (Method::PATCH, of("ydoc"), Some(json!({ "update": base64(&TextWriter::new(9).append("x")) })), true),
        (Method::GET, of("activity"), None, false),
        (Method::GET, of("changeset"), None, false),
        (Method::POST, of("rollback"), Some(json!({ "by": "ann" })), true),
        (Method::POST, of("prune"), Some(json!({ "by": "ann" })), true),
        (Method::GET, of("room"), None, false),
        (Method::PUT, of("hold"), Some(json!({ "reason": "a case" })), true),
        (Method::GET, of("hold"), None, false),
        (Method::DELETE, of("hold"), None, true),
        (Method::DELETE, of("ydoc"), None, true),
        (Method::POST, format!("{}/restore", of("ydoc")), None, true),
        (Method::DELETE, format!("{}?hard=true", of("ydoc")), None, true),
        (Method::GET, of("receipt"), None, false),
        (Method::GET, format!("/api/rooms/v1/{ORG}"), None, false),
        (Method::GET, format!("/api/tombstones/v1/{ORG}"), None, false),
        (Method::POST, of("recheck-auth"), Some(json!({ "users": ["ann"] })), true),
        (Method::POST, format!("/api/recheck-auth/v1/{ORG}"), Some(json!({ "users": ["ann"] })), true),
        (Method::POST, of("tickets"), Some(json!({ "user": "ann" })), true),
        (
            Method::POST,
            format!("/api/tokens/v1/{ORG}"),
            Some(json!({ "user": "ann", "grants": { "org": ORG, "access": "r" } })),
            true,
        ),
        (Method::GET, format!("/api/tokens/v1/{ORG}"), None, true),
        (Method::GET, format!("/api/audit/v1/{ORG}"), None, false),
    ]
}

fn with_query(path: &str, query: &str) -> String {
    if path.contains('?') { format!("{path}&{query}") } else { format!("{path}?{query}") }
}

async fn every_error_has_its_status_and_code(stage: Stage) {
    let hub = TestHub::with(stage, |config| {
        config.server.max_message_bytes = 1 << 20;
        config.auth.purposes.extend(["audit", "hard-delete", "hold", "recheck", "ticket", "token"].map(String::from));
    })
    .await;
    let back_end = BackEnd::of(hub.addr());
    let all = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let mut seen = 0;
    for json in [true, false] {
        let media_type = if json { "application/json" } else { "application/x-lib0any" };
        let ask = async |method: &Method, path: &str, body: Option<(&str, Vec<u8>)>| {
            let mut request = back_end.ask(method.clone(), path);
            if json {
                request = request.header("accept", "application/json");
            }
            if let Some((content_type, body)) = body {
                request = request.header("content-type", content_type).body(body);
            }
            let answered = send(request).await;
            let error = match json {
                true => answered.json(),
                false => serde_json::from_str(&answered.any().to_json()).unwrap(),
            };
            assert_eq!(answered.header("content-type"), media_type, "{method} {path}");
            assert!(answered.header("vary").contains("accept"), "{answered:?}");
            (answered, error)
        };
        for (n, (method, path, body, _)) in endpoints(if json { "in-json" } else { "in-lib0" }).iter().enumerate() {
            let given = || body.as_ref().map(|body| ("application/json", body.to_string().into_bytes()));
            let (answered, _) = ask(method, path, given()).await;
            assert_eq!(answered.code(), 200, "{method} {path}: {answered:?}");
            let mut refuse = async |method: &Method, path: &str, body: Option<(&str, Vec<u8>)>, status: u16, code: &str| {
                let (answered, error) = ask(method, path, body).await;
                assert_eq!((answered.code(), error["code"].as_str()), (status, Some(code)), "{method} {path}: {answered:?}");
                assert!(error["error"].is_string(), "{error}");
                seen += 1;
            };
            let is_of_a_room = path.matches('/').count() > 4;
            for bad in ["branch=", "user=", "branch=%zz", "user=%ff"] {
                let code = if is_of_a_room || bad.starts_with("user") { "bad-request" } else { "invalid-query" };
                let code = if bad.contains('%') { "bad-request" } else { code };
                refuse(method, &with_query(path, bad), given(), 400, code).await;
            }
            if is_of_a_room {
                for bad in ["%00", "%zz", &"x".repeat(600)] {
                    refuse(method, &endpoints(bad)[n].1, given(), 400, "bad-request").await;
                }
            }
            refuse(method, &with_query(path, "nothing=1"), given(), 400, "invalid-query").await;
            let bare = path.split('?').next().unwrap();
            refuse(method, &format!("{bare}/more/more"), given(), 404, "not-found").await;
            for other in &all {
                let docid = if json { "in-json" } else { "in-lib0" };
                let is_known = |(method, path, ..): &(Method, String, Option<Value>, bool)| {
                    method == other && path.split('?').next() == Some(bare)
                };
                let revokes = *other == Method::DELETE && bare.contains("/tokens/");
                if !revokes && !endpoints(docid).iter().any(is_known) {
                    refuse(other, bare, None, 405, "method-not-allowed").await;
                }
            }
            let Some(_) = &body else { continue };
            for bad in ["{", "[]", "null", "7", r#"{"update":1}"#, r#"{"form":1}"#, r#"{"by":null}"#, "{\"by\":\"\u{0}", "{}"] {
                refuse(method, path, Some(("application/json", bad.into())), 400, "invalid-body").await;
            }
            for bad in [&[118, 1][..], &[0], &[126], &[118, 0, 0], &[118, 1, 6, b'u'], &[117, 255, 255, 255, 255, 15]] {
                refuse(method, path, Some(("application/x-lib0any", bad.to_vec())), 400, "invalid-body").await;
            }
            refuse(method, path, Some(("application/json", vec![b' '; 3 << 20])), 413, "too-large").await;
            let request = back_end.ask(method.clone(), path).header("if-match", "what");
            assert_eq!(send(request).await.code(), 400, "{method} {path}");
        }
        for (kind, query) in [
            ("activity", "limit=abc"),
            ("activity", "limit=-1"),
            ("activity", "from=x"),
            ("activity", "order=up"),
            ("activity", "group=1"),
            ("activity", "contentIds=%25"),
            ("activity", "contentIds=AAA"),
            ("activity", "contentIds=////"),
            ("activity", "by=a&by=b"),
            ("changeset", "ydoc=yes"),
            ("changeset", "contentIds=AAAA"),
            ("ydoc", "gc=no"),
            ("ydoc", "view=html"),
            ("ydoc", "view=json&roots=a:b"),
            ("ydoc", "roots=a:text"),
            ("ydoc", "branch=a&branch=b"),
            ("ydoc", "user=a&user=b"),
            ("rooms", "limit=x"),
            ("rooms", "after=x"),
            ("rooms", "after=%25zz/main"),
            ("tombstones", "state=gone"),
            ("tombstones", "keptBefore=x"),
        ] {
            let path = match kind {
                "rooms" | "tombstones" => format!("/api/{kind}/v1/{ORG}?{query}"),
                kind => path(kind, &format!("x?{query}")),
            };
            let (answered, error) = ask(&Method::GET, &path, None).await;
            assert_eq!((answered.code(), error["code"].as_str()), (400, Some("invalid-query")), "{kind} {query}");
            let name = query.split_once('=').unwrap().0;
            let name = if query.starts_with("view=json") { "roots" } else { name };
            assert!(error["error"].as_str().unwrap().contains(&format!("[{name}]")), "{error}");
        }
        // What is as good as no filter is none: a back end whose variable is empty does not take everything back.
        for body in [json!({ "by": "" }), json!({ "from": 0 }), json!({ "to": 0, "by": "" })] {
            for kind in ["rollback", "prune"] {
                let (answered, _) =
                    ask(&Method::POST, &path(kind, "x"), Some(("application/json", body.to_string().into()))).await;
                assert_eq!(answered.code(), 400, "{kind} {body}");
            }
        }
        // What would take much to build is refused before it is built.
        for (kind, body) in
            [("ydoc", [&[118, 1, 1, b'x', 117, 0x80, 0x80, 0x20][..], &[126; 524_288]].concat()), ("hold", vec![b' '; 70_000])]
        {
            let method = if kind == "hold" { Method::PUT } else { Method::PATCH };
            let (answered, _) = ask(&method, &path(kind, "x"), Some(("application/x-lib0any", body))).await;
            assert_eq!(answered.code(), if kind == "hold" { 413 } else { 400 }, "{kind}");
        }
        for (body, name) in [
            (json!({ "update": "AA" }), "update"),
            (json!({ "update": base64(&[1, 2, 3]) }), "damaged"),
            (json!({ "awareness": base64(&[1, 9]) }), "awareness"),
            (json!({ "customAttributions": [] }), "update"),
            (json!({ "update": base64(&[0, 0]), "customAttributions": [{ "k": "a" }] }), "customAttributions"),
        ] {
            let (answered, error) =
                ask(&Method::PATCH, &path("ydoc", "x"), Some(("application/json", body.to_string().into()))).await;
            assert_eq!((answered.code(), error["code"].as_str()), (400, Some("invalid-body")), "{body}");
            assert!(error["error"].as_str().unwrap().contains(name) || name == "damaged", "{error}");
        }
    }
    assert!(seen > 150, "{seen}");
    for (path, status) in [
        ("/api/nothing/v1/a/b", 404),
        ("/api/ydoc/v2/a/b", 404),
        ("/api/ydoc/v1/a", 404),
        ("/api/", 404),
        ("/other/ydoc/v1/a/b", 404),
    ] {
        assert_eq!(back_end.get(path).await.code(), status, "{path}");
    }
}

async fn who_may_only_read_changes_nothing(stage: Stage) {
    let hub = TestHub::with(stage, |config| {
        config.auth.everyone = Some(Everyone::MayRead);
        config.auth.purposes = Purpose::ALL.iter().map(|purpose| purpose.name().to_owned()).collect();
    })
    .await;
    let back_end = BackEnd::of(hub.addr());
    for (method, path, body, changes) in endpoints("notes") {
        let request = back_end.ask(method.clone(), &path).header("accept", "application/json");
        let request = request.header("content-type", "application/json");
        let answered = send(request.body(body.map(|body| body.to_string()).unwrap_or_default())).await;
        if changes {
            assert_eq!((answered.code(), answered.json()["code"].clone()), (403, json!("no-access")), "{method} {path}");
        } else {
            assert!(matches!(answered.code(), 200 | 404), "{method} {path}: {answered:?}");
        }
    }
    let documents = hub.documents();
    assert_eq!(documents.tombstone(&room("notes")).await.unwrap(), None);
    assert_eq!(documents.deletions().hold_of(&room("notes")).await.unwrap(), None);
    assert!(hub.stream_updates("notes").await.is_empty());
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

async fn the_api_is_described(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let description = back_end.get("/api/openapi.json").await.json();
    let mut known = std::collections::BTreeSet::new();
    for (method, path, ..) in endpoints("{docid}") {
        let path = path.split('?').next().unwrap().replace(&format!("/{ORG}"), "/{org}");
        let operation = &description["paths"][&path][method.as_str().to_ascii_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(operation["x-right"].is_string(), "{method} {path}");
        known.insert((method.to_string(), path));
    }
    let described: usize = description["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    // Revoking a token takes one that is there.
    known.insert(("DELETE".into(), "/api/tokens/v1/{org}".into()));
    assert_eq!(described, known.len(), "an endpoint that these tests do not know");
    let page = back_end.get("/api/docs").await;
    assert_eq!((page.code(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(to_hex(&back_end.get("/api/docs.js").await.body[..2]), to_hex(b"//"));
    assert_eq!(send(back_end.ask(Method::POST, "/api/docs")).await.code(), 405);
}
