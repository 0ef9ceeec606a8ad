//! Bodies of requests as they come in: bounded one by one, in time, and all together.

use std::{sync::Arc, time::Duration};

use actix_web::{
    http::header::{self, HeaderMap},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use yhub_core::limiting::{Bound, Tally};

use super::endpoint::{Kind, Param};
use crate::{
    Config,
    http::{HttpError, error::JSON},
};

/// A body that has not come by then is not waited for any longer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Of a body that is too long so much more is read, to be thrown away, before that is said.
const DROPPED_BYTES: usize = 16 << 20;
/// What stands around the bytes of an update in a body, and all that a body may hold that has no bytes.
const FRAME_BYTES: usize = 64 << 10;
/// The budget is counted in pieces of so many bytes.
const PIECE_BYTES: usize = 4 << 10;

/// What bodies are held to.
pub(super) struct Bodies {
    max_update_bytes: usize,
    budget: Arc<Semaphore>,
    pieces: usize,
    tally: Arc<Tally>,
}

/// A body that has come, and its share of what all bodies may hold.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) is_json: bool,
    /// Given back when what was read from it is done with.
    pub(super) share: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(super) fn new(config: &Config, tally: Arc<Tally>) -> Self {
        let pieces = (config.limits.body_bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let max_update_bytes = config.server.max_message_bytes.saturating_add(config.limits.max_awareness_bytes);
        Self { max_update_bytes, budget: Arc::new(Semaphore::new(pieces)), pieces, tally }
    }

    /// How many bytes they hold now.
    pub(super) fn held_bytes(&self) -> usize {
        (self.pieces - self.budget.available_permits()) * PIECE_BYTES
    }

    /// Reads the body of a request to an endpoint that takes `fields`.
    ///
    /// # Errors
    /// If it is too long, does not come in time, or there is no room for it now.
    pub(super) async fn read(&self, headers: &HeaderMap, mut payload: web::Payload, fields: &[Param]) -> Result<Body, HttpError> {
        let is_json = is_json(headers);
        let has_bytes = fields.iter().any(|field| field.kind == Kind::Bytes);
        let content = if has_bytes { self.max_update_bytes } else { 0 };
        // Base64 takes a third more.
        let max_bytes = FRAME_BYTES.saturating_add(if is_json { content.saturating_mul(4) / 3 } else { content });
        let is_announced_too_large = content_length(headers).is_some_and(|length| length > max_bytes);
        let read = async {
            let (mut body, mut dropped, mut share): (_, _, Option<OwnedSemaphorePermit>) = (BytesMut::new(), 0, None);
            while let Some(piece) = payload.next().await {
                let piece = piece.map_err(|_| HttpError::BadRequest { what: "the body broke off".into() })?;
                if is_announced_too_large || dropped > 0 || body.len() + piece.len() > max_bytes {
                    // Who is still sending does not listen: an answer that comes before the end is lost on most. So a little more
                    // is taken from them, and thrown away.
                    (body, share) = (BytesMut::new(), None);
                    dropped += piece.len();
                    if dropped > max_bytes.saturating_add(DROPPED_BYTES) {
                        break;
                    }
                    continue;
                }
                let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                let wanted = (body.len() + piece.len()).div_ceil(PIECE_BYTES);
                if wanted > held {
                    let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
                    let more = self.budget.clone().try_acquire_many_owned(more).map_err(|_| {
                        self.tally.count(Bound::Bodies);
                        log::warn!("as many bytes of bodies as may are being taken in; a request is told to come again (`limits.body_bytes`)");
                        HttpError::Unavailable
                    })?;
                    match &mut share {
                        Some(share) => share.merge(more),
                        none => *none = Some(more),
                    }
                }
                body.extend_from_slice(&piece);
            }
            if dropped > 0 {
                self.tally.count(Bound::MessageSize);
                Err(HttpError::BodyTooLarge { max_bytes })
            } else {
                Ok(Body { bytes: body.freeze(), is_json, share })
            }
        };
        tokio::time::timeout(TIMEOUT, read).await.unwrap_or(Err(HttpError::BodyTimeout { within: TIMEOUT }))
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Is the body JSON? Whatever else is said of it, it is lib0-any then, as y/hub's clients send it.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}
