//! `yhub serve`: runs a hub until it is told to stop.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path,
};

use anyhow::Context;
use log::{info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use yhub::{Config, Hub};

use super::Options;

pub(super) fn run(options: Options) -> anyhow::Result<()> {
    let config = options.load()?.config;
    actix_rt::System::new().block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before anything starts, so that no signal is missed.
    let mut signals = Signals::listen()?;
    let (data_dir, prefix, access) = (config.data_dir.clone(), config.server.prefix.clone(), config.auth.in_words());
    let hub = tokio::select! {
        hub = Hub::start(config) => hub?,
        name = signals.next() => {
            info!("{name}: stopped before the hub had started");
            return Ok(());
        }
    };
    let data_dir = path::absolute(&data_dir).unwrap_or(data_dir);
    let text = format!(
        "yhub {} is open\n  connect  {}\n  data     {}\n  access   {access}\n",
        env!("CARGO_PKG_VERSION"),
        url(hub.addr(), &prefix),
        data_dir.display(),
    );
    // A hub whose output nobody reads serves all the same.
    let _ = io::stdout().lock().write_all(text.as_bytes());

    let name = tokio::select! {
        ended = hub.wait() => return ended.context("the hub failed while it was serving"),
        name = signals.next() => name,
    };
    info!("{name}: stopping; once more ends at once");
    tokio::select! {
        stopped = hub.stop() => stopped.context("the hub did not stop cleanly"),
        name = signals.next() => {
            warn!("{name} again: ending at once");
            // What was promised is on disk already; what is left is politeness towards clients.
            std::process::exit(1)
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
