//! The same session inside somebody's own actix-web `App`, where no upgrade service can be had.
//!
//! The session reads the request's payload and writes the response's body, through a bridge that holds little: what a
//! client does not take stays in the session's bounded outbox. A body that the server no longer polls, because its client
//! reads nothing, cannot end its socket; that is what [`on_connect`](crate::on_connect) is for.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::{HttpRequest, HttpResponse, Responder, Scope, web};
use actix_web_actors::ws;
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::io::ReadBuf;
use yhub_actors::{Session, Transport};

use crate::{
    Backend, credentials::answered_protocol, http::HttpError, limiting::admit as admit_session, mount::Connection, wiring::Door,
};

/// One piece of the body, and how much of it may wait in the bridge.
const PIECE_BYTES: usize = 16 << 10;
const BRIDGE_BYTES: usize = 2 * PIECE_BYTES;

/// The WebSocket endpoint of `backend` as a scope: `{org}/{docid}` below wherever it is mounted.
///
/// ```no_run
/// # use actix_web::{App, HttpServer, web};
/// # async fn run(backend: yhub::Backend) -> std::io::Result<()> {
/// let backend = web::Data::new(backend);
/// let guard = yhub::on_connect(&backend);
/// HttpServer::new(move || App::new().service(yhub::scope("/api/ws/v1", &backend)))
///     .on_connect(guard)
///     .client_request_timeout(std::time::Duration::from_secs(5)) // the first head of a connection
///     .keep_alive(std::time::Duration::from_secs(5)) // between requests
///     .max_connections(10_000) // of each worker, sessions included
///     .disable_signals() // on its own, the server would end the System before `Backend::stop` has said goodbye
///     .bind(("127.0.0.1", 4400))?
///     .run()
///     .await
/// # }
/// ```
///
/// # What guards the server
/// All of `limits` holds here as it does for a hub with a server of its own: sessions, messages, requests, documents, bodies, answers.
/// What holds of *connections* is the affair of the server that takes them:
///
/// | bound | of a hub's own server | here |
/// |---|---|---|
/// | connections | `server.max_connections` | of sessions that; of connections `HttpServer::max_connections`, 25,000 a worker if not set |
/// | connections from one address | `limits.http_connections_per_address` | the same with [`on_connect`](crate::on_connect), else none |
/// | time for the first head | `server.head_timeout_ms` | `HttpServer::client_request_timeout`, 5 s if not set |
/// | time for a further head | `server.head_timeout_ms` | none: `HttpServer::keep_alive` ends with the first byte of it |
/// | a client that takes nothing of an answer | `server.write_timeout_ms` | the same with [`on_connect`](crate::on_connect), else none; of the `App`'s own answers none |
/// | a client that takes nothing of a session | `server.stall_timeout_ms` | the same; its socket ends with [`on_connect`](crate::on_connect) |
///
/// Where this is not enough, put a proxy in front that holds back slow heads and slow readers, name it in `server.trusted_proxies`, and
/// let nobody else reach the server. With TLS of the server's own, `on_connect` sees no socket, and what says so above does not hold.
pub fn scope(path: &str, backend: &Backend) -> Scope {
    let door = web::Data::new(backend.door().clone());
    web::scope(path)
        .app_data(door)
        .route("/{org}/{docid}", web::get().to(join))
        .default_service(web::to(async || HttpError::NotFound))
}

async fn join(request: HttpRequest, payload: web::Payload, door: web::Data<Door>) -> HttpResponse {
    match admit(&request, payload, &door).await {
        Ok(response) => response,
        Err(refused) => refused.respond_to(&request),
    }
}

async fn admit(request: &HttpRequest, payload: web::Payload, door: &Door) -> Result<HttpResponse, HttpError> {
    let segments: Vec<&str> = request.path().rsplitn(3, '/').take(2).collect();
    let [docid, org] = segments[..] else { return Err(HttpError::NotFound) };
    let client = door.callers.of_upgrade(request.head())?;
    let params = door.gate.check_room(request.head(), &format!("{org}/{docid}")).await?;
    let place = admit_session(door, client, &params)?;
    let offered = answered_protocol(request.head().headers());
    let protocol = offered.as_ref().and_then(|protocol| protocol.to_str().ok());
    let handshake = ws::handshake_with_protocols(request, protocol.as_slice());
    let mut accept = handshake.map_err(|error| HttpError::BadRequest { what: format!("no WebSocket handshake: {error}") })?;
    let bridge = Rc::new(RefCell::new(Bridge::default()));
    let connection = Connection::of(request);
    if let Some(connection) = &connection {
        connection.is_a_session();
    }
    let transport = Mounted { payload, read: Bytes::new(), bridge: bridge.clone(), connection };
    Session::start_on(transport, &[], params, door.node.clone(), door.registry.clone(), place);
    Ok(accept.streaming(Body(bridge)))
}

/// Between the session and the response's body.
#[derive(Default)]
struct Bridge {
    pieces: VecDeque<Bytes>,
    size_bytes: usize,
    /// The session writes no more.
    ended: bool,
    /// The response is over.
    gone: bool,
    session: Option<Waker>,
    body: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The session's side.
struct Mounted {
    payload: web::Payload,
    read: Bytes,
    bridge: Rc<RefCell<Bridge>>,
    connection: Option<Rc<Connection>>,
}

impl Transport for Mounted {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(read))) => self.read = read,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                // What had come before the response was over has been read.
                Poll::Pending if self.bridge.borrow().gone => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    self.bridge.borrow_mut().session = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        let taken = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..taken]);
        self.read.advance(taken);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut bridge = self.bridge.borrow_mut();
        if bridge.gone || bridge.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bridge.size_bytes >= BRIDGE_BYTES {
            bridge.session = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut piece = Vec::new();
        for buf in bufs {
            piece.extend_from_slice(&buf[..buf.len().min(PIECE_BYTES - piece.len())]);
        }
        let written = piece.len();
        bridge.size_bytes += written;
        bridge.pieces.push_back(Bytes::from(piece));
        wake(&mut bridge.body);
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end();
        }
    }
}

impl Mounted {
    fn end(&self) {
        let mut bridge = self.bridge.borrow_mut();
        bridge.ended = true;
        wake(&mut bridge.body);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.end();
    }
}

/// The server's side.
struct Body(Rc<RefCell<Bridge>>);

impl Stream for Body {
    type Item = Result<Bytes, actix_web::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut bridge = self.0.borrow_mut();
        if let Some(piece) = bridge.pieces.pop_front() {
            bridge.size_bytes -= piece.len();
            wake(&mut bridge.session);
            return Poll::Ready(Some(Ok(piece)));
        }
        if bridge.ended {
            return Poll::Ready(None);
        }
        bridge.body = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut bridge = self.0.borrow_mut();
        bridge.gone = true;
        wake(&mut bridge.session);
    }
}
