//! The hub is killed again and again while clients write, and nothing is lost that anybody was shown.
//!
//! The writers are stock clients (`tests/clients/crash-writer.mjs`). They remember every update that they made and every
//! one that the hub showed to any of them, and judge what a restarted hub gives to a stranger, before any of them is back.
//! `YHUB_CRASH_ROUNDS` and `YHUB_CRASH_SEEDS` (comma-separated) ask for more.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use yhub::Stores;
use yhub_content::{ContentIds, ContentMap, content_ids};
use yhub_core::{Asset, RoomId};
use yhub_encoding::Any;
use yhub_store::{AssetKind, AssetSelection};
use yhub_testkit::Random;

use crate::{
    ground::Ground,
    node,
    support::{ORG, entries, update_in},
};

/// What is asked of the writers may need several of their own deadlines.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

/// The writers, as a process of their own.
pub(crate) struct Writers {
    process: Child,
    commands: ChildStdin,
    events: Receiver<Value>,
}

impl Writers {
    pub(crate) fn start(url: &str, seed: u64, out: &Path) -> Self {
        let mut script = node::script("crash-writer.mjs", url);
        script
            .args(["--seed", &seed.to_string(), "--org", ORG, "--rate", "50", "--out"])
            .arg(out)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = script.spawn().unwrap();
        let (lines, commands) = (BufReader::new(process.stdout.take().unwrap()), process.stdin.take().unwrap());
        let (tell, events) = channel();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).expect("the writers say lines of JSON");
                if event["event"] != "progress" && tell.send(event).is_err() {
                    break;
                }
            }
        });
        Self { process, commands, events }
    }

    /// Sends a command and waits for the event that answers it.
    pub(crate) fn ask(&mut self, command: &str, answer: &str) -> Value {
        if !command.is_empty() {
            writeln!(self.commands, "{command}").expect("the writers are there");
        }
        let event = self.events.recv_timeout(ANSWER_WITHIN).unwrap_or_else(|_| panic!("no answer of the writers to {command:?}"));
        assert_eq!(event["event"], answer, "{event}");
        event
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What one seed came to.
#[derive(Default)]
struct Figures {
    kills: usize,
    made: u64,
    seen: u64,
    compactions: usize,
    attributed: u64,
}

#[test]
fn kill_9_loses_nothing_that_anybody_was_shown() {
    kill_9(Ground::embedded, "1,2,3", 12);
}

#[test]
fn kill_9_loses_nothing_on_redis_and_postgresql() {
    kill_9(Ground::distributed, "4,5", 5);
}

fn kill_9(ground: fn() -> Ground, seeds: &str, rounds: usize) {
    let rounds: usize = env::var("YHUB_CRASH_ROUNDS").map_or(rounds, |rounds| rounds.parse().expect("a number of rounds"));
    let seeds = env::var("YHUB_CRASH_SEEDS").unwrap_or_else(|_| seeds.into());
    let runs: Vec<_> = seeds
        .split(',')
        .map(|seed| {
            let seed: u64 = seed.trim().parse().expect("seeds are numbers");
            (seed, thread::spawn(move || run(&ground(), seed, rounds)))
        })
        .collect();
    // All of them, before one that failed ends this process: each takes its hub along.
    let ended: Vec<_> = runs.into_iter().map(|(seed, run)| (seed, run.join())).collect();
    let mut kills = 0;
    for (seed, figures) in ended {
        let Figures { kills: of_seed, made, seen, compactions, attributed } =
            figures.unwrap_or_else(|_| panic!("seed {seed} failed; what went wrong is said above"));
        kills += of_seed;
        println!(
            "seed {seed}: {of_seed} kills while writing, {made} updates made, {seen} shown to somebody, 0 lost, {compactions} compactions, \
             {attributed} characters and values attributed to who wrote them"
        );
    }
    assert!(kills >= 10, "{kills} kills are not enough to say anything");
}

fn run(ground: &Ground, seed: u64, rounds: usize) -> Figures {
    println!("seed {seed}");
    // Short times, so that compaction is under way when the end comes; a lease that lapses soon after it.
    let launch = ground.launch().set("server.first_sync_ms", 5_000).set("worker.task_debounce_ms", 100);
    let mut random = Random::new(seed);
    let out = ground.dir().join("ledger.json");
    let mut hub = launch.start();
    let mut writers = Writers::start(&hub.url(), seed, &out);
    writers.ask("", "ready");
    for round in 0..rounds {
        // Writing goes on for a random time: no event ends it.
        thread::sleep(Duration::from_millis(200 + random.below(1_300) as u64));
        hub.kill();
        // Every third time the writers find the new hub by themselves.
        let asking = round % 3 != 2;
        if asking {
            writers.ask("pause", "paused");
        }
        hub = launch.start();
        if asking {
            let checked = writers.ask("check", "checked");
            assert_eq!(checked["ok"], true, "seed {seed}, round {round}: {checked:#}");
            writers.ask("resume", "resumed");
        }
    }
    let verdict = writers.ask("stop", "verdict");
    assert_eq!(verdict["ok"], true, "seed {seed}: {verdict:#}");
    drop(writers);
    hub.kill();
    let hub = launch.start();
    let verified = node::script("crash-writer.mjs", &hub.url()).arg("verify").arg(&out).output().unwrap();
    assert!(verified.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&verified.stdout));
    hub.kill();

    let log = launch.log();
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "seed {seed}: {log}");
    let ledger: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let attributed = runtime.block_on(check_attribution(ground, &ledger));
    Figures {
        kills: rounds,
        made: verdict["made"].as_u64().unwrap(),
        seen: verdict["seen"].as_u64().unwrap(),
        compactions: log.matches("compacted room").count(),
        attributed,
    }
}

/// Every character and value in what is stored is attributed to the user whose client wrote it, and to nobody else. How many.
async fn check_attribution(ground: &Ground, ledger: &Value) -> u64 {
    let users: HashMap<u64, &str> = ledger["users"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(user, of)| of["clients"].as_array().unwrap().iter().map(|client| (client.as_u64().unwrap(), user.as_str())))
        .collect();
    let room = RoomId::new(ORG, ledger["room"].as_str().unwrap(), RoomId::MAIN);
    let Stores { log, docs: store, .. } = ground.stores().await;
    let mut content: Vec<ContentIds> = Vec::new();
    let mut maps: Vec<ContentMap> = Vec::new();
    let stored = store.read(&room, AssetSelection::ALL).await.unwrap();
    assert!(!stored.rows.is_empty(), "nothing was compacted");
    for row in stored.rows {
        let asset = |kind: AssetKind| Asset::decode(row.assets[kind as usize].as_ref().expect("rows are whole")).unwrap();
        let Asset::YDoc { update } = asset(AssetKind::NongcDoc) else { panic!("{} holds no document", row.t) };
        let Asset::ContentMap { contentmap } = asset(AssetKind::ContentMap) else { panic!("{} holds no content map", row.t) };
        content.push(content_ids(&update).unwrap());
        maps.push(ContentMap::from_bytes(&contentmap).unwrap());
    }
    for entry in entries(log.as_ref(), &room).await {
        let Some((update, contentmap)) = update_in(&entry) else { continue };
        content.push(content_ids(&update).unwrap());
        // The first writer keeps the attribution.
        let known = ContentMap::union(&maps);
        maps.push(ContentMap::from_bytes(&contentmap).unwrap().difference(&known));
    }
    let map = ContentMap::union(&maps);
    let content = ContentIds::union(&content);
    assert!(content.difference(&map.to_ids()).inserts.is_empty(), "something in the document is attributed to nobody");
    let mut attributed = 0;
    for (client, range, attributes) in map.inserts.iter() {
        let writers: Vec<&Any> = attributes.values("insert").collect();
        let user = users.get(&client).unwrap_or_else(|| panic!("client {client} is nobody's"));
        assert_eq!(writers, [&Any::from(*user)], "client {client}, {range:?}");
        attributed += u64::from(range.len());
    }
    attributed
}
