//! A log that comes back empty or rewound while clients stay connected: rooms and clients bring back what they hold.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Client, Got, Rig, room};
use yhub_content::{ContentIds, StateVector};
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_encoding::{awareness, sync};
use yhub_testkit::TextWriter;

/// The updates in the stream, with their clocks and whole messages.
fn updates(rig: &Rig, room: &RoomId) -> Vec<(StreamClock, Bytes, Bytes)> {
    let entries = rig.log.entries(room).into_iter();
    let update = |(clock, message)| match StreamMessage::decode(&message) {
        Ok(StreamMessage::Update { update, .. }) => Some((clock, update, message)),
        _ => None,
    };
    entries.filter_map(update).collect()
}

/// What the stream of `room` holds.
fn ids(rig: &Rig, room: &RoomId) -> ContentIds {
    let all: Vec<_> =
        updates(rig, room).iter().map(|(_, update, _)| yhub_content::content_ids(update).expect("an update")).collect();
    ContentIds::union(&all)
}

async fn write(client: &mut Client, writer: &mut TextWriter, text: &str) -> Bytes {
    let update = Bytes::from(writer.append(text));
    client.write(&update).await;
    // What comes back after a loss comes once more.
    while client.update().await != update {}
    update
}

/// The state vector with which the client is asked next, past everything else.
async fn asked(client: &mut Client) -> StateVector {
    loop {
        match client.next().await {
            Got::Step1(vector) => return StateVector::from_bytes(&vector).expect("a vector"),
            got @ (Got::Close(_) | Got::End) => panic!("{got:?}"),
            _ => {}
        }
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[actix::test]
async fn a_suspicion_without_a_loss_costs_one_look() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut client, _), mut writer) = (rig.join("doc").await, TextWriter::new(7));
    write(&mut client, &mut writer, "x").await;
    let reads = rig.log.reads(&doc);
    rig.log.suspect(&doc);
    settle().await;
    assert_eq!(rig.log.reads(&doc), reads + 1, "it is not loaded");
    assert_eq!(updates(&rig, &doc).len(), 1);
    write(&mut client, &mut writer, "y").await;
}

#[actix::test]
async fn the_end_of_a_stream_comes_back_as_it_was() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut author, _), (mut reader, _)) = (rig.join("doc").await, rig.join("doc").await);
    let mut writer = TextWriter::new(7);
    for text in ["one", "two", "three"] {
        write(&mut author, &mut writer, text).await;
    }
    let before = updates(&rig, &doc);
    rig.log.lose(&doc, 2);
    rig.log.suspect(&doc);
    rig.until("it is back", |rig| updates(rig, &doc).len() == 3).await;
    let after = updates(&rig, &doc);
    for at in 0..3 {
        assert_eq!(after[at].2, before[at].2, "with its author, in order (I-6)");
    }
    assert!(after[1].0 > before[2].0, "above everything that was heard of");
    assert_eq!(asked(&mut reader).await.get(7), 11, "everybody is asked for what is beyond that");
    write(&mut author, &mut writer, "four").await;
    assert_eq!(rig.census().await.rooms_started, 1, "nobody was sent away");
}

#[actix::test]
async fn after_everything_is_lost_another_node_serves_it_all() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut client, _), mut writer) = (rig.join("doc").await, TextWriter::new(7));
    for n in 0..40 {
        write(&mut client, &mut writer, &n.to_string()).await;
    }
    rig.log.lose_everything();
    let other = rig.beside();
    assert_eq!(&other.join("doc").await.1[..], [0, 0], "it is lost");
    rig.log.suspect(&doc);
    rig.until("it is back", |rig| updates(rig, &doc).len() == 40).await;
    let (_, answer) = other.join("doc").await;
    assert_eq!(yhub_content::content_ids(&answer).unwrap().inserts.id_count(), writer.clock());
}

/// What is appended after a loss and before anybody has noticed is there. It must not vouch for what stands before it.
#[actix::test]
async fn what_was_appended_since_hides_no_loss() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut client, _), mut writer) = (rig.join("doc").await, TextWriter::new(7));
    write(&mut client, &mut writer, "lost").await;
    rig.log.lose(&doc, 1);
    write(&mut client, &mut writer, "since").await;
    rig.log.suspect(&doc);
    rig.until("it is back", |rig| ids(rig, &doc).inserts.id_count() == writer.clock()).await;
}

#[actix::test]
async fn clients_give_what_only_they_hold() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let (mut client, _) = rig.join("doc").await;
    write(&mut client, &mut TextWriter::new(7), "x").await;
    assert_eq!(asked(&mut rig.connect("doc")).await.get(7), 1);
    rig.log.lose_everything();
    rig.log.suspect(&doc);
    assert_eq!(asked(&mut client).await.get(7), 1);
    let held = TextWriter::new(9).append("nobody else has it");
    client.send(&sync::step2(&held)).await;
    assert_eq!(client.update().await, Bytes::from(TextWriter::new(7).append("x")), "again: it changes nothing");
    assert_eq!(client.update().await, held);
    assert_eq!(ids(&rig, &doc).inserts.id_count(), 19);
}

/// A log that cannot be looked at, and then a room that cannot be loaded: neither is taken for "nothing is lost".
#[actix::test]
async fn failures_on_the_way_are_tried_again() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut client, _), mut writer) = (rig.join("doc").await, TextWriter::new(7));
    write(&mut client, &mut writer, "lost").await;
    rig.log.lose_everything();
    rig.log.fail_at("read");
    rig.log.suspect(&doc);
    rig.docs.fail_reads(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(updates(&rig, &doc).is_empty());
    rig.docs.fail_reads(false);
    rig.until("it is back", |rig| updates(rig, &doc).len() == 1).await;
    rig.log.lose_everything();
    rig.log.fail_at("append");
    rig.log.suspect(&doc);
    rig.until("it is back again", |rig| updates(rig, &doc).len() == 1).await;
    assert_eq!(rig.census().await.rooms_started, 1);
}

/// Nobody is told of a restart while no tail is open, so that a tail that is opened anew is a suspicion by itself.
#[actix::test]
async fn a_tail_that_is_opened_anew_has_rooms_look() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let ((mut client, _), mut writer) = (rig.join("doc").await, TextWriter::new(7));
    for end in ["fail", "panic"] {
        write(&mut client, &mut writer, "lost").await;
        rig.log.lose(&doc, 1);
        if end == "fail" {
            rig.log.fail_at("tail")
        } else {
            rig.log.panic_at("tail")
        }
        rig.until(end, |rig| ids(rig, &doc).inserts.id_count() == writer.clock()).await;
    }
}

#[actix::test]
async fn who_is_here_is_announced_again() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let (mut client, _) = rig.join("doc").await;
    let here = awareness::encode(&[awareness::Entry { client: 5, clock: 3, state: "{}" }]);
    client.send(&sync::awareness(&here)).await;
    rig.until("it is announced", |rig| rig.log.entries(&doc).len() == 1).await;
    settle().await;
    rig.log.lose_everything();
    rig.log.suspect(&doc);
    rig.until("it is announced again", |rig| rig.log.entries(&doc).len() == 1).await;
    let Ok(StreamMessage::Awareness { update, .. }) = StreamMessage::decode(&rig.log.entries(&doc)[0].1) else { panic!() };
    assert_eq!(update, here);
}

/// The log is rewound while many nodes and clients go on; whoever has a room brings the same, which changes nothing (I-7).
#[actix::test]
async fn nodes_that_share_a_room_all_bring_it_back() {
    tokio::time::pause();
    let (rig, doc) = (Rig::new(), room("doc"));
    let other = rig.beside();
    let ((mut here, _), (mut there, _)) = (rig.join("doc").await, other.join("doc").await);
    let (mut ann, mut bob) = (TextWriter::new(7), TextWriter::new(9));
    write(&mut here, &mut ann, "ann").await;
    write(&mut there, &mut bob, "bob").await;
    settle().await;
    rig.log.lose_everything();
    rig.log.suspect(&doc);
    settle().await;
    assert_eq!(ids(&rig, &doc).inserts.id_count(), 6);
    write(&mut here, &mut ann, "!").await;
    let (_, answer) = rig.beside().join("doc").await;
    assert_eq!(yhub_content::content_ids(&answer).unwrap().inserts.id_count(), 7);
}
