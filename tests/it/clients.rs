//! The clients people really use, as a table of capability × client: see `tests/clients`.

use std::{fs, path::Path, process::Command};

use yhub::config::Millis;

use crate::{
    access::SECRET,
    node,
    support::{Stage, TestHub, binary},
};

/// Runs the suite and prints its table; the whole output if anything failed.
fn run(mut suite: Command, dir: &Path) {
    let (table, output) = (dir.join("table.md"), dir.join("suite.log"));
    let log = fs::File::create(&output).unwrap();
    suite.stdout(log.try_clone().unwrap()).stderr(log);
    // After the room is out of memory and the stream is folded: what is asked then comes from version rows.
    suite.env("YHUB_TABLE", &table).env("YHUB_COMPACTED_WITHIN_MS", "60000").env("YHUB_ROOM_IDLE_MS", "500");
    let status = suite.status().unwrap();
    println!("{}", fs::read_to_string(&table).unwrap_or_default());
    if !status.success() {
        println!("{}", fs::read_to_string(&output).unwrap());
        panic!("the suite ended with {status}; its output is above");
    }
}

/// A client that has not said by then what it holds gets the whole document. On a busy machine a hundred of them in one process
/// take their time; what happens to those who never say it is tested elsewhere.
const FIRST_SYNC_MS: u64 = 30_000;

#[test]
fn every_stock_client_can_do_everything() {
    let dir = tempfile::tempdir().unwrap();
    let hub = binary(dir.path()).set("server.first_sync_ms", FIRST_SYNC_MS).start();
    run(node::script("capabilities.mjs", &hub.url()), dir.path());
    let log = hub.launch().log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn every_stock_client_shows_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let hub = binary(dir.path())
        .set("server.first_sync_ms", FIRST_SYNC_MS)
        .set("auth.mode", r#"["jwt", "token"]"#)
        .set("jwt.secret", SECRET)
        .set("jwt.leeway_ms", 0)
        // A token ends when it says so, and not only when somebody looks.
        .set("auth.sweep_ms", 0)
        // What is refused here is meant to be, and all of it comes from one address.
        .set("limits.failed_auth_per_minute", 0)
        .start();
    let mut suite = node::script("credentials.mjs", &hub.url());
    suite.env("YHUB_SECRET", SECRET);
    run(suite, dir.path());
    let log = hub.launch().log();
    assert!(!log.contains("panicked"), "{log}");
    // Signed tokens and tickets begin so.
    for secret in [SECRET, "eyJ", "yhubt_"] {
        assert!(!log.contains(secret), "the log holds {secret}: {log}");
    }
}

/// The suite against hubs in this process.
async fn at(stage: Stage) {
    let dir = tempfile::tempdir().unwrap();
    let change = |config: &mut yhub::Config| {
        config.server.first_sync_ms = Millis::new(FIRST_SYNC_MS);
        // As they are outside of tests: what is looked at is no fault, and a busy machine lets servers wait for seconds.
        (config.redis.timeout_ms, config.worker.lease_ms) = (Millis::new(5_000), Millis::new(30_000));
    };
    let hub = TestHub::with(stage, change).await;
    let mut suite = node::script("capabilities.mjs", &format!("ws://{}", hub.addr()));
    // Two minutes of silence are waited for once; how long a link is silent is decided by the same session.
    suite.env("YHUB_SILENCE_MS", "35000");
    tokio::task::spawn_blocking(move || run(suite, dir.path())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stock_client_can_do_everything_at_a_mounted_hub() {
    at(Stage::Mounted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stock_client_can_do_everything_at_three_hubs() {
    at(Stage::Three).await;
}
