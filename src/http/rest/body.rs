//! Bodies of requests as they come in: bounded one by one, in time, and all together.

use std::{sync::Arc, time::Duration};

use actix_web::{
    http::header::{self, HeaderMap},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use yhub_core::limiting::{Bound, Share, Shares, Tally};

use super::{
    endpoint::{Kind, Param},
    keeping::Sharer,
};
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
/// A body of so many bytes is let in also where there is no room for long ones.
const UNCOUNTED_BYTES: usize = 64 << 10;
/// Longer ones are counted in pieces of so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What bodies are held to.
pub(super) struct Bodies {
    max_update_bytes: usize,
    held: Arc<Shares<Sharer>>,
    tally: Arc<Tally>,
}

/// A body that has come, and its share of what all bodies may hold.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) is_json: bool,
    /// Given back when what was read from it is done with.
    pub(super) share: Share<Sharer>,
}

impl Bodies {
    pub(super) fn new(config: &Config, tally: Arc<Tally>) -> Self {
        let max_update_bytes = config.server.max_message_bytes.saturating_add(config.limits.max_awareness_bytes);
        // One user takes half of it at most, so that nobody keeps all others out; or one body.
        let all = config.limits.body_bytes;
        let longest = FRAME_BYTES.saturating_add(max_update_bytes.saturating_mul(4) / 3).next_multiple_of(PIECE_BYTES);
        let held = Arc::new(Shares::new(all, (all / 2).max(longest.min(all))));
        Self { max_update_bytes, held, tally }
    }

    /// How many bytes they hold now.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.held_bytes()
    }

    /// Reads the body of a request of `sharer` to an endpoint that takes `fields`.
    ///
    /// # Errors
    /// If it is too long, does not come in time, or there is no room for it now.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        mut payload: web::Payload,
        fields: &[Param],
        sharer: &Sharer,
    ) -> Result<Body, HttpError> {
        let is_json = is_json(headers);
        let has_bytes = fields.iter().any(|field| field.kind == Kind::Bytes);
        let content = if has_bytes { self.max_update_bytes } else { 0 };
        // Base64 takes a third more.
        let max_bytes = FRAME_BYTES.saturating_add(if is_json { content.saturating_mul(4) / 3 } else { content });
        let is_announced_too_large = content_length(headers).is_some_and(|length| length > max_bytes);
        let read = async {
            let (mut body, mut dropped, mut share) = (BytesMut::new(), 0, self.held.share(sharer.clone()));
            while let Some(piece) = payload.next().await {
                let piece = piece.map_err(|_| HttpError::BadRequest { what: "the body broke off".into() })?;
                if is_announced_too_large || dropped > 0 || body.len() + piece.len() > max_bytes {
                    // Who is still sending does not listen: an answer that comes before the end is lost on most. So a little more
                    // is taken from them, and thrown away.
                    (body, share) = (BytesMut::new(), self.held.share(sharer.clone()));
                    dropped += piece.len();
                    if dropped > max_bytes.saturating_add(DROPPED_BYTES) {
                        break;
                    }
                    continue;
                }
                let size_bytes = body.len() + piece.len();
                if size_bytes > UNCOUNTED_BYTES && !share.set(size_bytes.next_multiple_of(PIECE_BYTES)) {
                    self.tally.count(Bound::Bodies);
                    log::warn!(
                        "as many bytes of bodies as may are being taken in; a request is told to come again (`limits.body_bytes`)"
                    );
                    return Err(HttpError::Unavailable);
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
