//! What a client is read at, and what it may leave unfinished: over connections in memory, at paused time.

mod support;

use std::{sync::Arc, time::Duration};

use actix_http::ws::{OpCode, Parser};
use bytes::BytesMut;
use support::{Client, Rig, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use yhub_actors::OpenPass;
use yhub_core::{
    AnswerMemory,
    access::Level,
    limiting::{Bound, Limiting, PaceRates, Quota, Quotas, Rate},
};
use yhub_encoding::sync;
use yhub_testkit::TextWriter;

fn frame(code: OpCode, finished: bool, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    Parser::write_message(&mut out, payload, code, finished, true);
    out
}

/// The bytes that one write of a client may be without its being read meanwhile.
const PIPE_BYTES: usize = 1 << 10;

/// A hub whose sessions are held to `session`, and to nothing else.
fn paced(session: PaceRates) -> Rig {
    let quotas = Quotas::new(Quota { session, ..Quota::default() }, []);
    Rig::with(Settings { limiting: Limiting { quotas, ..Limiting::default() }, ..Settings::default() })
}

/// How long it takes until all of `bytes` are taken from the client.
async fn taken_within(client: &mut Client, bytes: &[u8]) -> Duration {
    let began = tokio::time::Instant::now();
    client.pipe.write_all(bytes).await.expect("the connection stands");
    began.elapsed()
}

#[actix::test]
async fn what_never_ends_is_read_no_faster_than_what_does() {
    tokio::time::pause();
    let rig = paced(PaceRates { messages: Rate::NONE, bytes: Rate::per_second(10_000, 1) });
    let mut client = rig.connect_through("doc", PIPE_BYTES);
    let whole = frame(OpCode::Binary, true, &[0; 200_000]);
    // A read takes what is there and is paid for behind it.
    let within = taken_within(&mut client, &whole[..100_000]).await;
    assert!(within >= Duration::from_secs(8), "100 kB at 10 kB a second take {within:?}");
    assert!(rig.node.limiting.tally.of(Bound::SessionBytes) > 0);
}

#[actix::test]
async fn frames_that_say_nothing_are_messages_all_the_same() {
    for (what, first, more) in [
        ("pongs", frame(OpCode::Pong, true, b""), frame(OpCode::Pong, true, b"")),
        ("pings", frame(OpCode::Ping, true, b""), frame(OpCode::Ping, true, b"")),
        ("empty fragments", frame(OpCode::Binary, false, b""), frame(OpCode::Continue, false, b"")),
    ] {
        tokio::time::pause();
        let rig = paced(PaceRates { messages: Rate::per_second(100, 1), bytes: Rate::NONE });
        let mut client = rig.connect_through("doc", PIPE_BYTES);
        let mut bytes = first;
        (0..2_000).for_each(|_| bytes.extend_from_slice(&more));
        let (_answers, mut sends) = tokio::io::split(std::mem::replace(&mut client.pipe, tokio::io::duplex(1).0));
        let began = tokio::time::Instant::now();
        sends.write_all(&bytes).await.expect("the connection stands");
        let within = began.elapsed();
        assert!(within >= Duration::from_secs(15), "2,000 {what} at 100 a second take {within:?}");
        tokio::time::resume();
    }
}

#[actix::test]
async fn unfinished_messages_hold_no_more_than_there_is() {
    tokio::time::pause();
    let limiting = Limiting { unfinished_bytes: 8 << 20, unfinished_bytes_of_address: 8 << 20, ..Limiting::default() };
    let rig = Rig::with(Settings { limiting, ..Settings::default() });
    // What readers write is read, and nothing.
    let reader = || rig.connect_with(rig.params("doc", "ann", Level::Read, Arc::new(OpenPass(Level::Read))), 1 << 16);
    let update = sync::update(&vec![0; 5 << 20]);
    let long = frame(OpCode::Binary, true, &update);
    let most = &long[..long.len() - 1];
    let mut first = reader();
    first.pipe.write_all(most).await.expect("the connection stands");
    let mut second = reader();
    // Refused in the middle of it: what comes after the close is not understood.
    second.pipe.write_all(&most[..(2 << 20) + (128 << 10)]).await.expect("a part of that is taken");
    assert_eq!(second.closed().await, 1013);
    assert_eq!(rig.node.limiting.tally.of(Bound::Unfinished), 1);
    // What is whole, or gone, is not counted any more.
    drop((first, second));
    rig.until("they are gone", |rig| rig.node.open_sessions() == 0).await;
    let mut third = reader();
    for _ in 0..4 {
        third.pipe.write_all(&long).await.expect("the connection stands");
    }
    third.send_close().await;
    assert_eq!(third.closed().await, 1000);
    assert_eq!(rig.node.limiting.tally.of(Bound::Unfinished), 1);
}

/// A client that takes nothing keeps alive what was made for it. Where that is all there is room for, it is let go of, and whoever waits
/// for a document gets it.
#[actix::test]
async fn who_takes_nothing_does_not_keep_others_from_their_documents() {
    let answers = AnswerMemory::new(4 << 20);
    let rig =
        Rig::with(Settings { limiting: Limiting { answers: answers.clone(), ..Limiting::default() }, ..Settings::default() });
    let mut text = TextWriter::new(7);
    let (mut author, _) = rig.join("doc").await;
    author.write(&text.append(&"long ".repeat(600_000))).await;
    author.update().await;
    let (mut keeps_up, whole) = rig.join("doc").await;
    assert!(whole.len() > 3_000_000);
    // Takes a little now and then, so that it is not stalled.
    let mut slow = rig.connect_through("doc", 1 << 10);
    slow.send(&sync::step1(&[0])).await;
    let mut few = [0; 100];
    slow.pipe.read_exact(&mut few).await.expect("the answer begins");
    // Not while the pool computes: paused time would not wait for it.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.node.open_sessions(), 3, "nobody is let go of while there is room");
    tokio::time::resume();
    // The next answer is of a document that is longer by a word: a second piece of memory.
    author.write(&text.append("and more")).await;
    author.update().await;
    let (mut late, whole) = rig.join("doc").await;
    assert!(answers.is_short(), "{} bytes are held", answers.held_bytes());
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(2)).await;
    slow.pipe.read_exact(&mut few).await.expect("it takes a little");
    rig.until("the slow one is gone", |rig| rig.node.open_sessions() == 3).await;
    assert_eq!(rig.node.limiting.tally.of(Bound::SyncAnswers), 1);
    rig.until("what it held is gone", |_| !answers.is_short()).await;
    tokio::time::resume();
    // The others have lost nothing.
    let update = text.append("and the end");
    author.write(&update).await;
    for client in [&mut author, &mut keeps_up, &mut late] {
        assert_eq!(last_update(client, &update).await, update[..]);
    }
    let mut again = rig.join("doc").await;
    assert!(again.1.len() > whole.len());
    again.0.send_close().await;
}

/// An answer goes through the whole document, whatever little it says: who asks again and again is answered at a rate.
#[actix::test]
async fn questions_about_a_long_document_have_their_price() {
    let rig = paced(PaceRates { messages: Rate::NONE, bytes: Rate::per_second(100_000, 40) });
    let mut text = TextWriter::new(7);
    let (mut author, _) = rig.join("doc").await;
    author.write(&text.append(&"long ".repeat(320_000))).await;
    author.update().await;
    // A 16th of 1.6 MB each; what was kept is used up soon.
    let mut asks = rig.connect("doc");
    asks.sync().await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        asks.sync().await;
    }
    let within = began.elapsed();
    assert!(within >= Duration::from_secs(50), "100 answers about 1.6 MB at 100 kB a second take {within:?}");
}

/// While there is no room nothing long is made, and who waits for it in vain is told to come again.
#[actix::test]
async fn nothing_long_is_made_while_there_is_no_room() {
    tokio::time::pause();
    let answers = AnswerMemory::new(4 << 20);
    let rig =
        Rig::with(Settings { limiting: Limiting { answers: answers.clone(), ..Limiting::default() }, ..Settings::default() });
    let held = answers.count(vec![0; 5 << 20].into());
    let mut waits = rig.connect("doc");
    waits.send(&sync::step1(&[0])).await;
    assert_eq!(waits.closed().await, 1013);
    assert_eq!(rig.node.limiting.tally.of(Bound::SyncAnswers), 1);
    let mut patient = rig.connect("doc");
    patient.send(&sync::step1(&[0])).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(held);
    patient.sync().await;
}

/// Those who are one share a rate: who has little to say comes after as many turns as there are others who have something, however much
/// that is.
#[actix::test]
async fn who_shares_a_rate_goes_in_turn() {
    tokio::time::pause();
    let address = PaceRates { messages: Rate::NONE, bytes: Rate::per_second(PIPE_BYTES, 1) };
    let rig = Rig::with(Settings { limiting: Limiting { address, ..Limiting::default() }, ..Settings::default() });
    let mut quiet = rig.connect("doc");
    quiet.sync().await;
    let mut loud = JoinSet::new();
    for at in 0..10 {
        // What readers write is read, and nothing.
        let params = rig.params(&format!("loud-{at}"), "ann", Level::Read, Arc::new(OpenPass(Level::Read)));
        let mut client = rig.connect_with(params, PIPE_BYTES);
        let message = frame(OpCode::Binary, true, &sync::update(&[0; 4_000]));
        loud.spawn_local(async move { while client.pipe.write_all(&message).await.is_ok() {} });
    }
    // What was saved up is used up.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut text = TextWriter::new(7);
    for _ in 0..5 {
        let began = tokio::time::Instant::now();
        let update = text.append("x");
        quiet.write(&update).await;
        assert_eq!(quiet.update().await, update);
        let within = began.elapsed();
        // A turn each, of a kibibyte or a message, and one in which its own beginning is read.
        assert!(within <= Duration::from_secs(30), "a word among ten who are loud takes {within:?}");
    }
}

/// Who is told to go, and goes on sending, is not read for that.
#[actix::test]
async fn who_goes_on_sending_after_the_end_is_left_alone() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut client = rig.connect_through("doc", PIPE_BYTES);
    let no_binary = frame(OpCode::Text, true, b"?");
    client.pipe.write_all(&no_binary).await.expect("the connection stands");
    let mut taken_bytes = 0;
    while let Ok(size_bytes) = client.pipe.write(&[0; PIPE_BYTES]).await {
        taken_bytes += size_bytes;
        assert!(taken_bytes <= 512 << 10, "more and more is read for nothing");
    }
    assert!(taken_bytes > 128 << 10, "what is under way is taken, so that the client can read why: {taken_bytes}");
    assert_eq!(client.closed().await, 4400);
}

/// The next update, which is to be `expected`, past those before it.
async fn last_update(client: &mut Client, expected: &[u8]) -> bytes::Bytes {
    loop {
        let update = client.update().await;
        if update == expected {
            return update;
        }
    }
}
