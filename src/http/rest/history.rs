//! `activity`, `changeset`, `rollback`, `prune`: who changed what, and taking it back or forgetting it.
//!
//! Answers about a history are kept for a few seconds under the clock of the document's last change, so that none is ever stale; and
//! who asks what is being computed for somebody else waits for that.

use std::{sync::Arc, time::Duration};

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use yhub_content::{
    ContentIds, Limits, check_content_ids,
    history::{ActivityQuery, ChangeFilter, ChangesetQuery},
};
use yhub_core::{StreamClock, chain};
use yhub_documents::AsOf;
use yhub_store::CacheKey;

use super::{
    Rest,
    answer::{Answer, Body},
    endpoint::{Call, Endpoint, Kind, Param, Purpose, Returns, Right, Scope, param},
    flights::Computing,
    values::Values,
    ydoc::written_answer,
};
use crate::{author, http::HttpError};

/// An answer is kept for so long, and two seconds more for each that it took.
const CACHE_TTL: Duration = Duration::from_secs(5);
/// But no longer than this, however long it took: what is kept is bounded by what may come in a second.
const MAX_CACHE_TTL: Duration = Duration::from_secs(30);
/// Entries of an activity that may be shown with what is in them, each of which goes through the document.
const MAX_SHOWN: usize = 1_000;
/// So much they may hold, all together.
const MAX_SHOWN_BYTES: usize = 64 << 20;

const FROM: Param = param("from", Kind::Number, "Changes made then or later, in milliseconds since 1970.");
const TO: Param = param("to", Kind::Number, "Changes made then or before.");
const BY: Param = param("by", Kind::Text, "Changes of this user.");
const WITH: Param = param("withCustomAttributions", Kind::Pairs, "Changes of which all these pairs are said.");
const IDS: Param = param("contentIds", Kind::Bytes, "Changes of this content: encoded ContentIds.");
const CUSTOM: Param = param("customAttributions", Kind::Pairs, "What is to be recorded with the changes that this makes.");

const SUCCESS: Returns = Returns {
    about: "Done, also where there was nothing to do.",
    fields: &[
        param("success", Kind::Bool, "`true`."),
        param("message", Kind::Text, "For people: whether there was anything to write."),
    ],
    or_text: false,
};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        name: "activity/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Read,
        needs_if: None,
        summary: "List what happened to a document",
        about: "Changes of one author that follow each other closely are one entry. With `delta`, `ydoc` or `attributions` at most \
                    1,000 entries are shown; a longer list is 422 with the code `too-costly`.",
        query: &[
            FROM,
            TO,
            BY,
            WITH,
            IDS,
            param("limit", Kind::Count, "At most so many entries; 0 for all, which is what happens without it."),
            param("order", Kind::Choice(&["asc", "desc"]), "`desc`: the latest first. `asc` if not given."),
            param("group", Kind::Bool, "`false`: only changes of one millisecond are one entry. `true` if not given."),
            param(
                "groupMaxGap",
                Kind::Number,
                "Less than so many milliseconds lie between changes of one entry. 1000 if not given.",
            ),
            param("groupMaxDuration", Kind::Number, "An entry spans less than so many milliseconds. No bound if not given."),
            param("customAttributions", Kind::Bool, "`true`: with what else is said of the changes."),
            param("delta", Kind::Bool, "`true`: with the document at the entry's end, its changes marked."),
            param(
                "ydoc",
                Kind::Bool,
                "`true`: with one document for all entries, and with what of it was there at the end of each.",
            ),
            param("attributions", Kind::Bool, "`true`: with who changed what."),
        ],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ ydoc?, activity }`; an entry is `{ from, to, by, customAttributions, delta?, attributions?, renderedContent? }`.",
            fields: &[],
            or_text: false,
        },
        run: |rest, call| activity(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "changeset/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Read,
        needs_if: None,
        summary: "Compare a document at two times",
        about: "The document as it was at `to`, with what changed since `from`.",
        query: &[
            FROM,
            TO,
            BY,
            WITH,
            param("ydoc", Kind::Bool, "`true`: with the document at `to`; what the changes deleted is still in it."),
            param("delta", Kind::Bool, "`true`: with the root without a name at `to`, the changes marked."),
            param("attributions", Kind::Bool, "`true`: with who changed what."),
        ],
        body: None,
        conditional: false,
        returns: Returns { about: "`{ attributions?, delta?, ydoc? }`, as far as asked for.", fields: &[], or_text: false },
        run: |rest, call| changeset(rest, call).boxed(),
    },
    Endpoint {
        method: Method::POST,
        name: "rollback/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Rollback),
        needs_if: None,
        summary: "Take changes back",
        about: "What they inserted is deleted and what they deleted is inserted anew, which is itself a change. At least one filter \
                    must be given, in the body or in the query.",
        query: &[FROM, TO, BY, WITH, IDS],
        body: Some(&[FROM, TO, BY, WITH, IDS, CUSTOM]),
        conditional: true,
        returns: SUCCESS,
        run: |rest, call| rollback(rest, call).boxed(),
    },
    Endpoint {
        method: Method::POST,
        name: "prune/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Prune),
        needs_if: None,
        summary: "Have the history forget what came and went",
        about: "Content that these changes have both inserted and deleted is erased from the history. No document looks different. At \
                    least one filter must be given, in the body or in the query. 409 with the code `legal-hold` while a hold is on it.",
        query: &[FROM, TO, BY, WITH, IDS],
        body: Some(&[FROM, TO, BY, WITH, IDS]),
        conditional: true,
        returns: SUCCESS,
        run: |rest, call| prune(rest, call).boxed(),
    },
];

/// Which changes are meant.
fn filter(values: &Values, limits: &Limits) -> Result<ChangeFilter, HttpError> {
    let ids = values.bytes("contentIds").map(|bytes| {
        let wrong = |what: String| HttpError::InvalidQuery { what: format!("invalid query: [contentIds] {what}") };
        check_content_ids(bytes, limits).map_err(|error| wrong(error.to_string()))?;
        ContentIds::from_bytes(bytes).map_err(|error| wrong(error.to_string()))
    });
    let custom = author::custom_pairs(values.pairs("withCustomAttributions"))?;
    Ok(ChangeFilter {
        from: values.number("from"),
        to: values.number("to"),
        by: values.text("by").map(str::to_owned),
        ids: ids.transpose()?,
        custom,
    })
}

/// The filter of a request that changes something: at least one must be given.
fn given_filter(call: &mut Call, limits: &Limits) -> Result<ChangeFilter, HttpError> {
    let values = std::mem::take(&mut call.body).or(std::mem::take(&mut call.query));
    let filter = filter(&values, limits)?;
    if filter.means_everything() {
        let what = "invalid body: give at least one of [from], [to], [by], [contentIds], [withCustomAttributions]".into();
        return Err(HttpError::InvalidBody { what });
    }
    Ok(filter)
}

async fn rollback(rest: Arc<Rest>, mut call: Call) -> Result<Answer, HttpError> {
    let filter = given_filter(&mut call, rest.documents.limits())?;
    let _place = rest.place_at_histories(&call)?;
    let written = rest.documents.rollback(call.room(), filter, rest.writer(&call)).await;
    written_answer(written.map_err(|error| HttpError::of_documents(&error))?)
}

async fn prune(rest: Arc<Rest>, mut call: Call) -> Result<Answer, HttpError> {
    let filter = given_filter(&mut call, rest.documents.limits())?;
    let _place = rest.place_at_histories(&call)?;
    let written = rest.documents.prune(call.room(), filter, rest.writer(&call)).await;
    written_answer(written.map_err(|error| HttpError::of_documents(&error))?)
}

async fn activity(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let defaults = ActivityQuery::default();
    let query = ActivityQuery {
        filter: with_bounds(filter(&call.query, rest.documents.limits())?),
        limit: call.query.count("limit").unwrap_or(0),
        newest_first: call.query.text("order") == Some("desc"),
        group: call.query.bool("group").unwrap_or(true),
        max_gap_ms: call.query.number("groupMaxGap").unwrap_or(defaults.max_gap_ms),
        max_duration_ms: call.query.number("groupMaxDuration").unwrap_or(defaults.max_duration_ms),
        custom: call.query.is("customAttributions"),
        delta: call.query.is("delta"),
        ydoc: call.query.is("ydoc"),
        attributions: call.query.is("attributions"),
        max_shown: MAX_SHOWN,
        max_shown_bytes: MAX_SHOWN_BYTES,
    };
    let arguments = format!("{query:?}");
    let (room, documents) = (call.room().clone(), rest.documents.clone());
    let compute = async move { documents.activity(&room, query).await.map_err(|error| HttpError::of_documents(&error)) };
    let _place = rest.place_at_histories(&call)?;
    rest.answered("activity", arguments, call, compute.boxed()).await
}

async fn changeset(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let query = ChangesetQuery {
        filter: filter(&call.query, rest.documents.limits())?,
        attributions: call.query.is("attributions"),
        delta: call.query.is("delta"),
        ydoc: call.query.is("ydoc"),
    };
    let arguments = format!("{query:?}");
    let (room, documents) = (call.room().clone(), rest.documents.clone());
    let compute = async move { documents.changeset(&room, query).await.map_err(|error| HttpError::of_documents(&error)) };
    let _place = rest.place_at_histories(&call)?;
    rest.answered("changeset", arguments, call, compute.boxed()).await
}

/// Everything, by time: what of a content map has no time is left out, as y/hub does.
fn with_bounds(filter: ChangeFilter) -> ChangeFilter {
    const LATEST: f64 = 9_007_199_254_740_991.0;
    ChangeFilter { from: filter.from.or(Some(0.0)), to: filter.to.or(Some(LATEST)), ..filter }
}

impl Rest {
    /// The answer to a question about a room's history: kept, being computed, or computed.
    async fn answered(
        &self,
        endpoint: &str,
        arguments: String,
        call: Call,
        compute: Computing<AsOf<Bytes>>,
    ) -> Result<Answer, HttpError> {
        let room = call.room().clone();
        let changed = self.documents.changed(&room).await.map_err(|error| HttpError::of_documents(&error))?;
        if call.conditions.has(changed) {
            return Ok(Answer { status: StatusCode::NOT_MODIFIED, ..Answer::of(Body::Empty) }.as_of(changed));
        }
        if call.head_only {
            return Ok(Answer::of(Body::Empty).as_of(changed));
        }
        let key = |clock: StreamClock| CacheKey {
            room: room.clone(),
            endpoint: endpoint.into(),
            // Hashed: content ids make them as long as a URL can be.
            arguments: vec![format!("{:x?}", Sha256::digest(&arguments)), clock.to_string()],
        };
        match self.cache.cached(&key(changed)).await {
            Ok(Some(kept)) => return Ok(Answer::of(Body::Encoded(kept)).as_of(changed)),
            Ok(None) => {}
            // What cannot be looked up is computed.
            Err(error) => log::warn!(room:% = room; "kept answers of room {room} cannot be read: {}", chain(&error)),
        }
        let started = Instant::now();
        let found = self.answers.join(key(changed), compute).await?;
        if self.keeping.may_keep(&call.sharer, found.value.len()) {
            let ttl = (CACHE_TTL + Duration::from_secs(2 * started.elapsed().as_secs())).min(MAX_CACHE_TTL);
            if let Err(error) = self.cache.cache(&key(found.changed), found.value.clone(), ttl).await {
                log::warn!(room:% = room; "an answer of room {room} cannot be kept: {}", chain(&error));
            }
        }
        // Kept after a deletion has forgotten what was kept: nothing of a document is to stay behind it.
        if self.documents.tombstone(&room).await.map_err(|error| HttpError::of_documents(&error))?.is_some() {
            self.cache.release(&key(found.changed)).await.map_err(|error| {
                log::warn!(room:% = room; "an answer of the deleted room {room} stays until its time is over: {}", chain(&error));
                HttpError::Unavailable
            })?;
            return Err(HttpError::Deleted);
        }
        Ok(Answer::of(Body::Encoded(found.value)).as_of(found.changed))
    }
}
