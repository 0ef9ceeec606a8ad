//! Many at once come to one room: one room is started and one load done for all of them.

use yhub_store::faults::{DocMethod, Fault};
use yhub_testkit::{Oracle, TestClient, TextWriter, until};

use crate::support::{Stage, TestHub, path};

on_all!(a_thousand_joins_at_once_start_one_room_and_one_load, a_room_is_loaded_anew_after_it_was_idle);

const JOINS: usize = 1_000;

async fn a_thousand_joins_at_once_start_one_room_and_one_load(stage: Stage) {
    let hub = TestHub::start(stage).await;
    // Nobody is answered before all are there: so no join can find the room loaded already.
    hub.doc_plan.on_every(DocMethod::Read, Fault::Hang);
    let joins: Vec<_> = (0..JOINS)
        .map(|_| {
            let addr = hub.addr();
            tokio::spawn(async move {
                let mut client = TestClient::connect(addr, &path("crowd")).await;
                let state = client.sync().await;
                (client, state)
            })
        })
        .collect();
    until("all sessions to be open", async || (hub.open_sessions() == JOINS).then_some(())).await;
    hub.doc_plan.clear();
    hub.doc_plan.release();
    let mut clients = Vec::new();
    for join in joins {
        let (client, state) = join.await.unwrap();
        assert_eq!(Oracle::of([&state]).text(), "");
        clients.push(client);
    }
    let census = hub.census().await;
    // One on each node.
    let nodes = hub.node_count();
    assert_eq!((census.rooms, census.rooms_started), (nodes, nodes as u64));
    assert_eq!(hub.doc_plan.calls(DocMethod::Read), nodes as u64, "one load for {JOINS} joins");

    // All of them are in that one room.
    let update = TextWriter::new(7).append("hello");
    clients[0].send_update(&update).await;
    for client in &mut clients {
        client.shown(&update).await;
    }
}

async fn a_room_is_loaded_anew_after_it_was_idle(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    for (time, word) in ["one ", "two ", "three"].iter().enumerate() {
        let mut client = hub.client("idle").await;
        let before = client.sync().await;
        assert_eq!(Oracle::of([&before]).text(), ["", "one ", "one two "][time]);
        let update = writer.append(word);
        client.send_update(&update).await;
        client.shown(&update).await;
        drop(client);
        until("the room to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
        assert_eq!(hub.census().await.rooms_started, time as u64 + 1);
    }
}
