//! The only table from errors to statuses.
//!
//! A body is `{ "error": text, "code": word }`: as lib0-any, which is what Yjs back ends read, or as JSON if the request
//! names `application/json` in its `Accept` header. The text is for people and may change; the code stays.

use std::{borrow::Cow, time::Duration};

use actix_http::Response;
use actix_web::{
    HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use yhub_content::UpdateError;
use yhub_core::{chain, limiting::Bound};
use yhub_documents::{ComputeError, DocumentsError};
use yhub_encoding::{write_any_object_header, write_any_string, write_var_string};
use yhub_store::DocStoreError;

/// The media type of a lib0-any value.
pub(super) const LIB0_ANY: &str = "application/x-lib0any";
/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// Who finds too many histories being computed may ask again after so many seconds.
const HISTORIES_AGAIN_S: u64 = 2;

/// Why a request gets no answer. The texts go to clients: they say nothing about our insides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The request says something that cannot be.
    #[error("{what}")]
    BadRequest {
        /// What is wrong with it, for the client.
        what: String,
    },
    /// A page of another origin wants in.
    #[error("pages of this origin may not connect; whoever runs the hub can allow it with `server.allowed_origins`")]
    OriginNotAllowed,
    /// Somebody asks from another machine, at a hub for its own alone.
    #[error(
        "this hub lets in its own machine only, as nobody has to show who they are; whoever runs it can set `auth.mode`, or \
         `auth.everyone` to what everybody may do who reaches it"
    )]
    OwnMachineOnly,
    /// There is nothing at this path.
    #[error("there is nothing here")]
    NotFound,
    /// There is something at this path, but not for this method.
    #[error("this path answers {allow} only")]
    MethodNotAllowed {
        /// The methods that would do, as in the header `Allow`.
        allow: Cow<'static, str>,
    },
    /// A parameter of the query is not what it should be.
    #[error("{what}")]
    InvalidQuery {
        /// Which, and what is wrong with it, for the client.
        what: String,
    },
    /// The body, or a field of it, is not what it should be.
    #[error("{what}")]
    InvalidBody {
        /// What is wrong with it, for the client.
        what: String,
    },
    /// The body is longer than may be.
    #[error("the body has more than {max_bytes} bytes; send less at once, or set `server.max_message_bytes` higher")]
    BodyTooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The body did not come.
    #[error("the body did not come within {} s", within.as_secs())]
    BodyTimeout {
        /// The bound.
        within: Duration,
    },
    /// The caller does not show who they are, or with something that is not valid.
    #[error("{why}")]
    Unauthorized {
        /// What is wrong, without what they have shown.
        why: String,
    },
    /// The caller may not do that.
    #[error("that takes the right {needs:?}, which you do not have here")]
    NoAccess {
        /// The right.
        needs: &'static str,
    },
    /// The caller wants to hand on what they do not have.
    #[error("nobody can give more than they have, and {what} is more than you have")]
    Beyond {
        /// What, as a grant.
        what: String,
    },
    /// The document was deleted.
    #[error("Not Found: the document was deleted")]
    Deleted,
    /// The condition of the request does not hold.
    #[error("the document has changed since; read it again")]
    Changed,
    /// What was asked for takes more than may be.
    #[error("{what}")]
    TooCostly {
        /// What to ask for instead.
        what: String,
    },
    /// What is in the document cannot be shown in this form.
    #[error("{what}")]
    NotShown {
        /// Why.
        what: String,
    },
    /// A hold is on the document.
    #[error("a hold is on this document{}; release it first", by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default())]
    Held {
        /// Who put it on, and why.
        by: Option<String>,
    },
    /// The document was deleted for good.
    #[error("this document was deleted for good")]
    DeletedForGood,
    /// A request with the same idempotency key is under way.
    #[error("a request with this Idempotency-Key is under way; ask again in a moment")]
    StillUnderWay,
    /// A request with the same idempotency key was another one.
    #[error("this Idempotency-Key was used for another request; choose a new one for each")]
    KeyReused,
    /// A WebSocket path was asked for without the upgrade.
    #[error("this path takes WebSocket connections only")]
    UpgradeRequired,
    /// As many connections are open as may be.
    #[error("too many connections are open; try again later")]
    TooManyConnections,
    /// Somebody asks more often, or has more open, than they may.
    #[error("that is too often, or too much at once; try again in {retry_after_s} s")]
    TooManyRequests {
        /// When they may again, in whole seconds.
        retry_after_s: u64,
    },
    /// The head of the request is longer than may be.
    #[error("the head of the request has more than {max_bytes} bytes")]
    HeadTooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The document would be larger than documents may be.
    #[error("the document would have more than {max_bytes} bytes")]
    DocumentTooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// Something that the answer needs is not there now, or the hub is stopping.
    #[error("not available now; try again later")]
    Unavailable,
    /// Something of ours failed.
    #[error("internal error")]
    Internal,
}

impl HttpError {
    /// The table: status, and code in the body.
    fn row(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest { .. } => (StatusCode::BAD_REQUEST, "bad-request"),
            Self::OriginNotAllowed => (StatusCode::FORBIDDEN, "origin-not-allowed"),
            Self::OwnMachineOnly => (StatusCode::FORBIDDEN, "own-machine-only"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::InvalidQuery { .. } => (StatusCode::BAD_REQUEST, "invalid-query"),
            Self::InvalidBody { .. } => (StatusCode::BAD_REQUEST, "invalid-body"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NoAccess { .. } => (StatusCode::FORBIDDEN, "no-access"),
            Self::Beyond { .. } => (StatusCode::FORBIDDEN, "beyond"),
            Self::Deleted => (StatusCode::NOT_FOUND, "doc-deleted"),
            Self::Changed => (StatusCode::PRECONDITION_FAILED, "changed"),
            Self::TooCostly { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too-costly"),
            Self::NotShown { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-shown"),
            Self::Held { .. } => (StatusCode::CONFLICT, "legal-hold"),
            Self::DeletedForGood => (StatusCode::CONFLICT, "deleted-for-good"),
            Self::StillUnderWay => (StatusCode::SERVICE_UNAVAILABLE, "still-under-way"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "key-reused"),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "upgrade-required"),
            Self::TooManyConnections => (StatusCode::SERVICE_UNAVAILABLE, "too-many-connections"),
            Self::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests"),
            Self::HeadTooLarge { .. } => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large"),
            Self::DocumentTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "document-too-large"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Who has as many histories computed, or waiting, as may be.
    pub(crate) const fn too_many_histories() -> Self {
        Self::TooManyRequests { retry_after_s: HISTORIES_AGAIN_S }
    }

    /// For a failure of a room. What is wrong on our side is logged here, and is not told.
    pub(crate) fn of_documents(error: &DocumentsError) -> Self {
        match error {
            DocumentsError::Deleted { .. } => Self::Deleted,
            DocumentsError::Held { by, .. } => Self::Held { by: by.clone() },
            DocumentsError::TooLarge { max_bytes, .. } => Self::DocumentTooLarge { max_bytes: *max_bytes },
            // Counted already; in a log it would be written as often as somebody asks.
            DocumentsError::Busy { bound: Bound::Histories, .. } => Self::too_many_histories(),
            DocumentsError::Busy { .. } => Self::Unavailable,
            DocumentsError::Refused { what, .. } => Self::InvalidBody { what: format!("invalid body: {what}") },
            DocumentsError::Store { source: source @ DocStoreError::Room { .. }, .. } => Self::of_store(source),
            DocumentsError::History {
                source:
                    source @ (UpdateError::TooManyEntries { .. }
                    | UpdateError::TooMuchToShow { .. }
                    | UpdateError::NestedTooDeep { .. }
                    | UpdateError::TooDeepToShow { .. }
                    | UpdateError::TooManySteps),
                ..
            } => Self::TooCostly { what: source.to_string() },
            DocumentsError::Compute { source, .. } => Self::of_compute(source),
            error if error.is_transient() => {
                log::warn!("a request is told to come again: {}", chain(error));
                Self::Unavailable
            }
            error => {
                log::error!("a request failed: {}", chain(error));
                Self::Internal
            }
        }
    }

    /// For the document store.
    pub(crate) fn of_store(error: &DocStoreError) -> Self {
        match error {
            DocStoreError::Room { why, .. } => Self::BadRequest { what: format!("a room of this name cannot be stored: {why}") },
            error if error.is_transient() => {
                log::warn!("a request is told to come again: {}", chain(error));
                Self::Unavailable
            }
            error => {
                log::error!("a request failed: {}", chain(error));
                Self::Internal
            }
        }
    }

    /// For a computation that failed.
    pub(crate) fn of_compute(error: &ComputeError) -> Self {
        match error {
            ComputeError::Panicked => {
                log::error!("a request failed: {error}");
                Self::Internal
            }
            error => {
                log::warn!("a request is told to come again: {error}");
                Self::Unavailable
            }
        }
    }

    /// What the status demands besides the body.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed { allow } => HeaderValue::from_str(allow).ok().map(|allow| (header::ALLOW, allow)),
            Self::Unauthorized { .. } => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::UpgradeRequired => Some((header::UPGRADE, HeaderValue::from_static("websocket"))),
            Self::TooManyRequests { retry_after_s } => Some((header::RETRY_AFTER, HeaderValue::from(*retry_after_s))),
            Self::TooManyConnections | Self::Unavailable | Self::StillUnderWay => {
                Some((header::RETRY_AFTER, HeaderValue::from_static("2")))
            }
            _ => None,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The whole answer to a request with these headers, also for requests that never reach actix-web.
    pub fn response(&self, request: &HeaderMap) -> Response<BoxBody> {
        let (status, code) = self.row();
        let text = self.to_string();
        let (media_type, body) = if wants_json(request) {
            (JSON, serde_json::json!({ "error": text, "code": code }).to_string().into_bytes())
        } else {
            (LIB0_ANY, lib0_body(&text, code))
        };
        let mut response = Response::with_body(status, BoxBody::new(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // The same address may soon answer otherwise, and the form of the body depends on the request.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        if let Some((name, value)) = self.header() {
            headers.insert(name, value);
        }
        response
    }
}

impl Responder for HttpError {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        HttpResponse::from(self.response(request.headers()))
    }
}

/// Where actix-web does not say which request failed. Handlers that return the error as their answer are better off.
impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::from(self.response(&HeaderMap::new()))
    }
}

/// The object `{ "error": text, "code": code }`, layout: lib0 `writeAny`.
fn lib0_body(text: &str, code: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(32 + text.len() + code.len());
    write_any_object_header(&mut body, 2);
    for (key, value) in [("error", text), ("code", code)] {
        write_var_string(&mut body, key);
        write_any_string(&mut body, value);
    }
    body
}

/// Does the request ask for JSON in so many words? `*/*` does not: that is what `fetch` sends for back ends that read lib0.
pub(super) fn wants_json(request: &HeaderMap) -> bool {
    let quality = |wanted: &str| {
        let ranges = request.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        ranges.filter_map(|range| quality_of(range, wanted)).fold(0.0, f32::max)
    };
    let json = quality(JSON);
    json > 0.0 && json >= quality(LIB0_ANY)
}

/// The weight of `wanted` in one range of an `Accept` header, if the range names it. Layout: RFC 9110, 12.5.1.
fn quality_of(range: &str, wanted: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use actix_web::body::{MessageBody, to_bytes};

    use super::*;

    fn accept(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for json in [
            "application/json",
            "Application/JSON; q=0.5",
            "text/html, application/json;q=0.9, */*;q=0.1",
            "application/x-lib0any;q=0.1, application/json",
        ] {
            assert!(wants_json(&accept(json)), "{json}");
        }
        for lib0 in [
            "*/*",
            "",
            "text/html,*/*",
            "application/json;q=0",
            "application/json;q=x",
            "application/json;q=0.2, application/x-lib0any",
            "application/jsonp",
        ] {
            assert!(!wants_json(&accept(lib0)), "{lib0}");
        }
        assert!(!wants_json(&HeaderMap::new()));
        let mut two = accept("text/html");
        two.append(header::ACCEPT, HeaderValue::from_static("application/json"));
        assert!(wants_json(&two), "a header may come in several lines");
    }

    #[actix_web::test]
    async fn the_body_is_a_lib0_object_of_error_and_code() {
        let response = HttpError::NotFound.response(&HeaderMap::new());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), LIB0_ANY);
        let body = to_bytes(response.into_body()).await.unwrap();
        // Tag 118 and two entries; keys without a tag, texts with tag 119. Written out, so that no encoder checks itself.
        let mut expected = vec![118, 2, 5];
        expected.extend(b"error");
        expected.extend([119, 21]);
        expected.extend(b"there is nothing here");
        expected.push(4);
        expected.extend(b"code");
        expected.extend([119, 9]);
        expected.extend(b"not-found");
        assert_eq!(body, expected);
    }

    #[test]
    fn statuses_carry_the_headers_they_demand() {
        let response = HttpError::MethodNotAllowed { allow: "GET".into() }.response(&accept("application/json"));
        assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET");
        let response = HttpError::UpgradeRequired.response(&accept("application/json"));
        assert_eq!(response.status().as_u16(), 426);
        assert_eq!(response.headers().get(header::UPGRADE).unwrap(), "websocket");
        let response = HttpError::BadRequest { what: "a \"quoted\" part".into() }.response(&accept("application/json"));
        let body: serde_json::Value = serde_json::from_slice(&response.into_body().try_into_bytes().unwrap()).unwrap();
        assert_eq!(body, serde_json::json!({ "error": "a \"quoted\" part", "code": "bad-request" }));
    }
}
