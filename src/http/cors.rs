//! What answers say to pages of other origins: who may read them, and what may be asked for.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::origin::Page;

/// Headers of requests that pages may send.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match";
/// Headers of answers that pages may read.
const ANSWER_HEADERS: &str = "etag, retry-after";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "600";

/// Is it the question of a browser whether a page may ask?
pub(super) fn is_preflight(request: &HttpRequest) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that, where the page is allowed.
pub(super) fn preflight() -> HttpResponse {
    HttpResponse::build(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, PATCH, POST, PUT, DELETE"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
        .finish()
}

/// Says in an answer which page may read it. Every answer depends on the origin, also one that tells no page anything.
pub(super) fn mark(response: &mut HttpResponse, page: Option<&Page>) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(Page::Allowed { origin, credentials }) = page else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
    if *credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
