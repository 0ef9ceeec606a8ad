//! Deleting documents, taking that back, keeping documents from being erased, and what says that one was erased.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_core::chain;
use yhub_documents::{DeleteKind, Deleted};
use yhub_encoding::Any;
use yhub_store::{Hold, PurgeReceipt, Restored};

use super::{
    Rest,
    answer::Answer,
    endpoint::{Call, Endpoint, Kind, Param, Purpose, Returns, Right, Scope, param},
};
use crate::http::HttpError;

/// Bytes of the reason of a hold.
const MAX_REASON_BYTES: usize = 1_000;

const HOLD: &[Param] = &[
    param("by", Kind::Text, "Who put it on."),
    param("reason", Kind::Text, "Why."),
    param("at", Kind::Number, "When, in milliseconds since 1970."),
];

const DONE: Returns = Returns {
    about: "Done, also where there was nothing to do.",
    fields: &[param("success", Kind::Bool, "`true`."), param("message", Kind::Text, "For people: what was done.")],
    or_text: false,
};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::DELETE,
        name: "ydoc/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Delete),
        needs_if: Some(("hard", Right::Purpose(Purpose::HardDelete))),
        summary: "Delete a document",
        about: "The document is 404 from now on, and whoever has it open is cut off with 4404. Its content is kept and can be \
                restored, unless it is erased with `hard`. May be repeated: time and author of the first deletion stay.",
        query: &[param(
            "hard",
            Kind::Bool,
            "`true`: erase it for good; the answer says what was erased. Takes the right `hard-delete`.",
        )],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ deletedAt, hard, by, receipt? }`",
            fields: &[
                param("deletedAt", Kind::Number, "When, in milliseconds since 1970."),
                param("hard", Kind::Bool, "Is it erased for good?"),
            ],
            or_text: false,
        },
        run: |rest, call| delete(rest, call).boxed(),
    },
    Endpoint {
        method: Method::POST,
        name: "ydoc/v1",
        scope: Scope::Room,
        tail: "/restore",
        needs: Right::Purpose(Purpose::Restore),
        needs_if: None,
        summary: "Take a deletion back",
        about: "Only where the content was kept: what was erased is 409 with the code `deleted-for-good`.",
        query: &[],
        body: None,
        conditional: false,
        returns: DONE,
        run: |rest, call| restore(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "receipt/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::List),
        needs_if: None,
        summary: "Read the receipt of a document that was erased",
        about: "What was found of it, erased, and read back as gone; 404 with the code `not-found` if it was not erased.",
        query: &[],
        body: None,
        conditional: false,
        returns: Returns { about: "The receipt, as `docs/PROTOCOL.md` describes it.", fields: &[], or_text: false },
        run: |rest, call| receipt(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "hold/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::List),
        needs_if: None,
        summary: "Read the hold on a document",
        about: "404 with the code `not-found` if there is none.",
        query: &[],
        body: None,
        conditional: false,
        returns: Returns { about: "The hold.", fields: HOLD, or_text: false },
        run: |rest, call| hold_of(rest, call).boxed(),
    },
    Endpoint {
        method: Method::PUT,
        name: "hold/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Hold),
        needs_if: None,
        summary: "Keep a document from being erased",
        about: "While a hold is on it, a document is not erased, whoever asks and however long it was deleted, nor is anything of its \
                history (`prune`). One that is on it already stays as it is.",
        query: &[],
        body: Some(&[param("reason", Kind::Text, "Why; must be given.")]),
        conditional: false,
        returns: Returns { about: "The hold.", fields: HOLD, or_text: false },
        run: |rest, call| hold(rest, call).boxed(),
    },
    Endpoint {
        method: Method::DELETE,
        name: "hold/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Hold),
        needs_if: None,
        summary: "Release the hold on a document",
        about: "What was to be erased while it was on the document may be erased at any time from now on.",
        query: &[],
        body: None,
        conditional: false,
        returns: DONE,
        run: |rest, call| release(rest, call).boxed(),
    },
];

async fn delete(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let kind = if call.query.is("hard") { DeleteKind::Hard } else { DeleteKind::Soft };
    let deleted = {
        let audit = rest.record(&call, if kind == DeleteKind::Hard { "delete.hard" } else { "delete" });
        rest.documents.delete(call.room(), kind, Some(&call.author.user), Some(&audit)).await
    };
    match deleted.map_err(|error| HttpError::of_documents(&error))? {
        Deleted::Kept(tombstone) => Ok(Answer::object(vec![
            ("deletedAt", Any::Number(tombstone.deleted_at_ms as f64)),
            ("hard", Any::Bool(false)),
            ("by", optional(tombstone.by.as_deref())),
        ])),
        Deleted::Erased(receipt) => {
            let receipt = read(&receipt)?;
            let of = |key| match &receipt {
                Any::Object(object) => object.get(key).cloned().unwrap_or(Any::Null),
                _ => Any::Null,
            };
            let (at, by) = (of("deletedAt"), of("deletedBy"));
            Ok(Answer::object(vec![("deletedAt", at), ("hard", Any::Bool(true)), ("by", by), ("receipt", receipt)]))
        }
        Deleted::Held(hold) => Err(HttpError::Held { by: hold.map(|hold| format!("by {}: {}", hold.by, hold.reason)) }),
    }
}

async fn restore(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let restored = rest
        .documents
        .restore(call.room(), Some(&rest.record(&call, "restore")))
        .await
        .map_err(|error| HttpError::of_documents(&error))?;
    match restored {
        Restored::Restored => Ok(done("restored")),
        Restored::NotDeleted => Ok(Answer { did_nothing: true, ..done("it was not deleted") }),
        Restored::Refused => Err(HttpError::DeletedForGood),
    }
}

async fn receipt(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let found = rest.documents.deletions().receipt(call.room()).await.map_err(|error| HttpError::of_store(&error))?;
    match read(&found.ok_or(HttpError::NotFound)?)? {
        Any::Object(receipt) => Ok(Answer::of(super::answer::Body::Object(receipt))),
        _ => Err(HttpError::Internal),
    }
}

async fn hold_of(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let found = rest.documents.deletions().hold_of(call.room()).await.map_err(|error| HttpError::of_store(&error))?;
    found.map(|hold| hold_answer(&hold)).ok_or(HttpError::NotFound)
}

async fn hold(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let reason = call.body.text("reason").filter(|reason| !reason.is_empty() && reason.len() <= MAX_REASON_BYTES);
    let Some(reason) = reason else {
        return Err(HttpError::InvalidBody { what: format!("invalid body: [reason] has not 1 to {MAX_REASON_BYTES} bytes") });
    };
    let at_ms = rest.documents.log().now_ms().await.map_err(|error| {
        log::warn!("a request is told to come again: {}", chain(&error));
        HttpError::Unavailable
    })?;
    let hold = Hold { room: call.room().clone(), by: call.author.user.clone(), reason: reason.to_owned(), at_ms };
    let deletions = rest.documents.deletions();
    deletions.hold(&hold, Some(&rest.record(&call, "hold"))).await.map_err(|error| HttpError::of_store(&error))?;
    // One that was there stays.
    let found = deletions.hold_of(call.room()).await.map_err(|error| HttpError::of_store(&error))?;
    let was_there = found.as_ref().is_some_and(|found| (found.at_ms, &found.by) != (hold.at_ms, &hold.by));
    Ok(Answer { did_nothing: was_there, ..hold_answer(&found.unwrap_or(hold)) })
}

async fn release(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let was = {
        let audit = rest.record(&call, "hold.release");
        rest.documents.deletions().release_hold(call.room(), Some(&audit)).await.map_err(|error| HttpError::of_store(&error))?
    };
    Ok(Answer { did_nothing: !was, ..done(if was { "released" } else { "there was no hold" }) })
}

fn done(message: &str) -> Answer {
    Answer::object(vec![("success", Any::Bool(true)), ("message", message.into())])
}

fn hold_answer(hold: &Hold) -> Answer {
    Answer::object(vec![
        ("by", hold.by.as_str().into()),
        ("reason", hold.reason.as_str().into()),
        ("at", Any::Number(hold.at_ms as f64)),
    ])
}

/// A text, or `null`.
pub(super) fn optional(text: Option<&str>) -> Any {
    text.map_or(Any::Null, Any::from)
}

fn read(receipt: &PurgeReceipt) -> Result<Any, HttpError> {
    Any::from_json(&receipt.json).map_err(|error| {
        log::error!("a receipt cannot be read: {error}");
        HttpError::Internal
    })
}
