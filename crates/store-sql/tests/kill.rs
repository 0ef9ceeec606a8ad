//! Whatever was acknowledged is there after `kill -9`, and log and queue still agree.
//!
//! The test runs itself as a child that appends and trims and prints each acknowledgement, kills it at a random moment,
//! and looks at what it left. The next child goes on in the same directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use yhub_core::{RoomId, StreamClock, SystemClock, TimeSource};
use yhub_store::{Append, AssetSelection, Completed, DocStore, ReadLimit, StoreVersion, StreamLog, TaskEpoch, WorkerId};
use yhub_store_sql::{Durability, EmbeddedLog, EmbeddedLogOptions, SqliteDocs, SqliteDocsOptions};

const ROOMS: u64 = 8;
const ROUNDS: u64 = 5;

fn room(n: u64) -> RoomId {
    RoomId::new("o", &n.to_string(), RoomId::MAIN)
}

fn open(dir: &Path, durability: Durability) -> EmbeddedLog {
    let options = EmbeddedLogOptions { durability, ..EmbeddedLogOptions::new(dir) };
    EmbeddedLog::open(options, Arc::new(SystemClock)).expect("open the log")
}

#[test]
fn acknowledged_is_there_after_kill_9() {
    if let Some(dir) = std::env::var_os("YHUB_TEST_DIR") {
        return write_until_killed(Path::new(&dir));
    }
    for (seed, durability) in [(1, "power"), (2, "process"), (3, "power")] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut acknowledged = Acknowledged::default();
        for round in 0..ROUNDS {
            let last = run_and_kill(dir.path(), durability, random.u64(..), random.u64(..2_500), &mut acknowledged);
            assert!(last > 0, "seed {seed}, round {round}: the child did nothing");
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(acknowledged.check(dir.path(), &format!("seed {seed}, round {round}")));
        }
        println!(
            "seed {seed}: {} entries, {} rooms trimmed, {} rows",
            acknowledged.count,
            acknowledged.trims.len(),
            acknowledged.rows.len()
        );
        assert!(acknowledged.count > 500, "{} entries only", acknowledged.count);
    }
}

/// What children have said.
#[derive(Default)]
struct Acknowledged {
    /// Room and clock to text.
    entries: BTreeMap<(u64, StreamClock), String>,
    count: usize,
    /// Trims that were begun: up to there, entries may be gone.
    begun: BTreeMap<u64, StreamClock>,
    /// Trims that were done: up to there, entries are gone.
    trims: BTreeMap<u64, StreamClock>,
    /// Version rows: their keys.
    rows: BTreeSet<String>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let clock = |at: usize| words[at].parse::<StreamClock>().expect("a clock");
        let room = || words[1].parse::<u64>().expect("a room");
        match words.first() {
            Some(&"append") => {
                self.count += 1;
                self.entries.insert((room(), clock(2)), words[3].to_owned());
            }
            Some(&"trim") => {
                self.begun.insert(room(), clock(2));
            }
            Some(&"trimmed") => {
                self.trims.insert(room(), clock(2));
            }
            Some(&"row") => {
                self.rows.insert(words[1].to_owned());
            }
            // What the test harness says.
            _ => {}
        }
    }

    async fn check(&mut self, dir: &Path, when: &str) {
        let log = open(dir, Durability::PowerLoss);
        let mut live = BTreeSet::new();
        for n in 0..ROOMS {
            let limit = ReadLimit { entries: usize::MAX, size_bytes: usize::MAX };
            let page = log.read(&room(n), StreamClock::ZERO, limit).await.expect("read");
            let clocks: Vec<_> = page.entries.iter().map(|entry| entry.clock).collect();
            assert!(clocks.is_sorted(), "{when}: room {n} is out of order");
            if !clocks.is_empty() {
                live.insert(room(n));
            }
            let begun = self.begun.get(&n).copied().unwrap_or_default();
            let done = self.trims.get(&n).copied().unwrap_or_default();
            assert!(clocks.first().is_none_or(|first| *first > done), "{when}: room {n} has what was trimmed");
            assert!(page.trimmed_upto <= begun.max(done), "{when}: room {n} trimmed by nobody");
            let found: BTreeMap<_, _> = page
                .entries
                .iter()
                .map(|entry| (entry.clock, String::from_utf8_lossy(entry.message.as_deref().unwrap_or_default()).into_owned()))
                .collect();
            for ((_, clock), text) in self.entries.range((n, StreamClock::ZERO)..=(n, StreamClock::new(u64::MAX, u64::MAX))) {
                if *clock > page.trimmed_upto {
                    assert_eq!(found.get(clock), Some(text), "{when}: room {n} lost {clock}");
                }
            }
        }
        // The queue holds one task for each room that has entries, and no other.
        let worker = WorkerId(when.to_owned());
        let tasks = log.claim(&worker, 100, Duration::ZERO, Duration::ZERO).await.expect("claim");
        assert_eq!(tasks.len(), live.len(), "{when}");
        assert_eq!(tasks.iter().map(|task| task.room.clone()).collect::<BTreeSet<_>>(), live, "{when}");
        for task in &tasks {
            log.give_back(&worker, task, Duration::ZERO).await.expect("give back");
        }
        let docs = SqliteDocs::open(SqliteDocsOptions::new(dir)).expect("open the store");
        let rows = docs.read(&room(0), AssetSelection::ALL).await.expect("read").rows;
        let found: BTreeSet<_> = rows.iter().map(|row| row.t.clone()).collect();
        let lost: Vec<_> = self.rows.difference(&found).collect();
        assert!(lost.is_empty(), "{when}: rows lost: {lost:?}");
        assert!(rows.iter().all(|row| row.assets.iter().flatten().all(|asset| asset.len() == 5_000)), "{when}: torn row");
    }
}

/// Runs a child until it has said `lines` lines, kills it, and hears the rest of what it said before.
fn run_and_kill(dir: &Path, durability: &str, seed: u64, lines: u64, acknowledged: &mut Acknowledged) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["acknowledged_is_there_after_kill_9", "--exact", "--nocapture"])
        .env("YHUB_TEST_DIR", dir)
        .env("YHUB_TEST_DURABILITY", durability)
        .env("YHUB_TEST_SEED", seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut said = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let Ok(line) = line else { break };
        acknowledged.hear(&line);
        said += 1;
        if said == lines + 1 {
            // SIGKILL. What is in the pipe is still read.
            child.kill().expect("kill");
        }
    }
    child.wait().expect("wait");
    said
}

/// One line, written at once: a part of a line must not be taken for an acknowledgement.
fn say(line: &str) {
    use std::io::Write;
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

/// What the test above does in the process that it starts.
fn write_until_killed(dir: &Path) {
    let durability = match std::env::var("YHUB_TEST_DURABILITY").as_deref() {
        Ok("process") => Durability::ProcessCrash,
        _ => Durability::PowerLoss,
    };
    let seed: u64 = std::env::var("YHUB_TEST_SEED").expect("a seed").parse().expect("a number");
    let log = Arc::new(open(dir, durability));
    let docs = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir)).expect("open the store"));
    say("ready");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for writer in 0..ROOMS {
            let log = log.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed + writer);
                loop {
                    let n = random.u64(..ROOMS);
                    let texts: Vec<_> = (0..1 + random.u64(..3)).map(|_| format!("{:x}", random.u64(..))).collect();
                    let messages = texts.iter().cloned().map(Bytes::from).collect();
                    let append = Append { room: room(n), messages, floor: StreamClock::ZERO };
                    for (clock, text) in log.append(append).await.expect("append").iter().zip(&texts) {
                        say(&format!("append {n} {clock} {text}"));
                    }
                }
            });
        }
        tokio::spawn(async move {
            for step in 0u8.. {
                let clock = StreamClock::new(SystemClock.now_ms(), u64::from(step));
                let assets = [const { Bytes::from_static(&[7; 5_000]) }; 4];
                let new = StoreVersion {
                    room: room(0),
                    clock,
                    assets,
                    is_reference: [false; 4],
                    replaces: vec![],
                    epoch: TaskEpoch(1),
                };
                docs.store(new).await.expect("store");
                say(&format!("row {clock}"));
            }
        });
        let worker = WorkerId(format!("child {seed}"));
        loop {
            tokio::time::sleep(Duration::from_millis(3)).await;
            for task in log.claim(&worker, 2, Duration::ZERO, Duration::from_secs(60)).await.expect("claim") {
                let limit = ReadLimit { entries: 100, size_bytes: usize::MAX };
                let page = log.read(&task.room, StreamClock::ZERO, limit).await.expect("read");
                let upto = page.entries.last().expect("a live room has entries").clock;
                say(&format!("trim {} {upto}", task.room.docid()));
                let done = log.complete(&worker, &task, upto, Duration::ZERO).await.expect("complete");
                // What is of this very millisecond stays, so only a full trim is sure to have gone that far.
                if let Completed::Done { left: false, .. } = done {
                    say(&format!("trimmed {} {upto}", task.room.docid()));
                }
            }
        }
    });
}
