//! Answers: objects as lib0-any or as JSON, texts, and documents that are neither copied nor encoded as a whole.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{self, BodySize, MessageBody},
    dev::RequestHead,
    http::{StatusCode, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use yhub_core::StreamClock;
use yhub_documents::ComputePool;
use yhub_encoding::{Any, Object, write_any_object_header, write_var_string, write_var_uint};

use super::{
    keeping::Sharer,
    outgoing::{Held, Outgoing, Share},
};
use crate::http::{
    HttpError,
    error::{JSON, LIB0_ANY, wants_json},
};

/// The tag of bytes among lib0-any values.
const BYTES_TAG: u8 = 116;
/// So much of a document becomes base64 at a time. A multiple of three, so that the pieces fit together.
const BASE64_PIECE_BYTES: usize = 48 << 10;

/// So much of anything is given to the server at a time. What is no longer is copied whole into what a connection has anyway, and
/// counts against no budget.
const PLAIN_PIECE_BYTES: usize = 64 << 10;

/// What an endpoint answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Body,
    /// The clock of the last change that the answer takes into account: its `ETag`.
    pub(crate) changed: Option<StreamClock>,
    pub(crate) status: StatusCode,
    /// Was there nothing to do, so that whoever asks the same again is told the same?
    pub(crate) did_nothing: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// An object.
    Object(Object),
    /// An object, any-encoded.
    Encoded(Bytes),
    /// An object whose values are bytes that are shared, and what is held of the budget until they are sent.
    Documents(Vec<(&'static str, Bytes)>, Arc<Held>),
    /// A text of this media type.
    Text(&'static str, String),
    /// Nothing.
    Empty,
}

/// An object in an answer.
pub(super) fn object(entries: Vec<(&str, Any)>) -> Any {
    Any::Object(object_of(entries))
}

fn object_of(entries: Vec<(&str, Any)>) -> Object {
    Object::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

impl Answer {
    /// An object.
    pub(crate) fn object(entries: Vec<(&str, Any)>) -> Self {
        Self::of(Body::Object(object_of(entries)))
    }

    pub(crate) fn of(body: Body) -> Self {
        Self { body, changed: None, status: StatusCode::OK, did_nothing: false }
    }

    /// With the clock of the last change.
    #[expect(clippy::wrong_self_convention, reason = "an answer as of a moment: it converts nothing")]
    pub(crate) fn as_of(self, changed: StreamClock) -> Self {
        Self { changed: Some(changed), ..self }
    }

    /// The response to a request with these headers. What takes long is done on the pool; what is long holds a share of the budget of
    /// `outgoing` until it is sent or given up.
    ///
    /// # Errors
    /// If that share is not left, or the pool has no place.
    pub(super) async fn render(
        self,
        request: &RequestHead,
        pool: &ComputePool,
        outgoing: &Outgoing,
        sharer: &Sharer,
    ) -> Result<HttpResponse, HttpError> {
        let json = wants_json(request.headers());
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        // Whoever keeps it must ask whether it is still right.
        response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        response.append_header((header::VARY, "accept"));
        if let Some(changed) = self.changed {
            response.insert_header((header::ETAG, tag(changed, json)));
        }
        let media_type = if json { JSON } else { LIB0_ANY };
        Ok(match self.body {
            // Neither to HEAD nor with 304 a length is said: it would be that of a body.
            Body::Empty => response.message_body(body::None::new()).map_err(|_| HttpError::Internal)?.map_into_boxed_body(),
            Body::Text(media_type, text) => {
                response.content_type(media_type).body(Pieces::shared(text.into(), outgoing, sharer)?)
            }
            Body::Object(object) => {
                let value = Any::Object(object);
                let body = if json { value.to_json().into_bytes() } else { value.to_bytes() };
                response.content_type(media_type).body(Pieces::shared(body.into(), outgoing, sharer)?)
            }
            Body::Encoded(bytes) if json => {
                let size = bytes.len();
                // Of what it is made of, while that waits for its turn; then of what it has become.
                let share = share_of(size, outgoing, sharer)?;
                // What we have encoded ourselves, here or on another node.
                let body = pool.run_sized(size, move || Any::from_bytes(&bytes).map(|value| value.to_json())).await;
                let body = body.map_err(|error| HttpError::of_compute(&error))?.map_err(|error| {
                    log::error!("a response of ours cannot be read: {error}");
                    HttpError::Internal
                })?;
                drop(share);
                response.content_type(media_type).body(Pieces::shared(body.into(), outgoing, sharer)?)
            }
            Body::Encoded(bytes) => response.content_type(media_type).body(Pieces::shared(bytes, outgoing, sharer)?),
            Body::Documents(documents, held) => {
                let pieces = if json { Pieces::json(documents) } else { Pieces::lib0(documents) };
                response.content_type(media_type).body(Pieces { _held: Some(OnItsWay::Document(held)), ..pieces })
            }
        })
    }
}

/// The `ETag` of an answer: the clock of the last change, and the form, because the two forms are no copies of each other.
fn tag(changed: StreamClock, json: bool) -> String {
    if json { format!("\"{changed}{JSON_TAG}\"") } else { format!("\"{changed}\"") }
}

/// What stands behind the clock in the tag of an answer in JSON.
pub(super) const JSON_TAG: &str = "/json";

/// A body in pieces: what is shared stays shared, and base64 is made when it is sent.
struct Pieces {
    left: VecDeque<Piece>,
    size_bytes: u64,
    _held: Option<OnItsWay>,
}

/// What is held of the budget until a body is sent.
#[expect(dead_code, reason = "held, and not looked at")]
enum OnItsWay {
    Document(Arc<Held>),
    Other(Share),
}

/// The share of a body of so many bytes, if it is long.
fn share_of(size_bytes: usize, outgoing: &Outgoing, sharer: &Sharer) -> Result<Option<Share>, HttpError> {
    (size_bytes > PLAIN_PIECE_BYTES).then(|| outgoing.share(size_bytes, sharer)).transpose()
}

enum Piece {
    Plain(Bytes),
    Base64(Bytes),
}

impl Pieces {
    fn of(pieces: Vec<Piece>) -> Self {
        let size = |piece: &Piece| match piece {
            Piece::Plain(bytes) => bytes.len() as u64,
            Piece::Base64(bytes) => bytes.len().div_ceil(3) as u64 * 4,
        };
        Self { size_bytes: pieces.iter().map(size).sum(), left: pieces.into(), _held: None }
    }

    /// A body that is no document; a long one with its share of the budget.
    fn shared(bytes: Bytes, outgoing: &Outgoing, sharer: &Sharer) -> Result<Self, HttpError> {
        let held = share_of(bytes.len(), outgoing, sharer)?.map(OnItsWay::Other);
        Ok(Self { _held: held, ..Self::of(vec![Piece::Plain(bytes)]) })
    }

    /// Layout: lib0 `writeAny` of an object whose values are bytes.
    fn lib0(documents: Vec<(&'static str, Bytes)>) -> Self {
        let (mut pieces, mut frame) = (Vec::new(), Vec::new());
        write_any_object_header(&mut frame, documents.len());
        for (key, bytes) in documents {
            write_var_string(&mut frame, key);
            frame.push(BYTES_TAG);
            write_var_uint(&mut frame, bytes.len() as u64);
            pieces.push(Piece::Plain(std::mem::take(&mut frame).into()));
            pieces.push(Piece::Plain(bytes));
        }
        pieces.push(Piece::Plain(frame.into()));
        Self::of(pieces)
    }

    fn json(documents: Vec<(&'static str, Bytes)>) -> Self {
        let (mut pieces, mut frame) = (Vec::new(), String::from("{"));
        for (at, (key, bytes)) in documents.into_iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            frame.push_str(&format!("{comma}\"{key}\":\""));
            pieces.push(Piece::Plain(std::mem::take(&mut frame).into()));
            pieces.push(Piece::Base64(bytes));
            frame.push('"');
        }
        frame.push('}');
        pieces.push(Piece::Plain(frame.into()));
        Self::of(pieces)
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size_bytes)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        let next = loop {
            match this.left.pop_front() {
                // An empty piece would be taken for the end.
                Some(Piece::Plain(bytes) | Piece::Base64(bytes)) if bytes.is_empty() => {}
                // The server copies what it is given, whole: of a long document a little at a time, as the client takes it.
                Some(Piece::Plain(mut bytes)) => {
                    let piece = bytes.split_to(bytes.len().min(PLAIN_PIECE_BYTES));
                    this.left.push_front(Piece::Plain(bytes));
                    break Some(piece);
                }
                Some(Piece::Base64(mut bytes)) => {
                    let piece = bytes.split_to(bytes.len().min(BASE64_PIECE_BYTES));
                    this.left.push_front(Piece::Base64(bytes));
                    break Some(BASE64_STANDARD.encode(piece).into());
                }
                None => break None,
            }
        };
        Poll::Ready(next.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use super::*;

    #[actix_web::test]
    async fn documents_in_pieces_are_what_they_would_be_in_one() {
        for sizes in [vec![], vec![0], vec![1], vec![2, 0], vec![BASE64_PIECE_BYTES, 3], vec![BASE64_PIECE_BYTES + 1, 200_000]] {
            let keys = ["doc", "awareness"];
            let documents: Vec<_> = sizes
                .iter()
                .zip(keys)
                .map(|(size, key)| (key, Bytes::from((0..*size).map(|at| (at * 7) as u8).collect::<Vec<_>>())))
                .collect();
            let entries = documents.iter().map(|(key, bytes)| ((*key).into(), Any::Bytes(bytes[..].into()))).collect();
            let whole = Any::Object(Object::from_entries(entries));
            for (pieces, whole) in [
                (Pieces::lib0(documents.clone()), whole.to_bytes()),
                (Pieces::json(documents.clone()), whole.to_json().into_bytes()),
            ] {
                assert_eq!(pieces.size(), BodySize::Sized(whole.len() as u64));
                let mut pieces = pin!(pieces);
                let mut sent = Vec::new();
                while let Some(Ok(piece)) = poll_fn(|cx| pieces.as_mut().poll_next(cx)).await {
                    assert!(!piece.is_empty() && piece.len() <= PLAIN_PIECE_BYTES, "{}", piece.len());
                    sent.extend_from_slice(&piece);
                }
                assert!(sent == whole, "{sizes:?}");
            }
        }
    }
}
