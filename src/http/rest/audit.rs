//! The records of what was done and refused.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_encoding::Any;
use yhub_store::{AuditCursor, AuditFilter};

use super::{
    Rest,
    answer::{Answer, object},
    deletion::optional,
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, param},
    paging::{self, AFTER, EVERY_ORG, LIMIT},
};
use crate::http::HttpError;

pub(super) static ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: Method::GET,
    name: "audit/v1",
    scope: Scope::Org,
    tail: "",
    needs: Right::Purpose(Purpose::Audit),
    needs_if: None,
    summary: "Read what was done and refused",
    about: EVERY_ORG,
    query: &[
        LIMIT,
        AFTER,
        param("actor", Kind::Text, "Only of this user."),
        param("action", Kind::Text, "Only of this action, such as `delete`, `token.create` or `denied`."),
        param("result", Kind::Choice(&["done", "denied", "refused", "failed"]), "Only what ended so."),
        param("since", Kind::Number, "Only from then on, in milliseconds since 1970."),
        param("until", Kind::Number, "Only before then."),
    ],
    body: None,
    conditional: false,
    returns: Returns {
        about: "`{ records, next }`, newest first; a record is `{ at, actor, via, action, org, docid, branch, result, requestId, \
                    address, detail, count }`.",
        fields: &[],
        or_text: false,
    },
    run: |rest, call| audit(rest, call).boxed(),
}];

async fn audit(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let after = call.query.text("after").map(str::parse::<AuditCursor>).transpose();
    let after = after.map_err(|error| HttpError::InvalidQuery { what: format!("invalid query: [after] {error}") })?;
    let text = |name: &str| call.query.text(name).map(str::to_owned);
    let ms = |name: &str| call.query.number(name).map(|ms| ms as u64);
    let filter = AuditFilter {
        org: paging::org(&call).map(str::to_owned),
        actor: text("actor"),
        action: text("action"),
        result: text("result"),
        since_ms: ms("since"),
        until_ms: ms("until"),
    };
    let page =
        rest.audits.page(&filter, after.as_ref(), paging::limit(&call)).await.map_err(|error| HttpError::of_store(&error))?;
    let records = page.records.iter().map(|record| {
        object(vec![
            ("at", Any::Number(record.at_ms as f64)),
            ("actor", record.actor.as_str().into()),
            ("via", record.via.as_str().into()),
            ("action", record.action.as_str().into()),
            ("org", optional(record.org.as_deref())),
            ("docid", optional(record.docid.as_deref())),
            ("branch", optional(record.branch.as_deref())),
            ("result", record.result.as_str().into()),
            ("requestId", record.request_id.as_str().into()),
            ("address", optional(record.address.as_deref())),
            ("detail", record.detail.as_str().into()),
            ("count", Any::Number(f64::from(record.count))),
        ])
    });
    let next = page.next.map(|next| next.to_string());
    Ok(Answer::object(vec![("records", Any::Array(records.collect())), ("next", optional(next.as_deref()))]))
}
