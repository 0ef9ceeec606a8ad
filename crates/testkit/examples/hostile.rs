//! One attacker at full speed against a hub, while fifty people write: what the others notice of it.
//!
//!     cargo build --release && cargo run --release -p yhub-testkit --example hostile -- target/release/yhub [SECONDS]
//!
//! Starts that hub in a directory of its own, with its default limits. For each attack it prints how long the others' updates took
//! until they were shown, before and during, and the most memory that the hub had.

use std::{
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::Instant};
use yhub_encoding::sync;
use yhub_testkit::{
    Connect, HubProcess, Launch, TestClient, TextWriter,
    client::{awareness_message, frame},
};

const WRITERS: u64 = 50;
/// Connections of the attacker at a time.
const HANDS: u64 = 8;
const SLOW_HEADS: usize = 3_000;

type Times = Arc<Mutex<Vec<Duration>>>;
type Attack = fn(SocketAddr, u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;

const ATTACKS: &[(&str, Attack)] = &[
    ("nothing", |_, _| Box::pin(std::future::pending())),
    ("connections", |addr, hand| Box::pin(connections(addr, hand))),
    ("joins of many rooms", |addr, hand| Box::pin(joins(addr, hand))),
    ("small messages", |addr, hand| Box::pin(messages(addr, hand, 10))),
    ("big messages", |addr, hand| Box::pin(messages(addr, hand, 1 << 20))),
    ("presence", |addr, hand| Box::pin(presence(addr, hand))),
    ("slow reading", |addr, hand| Box::pin(slow_reading(addr, hand))),
    ("slow heads", |addr, _| Box::pin(slow_heads(addr))),
];

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let binary = args.next().expect("the path of a hub: target/release/yhub");
    let binary = PathBuf::from(binary).canonicalize().expect("the hub is there");
    let seconds = args.next().map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Launch::new(binary, dir.path()).start();
    let times = Times::default();
    let mut writers = JoinSet::new();
    for id in 1..=WRITERS {
        writers.spawn(write(hub.addr(), id, times.clone()));
    }
    println!("| attack | p50 before | p99 before | p50 during | p99 during | updates during | memory |");
    println!("|---|---|---|---|---|---|---|");
    for (name, attack) in ATTACKS {
        let (before, _) = watch(&hub, &times, seconds).await;
        let mut hands = JoinSet::new();
        (0..HANDS).for_each(|hand| drop(hands.spawn(attack(hub.addr(), hand))));
        let (during, most) = watch(&hub, &times, seconds).await;
        hands.shutdown().await;
        let [a, b, c, d] =
            [(&before, 50), (&before, 99), (&during, 50), (&during, 99)].map(|(times, part)| percentile(times, part));
        println!("| {name} | {a:.1?} | {b:.1?} | {c:.1?} | {d:.1?} | {} | {} MiB |", during.len(), most >> 20);
    }
    // Before the hub is gone, which they would take for a failure.
    writers.shutdown().await;
}

/// What was measured in so many seconds, and the most memory of the hub.
async fn watch(hub: &HubProcess, times: &Times, seconds: u64) -> (Vec<Duration>, u64) {
    let taken = || std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    taken();
    let mut most = 0;
    for _ in 0..seconds * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(hub.rss_bytes());
    }
    let mut times = taken();
    times.sort_unstable();
    (times, most)
}

fn percentile(sorted: &[Duration], part: usize) -> Duration {
    sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn path(docid: &str) -> String {
    format!("/api/ws/v1/bench/{docid}")
}

/// One of those who only want to write.
async fn write(addr: SocketAddr, id: u64, times: Times) {
    let mut client = TestClient::connect(addr, &path(&format!("quiet-{id}"))).await;
    client.sync().await;
    let mut writer = TextWriter::new(id);
    loop {
        let update = writer.append("word ");
        let start = Instant::now();
        client.send_update(&update).await;
        client.shown(&update).await;
        times.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connections(addr: SocketAddr, hand: u64) {
    loop {
        drop(Connect::to(addr, &path(&format!("loud-{hand}"))).open().await);
    }
}

async fn joins(addr: SocketAddr, hand: u64) {
    for room in 0_u64.. {
        if let Ok(mut client) = Connect::to(addr, &path(&format!("loud-{hand}-{room}"))).open().await {
            let _ = client.try_send(&sync::step1(&[0])).await;
            let _ = client.next().await;
        }
    }
}

async fn messages(addr: SocketAddr, hand: u64, size: usize) {
    let mut writer = TextWriter::new(1_000 + hand);
    loop {
        let Ok(mut client) = Connect::to(addr, &path("loud")).open().await else { continue };
        let text = "x".repeat(size);
        // What is shown is read, so that it is not for that that it is closed.
        while client.try_send(&sync::update(&writer.append(&text))).await.is_ok() {
            while let Some(Ok(_)) = client.next_within(Duration::ZERO).await {}
        }
    }
}

async fn presence(addr: SocketAddr, hand: u64) {
    let state = format!("{:?}", "x".repeat(1_000));
    loop {
        let Ok(mut client) = Connect::to(addr, &path("loud")).open().await else { continue };
        for clock in 1.. {
            let wire: Vec<u8> =
                (0..50).flat_map(|at| frame(&awareness_message(&[(hand, clock * 50 + at, &state)])).to_vec()).collect();
            if client.send_raw(&wire).await.is_err() {
                break;
            }
            while let Some(Ok(_)) = client.next_within(Duration::ZERO).await {}
        }
    }
}

/// Asks for much, and takes nothing of it.
async fn slow_reading(addr: SocketAddr, hand: u64) {
    let mut open = Vec::new();
    loop {
        if let Ok(mut client) = Connect::to(addr, &path("loud")).small_buffer().open().await {
            let _ = client.try_send(&sync::step1(&[0])).await;
            let _ = client.try_send(&sync::update(&TextWriter::new(2_000 + hand).append("x"))).await;
            open.push(client);
        }
        if open.len() > 100 {
            open.remove(0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn slow_heads(addr: SocketAddr) {
    let mut open = Vec::new();
    loop {
        if let Ok(mut stream) = TcpStream::connect(addr).await
            && stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.is_ok()
        {
            open.push(stream);
        }
        if open.len() > SLOW_HEADS / HANDS as usize {
            open.remove(0);
        }
    }
}
