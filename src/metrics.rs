//! `GET /metrics`: what the hub counts, in the text format of Prometheus, on a listener of its own.
//!
//! On its own because nobody is asked there who they are: what is open to everybody on the public port tells an attacker which bound
//! to push at. No name holds an org, a document or a user.

use std::{fmt, net::SocketAddr, sync::Arc};

use actix::Addr;
use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, http::header, web};
use anyhow::Context;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry as Metrics,
};
use yhub_actors::{Count, Node, Registry};
use yhub_core::limiting::Bound;

use crate::{http::Rest, wiring::Door};

/// The media type of the format.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A listener for metrics; ends with it.
pub(crate) struct Listener {
    addr: SocketAddr,
    server: ServerHandle,
}

impl Listener {
    /// Listens on `addr`. Needs a running actix `System`.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) fn start(addr: SocketAddr, door: &Door) -> anyhow::Result<Self> {
        let source = Source { node: door.node.clone(), registry: door.registry.clone(), rest: door.rest.clone() };
        let server =
            HttpServer::new(move || App::new().app_data(web::Data::new(source.clone())).route("/metrics", web::get().to(answer)));
        let server = server.workers(1).disable_signals().bind(addr);
        let server = server.with_context(|| format!("cannot listen on {addr}; choose another `server.metrics`"))?;
        let addr = server.addrs().first().copied().context("the socket has no address")?;
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(Self { addr, server: handle })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It is told at once; nobody waits for what it returns.
        drop(self.server.stop(false));
    }
}

/// What is told.
#[derive(Clone)]
struct Source {
    node: Arc<Node>,
    registry: Addr<Registry>,
    rest: Arc<Rest>,
}

async fn answer(source: web::Data<Source>) -> HttpResponse {
    match source.text().await {
        Ok(text) => HttpResponse::Ok().insert_header((header::CONTENT_TYPE, MEDIA_TYPE)).body(text),
        Err(error) => {
            log::error!("the metrics cannot be told: {error:#}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

impl Source {
    async fn text(&self) -> anyhow::Result<String> {
        let census = self.registry.send(Count).await.context("the registry is gone")?;
        let gauges = vec![
            ("yhub_open_sessions", "WebSocket connections that are open", self.node.open_sessions() as u64),
            ("yhub_rooms", "Rooms in memory", census.rooms as u64),
            ("yhub_snapshot_bytes", "Bytes of documents in the memory of rooms", census.snapshot_bytes as u64),
            (
                "yhub_answer_bytes",
                "Bytes of documents and of other long answers that are being sent over HTTP",
                self.rest.answer_bytes() as u64,
            ),
            ("yhub_body_bytes", "Bytes of bodies that are being taken in over HTTP", self.rest.body_bytes() as u64),
            ("yhub_computations", "Computations that run or wait", self.node.documents.compute().under_way() as u64),
        ];
        let counters = vec![("yhub_rooms_started", "Rooms that were brought into memory", census.rooms_started)];
        let mut metrics = Metrics::default();
        metrics.register_collector(Box::new(Told { node: self.node.clone(), gauges, counters }));
        let mut text = String::new();
        encode(&mut text, &metrics).context("the text cannot be made")?;
        Ok(text)
    }
}

/// Everything as it is at one moment.
struct Told {
    node: Arc<Node>,
    gauges: Vec<(&'static str, &'static str, u64)>,
    counters: Vec<(&'static str, &'static str, u64)>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("gauges", &self.gauges).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let about = "How often a bound was reached";
        let mut limited = encoder.encode_descriptor("yhub_limited", about, None, MetricType::Counter)?;
        for bound in Bound::ALL {
            let counter = ConstCounter::new(self.node.limiting.tally.of(*bound));
            counter.encode(limited.encode_family(&[("bound", bound.name())])?)?;
        }
        for (name, about, value) in &self.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(encoder.encode_descriptor(name, about, None, MetricType::Counter)?)?;
        }
        for (name, about, value) in &self.gauges {
            let gauge = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, about, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
