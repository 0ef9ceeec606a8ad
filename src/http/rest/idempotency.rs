//! Requests that are sent again because their answer was lost: one with an `Idempotency-Key` is carried out once, and answered alike
//! for a day. What the records take is bounded by [`Keeping`](super::keeping::Keeping).

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName},
    },
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use yhub_core::{RoomId, StreamClock, access::Identity, chain, limiting::Bound};
use yhub_encoding::{Any, Object};
use yhub_store::{CacheKey, StreamLogError};

use super::{
    Rest,
    answer::{Answer, Body},
    keeping::Sharer,
};
use crate::{credentials, http::HttpError, names::query_pair};

/// The header with the key.
pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// For so long the same answer is given.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The same if nothing was changed: who sends that again later finds out again that there is nothing to do.
const NOTHING_KEPT: Duration = Duration::from_secs(600);
/// A request that has not come to its end by then, because its node died, may be carried out anew.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// Bytes of a key.
const MAX_KEY_BYTES: usize = 255;

/// A request that is carried out once.
pub(super) struct Once {
    key: CacheKey,
    /// What tells it from others: its method, path, query without the credential, conditions and body, hashed.
    request: String,
    /// Whose share of what is kept the record takes.
    sharer: Sharer,
}

/// What is asked for: path and query. Without the credential: who sends a request again may have a newer one by then.
pub(super) fn asked_for(request: &HttpRequest) -> String {
    let is_credential = |pair: &&str| query_pair(pair).is_ok_and(|(name, _)| name == credentials::PARAMETER);
    let pairs: Vec<&str> = request.query_string().split('&').filter(|pair| !is_credential(pair)).collect();
    format!("{}?{}", request.uri().path(), pairs.join("&"))
}

impl Once {
    /// The key of a request of `who` to `room`, if it has one; `request` tells it from others.
    ///
    /// # Errors
    /// If the key is none.
    pub(super) fn of(
        headers: &HeaderMap,
        room: &RoomId,
        (who, sharer): (&Identity, &Sharer),
        request: Sha256,
    ) -> Result<Option<Self>, HttpError> {
        let Some(value) = headers.get(&HEADER) else { return Ok(None) };
        let wrong = || HttpError::BadRequest {
            what: format!("the header Idempotency-Key has not 1 to {MAX_KEY_BYTES} characters of ASCII"),
        };
        let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES).ok_or_else(wrong)?;
        // Under a name that no room has: what is kept of a room goes when it is deleted, and this is to stay.
        // Each caller has keys of their own: what one may know or guess of another's tells nothing. Not the credential itself, which is
        // renewed.
        let parts = [room.org(), room.docid(), room.branch(), who.via.name(), &who.user, key];
        let of = parts.iter().fold(Sha256::new(), |of, part| of.chain_update(format!("{}/", part.len())).chain_update(part));
        let key =
            CacheKey { room: RoomId::new("", &hex(of), RoomId::MAIN), endpoint: "idempotency".into(), arguments: Vec::new() };
        Ok(Some(Self { key, request: hex(request), sharer: sharer.clone() }))
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Rest {
    /// Carries a request out, or gives the answer that it was given before.
    ///
    /// # Errors
    /// Those of the request; and if it is under way, if its key was another one's, if as much is kept as may be, or if that cannot be
    /// told now.
    pub(super) async fn once(
        &self,
        once: Option<Once>,
        run: impl Future<Output = Result<Answer, HttpError>>,
    ) -> Result<Answer, HttpError> {
        let Some(Once { key, request, sharer }) = once else { return run.await };
        let unavailable = |error: &StreamLogError| {
            if let StreamLogError::Busy { .. } = error {
                self.callers.tally.count(Bound::Records);
            }
            log::warn!("answers cannot be kept for who asks again: {}", chain(error));
            HttpError::Unavailable
        };
        // Who asks again takes no more of what may be kept, and is answered also when that is used up.
        if let Some(kept) = self.records.cached(&key).await.map_err(|error| unavailable(&error))? {
            return replayed(&kept, &request);
        }
        self.keeping.may_record(&sharer)?;
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
                Ok(answer) => {
                    let record = record(&request, "", Some(answer));
                    self.keeping.spend_record(&sharer, record.len());
                    self.records.cache(&key, record, if answer.did_nothing { NOTHING_KEPT } else { KEPT }).await
                }
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
    Ok(Answer { body, changed, status, did_nothing: false })
}
