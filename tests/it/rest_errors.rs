//! Every endpoint at once: what each refuses and with which code, what it takes, and that it is described.

use reqwest::Method;
use serde_json::{Value, json};
use yhub::config::Everyone;
use yhub_core::access::Purpose;
use yhub_testkit::{BackEnd, TextWriter, http::send, vectors::to_hex};

use crate::{
    rest::{base64, path},
    support::{ORG, Stage, TestHub, room},
};

on_stage!(direct, Direct; every_error_has_its_status_and_code, who_may_only_read_changes_nothing, the_api_is_described);
on_stage!(mounted, Mounted; who_may_only_read_changes_nothing, the_api_is_described);

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
            let takes_key = is_of_a_room && *method != Method::GET && !path.contains("/tickets/");
            if !takes_key {
                let mut request =
                    back_end.ask(method.clone(), path).header("idempotency-key", "1").header("accept", "application/json");
                if let Some(body) = body {
                    request = request.header("content-type", "application/json").body(body.to_string());
                }
                let refused = send(request).await;
                assert_eq!((refused.code(), refused.json()["code"].as_str()), (400, Some("bad-request")), "{method} {path}");
                assert!(refused.text().contains("Idempotency-Key"), "{refused:?}");
            }
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
