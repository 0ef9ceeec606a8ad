//! Documents over HTTP: `/{prefix}/{name}/v1/{org}/{docid}`.
//!
//! A request is read in one order, whatever it is for: path, method, right, names, query, conditions, body. All of it is checked
//! against the table of endpoints before anything is done.

mod answer;
mod conditions;
mod deletion;
mod endpoint;
mod flights;
mod history;
mod idempotency;
pub(crate) mod openapi;
mod outgoing;
pub(crate) mod reference;
mod rooms;
mod values;
mod view;
mod ydoc;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use yhub_core::{Author, TimeSource};
use yhub_documents::{AsOf, Documents};
use yhub_store::ResponseCache;

use self::{
    conditions::Conditions,
    endpoint::{Call, Endpoint, Right, Scope},
    flights::Flights,
    idempotency::Once,
    outgoing::Outgoing,
    values::Values,
};
use super::{HttpError, error::JSON};
use crate::{
    Config,
    author::{self, ANONYMOUS},
    names::{Names, query_pair},
};

/// A body that has not come by then is not waited for any longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a body that is too long so much more is read, to be thrown away, before that is said.
const DROPPED_BYTES: usize = 16 << 20;
/// What stands around the bytes of an update in a body.
const BODY_FRAME_BYTES: usize = 64 << 10;

/// All endpoints.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [ydoc::ENDPOINTS, history::ENDPOINTS, deletion::ENDPOINTS, rooms::ENDPOINTS].into_iter().flatten()
}

/// What answers requests about documents.
pub(crate) struct Rest {
    files: openapi::Files,
    names: Names,
    may_write: bool,
    purposes: Vec<String>,
    max_update_bytes: usize,
    max_awareness_bytes: usize,
    documents: Documents,
    cache: Arc<dyn ResponseCache>,
    time: Arc<dyn TimeSource>,
    answers: Flights<AsOf<Bytes>>,
    outgoing: Outgoing,
}

impl Rest {
    pub(crate) fn new(
        config: &Config,
        documents: Documents,
        cache: Arc<dyn ResponseCache>,
        time: Arc<dyn TimeSource>,
    ) -> Arc<Self> {
        let outgoing = Outgoing::new(documents.clone(), config.limits.answer_bytes);
        Arc::new(Self {
            files: openapi::Files::new(&config.server.prefix, &endpoints().collect::<Vec<_>>()),
            names: Names::new(config),
            may_write: config.auth.may_write(),
            purposes: config.auth.purposes.clone(),
            max_update_bytes: config.server.max_message_bytes,
            max_awareness_bytes: config.limits.max_awareness_bytes,
            documents,
            cache,
            time,
            answers: Flights::default(),
            outgoing,
        })
    }

    /// Answers a request to `path`, below the prefix.
    pub(crate) async fn serve(self: &Arc<Self>, request: &HttpRequest, payload: web::Payload, path: &str) -> HttpResponse {
        if let Some(file) = self.file(request, path) {
            return file;
        }
        match self.answer(request, payload, path).await {
            Ok(response) => response,
            Err(error) => error.respond_to(request),
        }
    }

    async fn answer(
        self: &Arc<Self>,
        request: &HttpRequest,
        payload: web::Payload,
        path: &str,
    ) -> Result<HttpResponse, HttpError> {
        let (endpoint, segments) = self.find(request.method(), path)?;
        self.check_right(endpoint.needs)?;
        let mut call = self.read_head(endpoint, &segments, request)?;
        if let Some((_, right)) = endpoint.needs_if.filter(|(parameter, _)| call.query.is(parameter)) {
            self.check_right(right)?;
        }
        let mut digest = String::new();
        if let Some(fields) = endpoint.body {
            let is_json = is_json(request.headers());
            let body = self.read_body(request.headers(), payload, is_json).await?;
            // A body may hold as much as a document.
            let size = body.len();
            let read = move || (Values::of_body(&body, is_json, fields), digest_of(&body));
            let read = self.documents.compute().run_sized(size, read).await;
            let (values, of_body) = read.map_err(|error| HttpError::of_compute(&error))?;
            (call.body, digest) = (values?, of_body);
            call.author.custom = author::custom_pairs(call.body.pairs("customAttributions"))?;
        }
        let once = match &call.room {
            Some(room) if endpoint.needs.changes() => {
                Once::of(request.headers(), room, format!("{} {} {digest}", request.method(), request.uri()))?
            }
            _ => None,
        };
        let answer = self.once(once, (endpoint.run)(self.clone(), call)).await?;
        answer.render(request.headers(), self.documents.compute()).await
    }

    /// The endpoint at `path`, with the segments of its scope.
    fn find<'p>(&self, method: &Method, path: &'p str) -> Result<(&'static Endpoint, Vec<&'p str>), HttpError> {
        // An answer without its body is asked for like one with it.
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let mut allow: Vec<&str> = Vec::new();
        for endpoint in endpoints() {
            let Some(segments) = endpoint.matched(path) else { continue };
            if endpoint.method == *wanted {
                return Ok((endpoint, segments));
            }
            allow.push(endpoint.method.as_str());
        }
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        if allow.is_empty() {
            Err(HttpError::NotFound)
        } else {
            Err(HttpError::MethodNotAllowed { allow: allow.join(", ").into() })
        }
    }

    fn check_right(&self, needs: Right) -> Result<(), HttpError> {
        let is_granted = match needs {
            Right::Purpose(purpose) => self.purposes.iter().any(|granted| granted == purpose.name()),
            Right::Read | Right::Write => true,
        };
        let may = is_granted && (self.may_write || !needs.changes());
        if may { Ok(()) } else { Err(HttpError::NoAccess { needs: needs.name() }) }
    }

    /// Reads all but the body.
    fn read_head(&self, endpoint: &Endpoint, segments: &[&str], request: &HttpRequest) -> Result<Call, HttpError> {
        let (mut branch, mut user, mut pairs) = (None, None, Vec::new());
        for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = query_pair(pair)?;
            match &*name {
                "branch" if endpoint.scope == Scope::Room => branch = Some(value),
                "user" => user = Some(author::user(value)?),
                _ => pairs.push((name.into_owned(), value)),
            }
        }
        let (org, room) = match (endpoint.scope, segments) {
            (Scope::Room, [org, docid]) => {
                let room = self.names.room(org, docid, branch.as_deref())?;
                (room.org().to_owned(), Some(room))
            }
            (Scope::Org, [org]) => (self.names.segment("org", org)?.into_owned(), None),
            _ => return Err(HttpError::NotFound),
        };
        let conditions = Conditions::of(request.headers())?;
        if conditions.unchanged_since.is_some() && !endpoint.conditional {
            return Err(HttpError::BadRequest { what: "this endpoint takes no condition (If-Match)".into() });
        }
        Ok(Call {
            org,
            room,
            query: Values::of_query(pairs, endpoint.query)?,
            body: Values::default(),
            author: Author { user: user.unwrap_or_else(|| ANONYMOUS.into()), custom: Vec::new() },
            conditions,
            head_only: request.method() == Method::HEAD,
        })
    }

    /// Reads the body, which is never longer than the longest update that may be, in whatever encoding.
    async fn read_body(&self, headers: &HeaderMap, mut payload: web::Payload, is_json: bool) -> Result<Bytes, HttpError> {
        let update = self.max_update_bytes.saturating_add(self.max_awareness_bytes);
        let max_bytes = BODY_FRAME_BYTES.saturating_add(if is_json { update.saturating_mul(4) / 3 } else { update });
        let is_announced_too_large = content_length(headers).is_some_and(|length| length > max_bytes);
        let read = async {
            let (mut body, mut dropped) = (BytesMut::new(), 0);
            while let Some(piece) = payload.next().await {
                let piece = piece.map_err(|_| HttpError::BadRequest { what: "the body broke off".into() })?;
                if is_announced_too_large || dropped > 0 || body.len() + piece.len() > max_bytes {
                    // Who is still sending does not listen: an answer that comes before the end is lost on most. So a little more
                    // is taken from them, and thrown away.
                    body = BytesMut::new();
                    dropped += piece.len();
                    if dropped > max_bytes.saturating_add(DROPPED_BYTES) {
                        break;
                    }
                } else {
                    body.extend_from_slice(&piece);
                }
            }
            if dropped > 0 { Err(HttpError::BodyTooLarge { max_bytes }) } else { Ok(body.freeze()) }
        };
        tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(HttpError::BodyTimeout { within: BODY_TIMEOUT }))
    }
}

/// Tells one body from another.
fn digest_of(body: &Bytes) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Is the body JSON? Whatever else is said of it, it is lib0-any then, as y/hub's clients send it.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}
