//! Hubs for tests: in this process on both transports with stores that count and fail on demand, or as the binary.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use actix_web::{App, HttpServer, web};
use tokio::sync::oneshot;
use yhub::{Backend, Config, Hub};
use yhub_content as content;
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{
    DocStore, LogEntry, ReadLimit, StreamLog,
    faults::{DocMethod, FaultPlan, FaultyDocStore, FaultyStreamLog, LogMethod},
};
use yhub_testkit::{Connect, Launch, TestClient, within};

/// The org of every room in these tests.
pub(crate) const ORG: &str = "acme";

/// How clients reach a hub in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Its own server: sessions own their TCP streams.
    Direct,
    /// Mounted in somebody's actix-web `App`.
    Mounted,
}

/// A hub in this process, on a thread of its own; stopped when dropped.
pub(crate) struct TestHub {
    addr: SocketAddr,
    running: Option<Running>,
    /// What goes wrong with the stream log; counts its calls.
    pub(crate) log_plan: Arc<FaultPlan<LogMethod>>,
    /// What goes wrong with the document store; counts its calls.
    pub(crate) doc_plan: Arc<FaultPlan<DocMethod>>,
    log: Arc<dyn StreamLog>,
    store: Arc<dyn DocStore>,
    _dir: tempfile::TempDir,
}

struct Running {
    hub: Arc<Inner>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
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
    pub(crate) async fn start(transport: Transport) -> Self {
        Self::with(transport, |_| ()).await
    }

    /// The same with some settings changed.
    pub(crate) async fn with(transport: Transport, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(dir.path());
        change(&mut config);
        let (log, store) = Backend::open_stores(&config).unwrap();
        let (log_plan, doc_plan) = (FaultPlan::new(), FaultPlan::new());
        let (stop, stopped) = oneshot::channel();
        let (tell, started) = oneshot::channel();
        let faulty_log: Arc<dyn StreamLog> = Arc::new(FaultyStreamLog::new(log.clone(), log_plan.clone()));
        let faulty_store: Arc<dyn DocStore> = Arc::new(FaultyDocStore::new(store.clone(), doc_plan.clone()));
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let backend = Backend::start_with(&config, faulty_log, faulty_store).await.unwrap();
                match transport {
                    Transport::Direct => direct(config, backend, tell, stopped).await,
                    Transport::Mounted => mounted(backend, tell, stopped).await,
                }
            });
        });
        let (addr, hub) = within("the hub to start", started).await.expect("it started");
        Self { addr, running: Some(Running { hub, stop, thread }), log_plan, doc_plan, log, store, _dir: dir }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What runs.
    pub(crate) fn backend(&self) -> &Backend {
        self.running.as_ref().expect("it runs until it is dropped").hub.backend()
    }

    /// Its stream log, without faults.
    pub(crate) fn log(&self) -> &Arc<dyn StreamLog> {
        &self.log
    }

    /// Its document store, without faults.
    pub(crate) fn store(&self) -> &Arc<dyn DocStore> {
        &self.store
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
        let entries = entries(self.log.as_ref(), &room(docid)).await;
        entries.iter().filter_map(|entry| update_in(entry).map(|(update, _)| update)).collect()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        if let Some(Running { hub, stop, thread }) = self.running.take() {
            drop(hub);
            // If it has ended already its thread says why.
            let _ = stop.send(());
            if thread.join().is_err() && !thread::panicking() {
                panic!("the hub's thread panicked");
            }
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

async fn mounted(backend: Backend, tell: Tell, stopped: oneshot::Receiver<()>) {
    let backend = web::Data::new(backend);
    let mount = backend.clone();
    let server = HttpServer::new(move || App::new().service(yhub::scope("/api/ws/v1", &mount)))
        .on_connect(yhub::on_connect)
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
}

/// A test for each transport, of an `async fn(Transport)`.
macro_rules! on_both {
    ($($(#[$attribute:meta])* $case:ident),+ $(,)?) => {
        mod direct {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::support::Transport::Direct).await;
                }
            )+
        }
        mod mounted {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::support::Transport::Mounted).await;
                }
            )+
        }
    };
}
