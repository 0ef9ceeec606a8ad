//! Requests that are sent again because their answer was lost: one with an `Idempotency-Key` is carried out once, and answered alike
//! for a day.

use std::time::Duration;

use actix_web::http::{
    StatusCode,
    header::{HeaderMap, HeaderName},
};
use bytes::Bytes;
use yhub_core::{RoomId, StreamClock, chain};
use yhub_encoding::{Any, Object};
use yhub_store::CacheKey;

use super::{
    Rest,
    answer::{Answer, Body},
};
use crate::http::HttpError;

/// The header with the key.
pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// For so long the same answer is given.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// A request that has not come to its end by then, because its node died, may be carried out anew.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// Bytes of a key.
const MAX_KEY_BYTES: usize = 255;

/// A request that is carried out once.
pub(super) struct Once {
    key: CacheKey,
    /// What it is: method, path, query and body.
    request: String,
}

impl Once {
    /// The key of a request, if it has one; `request` says what it is.
    ///
    /// # Errors
    /// If the key is none.
    pub(super) fn of(headers: &HeaderMap, room: &RoomId, request: String) -> Result<Option<Self>, HttpError> {
        let Some(value) = headers.get(&HEADER) else { return Ok(None) };
        let wrong = || HttpError::BadRequest {
            what: format!("the header Idempotency-Key has not 1 to {MAX_KEY_BYTES} characters of ASCII"),
        };
        let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES).ok_or_else(wrong)?;
        let key = CacheKey { room: room.clone(), endpoint: "idempotency".into(), arguments: vec![key.to_owned()] };
        Ok(Some(Self { key, request }))
    }
}

impl Rest {
    /// Carries a request out, or gives the answer that it was given before.
    ///
    /// # Errors
    /// Those of the request; and if it is under way, if its key was another one's, or if that cannot be told now.
    pub(super) async fn once(
        &self,
        once: Option<Once>,
        run: impl Future<Output = Result<Answer, HttpError>>,
    ) -> Result<Answer, HttpError> {
        let Some(Once { key, request }) = once else { return run.await };
        let unavailable = |error: &dyn std::error::Error| {
            log::warn!(room:% = key.room; "answers of room {} cannot be kept for who asks again: {}", key.room, chain(error));
            HttpError::Unavailable
        };
        let reserved = self.cache.reserve(&key, record(&request, None), UNDER_WAY).await;
        if !reserved.map_err(|error| unavailable(&error))? {
            let kept = self.cache.cached(&key).await.map_err(|error| unavailable(&error))?;
            // Gone in between: its time was over, or it failed.
            return kept.map_or(Err(HttpError::StillUnderWay), |kept| replayed(&kept, &request));
        }
        let answer = run.await;
        match &answer {
            Ok(answer) => {
                if let Err(error) = self.cache.cache(&key, record(&request, Some(answer)), KEPT).await {
                    unavailable(&error);
                }
            }
            // Nothing was done, or that is not known: to be tried again.
            Err(_) => {
                if let Err(error) = self.cache.release(&key).await {
                    unavailable(&error);
                }
            }
        }
        answer
    }
}

/// What is kept: the request, and its answer when there is one. Layout: lib0 `writeAny`.
fn record(request: &str, answer: Option<&Answer>) -> Bytes {
    let mut object = Object::new();
    object.insert("request", request.into());
    if let Some(answer) = answer {
        object.insert("status", Any::Number(f64::from(answer.status.as_u16())));
        if let Some(changed) = answer.changed {
            object.insert("changed", changed.to_string().as_str().into());
        }
        if let Body::Object(body) = &answer.body {
            object.insert("body", Any::Object(body.clone()));
        }
    }
    Any::Object(object).to_bytes().into()
}

fn replayed(kept: &Bytes, request: &str) -> Result<Answer, HttpError> {
    let unreadable = |what: &str| {
        log::error!("an answer that was kept for who asks again cannot be read: {what}");
        HttpError::Internal
    };
    let kept = Any::from_bytes(kept).map_err(|error| unreadable(&error.to_string()))?;
    let Any::Object(kept) = kept else { return Err(unreadable("it is no object")) };
    if kept.get("request").and_then(Any::as_str) != Some(request) {
        return Err(HttpError::KeyReused);
    }
    let Some(status) = kept.get("status").and_then(Any::as_f64) else { return Err(HttpError::StillUnderWay) };
    let body = match kept.get("body") {
        Some(Any::Object(body)) => Body::Object(body.clone()),
        _ => Body::Empty,
    };
    let changed = kept.get("changed").and_then(Any::as_str).and_then(|clock| clock.parse::<StreamClock>().ok());
    let status = StatusCode::from_u16(status as u16).map_err(|error| unreadable(&error.to_string()))?;
    Ok(Answer { body, changed, status })
}
