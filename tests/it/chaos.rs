//! Everything that distributed hubs stand on is killed, stopped, emptied, cut off or set back while clients write, and
//! nothing is lost that anybody was shown.
//!
//! Real processes: two hubs that serve, two that compact, Redis, PostgreSQL, and the stock clients of
//! `tests/clients/crash-writer.mjs`, which find a hub through a balancer and judge every document against an independent one.
//! `YHUB_CHAOS_SEEDS` (comma-separated) and `YHUB_CHAOS_ROUNDS` ask for more, `YHUB_CHAOS_OUTAGE_MS` for a longer stop of
//! PostgreSQL.

use std::{
    collections::HashMap,
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;
use yhub::Config;
use yhub_testkit::{
    HubProcess, Launch, Random, block_until,
    servers::{Balancer, Database, Fsync, Postgres, Proxy, Redis},
};

use crate::{
    crash::Writers,
    node,
    support::{ORG, binary},
};

/// What can be broken, and what runs on it.
struct Scene {
    nodes: Vec<Node>,
    workers: Vec<Node>,
    balancer: Balancer,
    /// Between the first node and Redis.
    proxy: Proxy,
    /// Between the compactors and PostgreSQL, slow: so that whatever happens to one happens in the middle of its work.
    _slow: Proxy,
    redis: Arc<Redis>,
    postgres: Postgres,
    database: Database,
    dir: tempfile::TempDir,
}

/// One process of a hub, which may be dead.
struct Node {
    launch: Launch,
    process: Option<HubProcess>,
}

impl Node {
    fn start(launch: Launch) -> Self {
        let process = Some(launch.start());
        Self { launch, process }
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    fn start_again(&mut self) {
        self.process = Some(self.launch.start());
    }

    fn process(&self) -> &HubProcess {
        self.process.as_ref().expect("it runs")
    }
}

impl Scene {
    fn start(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let redis = Arc::new(Redis::options().append_only(Fsync::EverySec).shiftable_time().start());
        let postgres = Postgres::private();
        let database = postgres.create_database();
        let mut config = Config::default();
        config.redis.url = Some(redis.url().into());
        config.postgres.url = Some(database.url().into());
        yhub::migrate(&config).expect("the migrations run");
        let proxy = Proxy::start(redis.addr());
        let slow = Proxy::start(postgres.addr());
        slow.delay(Duration::from_millis(60));
        let launch = |name: &str, redis_url: String| {
            binary(&dir.path().join(name))
                .set("redis.url", redis_url)
                .set("redis.sweep_ms", 200)
                .set("redis.timeout_ms", 1500)
                .set("postgres.url", database.url())
                .set("server.first_sync_ms", 5_000)
                // Long enough that a short outage closes nobody.
                .set("stream.min_message_lifetime_ms", 5_000)
                .set("worker.task_debounce_ms", 200)
                .set("worker.lease_ms", 2_000)
                .set("worker.retry_ms", 500)
                .set("worker.reconcile_ms", 1_000)
        };
        let server = |name: &str, url| Node::start(launch(name, url).args(["--role", "server"]));
        let worker = |name: &str| {
            let launch = launch(name, redis.url()).args(["--role", "worker"]).set("postgres.url", database.url_at(slow.addr()));
            Node::start(launch.without_port("compacts, without a port"))
        };
        let nodes = vec![server("a", redis.url_at(proxy.addr())), server("b", redis.url())];
        let workers = vec![worker("v"), worker("w")];
        let balancer = Balancer::start(nodes.iter().map(|node| node.launch.addr()), seed);
        Self { nodes, workers, balancer, proxy, _slow: slow, redis, postgres, database, dir }
    }

    /// Until nothing is left in Redis that is to be compacted.
    fn drained(&self) {
        let redis = &self.redis;
        block_until("the streams to drain", || {
            let streams = redis.cli(["KEYS", "yhub:room:*"]);
            let tasks = redis.cli(["XLEN", "yhub:worker"]);
            streams.trim().is_empty() && tasks.trim() == "0"
        });
    }

    fn logs(&self) -> String {
        self.nodes.iter().chain(&self.workers).map(|node| node.launch.log()).collect()
    }
}

/// Looks at the queue all the time: how often a room had more than one task.
struct QueueWatch {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl QueueWatch {
    fn start(redis: Arc<Redis>) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), looks.clone());
        let thread = thread::spawn(move || {
            let mut doubled = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                // It may be down, or the queue may not be there.
                if let Ok(queue) = redis.try_cli(["XRANGE", "yhub:worker", "-", "+"]) {
                    let mut tasks: HashMap<&str, usize> = HashMap::new();
                    queue
                        .lines()
                        .filter(|line| line.starts_with("yhub:room:"))
                        .for_each(|room| *tasks.entry(room).or_default() += 1);
                    doubled
                        .extend(tasks.iter().filter(|(_, count)| **count > 1).map(|(room, count)| format!("{count} of {room}")));
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(20));
            }
            doubled
        });
        Self { stop, looks, thread }
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.looks.load(Ordering::Relaxed) > 10, "the queue was hardly looked at");
        self.thread.join().expect("the watch goes on until it is stopped")
    }
}

/// Breaks something, waits, and puts it right.
type Break = fn(&mut Scene, &mut Random);

/// What becomes of the sockets of the clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sockets {
    MayClose,
    StayOpen,
}

fn wait(random: &mut Random, from_ms: u64, to_ms: u64) {
    // No event ends the time for which clients go on writing.
    thread::sleep(Duration::from_millis(from_ms + random.below((to_ms - from_ms) as usize) as u64));
}

fn chaos(name: &str, break_it: Break) {
    chaos_with(name, Sockets::MayClose, break_it);
}

fn chaos_with(name: &str, sockets: Sockets, break_it: Break) {
    let rounds: usize = env::var("YHUB_CHAOS_ROUNDS").map_or(3, |rounds| rounds.parse().expect("a number of rounds"));
    let seeds = env::var("YHUB_CHAOS_SEEDS").unwrap_or_else(|_| "1,2".into());
    for seed in seeds.split(',').map(|seed| seed.trim().parse().expect("seeds are numbers")) {
        println!("{name}: seed {seed}");
        run(name, seed, rounds, sockets, break_it);
    }
}

fn run(name: &str, seed: u64, rounds: usize, sockets: Sockets, break_it: Break) {
    let mut random = Random::new(seed);
    let mut scene = Scene::start(seed);
    let watch = QueueWatch::start(scene.redis.clone());
    let out = scene.dir.path().join("ledger.json");
    let mut writers = Writers::start(&scene.balancer.url(), seed, &out);
    writers.ask("", "ready");
    for _ in 0..rounds {
        wait(&mut random, 300, 1_500);
        break_it(&mut scene, &mut random);
    }
    wait(&mut random, 300, 1_500);
    let verdict = writers.ask("stop", "verdict");
    assert_eq!(verdict["ok"], true, "{name}, seed {seed}: {verdict:#}\n{}", scene.logs());
    if sockets == Sockets::StayOpen {
        assert_eq!(verdict["closes"], json!([]), "{name}, seed {seed}: sockets were closed\n{}", scene.logs());
    }
    drop(writers);

    // Everything is in rows, and who has heard nothing of it finds it there.
    scene.drained();
    assert_eq!(watch.stop(), [] as [String; 0], "{name}, seed {seed}: a room had two tasks");
    scene.nodes.iter_mut().for_each(Node::kill);
    verify(&scene, name, seed, &out);
    let log = scene.logs();
    assert!(!log.contains("panicked"), "{name}, seed {seed}: {log}");
    println!(
        "{name}, seed {seed}: {} updates made, {} shown to somebody, 0 lost, {} sockets closed, {} compactions",
        verdict["made"],
        verdict["seen"],
        verdict["closes"].as_array().map_or(0, Vec::len),
        log.matches("compacted room").count()
    );
}

fn verify(scene: &Scene, name: &str, seed: u64, out: &Path) {
    let stranger = Node::start(scene.nodes[1].launch.clone());
    let verified =
        node::script("crash-writer.mjs", &stranger.process().url()).arg("verify").arg(out).output().expect("node runs");
    assert!(verified.status.success(), "{name}, seed {seed}: {}", String::from_utf8_lossy(&verified.stdout));
    let rows = scene.database.query("SELECT count(*) FROM yhub_ydoc_v1");
    assert!(rows[0][0].as_deref() != Some("0"), "{name}, seed {seed}: nothing was stored for {ORG}");
}

#[test]
fn hubs_are_killed() {
    chaos("kill a hub", |scene, random| {
        let at = random.below(scene.nodes.len());
        scene.nodes[at].kill();
        wait(random, 0, 1_000);
        scene.nodes[at].start_again();
    });
}

#[test]
fn compactors_are_killed() {
    chaos("kill a compactor", |scene, random| {
        let at = random.below(scene.workers.len());
        scene.workers[at].kill();
        wait(random, 0, 1_000);
        scene.workers[at].start_again();
    });
}

#[test]
fn a_compactor_sleeps_past_its_lease() {
    chaos("stop a compactor", |scene, random| {
        let at = random.below(scene.workers.len());
        scene.workers[at].process().pause();
        wait(random, 2_500, 4_000);
        scene.workers[at].process().resume();
    });
}

#[test]
fn redis_is_killed_and_keeps_its_data() {
    chaos("kill Redis", |scene, random| {
        scene.redis.kill();
        wait(random, 0, 700);
        scene.redis.start_again();
    });
}

#[test]
fn redis_comes_back_empty() {
    chaos_with("empty Redis", Sockets::StayOpen, |scene, random| {
        scene.redis.restart_empty();
        wait(random, 1_000, 2_500);
    });
}

#[test]
fn redis_is_flushed() {
    chaos_with("flush Redis", Sockets::StayOpen, |scene, random| {
        scene.redis.flush_all();
        wait(random, 1_000, 2_500);
    });
}

#[test]
fn the_time_of_redis_goes_back() {
    chaos("set Redis back", |scene, random| {
        let hours = 1 + random.below(48) as i64;
        scene.redis.shift_time(-hours * 3_600_000);
        wait(random, 1_000, 2_000);
    });
}

#[test]
fn postgresql_is_stopped() {
    // Longer than entries live for certain: what is trimmed then is gone.
    let outage = env::var("YHUB_CHAOS_OUTAGE_MS").map_or(8_000, |ms| ms.parse().expect("milliseconds"));
    static OUTAGE_MS: AtomicUsize = AtomicUsize::new(0);
    OUTAGE_MS.store(outage, Ordering::Relaxed);
    chaos("stop PostgreSQL", |scene, _| {
        scene.postgres.stop();
        thread::sleep(Duration::from_millis(OUTAGE_MS.load(Ordering::Relaxed) as u64));
        scene.postgres.start_again();
    });
}

#[test]
fn a_hub_is_cut_off_from_redis() {
    chaos("cut a hub off", |scene, random| {
        if random.below(2) == 0 {
            scene.proxy.cut()
        } else {
            scene.proxy.stall()
        }
        wait(random, 500, 4_000);
        scene.proxy.heal();
    });
}
