//! Who is there: nobody speaks or leaves for another, and nobody stays who has gone.

use std::time::Duration;

use yhub::config::Millis;
use yhub_encoding::sync;
use yhub_testkit::{TestClient, client::awareness_of};

use crate::support::{Stage, TestHub};

on_all!(
    presence_reaches_everyone_and_dies_with_its_session,
    states_that_come_fast_are_passed_on_together,
    a_repetition_does_not_bring_the_dead_back,
    a_query_is_answered_with_who_is_there,
    a_client_comes_back_under_its_id;
    // Who has said what is known to each node by itself: another node takes a client id for one that has moved to it.
    on_one_node: nobody_speaks_or_leaves_for_another
);

/// How a session of a client ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its socket is reset, as a broken network does.
    Reset,
    /// Its socket is closed without a close frame.
    Close,
    /// It sends something that the hub closes it for.
    Refused,
}

async fn joined(hub: &TestHub, docid: &str) -> TestClient {
    let mut client = hub.client(docid).await;
    client.sync().await;
    client
}

async fn presence_reaches_everyone_and_dies_with_its_session(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut watcher = joined(&hub, "presence").await;
    for (id, end) in [(11, End::Reset), (12, End::Close), (13, End::Refused)] {
        let mut guest = joined(&hub, "presence").await;
        guest.send_awareness(&[(id, 1, r#"{"name":"guest"}"#)]).await;
        assert_eq!(watcher.presence(id, r#"{"name":"guest"}"#).await, 1);
        // Everything is echoed.
        guest.presence(id, r#"{"name":"guest"}"#).await;
        guest.send_awareness(&[(id, 2, r#"{"name":"guest","at":2}"#)]).await;
        assert_eq!(watcher.presence(id, r#"{"name":"guest","at":2}"#).await, 2);
        match end {
            End::Reset => guest.reset(),
            End::Close => drop(guest),
            End::Refused => {
                guest.send(&[0]).await;
                assert_eq!(guest.closed().await.code, Some(4400));
            }
        }
        assert_eq!(watcher.presence(id, "null").await, 3, "{end:?}: with a clock that tables take over");
        // Who joins later does not see it as present.
        let mut late = hub.client("presence").await;
        late.sync().await;
        for message in late.settled().await {
            let message = sync::Message::decode(&message).unwrap();
            for (client, _, state) in awareness_of(message).unwrap_or_default() {
                assert!(client != id || state == "null", "{end:?}: {id} is still {state}");
            }
        }
    }
}

async fn nobody_speaks_or_leaves_for_another(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut watcher = joined(&hub, "owners").await;
    let mut ann = joined(&hub, "owners").await;
    let mut eve = joined(&hub, "owners").await;
    ann.send_awareness(&[(7, 1, r#"{"name":"ann"}"#)]).await;
    watcher.presence(7, r#"{"name":"ann"}"#).await;
    eve.presence(7, r#"{"name":"ann"}"#).await;
    // Eve says that ann is somebody else, and that she has left; and something true of herself.
    eve.send_awareness(&[(7, 50, r#"{"name":"eve as ann"}"#)]).await;
    eve.send_awareness(&[(7, 60, "null"), (9, 1, r#"{"name":"eve"}"#)]).await;
    let seen = watcher.awareness().await;
    assert_eq!(seen, [(9, 1, r#"{"name":"eve"}"#.to_owned())], "of what eve says only what is about herself");
    // Nor does ann leave with eve.
    drop(eve);
    assert_eq!(watcher.awareness().await, [(9, 2, "null".to_owned())]);
    ann.send_awareness(&[(7, 2, r#"{"name":"ann","still":"there"}"#)]).await;
    assert_eq!(watcher.awareness().await, [(7, 2, r#"{"name":"ann","still":"there"}"#.to_owned())]);
}

async fn states_that_come_fast_are_passed_on_together(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.room.awareness_coalesce_ms = Millis::new(200)).await;
    let mut watcher = joined(&hub, "fast").await;
    let mut writers = Vec::new();
    for _ in 0..4 {
        writers.push(joined(&hub, "fast").await);
    }
    const STATES: u64 = 100;
    for clock in 1..=STATES {
        for (id, writer) in writers.iter_mut().enumerate() {
            writer.send_awareness(&[(id as u64 + 1, clock, &format!("{clock}"))]).await;
        }
    }
    let (mut messages, mut last) = (0, [0u64; 4]);
    while last != [STATES; 4] {
        messages += 1;
        for (client, clock, state) in watcher.awareness().await {
            let last = &mut last[client as usize - 1];
            assert!(clock > *last, "the states of one client come in order");
            assert_eq!(state, clock.to_string());
            *last = clock;
        }
    }
    assert!(messages < STATES, "{messages} messages for {STATES} states of each of four clients");
}

async fn a_repetition_does_not_bring_the_dead_back(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut watcher = joined(&hub, "dead").await;
    let mut parrot = joined(&hub, "dead").await;
    let mut guest = joined(&hub, "dead").await;
    guest.send_awareness(&[(7, 5, "{}")]).await;
    parrot.presence(7, "{}").await;
    watcher.presence(7, "{}").await;
    drop(guest);
    watcher.presence(7, "null").await;
    // Clients of the usual libraries repeat what they learned of others, also after these have left.
    parrot.send_awareness(&[(7, 5, "{}")]).await;
    assert_eq!(parrot.presence(7, "null").await, 6, "the parrot is told");
    parrot.send_awareness(&[(8, 1, "{}")]).await;
    assert_eq!(watcher.awareness().await, [(8, 1, "{}".to_owned())], "and nobody else hears of it");
    let mut late = hub.client("dead").await;
    late.sync().await;
    let seen = late.awareness().await;
    assert!(!seen.iter().any(|(client, _, state)| *client == 7 && state != "null"), "{seen:?}");
}

async fn a_query_is_answered_with_who_is_there(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut client = joined(&hub, "query").await;
    client.send_awareness(&[(7, 1, r#"{"a":1}"#)]).await;
    client.presence(7, r#"{"a":1}"#).await;
    let mut asking = joined(&hub, "query").await;
    asking.presence(7, r#"{"a":1}"#).await;
    for _ in 0..3 {
        asking.send(&sync::query_awareness()).await;
        asking.presence(7, r#"{"a":1}"#).await;
    }
    // Nobody else gets an answer that they did not ask for.
    assert_eq!(client.next_within(Duration::from_millis(200)).await, None);
}

async fn a_client_comes_back_under_its_id(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut watcher = joined(&hub, "back").await;
    for round in 0..5 {
        let mut guest = joined(&hub, "back").await;
        let (first, second) = (10 * round + 1, 10 * round + 2);
        guest.send_awareness(&[(7, first, "1")]).await;
        watcher.presence(7, "1").await;
        guest.send_awareness(&[(7, second, "2")]).await;
        watcher.presence(7, "2").await;
        guest.reset();
        assert_eq!(watcher.presence(7, "null").await, second + 1);
    }
}
