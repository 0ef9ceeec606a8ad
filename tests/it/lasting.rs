//! What must still hold after a while: a busy session is never stuck, last words count, and a quiet room opens again.

use std::time::Duration;

use yhub::config::Millis;
use yhub_encoding::sync::Message;
use yhub_testkit::{TextWriter, within};

use crate::support::{Stage, TestHub, entries, room, update_in};

on_all!(a_writer_far_ahead_is_never_stuck, the_last_words_of_a_client_count, a_room_opens_again_after_its_presence_was_trimmed);

/// The socket is not read while too much waits, and what no longer waits must be counted to the last byte: a little lost
/// each time ends in a socket that is never read again.
async fn a_writer_far_ahead_is_never_stuck(stage: Stage) {
    const UPDATES: usize = 20_000;
    const AHEAD: usize = 1_000;
    let hub = TestHub::with(stage, |config| config.server.inbound_bytes = 16 << 10).await;
    let mut client = hub.client("ahead").await;
    client.sync().await;
    let mut writer = TextWriter::new(7);
    let (mut sent, mut echoed) = (0, 0);
    while echoed < UPDATES {
        while sent < UPDATES && sent - echoed < AHEAD {
            client.send_update(&writer.append("x")).await;
            sent += 1;
        }
        client
            .until("an echo", |message| match message {
                Message::Update(_) => Some(()),
                _ => None,
            })
            .await;
        echoed += 1;
    }
}

async fn the_last_words_of_a_client_count(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.worker.task_debounce_ms = Millis::new(60_000)).await;
    const CLIENTS: u64 = 40;
    for n in 0..CLIENTS {
        let mut client = hub.client("last").await;
        client.sync().await;
        client.send_update(&TextWriter::new(100 + n).append("goodbye")).await;
        // Ends the connection as soon as the bytes are out, without a closing handshake.
        drop(client);
    }
    let all_are_there = async {
        loop {
            let stored = entries(hub.log().as_ref(), &room("last")).await.iter().filter_map(update_in).count();
            if stored == CLIENTS as usize {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("every last update to be in the stream", all_are_there).await;
}

async fn a_room_opens_again_after_its_presence_was_trimmed(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut client = hub.client("quiet").await;
    client.sync().await;
    let update = TextWriter::new(7).append("hello");
    client.send_update(&update).await;
    client.shown(&update).await;
    client.send_awareness(&[(7, 1, "{}")]).await;
    client.presence(7, "{}").await;
    within("all of it to be stored", is_quiet(&hub, 1)).await;
    drop(client);
    // The leave is the last line: it is trimmed, and nothing stored says that it was there.
    within("the room to leave memory and stream", is_quiet(&hub, 0)).await;
    let mut again = hub.client("quiet").await;
    let all = again.sync().await;
    assert_eq!(yhub_testkit::Oracle::of([&all]).text(), "hello");
    // It is not turned away a moment later either.
    let more = TextWriter::new(8).append("!");
    again.send_update(&more).await;
    again.shown(&more).await;
}

/// Until so many rooms are in memory and the stream of "quiet" is empty.
async fn is_quiet(hub: &TestHub, rooms: usize) {
    while hub.census().await.rooms != rooms || !entries(hub.log().as_ref(), &room("quiet")).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
