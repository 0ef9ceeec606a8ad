//! A server that speaks S3 and fails when told to.
//!
//! Requests, signatures and answers are those of the real protocol; the objects lie in memory, under names of any bytes, as
//! they do in S3 and not in a file system.

mod objects;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{
    Body, HttpError, HttpRequest, HttpResponse, S3Error, S3ErrorCode,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::background::Background;
use crate::{ports::free_addr, wait::block_until};
use objects::Objects;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Fault {
    /// 503 `SlowDown`; nothing is done.
    SlowDown,
    /// 500 `InternalError`; nothing is done.
    Internal,
    /// 200, and in the body an `InternalError`, as S3 answers to the completion of an upload that it cannot complete; nothing
    /// is done.
    OkWithError,
    /// The connection is cut; nothing is done.
    CutBefore,
    /// It is done, and the connection is cut before an answer.
    CutAfter,
    /// It is done, and the connection is cut in the middle of the answer's body.
    CutWithin,
    /// It is done after so long.
    Delay(Duration),
}

/// A server that speaks S3, on a port of its own. Gone when dropped, with all that was stored.
pub struct S3 {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

struct Shared {
    objects: Objects,
    service: S3Service,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    faults: VecDeque<Planned>,
    requests: Vec<String>,
}

struct Planned {
    fault: S3Fault,
    left: usize,
    /// Must stand in the request's line.
    on: &'static str,
}

impl S3 {
    /// Whose requests it answers.
    pub const ACCESS_KEY: &str = "test-access-key";
    /// With which secret.
    pub const SECRET_KEY: &str = "test-secret-key";

    /// Starts it, without any bucket.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start() -> Self {
        let objects = Objects::default();
        let mut service = S3ServiceBuilder::new(objects.clone());
        service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        let shared = Arc::new(Shared { objects, service: service.build(), plan: Mutex::default() });
        let addr = free_addr();
        let background = Background::start(serve(addr, shared.clone()));
        block_until("a server that speaks S3", || std::net::TcpStream::connect(addr).is_ok());
        Self { addr, shared, _background: background }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as the address of a service.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The next `count` requests in whose line `on` stands have `fault`. The line is method, path and query, as they came, and which
    /// bytes are asked for: `PUT /bucket/key?partNumber=1&uploadId=…`, `GET /bucket/key bytes=0-99`.
    pub fn fault(&self, fault: S3Fault, count: usize, on: &'static str) {
        self.shared.plan().faults.push_back(Planned { fault, left: count, on });
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.plan().faults.clear();
    }

    /// The lines of all requests so far, also of those that went wrong.
    pub fn requests(&self) -> Vec<String> {
        self.shared.plan().requests.clone()
    }

    /// The names of the objects in a bucket, in order; `None` if there is no such bucket.
    pub fn keys(&self, bucket: &str) -> Option<Vec<String>> {
        self.shared.objects.keys(bucket)
    }

    /// Puts an object into a bucket, which is made if it is missing.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        self.shared.objects.put(bucket, key, content.into());
    }

    /// An object's content.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.shared.objects.get(bucket, key)
    }

    /// Lets an object have been modified at this time, in milliseconds since 1970. Until then it is one of November 2023, a
    /// second later than the one before.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_modified(&self, bucket: &str, key: &str, at_ms: u64) {
        assert!(self.shared.objects.set_modified(bucket, key, at_ms), "there is no object {key}");
    }

    /// Loses an object, behind everybody's back. What it held.
    pub fn remove(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.shared.objects.remove(bucket, key)
    }

    /// How many uploads in parts have begun and not ended.
    pub fn unfinished_uploads(&self) -> usize {
        self.shared.objects.unfinished_uploads()
    }
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a request, and says what goes wrong with it.
    fn next(&self, line: String) -> Option<S3Fault> {
        let mut plan = self.plan();
        let at = plan.faults.iter().position(|planned| line.contains(planned.on));
        plan.requests.push(line);
        let planned = plan.faults.get_mut(at?)?;
        let fault = planned.fault;
        planned.left -= 1;
        if planned.left == 0 {
            plan.faults.remove(at?);
        }
        Some(fault)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        let range = request.headers().get("range").and_then(|range| range.to_str().ok());
        let range = range.map_or_else(String::new, |range| format!(" {range}"));
        let line = format!("{} {}{range}", request.method(), request.uri());
        let request = request.map(Body::from);
        match self.next(line) {
            None => self.service.call(request).await,
            Some(S3Fault::SlowDown) => refuse(request, S3ErrorCode::SlowDown).await,
            Some(S3Fault::Internal) => refuse(request, S3ErrorCode::InternalError).await,
            Some(S3Fault::OkWithError) => {
                let mut response = refuse(request, S3ErrorCode::InternalError).await?;
                *response.status_mut() = StatusCode::OK;
                Ok(response)
            }
            Some(S3Fault::CutBefore) => Err(cut()),
            Some(S3Fault::CutAfter) => {
                self.service.call(request).await?;
                Err(cut())
            }
            Some(S3Fault::CutWithin) => {
                let (parts, body) = self.service.call(request).await?.into_parts();
                let whole = BodyExt::collect(body).await.map_err(HttpError::new)?.to_bytes();
                let half = whole.slice(..whole.len() / 2);
                let pieces = stream::iter([Ok(half)]).chain(stream::once(async {
                    // So that what was sent arrives before the end.
                    sleep(Duration::from_millis(20)).await;
                    Err(std::io::Error::other("a fault that the test asked for"))
                }));
                let mut response = HttpResponse::from_parts(parts, Body::from(s3s::dto::StreamingBlob::wrap(pieces)));
                response.headers_mut().insert("content-length", whole.len().into());
                Ok(response)
            }
            Some(S3Fault::Delay(by)) => {
                sleep(by).await;
                self.service.call(request).await
            }
        }
    }
}

/// Answers with an error of S3. What the client sends is taken first, so that it listens.
async fn refuse(request: HttpRequest, code: S3ErrorCode) -> Result<HttpResponse, HttpError> {
    let _ = BodyExt::collect(request.into_body()).await;
    S3Error::new(code).to_http_response().map_err(|error| HttpError::new(Box::new(error)))
}

/// What ends a connection without an answer.
fn cut() -> HttpError {
    HttpError::new("a fault that the test asked for".into())
}

async fn serve(addr: SocketAddr, shared: Arc<Shared>) {
    let listener = TcpListener::bind(addr).await.expect("the port is free");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let shared = shared.clone();
                        async move { shared.answer(request).await }
                    });
                    // Whatever fails closes the connection, which is all that there is to say.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
                });
            }
        }
    }
}
