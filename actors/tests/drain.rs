//! A node that stops sends its sessions away one after the other, and those that are still here go on.

mod support;

use std::time::Duration;

use support::{Client, Got, Rig, Settings, room};
use tokio::time::Instant;
use yhub_actors::{GetRoom, Shutdown};
use yhub_testkit::TextWriter;

const WINDOW: Duration = Duration::from_secs(10);

/// When each client was told to go, in whole hundreds of milliseconds since now.
async fn farewells(clients: Vec<Client>) -> Vec<u64> {
    let start = Instant::now();
    let leave = |mut client: Client| async move {
        assert_eq!(client.closed().await, 1013);
        start.elapsed().as_millis() as u64
    };
    let mut times = futures_util::future::join_all(clients.into_iter().map(leave)).await;
    times.sort_unstable();
    times
}

async fn joined(rig: &Rig, docids: impl Iterator<Item = String>) -> Vec<Client> {
    let mut clients = Vec::new();
    for docid in docids {
        clients.push(rig.join(&docid).await.0);
    }
    clients
}

fn assert_spread(times: &[u64], at_most_a_second: usize) {
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last <= WINDOW.as_millis() as u64 + 100, "{times:?}");
    for second in 0..10 {
        let count = times.iter().filter(|ms| **ms / 1_000 == second).count();
        assert!(count <= at_most_a_second, "{count} in second {second}: {times:?}");
    }
    assert!(first < 2_000 && last > 8_000, "{times:?}");
}

#[actix::test]
async fn one_room_is_not_closed_as_a_block() {
    tokio::time::pause();
    let rig = Rig::new();
    let clients = joined(&rig, (0..200).map(|_| "doc".into())).await;
    let registry = rig.registry.clone();
    let stopped = tokio::task::spawn_local(async move { registry.send(Shutdown { window: WINDOW, seed: Some(7) }).await });
    assert_spread(&farewells(clients).await, 25);
    stopped.await.unwrap().unwrap();
    assert_eq!(rig.census().await.rooms, 0);
}

#[actix::test]
async fn many_small_rooms_are_spread_too() {
    tokio::time::pause();
    let rig = Rig::new();
    let clients = joined(&rig, (0..200).map(|n| format!("doc-{n}"))).await;
    let registry = rig.registry.clone();
    let stopped = tokio::task::spawn_local(async move { registry.send(Shutdown { window: WINDOW, seed: Some(7) }).await });
    assert_spread(&farewells(clients).await, 40);
    stopped.await.unwrap().unwrap();
}

#[actix::test]
async fn who_is_still_here_goes_on_and_nobody_comes_in() {
    tokio::time::pause();
    let rig = Rig::new();
    let mut clients = joined(&rig, (0..20).map(|_| "doc".into())).await;
    // This one has asked for its room, and joins it when that is already stopping.
    let late = rig.registry.send(GetRoom(room("doc"))).await.unwrap();
    let registry = rig.registry.clone();
    let stopped = tokio::task::spawn_local(async move { registry.send(Shutdown { window: WINDOW, seed: Some(7) }).await });
    tokio::time::sleep(WINDOW / 2).await;
    assert!(!stopped.is_finished());
    for docid in ["doc", "another"] {
        assert_eq!(rig.connect(docid).closed().await, 1013);
    }
    assert!(late.unwrap().connected());
    let mut open = Vec::new();
    for mut client in clients.drain(..) {
        // The door is closed behind those who have gone.
        let gone = loop {
            match tokio::time::timeout(Duration::from_millis(1), client.next()).await {
                Ok(Got::Close(_) | Got::End) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        if !gone {
            open.push(client);
        }
    }
    assert!((5..15).contains(&open.len()), "{} are still here", open.len());
    let update = TextWriter::new(7).append("until the end");
    open[0].write(&update).await;
    for client in &mut open {
        assert_eq!(client.update().await, update);
    }
    farewells(open).await;
    stopped.await.unwrap().unwrap();
    assert_eq!(rig.log.entries(&room("doc")).len(), 1);
}

#[actix::test]
async fn claims_stop_at_once() {
    tokio::time::pause();
    let rig = Rig::with(Settings { concurrency: 1, ..Settings::default() });
    let _client = rig.join("doc").await;
    let registry = rig.registry.clone();
    let stopped = tokio::task::spawn_local(async move { registry.send(Shutdown::over(WINDOW)).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let claims = rig.log.calls("claim");
    tokio::time::sleep(WINDOW / 2).await;
    assert_eq!(rig.log.calls("claim"), claims);
    tokio::time::sleep(WINDOW).await;
    stopped.await.unwrap().unwrap();
}
