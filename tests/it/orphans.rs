//! What a running hub removes from a bucket by itself, and what it leaves; and what deleting a document for good leaves there.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::json;
use yhub::config::Millis;
use yhub_core::{Asset, AssetId, AssetIdKind, StreamClock};
use yhub_store::{AssetSelection, StoreVersion, TaskEpoch};
use yhub_testkit::{Answered, BackEnd, Oracle, TextWriter, http::send, servers::S3, until};

use crate::{
    assets::{BUCKET, server, set},
    support::{ORG, Stage, TestHub, entries, room},
};

on_all!(what_no_row_names_is_removed_once_it_is_old, of_what_is_deleted_for_good_no_object_is_left);

/// The least that can be set.
const GRACE_MS: u64 = 60_000;

async fn hub(stage: Stage, server: &S3, janitor_ms: u64) -> TestHub {
    TestHub::with(stage, |config| {
        set(config, server);
        config.auth.purposes.push("hard-delete".into());
        // Nothing is kept at hand, and what is replaced goes at once.
        (config.asset_cache.memory_bytes, config.assets.delete_delay_ms) = (0, Millis::new(0));
        (config.deletion.janitor_ms, config.deletion.orphan_grace_ms) = (Millis::new(janitor_ms), Millis::new(GRACE_MS));
    })
    .await
}

fn object(docid: &str, t: &str) -> String {
    AssetId { kind: AssetIdKind::ContentIds, room: room(docid), t: t.into() }.to_string()
}

fn objects(server: &S3, docid: &str) -> Vec<String> {
    let objects = server.keys(BUCKET).expect("there is a bucket").into_iter();
    objects.filter(|name| name.contains(&format!("/{ORG}/{docid}/main/"))).collect()
}

/// Writes the text into the document, and waits until that is stored, and nothing else: the clock of the row.
async fn stored(hub: &TestHub, server: &S3, docid: &str, update: &[u8]) -> String {
    let path = format!("/api/ydoc/v1/{ORG}/{docid}");
    let body = json!({ "update": BASE64_STANDARD.encode(update) });
    assert_eq!(BackEnd::of(hub.addr()).send_json(Method::PATCH, &path, &body).await.code(), 200);
    until("one row and its objects", async || {
        let rows = hub.store().read(&room(docid), AssetSelection::NONE).await.unwrap().rows;
        let is_drained = entries(hub.log().as_ref(), &room(docid)).await.is_empty();
        let [row] = &rows[..] else { return None };
        (is_drained && objects(server, docid).len() == 4).then(|| row.t.clone())
    })
    .await
}

fn put(server: &S3, name: &str, modified_ms: u64) {
    server.put(BUCKET, name, Asset::ContentIds { contentids: vec![0, 0].into() }.encode());
    server.set_modified(BUCKET, name, modified_ms);
}

/// Two rows that both name their objects, as there are until the older one is deleted: the name of an object of that one.
async fn twofold(hub: &TestHub) -> String {
    let column = Asset::Retrievable { plugin: "S3Persistence:v1".into() }.encode();
    for ms in [5, 6] {
        let version = StoreVersion {
            room: room("twofold"),
            clock: StreamClock::new(ms, 0),
            assets: [0; 4].map(|_| column.clone()),
            is_reference: [true; 4],
            replaces: Vec::new(),
            epoch: TaskEpoch(1),
        };
        hub.store().store(version).await.unwrap();
    }
    object("twofold", "5-0")
}

async fn removed(server: &S3, name: &str) {
    until("an object to be removed", async || server.get(BUCKET, name).is_none().then_some(())).await;
}

async fn what_no_row_names_is_removed_once_it_is_old(stage: Stage) {
    let server = server().await;
    let hub = hub(stage, &server, 100).await;
    let t = stored(&hub, &server, "notes", &TextWriter::new(7).append("kept")).await;
    let row = objects(&server, "notes");
    let now_ms = hub.log().now_ms().await.unwrap();
    let old_ms = now_ms - 2 * GRACE_MS;
    for name in &row {
        server.set_modified(BUCKET, name, old_ms);
    }
    // Without a row, and older than one; as young as none may be; newer than all rows, so that its own may still come; not ours
    // at all; and that of an older row.
    let (old, next) = (object("notes", "5-0"), object("notes", "5-2"));
    let (young, coming, other) = (object("notes", "5-1"), object("notes", "9999999999999-0"), "backup/notes".to_owned());
    let named = twofold(&hub).await;
    put(&server, &named, old_ms);
    put(&server, &young, now_ms);
    put(&server, &coming, old_ms);
    put(&server, &other, old_ms);
    let mut left: Vec<_> = row.iter().chain([&named, &young, &coming, &other]).cloned().collect();
    left.sort();
    // Between the one and the other everything was looked at.
    for name in [&old, &next] {
        put(&server, name, old_ms);
        removed(&server, name).await;
    }
    assert_eq!(server.keys(BUCKET).unwrap(), left);
    assert_eq!(Oracle::of([hub.client("notes").await.sync().await]).text(), "kept");
    // That it was young was all that there was to be said for it.
    server.set_modified(BUCKET, &young, old_ms);
    removed(&server, &young).await;
    left.retain(|name| *name != young);
    assert_eq!(server.keys(BUCKET).unwrap(), left);
    assert_eq!(hub.store().read(&room("notes"), AssetSelection::NONE).await.unwrap().rows[0].t, t);
}

async fn of_what_is_deleted_for_good_no_object_is_left(stage: Stage) {
    let server = server().await;
    // Whoever erases an object first says how large it was: here that is the deletion, not a janitor that helps.
    let hub = hub(stage, &server, 600_000).await;
    stored(&hub, &server, "notes", &TextWriter::new(7).append("a secret")).await;
    stored(&hub, &server, "other", &TextWriter::new(7).append("kept")).await;
    // Left behind by somebody who died, and nothing that the janitor would take.
    put(&server, &object("notes", "9999999999999-0"), hub.log().now_ms().await.unwrap());
    let (gone, left) = (objects(&server, "notes"), objects(&server, "other"));
    assert_eq!((gone.len(), left.len()), (5, 4));
    let sizes: Vec<_> = gone.iter().map(|name| server.get(BUCKET, name).unwrap().len()).collect();

    let back_end = BackEnd::of(hub.addr());
    let path = |kind: &str| format!("/api/{kind}/v1/{ORG}/notes");
    let delete = back_end.ask(Method::DELETE, &format!("{}?hard=true&user=ann", path("ydoc")));
    let erased: Answered = send(delete.header("accept", "application/json")).await;
    assert_eq!(erased.code(), 200, "{erased:?}");
    assert_eq!(server.keys(BUCKET).unwrap(), left);
    let receipt = erased.json()["receipt"].clone();
    let listed = gone.iter().zip(sizes);
    let listed: Vec<_> = listed.map(|(name, size)| json!({ "plugin": "S3Persistence:v1", "id": name, "bytes": size })).collect();
    assert_eq!(receipt["erased"]["objects"], json!({ "count": 5, "listed": listed }));
    assert_eq!(receipt["readBack"]["objects"], 0);
    assert_eq!(back_end.get(&path("receipt")).await.json(), receipt);
    assert_eq!(Oracle::of([hub.client("other").await.sync().await]).text(), "kept");
    // And none comes back.
    let late = json!({ "update": BASE64_STANDARD.encode(TextWriter::new(8).append("late")) });
    assert_eq!(back_end.send_json(Method::PATCH, &path("ydoc"), &late).await.code(), 404);
    assert_eq!(server.keys(BUCKET).unwrap(), left);
}
