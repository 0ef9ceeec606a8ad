//! A deleted room: its sessions are told, nobody brings it to life by leaving, and who comes after it was restored finds it.

mod support;

use std::time::Duration;

use support::{Rig, room};
use yhub_core::{StreamClock, StreamMessage};
use yhub_encoding::{awareness, sync};
use yhub_store::{Append, DeletionStore, DocStore, LogEntry, ReadLimit, StreamLog, Tombstone};
use yhub_testkit::TextWriter;

async fn entries(rig: &Rig) -> Vec<LogEntry> {
    let limit = ReadLimit { entries: 1_000, size_bytes: usize::MAX };
    rig.log.read(&room("doc"), StreamClock::ZERO, limit).await.expect("read").entries
}

async fn tell(rig: &Rig) {
    let messages = vec![StreamMessage::encode_tombstone()];
    rig.log.append(Append { room: room("doc"), messages, floor: StreamClock::ZERO }).await.expect("append");
}

async fn delete(rig: &Rig) {
    let tombstone = Tombstone { deleted_at_ms: 1, hard: false, purged_at_ms: None, by: None };
    rig.docs.put_tombstone(&room("doc"), tombstone, None).await.expect("delete");
    tell(rig).await;
}

/// Three sessions with presence and one with an update on its way.
#[actix::test]
async fn sessions_end_with_4404_and_nobody_says_goodbye() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut clients = Vec::new();
    for client in 1..=3 {
        let (mut session, _) = rig.join("doc").await;
        let here = awareness::encode(&[awareness::Entry { client, clock: 1, state: "{}" }]);
        session.send(&sync::awareness(&here)).await;
        clients.push(session);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.census().await.rooms, 1);
    delete(&rig).await;
    for client in &mut clients {
        assert_eq!(client.closed().await, 4404);
    }
    drop(clients);
    rig.until("the sessions are gone", |rig| rig.node.open_sessions() == 0).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let last = entries(&rig).await.pop().and_then(|entry| entry.message);
    assert_eq!(last, Some(StreamMessage::encode_tombstone()), "somebody spoke after it");
    assert_eq!(rig.census().await.rooms, 0, "nothing of it stays in memory");
}

#[actix::test]
async fn who_joins_a_deleted_room_is_told_so_and_leaves_no_trace() {
    tokio::time::pause();
    let rig = Rig::new();
    delete(&rig).await;
    let before = entries(&rig).await;
    for _ in 0..3 {
        let mut client = rig.connect("doc");
        assert_eq!(client.closed().await, 4404);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(entries(&rig).await, before);
    assert_eq!(rig.census().await.rooms, 0);
}

#[actix::test]
async fn after_it_was_restored_a_room_is_loaded_anew() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    let update = TextWriter::new(7).append("kept");
    client.write(&update).await;
    client.update().await;
    delete(&rig).await;
    assert_eq!(client.closed().await, 4404);
    rig.docs.restore(&room("doc"), None).await.unwrap();
    let (mut again, answer) = rig.join("doc").await;
    assert_eq!(answer, update);
    let more = TextWriter::new(9).append("more");
    again.write(&more).await;
    assert_eq!(again.update().await, more);
}

/// The line of an earlier deletion comes late, or again: the room goes on.
#[actix::test]
async fn a_line_of_a_deletion_that_was_taken_back_ends_nothing() {
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    tell(&rig).await;
    let update = TextWriter::new(7).append("x");
    client.write(&update).await;
    assert_eq!(client.update().await, update);
}

/// Clients never take 4404 for granted that nobody knows to be true.
#[actix::test]
async fn where_it_cannot_be_looked_up_sessions_come_again() {
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    rig.docs.fail_reads(true);
    delete(&rig).await;
    assert_eq!(client.closed().await, 1013);
    rig.docs.fail_reads(false);
    assert_eq!(rig.connect("doc").closed().await, 4404);
}
