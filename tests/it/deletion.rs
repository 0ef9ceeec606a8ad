//! Deleting rooms while people are in them: everybody is told, nobody brings anything back, and what was kept can be restored.

use std::time::Duration;

use yhub::config::Millis;
use yhub_core::{RoomId, StreamMessage};
use yhub_documents::{DeleteKind, Deleted, DocumentsError};
use yhub_store::{AssetSelection, Hold, LogEntry, Restored, Tombstone};
use yhub_testkit::{Oracle, TestClient, TextWriter, until};

use crate::support::{Stage, TestHub, entries, room};

on_all!(
    everybody_is_told_and_nothing_comes_to_life_again,
    writers_bring_nothing_back,
    a_restored_room_has_its_content,
    what_nobody_ended_the_janitor_ends,
    what_was_kept_for_long_enough_is_erased
);

async fn joined(hub: &TestHub, docid: &str) -> TestClient {
    let mut client = hub.client(docid).await;
    client.sync().await;
    client
}

/// What the stream says of a room beside that it was deleted.
async fn content(hub: &TestHub, room: &RoomId) -> Vec<LogEntry> {
    let mut entries = entries(hub.log().as_ref(), room).await;
    let tombstone = StreamMessage::encode_tombstone();
    entries.retain(|entry| entry.message.as_ref().is_some_and(|message| *message != tombstone));
    entries
}

async fn rows(hub: &TestHub, room: &RoomId) -> usize {
    hub.store().read(room, AssetSelection::NONE).await.unwrap().rows.len()
}

async fn delete(hub: &TestHub, room: &RoomId, kind: DeleteKind) -> Deleted {
    hub.documents().delete(room, kind, Some("ann"), None).await.unwrap()
}

/// Nothing is left in the stores, and nothing comes.
async fn erased(hub: &TestHub, room: &RoomId) {
    until("the rooms to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
    // What nodes wrote that had not heard of it yet has no lifetime.
    until("the stream to drain", async || entries(hub.log().as_ref(), room).await.is_empty().then_some(())).await;
    assert_eq!(rows(hub, room).await, 0);
    let mut late = hub.connect(room.docid()).open().await.unwrap();
    assert_eq!(late.closed().await.code, Some(4404));
    until("that one to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
    // Appends that were under way may have come in behind it, to be trimmed.
    until("nothing to be there", async || content(hub, room).await.is_empty().then_some(())).await;
}

async fn everybody_is_told_and_nothing_comes_to_life_again(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let room = room("deleted");
    let mut clients = Vec::new();
    for id in 1..=6 {
        let mut client = joined(&hub, "deleted").await;
        client.send_awareness(&[(id, 1, "{}")]).await;
        client.presence(id, "{}").await;
        clients.push(client);
    }
    let update = TextWriter::new(7).append("to be erased");
    clients[0].send_update(&update).await;
    clients[5].shown(&update).await;
    until("a row", async || (rows(&hub, &room).await > 0).then_some(())).await;
    let Deleted::Erased(receipt) = delete(&hub, &room, DeleteKind::Hard).await else { panic!() };
    assert!(receipt.json.contains("\"deletedBy\":\"ann\""), "{}", receipt.json);
    for client in &mut clients {
        assert_eq!(client.closed().await.code, Some(4404));
    }
    erased(&hub, &room).await;
    // Another branch is another room.
    assert_eq!(Oracle::of([joined(&hub, "deleted?branch=other").await.sync().await]).text(), "");
}

/// Everybody writes all the time while the room is deleted.
async fn writers_bring_nothing_back(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let room = room("busy");
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(joined(&hub, "busy").await);
    }
    let writing = clients.into_iter().enumerate().map(|(n, mut client)| {
        tokio::spawn(async move {
            let mut writer = TextWriter::new(100 + n as u64);
            // Until it is closed, which a client sees by reading.
            loop {
                if client.try_send(&yhub_encoding::sync::update(&writer.append("x"))).await.is_err() {
                    return client.closed().await.code;
                }
                if let Some(Err(closed)) = client.next_within(Duration::from_millis(1)).await {
                    return closed.code;
                }
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    until("something to be written", async || (content(&hub, &room).await.len() > 20).then_some(())).await;
    loop {
        match hub.documents().delete(&room, DeleteKind::Hard, None, None).await {
            Ok(Deleted::Erased(_)) => break,
            // They are faster.
            Err(DocumentsError::NotErased { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    for client in writing {
        assert!(matches!(client.await.unwrap(), Some(4404 | 1013)), "a client was not told");
    }
    erased(&hub, &room).await;
}

async fn a_restored_room_has_its_content(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let room = room("restored");
    let mut clients = vec![joined(&hub, "restored").await, joined(&hub, "restored").await];
    let mut writer = TextWriter::new(7);
    let update = writer.append("kept");
    clients[0].send_update(&update).await;
    clients[1].shown(&update).await;
    for round in 0..3 {
        assert!(matches!(delete(&hub, &room, DeleteKind::Soft).await, Deleted::Kept(_)));
        for client in &mut clients {
            assert_eq!(client.closed().await.code, Some(4404), "in round {round}");
        }
        assert_eq!(hub.connect("restored").open().await.unwrap().closed().await.code, Some(4404));
        assert_eq!(hub.documents().restore(&room, None).await.unwrap(), Restored::Restored);
        clients.clear();
        for _ in 0..2 {
            let mut client = hub.client("restored").await;
            assert_eq!(Oracle::of([client.sync().await]).text(), format!("kept{}", "!".repeat(round)));
            clients.push(client);
        }
        let update = writer.append("!");
        clients[0].send_update(&update).await;
        clients[1].shown(&update).await;
    }
}

/// A tombstone is all that there is: whoever put it died.
async fn what_nobody_ended_the_janitor_ends(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let (room, held) = (room("interrupted"), room("held"));
    for room in [&room, &held] {
        let mut client = joined(&hub, room.docid()).await;
        let update = TextWriter::new(7).append("left");
        client.send_update(&update).await;
        client.shown(&update).await;
        until("a row", async || (rows(&hub, room).await > 0).then_some(())).await;
        let tombstone = Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
        hub.store().put_tombstone(room, tombstone, None).await.unwrap();
        if *room == held {
            let hold = Hold { room: room.clone(), by: "law".into(), reason: "case 7".into(), at_ms: 1 };
            assert!(hub.stores().deletions.hold(&hold, None).await.unwrap());
        }
    }
    let receipt = async |room: &RoomId| hub.stores().deletions.receipt(room).await.unwrap();
    until("it is ended", async || receipt(&room).await).await;
    erased(&hub, &room).await;
    if receipt(&held).await.is_none() {
        assert_eq!(rows(&hub, &held).await, 1);
        assert!(hub.stores().deletions.release_hold(&held, None).await.unwrap());
        until("that one is ended", async || receipt(&held).await).await;
    }
    erased(&hub, &held).await;
}

async fn what_was_kept_for_long_enough_is_erased(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.deletion.retention_ms = Millis::new(500)).await;
    let room = room("expired");
    let mut client = joined(&hub, "expired").await;
    let update = TextWriter::new(7).append("left");
    client.send_update(&update).await;
    client.shown(&update).await;
    assert!(matches!(delete(&hub, &room, DeleteKind::Soft).await, Deleted::Kept(_)));
    assert_eq!(client.closed().await.code, Some(4404));
    until("it is erased", async || hub.stores().deletions.receipt(&room).await.unwrap()).await;
    erased(&hub, &room).await;
    assert_eq!(hub.documents().restore(&room, None).await.unwrap(), Restored::Refused);
}
