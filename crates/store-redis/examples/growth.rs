//! How delivery grows with the rooms that a node follows, while a few of them are written to.
//!
//!     cargo run --release -p yhub-store-redis --example growth -- redis://127.0.0.1:6379 [1000,5000,10000,20000]
//!
//! Uses keys of its own prefix, and removes nothing. For each number of rooms: every room is made live by one entry and
//! followed, then five are appended to 200 times a second for ten seconds. Printed: milliseconds from the call of append until
//! the entry is brought, processor time of Redis (its own figures) and of this process as percent of a core, resident memory.

use std::{collections::HashMap, error::Error, fs, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::try_join_all};
use redis::AsyncCommands as _;
use tokio::time::{Instant, interval, sleep};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{Append, StreamLog, TailEvent};
use yhub_store_redis::{RedisLog, RedisLogOptions};

const ACTIVE: usize = 5;
const PER_SECOND: u64 = 200;
const SECONDS: u64 = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("the url of a Redis is missing")?;
    let sizes = args.next().unwrap_or_else(|| "1000,5000,10000,20000".to_owned());
    println!("rooms  p50 ms  p99 ms  max ms  redis cpu %  node cpu %  node MB");
    for size in sizes.split(',') {
        measure(&url, size.trim().parse()?).await?;
    }
    Ok(())
}

async fn measure(url: &str, rooms: usize) -> Result<(), Box<dyn Error>> {
    let mut options = RedisLogOptions::new(url);
    options.prefix = format!("growth-{}-{rooms}", std::process::id());
    let log = RedisLog::connect(options).await?;
    let all: Vec<RoomId> = (0..rooms).map(|n| RoomId::new("growth", &n.to_string(), RoomId::MAIN)).collect();
    let (control, mut tail) = log.tail().await?;
    let append =
        |room: &RoomId| Append { room: room.clone(), messages: vec![Bytes::from_static(&[7; 100])], floor: StreamClock::ZERO };
    for part in all.chunks(500) {
        try_join_all(part.iter().map(|room| log.append(append(room)))).await?;
        part.iter().for_each(|room| control.follow(room.clone(), StreamClock::ZERO));
    }
    let mut seen = 0;
    while seen < rooms {
        if let Some(TailEvent::Entries { entries, .. }) = tail.next().await.transpose()? {
            seen += entries.len();
        }
    }
    // Subscriptions and their second reading come to rest.
    sleep(Duration::from_secs(2)).await;

    let mut server = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let (redis_before, node_before, began) = (redis_cpu(&mut server).await?, node_cpu()?, Instant::now());
    let mut ticks = interval(Duration::from_micros(1_000_000 / PER_SECOND));
    let mut sent: HashMap<(RoomId, StreamClock), Instant> = HashMap::new();
    let mut early: HashMap<(RoomId, StreamClock), Instant> = HashMap::new();
    let (mut taken_ms, mut n) = (Vec::new(), 0);
    while (taken_ms.len() as u64) < PER_SECOND * SECONDS {
        tokio::select! {
            _ = ticks.tick(), if n < PER_SECOND * SECONDS => {
                let room = &all[n as usize % ACTIVE];
                let at = Instant::now();
                let clock = log.append(append(room)).await?[0];
                match early.remove(&(room.clone(), clock)) {
                    Some(arrived) => taken_ms.push((arrived - at).as_secs_f64() * 1e3),
                    None => drop(sent.insert((room.clone(), clock), at)),
                }
                n += 1;
            }
            event = tail.next() => {
                let arrived = Instant::now();
                let Some(TailEvent::Entries { room, entries }) = event.transpose()? else { continue };
                for entry in entries.iter() {
                    match sent.remove(&(room.clone(), entry.clock)) {
                        Some(at) => taken_ms.push((arrived - at).as_secs_f64() * 1e3),
                        None => drop(early.insert((room.clone(), entry.clock), arrived)),
                    }
                }
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    let percent = |used: f64| used / took * 100.0;
    let (redis_used, node_used) = (redis_cpu(&mut server).await? - redis_before, node_cpu()? - node_before);
    taken_ms.sort_by(f64::total_cmp);
    let at = |part: f64| taken_ms[((taken_ms.len() - 1) as f64 * part) as usize];
    println!(
        "{rooms:>5}  {:>6.2}  {:>6.2}  {:>6.2}  {:>11.1}  {:>10.1}  {:>7}",
        at(0.5),
        at(0.99),
        at(1.0),
        percent(redis_used),
        percent(node_used),
        resident_mb()?
    );
    // So that the next size begins with an empty server.
    let keys: Vec<String> = server.keys(format!("growth-{}-{rooms}:*", std::process::id())).await?;
    for keys in keys.chunks(1000) {
        let _: () = server.unlink(keys).await?;
    }
    Ok(())
}

/// Seconds of processor time that the server has used.
async fn redis_cpu(server: &mut redis::aio::MultiplexedConnection) -> Result<f64, Box<dyn Error>> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(server).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Ok(field("used_cpu_user:").unwrap_or(0.0) + field("used_cpu_sys:").unwrap_or(0.0))
}

/// Seconds of processor time that this process has used.
fn node_cpu() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").ok_or("an odd /proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    // In hundredths of a second.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn resident_mb() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? >> 10)
}
