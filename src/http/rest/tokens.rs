//! Access tokens, which let back ends in until they are revoked.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_auth::AuthError;
use yhub_core::{
    access::{Grants, MAX_USER_BYTES, Target, Via},
    chain,
};
use yhub_encoding::Any;
use yhub_store::{AccessToken, AuditRecord, CreateTokenError, MAX_TOKEN_LABEL};

use super::{
    Rest,
    answer::{Answer, object},
    deletion::optional,
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, org_place, param},
    paging::{self, AFTER, EVERY_ORG, LIMIT},
};
use crate::{http::HttpError, new_token};

pub(super) static ENDPOINTS: &[Endpoint] = &[
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
        about: EVERY_ORG,
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
];

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
        let refused = HttpError::Beyond { what: beyond };
        rest.doorkeeper.refused(&call.caller, org_place(&call.org), &refused);
        return Err(refused);
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
    let (limit, org) = (paging::limit(&call), paging::org(&call));
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

/// Under which user id somebody is to be let in.
pub(super) fn user_of(call: &Call) -> Result<String, HttpError> {
    let user = call.body.text("user").filter(|user| !user.is_empty() && user.len() <= MAX_USER_BYTES);
    let wrong = || HttpError::InvalidBody { what: format!("invalid body: [user] has not 1 to {MAX_USER_BYTES} bytes") };
    user.map(str::to_owned).ok_or_else(wrong)
}

/// What a record says of a token. Never its secret.
fn about(record: AuditRecord, token: &AccessToken) -> AuditRecord {
    let detail = format!("token {} of {}: {}", token.id, token.user, token.grants.to_any().to_json());
    AuditRecord { detail, ..record }
}

fn time(at_ms: Option<u64>) -> Any {
    at_ms.map_or(Any::Null, |at_ms| Any::Number(at_ms as f64))
}
