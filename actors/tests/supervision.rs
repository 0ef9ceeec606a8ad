//! Who comes back after a panic, and what the others notice of it: nothing but a pause.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Client, Rig, Settings, room};
use yhub_testkit::TextWriter;

/// Writes and waits for the echo, so many times.
async fn write(client: &mut Client, writer: &mut TextWriter, count: usize) -> Vec<Bytes> {
    let mut written = Vec::new();
    for _ in 0..count {
        let update = writer.append("x");
        client.write(&update).await;
        written.push(Bytes::from(update));
    }
    written
}

async fn updates(client: &mut Client, count: usize) -> Vec<Bytes> {
    let mut got = Vec::new();
    while got.len() < count {
        got.push(client.update().await);
    }
    got
}

/// Every room of a reader that panicked goes on where it was.
#[actix::test]
async fn a_stream_reader_that_panicked_comes_back_and_rooms_lose_nothing() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut clients = Vec::new();
    for docid in ["a", "b"] {
        clients.push((rig.join(docid).await.0, rig.join(docid).await.0, TextWriter::new(7)));
    }
    for round in 0..3 {
        for (author, reader, writer) in &mut clients {
            let written = write(author, writer, 3).await;
            assert_eq!(updates(reader, 3).await, written, "round {round}");
            assert_eq!(updates(author, 3).await, written, "round {round}");
        }
        rig.log.panic_at("tail");
        for (author, reader, writer) in &mut clients {
            let written = write(author, writer, 5).await;
            assert_eq!(updates(reader, 5).await, written, "round {round}: in order, each once");
            assert_eq!(updates(author, 5).await, written, "round {round}");
        }
        assert_eq!(rig.log.calls("open tail"), round + 2, "a new tail after each panic");
    }
    let census = rig.census().await;
    assert_eq!((census.rooms, census.rooms_started), (2, 2), "no room was started anew");
}

#[actix::test]
async fn a_tail_that_fails_is_opened_anew_and_resumes() {
    tokio::time::pause();
    let rig = Rig::new();
    let ((mut author, _), mut writer) = (rig.join("a").await, TextWriter::new(7));
    for round in 0..4 {
        // In the same millisecond as what follows: the next clock is the very next one.
        let written = write(&mut author, &mut writer, 1).await;
        assert_eq!(updates(&mut author, 1).await, written, "round {round}");
        rig.log.fail_at("tail");
        if round == 3 {
            rig.log.fail_at("open tail");
        }
        let written = write(&mut author, &mut writer, 4).await;
        assert_eq!(updates(&mut author, 4).await, written, "round {round}");
    }
    assert_eq!(rig.log.calls("open tail"), 6);
}

#[actix::test]
async fn a_compactor_that_panicked_comes_back() {
    let rig = Rig::with(Settings { concurrency: 2, ..Settings::default() });
    for (round, method) in ["claim", "complete", "claim"].into_iter().enumerate() {
        rig.log.panic_at(method);
        let docid = format!("doc-{round}");
        let (mut author, _) = rig.join(&docid).await;
        let update = TextWriter::new(7).append("x");
        author.write(&update).await;
        assert_eq!(author.update().await, update);
        let room = room(&docid);
        rig.until("the room is compacted", |rig| rig.docs.row_count(&room) == 1).await;
    }
}

#[actix::test]
async fn a_lease_keeper_that_panicked_comes_back() {
    let lease = Duration::from_millis(300);
    let rig = Rig::with(Settings { concurrency: 1, lease, ..Settings::default() });
    rig.docs.hang();
    rig.log.panic_at("renew");
    let (mut author, _) = rig.join("doc").await;
    author.write(&TextWriter::new(7).append("x")).await;
    // The first one dies at its first renewal; another renews later.
    rig.until("leases are renewed again", |rig| rig.log.calls("renew") > 3).await;
}

/// A room in which something panics closes its sessions with 1011; who comes back finds a fresh one with everything in it.
#[actix::test]
async fn a_room_that_panicked_is_started_anew_by_the_next_join() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut writer = TextWriter::new(7);
    let mut others = (rig.join("other").await.0, TextWriter::new(9));
    for round in 0..3u64 {
        let (mut author, answer) = rig.join("doc").await;
        let held = yhub_content::content_ids(&answer).unwrap().inserts.id_count();
        assert_eq!(held, round, "what was accepted before the panic is there");
        let (mut reader, _) = rig.join("doc").await;
        let written = write(&mut author, &mut writer, 1).await;
        assert_eq!(updates(&mut reader, 1).await, written);
        rig.log.panic_at("append");
        author.write(&TextWriter::new(100 + round).append("lost, and nobody saw it")).await;
        assert_eq!((author.closed().await, reader.closed().await), (1011, 1011), "round {round}");
        let written = write(&mut others.0, &mut others.1, 1).await;
        assert_eq!(updates(&mut others.0, 1).await, written, "another room goes on");
    }
    assert_eq!(rig.census().await.rooms_started, 4);
}
