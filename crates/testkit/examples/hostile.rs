//! One attacker at full speed against a hub, while fifty people write: what the others notice of it.
//!
//!     cargo build --release && cargo run --release -p yhub-testkit --example hostile -- target/release/yhub [SECONDS [ATTACK]]
//!
//! For each attack a hub is started in a directory of its own, with its default limits, or what `YHUB__…` in the environment says.
//! Printed are how long the others' updates took until they were shown, before and during, how often that was measured, and the most
//! memory that the hub had. All of it is done three times, with a hub each, and the middle of each figure is shown: disks and machines
//! have moments of their own.
//!
//! The hub has the first half of the processors, everybody else the second, where the attacker has what the writers leave: so what it
//! costs to attack is not taken for what it costs to be attacked. The attacker is one machine: all that it does comes from one
//! address, which is not that of the others.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::Instant,
};
use yhub_encoding::sync;
use yhub_testkit::{
    Connect, HubProcess, Launch, TestClient, TextWriter,
    client::{awareness_message, frame},
};

const WRITERS: u64 = 50;
const ROUNDS: usize = 3;
/// Connections of the attacker at a time, where it does not hold as many as it gets.
const HANDS: u64 = 8;
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const SLOW_HEADS: usize = 3_000;
/// What comes before is the start, not the state.
const WARM_UP: Duration = Duration::from_secs(2);

type Times = Arc<Mutex<Vec<Duration>>>;
type Attack = fn(SocketAddr, u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;

const ATTACKS: &[(&str, Attack)] = &[
    ("nothing", |_, _| Box::pin(std::future::pending())),
    ("nothing, at full speed", |_, _| Box::pin(spin())),
    ("connections", |addr, hand| Box::pin(connections(addr, hand))),
    ("joins of many rooms", |addr, hand| Box::pin(joins(addr, hand))),
    ("small messages", |addr, hand| Box::pin(messages(addr, "loud".into(), hand, 10))),
    ("big messages", |addr, hand| Box::pin(messages(addr, "loud".into(), hand, 1 << 20))),
    ("big documents", |addr, hand| Box::pin(messages(addr, format!("loud-{hand}"), hand, 1 << 20))),
    ("presence", |addr, hand| Box::pin(presence(addr, hand))),
    ("presence, hoarded", |addr, hand| Box::pin(hoarded_presence(addr, hand))),
    ("unfinished messages", |addr, hand| Box::pin(unfinished(addr, hand))),
    ("documents not taken", |addr, hand| Box::pin(documents_not_taken(addr, hand))),
    ("slow reading", |addr, hand| Box::pin(slow_reading(addr, hand))),
    ("slow heads", |addr, _| Box::pin(slow_heads(addr))),
    ("requests", |addr, hand| Box::pin(requests(addr, hand))),
];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, addr] = &args[..]
        && flag == "--attack"
    {
        return attack(name, addr.parse().expect("an address")).await;
    }
    let binary = args.first().expect("the path of a hub: target/release/yhub");
    let binary = PathBuf::from(binary).canonicalize().expect("the hub is there");
    let seconds = args.get(1).map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let processors = Processors::split();
    processors.keep_to(std::process::id(), &processors.others);
    println!("| attack | p50 before | p99 before | p50 during | p99 during | p99 × | updates during | memory before | during |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, _) in ATTACKS.iter().filter(|(name, _)| args.get(2).is_none_or(|only| only == name)) {
        measure(name, &binary, seconds, &processors).await;
    }
}

/// One attack, as often as it takes.
async fn measure(name: &str, binary: &Path, seconds: u64, processors: &Processors) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(measure_once(name, binary, seconds, processors).await);
    }
    let middle = |figure: fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures[ROUNDS / 2]
    };
    let [a, b] = [middle(|round| round.before_ms.0), middle(|round| round.before_ms.1)];
    let [c, d] = [middle(|round| round.during_ms.0), middle(|round| round.during_ms.1)];
    let [shown, least, most] = [middle(|round| round.shown), middle(|round| round.mib.0), middle(|round| round.mib.1)];
    println!(
        "| {name} | {a:.1} ms | {b:.1} ms | {c:.1} ms | {d:.1} ms | {:.1} | {shown:.0} | {least:.0} MiB | {most:.0} MiB |",
        d / b
    );
}

/// What one attack on one hub came to. Times are the median and the 99th percentile.
struct Round {
    before_ms: (f64, f64),
    during_ms: (f64, f64),
    shown: f64,
    mib: (f64, f64),
}

async fn measure_once(name: &str, binary: &Path, seconds: u64, processors: &Processors) -> Round {
    let dir = tempfile::tempdir().expect("a directory");
    let launch = Launch::new(binary, dir.path());
    let own = std::env::vars().filter(|(name, _)| name.starts_with("YHUB__") || name.starts_with("MALLOC_"));
    let hub = own.fold(launch, |launch, (name, value)| launch.env(&name, value)).start();
    processors.keep_to(hub.pid(), &processors.hub);
    let times = Times::default();
    let mut writers = JoinSet::new();
    for id in 1..=WRITERS {
        writers.spawn(write(hub.addr(), id, times.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, least) = watch(&hub, &times, seconds).await;
    let attacker = processors.attack(name, hub.addr());
    let (during, most) = watch(&hub, &times, seconds).await;
    drop(attacker);
    let of = |times: &[Duration]| (percentile_ms(times, 50), percentile_ms(times, 99));
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let round =
        Round { before_ms: of(&before), during_ms: of(&during), shown: during.len() as f64, mib: (mib(least), mib(most)) };
    // Before the hub is gone, which they would take for a failure.
    writers.shutdown().await;
    round
}

/// Who may run where, as `taskset` takes it.
struct Processors {
    hub: String,
    others: String,
}

impl Processors {
    fn split() -> Self {
        let all = available_parallelism().map_or(1, usize::from);
        assert!(all >= 2, "one processor cannot be parted between the hub and those who use it");
        Self { hub: format!("0-{}", all / 2 - 1), others: format!("{}-{}", all / 2, all - 1) }
    }

    fn keep_to(&self, pid: u32, processors: &str) {
        let done = Command::new("taskset").args(["-a", "-c", "-p", processors, &pid.to_string()]).stdout(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "`taskset`, of util-linux, is needed to part the processors");
    }

    fn attack(&self, name: &str, addr: SocketAddr) -> Attacker {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new("taskset");
        command.args(["-c", &self.others, "nice", "-n", "19"]).arg(program).args(["--attack", name, &addr.to_string()]);
        Attacker(command.spawn().expect("the attacker starts"))
    }
}

/// The attacker's process; killed when dropped.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        let ended = self.0.try_wait().expect("it is our child");
        assert!(ended.is_none(), "the attacker has given up: {ended:?}");
        self.0.kill().and_then(|()| self.0.wait()).expect("it can be killed");
    }
}

async fn attack(name: &str, addr: SocketAddr) {
    let (_, attack) = ATTACKS.iter().find(|(is, _)| is == &name).expect("an attack");
    let mut hands = JoinSet::new();
    (0..HANDS).for_each(|hand| drop(hands.spawn(attack(addr, hand))));
    hands.join_all().await;
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

fn percentile_ms(sorted: &[Duration], part: usize) -> f64 {
    let at = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
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

/// A connection of the attacker, or a moment later none.
async fn connect(addr: SocketAddr, docid: &str) -> Option<TestClient> {
    Connect::to(addr, &path(docid)).from(ATTACKER).try_open().await.ok()
}

async fn stream(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ATTACKER, 0).into())?;
    socket.connect(addr).await
}

/// Leaves the hub alone: what is measured of it is the measuring.
async fn spin() {
    loop {
        tokio::task::yield_now().await;
    }
}

async fn connections(addr: SocketAddr, hand: u64) {
    loop {
        drop(connect(addr, &format!("loud-{hand}")).await);
    }
}

async fn joins(addr: SocketAddr, hand: u64) {
    for room in 0_u64.. {
        if let Some(mut client) = connect(addr, &format!("loud-{hand}-{room}")).await {
            let _ = client.try_send(&sync::step1(&[0])).await;
            let _ = client.next_within(Duration::from_secs(5)).await;
        }
    }
}

async fn messages(addr: SocketAddr, docid: String, hand: u64, size: usize) {
    let mut writer = TextWriter::new(1_000 + hand);
    loop {
        let Some(mut client) = connect(addr, &docid).await else { continue };
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
        let Some(mut client) = connect(addr, "loud").await else { continue };
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

/// As much presence as there may be, renewed all the time, and asked for by who takes nothing.
async fn hoarded_presence(addr: SocketAddr, hand: u64) {
    let state = format!("{:?}", "x".repeat(16_000));
    let (mut first, mut open) = (hand << 32, Vec::new());
    loop {
        if let Some(mut speaks) = connect(addr, "loud").await {
            let entries: Vec<_> = (0..64).map(|at| (first + at, first + 1, state.as_str())).collect();
            let _ = speaks.try_send(&awareness_message(&entries)).await;
            open.push(speaks);
        }
        if let Ok(mut asks) = Connect::to(addr, &path("loud")).from(ATTACKER).small_buffer().try_open().await {
            let _ = asks.try_send(&sync::query_awareness()).await;
            open.push(asks);
        }
        if open.len() > 200 {
            open.remove(0);
        }
        first += 64;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins long messages, and ends none.
async fn unfinished(addr: SocketAddr, hand: u64) {
    let wire = frame(&sync::update(&vec![0; 60 << 20]));
    let mut open = Vec::new();
    loop {
        if let Some(mut client) = connect(addr, &format!("loud-{hand}")).await {
            for piece in wire[..wire.len() - 1].chunks(1 << 20) {
                if client.send_raw(piece).await.is_err() {
                    break;
                }
            }
            open.push(client);
        }
        if open.len() > 100 {
            open.remove(0);
        }
    }
}

/// Has a document grow, and asks for it again and again, each time with another state vector, without taking anything.
async fn documents_not_taken(addr: SocketAddr, hand: u64) {
    if hand == 0 {
        return messages(addr, "loud".into(), hand, 1 << 20).await;
    }
    let mut open = Vec::new();
    for round in 0_u64.. {
        if let Ok(mut client) = Connect::to(addr, &path("loud")).from(ATTACKER).small_buffer().try_open().await {
            // One client, number 1,000, of which so many characters are known.
            let state_vector = [1, (1_000 % 128) as u8 | 0x80, (1_000 / 128) as u8, (round % 100) as u8 + 1];
            let _ = client.try_send(&sync::step1(&state_vector)).await;
            open.push(client);
        }
        if open.len() > 100 {
            open.remove(0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for much, and takes nothing of it.
async fn slow_reading(addr: SocketAddr, hand: u64) {
    let mut open = Vec::new();
    loop {
        if let Ok(mut client) = Connect::to(addr, &path("loud")).from(ATTACKER).small_buffer().try_open().await {
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
        if let Ok(mut stream) = stream(addr).await
            && stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.is_ok()
        {
            open.push(stream);
        }
        if open.len() > SLOW_HEADS / HANDS as usize {
            open.remove(0);
        }
    }
}

/// Asks for a document over HTTP, on one connection after the other.
async fn requests(addr: SocketAddr, hand: u64) {
    let request = format!("GET /api/ydoc/v1/bench/quiet-{} HTTP/1.1\r\nhost: {addr}\r\n\r\n", hand + 1);
    loop {
        let Ok(mut stream) = stream(addr).await else { continue };
        let mut answer = vec![0; 64 << 10];
        while stream.write_all(request.as_bytes()).await.is_ok() {
            match tokio::io::AsyncReadExt::read(&mut stream, &mut answer).await {
                Ok(1..) => {}
                _ => break,
            }
        }
    }
}
