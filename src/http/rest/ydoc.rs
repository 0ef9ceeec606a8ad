//! `ydoc`: the document as it is, read and written.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use yhub_core::{Heard, Variant, access::Target, chain, limiting::Bound, room::presence_of};
use yhub_documents::{Writer, Written};
use yhub_encoding::{
    Any,
    awareness::{self, AwarenessError, AwarenessLimits},
};

use super::{
    Rest,
    answer::{Answer, Body},
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, param},
    view::View,
};
use crate::http::HttpError;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        name: "ydoc/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Read,
        needs_if: None,
        summary: "Read a document",
        about: "The document as one Yjs update, or as a view of what is in it. A document that nobody has written yet is the \
                    empty one; one that was deleted is 404 with the code `doc-deleted`. The `ETag` is the clock of its last change.",
        query: &[
            param("gc", Kind::Bool, "`false`: with the content that was deleted. `true` if not given."),
            param("awareness", Kind::Bool, "`true`: with who is there, as one awareness update, if anybody is."),
            param("view", Kind::Choice(&["json", "text", "xml"]), "What is in it, instead of the update."),
            param(
                "roots",
                Kind::Pairs,
                "For `view`: which roots, and what they are: `name:kind,…` with `text`, `array`, `map` or `xml`. At most 256, each \
                     once. Without it all, each taken for what it looks like.",
            ),
        ],
        body: None,
        conditional: false,
        returns: Returns {
            about: "The document; a view `text` or `xml` is text/plain.",
            fields: &[
                param("doc", Kind::Bytes, "One update, V1."),
                param("awareness", Kind::Bytes, "One awareness update, if asked for and anybody was there."),
            ],
            or_text: true,
        },
        run: |rest, call| get(rest, call).boxed(),
    },
    Endpoint {
        method: Method::PATCH,
        name: "ydoc/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Write,
        needs_if: None,
        summary: "Write into a document",
        about: "Adds what the document lacks of an update, and tells everybody who has it open. What it has keeps its authors; \
                    so a request may be repeated. At least one of `update` and `awareness` must be there.",
        query: &[],
        body: Some(&[
            param("update", Kind::Bytes, "A Yjs update, V1; best the difference to the document that was read."),
            param(
                "awareness",
                Kind::Bytes,
                "An awareness update: who is there. It is over after 30 s. Takes the right `presence`, too: it may be said of anybody.",
            ),
            param("customAttributions", Kind::Pairs, "What else is to be recorded with every character of the update."),
        ]),
        conditional: true,
        returns: Returns {
            about: "Written.",
            fields: &[
                param("success", Kind::Bool, "`true`."),
                param("message", Kind::Text, "For people: whether there was anything to write."),
            ],
            or_text: false,
        },
        run: |rest, call| patch(rest, call).boxed(),
    },
];

async fn get(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let failed = |error| HttpError::of_documents(&error);
    let with_awareness = call.query.is("awareness");
    let view = match call.query.text("view") {
        Some(view) => Some(View::new(view, &call.query.pairs("roots"))?),
        None if call.query.pairs("roots").is_empty() => None,
        None => return Err(HttpError::InvalidQuery { what: "invalid query: [roots] is for a view; give [view], too".into() }),
    };
    // Presence has no clock.
    if !with_awareness && (call.head_only || call.conditions.asks()) {
        let changed = rest.documents.changed(call.room()).await.map_err(failed)?;
        if call.conditions.has(changed) {
            return Ok(Answer { status: StatusCode::NOT_MODIFIED, ..Answer::of(Body::Empty) }.as_of(changed));
        }
        if call.head_only {
            return Ok(Answer::of(Body::Empty).as_of(changed));
        }
    }
    let _place = view.is_some().then(|| rest.place_at_histories(&call)).transpose()?;
    let variant = if call.query.bool("gc") == Some(false) { Variant::Nongc } else { Variant::Gc };
    let held = rest.outgoing.document(call.room(), variant, &call.sharer).await?;
    let changed = held.changed;
    let answer = match view {
        Some(view) => Answer::of(rest.shown(call.room(), held, view).await?),
        None => {
            let mut documents = vec![("doc", held.base.clone())];
            if with_awareness {
                documents.extend(merged_awareness(&held.awareness).map(|update| ("awareness", update)));
            }
            Answer::of(Body::Documents(documents, held))
        }
    };
    Ok(if with_awareness { answer } else { answer.as_of(changed) })
}

/// Who is there, if anybody is, as one update. What cannot be read of the stream is left out.
fn merged_awareness(heard: &[Heard]) -> Option<Bytes> {
    if heard.iter().any(|heard| !heard.users.is_empty()) {
        // Where it is known who speaks for whom nobody else's word counts.
        return presence_of(heard);
    }
    let readable = |update: &&Bytes| awareness::decode(update, AwarenessLimits::NONE).is_ok();
    let updates = heard.iter().map(|heard| &heard.update).filter(readable).map(|update| &update[..]);
    let merged = awareness::merge(updates, AwarenessLimits::NONE).ok()?;
    (merged != [0]).then(|| merged.into())
}

async fn patch(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let failed = |error| HttpError::of_documents(&error);
    let (update, awareness) = (call.body.bytes("update"), call.body.bytes("awareness"));
    if update.is_none() && awareness.is_none() {
        return Err(HttpError::InvalidBody { what: "invalid body: neither [update] nor [awareness] is there".into() });
    }
    for (bound, bytes, max_bytes) in
        [(Bound::MessageSize, update, rest.max_update_bytes), (Bound::PresenceSize, awareness, rest.awareness.max_state_bytes)]
    {
        if bytes.is_some_and(|bytes| bytes.len() > max_bytes) {
            rest.callers.tally.count(bound);
            return Err(HttpError::BodyTooLarge { max_bytes });
        }
    }
    // Presence first: where it is refused nothing is written.
    if let Some(awareness) = awareness {
        // Of a connection it is known whom it speaks for; of a request it is not.
        rest.doorkeeper.access(&call.caller, Target::Room(call.room()), Right::Purpose(Purpose::Presence)).await?;
        awareness::decode(awareness, rest.awareness).map_err(|error| {
            if let AwarenessError::TooManyEntries { .. } = error {
                rest.callers.tally.count(Bound::PresenceClients);
            }
            HttpError::InvalidBody { what: format!("invalid body: [awareness] {error}") }
        })?;
    }
    let written = match update {
        Some(update) => rest.documents.patch(call.room(), update.clone(), rest.writer(&call)).await.map_err(failed)?,
        None => match (rest.documents.changed(call.room()).await.map_err(failed)?, call.conditions.unchanged_since) {
            (changed, Some(known)) if changed != known => Written::Changed,
            (changed, _) => Written::Nothing(changed),
        },
    };
    let answer = written_answer(written)?;
    if let Some(awareness) = awareness {
        match rest.documents.write_awareness(call.room(), awareness, rest.awareness).await {
            // The update is in: who is told otherwise would send it again, on a condition that no longer holds.
            Err(error) if update.is_some() => log::warn!("presence of a request is lost: {}", chain(&error)),
            done => done.map_err(failed)?,
        }
    }
    Ok(answer)
}

/// What is answered to a write.
pub(super) fn written_answer(written: Written) -> Result<Answer, HttpError> {
    let (message, changed, did_nothing) = match written {
        Written::Done(clock) => ("written", clock, false),
        Written::Nothing(changed) => ("there was nothing to write", changed, true),
        Written::Changed => return Err(HttpError::Changed),
    };
    let answer = Answer::object(vec![("success", Any::Bool(true)), ("message", message.into())]);
    Ok(Answer { did_nothing, ..answer.as_of(changed) })
}

impl Rest {
    /// Who writes, and on what condition.
    pub(super) fn writer(&self, call: &Call) -> Writer {
        Writer { author: call.author.clone(), at_ms: self.time.now_ms(), unless_changed_since: call.conditions.unchanged_since }
    }
}
