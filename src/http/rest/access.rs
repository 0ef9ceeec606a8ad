//! Who is in: connections that are open are checked anew, or cut.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_core::UserMatcher;
use yhub_encoding::Any;

use super::{
    Rest,
    answer::Answer,
    endpoint::{Call, Endpoint, Kind, Purpose, Returns, Right, Scope, param},
};
use crate::http::HttpError;

/// Matchers in one request.
const MAX_MATCHERS: usize = 1_000;

pub(super) static ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: Method::POST,
    name: "recheck-auth/v1",
    scope: Scope::Room,
    tail: "",
    needs: Right::Purpose(Purpose::Recheck),
    needs_if: None,
    summary: "Check anew what those may do who have a document open",
    about: "On every node. Whoever may do less than before is closed with 4401 and comes back with what they may. To be called when \
            somebody's rights have changed; without it that is noticed within `auth.sweep_ms`.",
    query: &[],
    body: Some(&[
        param(
            "users",
            Kind::Value("(string | object)[] | null"),
            "Whom: a text is a user id, an object means those whose token holds all of its fields. `null` is everybody.",
        ),
        param("force", Kind::Bool, "`true`: cut them without asking what they may do. `false` if not given."),
    ]),
    conditional: false,
    returns: Returns { about: "The nodes will see to it.", fields: &[param("success", Kind::Bool, "`true`.")], or_text: false },
    run: |rest, call| recheck(rest, call).boxed(),
}];

async fn recheck(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let users = match call.body.any("users") {
        // Nobody named is not everybody: that is said in so many words.
        None => return Err(wrong("is missing; `null` is everybody")),
        Some(Any::Null) => None,
        Some(Any::Array(users)) if users.len() <= MAX_MATCHERS => Some(users.iter().map(matcher).collect::<Result<Vec<_>, _>>()?),
        Some(_) => return Err(wrong(&format!("doesn't match a list of at most {MAX_MATCHERS} texts and objects"))),
    };
    let demanded = rest.documents.recheck(call.room(), users.as_deref(), call.body.is("force")).await;
    demanded.map_err(|error| HttpError::of_documents(&error))?;
    Ok(Answer::object(vec![("success", Any::Bool(true))]))
}

fn matcher(user: &Any) -> Result<UserMatcher, HttpError> {
    match user {
        Any::String(user) => Ok(UserMatcher::User(user.to_string())),
        // Without fields it would be everybody, which is said otherwise.
        Any::Object(identity) if !identity.is_empty() => Ok(UserMatcher::Identity(identity.clone())),
        _ => Err(wrong("holds something else than texts and objects with fields")),
    }
}

fn wrong(what: &str) -> HttpError {
    HttpError::InvalidBody { what: format!("invalid body: [users] {what}") }
}
