//! Random histories of real clients: whatever this library makes of what yjs 13 and @y/y 14 have written is shown by them as what
//! they make of it themselves.
//!
//! `tests/clients/histories.mjs` writes and judges, for as long as `YHUB_HISTORIES_SECONDS` says, from `YHUB_HISTORIES_SEEDS`
//! (comma-separated), each in a process of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use yhub_content::{
    ContentIds, ContentMap, content_ids, forget, gc_merge, integrate_merge, intersect, merge, state_vector_of, undo,
};
use yhub_testkit::vectors::{hex, items, to_hex, uint};

/// What comes back for one line.
fn answer(asked: &Value) -> Value {
    let updates: Vec<Vec<u8>> = items(&asked["updates"]).iter().map(hex).collect();
    let merged = merge(&updates).unwrap();
    let nongc = integrate_merge(&updates).unwrap();
    let ids = content_ids(&merged).unwrap();
    let back = ContentIds::from_bytes(&hex(&asked["back"])).unwrap();
    let client = uint(&asked["client"]);
    let taken_back = undo(&nongc, &back, client).unwrap();
    let again = taken_back.as_ref().map(|taken| {
        let then = integrate_merge(&[&nongc, taken]).unwrap();
        let ids = content_ids(taken).unwrap();
        undo(&then, &ids, client + 1).unwrap().unwrap_or_else(|| vec![0, 0])
    });
    let rest = ids.difference(&back);
    assert_eq!(ContentIds::union([&rest, &ids.intersection(&back)]), ids);
    // Any attribution will do to see that it covers all of it.
    assert_eq!(ContentMap::attribution(&ids, Some("ann"), 1, &[]).to_ids(), ids);
    json!({
        "stateVector": to_hex(&state_vector_of(&merged).unwrap().to_bytes()),
        "ids": to_hex(&ids.to_bytes()),
        "merged": to_hex(&merged),
        "gc": to_hex(&gc_merge(&updates).unwrap()),
        "nongc": to_hex(&nongc),
        "forgotten": to_hex(&forget(&nongc, &ContentIds::from_bytes(&hex(&asked["forget"])).unwrap().inserts).unwrap()),
        "part": to_hex(&intersect(&merged, &back).unwrap()),
        "rest": to_hex(&intersect(&merged, &rest).unwrap()),
        "back": taken_back.as_deref().map(to_hex),
        "again": again.as_deref().map(to_hex),
    })
}

fn run(seed: u64, seconds: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients");
    assert!(folder.join("node_modules").is_dir(), "the clients are missing; run `npm ci` in tests/clients, or `scripts/test`");
    let mut command = Command::new("node");
    command.arg("histories.mjs").args(["--seed", &seed.to_string(), "--seconds", seconds]);
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = command.spawn().expect("node is missing; `scripts/test` installs it");
    let (mut to, from) = (node.stdin.take().unwrap(), BufReader::new(node.stdout.take().unwrap()));
    let mut figures = None;
    for line in from.lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(line.get("failed").is_none(), "{}", line["failed"].as_str().unwrap());
        if let Some(found) = line.get("figures") {
            figures = Some(found.clone());
            break;
        }
        writeln!(to, "{}", answer(&line)).unwrap();
    }
    assert!(node.wait().unwrap().success(), "seed {seed}: node failed");
    let figures = figures.expect("node says what it did");
    assert!(uint(&figures["histories"]) > 50, "seed {seed}: {figures}");
    // Where the bytes are theirs, the formats are, too: so they are nearly always.
    let (other, all) = (uint(&figures["otherBytes"]["back"]), uint(&figures["takenBack"]));
    assert!(other * 100 < all && uint(&figures["notReturned"]) * 100 < all, "seed {seed}: {figures}");
    format!("seed {seed}: {figures}")
}

#[test]
fn histories_of_real_clients() {
    let seconds = env::var("YHUB_HISTORIES_SECONDS").unwrap_or_else(|_| "30".into());
    let seeds = env::var("YHUB_HISTORIES_SEEDS").unwrap_or_else(|_| "1,2".into());
    let runs: Vec<_> = seeds
        .split(',')
        .map(|seed| seed.trim().parse().expect("seeds are numbers"))
        .map(|seed: u64| {
            let seconds = seconds.clone();
            thread::spawn(move || run(seed, &seconds))
        })
        .collect();
    for run in runs {
        match run.join() {
            Ok(figures) => println!("{figures}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
