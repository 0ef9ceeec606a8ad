//! What lets others in: access tokens for back ends, tickets for browsers. And the records of who did what.

use std::{sync::Arc, time::Duration};

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_auth::AuthError;
use yhub_core::{
    access::{Access, Docids, Grant, Grants, Level, MAX_USER_BYTES, Purposes, Scope as GrantScope, Target, Via},
    chain,
};
use yhub_encoding::{Any, Object};
use yhub_store::{AccessToken, AuditCursor, AuditFilter, AuditRecord, CreateTokenError, MAX_TOKEN_LABEL};

use super::{
    Rest,
    answer::Answer,
    deletion::optional,
    endpoint::{Call, Endpoint, Kind, Param, Purpose, Returns, Right, Scope, param},
};
use crate::{
    http::HttpError,
    issued::{TicketFor, token_of},
    new_token,
};

/// Entries of a page, unless it is said, and at most.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1_000;

const LIMIT: Param = param("limit", Kind::Count, "At most so many; 100 if not given, never more than 1,000.");
const AFTER: Param = param("after", Kind::Text, "The `next` of the page before.");
const TOKEN_SCOPE: &str = "An org of `*` is every org, and the hub as a whole.";

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::POST,
        name: "tickets/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Ticket),
        needs_if: None,
        summary: "Let a browser into a document, once",
        about: "For a WebSocket connection of somebody whom the application knows, which shows the ticket as `yauth` in its address \
                within `auth.ticket_ms`. A ticket is used up by that. Who makes it can give no more than they have.",
        query: &[],
        body: Some(&[
            param("user", Kind::Text, "The user id under which it lets in."),
            param("access", Kind::Choice(&["r", "rw"]), "How far it goes; `rw` if not given."),
            param(
                "session",
                Kind::Count,
                "The connection ends after so many milliseconds, at most and if not given `auth.ticket_session_ms`.",
            ),
        ]),
        conditional: false,
        returns: Returns {
            about: "The ticket.",
            fields: &[
                param("ticket", Kind::Text, "It, a secret."),
                param("within", Kind::Count, "It has to be used within so many milliseconds."),
                param("expiresAt", Kind::Number, "When the connection ends, in milliseconds since 1970."),
            ],
            or_text: false,
        },
        run: |rest, call| ticket(rest, call).boxed(),
    },
    Endpoint {
        method: Method::POST,
        name: "tokens/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::Token),
        needs_if: None,
        summary: "Make an access token",
        about: "It gives no more and lasts no longer than what it is made by, and ends with that. It is shown once: the hub keeps a hash \
                of it.",
        query: &[],
        body: Some(&[
            param("user", Kind::Text, "The user id under which it lets in."),
            param("label", Kind::Text, "What it is for; at most 256 bytes are kept."),
            param(
                "grants",
                Kind::Value("{ org, docid?, docidPrefix?, branch?, access?, purposes? }[]"),
                "What it gives: see \"Who may do what\" above.",
            ),
            param("expires", Kind::Number, "When it ends, in milliseconds since 1970. If not given, when it is revoked."),
        ]),
        conditional: false,
        returns: Returns {
            about: "The token.",
            fields: &[
                param("token", Kind::Text, "It, a secret that is not shown again."),
                param("id", Kind::Text, "Its name, no secret."),
            ],
            or_text: false,
        },
        run: |rest, call| create(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "tokens/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::Token),
        needs_if: None,
        summary: "List access tokens",
        about: TOKEN_SCOPE,
        query: &[LIMIT, AFTER],
        body: None,
        conditional: false,
        returns: Returns {
            about: "`{ tokens, next }`; a token is `{ id, user, label, grants, createdAt, expiresAt, revokedAt, by, ancestors }`.",
            fields: &[],
            or_text: false,
        },
        run: |rest, call| list(rest, call).boxed(),
    },
    Endpoint {
        method: Method::DELETE,
        name: "tokens/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::Token),
        needs_if: None,
        summary: "Revoke an access token",
        about: "And all that were made by it. Connections that came in by them are closed with 4401.",
        query: &[param("id", Kind::Text, "Its id.")],
        body: None,
        conditional: false,
        returns: Returns {
            about: "How many were revoked by this.",
            fields: &[param("revoked", Kind::Count, "0 if it was revoked before.")],
            or_text: false,
        },
        run: |rest, call| revoke(rest, call).boxed(),
    },
    Endpoint {
        method: Method::GET,
        name: "audit/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::Audit),
        needs_if: None,
        summary: "Read what was done and refused",
        about: TOKEN_SCOPE,
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
    },
];

async fn ticket(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let user = user_of(&call)?;
    let place = Target::Room(call.room());
    let (level, right) = match call.body.text("access") {
        Some("r") => (Level::Read, Right::Read),
        _ => (Level::Write, Right::Write),
    };
    let allowed = rest.doorkeeper.access(&call.caller, place, right).await?;
    let (within, longest) = (rest.ticket, rest.ticket_session);
    let session = call.body.count("session").map_or(longest, Duration::from_millis).min(longest);
    let until = rest.time.now_ms().saturating_add(session.as_millis() as u64);
    let expires_ms = [Some(until), allowed.expires_ms, call.caller.expires_ms()].into_iter().flatten().min().unwrap_or(until);
    let room = call.room();
    let scope = GrantScope {
        org: Some(room.org().to_owned()),
        docids: Docids::One(room.docid().to_owned()),
        branch: Some(room.branch().to_owned()),
    };
    let grants = Grants::new(vec![Grant { scope, access: Access { level, purposes: Purposes::NONE } }]);
    let says = TicketFor { user, grants, expires_ms, token: token_of(&call.caller.who).map(str::to_owned) };
    let ticket = rest.doorkeeper.issued().ticket(&says, within).await.map_err(|_| HttpError::Unavailable)?;
    Ok(Answer::object(vec![
        ("ticket", ticket.as_str().into()),
        ("within", Any::Number(within.as_millis() as f64)),
        ("expiresAt", Any::Number(expires_ms as f64)),
    ]))
}

async fn create(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let user = user_of(&call)?;
    let wrong = |what: String| HttpError::InvalidBody { what: format!("invalid body: {what}") };
    let asked = call.body.any("grants").ok_or_else(|| wrong("[grants] is missing".into()))?;
    let grants = Grants::from_any(asked).map_err(|error| wrong(format!("[grants] {error}")))?;
    if grants.is_empty() {
        return Err(wrong("[grants] give nothing".into()));
    }
    if call.org != "*" && grants.only_org() != Some(&*call.org) {
        return Err(wrong("[grants] reach beyond the org of the address; for several orgs ask at `*`".into()));
    }
    let held = match (call.caller.grants(), call.caller.who.via) {
        (Some(grants), _) => grants.clone(),
        (None, Via::Open) => {
            let allowed = rest.doorkeeper.access(&call.caller, Target::Hub, Right::Purpose(Purpose::Token)).await?;
            Grants::everywhere(allowed.access)
        }
        // What they may do is known place by place, so it is not known what they might hand on.
        _ => {
            return Err(wrong(
                "[grants] can be handed on only by who holds grants: use an access token, or a signed one with grants".into(),
            ));
        }
    };
    if let Some(beyond) = grants.first_beyond(&held) {
        let beyond = Grants::new(vec![beyond.clone()]).to_any().to_json();
        return Err(HttpError::Beyond { what: beyond });
    }
    let ancestors = rest.doorkeeper.issued().lineage(&call.caller.who).await.map_err(|error| match error {
        AuthError::Unavailable { .. } => HttpError::Unavailable,
        error => HttpError::Unauthorized { why: error.to_string() },
    })?;
    let expires_ms = [call.body.number("expires").map(|ms| ms as u64), call.caller.expires_ms()].into_iter().flatten().min();
    let text = new_token().map_err(|error| {
        log::error!("no token can be made: {error}");
        HttpError::Internal
    })?;
    let mut label = call.body.text("label").unwrap_or_default().to_owned();
    label.truncate(label.floor_char_boundary(MAX_TOKEN_LABEL));
    let token = AccessToken {
        id: text.id().to_owned(),
        secret_hash: text.secret_hash(),
        ancestors,
        user,
        label,
        grants,
        created_ms: rest.time.now_ms(),
        expires_ms,
        revoked_ms: None,
        by: call.caller.who.user.clone(),
    };
    let record = about(rest.record(&call, "token.create"), &token);
    match rest.tokens.create(&token, Some(&record)).await {
        Ok(token) => Ok(Answer::object(vec![("token", text.reveal().as_str().into()), ("id", token.id.as_str().into())])),
        Err(CreateTokenError::Store(error)) => Err(HttpError::of_store(&error)),
        Err(
            CreateTokenError::ParentRevoked { .. } | CreateTokenError::ParentExpired { .. } | CreateTokenError::ParentGone { .. },
        ) => Err(HttpError::Unauthorized { why: "the token by which it is made has ended".into() }),
        Err(error @ (CreateTokenError::TooDeep { .. } | CreateTokenError::Invalid { .. })) => Err(wrong(error.to_string())),
        Err(error) => {
            log::error!("no token can be made: {}", chain(&error));
            Err(HttpError::Internal)
        }
    }
}

async fn list(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let limit = limit(&call);
    let org = Some(&*call.org).filter(|org| *org != "*");
    let found = rest.tokens.page(org, call.query.text("after"), limit).await.map_err(|error| HttpError::of_store(&error))?;
    let next = found.last().filter(|_| found.len() >= limit).map(|last| last.id.clone());
    let tokens = found.iter().map(|token| {
        object(vec![
            ("id", token.id.as_str().into()),
            ("user", token.user.as_str().into()),
            ("label", token.label.as_str().into()),
            ("grants", token.grants.to_any()),
            ("createdAt", Any::Number(token.created_ms as f64)),
            ("expiresAt", time(token.expires_ms)),
            ("revokedAt", time(token.revoked_ms)),
            ("by", token.by.as_str().into()),
            ("ancestors", Any::Array(token.ancestors.iter().map(|id| id.as_str().into()).collect())),
        ])
    });
    Ok(Answer::object(vec![("tokens", Any::Array(tokens.collect())), ("next", optional(next.as_deref()))]))
}

async fn revoke(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let missing = || HttpError::InvalidQuery { what: "invalid query: [id] is missing".into() };
    let id = call.query.text("id").ok_or_else(missing)?;
    let found = rest.tokens.find(id).await.map_err(|error| HttpError::of_store(&error))?.ok_or(HttpError::NotFound)?;
    // A token of elsewhere is not there, for who may not see it.
    if call.org != "*" && found.token.grants.only_org() != Some(&*call.org) {
        return Err(HttpError::NotFound);
    }
    let record = about(rest.record(&call, "token.revoke"), &found.token);
    let revoked = rest.tokens.revoke(id, rest.time.now_ms(), Some(&record)).await;
    // Also if it failed: it may have been done all the same.
    rest.doorkeeper.issued().forget(id);
    let revoked = revoked.map_err(|error| HttpError::of_store(&error))?;
    Ok(Answer::object(vec![("revoked", Any::Number(revoked.ok_or(HttpError::NotFound)? as f64))]))
}

async fn audit(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let after = call.query.text("after").map(str::parse::<AuditCursor>).transpose();
    let after = after.map_err(|error| HttpError::InvalidQuery { what: format!("invalid query: [after] {error}") })?;
    let text = |name: &str| call.query.text(name).map(str::to_owned);
    let ms = |name: &str| call.query.number(name).map(|ms| ms as u64);
    let filter = AuditFilter {
        org: Some(call.org.clone()).filter(|org| org != "*"),
        actor: text("actor"),
        action: text("action"),
        result: text("result"),
        since_ms: ms("since"),
        until_ms: ms("until"),
    };
    let page = rest.audits.page(&filter, after.as_ref(), limit(&call)).await.map_err(|error| HttpError::of_store(&error))?;
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

fn user_of(call: &Call) -> Result<String, HttpError> {
    let user = call.body.text("user").filter(|user| !user.is_empty() && user.len() <= MAX_USER_BYTES);
    let wrong = || HttpError::InvalidBody { what: format!("invalid body: [user] has not 1 to {MAX_USER_BYTES} bytes") };
    user.map(str::to_owned).ok_or_else(wrong)
}

/// What a record says of a token. Never its secret.
fn about(record: AuditRecord, token: &AccessToken) -> AuditRecord {
    let detail = format!("token {} of {}: {}", token.id, token.user, token.grants.to_any().to_json());
    AuditRecord { detail, ..record }
}

fn limit(call: &Call) -> usize {
    call.query.count("limit").filter(|limit| *limit > 0).unwrap_or(PAGE).min(MAX_PAGE) as usize
}

fn time(at_ms: Option<u64>) -> Any {
    at_ms.map_or(Any::Null, |at_ms| Any::Number(at_ms as f64))
}

fn object(entries: Vec<(&'static str, Any)>) -> Any {
    Any::Object(Object::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
}
