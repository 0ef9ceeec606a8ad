//! The end of a hub: its clients are told to come back, and what they were shown is on disk.

use yhub::{Backend, Config};
use yhub_testkit::{Launch, Oracle, TestClient, TextWriter};

use crate::support::{binary, entries, path, room, update_in};

/// The updates in the stream of a room of a hub that has ended.
async fn stream_of(launch: &Launch, docid: &str) -> Vec<Vec<u8>> {
    let log = Backend::open_stores(&Config::for_testing(launch.data_dir())).await.unwrap().log;
    entries(log.as_ref(), &room(docid)).await.iter().filter_map(|entry| update_in(entry).map(|(update, _)| update)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_closes_sessions_and_keeps_every_update() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing leaves the stream, so that it can be looked at.
    let launch = binary(dir.path()).set("worker.task_debounce_ms", 3_600_000);
    let hub = launch.start();
    let mut writer = TextWriter::new(7);
    let mut author = TestClient::connect(hub.addr(), &path("end")).await;
    let mut reader = TestClient::connect(hub.addr(), &path("end")).await;
    author.sync().await;
    reader.sync().await;
    let mut sent = Vec::new();
    // Half are acknowledged by their echo, the others under way when the signal comes.
    for n in 0..400 {
        let update = writer.append(&format!("{n} "));
        author.send_update(&update).await;
        if n < 200 {
            author.shown(&update).await;
        }
        sent.push(update);
    }
    hub.terminate();
    let mut shown = 0;
    let closed = loop {
        match reader.next().await {
            Ok(message) => shown += usize::from(message.starts_with(&[0, 2])),
            Err(closed) => break closed,
        }
    };
    assert_eq!((closed.code, closed.reason.as_str()), (Some(1013), "the hub is shutting down"));
    assert_eq!(author.closed().await.code, Some(1013));
    assert_eq!(hub.wait(), Some(0), "{}", launch.log());
    let log = launch.log();
    assert!(!log.contains(" ERROR ") && !log.contains("panicked"), "{log}");

    let stored = stream_of(&launch, "end").await;
    assert!(stored.len() >= shown.max(200), "{} stored, {shown} shown", stored.len());
    assert_eq!(stored, sent[..stored.len()], "what is stored is what was sent, in order");

    let hub = launch.start();
    let text = Oracle::of([TestClient::connect(hub.addr(), &path("end")).await.sync().await]).text();
    assert_eq!(text, Oracle::of(&stored).text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hub_on_the_same_data_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = binary(dir.path()).start();
    let mut client = TestClient::connect(first.addr(), &path("one")).await;
    client.sync().await;
    let second = binary(dir.path());
    assert_ne!(first.addr(), second.addr());
    let before = second.log().len();
    assert_eq!(second.spawn().wait(), Some(1));
    let said = second.log()[before..].to_owned();
    assert!(said.contains("error: ") && said.contains(second.data_dir().to_str().unwrap()), "it names the directory: {said}");
    let update = TextWriter::new(7).append("unharmed");
    client.send_update(&update).await;
    client.shown(&update).await;
}
