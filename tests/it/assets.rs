//! Places for assets, as a hub is told of them: made at the start, looked at by `/readyz`, and said to be wrong in time.

use yhub::{
    Backend, Config,
    config::{Millis, S3Client},
};
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId};
use yhub_testkit::{
    Launch, Oracle, TextWriter,
    servers::{S3, S3Fault},
    until,
};

use crate::{
    draining::readiness,
    ground::Ground,
    support::{Stage, TestHub, entries, room},
};

on_all!(documents_live_in_a_bucket_and_edits_go_on_while_it_is_away);

/// The bucket of the hubs.
pub(crate) const BUCKET: &str = "assets";

pub(crate) async fn server() -> S3 {
    tokio::task::spawn_blocking(S3::start).await.expect("the server starts")
}

/// A hub with its assets in this service, in files for the rest.
fn config(server: &S3, dir: &tempfile::TempDir) -> Config {
    let mut config = Config::for_testing(dir.path());
    set(&mut config, server);
    config.assets.plugins.push("files".into());
    config
}

pub(crate) fn set(config: &mut Config, server: &S3) {
    config.assets.plugins = vec!["s3".into()];
    (config.s3.endpoint, config.s3.bucket, config.s3.create_bucket) = (server.endpoint(), BUCKET.into(), true);
    (config.s3.access_key, config.s3.secret_key) = (S3::ACCESS_KEY.into(), Some(S3::SECRET_KEY.into()));
}

/// The binary with its assets in this service.
pub(crate) fn in_bucket(launch: Launch, server: &S3) -> Launch {
    launch
        .set("assets.plugins", "s3")
        .set("s3.endpoint", server.endpoint())
        .set("s3.bucket", BUCKET)
        .set("s3.create_bucket", true)
        .set("s3.access_key", S3::ACCESS_KEY)
        .set("s3.secret_key", S3::SECRET_KEY)
}

fn id(branch: &str) -> AssetId {
    AssetId { kind: AssetIdKind::ContentIds, room: RoomId::new("o", "d", branch), t: "1-0".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_go_where_the_configuration_says() {
    let (server, dir) = (server().await, tempfile::tempdir().unwrap());
    let stores = Backend::open_stores(&config(&server, &dir)).await.unwrap();
    let asset = Asset::ContentIds { contentids: vec![1; 100].into() }.encode();
    for (branch, plugin) in [("main", "S3Persistence:v1"), ("draft", "FilePersistence:v1")] {
        let column = stores.assets.store(&id(branch), asset.clone()).await.unwrap();
        assert_eq!(Asset::decode(&column.bytes).unwrap(), Asset::Retrievable { plugin: plugin.into() });
        assert_eq!(stores.assets.retrieve(&id(branch), plugin).await.unwrap(), asset);
    }
    assert_eq!(server.keys(BUCKET).unwrap(), [id("main").to_string()]);
    assert!(dir.path().join("assets").is_dir());
    // Brought once and kept.
    let before = server.requests().len();
    stores.assets.retrieve(&id("main"), "S3Persistence:v1").await.unwrap();
    assert_eq!(server.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_used_ends_the_start_with_what_to_do() {
    let server = server().await;
    let start = async |change: fn(&mut Config)| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&server, &dir);
        change(&mut config);
        let error = Backend::open_stores(&config).await.err().expect("it should not start");
        let text = format!("{error:#}");
        assert!(text.contains("assets.plugins") && text.contains(&server.endpoint()), "{text}");
        text
    };
    let text = start(|config| config.s3.secret_key = Some("hunter2".into())).await;
    assert!(text.contains("check the access key") && !text.contains("hunter2"), "{text}");
    let text = start(|config| config.s3.create_bucket = false).await;
    assert!(text.contains("there is no such bucket"), "{text}");
    // Commands look at the rest all the same.
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&server, &dir);
    config.s3.create_bucket = false;
    yhub::Stores::open_for_operator(&config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_whose_assets_are_away_is_not_ready_until_they_are_back() {
    let (server, ground) = (server().await, Ground::embedded());
    let launch = in_bucket(ground.launch(), &server);
    let hub = tokio::task::spawn_blocking(move || launch.start()).await.unwrap();
    assert_eq!(readiness(hub.addr()).await, 200);
    server.fault(S3Fault::SlowDown, usize::MAX, "HEAD");
    assert_eq!(readiness(hub.addr()).await, 503);
    server.heal();
    until("a hub that is ready again", async || (readiness(hub.addr()).await == 200).then_some(())).await;
}

/// Until the stream of a room is empty, and no node has the room in memory.
async fn is_stored(hub: &TestHub, docid: &str) {
    until("a room that is stored and at rest", async || {
        (hub.census().await.rooms == 0 && entries(hub.log().as_ref(), &room(docid)).await.is_empty()).then_some(())
    })
    .await;
}

async fn documents_live_in_a_bucket_and_edits_go_on_while_it_is_away(stage: Stage) {
    for client in [S3Client::ObjectStore, S3Client::Rusoto] {
        let server = server().await;
        let hub = TestHub::with(stage, |config| {
            set(config, &server);
            config.s3.client = client;
            // Nothing is kept at hand, and what is replaced goes at once.
            (config.asset_cache.memory_bytes, config.assets.delete_delay_ms) = (0, Millis::new(0));
            (config.s3.attempts, config.s3.backoff_ms) = (2, Millis::new(10));
        })
        .await;
        let objects = || server.keys(BUCKET).expect("there is a bucket");
        let mut writer = TextWriter::new(7);
        for (word, text) in [("hello", "hello"), (" there", "hello there")] {
            let mut client = hub.client("notes").await;
            client.sync().await;
            let update = writer.append(word);
            client.send_update(&update).await;
            client.shown(&update).await;
            drop(client);
            is_stored(&hub, "notes").await;
            until("the objects of one row", async || (objects().len() == 4).then_some(())).await;
            assert!(objects().iter().all(|key| key.starts_with("id:") && key.contains("/notes/main/")), "{:?}", objects());
            let all = hub.client("notes").await.sync().await;
            assert_eq!(Oracle::of([&all]).text(), text);
            is_stored(&hub, "notes").await;
        }
        // The service goes away: who is in the room goes on, and what they write is not lost.
        let (mut here, mut other) = (hub.client("notes").await, hub.client("notes").await);
        here.sync().await;
        other.sync().await;
        server.fault(S3Fault::SlowDown, usize::MAX, "");
        let update = writer.append(", you");
        here.send_update(&update).await;
        other.shown(&update).await;
        let before = server.requests().len();
        // Whatever is asked now fails: that the rows are read again, or that a new one is placed.
        until("a compaction that fails", async || (server.requests().len() > before).then_some(())).await;
        server.heal();
        drop((here, other));
        is_stored(&hub, "notes").await;
        let all = hub.client("notes").await.sync().await;
        assert_eq!(Oracle::of([&all]).text(), "hello there, you");
    }
}
