//! Which documents there are, which were deleted, and how large one is.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_core::{RoomId, decode_component, encode_uri_component};
use yhub_encoding::Any;
use yhub_store::{Page, RoomOverview, Tombstone, TombstoneFilter, TombstoneState};

use super::{
    Rest,
    answer::{Answer, object},
    deletion::optional,
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, param},
    paging::{self, AFTER, LIMIT},
};
use crate::http::HttpError;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        name: "rooms/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::List),
        needs_if: None,
        summary: "List the documents of an org",
        about: "Those that are stored, deleted ones of which content is kept included. A new document is stored a moment after it was \
                written first.",
        query: &[LIMIT, AFTER],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ rooms, next }`; a room is `{ docid, branch, stored, versions, bytes, deletedAt, hard }`, and `next` is for the next \
                    page, `null` on the last.",
            fields: &[],
            or_text: false,
        },
        run: |rest, call| rooms(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "tombstones/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::List),
        needs_if: None,
        summary: "List the documents of an org that were deleted",
        about: "For good or with their content kept.",
        query: &[
            LIMIT,
            AFTER,
            param(
                "state",
                Kind::Choice(&["any", "pending"]),
                "`pending`: those that are still to be erased. `any` if not given.",
            ),
            param(
                "keptBefore",
                Kind::Number,
                "Those whose content is kept and that were deleted before, in milliseconds since 1970.",
            ),
        ],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ tombstones, next }`; a tombstone is `{ docid, branch, deletedAt, hard, purgedAt, by }`.",
            fields: &[],
            or_text: false,
        },
        run: |rest, call| tombstones(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "room/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Read,
        needs_if: None,
        summary: "Read the clocks and sizes of a document",
        about: "Without its content. Also of one that was deleted.",
        query: &[],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ changed, stored, versions, bytes, deletedAt, hard }`; `changed` is the clock of the last change, `null` if it was \
                    deleted.",
            fields: &[],
            or_text: false,
        },
        run: |rest, call| room(rest, call).boxed(),
    },
];

async fn rooms(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let (limit, after) = page(&call)?;
    let after = after.as_ref().map(|after| (after.docid(), after.branch()));
    let found =
        rest.documents.deletions().rooms_of(&call.org, after, limit).await.map_err(|error| HttpError::of_store(&error))?;
    let next = next(found.len(), limit, found.last().map(|found| &found.room));
    let room = |found: &RoomOverview| {
        let mut entries = name_of(&found.room);
        entries.extend(overview(found));
        object(entries)
    };
    Ok(Answer::object(vec![("rooms", Any::Array(found.iter().map(room).collect())), ("next", next)]))
}

async fn tombstones(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let (limit, after) = page(&call)?;
    let state = match (call.query.text("state"), call.query.number("keptBefore")) {
        (Some("pending"), Some(_)) => {
            return Err(HttpError::InvalidQuery { what: "invalid query: [keptBefore] is not for [state] pending".into() });
        }
        (Some("pending"), None) => TombstoneState::PurgePending,
        (_, Some(before)) => TombstoneState::KeptSinceBefore(before as i64),
        (_, None) => TombstoneState::Any,
    };
    let filter = TombstoneFilter { org: Some(&call.org), state };
    let found = rest.documents.deletions().tombstones(filter, Page { after: after.as_ref(), max: limit }).await;
    let found = found.map_err(|error| HttpError::of_store(&error))?;
    let next = next(found.len(), limit, found.last().map(|found| &found.room));
    let tombstones = found.iter().map(|found| {
        let mut entries = name_of(&found.room);
        entries.extend(deletion(Some(&found.tombstone)));
        entries.push(("purgedAt", found.tombstone.purged_at_ms.map_or(Any::Null, |at| Any::Number(at as f64))));
        entries.push(("by", optional(found.tombstone.by.as_deref())));
        object(entries)
    });
    Ok(Answer::object(vec![("tombstones", Any::Array(tombstones.collect())), ("next", next)]))
}

async fn room(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let overview_of = rest.documents.deletions().overview_of(call.room()).await.map_err(|error| HttpError::of_store(&error))?;
    let found = overview_of.unwrap_or_else(|| RoomOverview {
        room: call.room().clone(),
        newest: String::new(),
        rows: 0,
        sizes_bytes: [0; 4],
        tombstone: None,
    });
    let changed = match &found.tombstone {
        Some(_) => None,
        None => Some(rest.documents.changed(call.room()).await.map_err(|error| HttpError::of_documents(&error))?),
    };
    let mut entries = vec![("changed", optional(changed.map(|clock| clock.to_string()).as_deref()))];
    entries.extend(overview(&found));
    Ok(Answer::object(entries))
}

/// How many, and after which room.
fn page(call: &Call) -> Result<(usize, Option<RoomId>), HttpError> {
    let after = call.query.text("after").map(|after| {
        let (docid, branch) = after.split_once('/')?;
        Some(RoomId::new(&call.org, &decode_component(docid)?, &decode_component(branch)?))
    });
    let after = after.map(|after| {
        after.ok_or_else(|| HttpError::InvalidQuery { what: "invalid query: [after] is not the `next` of a page".into() })
    });
    Ok((paging::limit(call), after.transpose()?))
}

/// What to ask with for the next page; `null` if this was the last one for certain.
fn next(found: usize, limit: usize, last: Option<&RoomId>) -> Any {
    let cursor = |last: &RoomId| format!("{}/{}", encode_uri_component(last.docid()), encode_uri_component(last.branch()));
    optional(last.filter(|_| found >= limit).map(cursor).as_deref())
}

type Entries = Vec<(&'static str, Any)>;

fn name_of(room: &RoomId) -> Entries {
    vec![("docid", room.docid().into()), ("branch", room.branch().into())]
}

fn overview(found: &RoomOverview) -> Entries {
    let names = ["gcdoc", "nongcdoc", "contentmap", "contentids"];
    let bytes = names.into_iter().zip(found.sizes_bytes).map(|(name, bytes)| (name, Any::Number(bytes as f64)));
    let mut entries = vec![
        ("stored", optional(Some(found.newest.as_str()).filter(|newest| !newest.is_empty()))),
        ("versions", Any::Number(found.rows as f64)),
        ("bytes", object(bytes.collect())),
    ];
    entries.extend(deletion(found.tombstone.as_ref()));
    entries
}

fn deletion(tombstone: Option<&Tombstone>) -> Entries {
    vec![
        ("deletedAt", tombstone.map_or(Any::Null, |tombstone| Any::Number(tombstone.deleted_at_ms as f64))),
        ("hard", Any::Bool(tombstone.is_some_and(|tombstone| tombstone.hard))),
    ]
}
