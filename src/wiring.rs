//! The only file that names engines, with `assets.rs`: configuration → stores → actors.

use std::sync::Arc;

use actix::prelude::*;
use anyhow::Context as _;
use tokio::sync::mpsc;
use yhub_actors::{Forgets, JanitorSettings, Node, NodeParts, NoticeSettings, Registry, WorkerSettings};
use yhub_content as content;
use yhub_core::{AccessPolicy, AwarenessBounds, PoisonPolicy, RoomLimits, SessionLimits, SystemClock, TimeSource};
use yhub_documents::{ComputePool, Documents, DocumentsParts};
use yhub_store::{MemoryCache, MemoryTickets, TicketBound};
use yhub_store_redis::{RedisLog, RedisLogOptions};
use yhub_store_sql::{
    Durability, EmbeddedLog, EmbeddedLogOptions, OpenError, PostgresDocs, PostgresDocsOptions, SqliteDocs, SqliteDocsOptions,
    migrate_postgres,
};

use crate::{
    Config, Stores,
    assets::open_assets,
    audit::Audit,
    callers::Callers,
    config::{self, or_cores},
    connections::Connections,
    doorkeeper::Doorkeeper,
    http::Rest,
    issued::Issued,
    limiting::{AuthGuard, documents_bounds, limiting},
    peer::Proxies,
    ws::Gate,
};

/// How often the queue is asked for tasks, unless tasks are to wait for less.
const TASK_POLL_MS: u64 = 500;

/// When a hub stops, compactions that are under way may end for so long, at most.
const STOP_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Rooms that are folded at once unless it is said, also where there are few cores: most of the time they wait for databases.
const LEAST_CONCURRENCY: usize = 8;

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
/// Notices of changed access are kept for so long.
const NOTICES_FOR: std::time::Duration = std::time::Duration::from_secs(3_600);
/// Access tokens are listed for so long after they have ended.
const ENDED_TOKENS_FOR: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// An embedded hub keeps at most so many bytes of responses that may be asked for again.
const CACHED_BYTES: usize = 256 << 20;
/// The same of answers to requests with a key.
const RECORDED_BYTES: usize = 64 << 20;

/// What requests need: upgrades to make a session, others to be answered. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gate: Gate,
    /// The bounds of connections that are no sessions.
    pub(crate) connections: Connections,
    /// How often they may ask.
    pub(crate) callers: Arc<Callers>,
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Addr<Registry>,
    pub(crate) rest: Arc<Rest>,
}

/// A node whose actors run.
pub(crate) struct Running {
    pub(crate) door: Door,
    pub(crate) stores: Stores,
    /// Where records of refusals wait.
    pub(crate) audit: Audit,
    /// Closed when the registry is gone.
    pub(crate) registry_is_gone: mpsc::Sender<()>,
    /// The threads of rooms and registry.
    pub(crate) arbiters: Vec<Arbiter>,
}

/// Opens the stores and starts the actors.
pub(crate) async fn start(config: &Config) -> anyhow::Result<Running> {
    start_with(config, open_stores(config).await?)
}

/// Opens the stores: Redis and PostgreSQL if their URLs are set, else those in the data directory. Prepares the places for
/// assets.
pub(crate) async fn open_stores(config: &Config) -> anyhow::Result<Stores> {
    let stores = open_unprepared(config).await?;
    stores.assets.init().await.context("a place for assets, which `assets.plugins` names, cannot be used")?;
    Ok(stores)
}

async fn open_unprepared(config: &Config) -> anyhow::Result<Stores> {
    if !config.is_distributed() {
        return open_embedded(config);
    }
    let (redis, postgres) = (redis_options(config)?, postgres_options(config)?);
    // The document store first: that its tables are out of date is what is most often wrong.
    let docs = Arc::new(PostgresDocs::connect(postgres).await?);
    let log = RedisLog::connect(redis).await?;
    Ok(Stores {
        log: log.clone(),
        admin: log.clone(),
        docs: docs.clone(),
        failures: docs.clone(),
        deletions: docs.clone(),
        audit: docs.clone(),
        tokens: docs.clone(),
        notices: docs,
        tickets: log.clone(),
        assets: open_assets(config, Some(log.clone()))?,
        cache: log.clone(),
        records: log,
    })
}

/// [`open_stores`] for a command that looks into the storage of a hub. Places for assets are left as they are: they may be
/// away, which is no reason not to look.
pub(crate) async fn open_for_operator(config: &Config) -> anyhow::Result<Stores> {
    if !config.is_distributed() && !config.data_dir.is_dir() {
        let dir = config.data_dir.display();
        anyhow::bail!("there is no hub's data in {dir}; name its directory with --data-dir, or its configuration with --config");
    }
    let opened = open_unprepared(config).await;
    opened.map_err(|error| match error.downcast_ref::<OpenError>() {
        Some(OpenError::InUse { .. }) => error.context(
            "this command opens the data directory itself, which one process at a time can do; stop the hub, and start it \
             again afterwards",
        ),
        _ => error,
    })
}

/// Runs the migrations of the document store that have not been run.
pub(crate) fn migrate(config: &Config) -> anyhow::Result<Option<Vec<String>>> {
    if !config.is_distributed() {
        return Ok(None);
    }
    Ok(Some(migrate_postgres(&postgres_options(config)?)?))
}

fn open_embedded(config: &Config) -> anyhow::Result<Stores> {
    let dir = &config.data_dir;
    let mut options = EmbeddedLogOptions::new(dir);
    options.durability = match config.embedded.durability {
        config::Durability::PowerLoss => Durability::PowerLoss,
        config::Durability::ProcessCrash => Durability::ProcessCrash,
    };
    let log = Arc::new(EmbeddedLog::open(options, Arc::new(SystemClock))?);
    let docs = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir))?);
    Ok(Stores {
        log: log.clone(),
        admin: log,
        docs: docs.clone(),
        failures: docs.clone(),
        deletions: docs.clone(),
        audit: docs.clone(),
        tokens: docs.clone(),
        notices: docs,
        tickets: Arc::new(MemoryTickets::new(TicketBound::default(), Arc::new(SystemClock))),
        cache: Arc::new(MemoryCache::new(CACHED_BYTES, Arc::new(SystemClock))),
        records: Arc::new(MemoryCache::new(RECORDED_BYTES, Arc::new(SystemClock))),
        assets: open_assets(config, None)?,
    })
}

fn redis_options(config: &Config) -> anyhow::Result<RedisLogOptions> {
    let redis = &config.redis;
    let url = redis.url.as_ref().context("`redis.url` is not set")?;
    Ok(RedisLogOptions {
        prefix: redis.prefix.clone(),
        shards: redis.shards,
        cluster: redis.cluster,
        sentinels: redis.sentinels.clone(),
        sentinel_master: redis.sentinel_master.clone(),
        ca_file: redis.ca_file.clone(),
        min_lifetime: config.stream.min_message_lifetime_ms.duration(),
        sweep: redis.sweep_ms.duration(),
        timeout: redis.timeout_ms.duration(),
        connections: redis.connections,
        ..RedisLogOptions::new(url.expose())
    })
}

fn postgres_options(config: &Config) -> anyhow::Result<PostgresDocsOptions> {
    let postgres = &config.postgres;
    let url = postgres.url.as_ref().context("`postgres.url` is not set")?;
    Ok(PostgresDocsOptions {
        ca_file: postgres.ca_file.clone(),
        connections: postgres.connections,
        statement_timeout: postgres.timeout_ms.duration(),
        operation_timeout: postgres.timeout_ms.duration() * 2,
        ..PostgresDocsOptions::new(url.expose())
    })
}

/// What one does with rooms, with so many threads for what takes long.
pub(crate) fn documents(config: &Config, stores: &Stores, threads: usize) -> anyhow::Result<Documents> {
    let compute = &config.compute;
    let pool = ComputePool::new(threads, compute.queue, compute.deadline_ms.duration());
    let pool = pool.context("cannot start the compute threads")?;
    let Stores { log, admin, docs, failures, deletions, cache, assets, .. } = stores.clone();
    let limits = guard_limits(config);
    Ok(Documents::new(DocumentsParts { log, admin, store: docs, failures, deletions, cache, assets, compute: pool, limits }))
}

/// Starts the actors on stores that the caller has opened.
pub(crate) fn start_with(config: &Config, stores: Stores) -> anyhow::Result<Running> {
    let limiting = limiting(config);
    let documents = documents(config, &stores, or_cores(config.compute.threads))?;
    let documents = documents.bounded(documents_bounds(config, &limiting));
    let time: Arc<dyn TimeSource> = Arc::new(SystemClock);
    let issued = Issued::new(stores.tokens.clone(), stores.tickets.clone(), time.clone());
    let node = Node::new(NodeParts {
        limiting: limiting.clone(),
        access_policy: AccessPolicy { sweep: config.auth.sweep_ms.duration(), grace: config.auth.grace_ms.duration() },
        documents,
        admin: Some(stores.admin.clone()),
        serves: config.role.serves(),
        time,
        notices: Some(notice_settings(config, &stores, &issued)),
        session_limits: session_limits(config),
        room_limits: room_limits(config),
        load_timeout: config.room.load_timeout_ms.duration(),
        snapshot_budget_bytes: config.room.snapshot_budget_bytes,
        worker: worker_settings(config),
        janitor: Some(janitor_settings(config)),
        forgets: Some(forgets(config, &stores)),
        max_connections: config.server.max_connections,
    });
    // Who has no rooms needs no threads for them, and follows no streams.
    let threads = if config.role.serves() { or_cores(config.server.threads) } else { 0 };
    let mut arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
    let handles = arbiters.iter().map(Arbiter::handle).collect();
    let (registry_is_gone, alive) = mpsc::channel(1);
    let own_arbiter = Arbiter::new();
    let registry = Registry::start_in_arbiter(&own_arbiter.handle(), {
        let node = node.clone();
        move |_| Registry::new(node, handles, alive)
    });
    let (audit, gather) = Audit::new(stores.audit.clone(), node.time.clone());
    own_arbiter.spawn(gather);
    let proxies = Proxies::new(config);
    let guard = AuthGuard::new(config, proxies.clone(), &limiting);
    let doorkeeper = Doorkeeper::new(config, issued, audit.clone(), &node.time, guard)?;
    let keeper = doorkeeper.clone();
    own_arbiter.spawn(async move { keeper.keep_fresh().await });
    let callers = Arc::new(Callers::new(config, &limiting, proxies.clone()));
    let rest = Rest::new(config, node.documents.clone(), &stores, node.time.clone(), doorkeeper.clone(), callers.clone());
    arbiters.push(own_arbiter);
    let connections = Connections::new(config, proxies, limiting.tally.clone());
    let door = Door { gate: Gate::new(config, doorkeeper), connections, callers, node, registry, rest };
    Ok(Running { door, stores, audit, registry_is_gone, arbiters })
}

fn guard_limits(config: &Config) -> content::Limits {
    content::Limits {
        max_size_bytes: config.server.max_message_bytes,
        max_structs: config.limits.max_update_structs,
        max_depth: config.limits.max_nesting,
        ..content::Limits::default()
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    let server = &config.server;
    SessionLimits {
        max_message_bytes: server.max_message_bytes,
        max_awareness_bytes: config.limits.max_awareness_bytes,
        inbound_bytes: server.inbound_bytes,
        outbox_bytes: server.outbox_bytes,
        first_sync: server.first_sync_ms.duration(),
        keepalive: server.keepalive_ms.duration(),
        stall_timeout: server.stall_timeout_ms.duration(),
        idle_timeout: server.idle_timeout_ms.duration(),
    }
}

fn room_limits(config: &Config) -> RoomLimits {
    RoomLimits {
        idle: config.room.idle_ms.duration(),
        awareness_coalesce: config.room.awareness_coalesce_ms.duration(),
        pending_bytes: config.room.pending_bytes,
        awareness: AwarenessBounds {
            clients_per_session: config.limits.max_awareness_clients,
            bytes_per_session: config.limits.max_awareness_bytes,
            bytes: config.limits.room_awareness_bytes,
        },
        // Of each room that of its org.
        max_document_bytes: config.limits.max_document_bytes,
    }
}

fn notice_settings(config: &Config, stores: &Stores, issued: &Issued) -> NoticeSettings {
    let issued = issued.clone();
    NoticeSettings {
        store: stores.notices.clone(),
        every: config.auth.notice_ms.duration(),
        told: Arc::new(move |notices| issued.on_notices(notices)),
    }
}

fn janitor_settings(config: &Config) -> JanitorSettings {
    let retention = config.deletion.retention_ms.duration();
    JanitorSettings {
        every: config.deletion.janitor_ms.duration(),
        retention: (!retention.is_zero()).then_some(retention),
        orphan_grace: config.deletion.orphan_grace_ms.duration(),
    }
}

fn forgets(config: &Config, stores: &Stores) -> Forgets {
    let days = config.audit.keep_days as u64;
    Forgets {
        audit: stores.audit.clone(),
        tokens: stores.tokens.clone(),
        keep_records: (days > 0).then(|| DAY * u32::try_from(days).unwrap_or(u32::MAX)),
        keep_ended_tokens: ENDED_TOKENS_FOR,
        notices: stores.notices.clone(),
        keep_notices: NOTICES_FOR,
    }
}

fn worker_settings(config: &Config) -> WorkerSettings {
    let task_debounce = config.worker.task_debounce_ms.duration();
    let poll = std::time::Duration::from_millis(TASK_POLL_MS).min(task_debounce.max(std::time::Duration::from_millis(20)));
    WorkerSettings {
        concurrency: match config.worker.concurrency {
            _ if !config.role.compacts() => 0,
            0 => or_cores(0).max(LEAST_CONCURRENCY),
            set => set,
        },
        task_debounce,
        lease: config.worker.lease_ms.duration(),
        min_message_lifetime: config.stream.min_message_lifetime_ms.duration(),
        poll,
        // So that giving back has its time, too.
        stop_within: (config.server.shutdown_ms.duration() / 2).min(STOP_WITHIN),
        reconcile_every: config.worker.reconcile_ms.duration(),
        poison: PoisonPolicy {
            quarantine_after: config.worker.quarantine_after as u64,
            first_backoff: config.worker.retry_ms.duration(),
            breaker_rooms: config.worker.breaker_rooms,
            ..PoisonPolicy::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Millis, Role};

    #[test]
    fn only_roles_that_compact_take_tasks() {
        let mut config = Config::for_testing("somewhere");
        config.worker.concurrency = 3;
        for (role, concurrency) in [(Role::All, 3), (Role::Worker, 3), (Role::Server, 0)] {
            config.role = role;
            assert_eq!(worker_settings(&config).concurrency, concurrency, "{role}");
        }
        config.worker.concurrency = 0;
        assert_eq!(worker_settings(&config).concurrency, 0, "a server takes none, also where 0 means one per core");
    }

    #[tokio::test]
    async fn records_are_kept_for_days_or_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(dir.path());
        let stores = open_stores(&config).await.unwrap();
        for (days, kept) in [(0, None), (1, Some(DAY)), (365, Some(DAY * 365)), (36_500, Some(DAY * 36_500))] {
            config.audit.keep_days = days;
            assert_eq!(forgets(&config, &stores).keep_records, kept);
        }
    }

    #[test]
    fn engines_are_told_what_is_configured() {
        let mut config = Config::for_testing("somewhere");
        assert!(redis_options(&config).is_err() && postgres_options(&config).is_err(), "without a URL there is nothing to open");
        config.redis.url = Some("redis://:hunter2@r/1".into());
        config.redis.prefix = "other".into();
        (config.redis.shards, config.redis.cluster, config.redis.connections) = (8, true, 7);
        (config.redis.sentinels, config.redis.sentinel_master) = (vec!["s:1".into()], "m".into());
        config.redis.ca_file = Some("r.pem".into());
        config.redis.timeout_ms = Millis::new(123);
        config.redis.sweep_ms = Millis::new(45);
        let redis = redis_options(&config).unwrap();
        assert_eq!((redis.url.as_str(), redis.prefix.as_str()), ("redis://:hunter2@r/1", "other"));
        assert_eq!((redis.shards, redis.cluster, redis.connections), (8, true, 7));
        assert_eq!((redis.sentinels, redis.sentinel_master.as_str()), (vec!["s:1".to_owned()], "m"));
        assert_eq!(redis.ca_file.unwrap().to_str(), Some("r.pem"));
        let times = [redis.timeout, redis.sweep, redis.min_lifetime].map(|time| time.as_millis());
        assert_eq!(times, [123, 45, 100]);
        config.postgres.url = Some("postgres://u:hunter2@p/d".into());
        config.postgres.ca_file = Some("p.pem".into());
        (config.postgres.connections, config.postgres.timeout_ms) = (3, Millis::new(2_000));
        let postgres = postgres_options(&config).unwrap();
        assert_eq!((postgres.url.as_str(), postgres.connections), ("postgres://u:hunter2@p/d", 3));
        assert_eq!(postgres.ca_file.unwrap().to_str(), Some("p.pem"));
        assert_eq!([postgres.statement_timeout, postgres.operation_timeout].map(|time| time.as_millis()), [2_000, 4_000]);
    }
}
