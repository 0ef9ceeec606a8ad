//! Redis runs every case of the suite: alone, with TLS, with pushes that are never enough, and as a cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use yhub_core::{KeySpace, RoomId, StreamClock};
use yhub_store::testsuite::{LogControl, QueueDamage, ResponseCacheRig, StreamLogRig, TicketRig};
use yhub_store_redis::{RedisLog, RedisLogOptions};
use yhub_testkit::servers::{Redis, RedisCluster};

/// The servers behind a log, and their time.
struct Control {
    servers: Servers,
    shift_ms: AtomicI64,
}

enum Servers {
    One(Box<Redis>),
    Cluster(RedisCluster),
}

impl Control {
    fn nodes(&self) -> &[Redis] {
        match &self.servers {
            Servers::One(redis) => std::slice::from_ref(redis),
            Servers::Cluster(cluster) => cluster.nodes(),
        }
    }

    fn shift(&self, by_ms: i64) {
        let shift_ms = self.shift_ms.fetch_add(by_ms, Ordering::SeqCst) + by_ms;
        self.nodes().iter().for_each(|node| node.shift_time(shift_ms));
    }

    /// The server of a room with one shard.
    fn only(&self) -> Option<&Redis> {
        match &self.servers {
            Servers::One(redis) => Some(redis),
            Servers::Cluster(_) => None,
        }
    }
}

#[async_trait]
impl LogControl for Control {
    fn tick(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn advance(&self, by: Duration) {
        self.shift(by.as_millis() as i64);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.shift(-(by.as_millis() as i64));
        true
    }

    fn claims_in_order(&self) -> bool {
        self.only().is_some()
    }

    async fn append_filler(&self, room: &RoomId, _: StreamClock) -> Option<StreamClock> {
        let (redis, keys) = (self.only()?, KeySpace::new("yhub"));
        let (stream, worker) = (keys.stream(room), keys.worker());
        let was_live = redis.cli(["EXISTS", &stream]) == "1";
        let clock = redis.cli(["XADD", &stream, "*", "nop", "1"]).parse().expect("a clock");
        if !was_live {
            // Enqueued, and not read by anybody: a claim must find such tasks too.
            redis.cli(["XADD", &worker, "*", "compact", &stream]);
        }
        Some(clock)
    }

    async fn damage_queue(&self, room: &RoomId, damage: QueueDamage) -> bool {
        let Some(redis) = self.only() else { return false };
        let (stream, worker) = (KeySpace::new("yhub").stream(room), KeySpace::new("yhub").worker());
        match damage {
            QueueDamage::LostTask => {
                // Id, "compact", stream, and so on.
                let tasks = redis.cli(["XRANGE", &worker, "-", "+"]);
                let lines: Vec<&str> = tasks.lines().collect();
                let Some(task) = lines.chunks(3).find(|task| task[2] == stream) else { return false };
                redis.cli(["XDEL", &worker, task[0]]) == "1"
            }
            QueueDamage::SecondTask | QueueDamage::GhostTask => {
                redis.cli(["XADD", &worker, "*", "compact", &stream]);
                true
            }
            QueueDamage::UnreadableTask => {
                redis.cli(["XADD", &worker, "*", "vacuum", &stream]);
                redis.cli(["XADD", &worker, "*", "compact", "not:a:room"]);
                true
            }
            _ => false,
        }
    }
}

async fn rig(servers: Servers, change: impl FnOnce(&mut RedisLogOptions)) -> StreamLogRig {
    let (log, control) = connect(servers, change).await;
    StreamLogRig { admin: log.clone(), log, control, keep: Box::new(()) }
}

async fn cache_rig(servers: Servers, change: impl FnOnce(&mut RedisLogOptions)) -> ResponseCacheRig {
    let (cache, control) = connect(servers, change).await;
    ResponseCacheRig { cache, control, keep: Box::new(()) }
}

async fn ticket_rig(servers: Servers, change: impl FnOnce(&mut RedisLogOptions)) -> TicketRig {
    let (tickets, control) = connect(servers, change).await;
    TicketRig { tickets, control, keep: Box::new(()) }
}

async fn connect(servers: Servers, change: impl FnOnce(&mut RedisLogOptions)) -> (Arc<RedisLog>, Arc<Control>) {
    let control = Arc::new(Control { servers, shift_ms: AtomicI64::new(0) });
    let mut options = RedisLogOptions::new(control.nodes()[0].url());
    options.sweep = Duration::from_millis(100);
    change(&mut options);
    (RedisLog::connect(options).await.expect("the log connects"), control)
}

async fn cluster() -> Servers {
    let start = || RedisCluster::with(Redis::options().shiftable_time());
    Servers::Cluster(tokio::task::spawn_blocking(start).await.expect("the cluster starts"))
}

/// Several shards in it.
fn divided(options: &mut RedisLogOptions) {
    options.cluster = true;
    options.shards = 5;
}

async fn start(options: yhub_testkit::servers::RedisOptions) -> Box<Redis> {
    tokio::task::spawn_blocking(move || Box::new(options.shiftable_time().start())).await.expect("Redis starts")
}

mod redis {
    use super::*;

    yhub_store::stream_log_conformance!(async { rig(Servers::One(start(Redis::options()).await), |_| {}).await });
    yhub_store::response_cache_conformance!(async { cache_rig(Servers::One(start(Redis::options()).await), |_| {}).await });
    yhub_store::ticket_store_conformance!(async { ticket_rig(Servers::One(start(Redis::options()).await), |_| {}).await });
}

/// Nothing is pushed whole and tails hold nothing: everything is read.
mod redis_at_its_bounds {
    use super::*;

    yhub_store::stream_log_conformance!(async {
        rig(Servers::One(start(Redis::options()).await), |options| {
            options.push_bytes = 1;
            options.tail_bytes = 1;
            options.connections = 1;
        })
        .await
    });
}

mod redis_over_tls {
    use super::*;

    yhub_store::stream_log_conformance!(async {
        let redis = start(Redis::options().tls().password("s3cret")).await;
        let ca_file = redis.ca_file();
        rig(Servers::One(redis), |options| options.ca_file = Some(ca_file)).await
    });
}

mod redis_cluster {
    use super::*;

    yhub_store::stream_log_conformance!(async { rig(cluster().await, divided).await });
    yhub_store::response_cache_conformance!(async { cache_rig(cluster().await, divided).await });
    yhub_store::ticket_store_conformance!(async { ticket_rig(cluster().await, divided).await });
}
