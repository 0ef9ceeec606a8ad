//! Requests that are sent again because their answer was lost: one with an `Idempotency-Key` is carried out once, and answered alike
//! for a day.

use std::time::Duration;

use actix_web::http::{
    StatusCode,
    header::{HeaderMap, HeaderName},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
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
    /// What tells it from others: its method, path, query, conditions and body, hashed.
    request: String,
}

impl Once {
    /// The key of a request to `room`, if it has one; `request` tells it from others.
    ///
    /// # Errors
    /// If the key is none.
    pub(super) fn of(headers: &HeaderMap, room: &RoomId, request: Sha256) -> Result<Option<Self>, HttpError> {
        let Some(value) = headers.get(&HEADER) else { return Ok(None) };
        let wrong = || HttpError::BadRequest {
            what: format!("the header Idempotency-Key has not 1 to {MAX_KEY_BYTES} characters of ASCII"),
        };
        let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES).ok_or_else(wrong)?;
        // Under a name that no room has: what is kept of a room goes when it is deleted, and this is to stay.
        let of = Sha256::new().chain_update(format!("{}/{}/{}", room.org().len(), room.docid().len(), room.branch().len()));
        let of = of.chain_update(room.org()).chain_update(room.docid()).chain_update(room.branch()).chain_update(key);
        let key =
            CacheKey { room: RoomId::new("", &hex(of), RoomId::MAIN), endpoint: "idempotency".into(), arguments: Vec::new() };
        Ok(Some(Self { key, request: hex(request) }))
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
            log::warn!("answers cannot be kept for who asks again: {}", chain(error));
            HttpError::Unavailable
        };
        // Whose turn it is: another may take it when this one has had it for too long.
        let pending = record(&request, &uuid::Uuid::new_v4().to_string(), None);
        let reserved = self.records.reserve(&key, pending.clone(), UNDER_WAY).await;
        if !reserved.map_err(|error| unavailable(&error))? {
            let kept = self.records.cached(&key).await.map_err(|error| unavailable(&error))?;
            // Gone in between: its time was over, or it failed.
            return kept.map_or(Err(HttpError::StillUnderWay), |kept| replayed(&kept, &request));
        }
        let answer = run.await;
        let done = async {
            if self.records.cached(&key).await?.as_ref() != Some(&pending) {
                return Ok(());
            }
            match &answer {
                Ok(answer) => self.records.cache(&key, record(&request, "", Some(answer)), KEPT).await,
                // Nothing was done: it may be sent again. After other errors that is not known, and the place is kept for a while.
                Err(error) if error.status().is_client_error() => self.records.release(&key).await,
                Err(_) => Ok(()),
            }
        };
        if let Err(error) = done.await {
            unavailable(&error);
        }
        answer
    }
}

/// What is kept: the request, and its answer when there is one. Layout: lib0 `writeAny`.
fn record(request: &str, turn: &str, answer: Option<&Answer>) -> Bytes {
    let mut object = Object::new();
    object.insert("request", request.into());
    object.insert("turn", turn.into());
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
