//! `yhub serve`: runs a hub until it is told to stop.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anyhow::Context;
use log::{info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use yhub::{Backend, Config, Hub};

use super::Options;

pub(super) fn run(options: Options) -> anyhow::Result<()> {
    let config = options.load()?.config;
    actix_rt::System::new().block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before anything starts, so that no signal is missed.
    let mut signals = Signals::listen()?;
    let told = config.clone();
    let running = tokio::select! {
        running = Running::start(config) => running?,
        name = signals.next() => {
            info!("{name}: stopped before the hub had started");
            return Ok(());
        }
    };
    // A hub whose output nobody reads serves all the same.
    let _ = io::stdout().lock().write_all(running.greeting(&told).as_bytes());

    let name = tokio::select! {
        ended = running.wait() => return ended.context("the hub failed while it was running"),
        name = signals.next() => name,
    };
    info!("{name}: stopping; once more ends at once");
    tokio::select! {
        stopped = running.stop() => stopped.context("the hub did not stop cleanly"),
        name = signals.next() => {
            warn!("{name} again: ending at once");
            // What was promised is on disk already; what is left is politeness towards clients.
            std::process::exit(1)
        }
    }
}

/// What runs in this process, according to its role.
enum Running {
    /// A hub with a server.
    Server(Box<Hub>),
    /// One that only compacts.
    Worker(Box<Backend>),
}

impl Running {
    async fn start(config: Config) -> anyhow::Result<Self> {
        Ok(if config.role.serves() {
            Self::Server(Box::new(Hub::start(config).await?))
        } else {
            Self::Worker(Box::new(Backend::start(&config).await?))
        })
    }

    /// Ends only when it cannot go on, with the reason.
    async fn wait(&self) -> anyhow::Result<()> {
        match self {
            Self::Server(hub) => hub.wait().await,
            Self::Worker(backend) => {
                backend.failed().await;
                anyhow::bail!("what looks after the compactor is gone")
            }
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Server(hub) => hub.stop().await,
            Self::Worker(backend) => backend.stop().await,
        }
    }

    /// What is said when it runs.
    fn greeting(&self, config: &Config) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match self {
            Self::Worker(_) => {
                let places: Vec<String> = config.places().iter().map(|(name, place)| format!("{name} {place}")).collect();
                format!("yhub {version} compacts, without a port: {}\n", places.join("; "))
            }
            Self::Server(hub) => {
                let mut text = format!("yhub {version} is open\n");
                let mut line = |name, what: &str| text.push_str(&format!("  {name:<10}{what}\n"));
                line("connect", &url(hub.addr(), &config.server.prefix));
                if config.is_distributed() {
                    let role = if config.role.compacts() { "serves and compacts" } else { "serves; workers compact" };
                    line("role", &format!("{}: {role}", config.role));
                }
                config.places().iter().for_each(|(name, place)| line(name, place));
                line("access", &config.auth.in_words());
                text
            }
        }
    }
}

/// Where clients connect. An address that stands for all addresses is no place to go to.
fn url(addr: SocketAddr, prefix: &str) -> String {
    let (host, note) = if addr.ip().is_unspecified() {
        (format!("localhost:{}", addr.port()), " (and at every other address of this machine)")
    } else {
        (addr.to_string(), "")
    };
    format!("ws://{host}/{prefix}/ws/v1/{{org}}/{{docid}}{note}")
}

/// The signals that end the hub.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_can_be_connected_to() {
        let url = |addr: &str| url(addr.parse().unwrap(), "api");
        assert_eq!(url("127.0.0.1:4400"), "ws://127.0.0.1:4400/api/ws/v1/{org}/{docid}");
        assert_eq!(url("[::1]:4400"), "ws://[::1]:4400/api/ws/v1/{org}/{docid}");
        assert!(url("0.0.0.0:80").starts_with("ws://localhost:80/api"));
    }
}
