//! Deleting documents over HTTP, as those see it who have them open, read them, and have to prove that they are gone.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{Append, AssetSelection};
use yhub_testkit::{Answered, BackEnd, TextWriter, http::send, until, vectors::to_hex};

use crate::support::{ORG, Stage, TestHub, binary, entries, room};

on_stage!(direct, Direct; what_is_deleted_is_gone_for_all_and_can_be_restored, what_is_erased_is_proved_to_be_gone,
    held_documents_are_not_erased, documents_are_listed_page_by_page, kept_answers_end_with_the_document);
on_stage!(full, Full; what_is_deleted_is_gone_for_all_and_can_be_restored, what_is_erased_is_proved_to_be_gone,
    held_documents_are_not_erased, documents_are_listed_page_by_page, kept_answers_end_with_the_document);
on_stage!(three, Three; what_is_deleted_is_gone_for_all_and_can_be_restored, what_is_erased_is_proved_to_be_gone);

async fn hub(stage: Stage) -> TestHub {
    TestHub::with(stage, |config| config.auth.purposes.extend(["hard-delete", "hold"].map(String::from))).await
}

fn path(kind: &str, docid: &str) -> String {
    format!("/api/{kind}/v1/{ORG}/{docid}")
}

async fn ask(back_end: &BackEnd, method: Method, path: &str) -> Answered {
    send(back_end.ask(method, path).header("accept", "application/json")).await
}

async fn write(back_end: &BackEnd, docid: &str, update: &[u8]) -> Answered {
    back_end.send_json(Method::PATCH, &path("ydoc", docid), &json!({ "update": BASE64_STANDARD.encode(update) })).await
}

/// Waits until the room has a row.
async fn stored(hub: &TestHub, room: &RoomId) {
    until("a row", async || {
        let rows = hub.store().read(room, AssetSelection::NONE).await.unwrap().rows;
        (!rows.is_empty()).then_some(())
    })
    .await;
}

fn is_deleted(answered: &Answered) -> bool {
    answered.code() == 404 && answered.json()["code"] == "doc-deleted"
}

async fn what_is_deleted_is_gone_for_all_and_can_be_restored(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let update = TextWriter::new(7).append("hello");
    assert_eq!(write(&back_end, "notes", &update).await.code(), 200);
    let mut client = hub.client("notes").await;
    client.sync().await;

    let deleted = ask(&back_end, Method::DELETE, &path("ydoc", "notes?user=ann")).await;
    assert_eq!(deleted.code(), 200, "{deleted:?}");
    assert_eq!((deleted.json()["hard"].clone(), deleted.json()["by"].clone()), (json!(false), json!("ann")));
    assert_eq!(client.closed().await.code, Some(4404));
    // Whoever comes now is told so, whatever they want.
    assert_eq!(hub.client("notes").await.closed().await.code, Some(4404));
    for kind in ["ydoc", "activity", "changeset"] {
        assert!(is_deleted(&back_end.get(&path(kind, "notes")).await), "{kind}");
    }
    assert!(is_deleted(&write(&back_end, "notes", &TextWriter::new(8).append("x")).await));
    let present = json!({ "awareness": BASE64_STANDARD.encode([1, 9, 1, 4, b'"', b'h', b'i', b'"']) });
    assert!(is_deleted(&back_end.send_json(Method::PATCH, &path("ydoc", "notes"), &present).await));
    for kind in ["rollback", "prune"] {
        assert!(is_deleted(&back_end.send_json(Method::POST, &path(kind, "notes"), &json!({ "from": 1 })).await), "{kind}");
    }
    // Again: time and author are those of the first.
    let again = ask(&back_end, Method::DELETE, &path("ydoc", "notes?user=bob")).await;
    assert_eq!(again.json(), deleted.json());
    let overview = back_end.get(&path("room", "notes")).await.json();
    assert_eq!((&overview["deletedAt"], &overview["changed"]), (&deleted.json()["deletedAt"], &Value::Null));
    // Another branch is another document.
    assert_eq!(back_end.get(&path("ydoc", "notes?branch=draft")).await.code(), 200);

    let restored = ask(&back_end, Method::POST, &format!("{}/restore", path("ydoc", "notes"))).await;
    assert_eq!((restored.code(), restored.json()["message"].clone()), (200, json!("restored")));
    let read = back_end.get(&path("ydoc", "notes")).await;
    assert_eq!(read.json()["doc"], BASE64_STANDARD.encode(&update));
    let mut client = hub.client("notes").await;
    assert_eq!(to_hex(&client.sync().await), to_hex(&update));
    let again = ask(&back_end, Method::POST, &format!("{}/restore", path("ydoc", "notes"))).await;
    assert_eq!((again.code(), again.json()["message"].clone()), (200, json!("it was not deleted")));
}

async fn what_is_erased_is_proved_to_be_gone(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let secret = TextWriter::new(7).append("a secret");
    assert_eq!(write(&back_end, "notes", &secret).await.code(), 200);
    stored(&hub, &room("notes")).await;
    let mut client = hub.client("notes").await;
    client.sync().await;

    let erased = ask(&back_end, Method::DELETE, &path("ydoc", "notes?hard=true&user=ann")).await;
    assert_eq!(erased.code(), 200, "{erased:?}");
    assert_eq!(client.closed().await.code, Some(4404));
    let receipt = erased.json()["receipt"].clone();
    assert_eq!(receipt["type"], "receipt:purge:v1");
    assert_eq!(receipt["erased"]["rows"]["count"], 1, "{receipt}");
    assert_eq!(receipt["readBack"]["rows"], 0);
    assert_eq!(receipt["deletedBy"], "ann");
    assert_eq!(back_end.get(&path("receipt", "notes")).await.json(), receipt);
    assert!(hub.store().read(&room("notes"), AssetSelection::ALL).await.unwrap().rows.is_empty());
    assert!(is_deleted(&back_end.get(&path("ydoc", "notes")).await));
    let refused = ask(&back_end, Method::POST, &format!("{}/restore", path("ydoc", "notes"))).await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (409, json!("deleted-for-good")));
    // A node that has not heard of it appends: it is trimmed, not stored.
    let message = entries_of(&secret);
    let late = Append { room: room("notes"), messages: vec![message], floor: StreamClock::ZERO };
    hub.log().append(late).await.unwrap();
    until("the late edit to be trimmed", async || {
        let left = entries(hub.log().as_ref(), &room("notes")).await;
        left.iter().all(|entry| crate::support::update_in(entry).is_none()).then_some(())
    })
    .await;
    assert!(hub.store().read(&room("notes"), AssetSelection::ALL).await.unwrap().rows.is_empty());
    // Again, also soft: it stays erased, and the receipt is the first one.
    for query in ["hard=true", "hard=false"] {
        let again = ask(&back_end, Method::DELETE, &path("ydoc", &format!("notes?{query}"))).await;
        assert_eq!(again.json()["receipt"], receipt, "{query}");
    }
}

fn entries_of(update: &[u8]) -> bytes::Bytes {
    let ids = yhub_content::content_ids(update).unwrap();
    let map = yhub_content::ContentMap::attribution(&ids, Some("late"), 1, &[]);
    yhub_core::StreamMessage::encode_update(update, &map.to_bytes()).0
}

/// What a receipt says is gone is in no file of the data directory either, when the hub has started anew.
#[actix_web::test]
async fn what_is_erased_lies_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let launch = binary(dir.path()).set("auth.purposes", r#"["delete", "hard-delete"]"#);
    let hub = launch.start();
    let back_end = BackEnd::of(hub.addr());
    let mut text = TextWriter::new(7);
    // Longer than a page, so that whole pages are let go of, and short, so that parts of pages are.
    for piece in [SECRET.repeat(2_000), SECRET.into()] {
        assert_eq!(write(&back_end, "notes", &text.append(&piece)).await.code(), 200);
        assert_eq!(write(&back_end, "others", &TextWriter::new(8).append("of others")).await.code(), 200);
        until("all of it in one row", async || {
            let room = back_end.get(&path("room", "notes")).await.json();
            (room["versions"] == 1 && room["stored"] == room["changed"]).then_some(())
        })
        .await;
    }
    assert_ne!(where_it_lies(&launch.data_dir()), [""; 0], "the test would not see it");
    let erased = ask(&back_end, Method::DELETE, &path("ydoc", "notes?hard=true&user=ann")).await;
    assert_eq!(erased.code(), 200, "{erased:?}");
    // The logs of the databases hold it until they are written anew, at the latest when the hub starts.
    for hub in [Some(hub), None] {
        let hub = hub.unwrap_or_else(|| launch.start());
        hub.terminate();
        assert_eq!(hub.wait(), Some(0));
    }
    assert_eq!(where_it_lies(&launch.data_dir()), [""; 0]);
}

const SECRET: &str = "it was the butler ";

/// The files below `dir` that hold it.
fn where_it_lies(dir: &std::path::Path) -> Vec<String> {
    let files: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(files.len() > 1, "{files:?}");
    let holds = |file: &std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(SECRET.len()).any(|piece| piece == SECRET.as_bytes())
    };
    files.iter().filter(|file| holds(file)).map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

async fn held_documents_are_not_erased(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = BackEnd::of(hub.addr());
    assert_eq!(write(&back_end, "notes", &TextWriter::new(7).append("evidence")).await.code(), 200);
    stored(&hub, &room("notes")).await;
    assert_eq!(back_end.get(&path("hold", "notes")).await.code(), 404);
    let reason = json!({ "reason": "case 12" });
    let held = back_end.send_json(Method::PUT, &path("hold", "notes?user=counsel"), &reason).await;
    assert_eq!(
        (held.code(), held.json()["by"].clone(), held.json()["reason"].clone()),
        (200, json!("counsel"), json!("case 12"))
    );
    let again = back_end.send_json(Method::PUT, &path("hold", "notes?user=eve"), &json!({ "reason": "other" })).await;
    assert_eq!(again.json(), held.json(), "the first stays");

    let refused = ask(&back_end, Method::DELETE, &path("ydoc", "notes?hard=true")).await;
    assert_eq!((refused.code(), refused.json()["code"].clone()), (409, json!("legal-hold")));
    assert_eq!(back_end.get(&path("ydoc", "notes")).await.code(), 200, "it is not deleted either");
    // What keeps the content is no harm to it.
    assert_eq!(ask(&back_end, Method::DELETE, &path("ydoc", "notes")).await.code(), 200);
    assert_eq!(ask(&back_end, Method::DELETE, &path("ydoc", "notes?hard=true")).await.code(), 409);
    assert_eq!(hub.store().read(&room("notes"), AssetSelection::NONE).await.unwrap().rows.len(), 1);
    assert_eq!(ask(&back_end, Method::DELETE, &path("hold", "notes")).await.json()["message"], "released");
    assert_eq!(ask(&back_end, Method::DELETE, &path("hold", "notes")).await.json()["message"], "there was no hold");
    assert_eq!(ask(&back_end, Method::DELETE, &path("ydoc", "notes?hard=true")).await.code(), 200);
}

async fn documents_are_listed_page_by_page(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = BackEnd::of(hub.addr());
    let mut expected = Vec::new();
    for n in 0..7 {
        let docid = format!("doc-{n}/é%");
        let in_path = docid.replace('%', "%25").replace('/', "%2F");
        assert_eq!(write(&back_end, &in_path, &TextWriter::new(7).append("text")).await.code(), 200);
        stored(&hub, &room(&docid)).await;
        expected.push(docid);
    }
    let listed = async |kind: &str, query: &str| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let after_query = if after.is_empty() { String::new() } else { format!("&after={}", after.replace('%', "%25")) };
            let page = back_end.get(&format!("/api/{kind}/v1/{ORG}?limit=3{query}{after_query}")).await;
            assert_eq!(page.code(), 200, "{page:?}");
            let page = page.json();
            let items = page[kind].as_array().unwrap();
            assert!(items.len() <= 3);
            found.extend(items.iter().cloned());
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return found,
            }
        }
    };
    let rooms = listed("rooms", "").await;
    let mut names: Vec<_> = rooms.iter().map(|room| room["docid"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, expected);
    for room in &rooms {
        assert_eq!((&room["branch"], &room["versions"], &room["hard"]), (&json!("main"), &json!(1), &json!(false)));
        assert!(room["bytes"]["nongcdoc"].as_u64().unwrap() > 10, "{room}");
        let one =
            back_end.get(&path("room", &room["docid"].as_str().unwrap().replace('%', "%25").replace('/', "%2F"))).await.json();
        assert_eq!((&one["stored"], &one["bytes"]), (&room["stored"], &room["bytes"]));
    }
    assert_eq!(listed("tombstones", "").await, [json!(null); 0]);
    for n in 0..4 {
        assert_eq!(ask(&back_end, Method::DELETE, &path("ydoc", &format!("doc-{n}%2Fé%25?user=ann"))).await.code(), 200);
    }
    let tombstones = listed("tombstones", "").await;
    assert_eq!(tombstones.len(), 4);
    assert!(tombstones.iter().all(|tombstone| tombstone["by"] == "ann" && tombstone["purgedAt"].is_null()));
    assert_eq!(listed("tombstones", "&state=pending").await.len(), 0);
    assert_eq!(listed("tombstones", "&keptBefore=1000").await.len(), 0);
    assert_eq!(listed("tombstones", "&keptBefore=9000000000000").await.len(), 4);
    assert_eq!(back_end.get("/api/rooms/v1/nobody").await.json(), json!({ "rooms": [], "next": null }));
}

async fn kept_answers_end_with_the_document(stage: Stage) {
    let hub = hub(stage).await;
    let back_end = BackEnd::of(hub.addr());
    assert_eq!(write(&back_end, "notes", &TextWriter::new(7).append("hello")).await.code(), 200);
    for kind in ["activity", "changeset"] {
        for _ in 0..2 {
            assert_eq!(back_end.get(&path(kind, "notes?attributions=true")).await.code(), 200);
        }
    }
    assert_eq!(ask(&back_end, Method::DELETE, &path("ydoc", "notes")).await.code(), 200);
    for kind in ["activity", "changeset"] {
        assert!(is_deleted(&back_end.get(&path(kind, "notes?attributions=true")).await), "{kind}");
    }
}
