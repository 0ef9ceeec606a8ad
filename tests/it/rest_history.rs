//! Histories over HTTP: the golden ones, answered byte for byte before and after compaction, and what a y/hub has answered.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use yhub_content::{content_ids, gc_merge, history::ActivityQuery, integrate_merge, merge};
use yhub_core::{RoomId, StreamClock};
use yhub_documents::view;
use yhub_encoding::Any;
use yhub_store::{Append, AssetSelection};
use yhub_testkit::{
    BackEnd, TextWriter,
    http::send,
    until,
    vectors::{hex, list, load, text, to_hex},
};

use crate::support::{ORG, Stage, TestHub, room};

on_stage!(direct, Direct; golden_histories_are_answered, golden_histories_are_changed, what_a_hub_has_answered_is_answered,
    kept_answers_are_never_stale, what_nests_too_deeply_is_told_so);
on_stage!(full, Full; golden_histories_are_answered, golden_histories_are_changed, what_a_hub_has_answered_is_answered,
    kept_answers_are_never_stale, only_short_answers_are_kept);

/// Puts messages into the stream of a room as they were written.
async fn put(hub: &TestHub, room: &RoomId, messages: Vec<Bytes>) {
    let append = Append { room: room.clone(), messages, floor: StreamClock::ZERO };
    hub.log().append(append).await.unwrap();
}

/// Waits until everything of a room is in its row.
async fn compacted(hub: &TestHub, room: &RoomId) {
    until("the room to be compacted", async || {
        let rows = hub.store().read(room, AssetSelection::NONE).await.unwrap().rows;
        let entries = crate::support::entries(hub.log().as_ref(), room).await;
        (!rows.is_empty() && entries.is_empty()).then_some(())
    })
    .await;
}

fn steps(history: &Value) -> Vec<Bytes> {
    list(&history["steps"]).iter().map(|step| Bytes::from(hex(&step["streamMessage"]))).collect()
}

/// The parameters of a query as they stand in a URL.
fn query_of(params: &Value) -> String {
    let mut pairs = Vec::new();
    for (name, value) in params.as_object().expect("parameters") {
        let (name, value) = match (name.as_str(), value) {
            ("reverse", value) => ("order", if value.as_bool() == Some(true) { "desc" } else { "asc" }.to_owned()),
            ("includeDelta", value) => ("delta", value.to_string()),
            ("includeYdoc", value) => ("ydoc", value.to_string()),
            ("includeAttributions", value) => ("attributions", value.to_string()),
            ("includeCustomAttributions", value) => ("customAttributions", value.to_string()),
            ("contentIds", value) => ("contentIds", BASE64_STANDARD.encode(hex(value)).replace('+', "%2B")),
            ("withCustomAttributions", value) => {
                let pair = |pair: &Value| format!("{}:{}", text(&pair["k"]), text(&pair["v"]));
                ("withCustomAttributions", list(value).iter().map(pair).collect::<Vec<_>>().join(","))
            }
            (name, Value::String(value)) => (name, value.clone()),
            (name, value) => (name, value.to_string()),
        };
        pairs.push(format!("{name}={value}"));
    }
    pairs.join("&")
}

async fn golden_histories_are_answered(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut answered = 0;
    for (n, history) in list(&load("history")["histories"]).iter().enumerate() {
        let docid = format!("history-{n}");
        put(&hub, &room(&docid), steps(history)).await;
        for is_compacted in [false, true] {
            if is_compacted {
                compacted(&hub, &room(&docid)).await;
            }
            for query in list(&history["queries"]) {
                let kind = text(&query["query"]);
                if !matches!(kind, "activity" | "changeset") {
                    continue;
                }
                let path = format!("/api/{kind}/v1/{ORG}/{docid}?{}", query_of(&query["params"]));
                let name = format!("{}, {kind}, {}", text(&history["name"]), text(&query["note"]));
                let golden = hex(&query["responseHex"]);
                // Computed, and then kept.
                for _ in 0..2 {
                    let found = send(back_end.ask(Method::GET, &path)).await;
                    assert_eq!((found.code(), found.header("content-type")), (200, "application/x-lib0any"), "{name}: {path}");
                    assert_eq!(found.any(), Any::from_bytes(&golden).unwrap(), "{name}");
                    assert_eq!(found.body, golden, "{name}");
                }
                let json = back_end.get(&path).await;
                assert_eq!(json.text(), Any::from_bytes(&golden).unwrap().to_json(), "{name}");
                answered += 1;
            }
        }
    }
    assert!(answered > 80, "{answered}");
}

async fn golden_histories_are_changed(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let nongc = async |docid: &str| {
        let read = back_end.get(&format!("/api/ydoc/v1/{ORG}/{docid}?gc=false")).await;
        BASE64_STANDARD.decode(read.json()["doc"].as_str().expect("a document")).unwrap()
    };
    let mut changed = 0;
    for (n, history) in list(&load("history")["histories"]).iter().enumerate() {
        let before = hex(&history["doc"]["nongcDoc"]);
        for (m, query) in list(&history["queries"]).iter().enumerate() {
            let kind = text(&query["query"]);
            if !matches!(kind, "rollback" | "prune" | "patch") {
                continue;
            }
            let docid = format!("changed-{n}-{m}");
            let name = format!("{}, {kind}, {}", text(&history["name"]), text(&query["note"]));
            put(&hub, &room(&docid), steps(history)).await;
            if m % 2 == 0 {
                compacted(&hub, &room(&docid)).await;
            }
            let count = hub.stream_updates(&docid).await.len();
            let (method, endpoint, body) = if kind == "patch" {
                (Method::PATCH, "ydoc", json!({ "update": BASE64_STANDARD.encode(hex(&query["update"])) }))
            } else {
                let mut body = query["params"].clone();
                let fields = body.as_object_mut().expect("parameters");
                fields.remove("userid");
                if let Some(ids) = fields.get_mut("contentIds") {
                    *ids = BASE64_STANDARD.encode(hex(ids)).into();
                }
                (Method::POST, kind, body)
            };
            let done = back_end.send_json(method, &format!("/api/{endpoint}/v1/{ORG}/{docid}?user=roller"), &body).await;
            assert_eq!(done.code(), 200, "{name}: {done:?}");
            let appended = hub.stream_updates(&docid).await.split_off(count);
            let golden = if kind == "patch" { &query["result"]["update"] } else { &query["update"] };
            match kind {
                "prune" => {
                    let golden = query["after"]["nongcDoc"].is_string().then(|| hex(&query["after"]["nongcDoc"]));
                    let golden = integrate_merge(&[golden.unwrap_or_else(|| before.clone())]).unwrap();
                    assert_eq!(to_hex(&integrate_merge(&[nongc(&docid).await]).unwrap()), to_hex(&golden), "{name}");
                }
                _ if !golden.is_string() => assert!(appended.is_empty(), "{name}"),
                "patch" => assert_eq!(appended, [hex(golden)], "{name}"),
                _ => {
                    let [found] = &appended[..] else { panic!("{name}: {} updates", appended.len()) };
                    let (ids, golden_ids) = (content_ids(found).unwrap(), content_ids(&hex(golden)).unwrap());
                    assert_eq!(ids.deletes, golden_ids.deletes, "{name}");
                    let shown =
                        |undone: &[u8]| view::show(&merge(&[&before[..], undone]).unwrap(), view::Form::Json, &[]).unwrap();
                    assert_eq!(shown(found), shown(&hex(golden)), "{name}");
                    let map = hub.stream_maps(&docid).await.pop().expect("a content map");
                    let by = map.inserts.iter().chain(map.deletes.iter()).flat_map(|(_, _, attributes)| {
                        let who = ["insert", "delete"]
                            .map(|name| attributes.values(name).last().and_then(Any::as_str).map(str::to_owned));
                        who.into_iter().flatten()
                    });
                    assert!(by.into_iter().all(|by| by == "roller"), "{name}");
                }
            }
            changed += 1;
        }
    }
    assert!(changed > 30, "{changed}");
}

/// What a running y/hub answered about rooms whose streams were captured, entry by entry.
async fn what_a_hub_has_answered_is_answered(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut compared = 0;
    for golden in list(&load("live-deployment")["rooms"]) {
        let [org, docid, branch] = ["org", "docid", "branch"].map(|name| text(&golden["room"][name]));
        let room = RoomId::new(org, docid, branch);
        let messages = list(&golden["stream"]).iter().filter_map(|entry| entry["fields"].get("m")).map(|m| hex(m).into());
        put(&hub, &room, messages.collect()).await;
        compacted(&hub, &room).await;
        for asked in list(&golden["rest"]) {
            let path = text(&asked["get"]);
            let mut request = back_end.ask(Method::GET, path);
            if let Some(accept) = asked["accept"].as_str() {
                request = request.header("accept", accept);
            }
            let found = send(request).await;
            assert_eq!(u64::from(found.code()), asked["status"].as_u64().unwrap(), "{path}: {found:?}");
            let Some(media_type) = asked["contentType"].as_str() else { continue };
            assert_eq!(found.header("content-type"), media_type, "{path}");
            let (golden, is_json) = (hex(&asked["bodyHex"]), media_type == "application/json");
            if path.contains("/ydoc/") && found.code() == 200 {
                let doc = |body: &[u8]| match is_json {
                    true => {
                        let body: Value = serde_json::from_slice(body).unwrap();
                        assert_eq!(body.as_object().unwrap().len(), 1, "{path}");
                        BASE64_STANDARD.decode(body["doc"].as_str().unwrap()).unwrap()
                    }
                    false => match Any::from_bytes(body).unwrap() {
                        Any::Object(object) => match (object.len(), object.get("doc")) {
                            (1, Some(Any::Bytes(bytes))) => bytes.to_vec(),
                            _ => panic!("{path}: {object:?}"),
                        },
                        other => panic!("{path}: {other:?}"),
                    },
                };
                // Items may be divided or ordered otherwise.
                let (found, golden) = (doc(&found.body), doc(&golden));
                assert_eq!(content_ids(&found).unwrap(), content_ids(&golden).unwrap(), "{path}");
                assert_eq!(to_hex(&gc_merge(&[found]).unwrap()), to_hex(&gc_merge(&[golden]).unwrap()), "{path}");
            } else {
                assert_eq!(to_hex(&found.body), to_hex(&golden), "{path}: {}", String::from_utf8_lossy(&found.body));
            }
            compared += 1;
        }
    }
    assert!(compared >= 42, "{compared}");
}

/// After each kind of change the same questions are asked twice, and their answers compared with what is computed anew.
async fn kept_answers_are_never_stale(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let documents = hub.documents();
    let ydoc = format!("/api/ydoc/v1/{ORG}/notes?user=ann");
    let mut writer = TextWriter::new(7);
    let mut client = hub.client("notes?user=bob").await;
    client.sync().await;
    let mut answers = Vec::new();
    for change in ["patch", "session", "prune", "session", "rollback", "compaction", "patch"] {
        match change {
            "patch" => {
                let update = BASE64_STANDARD.encode(writer.append("patched"));
                assert_eq!(back_end.send_json(Method::PATCH, &ydoc, &json!({ "update": update })).await.code(), 200);
            }
            "session" => {
                let update = writer.append("typed");
                client.send_update(&update).await;
                client.shown(&update).await;
                let update = writer.delete(writer.clock() - 1, 1);
                client.send_update(&update).await;
                client.shown(&update).await;
            }
            "compaction" => compacted(&hub, &room("notes")).await,
            kind => {
                let filter = if kind == "prune" { json!({ "from": 1 }) } else { json!({ "by": "bob" }) };
                assert_eq!(back_end.send_json(Method::POST, &format!("/api/{kind}/v1/{ORG}/notes"), &filter).await.code(), 200);
            }
        }
        let query = ActivityQuery {
            filter: yhub_content::history::ChangeFilter {
                from: Some(0.0),
                to: Some(9_007_199_254_740_991.0),
                ..Default::default()
            },
            attributions: true,
            ..ActivityQuery::default()
        };
        let fresh = documents.activity(&room("notes"), query).await.unwrap();
        for round in 0..2 {
            let found = send(back_end.ask(Method::GET, &format!("/api/activity/v1/{ORG}/notes?attributions=true"))).await;
            assert_eq!(to_hex(&found.body), to_hex(&fresh.value), "after {change}, round {round}");
            assert_eq!(found.header("etag"), format!("\"{}\"", fresh.changed), "after {change}, round {round}");
        }
        answers.push(fresh.value);
    }
    answers.dedup();
    assert!(answers.len() >= 6, "every change is seen, but for compaction: {}", answers.len());
}

/// A document of so many maps in one another, the last of which holds a value of so many lists in one another.
fn nest(maps: u64, lists: usize) -> Vec<u8> {
    let mut update = vec![1];
    yhub_encoding::write_var_uint(&mut update, maps + 1);
    update.extend([1, 0, 0x27, 1, 1, b'r', 1, b'k', 1]);
    for at in 0..maps - 1 {
        update.extend([0x27, 0, 1]);
        yhub_encoding::write_var_uint(&mut update, at);
        update.extend([1, b'k', 1]);
    }
    update.extend([0x28, 0, 1]);
    yhub_encoding::write_var_uint(&mut update, maps - 1);
    update.extend([1, b'k', 1]);
    update.extend([117, 1].repeat(lists));
    update.extend([126, 0]);
    update
}

async fn what_nests_too_deeply_is_told_so(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.limits.max_nesting = 256).await;
    let back_end = BackEnd::of(hub.addr());
    // Each map takes three levels of a delta and one of a view, and what is around them three and two.
    for (docid, update, of_delta, of_view) in
        [("shallow", nest(40, 128), 200, 200), ("of-maps", nest(50, 128), 422, 200), ("of-lists", nest(2, 256), 422, 422)]
    {
        let body = json!({ "update": BASE64_STANDARD.encode(update) });
        let written = back_end.send_json(Method::PATCH, &format!("/api/ydoc/v1/{ORG}/{docid}"), &body).await;
        assert_eq!(written.code(), 200, "{docid}: {written:?}");
        for (question, expected) in [
            (format!("/api/activity/v1/{ORG}/{docid}?delta=true"), of_delta),
            (format!("/api/activity/v1/{ORG}/{docid}"), 200),
            (format!("/api/ydoc/v1/{ORG}/{docid}?view=json"), of_view),
        ] {
            let in_json = back_end.get(&question).await;
            assert_eq!(in_json.code(), expected, "{question}: {}", in_json.text());
            let in_lib0 = send(back_end.ask(Method::GET, &question)).await;
            assert_eq!(in_lib0.code(), expected, "{question} in lib0");
            if expected == 422 {
                assert_eq!(in_json.json()["code"], "too-costly", "{question}");
            }
        }
    }
}

async fn only_short_answers_are_kept(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let back_end = BackEnd::of(hub.addr());
    for (docid, size) in [("short", 100), ("long", 1 << 20)] {
        let body = json!({ "update": BASE64_STANDARD.encode(TextWriter::new(7).append(&"x".repeat(size))) });
        assert_eq!(back_end.send_json(Method::PATCH, &format!("/api/ydoc/v1/{ORG}/{docid}"), &body).await.code(), 200);
        assert_eq!(back_end.get(&format!("/api/changeset/v1/{ORG}/{docid}?ydoc=true")).await.code(), 200);
        let kept = hub.redis().cli(["KEYS", "*changeset*"]);
        let of_it = kept.lines().filter(|name| name.contains(docid)).count();
        assert_eq!(of_it, usize::from(docid == "short"), "{kept}");
    }
}
