//! What a panic takes with it, and what it does not: shown with named fail points, in the order fail, pass, fail.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

#[allow(dead_code, unused_macros, reason = "shared with another test program, which uses all of it")]
#[macro_use]
#[path = "it/support.rs"]
mod support;

use fail::FailScenario;
use yhub::config::Millis;
use yhub_store::AssetSelection;
use yhub_testkit::{Oracle, TestClient, TextWriter, until};

use support::{Stage, TestHub, room};

/// Enough rooms to have some on every thread.
const OTHERS: usize = 16;

/// Clients of rooms with which nothing is wrong, on the same threads as the one that panics.
struct Others(Vec<(TestClient, TextWriter)>);

impl Others {
    async fn join(hub: &TestHub) -> Self {
        let mut others = Vec::new();
        for n in 0..OTHERS {
            let mut client = hub.client(&format!("well-{n}")).await;
            client.sync().await;
            others.push((client, TextWriter::new(n as u64 + 1)));
        }
        Self(others)
    }

    /// Every one of them still writes and is shown what it wrote, on the connection that it has had from the start.
    async fn go_on(&mut self) {
        for (client, writer) in &mut self.0 {
            let update = writer.append("x");
            client.send_update(&update).await;
            client.shown(&update).await;
        }
    }
}

async fn joined(hub: &TestHub, docid: &str) -> TestClient {
    let mut client = hub.client(docid).await;
    client.sync().await;
    client
}

/// A room whose handler `point` panics: its sessions are closed with 1011, nothing else notices, the next join finds it whole.
async fn a_room_panics(stage: Stage, point: &str) {
    let scenario = FailScenario::setup();
    let hub = TestHub::start(stage).await;
    let mut others = Others::join(&hub).await;
    let mut writer = TextWriter::new(99);
    let mut expected = String::new();
    for (step, fails) in [true, false, true].into_iter().enumerate() {
        let (mut author, mut reader) = (joined(&hub, "poison").await, joined(&hub, "poison").await);
        let before = writer.append(&format!("{step}a "));
        author.send_update(&before).await;
        for client in [&mut author, &mut reader] {
            client.shown(&before).await;
        }
        expected.push_str(&format!("{step}a "));
        if fails {
            fail::cfg(point, "1*panic(on purpose)").unwrap();
        }
        let update = writer.append(&format!("{step}b "));
        author.send_update(&update).await;
        if fails {
            for client in [&mut author, &mut reader] {
                assert_eq!(client.closed().await.code, Some(1011), "{point}");
            }
            others.go_on().await;
            // As every client of the protocol does: what was not shown to it is sent again.
            author = joined(&hub, "poison").await;
            author.send_update(&update).await;
        }
        author.shown(&update).await;
        expected.push_str(&format!("{step}b "));
        let text = Oracle::of([joined(&hub, "poison").await.sync().await]).text();
        assert_eq!(text, expected, "{point}, step {step}");
        others.go_on().await;
        fail::remove(point);
    }
    let started = hub.census().await.rooms_started;
    assert_eq!(started, OTHERS as u64 + 3, "one room was started twice more, once after each panic");
    scenario.teardown();
}

/// A session that panics ends alone, and who it spoke for leaves.
async fn a_session_that_panics_ends_alone(stage: Stage) {
    let scenario = FailScenario::setup();
    let hub = TestHub::start(stage).await;
    let mut others = Others::join(&hub).await;
    let mut watcher = joined(&hub, "poison-session").await;
    for (id, fails) in [(11, true), (12, false), (13, true)] {
        let mut client = joined(&hub, "poison-session").await;
        client.send_awareness(&[(id, 1, "{}")]).await;
        watcher.presence(id, "{}").await;
        if fails {
            fail::cfg("session::message", "1*panic(on purpose)").unwrap();
        }
        let update = TextWriter::new(id).append("x");
        client.send_update(&update).await;
        if fails {
            let closed = client.closed().await;
            assert_eq!(closed.code, None, "its connection just ends: {closed:?}");
            watcher.presence(id, "null").await;
            client = joined(&hub, "poison-session").await;
            client.send_update(&update).await;
        }
        for client in [&mut client, &mut watcher] {
            client.shown(&update).await;
        }
        others.go_on().await;
        fail::remove("session::message");
    }
    assert_eq!(hub.census().await.rooms_started, OTHERS as u64 + 1, "no room was started anew");
    scenario.teardown();
}

async fn a_room_that_panics_at_a_message_takes_nothing_else_down(stage: Stage) {
    a_room_panics(stage, "room::from_client").await;
}

async fn a_room_that_panics_at_new_entries_takes_nothing_else_down(stage: Stage) {
    a_room_panics(stage, "room::entries").await;
}

on_one_node!(
    a_room_that_panics_at_a_message_takes_nothing_else_down,
    a_room_that_panics_at_new_entries_takes_nothing_else_down,
    a_session_that_panics_ends_alone,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_reader_that_panics_comes_back_and_misses_nothing() {
    let scenario = FailScenario::setup();
    // Entries stay in the stream for much longer than a reader is away; with the short times of tests they would not.
    let hub = TestHub::with(Stage::Direct, |config| config.worker.task_debounce_ms = Millis::new(3_600_000)).await;
    let mut others = Others::join(&hub).await;
    let (mut author, mut reader) = (joined(&hub, "tail").await, joined(&hub, "tail").await);
    let mut writer = TextWriter::new(99);
    for fails in [true, false, true] {
        if fails {
            fail::cfg("stream_reader::event", "1*panic(on purpose)").unwrap();
        }
        let updates: Vec<_> = (0..20).map(|n| writer.append(&format!("{n} "))).collect();
        for update in &updates {
            author.send_update(update).await;
        }
        for client in [&mut author, &mut reader] {
            for update in &updates {
                assert_eq!(&client.update().await, update, "in order, each once, on the same connection");
            }
        }
        others.go_on().await;
        fail::remove("stream_reader::event");
    }
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compactor_that_panics_comes_back() {
    let scenario = FailScenario::setup();
    let hub = TestHub::with(Stage::Direct, |config| config.worker.task_debounce_ms = Millis::new(50)).await;
    let mut client = joined(&hub, "compacted").await;
    let mut writer = TextWriter::new(99);
    for fails in [true, false, true] {
        if fails {
            fail::cfg("compactor::claim", "1*panic(on purpose)").unwrap();
        }
        let update = writer.append("more ");
        client.send_update(&update).await;
        client.shown(&update).await;
        until("the update to be in a version row and out of the stream", async || {
            let stored = hub.store().read(&room("compacted"), AssetSelection::NONE).await.unwrap();
            (!stored.rows.is_empty() && hub.stream_updates("compacted").await.is_empty()).then_some(())
        })
        .await;
        fail::remove("compactor::claim");
    }
    drop(client);
    until("the room to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
    assert_eq!(Oracle::of([joined(&hub, "compacted").await.sync().await]).text(), "more more more ");
    scenario.teardown();
}
