//! The only file that names engines: configuration → stores → actors.

use std::sync::Arc;

use actix::prelude::*;
use anyhow::Context as _;
use tokio::sync::mpsc;
use yhub_actors::{Node, NodeParts, Registry, WorkerSettings};
use yhub_content as content;
use yhub_core::{RoomLimits, SessionLimits, SystemClock};
use yhub_documents::{ComputePool, Documents};
use yhub_store::{DocStore, StreamLog};
use yhub_store_sql::{Durability, EmbeddedLog, EmbeddedLogOptions, SqliteDocs, SqliteDocsOptions};

use crate::{
    Config,
    config::{self, or_cores},
    ws::Gate,
};

/// How often the queue is asked for tasks, unless tasks are to wait for less.
const TASK_POLL_MS: u64 = 500;

/// What an upgrade needs to make a session. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gate: Gate,
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Addr<Registry>,
}

/// A node whose actors run.
pub(crate) struct Running {
    pub(crate) door: Door,
    pub(crate) log: Arc<dyn StreamLog>,
    pub(crate) store: Arc<dyn DocStore>,
    /// Closed when the registry is gone.
    pub(crate) registry_is_gone: mpsc::Sender<()>,
    /// The threads of rooms and registry.
    pub(crate) arbiters: Vec<Arbiter>,
}

/// Opens the stores and starts the actors.
pub(crate) async fn start(config: &Config) -> anyhow::Result<Running> {
    let (log, store) = open_embedded(config)?;
    start_with(config, log, store)
}

/// Opens the stores in the data directory.
pub(crate) fn open_embedded(config: &Config) -> anyhow::Result<(Arc<dyn StreamLog>, Arc<dyn DocStore>)> {
    let dir = &config.data_dir;
    let mut options = EmbeddedLogOptions::new(dir);
    options.durability = match config.embedded.durability {
        config::Durability::PowerLoss => Durability::PowerLoss,
        config::Durability::ProcessCrash => Durability::ProcessCrash,
    };
    let log = EmbeddedLog::open(options, Arc::new(SystemClock))?;
    let store = SqliteDocs::open(SqliteDocsOptions::new(dir))?;
    Ok((Arc::new(log), Arc::new(store)))
}

/// Starts the actors on stores that the caller has opened.
pub(crate) fn start_with(config: &Config, log: Arc<dyn StreamLog>, store: Arc<dyn DocStore>) -> anyhow::Result<Running> {
    let compute = &config.compute;
    let pool = ComputePool::new(or_cores(compute.threads), compute.queue, compute.deadline_ms.duration())
        .context("cannot start the compute threads")?;
    let documents = Documents::new(log.clone(), store.clone(), pool, guard_limits(config));
    let node = Node::new(NodeParts {
        documents,
        time: Arc::new(SystemClock),
        session_limits: session_limits(config),
        room_limits: room_limits(config),
        load_timeout: config.room.load_timeout_ms.duration(),
        snapshot_budget_bytes: config.room.snapshot_budget_bytes,
        worker: worker_settings(config),
        max_connections: config.server.max_connections,
    });
    let mut arbiters: Vec<Arbiter> = (0..or_cores(config.server.threads)).map(|_| Arbiter::new()).collect();
    let handles = arbiters.iter().map(Arbiter::handle).collect();
    let (registry_is_gone, alive) = mpsc::channel(1);
    let own_arbiter = Arbiter::new();
    let registry = Registry::start_in_arbiter(&own_arbiter.handle(), {
        let node = node.clone();
        move |_| Registry::new(node, handles, alive)
    });
    arbiters.push(own_arbiter);
    let door = Door { gate: Gate::new(config), node, registry };
    Ok(Running { door, log, store, registry_is_gone, arbiters })
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
        awareness_clients_per_session: config.limits.max_awareness_clients,
    }
}

fn worker_settings(config: &Config) -> WorkerSettings {
    let task_debounce = config.worker.task_debounce_ms.duration();
    let poll = std::time::Duration::from_millis(TASK_POLL_MS).min(task_debounce.max(std::time::Duration::from_millis(20)));
    WorkerSettings {
        concurrency: or_cores(config.worker.concurrency),
        task_debounce,
        lease: config.worker.lease_ms.duration(),
        min_message_lifetime: config.stream.min_message_lifetime_ms.duration(),
        poll,
    }
}
