//! How many appends a second, and how long each takes: `cargo run --release -p yhub-store-sql --example append_bench [DIR]`.
//!
//! 100 bytes each, 200 rooms, three seconds a line; each appender waits for its answer before it appends again. Then: what
//! reading a room, trimming it, and following it cost.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use yhub_core::{RoomId, StreamClock, SystemClock};
use yhub_store::{Append, Completed, ReadLimit, StreamLog, TailEvent, WorkerId};
use yhub_store_sql::{Durability, EmbeddedLog, EmbeddedLogOptions};

const ROOMS: usize = 200;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Runtime::new()?;
    println!("| durability | appenders | appends/s | p50 ms | p99 ms | max ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        for appenders in [1, 16, 128, 1024] {
            let dir = tempfile::tempdir_in(&dir)?;
            let options = EmbeddedLogOptions { durability, ..EmbeddedLogOptions::new(dir.path()) };
            let log = Arc::new(EmbeddedLog::open(options, Arc::new(SystemClock))?);
            let mut took = runtime.block_on(appends(log, appenders));
            took.sort();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
            let per_second = took.len() as f64 / RUN.as_secs_f64();
            println!("| {durability:?} | {appenders} | {per_second:.0} | {:.2} | {:.2} | {:.1} |", at(0.5), at(0.99), at(1.0));
        }
    }
    let dir = tempfile::tempdir_in(&dir)?;
    let log = Arc::new(EmbeddedLog::open(EmbeddedLogOptions::new(dir.path()), Arc::new(SystemClock))?);
    runtime.block_on(one_room(log))
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

fn room(n: usize) -> RoomId {
    RoomId::new("bench", &n.to_string(), RoomId::MAIN)
}

/// How long each append took.
async fn appends(log: Arc<EmbeddedLog>, appenders: usize) -> Vec<Duration> {
    let message = Bytes::from(vec![7; 100]);
    let end = now() + RUN;
    let tasks: Vec<_> = (0..appenders)
        .map(|n| {
            let (log, message) = (log.clone(), message.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                let room = room(n % ROOMS);
                while now() < end {
                    let start = now();
                    let append = Append { room: room.clone(), messages: vec![message.clone()], floor: StreamClock::ZERO };
                    log.append(append).await.expect("append");
                    took.push(start.elapsed());
                }
                took
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("an appender failed"));
    }
    all
}

/// What the other operations cost, on a room of 2,200 and of 100,000 entries among others.
async fn one_room(log: Arc<EmbeddedLog>) -> Result<(), Box<dyn std::error::Error>> {
    let message = Bytes::from(vec![7; 100]);
    let worker = WorkerId("bench".to_owned());
    let all = ReadLimit { entries: usize::MAX, size_bytes: usize::MAX };
    for entries in [2_200, 100_000] {
        for _ in 0..entries / 100 {
            for n in 0..4 {
                let messages = vec![message.clone(); if n == 0 { 100 } else { 25 }];
                log.append(Append { room: room(n), messages, floor: StreamClock::ZERO }).await?;
            }
        }
        let start = now();
        let page = log.read(&room(0), StreamClock::ZERO, all).await?;
        println!("read {} entries: {:.2} ms", page.entries.len(), start.elapsed().as_secs_f64() * 1e3);

        let (control, mut tail) = log.tail().await?;
        let start = now();
        control.follow(room(0), page.trimmed_upto);
        let mut brought = 0;
        while brought < page.entries.len() {
            if let Some(Ok(TailEvent::Entries { entries, .. })) = tail.next().await {
                brought += entries.len();
            }
        }
        println!("catch up with {brought} entries: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);

        let tasks = log.claim(&worker, 100, Duration::ZERO, Duration::from_secs(60)).await?;
        let task = tasks.iter().find(|task| task.room == room(0)).ok_or("the room is live")?;
        let upto = page.entries.last().ok_or("it has entries")?.clock;
        let start = now();
        let done = log.complete(&worker, task, upto, Duration::ZERO).await?;
        let Completed::Done { trimmed, .. } = done else { return Err("the task is ours".into()) };
        println!("trim {trimmed} entries: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
        for task in tasks {
            log.give_back(&worker, &task, Duration::ZERO).await?;
        }
    }
    Ok(())
}
