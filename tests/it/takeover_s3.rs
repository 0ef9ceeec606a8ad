//! A hub that starts over the rows and the bucket of a y/hub: it answers what that has answered, and stores what that would
//! have stored, under the same names. What is missing in the bucket is damage, and never an empty document.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;
use yhub_content::{ContentMap, content_ids};
use yhub_core::{Asset, RoomId, StreamMessage};
use yhub_encoding::sync;
use yhub_store::VersionRow;
use yhub_testkit::{
    Answered, BackEnd, HubProcess, Oracle, TestClient, TextWriter,
    http::send,
    servers::S3,
    until,
    vectors::{hex, list, load, text, to_hex, uint},
};

use crate::{
    assets::BUCKET,
    load_failure::refusal,
    takeover::{ASSETS, Deployment, Expected, flags, room_of},
};

/// Names and contents of the objects of a captured room, in order.
fn objects(golden: &Value) -> Vec<(String, Vec<u8>)> {
    let objects = golden["objects"].as_object().expect("objects").iter();
    let mut objects: Vec<_> = objects.map(|(name, content)| (name.clone(), hex(content))).collect();
    objects.sort();
    objects
}

/// The rows of every captured room, and what they refer to. Of streams there are none.
fn put(deployment: &Deployment, live: &Value) {
    for golden in list(&live["rooms"]) {
        deployment.put_rows(golden);
        for (name, content) in objects(golden) {
            bucket(deployment).put(BUCKET, &name, content);
        }
    }
}

fn bucket(deployment: &Deployment) -> &S3 {
    deployment.s3.as_ref().expect("there is a bucket")
}

/// Asks what was asked then.
async fn asked(back_end: &BackEnd, asked: &Value) -> Answered {
    let request = back_end.ask(Method::GET, text(&asked["get"]));
    send(match asked["accept"].as_str() {
        Some(accept) => request.header("accept", accept),
        None => request,
    })
    .await
}

/// The answer is the one of then, byte for byte. Where there was nothing at all the page says so in other words.
fn assert_is_captured(found: &Answered, golden: &Value) {
    let path = text(&golden["get"]);
    assert_eq!(u64::from(found.code()), uint(&golden["status"]), "{path}: {found:?}");
    if let Some(media_type) = golden["contentType"].as_str() {
        assert_eq!(found.header("content-type"), media_type, "{path}");
        assert_eq!(to_hex(&found.body), to_hex(&hex(&golden["bodyHex"])), "{path}: {}", String::from_utf8_lossy(&found.body));
    }
}

fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_objects_are_answered_as_they_were() {
    let deployment = Deployment::with_s3().await;
    let live = load("live-deployment");
    put(&deployment, &live);
    let hub = deployment.node("hub").start();
    let back_end = BackEnd::of(hub.addr());
    let mut compared = 0;
    for golden in list(&live["rooms"]) {
        // Computed, and then kept.
        for _ in 0..2 {
            for question in list(&golden["rest"]) {
                assert_is_captured(&asked(&back_end, question).await, question);
                compared += 1;
            }
        }
    }
    assert!(compared >= 96, "{compared}");
    assert_eq!(complaints(&hub.launch().log()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_streams_become_the_objects_that_were_captured() {
    let deployment = Deployment::with_s3().await;
    let live = load("live-deployment");
    for golden in list(&live["rooms"]) {
        deployment.put_stream(golden);
    }
    for task in list(&live["worker"]) {
        deployment.ground.enqueue(text(&task["id"]), "compact", text(&task["fields"]["compact"]));
    }
    deployment.compact(0);
    let mut names: Vec<String> = list(&live["rooms"]).iter().flat_map(objects).map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names.len(), 8);
    assert_eq!(bucket(&deployment).keys(BUCKET).unwrap(), names, "of other branches there are none");
    let reference = Asset::Retrievable { plugin: "S3Persistence:v1".into() }.encode();
    for golden in list(&live["rooms"]) {
        let (room, [row]) = (room_of(golden), list(&golden["rows"])) else { panic!("one row") };
        let mut stored = deployment.stored(&room).await;
        assert_eq!(stored.is_reference, flags(row), "{room}");
        if room.branch() == RoomId::MAIN {
            for (at, column) in stored.assets.iter().enumerate() {
                let column = column.as_deref().expect("rows are whole");
                assert_eq!((to_hex(column), to_hex(&hex(&row[ASSETS[at]]))), (to_hex(&reference), to_hex(&reference)), "{room}");
            }
            for (name, content) in objects(golden) {
                let found = bucket(&deployment).get(BUCKET, &name).unwrap();
                if !name.starts_with("id:ydoc:") {
                    assert_eq!(to_hex(&found), to_hex(&content), "{name}");
                }
            }
            stored.assets = resolved(&deployment, &room, &stored);
        }
        Expected::captured(golden).assert_is(&stored);
    }
}

/// The columns of a row of the main branch, from the bucket.
fn resolved(deployment: &Deployment, room: &RoomId, row: &VersionRow) -> [Option<Bytes>; 4] {
    ["ydoc:v1/{room}/1/", "ydoc:v1/{room}/0/", "contentmap:v1/{room}/", "contentids:v1/{room}/"].map(|name| {
        let place = format!("{}/{}/{}", room.org(), room.docid(), room.branch());
        let name = format!("id:{}{}", name.replace("{room}", &place), row.t);
        Some(bucket(deployment).get(BUCKET, &name).unwrap_or_else(|| panic!("no object {name}")))
    })
}

/// A hub that keeps nothing at hand, removes at once what is replaced, soon tries again what has failed, and sets streams aside
/// for the least that they are set aside for.
fn hasty(deployment: &Deployment) -> HubProcess {
    let launch = deployment.node("hub").set("asset_cache.memory_bytes", 0).set("assets.delete_delay_ms", 0);
    launch.set("worker.retry_ms", 100).set("worker.quarantine_after", 1).start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_missing_object_fails_and_nothing_else_does() {
    let deployment = Deployment::with_s3().await;
    let live = load("live-deployment");
    put(&deployment, &live);
    let hub = hasty(&deployment);
    let back_end = BackEnd::of(hub.addr());
    let golden = &list(&live["rooms"])[0];
    let room = room_of(golden);
    let socket = format!("/api/ws/v1/{}/{}", room.org(), room.docid());
    // Those come first without which no history is answered: one that was answered would be kept.
    for (name, content) in objects(golden) {
        assert_eq!(bucket(&deployment).remove(BUCKET, &name).unwrap(), content);
        let mut failed = 0;
        for question in list(&golden["rest"]).iter().filter(|question| question["status"] == 200) {
            let path = text(&question["get"]);
            let is = |part: &str| path.contains(part);
            let is_needed = !is("/never-")
                && match name.split('/').collect::<Vec<_>>()[..] {
                    ["id:ydoc:v1", _, _, _, "1", _] => is("/ydoc/") && !is("gc=false"),
                    ["id:ydoc:v1", _, _, _, "0", _] => is("gc=false") || is("&attributions=true"),
                    _ => is("/activity/") || is("/changeset/"),
                };
            let found = asked(&back_end, question).await;
            if is_needed {
                assert_eq!(found.code(), 500, "{path} without {name}: {found:?}");
                failed += 1;
            } else {
                assert_is_captured(&found, question);
            }
        }
        assert!(failed >= 2, "{failed} without {name}");
        let mut told = vec!["a request failed"];
        if name.starts_with("id:ydoc:") {
            let query = if name.contains("/0/") { "?gc=false" } else { "" };
            let mut client = TestClient::connect(hub.addr(), &format!("{socket}{query}")).await;
            // The refusal may come first; then nobody takes this.
            let _ = client.try_send(&sync::step1(&[0])).await;
            assert_eq!(refusal(&mut client).await, (Some(1011), Vec::new()), "without {name}");
            told.push("cannot be loaded, its joins are refused");
        }
        let log = hub.launch().log();
        for what in told {
            assert!(complaints(&log).iter().any(|line| line.contains(what) && line.contains(&name)), "{what}, {name}: {log}");
        }
        bucket(&deployment).put(BUCKET, &name, content);
    }
    for question in list(&golden["rest"]) {
        assert_is_captured(&asked(&back_end, question).await, question);
    }
    let mut client = TestClient::connect(hub.addr(), &socket).await;
    assert_eq!(Oracle::of([client.sync().await]).text(), text(&golden["final"]["text"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_loses_nothing_while_an_object_is_missing() {
    let deployment = Deployment::with_s3().await;
    let live = load("live-deployment");
    put(&deployment, &live);
    let hub = hasty(&deployment);
    let update = TextWriter::new(7).append("later");
    let ids = content_ids(&update).unwrap();
    let (message, _) = StreamMessage::encode_update(&update, &ContentMap::attribution(&ids, Some("ann"), 1, &[]).to_bytes());
    for (golden, kind) in list(&live["rooms"]).iter().zip(["id:ydoc:v1/cap-org/cap-1/main/0/", "id:contentids:v1/"]) {
        let (room, key) = (room_of(golden), text(&golden["redisKey"]));
        let objects = objects(golden);
        let (name, content) = objects.iter().find(|(name, _)| name.starts_with(kind)).expect("it is captured");
        let before = deployment.stored(&room).await;
        bucket(&deployment).remove(BUCKET, name).unwrap();
        let left = bucket(&deployment).keys(BUCKET).unwrap();
        // Right after the row.
        let id = format!("{}-0", before.created_ms + 1);
        deployment.entry(key, &id, [(&b"m"[..], &message[..])]);
        deployment.ground.enqueue("*", "compact", key);
        let is_told = |line: &&str| line.contains("compacting room") && line.contains(name.as_str());
        until("compaction to fail twice", async || {
            (complaints(&hub.launch().log()).into_iter().filter(is_told).count() >= 2).then_some(())
        })
        .await;
        assert_eq!(deployment.stored(&room).await, before, "the row is left as it is");
        assert!(deployment.ground.redis().cli(["XRANGE", key, &id, &id]).contains(&id), "the edit is left in the stream");
        assert_eq!(bucket(&deployment).keys(BUCKET).unwrap(), left);

        bucket(&deployment).put(BUCKET, name, content.clone());
        until("the room to be compacted", async || deployment.ground.is_drained().then_some(())).await;
        let after = deployment.stored(&room).await;
        assert_eq!(after.t, id);
        let stored = document(&resolved(&deployment, &room, &after)[1].clone().expect("it was resolved"));
        let (_, earlier) = objects.iter().find(|(name, _)| name.contains("/main/0/")).expect("it is captured");
        let all = Oracle::of([document(&earlier.clone().into()), update.clone().into()]);
        assert_eq!(Oracle::of([&stored]).state(), all.state());
        let path = format!("/api/ws/v1/{}/{}", room.org(), room.docid());
        let joined = Oracle::of([TestClient::connect(hub.addr(), &path).await.sync().await]);
        assert_eq!((joined.state(), joined.text()), (all.state(), all.text()));
        assert!(joined.text().contains("later"), "{}", joined.text());
        until("what was replaced to be removed", async || {
            let keys = bucket(&deployment).keys(BUCKET).unwrap();
            objects.iter().all(|(name, _)| !keys.contains(name)).then_some(())
        })
        .await;
    }
}

fn document(asset: &Bytes) -> Bytes {
    match Asset::decode(asset).expect("an asset") {
        Asset::YDoc { update } => update,
        other => panic!("{other:?}"),
    }
}
