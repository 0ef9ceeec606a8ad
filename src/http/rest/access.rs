//! Who is in: connections that are open are checked anew, or cut.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::FutureExt;
use yhub_core::UserMatcher;
use yhub_encoding::Any;
use yhub_store::Notice;

use super::{
    Rest,
    answer::Answer,
    endpoint::{Call, Endpoint, Kind, Param, Purpose, Returns, Right, Scope, param},
};
use crate::http::HttpError;

/// Matchers in one request. Of how many bytes they are, is bounded with its body.
const MAX_MATCHERS: usize = 1_000;

const USERS: Param = param(
    "users",
    Kind::Value("(string | object)[] | null"),
    "Whom: a text is a user id, an object means those whose token holds all of its fields. `null` is everybody.",
);
const FORCE: Param = param("force", Kind::Bool, "`true`: cut them without asking what they may do. `false` if not given.");
const DONE: Returns =
    Returns { about: "The nodes will see to it.", fields: &[param("success", Kind::Bool, "`true`.")], or_text: false };

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::POST,
        name: "recheck-auth/v1",
        scope: Scope::Room,
        tail: "",
        needs: Right::Purpose(Purpose::Recheck),
        needs_if: None,
        summary: "Check anew what those may do who have a document open",
        about: "On every node, at once. Whoever may do less than before is closed with 4401 and comes back with what they may. To be \
                called when somebody's rights have changed; without it that is noticed within `auth.sweep_ms`. Of more than a hundred on \
                a node a thousand a second are checked, and all within 10 s.",
        query: &[],
        body: Some(&[USERS, FORCE]),
        conditional: false,
        returns: DONE,
        run: |rest, call| recheck(rest, call).boxed(),
    },
    Endpoint {
        method: Method::POST,
        name: "recheck-auth/v1",
        scope: Scope::Org,
        tail: "",
        needs: Right::Purpose(Purpose::Recheck),
        needs_if: None,
        summary: "Check anew what those may do who have any document of an org open",
        about: "On every node, within a second; of more than a hundred on a node a thousand a second, and all within 10 s. An org of `*` \
                is every org. An org that asks for more than `limits.org_rechecks_per_second` is told 429, so that no other org's waits \
                behind its own: name many users in one request.",
        query: &[],
        body: Some(&[USERS, FORCE]),
        conditional: false,
        returns: DONE,
        run: |rest, call| recheck_org(rest, call).boxed(),
    },
];

async fn recheck(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let users = users(&call)?;
    let demanded = rest.documents.recheck(call.room(), users.as_deref(), call.body.is("force")).await;
    demanded.map_err(|error| HttpError::of_documents(&error))?;
    Ok(Answer::object(vec![("success", Any::Bool(true))]))
}

async fn recheck_org(rest: Arc<Rest>, call: Call) -> Result<Answer, HttpError> {
    let users = users(&call)?;
    rest.callers.of_recheck(&call.org, users.as_deref().map_or(0, size_bytes))?;
    let notice = Notice {
        at_ms: rest.time.now_ms(),
        org: Some(call.org.clone()).filter(|org| org != "*"),
        users,
        cut: call.body.is("force"),
    };
    let record = rest.record(&call, "recheck");
    rest.notices.publish(&notice, Some(&record)).await.map_err(|error| HttpError::of_store(&error))?;
    Ok(Answer::object(vec![("success", Any::Bool(true))]))
}

/// Whom a call is for; `None`: everybody.
fn users(call: &Call) -> Result<Option<Vec<UserMatcher>>, HttpError> {
    match call.body.any("users") {
        // Nobody named is not everybody: that is said in so many words.
        None => Err(wrong("is missing; `null` is everybody")),
        Some(Any::Null) => Ok(None),
        Some(Any::Array(users)) if users.len() <= MAX_MATCHERS => users.iter().map(matcher).collect::<Result<_, _>>().map(Some),
        Some(_) => Err(wrong(&format!("doesn't match a list of at most {MAX_MATCHERS} texts and objects"))),
    }
}

fn size_bytes(users: &[UserMatcher]) -> usize {
    UserMatcher::list_to_any(users).to_bytes().len()
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
