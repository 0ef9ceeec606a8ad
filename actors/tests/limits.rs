//! What a client is read at, and what it may leave unfinished: over connections in memory, at paused time.

mod support;

use std::{sync::Arc, time::Duration};

use actix_http::ws::{OpCode, Parser};
use bytes::BytesMut;
use support::{Client, Rig, Settings};
use tokio::io::AsyncWriteExt;
use yhub_actors::OpenPass;
use yhub_core::{
    access::Level,
    limiting::{Bound, Limiting, PaceRates, Quota, Quotas, Rate},
};

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
    let update = yhub_encoding::sync::update(&vec![0; 5 << 20]);
    let long = frame(OpCode::Binary, true, &update);
    let most = &long[..long.len() - 1];
    let mut first = reader();
    first.pipe.write_all(most).await.expect("the connection stands");
    let mut second = reader();
    // Refused in the middle of it: what is left is not understood.
    second.pipe.write_all(most).await.expect("what comes after the close is read, too");
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
