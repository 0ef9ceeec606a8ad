//! Sessions over connections in memory: order, the closing handshake, clients that stop reading.

mod support;

use std::time::Duration;

use support::{Client, Got, Rig};
use tokio::io::AsyncWriteExt;
use yhub_core::SessionLimits;
use yhub_testkit::TextWriter;

/// A long update is looked through on another thread; what the client sends behind it waits its turn.
#[actix::test]
async fn order_is_kept_around_a_long_update() {
    let rig = Rig::new();
    let (author, _) = rig.join("doc").await;
    let (mut reader, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    let mut written = Vec::new();
    let mut bytes = Vec::new();
    for round in 0..30 {
        let text = if round % 3 == 1 { "long ".repeat(20_000) } else { "short".into() };
        let update = writer.append(&text);
        bytes.extend_from_slice(&Client::frame(&yhub_encoding::sync::update(&update)));
        written.push(update);
    }
    // All at once, as a client does that comes back with a day's work; and both ends read while they write.
    let (mut pipe_in, mut pipe_out) = tokio::io::split(author.pipe);
    let sender = tokio::task::spawn_local(async move { pipe_out.write_all(&bytes).await.map(|()| pipe_out) });
    let drain = tokio::task::spawn_local(async move { tokio::io::copy(&mut pipe_in, &mut tokio::io::sink()).await });
    for (at, update) in written.iter().enumerate() {
        let got = reader.update().await;
        assert!(got == update[..], "update {at} of {} bytes comes as one of {}", update.len(), got.len());
    }
    drop(sender.await.unwrap().unwrap());
    drain.abort();
}

#[actix::test]
async fn a_client_that_closes_is_answered_and_let_go() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    assert_eq!(rig.node.open_sessions(), 1);
    let mut writer = TextWriter::new(7);
    let update = writer.append("said before the end");
    client.write(&update).await;
    client.send_close().await;
    assert_eq!(client.closed().await, 1000);
    drop(client);
    rig.until("the session is gone", |rig| rig.node.open_sessions() == 0).await;
    assert_eq!(rig.join("doc").await.1, update, "what was read before the close counts");
}

/// A connection that takes nothing any more may still hold what was sent over it: reading ends a session, not writing.
#[actix::test]
async fn the_last_words_of_a_client_that_is_gone_count() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut hasty = rig.connect_through("doc", 4_096);
    hasty.sync().await;
    let (mut author, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    // So much waits for it that its session is writing when it goes.
    for _ in 0..10 {
        let update = writer.append(&"x".repeat(1_000));
        author.write(&update).await;
        assert_eq!(author.update().await, update);
    }
    let goodbye = TextWriter::new(8).append("goodbye");
    hasty.write(&goodbye).await;
    drop(hasty);
    assert_eq!(author.update().await, goodbye);
    rig.until("the session is gone", |rig| rig.node.open_sessions() == 1).await;
}

/// The close frame is out and the client neither answers nor ends: it is cut off.
#[actix::test]
async fn a_closing_handshake_takes_a_few_seconds_at_most() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    client.send(&[0, 2, 200]).await;
    assert_eq!(client.closed().await, 4400);
    assert_eq!(rig.node.open_sessions(), 1, "it waits for the client");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(rig.node.open_sessions(), 0);
    drop(client);
}

/// A client that stops reading costs its bound, then its place; the room and the others go on.
#[actix::test]
async fn a_client_that_stops_reading_is_let_go() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut stalled = rig.connect_through("doc", 4_096);
    stalled.sync().await;
    let (mut author, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    for _ in 0..10 {
        let update = writer.append(&"x".repeat(1_000));
        author.write(&update).await;
        assert_eq!(author.update().await, update);
    }
    assert_eq!(rig.node.open_sessions(), 2);
    tokio::time::sleep(SessionLimits::default().stall_timeout / 2).await;
    assert_eq!(rig.node.open_sessions(), 2, "it may yet read");
    tokio::time::sleep(SessionLimits::default().stall_timeout).await;
    assert_eq!(rig.node.open_sessions(), 1, "its place is free although it still reads nothing");
    let update = writer.append("y");
    author.write(&update).await;
    assert_eq!(author.update().await, update);
    drop(stalled);
}

/// More waits for a client than may: it is closed with 1013 as soon as it reads again, and never skipped.
#[actix::test]
async fn a_client_too_far_behind_is_told_so() {
    tokio::time::pause();
    let session_limits = SessionLimits { outbox_bytes: 20_000, ..SessionLimits::default() };
    let rig = Rig::with(support::Settings { session_limits, ..Default::default() });
    let mut slow = rig.connect_through("doc", 4_096);
    slow.sync().await;
    let (mut author, _) = rig.join("doc").await;
    let mut writer = TextWriter::new(7);
    let mut written = Vec::new();
    for _ in 0..60 {
        let update = writer.append(&"x".repeat(1_000));
        author.write(&update).await;
        assert_eq!(author.update().await, update);
        written.push(update);
    }
    // What it still gets is the start, without a hole; then the reason.
    let mut got = 0;
    loop {
        match slow.next().await {
            Got::Update(update) => {
                assert_eq!(update, written[got][..], "none is skipped");
                got += 1;
            }
            Got::Close(code) => break assert_eq!(code, 1013),
            Got::End => panic!("it ended without a word"),
            _ => {}
        }
    }
    assert!(got < written.len(), "it was sent everything");
}

#[actix::test]
async fn no_open_link_is_silent_for_long() {
    tokio::time::pause();
    let rig = Rig::new();
    let (mut client, _) = rig.join("doc").await;
    for _ in 0..5 {
        let before = tokio::time::Instant::now();
        loop {
            match client.next().await {
                Got::Ping => break,
                got @ (Got::Close(_) | Got::End) => panic!("{got:?}"),
                _ => {}
            }
        }
        assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
        client.send_pong().await;
    }
    // From now on it answers nothing: it is taken for dead.
    let before = tokio::time::Instant::now();
    assert_eq!(client.closed().await, 1013);
    assert!(before.elapsed() >= SessionLimits::default().idle_timeout - Duration::from_secs(13), "{:?}", before.elapsed());
}
