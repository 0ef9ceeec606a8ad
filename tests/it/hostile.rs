//! Hundreds of thousands of hostile messages against a running hub: it lives, its memory stays, nobody else notices, and
//! nothing unreadable is stored.
//!
//! For every message it is known beforehand whether it must close its session: the guard alone says so. `YHUB_HOSTILE_SEED`
//! and `YHUB_HOSTILE_MESSAGES` ask for other or more ones.

use std::{
    collections::BTreeSet,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use yhub::Stores;
use yhub_content as content;
use yhub_core::{AccessPolicy, Asset, Author, Intent, SessionCore, SessionLimits, Standing, access::Level, prepare_update};
use yhub_encoding::sync::Message;
use yhub_store::{AssetKind, AssetSelection};
use yhub_testkit::{Hostile, HubProcess, Oracle, TestClient, TextWriter, client::frame, hostile::BILLION_ENTRIES};

use crate::{
    ground::Ground,
    support::{Stage, entries, path, room, update_in},
};

const ATTACKERS: u64 = 8;
/// At most so many messages a connection, and so many a room.
const PER_CONNECTION: usize = 64;
const PER_ROOM: usize = 3_000;
const HEALTHY: &str = "healthy";
const MIB: u64 = 1 << 20;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Must this message close its session?
fn is_refused(message: &[u8]) -> bool {
    let limits = content::Limits::default();
    let author = Author { user: "anonymous".into(), custom: Vec::new() };
    let standing = Standing::new(Level::Write, None, 0, 0.0, AccessPolicy::default());
    match SessionCore::new(standing, 0).on_message(message, &SessionLimits::default(), &limits) {
        Ok(Intent::Update(update)) => prepare_update(update, &author, 0, &limits).is_err(),
        Ok(_) => false,
        Err(_) => true,
    }
}

#[derive(Default)]
struct Figures {
    messages: usize,
    connections: usize,
    refused: usize,
}

on_stage!(direct, Direct; hostile_messages_change_nothing);
on_stage!(full, Full; hostile_messages_change_nothing);

async fn hostile_messages_change_nothing(stage: Stage) {
    let seed = setting("YHUB_HOSTILE_SEED", 1);
    // What is refused does not reach the servers, so fewer are enough there.
    let messages = setting("YHUB_HOSTILE_MESSAGES", if stage.is_distributed() { 30_000 } else { 208_000 });
    println!("seed {seed}: {messages} messages of {ATTACKERS} attackers");
    let ground = Ground::of(stage).await;
    let launch = ground.launch().set("server.first_sync_ms", 5_000);
    // What was taken stays in the streams, to be looked at in the end; and it is folded into rows all the same.
    let launch = launch.set("stream.min_message_lifetime_ms", 3_600_000).set("worker.task_debounce_ms", 3_000);
    let mut hub = launch.start();
    let rooms = Arc::new(Mutex::new(BTreeSet::from([HEALTHY.to_owned()])));
    let over = Arc::new(AtomicBool::new(false));
    let healthy = tokio::spawn(write_in_turns(hub.addr(), over.clone()));
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|n| tokio::spawn(attack(hub.addr(), seed * 1_000 + n, (messages / ATTACKERS) as usize, rooms.clone())))
        .collect();
    let before = hub.rss_bytes();
    let mut most = before;
    while !attackers.iter().all(|attacker| attacker.is_finished()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        most = most.max(hub.rss_bytes());
    }
    let mut total = Figures::default();
    for attacker in attackers {
        let figures = attacker.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        total.messages += figures.messages;
        total.connections += figures.connections;
        total.refused += figures.refused;
    }
    over.store(true, Ordering::Relaxed);
    let (written, slowest) = healthy.await.unwrap();
    println!(
        "seed {seed}: {} messages over {} connections, {} of them refused; memory grew from {} to at most {} MiB; meanwhile two \
         healthy clients exchanged {written} updates, the slowest in {slowest:?}",
        total.messages,
        total.connections,
        total.refused,
        before / MIB,
        most / MIB,
    );
    assert!(total.messages as u64 >= messages && total.refused as u64 > messages / 208);
    assert!(most - before < 256 * MIB, "seed {seed}: memory jumped by {} MiB", (most - before) / MIB);
    assert!(written > 20, "seed {seed}: only {written} updates got through");
    assert!(hub.is_alive(), "seed {seed}: {}", hub.launch().log());
    let rooms = rooms.lock().unwrap().clone();
    look_into(hub, &ground, &rooms, messages).await;
}

/// Sends `count` messages. Each connection sends messages that must be taken, and then one that must not.
async fn attack(addr: std::net::SocketAddr, seed: u64, count: usize, rooms: Arc<Mutex<BTreeSet<String>>>) -> Figures {
    let mut hostile = Hostile::new(seed);
    let mut figures = Figures::default();
    while figures.messages < count {
        figures.connections += 1;
        if hostile.random().below(10) == 0 {
            // Below the messages: frames that are none.
            let mut client = TestClient::connect(addr, &path(HEALTHY)).await;
            let raw = hostile.raw();
            client.send_raw(&raw).await.unwrap();
            client.end_writing().await;
            let closed = client.closed().await;
            assert!(matches!(closed.code, None | Some(1000 | 4400 | 4413)), "seed {seed}: {closed:?} for {raw:02x?}");
            figures.messages += 1;
            continue;
        }
        let (docid, messages, refused) = match hostile.random().below(20) {
            // In the room of the healthy ones only what must not reach it.
            0 => (HEALTHY.to_owned(), vec![hostile.unreadable()], true),
            1 if figures.connections < 100 => (HEALTHY.to_owned(), vec![BILLION_ENTRIES.to_vec()], true),
            _ => {
                let mut messages = Vec::new();
                let mut refused = false;
                while !refused && messages.len() < PER_CONNECTION {
                    let message = hostile.message();
                    refused = is_refused(&message);
                    messages.push(message);
                }
                (format!("hostile-{seed}-{}", figures.messages / PER_ROOM), messages, refused)
            }
        };
        rooms.lock().unwrap().insert(docid.clone());
        let mut client = TestClient::connect(addr, &path(&docid)).await;
        let wire: Vec<u8> = messages.iter().flat_map(|message| frame(message).to_vec()).collect();
        client.send_raw(&wire).await.unwrap_or_else(|error| panic!("seed {seed}: {error} for {messages:02x?}"));
        if refused {
            let closed = client.closed().await;
            assert_eq!(closed.code, Some(4400), "seed {seed}: {} for {messages:02x?}", closed.reason);
            figures.refused += 1;
        } else {
            // It is still let in, and answered.
            client.send(&yhub_encoding::sync::step1(&[0])).await;
            loop {
                match client.next().await {
                    Ok(message) if matches!(Message::decode(&message), Ok(Message::SyncStep2(_))) => break,
                    Ok(_) => {}
                    Err(closed) => panic!("seed {seed}: closed with {closed:?} for {messages:02x?}"),
                }
            }
        }
        figures.messages += messages.len();
    }
    figures
}

/// Two clients write in turns, each after it has seen what the other wrote. How many updates that were, and how long the
/// slowest took.
async fn write_in_turns(addr: std::net::SocketAddr, over: Arc<AtomicBool>) -> (usize, Duration) {
    let mut clients = [TestClient::connect(addr, &path(HEALTHY)).await, TestClient::connect(addr, &path(HEALTHY)).await];
    let mut writers = [TextWriter::new(1), TextWriter::new(2)];
    for client in &mut clients {
        client.sync().await;
    }
    let (mut updates, mut slowest) = (Vec::new(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let turn = updates.len() % 2;
        let update = writers[turn].append(&format!("{} ", updates.len()));
        let start = Instant::now();
        clients[turn].send_update(&update).await;
        for client in &mut clients {
            client.shown(&update).await;
        }
        slowest = slowest.max(start.elapsed());
        updates.push(update);
    }
    let joined = TestClient::connect(addr, &path(HEALTHY)).await.sync().await;
    assert_eq!(Oracle::of([joined]).text(), Oracle::of(&updates).text(), "the healthy room is as its own clients left it");
    (updates.len(), slowest)
}

/// What the hub said, and what it has stored.
async fn look_into(hub: HubProcess, ground: &Ground, rooms: &BTreeSet<String>, messages: u64) {
    let launch = hub.launch().clone();
    hub.terminate();
    assert_eq!(hub.wait(), Some(0), "{}", launch.log());
    let log = launch.log();
    assert!(!log.contains("panicked"), "{log}");
    let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ") || line.contains(" WARN ")).collect();
    assert!(errors.is_empty(), "{} complaints, the first: {}", errors.len(), errors[0]);

    let Stores { log, docs: store, .. } = ground.stores().await;
    let (mut in_streams, mut rows) = (0, 0);
    for docid in rooms {
        for entry in entries(log.as_ref(), &room(docid)).await {
            in_streams += u64::from(update_in(&entry).is_some());
        }
        for row in store.read(&room(docid), AssetSelection::ALL).await.unwrap().rows {
            rows += 1;
            for kind in [AssetKind::GcDoc, AssetKind::NongcDoc] {
                let Asset::YDoc { update } = Asset::decode(row.assets[kind as usize].as_ref().unwrap()).unwrap() else {
                    panic!("a row of {docid} holds no document");
                };
                content::check_update(&update, &content::Limits::default()).unwrap();
            }
        }
    }
    assert!(in_streams > messages / 208, "only {in_streams} updates were taken");
    println!("{in_streams} updates in the streams and {rows} version rows of {} rooms are all readable", rooms.len());
    assert!(rows > 0, "nothing was compacted");
}
