//! Documents over HTTP: `/{prefix}/{name}/v1/{org}/{docid}`.
//!
//! A request is read in one order, whatever it is for: path, method, right, names, query, conditions, body. All of it is checked
//! against the table of endpoints before anything is done.

mod access;
mod answer;
mod audit;
mod body;
mod conditions;
mod deletion;
mod endpoint;
mod flights;
mod history;
mod idempotency;
mod keeping;
pub(crate) mod openapi;
mod outgoing;
mod paging;
pub(crate) mod reference;
mod rooms;
mod tickets;
mod tokens;
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
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};
use yhub_core::{
    Author, TimeSource,
    access::Target,
    limiting::{Bound, PlaceOf, Places},
};
use yhub_documents::{AsOf, Documents};
use yhub_encoding::awareness::AwarenessLimits;
use yhub_store::{AccessTokenStore, AuditRecord, AuditStore, NoticeStore, ResponseCache};

use self::{
    answer::Answer,
    body::Bodies,
    conditions::Conditions,
    endpoint::{Asked, Call, Endpoint, Scope, org_place},
    flights::Flights,
    idempotency::{Once, asked_for},
    keeping::{Keeping, Sharer},
    outgoing::Outgoing,
    values::Values,
};
use super::HttpError;
use crate::{
    Config, Stores, author,
    callers::Callers,
    credentials,
    doorkeeper::Doorkeeper,
    names::{Names, query_pair},
    peer::Client,
};

/// All endpoints.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [
        ydoc::ENDPOINTS,
        history::ENDPOINTS,
        deletion::ENDPOINTS,
        rooms::ENDPOINTS,
        access::ENDPOINTS,
        tickets::ENDPOINTS,
        tokens::ENDPOINTS,
        audit::ENDPOINTS,
    ]
    .into_iter()
    .flatten()
}

/// What answers requests about documents.
pub(crate) struct Rest {
    names: Names,
    doorkeeper: Doorkeeper,
    max_update_bytes: usize,
    awareness: AwarenessLimits,
    bodies: Bodies,
    callers: Arc<Callers>,
    documents: Documents,
    cache: Arc<dyn ResponseCache>,
    /// Answers to requests with a key.
    records: Arc<dyn ResponseCache>,
    /// What of both is kept.
    keeping: Keeping,
    tokens: Arc<dyn AccessTokenStore>,
    ticket: Duration,
    ticket_session: Duration,
    audits: Arc<dyn AuditStore>,
    notices: Arc<dyn NoticeStore>,
    time: Arc<dyn TimeSource>,
    answers: Flights<AsOf<Bytes>>,
    outgoing: Outgoing,
    /// Who has histories computed, or waits for it.
    histories: Arc<Places<Sharer>>,
    histories_of_one: usize,
}

impl Rest {
    pub(crate) fn new(
        config: &Config,
        documents: Documents,
        stores: &Stores,
        time: Arc<dyn TimeSource>,
        doorkeeper: Doorkeeper,
        callers: Arc<Callers>,
    ) -> Arc<Self> {
        let tally = callers.tally.clone();
        let keeping = Keeping::new(config, tally.clone());
        let outgoing = Outgoing::new(documents.clone(), config.limits.answer_bytes, tally.clone());
        Arc::new(Self {
            names: Names::new(config),
            doorkeeper,
            max_update_bytes: config.server.max_message_bytes,
            awareness: AwarenessLimits {
                max_entries: config.limits.max_awareness_clients,
                max_state_bytes: config.limits.max_awareness_bytes,
            },
            bodies: Bodies::new(config, tally),
            callers,
            documents,
            cache: stores.cache.clone(),
            records: stores.records.clone(),
            keeping,
            tokens: stores.tokens.clone(),
            ticket: config.auth.ticket_ms.duration(),
            ticket_session: config.auth.ticket_session_ms.duration(),
            audits: stores.audit.clone(),
            notices: stores.notices.clone(),
            time,
            answers: Flights::default(),
            outgoing,
            histories: Arc::default(),
            // So that nobody takes all places.
            histories_of_one: config.limits.concurrent_histories.saturating_add(config.limits.waiting_histories).div_ceil(2),
        })
    }

    /// A place at what is computed with histories, and in the line for it, of which one user has half.
    ///
    /// # Errors
    /// If they have that.
    fn place_at_histories(&self, call: &Call) -> Result<PlaceOf<Sharer>, HttpError> {
        self.histories.take(call.sharer.clone(), self.histories_of_one).ok_or_else(|| {
            self.callers.tally.count(Bound::Histories);
            HttpError::too_many_histories()
        })
    }

    /// Bytes of documents and of other long answers that are being sent.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.outgoing.held_bytes()
    }

    /// Bytes of bodies that are being taken in.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bodies.held_bytes()
    }

    /// Answers a request to `path`, below the prefix.
    pub(crate) async fn serve(self: &Arc<Self>, request: &HttpRequest, payload: web::Payload, path: &str) -> HttpResponse {
        match self.answer(request, payload, path).await {
            Ok(response) => response,
            Err(error) => error.respond_to(request),
        }
    }

    /// Leaves a record that a page may not ask.
    pub(crate) fn refused_page(&self, request: &HttpRequest, error: &HttpError) {
        self.doorkeeper.refused_page(request.head(), Target::Hub, error);
    }

    async fn answer(
        self: &Arc<Self>,
        request: &HttpRequest,
        payload: web::Payload,
        path: &str,
    ) -> Result<HttpResponse, HttpError> {
        let client = self.callers.of_request(request.head())?;
        let (endpoint, segments) = self.find(request.method(), path)?;
        let asked = self.read_head(endpoint, &segments, request)?;
        let mut call = self.let_in(endpoint, asked, request, client).await?;
        let (mut digest, mut share) = (Sha256::new(), None);
        if let Some(fields) = endpoint.body {
            let body = self.bodies.read(request.headers(), payload, fields, &call.sharer).await?;
            share = Some(body.share);
            // A body may hold as much as a document.
            let (bytes, is_json) = (body.bytes, body.is_json);
            let read = move || {
                let values = Values::of_body(&bytes, is_json, fields);
                digest.update(&bytes);
                (values, digest)
            };
            let read = self.documents.compute().run_sized(content_bytes(request.headers()), read).await;
            let (values, with_body) = read.map_err(|error| HttpError::of_compute(&error))?;
            (call.body, digest) = (values?, with_body);
            call.author.custom = author::custom_pairs(call.body.pairs("customAttributions"))?;
        }
        let run = (endpoint.run)(self.clone(), call.clone());
        let run = self.recorded(endpoint, &call, run);
        let answer = if endpoint.needs.changes() {
            digest.update(format!("{} {} {:?}", request.method(), asked_for(request), call.conditions));
            let of = (&*call.caller.who, &call.sharer);
            let once = call.room.as_ref().map(|room| Once::of(request.headers(), room, of, digest)).transpose()?.flatten();
            // In a task of its own: what was begun is brought to its end, also if nobody waits for the answer any more.
            let rest = self.clone();
            let task = actix_web::rt::spawn(async move {
                let answer = rest.once(once, run).await;
                drop(share);
                answer
            });
            task.await.unwrap_or_else(|error| {
                log::error!("a request failed: {error}");
                Err(HttpError::Internal)
            })?
        } else {
            run.await?
        };
        answer.render(request.head(), self.documents.compute(), &self.outgoing, &call.sharer).await
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

    /// Has what is done outside the document store recorded, when it was done or failed.
    fn recorded(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        call: &Call,
        run: BoxFuture<'static, Result<Answer, HttpError>>,
    ) -> BoxFuture<'static, Result<Answer, HttpError>> {
        let Some(action) = endpoint.recorded_as() else { return run };
        let (rest, call) = (self.clone(), call.clone());
        async move {
            let answer = run.await;
            let record = rest.record(&call, action);
            let result = if answer.is_ok() { "done" } else { "failed" };
            rest.doorkeeper.audit().write(AuditRecord { result: result.into(), ..record }).await;
            answer
        }
        .boxed()
    }

    /// The record of what a call does.
    fn record(&self, call: &Call, action: &str) -> AuditRecord {
        let place = call.room.as_ref().map_or_else(|| org_place(&call.org), Target::Room);
        self.doorkeeper.audit().record(Some(&call.caller.who), action, place, "done", &call.caller.origin)
    }

    /// Finds out who asks, and whether they may do that.
    async fn let_in(&self, endpoint: &Endpoint, asked: Asked, request: &HttpRequest, client: Client) -> Result<Call, HttpError> {
        let caller = self.doorkeeper.identify(request.head(), asked.user.as_deref(), asked.place()).await?;
        self.callers.of_user(&asked.org, &caller.who)?;
        self.doorkeeper.access(&caller, asked.place(), endpoint.needs).await?;
        if let Some((_, right)) = endpoint.needs_if.filter(|(parameter, _)| asked.query.is(parameter)) {
            self.doorkeeper.access(&caller, asked.place(), right).await?;
        }
        let user = self.doorkeeper.author(&caller, asked.place(), asked.user.clone()).await?;
        Ok(Call {
            org: asked.org,
            room: asked.room,
            query: asked.query,
            body: Values::default(),
            sharer: Sharer::of(&caller.who, client),
            caller,
            author: Author { user, custom: Vec::new() },
            conditions: asked.conditions,
            head_only: request.method() == Method::HEAD,
        })
    }

    /// Reads all but the body.
    fn read_head(&self, endpoint: &Endpoint, segments: &[&str], request: &HttpRequest) -> Result<Asked, HttpError> {
        let (mut branch, mut user, mut pairs) = (None, None, Vec::new());
        for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = query_pair(pair)?;
            match &*name {
                // Read already, and for nobody else.
                credentials::PARAMETER => {}
                "branch" if endpoint.scope == Scope::Room && branch.is_none() => branch = Some(value),
                "user" if user.is_none() => user = Some(author::user(value)?),
                "branch" | "user" if endpoint.scope == Scope::Room || &*name == "user" => {
                    return Err(HttpError::InvalidQuery { what: format!("invalid query: [{name}] is given twice") });
                }
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
        if request.headers().contains_key(idempotency::HEADER) && !endpoint.takes_key() {
            return Err(HttpError::BadRequest { what: "this endpoint takes no Idempotency-Key".into() });
        }
        Ok(Asked { org, room, query: Values::of_query(pairs, endpoint.query)?, user, conditions })
    }
}

/// How long a body is said to be: whether it is read here or on the pool.
fn content_bytes(headers: &HeaderMap) -> usize {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.unwrap_or(usize::MAX)
}
