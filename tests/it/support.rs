//! Hubs for tests: in this process, on every stage, with stores that count and fail on demand; or as the binary.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{App, HttpServer, web};
use tokio::sync::oneshot;
use yhub::{Backend, Census, Config, Hub, Stores, config::Millis};
use yhub_content as content;
use yhub_core::{RoomId, StreamClock, StreamMessage, limiting::Bound};
use yhub_documents::Documents;
use yhub_store::{
    DocStore, LogEntry, ReadLimit, StreamLog,
    faults::{DocMethod, FaultPlan, FaultyDocStore, FaultyStreamLog, LogMethod},
};
use yhub_testkit::{
    Connect, Launch, TestClient,
    servers::{Balancer, Database, Postgres, Redis},
    within,
};

/// The org of every room in these tests.
pub(crate) const ORG: &str = "acme";

/// What a test plays on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// One hub on the embedded engines, with its own server: sessions own their TCP streams.
    Direct,
    /// The same, mounted in somebody's actix-web `App`.
    Mounted,
    /// One hub on Redis and PostgreSQL.
    Full,
    /// Three hubs that share Redis and PostgreSQL. A balancer leads each connection to any of them.
    Three,
}

impl Stage {
    fn nodes(self) -> usize {
        if self == Self::Three { 3 } else { 1 }
    }

    pub(crate) fn is_distributed(self) -> bool {
        matches!(self, Self::Full | Self::Three)
    }
}

/// Hubs in this process, each on a thread of its own; stopped when dropped.
pub(crate) struct TestHub {
    addr: SocketAddr,
    nodes: Vec<Running>,
    /// What goes wrong with the stream log, for all nodes together; counts its calls.
    pub(crate) log_plan: Arc<FaultPlan<LogMethod>>,
    /// What goes wrong with the document store, for all nodes together; counts its calls.
    pub(crate) doc_plan: Arc<FaultPlan<DocMethod>>,
    stores: Stores,
    config: Config,
    // Dropped after the nodes, in this order.
    _balancer: Option<Balancer>,
    servers: Option<Servers>,
    _dir: tempfile::TempDir,
}

/// What is shared by distributed hubs.
pub(crate) struct Servers {
    pub(crate) redis: Redis,
    pub(crate) database: Database,
}

impl Servers {
    /// Started, and with tables.
    pub(crate) fn start() -> Self {
        Self::with(Redis::start())
    }

    /// The same with that Redis.
    pub(crate) fn with(redis: Redis) -> Self {
        let servers = Self { redis, database: Postgres::database() };
        let mut config = Config::default();
        servers.set(&mut config);
        yhub::migrate(&config).expect("the migrations run");
        servers
    }

    /// Tells a configuration where they are.
    pub(crate) fn set(&self, config: &mut Config) {
        // A test of short leases has to have a server that is given up in less.
        let lease: Duration = config.worker.lease_ms.into();
        config.redis.timeout_ms = Millis::new((lease.as_millis() as u64 * 3 / 4).min(5_000));
        config.redis.url = Some(self.redis.url().into());
        config.postgres.url = Some(self.database.url().into());
    }
}

struct Running {
    addr: SocketAddr,
    hub: Arc<Inner>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    async fn start(stage: Stage, config: Config, stores: Stores) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, started) = oneshot::channel();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let backend = Backend::start_with(&config, stores).await.unwrap();
                match stage {
                    Stage::Mounted => mounted(&config, backend, tell, stopped).await,
                    Stage::Direct | Stage::Full | Stage::Three => direct(config, backend, tell, stopped).await,
                }
            });
        });
        let (addr, hub) = within("the hub to start", started).await.expect("it started");
        Self { addr, hub, stop, thread }
    }
}

enum Inner {
    Direct(Box<Hub>),
    Mounted(web::Data<Backend>),
}

impl Inner {
    fn backend(&self) -> &Backend {
        match self {
            Self::Direct(hub) => hub.backend(),
            Self::Mounted(backend) => backend,
        }
    }
}

impl TestHub {
    /// A hub with the settings for tests.
    pub(crate) async fn start(stage: Stage) -> Self {
        Self::with(stage, |_| ()).await
    }

    /// The same with some settings changed.
    pub(crate) async fn with(stage: Stage, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_nodes(stage, change, |_, _, _| ()).await
    }

    /// The same, and for each node, by its number, some that it alone has.
    pub(crate) async fn with_nodes(
        stage: Stage,
        change: impl FnOnce(&mut Config),
        mut change_node: impl FnMut(usize, Option<&Servers>, &mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(dir.path());
        change(&mut config);
        let servers = match stage.is_distributed() {
            true => Some(tokio::task::spawn_blocking(Servers::start).await.expect("the servers start")),
            false => None,
        };
        if let Some(servers) = &servers {
            servers.set(&mut config);
        }
        let (log_plan, doc_plan) = (FaultPlan::new(), FaultPlan::new());
        let (mut nodes, mut first) = (Vec::new(), None);
        for number in 0..stage.nodes() {
            let mut config = config.clone();
            change_node(number, servers.as_ref(), &mut config);
            let stores = Backend::open_stores(&config).await.unwrap();
            first.get_or_insert_with(|| stores.clone());
            let faulty = Stores {
                log: Arc::new(FaultyStreamLog::new(stores.log.clone(), log_plan.clone())),
                docs: Arc::new(FaultyDocStore::new(stores.docs.clone(), doc_plan.clone())),
                ..stores
            };
            nodes.push(Running::start(stage, config, faulty).await);
        }
        let stores = first.expect("there is one node at least");
        let balancer = (stage == Stage::Three).then(|| Balancer::start(nodes.iter().map(|node| node.addr), 7));
        let addr = balancer.as_ref().map_or(nodes[0].addr, Balancer::addr);
        Self { addr, nodes, log_plan, doc_plan, stores, config, _balancer: balancer, servers, _dir: dir }
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clients of one node connect.
    pub(crate) fn node_addr(&self, number: usize) -> SocketAddr {
        self.nodes[number].addr
    }

    /// How many nodes there are.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Rooms and documents in the memory of all nodes together.
    pub(crate) async fn census(&self) -> Census {
        let mut all = Census { rooms: 0, snapshot_bytes: 0, rooms_started: 0 };
        for node in &self.nodes {
            let census = node.hub.backend().census().await.unwrap();
            all.rooms += census.rooms;
            all.snapshot_bytes += census.snapshot_bytes;
            all.rooms_started += census.rooms_started;
        }
        all
    }

    /// The open sessions of all nodes together.
    pub(crate) fn open_sessions(&self) -> usize {
        self.nodes.iter().map(|node| node.hub.backend().open_sessions()).sum()
    }

    /// How often a bound was reached, on all nodes together.
    pub(crate) fn limited(&self, bound: Bound) -> u64 {
        self.nodes.iter().map(|node| node.hub.backend().limited(bound)).sum()
    }

    /// Where the first node tells its metrics.
    pub(crate) fn metrics_addr(&self) -> SocketAddr {
        self.nodes[0].hub.backend().metrics_addr().expect("it was configured")
    }

    /// What a distributed hub keeps its streams in.
    pub(crate) fn redis(&self) -> &Redis {
        &self.servers.as_ref().expect("the hub is distributed").redis
    }

    /// Its stream log, without faults.
    pub(crate) fn log(&self) -> &Arc<dyn StreamLog> {
        &self.stores.log
    }

    /// Its document store, without faults.
    pub(crate) fn store(&self) -> &Arc<dyn DocStore> {
        &self.stores.docs
    }

    /// All its stores, without faults.
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What one does with its rooms, beside its nodes.
    pub(crate) fn documents(&self) -> Documents {
        self.stores.documents(&self.config).unwrap()
    }

    /// A client of the room `docid`; a query may follow: `notes?gc=false`.
    pub(crate) async fn client(&self, docid: &str) -> TestClient {
        TestClient::connect(self.addr, &path(docid)).await
    }

    /// A connection to be made to the room `docid`.
    pub(crate) fn connect(&self, docid: &str) -> Connect {
        Connect::to(self.addr, &path(docid))
    }

    /// The updates in the stream of the room `docid`.
    pub(crate) async fn stream_updates(&self, docid: &str) -> Vec<Vec<u8>> {
        let entries = entries(self.log().as_ref(), &room(docid)).await;
        entries.iter().filter_map(|entry| update_in(entry).map(|(update, _)| update)).collect()
    }

    /// Who made them, and when.
    pub(crate) async fn stream_maps(&self, docid: &str) -> Vec<content::ContentMap> {
        let entries = entries(self.log().as_ref(), &room(docid)).await;
        let maps = entries.iter().filter_map(|entry| update_in(entry).map(|(_, map)| map));
        maps.map(|map| content::ContentMap::from_bytes(&map).expect("a content map")).collect()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        let mut threads = Vec::new();
        for Running { hub, stop, thread, .. } in self.nodes.drain(..) {
            drop(hub);
            // If it has ended already its thread says why.
            let _ = stop.send(());
            threads.push(thread);
        }
        let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        if panicked > 0 && !thread::panicking() {
            panic!("the threads of {panicked} nodes panicked");
        }
    }
}

type Tell = oneshot::Sender<(SocketAddr, Arc<Inner>)>;

async fn direct(config: Config, backend: Backend, tell: Tell, stopped: oneshot::Receiver<()>) {
    let hub = Hub::start_over(config, backend).await.unwrap();
    let addr = hub.addr();
    let hub = Arc::new(Inner::Direct(Box::new(hub)));
    tell.send((addr, hub.clone())).ok().expect("the test waits for it");
    let _ = stopped.await;
    if let Some(Inner::Direct(hub)) = Arc::into_inner(hub) {
        // A test may leave a store that hangs.
        let _ = hub.stop().await;
    }
}

async fn mounted(config: &Config, backend: Backend, tell: Tell, stopped: oneshot::Receiver<()>) {
    let backend = web::Data::new(backend);
    let mount = backend.clone();
    let server = HttpServer::new(move || {
        App::new().service(yhub::scope("/api/ws/v1", &mount)).service(yhub::http::rest_scope("/api", &mount))
    })
    .on_connect(yhub::on_connect(&backend))
    .client_request_timeout(config.server.head_timeout_ms.into())
    .workers(2)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(("127.0.0.1", 0))
    .unwrap();
    let addr = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    tell.send((addr, Arc::new(Inner::Mounted(backend.clone())))).ok().expect("the test waits for it");
    let _ = stopped.await;
    let _ = backend.stop().await;
    handle.stop(false).await;
    serving.await.unwrap().unwrap();
}

/// The path of the room `docid`; a query may follow it.
pub(crate) fn path(docid: &str) -> String {
    format!("/api/ws/v1/{ORG}/{docid}")
}

/// The room `docid` on its main branch.
pub(crate) fn room(docid: &str) -> RoomId {
    RoomId::new(ORG, docid, RoomId::MAIN)
}

/// Every entry in the stream of a room.
pub(crate) async fn entries(log: &dyn StreamLog, room: &RoomId) -> Vec<LogEntry> {
    let (mut all, mut after) = (Vec::new(), StreamClock::ZERO);
    loop {
        let page = log.read(room, after, ReadLimit { entries: 10_000, size_bytes: 64 << 20 }).await.unwrap();
        all.extend(page.entries);
        match all.last() {
            Some(last) if page.more => after = last.clock,
            _ => return all,
        }
    }
}

/// The update in an entry, with its content map; what is in the stream must pass the guard.
pub(crate) fn update_in(entry: &LogEntry) -> Option<(Vec<u8>, Vec<u8>)> {
    match StreamMessage::decode(entry.message.as_ref()?).expect("the stream holds well-formed messages") {
        StreamMessage::Update { update, contentmap } => {
            content::check_update(&update, &content::Limits::default()).expect("the stream holds well-formed updates");
            Some((update.to_vec(), contentmap.to_vec()))
        }
        _ => None,
    }
}

/// The binary, with its data below `dir`, with short times as in [`Config::for_testing`].
pub(crate) fn binary(dir: &Path) -> Launch {
    Launch::new(PathBuf::from(env!("CARGO_BIN_EXE_yhub")), dir)
        .set("server.first_sync_ms", 300)
        .set("server.shutdown_ms", 2000)
        .set("room.idle_ms", 500)
        .set("stream.min_message_lifetime_ms", 300)
        .set("worker.task_debounce_ms", 200)
        .set("worker.lease_ms", 1000)
        .set("embedded.durability", "process-crash")
        // As fast as it goes, as in `Config::for_testing`.
        .set("limits.messages_per_second", 0)
        .set("limits.message_bytes_per_second", 0)
        .set("limits.user_messages_per_second", 0)
        .set("limits.user_bytes_per_second", 0)
        .set("limits.address_messages_per_second", 0)
        .set("limits.address_bytes_per_second", 0)
        .set("limits.room_messages_per_second", 0)
        .set("limits.room_bytes_per_second", 0)
        .set("limits.awareness_per_second", 0)
        .set("limits.awareness_bytes_per_second", 0)
        .set("limits.http_connections_per_second", 0)
        .set("limits.upgrades_per_second", 0)
        .set("limits.rest_per_second", 0)
        .set("limits.rest_per_second_of_user", 0)
}

/// A test for each stage of one node, of an `async fn(Stage)`.
macro_rules! on_one_node {
    ($($(#[$attribute:meta])* $case:ident),+ $(,)?) => {
        on_stage!(direct, Direct; $($(#[$attribute])* $case),+);
        on_stage!(mounted, Mounted; $($(#[$attribute])* $case),+);
        on_stage!(full, Full; $($(#[$attribute])* $case),+);
    };
}

/// A test for each stage, of an `async fn(Stage)`; those after `on_one_node` only for the stages of one node.
macro_rules! on_all {
    ($($(#[$attribute:meta])* $case:ident),+ $(; on_one_node: $($single:ident),+)? $(,)?) => {
        on_one_node!($($(#[$attribute])* $case,)+ $($($single),+)?);
        on_stage!(three, Three; $($(#[$attribute])* $case),+);
    };
}

/// The tests of one stage; for the macros above.
macro_rules! on_stage {
    ($module:ident, $stage:ident; $($(#[$attribute:meta])* $case:ident),+) => {
        mod $module {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::support::Stage::$stage).await;
                }
            )+
        }
    };
}
