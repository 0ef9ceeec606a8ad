//! No open link is silent, and a dead one does not stay open. With short times; stock clients wait through the real ones.

use std::time::Duration;

use tokio::time::Instant;
use yhub::config::{Everyone, Millis};
use yhub_encoding::sync::{EMPTY_AWARENESS_FRAME, Message};
use yhub_testkit::{until, within};

use crate::support::{Stage, TestHub};

on_one_node!(no_open_link_is_silent, a_peer_that_shows_no_sign_of_life_is_closed);

const KEEPALIVE: Duration = Duration::from_millis(200);

/// A machine that is busy with other tests may be so late.
const SLACK: Duration = Duration::from_millis(1_500);

async fn no_open_link_is_silent(stage: Stage) {
    for everyone in [Everyone::MayWrite, Everyone::MayRead] {
        let change = |config: &mut yhub::Config| {
            config.server.keepalive_ms = Millis::new(KEEPALIVE.as_millis() as u64);
            config.auth.everyone = Some(everyone);
        };
        let hub = TestHub::with(stage, change).await;
        let mut client = hub.client("silence").await;
        client.sync().await;
        client.settled().await;
        for _ in 0..10 {
            let start = Instant::now();
            let message = client.next().await.expect("the link stays open");
            // A ping would not do: clients count messages only.
            assert_eq!(message, &EMPTY_AWARENESS_FRAME[..], "it says nothing");
            assert!(start.elapsed() < KEEPALIVE + SLACK, "silent for {:?}", start.elapsed());
        }
    }
}

async fn a_peer_that_shows_no_sign_of_life_is_closed(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.keepalive_ms = Millis::new(100);
        config.server.idle_timeout_ms = Millis::new(3_000);
    };
    let hub = TestHub::with(stage, change).await;
    let (mut living, mut dead) = (hub.client("dead").await, hub.client("dead").await);
    dead.sync().await;
    dead.send_awareness(&[(7, 1, "{}")]).await;
    living.presence(7, "{}").await;
    dead.stop_answering_pings();
    let start = Instant::now();
    let ended = async {
        let closed = dead.closed().await;
        (closed.code, start.elapsed())
    };
    // Meanwhile the living one answers pings.
    let living_sees = living.until("the dead one to be gone", |message| match message {
        Message::Awareness(update) if update != [0] => Some(()),
        _ => None,
    });
    let ((code, after), ()) = within("the dead peer to be closed", async { tokio::join!(ended, living_sees) }).await;
    assert_eq!(code, Some(1013));
    assert!(after >= Duration::from_millis(2_500), "not before its time: {after:?}");
    // It has lived as long as the dead one by now, and goes on.
    living.settled().await;
    drop(dead);
    until("only the living one to be there", async || (hub.open_sessions() == 1).then_some(())).await;
}
