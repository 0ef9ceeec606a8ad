//! Rooms and their registry: one room for all who join, memory within its budget, streams that are torn.

mod support;

use std::time::Duration;

use actix::prelude::*;
use support::{Got, Rig, Settings, room};
use yhub_actors::{GetRoom, Shutdown};
use yhub_core::RoomLimits;
use yhub_testkit::TextWriter;

#[actix::test]
async fn a_thousand_joins_start_one_room_and_one_load() {
    let rig = Rig::new();
    let asked = (0..1_000).map(|_| rig.registry.send(GetRoom(room("doc"))));
    let rooms = futures_util::future::join_all(asked).await;
    let first = rooms[0].as_ref().unwrap().as_ref().unwrap();
    assert!(rooms.iter().all(|room| room.as_ref().unwrap().as_ref().unwrap() == first));
    let mut clients: Vec<_> = (0..300).map(|_| rig.connect("doc")).collect();
    for client in &mut clients {
        assert_eq!(&client.sync().await[..], [0, 0]);
    }
    let census = rig.census().await;
    assert_eq!((census.rooms, census.rooms_started), (1, 1));
    assert_eq!(rig.log.reads(&room("doc")), 1, "one load for all");
}

/// Least recently used out first; what left memory is loaded again when somebody asks.
#[actix::test]
async fn memory_stays_within_its_budget_and_evicted_rooms_still_serve() {
    // Twice in memory: as a document, and as the line that brought it.
    const DOCUMENT_BYTES: usize = 2_000;
    let rig = Rig::with(Settings { snapshot_budget_bytes: 9_000, ..Settings::default() });
    let text = "x".repeat(DOCUMENT_BYTES);
    let mut clients = Vec::new();
    for docid in ["a", "b", "c", "d"] {
        let (mut client, _) = rig.join(docid).await;
        let update = TextWriter::new(7).append(&text);
        client.write(&update).await;
        assert_eq!(client.update().await, update);
        clients.push((docid, client));
        // Joined again: the document becomes a base of its own, and this room is the one used last.
        assert_eq!(rig.join(docid).await.1, update);
        assert_eq!(rig.join("a").await.1, update, "the first is used all the time");
        settle().await;
        let census = rig.census().await;
        assert!(census.snapshot_bytes <= 9_000, "{census:?}");
    }
    let reads = |docid| rig.log.reads(&room(docid));
    assert_eq!(reads("a"), 1, "never evicted, never loaded again");
    let before = reads("b");
    let (mut again, answer) = rig.join("b").await;
    assert_eq!(answer, TextWriter::new(7).append(&text));
    assert_eq!(reads("b"), before + 1, "it was out, and is loaded again");
    // Who was there all the time goes on.
    let (_, there) = &mut clients[1];
    let update = TextWriter::new(9).append("y");
    there.write(&update).await;
    assert_eq!((there.update().await, again.update().await), (update.clone().into(), update.into()));
}

/// A document over the whole budget leaves whenever nobody waits for it, and is loaded for whoever asks.
#[actix::test]
async fn a_document_over_the_whole_budget_is_served_all_the_same() {
    let rig = Rig::with(Settings { snapshot_budget_bytes: 1, ..Settings::default() });
    let (mut client, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    for _ in 0..20 {
        let update = writer.append(&"x".repeat(3_000));
        client.write(&update).await;
        assert_eq!(client.update().await, update);
        let answer = client.sync().await;
        assert!(answer.len() > 3_000);
    }
    settle().await;
    assert!(rig.census().await.snapshot_bytes <= 1);
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn an_empty_room_leaves_memory_and_comes_back() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    let update = TextWriter::new(7).append("x");
    client.write(&update).await;
    client.update().await;
    drop(client);
    tokio::time::sleep(RoomLimits::default().idle + Duration::from_secs(1)).await;
    let census = rig.census().await;
    assert_eq!((census.rooms, census.snapshot_bytes), (0, 0));
    assert_eq!(rig.join("doc").await.1, update);
    assert_eq!(rig.census().await.rooms_started, 2);
}

/// Lines that were trimmed before they were read: sessions are sent away and sync again, in a fresh room.
#[actix::test]
async fn after_a_gap_sessions_sync_again() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    let (mut other, _) = rig.join("other").await;
    rig.log.gap(&room("doc"));
    assert_eq!(client.closed().await, 1013);
    let update = TextWriter::new(7).append("x");
    other.write(&update).await;
    assert_eq!(other.update().await, update, "another room goes on");
    let (mut again, _) = rig.join("doc").await;
    again.write(&update).await;
    assert_eq!(again.update().await, update);
    assert_eq!(rig.census().await.rooms_started, 3);
}

/// What a room has not taken yet is bounded: it is not followed meanwhile, and misses nothing.
#[actix::test]
async fn a_slow_room_is_bounded_and_catches_up() {
    use yhub_core::{StreamClock, StreamMessage};
    use yhub_store::{Append, StreamLog};
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    let updates: Vec<Vec<u8>> = (0..1_000).map(|_| writer.append("x")).collect();
    let messages = updates.iter().map(|update| StreamMessage::encode_update(update, &[0, 0]).0).collect();
    // Another node writes more at once than a room is given; the tail brings it line by line.
    rig.log.append(Append { room: room("doc"), messages, floor: StreamClock::ZERO }).await.unwrap();
    for update in &updates {
        assert_eq!(client.update().await, update[..], "in order, each once");
    }
    let pauses = rig.log.followed().iter().filter(|(_, after)| after.is_none()).count();
    assert!(pauses >= 2, "the room was paused {pauses} times");
}

#[actix::test]
async fn a_room_that_cannot_be_loaded_refuses_and_serves_nothing() {
    tokio::time::pause();
    let rig = Rig::new();
    rig.docs.fail_reads(true);
    let mut client = rig.connect("doc");
    client.send(&yhub_encoding::sync::step1(&[0])).await;
    loop {
        match client.next().await {
            Got::Close(code) => break assert_eq!(code, 1013),
            got @ (Got::Answer(_) | Got::Step1(_) | Got::Update(_) | Got::End) => panic!("{got:?}"),
            _ => {}
        }
    }
    rig.docs.fail_reads(false);
    assert_eq!(&rig.join("doc").await.1[..], [0, 0]);
}

/// What was taken in is in the stream before the node is gone.
#[actix::test]
async fn a_shutdown_ends_sessions_and_loses_nothing() {
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    client.write(&TextWriter::new(7).append("x")).await;
    client.update().await;
    let mut late = rig.connect("doc");
    rig.registry.send(Shutdown::AT_ONCE).await.unwrap();
    assert_eq!(client.closed().await, 1013);
    assert_eq!(late.closed().await, 1013);
    let mut after = rig.connect("doc");
    assert_eq!(after.closed().await, 1013, "nobody comes in any more");
    let _: &Addr<_> = &rig.registry;
}
