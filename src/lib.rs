//! The hub as a library: [`Hub::start`] is the door for the binary, for tests, and for whoever embeds a hub.

mod assets;
mod audit;
mod auth;
mod author;
mod callers;
pub mod config;
mod connections;
mod credentials;
mod doorkeeper;
pub mod http;
mod issued;
mod limiting;
mod metrics;
mod mount;
mod names;
mod origin;
mod peer;
mod stores;
mod tokens;
mod wiring;
mod ws;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use actix_http::{HttpService, Request};
use actix_rt::net::TcpStream;
use actix_service::{Service, ServiceFactoryExt, apply_fn_factory, fn_service, map_config};
use actix_web::{App, dev::AppConfig};
use anyhow::Context;
use socket2::SockRef;
use tokio::sync::Mutex;
use yhub_actors::{Count, Shutdown};
use yhub_core::{HubFault, limiting::Bound};

pub use config::Config;
pub use mount::on_connect;
pub use stores::{Stores, migrate};
pub use tokens::new_token;
pub use ws::scope;
pub use yhub_actors::Census;

use config::or_cores;
use connections::{Watch, Watched, Watches, on_connect as watch_connect};
use http::Readiness;
use metrics::Listener;
use wiring::{Door, Running};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 8192;
/// Even a hub that is to stop at once gives its actors so long.
const SHORTEST_SHUTDOWN: Duration = Duration::from_millis(100);

/// Stores and actors without a server: for whoever mounts [`scope`] in an `App` of their own.
pub struct Backend {
    running: Running,
    metrics: Option<Listener>,
    drain: Duration,
    shutdown: Duration,
}

impl Backend {
    /// Opens the stores and starts the actors. Needs a running actix `System`. Of the section `server`, address, prefix and
    /// threads of the listener do not matter here.
    ///
    /// # Errors
    /// If the configuration is not valid or a store cannot be opened. Nothing is left running then.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        config.validate()?;
        Self::of(config, wiring::start(config).await?)
    }

    /// The stores that [`Self::start`] would open.
    #[doc(hidden)]
    pub async fn open_stores(config: &Config) -> anyhow::Result<Stores> {
        Stores::open(config).await
    }

    /// [`Self::start`] on stores that the caller has opened: for tests that wrap them to count calls or make them fail.
    #[doc(hidden)]
    pub async fn start_with(config: &Config, stores: Stores) -> anyhow::Result<Self> {
        config.validate()?;
        Self::of(config, wiring::start_with(config, stores)?)
    }

    fn of(config: &Config, running: Running) -> anyhow::Result<Self> {
        let server = &config.server;
        let (drain, shutdown) = (server.drain_ms.duration(), server.shutdown_ms.duration());
        // Made first: dropped, it ends what runs.
        let mut backend = Self { running, metrics: None, drain, shutdown };
        let addr = server.metrics;
        backend.metrics = addr.map(|addr| Listener::start(addr, &backend.running.door)).transpose()?;
        Ok(backend)
    }

    /// Where `GET /metrics` is answered, if it is.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Listener::addr)
    }

    /// How often a bound was reached since the start.
    pub fn limited(&self, bound: Bound) -> u64 {
        self.running.door.node.limiting.tally.of(bound)
    }

    pub(crate) fn door(&self) -> &Door {
        &self.running.door
    }

    /// Do the stores answer, and does compaction work? With a switch for when the hub stops.
    pub fn readiness(&self) -> Readiness {
        let (log, docs) = (self.running.stores.log.clone(), self.running.stores.docs.clone());
        let compaction = self.running.door.node.compaction_health().clone();
        let assets = self.running.stores.assets.clone();
        let checks = Readiness::of();
        let checks = match assets.is_empty() {
            true => checks,
            false => checks.and("assets", move || {
                let assets = assets.clone();
                async move { Ok(assets.check().await?) }
            }),
        };
        checks
            .and("stream", move || {
                let log = log.clone();
                async move { Ok(log.check().await?) }
            })
            .and("documents", move || {
                let docs = docs.clone();
                async move { Ok(docs.check().await?) }
            })
            .and("compaction", move || {
                let fault = compaction.fault().filter(|_| compaction.withholds_readiness());
                async move { fault.map_or(Ok(()), |fault| Err(at_fault(&fault))) }
            })
            .done()
    }

    /// Rooms and documents in memory; for operators and tests.
    ///
    /// # Errors
    /// If the registry is gone.
    pub async fn census(&self) -> anyhow::Result<Census> {
        self.running.door.registry.send(Count).await.context("the registry is gone")
    }

    /// How many WebSocket sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.running.door.node.open_sessions()
    }

    /// Ends only when the registry is gone, without which nothing can go on.
    pub async fn failed(&self) {
        self.running.registry_is_gone.closed().await;
    }

    /// Closes all sessions over `server.drain_ms`, and ends what is under way within `server.shutdown_ms` after that.
    ///
    /// # Errors
    /// If that took too long. Everything that was accepted is in the stream all the same.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let within = self.shutdown.max(SHORTEST_SHUTDOWN);
        let shutdown = Shutdown::over(self.drain);
        let orderly = tokio::time::timeout(self.drain + within, self.running.door.registry.send(shutdown)).await;
        // Sessions still say goodbye on the server's threads; they have a moment for it.
        let sessions = async {
            while self.open_sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Who has not gone by then is cut off.
        let _ = tokio::time::timeout(within, sessions).await;
        // What is not written by then is lost; the store is away, or very slow.
        let _ = tokio::time::timeout(within, self.running.audit.flush()).await;
        orderly
            .with_context(|| format!("rooms were still busy after {within:?} (`server.shutdown_ms`)"))?
            .context("the registry died")
    }
}

/// Why a hub whose compactions fail is not ready.
fn at_fault(fault: &HubFault) -> anyhow::Error {
    anyhow::anyhow!("{} rooms fail to be compacted alike, so this hub is at fault ({})", fault.rooms, fault.signature)
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.running.arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
    }
}

/// A running hub.
pub struct Hub {
    backend: Backend,
    addr: SocketAddr,
    readiness: Readiness,
    handle: actix_server::ServerHandle,
    server: Mutex<actix_rt::task::JoinHandle<std::io::Result<()>>>,
}

impl Hub {
    /// Opens the stores, starts the actors, and listens. Needs a running actix `System`.
    ///
    /// # Errors
    /// If the configuration is not valid, a store cannot be opened, or the address cannot be listened on. Nothing is left
    /// running then.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        config.validate()?;
        anyhow::ensure!(config.role.serves(), "a hub of the role {} has no server: start a `Backend`", config.role);
        // Before the stores: an address that is taken is the most usual reason to fail.
        let socket = bind(&config)?;
        let backend = Backend::start(&config).await?;
        Self::listen(&config, socket, backend)
    }

    /// [`Self::start`] on a backend that runs already: for tests that give it stores of their own.
    #[doc(hidden)]
    pub async fn start_over(config: Config, backend: Backend) -> anyhow::Result<Self> {
        Self::listen(&config, bind(&config)?, backend)
    }

    fn listen(config: &Config, socket: std::net::TcpListener, backend: Backend) -> anyhow::Result<Self> {
        // `bind` lets only 128 connections wait: with more at once, the others try again after a second.
        SockRef::from(&socket).listen(BACKLOG).context("cannot listen with a longer queue")?;
        let addr = socket.local_addr().context("the socket has no address")?;
        let readiness = backend.readiness();
        let server = serve(config, socket, backend.door().clone(), readiness.clone())?;
        let handle = server.handle();
        Ok(Self { backend, addr, readiness, handle, server: Mutex::new(actix_rt::spawn(server)) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What runs behind the server.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Ends only when the hub cannot go on.
    ///
    /// # Errors
    /// Always: why it cannot.
    pub async fn wait(&self) -> anyhow::Result<()> {
        let mut server = self.server.lock().await;
        tokio::select! {
            () = self.backend.failed() => anyhow::bail!("the registry of rooms is gone"),
            ended = &mut *server => {
                ended.context("the server died")?.context("the server failed")?;
                anyhow::bail!("the server ended")
            }
        }
    }

    /// Takes no more clients, closes those there are over `server.drain_ms`, ends what is under way, and stops; within
    /// `server.shutdown_ms` after that.
    ///
    /// # Errors
    /// If that took too long. Everything that was accepted is in the stream all the same.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.readiness.stop();
        let stopped = self.backend.stop().await;
        self.handle.stop(false).await;
        stopped
    }
}

fn bind(config: &Config) -> anyhow::Result<std::net::TcpListener> {
    let listen = config.server.listen;
    std::net::TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen}; choose another `server.listen` or end what listens there"))
}

/// The server: WebSocket upgrades leave the HTTP dispatcher with their TCP stream, everything else goes to the `App`.
fn serve(
    config: &Config,
    socket: std::net::TcpListener,
    door: Door,
    readiness: Readiness,
) -> anyhow::Result<actix_server::Server> {
    let prefix = config.server.prefix.clone();
    let (head, write) = (config.server.head_timeout_ms.duration(), config.server.write_timeout_ms.duration());
    let connections = door.connections.clone();
    let factory = move || {
        let (connections, watches) = (connections.clone(), Watches::default());
        let of_worker = watches.clone();
        let (door, routes) = (door.clone(), http::routes(&prefix, readiness.clone()));
        let api = http::api(&prefix, door.gate.origins().clone(), door.rest.clone());
        let app = map_config(App::new().configure(routes).configure(api), |_| AppConfig::default());
        let app = apply_fn_factory(app, |request: Request, app| {
            let watch = request.conn_data::<Rc<Watch>>().cloned();
            if let Some(watch) = &watch {
                watch.on_request();
            }
            let answer = app.call(request);
            async move { Ok::<_, actix_web::Error>(answer.await?.map_body(|_, body| Watched::new(body, watch))) }
        });
        let http = HttpService::build()
            .client_request_timeout(head)
            .client_disconnect_timeout(write)
            .on_connect_ext(move |io: &TcpStream, extensions| watch_connect(&of_worker, io, extensions))
            .upgrade(fn_service(move |(request, framed)| ws::direct_upgrade(request, framed, door.clone())))
            .finish(app)
            .tcp()
            .map_err(|_| ());
        apply_fn_factory(http, move |io: TcpStream, http| {
            // In a box, which is small to move: most of those that come in a flood are refused.
            let open = connections.open(&io, &watches).map(|open| Box::pin(open.watch_over(http.call(io))));
            async move {
                if let Some(open) = open {
                    open.await;
                }
                Ok::<_, ()>(())
            }
        })
    };
    let server = actix_server::Server::build()
        .workers(or_cores(config.server.threads))
        .max_concurrent_connections(config.server.max_connections)
        .disable_signals()
        .listen("hub", socket, factory)
        .context("cannot serve on the socket")?;
    Ok(server.run())
}
