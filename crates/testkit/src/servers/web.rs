//! A web server of somebody else's, such as an application's back end, which answers as a test says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header::HeaderMap, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{
    Certificates,
    background::{Background, blocking},
};
use crate::ports::free_addr;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct WebRequest {
    /// The method, in capitals.
    pub method: String,
    /// Path and query, encoded as they came.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: String,
}

impl WebRequest {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum WebReply {
    /// A status, and a body that is said to be JSON.
    Status(u16, String),
    /// The client is sent to another address.
    Redirect(String),
    /// Nothing, while the connection stays open.
    Never,
    /// Nothing, and the connection is cut.
    Cut,
    /// The other, once the gate is open.
    After(Gate, Box<WebReply>),
}

impl WebReply {
    /// Status 200 with this body.
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Status(200, body.into())
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets all through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        // An end of the other side counts as opened: the test is over.
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A web server on a port of its own. Gone when dropped, with all its connections.
pub struct Web {
    addr: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<WebRequest>>>,
    _background: Background,
}

type Answer = dyn Fn(&WebRequest) -> WebReply + Send + Sync;

struct Shared {
    requests: Arc<Mutex<Vec<WebRequest>>>,
    answer: Box<Answer>,
}

impl Web {
    /// Starts one that answers so.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(answer: impl Fn(&WebRequest) -> WebReply + Send + Sync + 'static) -> Self {
        Self::start_at(free_addr(), answer)
    }

    /// Starts one that speaks TLS, with these certificates.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start_tls(certificates: &Certificates, answer: impl Fn(&WebRequest) -> WebReply + Send + Sync + 'static) -> Self {
        Self::serving(free_addr(), Some(certificates.server().into()), answer)
    }

    /// Starts one at this address.
    ///
    /// # Panics
    /// If it is taken.
    pub fn start_at(addr: SocketAddr, answer: impl Fn(&WebRequest) -> WebReply + Send + Sync + 'static) -> Self {
        Self::serving(addr, None, answer)
    }

    fn serving(
        addr: SocketAddr,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&WebRequest) -> WebReply + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::default();
        let shared = Arc::new(Shared { requests: Arc::clone(&requests), answer: Box::new(answer) });
        let listener = blocking(async { TcpListener::bind(addr).await?.into_std() }).expect("the port is free");
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self { addr, scheme, requests, _background: Background::start(serve(listener, tls, shared)) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address with this path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.addr)
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<WebRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("it is made for a runtime");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (shared, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&shared, request));
                    // It ends with an error where the test wants it cut, and where the client does not trust us.
                    let _ = match tls {
                        None => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                        }
                    };
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let request = WebRequest {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let mut reply = (shared.answer)(&request);
    loop {
        let response = match reply {
            WebReply::Status(status, body) => {
                Response::builder().status(status).header("content-type", "application/json").body(body.into())
            }
            WebReply::Redirect(to) => Response::builder().status(302).header("location", to).body(Full::default()),
            WebReply::Never => match std::future::pending::<Infallible>().await {},
            WebReply::Cut => return Err(std::io::Error::other("the test wants it cut")),
            WebReply::After(gate, then) => {
                gate.pass().await;
                reply = *then;
                continue;
            }
        };
        return Ok(response.expect("a status and headers that are some"));
    }
}
