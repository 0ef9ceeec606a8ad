//! A room that cannot be loaded refuses its joins: nothing is served in its place, and nothing is stored over it.

use bytes::Bytes;
use yhub::config::Millis;
use yhub_core::StreamClock;
use yhub_encoding::sync::{self, Message};
use yhub_store::{
    AssetSelection, StoreVersion, TaskEpoch,
    faults::{DocMethod, Fault, LogMethod},
};
use yhub_testkit::{Oracle, TestClient, TextWriter, until, within};

use crate::support::{Stage, TestHub, room};

on_one_node!(
    a_row_that_cannot_be_read_refuses_every_join,
    a_store_that_is_away_is_a_reason_to_try_again,
    a_load_that_hangs_is_given_up
);

/// Joins, asks for everything, writes, and says who is there, all before it is refused: what it got until then.
async fn refused(client: &mut TestClient, update: &[u8]) -> (Option<u16>, Vec<Bytes>) {
    // The refusal may come first; then nobody takes these.
    let _ = client.try_send(&sync::step1(&[0])).await;
    let _ = client.try_send(&sync::update(update)).await;
    refusal(client).await
}

/// Waits until it is refused: what it got until then.
pub(crate) async fn refusal(client: &mut TestClient) -> (Option<u16>, Vec<Bytes>) {
    let refusal = async {
        let mut got = Vec::new();
        loop {
            match client.next().await {
                Ok(message) => got.push(message),
                Err(closed) => return (closed.code, got),
            }
        }
    };
    within("a refusal", refusal).await
}

async fn a_row_that_cannot_be_read_refuses_every_join(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.worker.task_debounce_ms = Millis::new(50);
        config.worker.lease_ms = Millis::new(200);
    };
    let hub = TestHub::with(stage, change).await;
    let garbage = Bytes::from_static(b"no any-encoded object");
    let version = StoreVersion {
        room: room("broken"),
        clock: StreamClock::new(5, 0),
        assets: [garbage.clone(), garbage.clone(), garbage.clone(), garbage],
        is_reference: [false; 4],
        replaces: Vec::new(),
        epoch: TaskEpoch(1),
    };
    hub.store().store(version).await.unwrap();
    let before = hub.store().read(&room("broken"), AssetSelection::ALL).await.unwrap();

    for query in ["", "?gc=false", ""] {
        let mut client = hub.client(&format!("broken{query}")).await;
        let (code, got) = refused(&mut client, &TextWriter::new(7).append("lost?")).await;
        assert_eq!(code, Some(1011), "gc or not: {query:?}");
        assert_eq!(got, [] as [Bytes; 0], "nothing is served in place of the document");
    }
    // What was sent before the refusal may be in the stream, where it waits for the row to be repaired. Compaction must not
    // make a document of it without the row: it tries, and stores nothing.
    for update in hub.stream_updates("broken").await {
        assert_eq!(update, TextWriter::new(7).append("lost?"));
    }
    let claims = hub.log_plan.calls(LogMethod::Claim);
    until("compaction to be tried", async || (hub.log_plan.calls(LogMethod::Claim) > claims + 20).then_some(())).await;
    assert_eq!(hub.doc_plan.calls(DocMethod::Store), 0);
    let after = hub.store().read(&room("broken"), AssetSelection::ALL).await.unwrap();
    assert_eq!(before, after, "the row is left as it is");
    let mut other = hub.client("well").await;
    assert_eq!(Oracle::of([other.sync().await]).text(), "");
}

async fn a_store_that_is_away_is_a_reason_to_try_again(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let update = TextWriter::new(7).append("kept");
    let mut client = hub.client("away").await;
    client.sync().await;
    client.send_update(&update).await;
    client.shown(&update).await;
    drop(client);

    for away in ["document store", "stream log"] {
        // A room that is in memory needs neither.
        until("the room to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
        match away {
            "stream log" => hub.log_plan.on_every(LogMethod::Read, Fault::FailBefore),
            _ => hub.doc_plan.on_every(DocMethod::Read, Fault::FailBefore),
        }
        for _ in 0..3 {
            let mut client = hub.client("away").await;
            let (code, got) = refused(&mut client, &TextWriter::new(8).append("x")).await;
            assert_eq!((code, got.len()), (Some(1013), 0), "without the {away}");
        }
        hub.doc_plan.clear();
        hub.log_plan.clear();
        let mut client = hub.client("away").await;
        let text = Oracle::of([client.sync().await]).text();
        assert!(text.contains("kept"), "after the {away} is back the document is {text:?}");
    }
}

async fn a_load_that_hangs_is_given_up(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.room.load_timeout_ms = Millis::new(200)).await;
    hub.doc_plan.on_nth(DocMethod::Read, 1, Fault::Hang);
    let mut client = hub.client("hangs").await;
    let (code, got) = refused(&mut client, &TextWriter::new(8).append("x")).await;
    assert_eq!((code, got.len()), (Some(1013), 0));
    // The next load goes through, on a busy machine perhaps not in so short a time at once.
    let text = until("the room to be loaded", async || {
        let mut client = hub.client("hangs").await;
        client.send(&sync::step1(&[0])).await;
        loop {
            match Message::decode(&client.next().await.ok()?).unwrap() {
                Message::SyncStep2(update) => return Some(Oracle::of([update]).text()),
                _ => continue,
            }
        }
    })
    .await;
    assert!(text.chars().all(|character| character == 'x'), "{text}");
}
