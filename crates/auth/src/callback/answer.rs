//! What an answer means.
//!
//! Form: `{ "yaccess": "rw" | "r" | "readonly" | null, "yuserid": "…", "yroom": "…", "purposes": ["…"], "expires": 1790000000000 }`.
//! `yuserid` is who is meant and `yroom` the docid that was asked about (in the GET form it must be there, in the POST form it may
//! be): an answer about somebody or something else is none. `purposes` are what they may do besides; one that was asked for counts
//! only if it is named, so that a back end which does not know of purposes grants none. `expires`, in milliseconds since 1970, is
//! until when. Status 200; with 403 they may not, and with 401 a token that they came with is bad.
//!
//! 404, and 401 about somebody who came without a token, are also what says a proxy that does not find the back end, or a back end that
//! does not know the hub any more. They mean that somebody may not only with a body that says so, `{ "yaccess": null }`, as with 200.
//! Everything else is no answer.

use yhub_core::access::{Access, Purpose, Purposes};
use yhub_encoding::{Any, Object};

use super::CallbackForm;
use crate::claims;

/// What the back end says.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// They may.
    Allowed(Found),
    /// They may not.
    Denied,
    /// Their token is bad.
    Refused,
}

/// Who may what.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) user: String,
    pub(crate) access: Access,
    pub(crate) expires_ms: Option<u64>,
    /// The answer itself, with `userid`, if it says who they are; else only that.
    pub(crate) claims: Object,
}

impl Answer {
    pub(super) fn expires_ms(&self) -> Option<u64> {
        match self {
            Self::Allowed(found) => found.expires_ms,
            Self::Denied | Self::Refused => None,
        }
    }
}

/// What the answer must be about.
pub(super) struct Expected {
    pub(super) form: CallbackForm,
    /// `None` if that is to be found out.
    pub(super) user: Option<String>,
    pub(super) docid: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The back end does not answer.
    #[error("{0}")]
    Down(String),
    /// It answers, and this is no answer. That may lie with who is asked about, so it says nothing of others.
    #[error("{0}")]
    Odd(String),
}

fn odd<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Odd(what.into()))
}

/// Reads an answer.
pub(super) fn read(status: u16, body: &[u8], expected: &Expected) -> Result<Answer, Fault> {
    let no_answer = || format!("the answer has the status {status}");
    match status {
        200 | 404 => {}
        401 if expected.user.is_none() => return Ok(Answer::Refused),
        401 => {}
        403 => return Ok(Answer::Denied),
        // Who stands before it does not reach it.
        502..=504 => return Err(Fault::Down(no_answer())),
        _ => return odd(no_answer()),
    }
    let object = match claims::object(body) {
        Some(object) if status == 200 || object.get("yaccess") == Some(&Any::Null) => object,
        None if status == 200 => return odd("the answer is no JSON object"),
        _ => return odd(format!("{}, and does not say `\"yaccess\": null`", no_answer())),
    };
    let user = user(&object, expected)?;
    about_room(&object, expected)?;
    let level = match object.get("yaccess") {
        Some(Any::Null) => return Ok(Answer::Denied),
        Some(Any::String(word)) => match Access::level_of(word) {
            Some(level) => level,
            None => return odd("`yaccess` in the answer is none of \"r\", \"readonly\", \"rw\" and null"),
        },
        _ => return odd("there is no `yaccess` in the answer, or it is no text and not null"),
    };
    let Some(user) = user else { return odd("there is no `yuserid` in the answer") };
    let access = Access { level, purposes: purposes(&object)? };
    let expires_ms = match object.get("expires") {
        None | Some(Any::Null) => None,
        // Within 53 bits.
        Some(Any::Number(ms)) if (0.0..=9e15).contains(ms) => Some(*ms as u64),
        Some(_) => return odd("`expires` in the answer is no time in milliseconds since 1970"),
    };
    let mut claims = if expected.user.is_none() { object } else { Object::new() };
    claims.insert("userid", user.as_str().into());
    Ok(Answer::Allowed(Found { user, access, expires_ms, claims }))
}

/// Who the answer is about, if it says so.
fn user(object: &Object, expected: &Expected) -> Result<Option<String>, Fault> {
    match (object.get("yuserid"), &expected.user) {
        (None | Some(Any::Null), _) => Ok(None),
        (Some(Any::String(user)), Some(asked)) if **user != **asked => odd("the answer is about another user"),
        (Some(Any::String(user)), _) if claims::is_user(user) => Ok(Some(user.to_string())),
        _ => odd("`yuserid` in the answer is no text of 1 to 256 bytes"),
    }
}

fn about_room(object: &Object, expected: &Expected) -> Result<(), Fault> {
    match (object.get("yroom"), &expected.docid) {
        (Some(Any::String(room)), Some(docid)) if **room == **docid => Ok(()),
        (Some(Any::String(_)), Some(_)) => odd("the answer is about another room"),
        (None, _) if expected.form == CallbackForm::Post => Ok(()),
        // Who may nothing anywhere need not be told where.
        (None | Some(Any::Null), _) if object.get("yaccess") == Some(&Any::Null) => Ok(()),
        _ => odd("there is no `yroom` in the answer, or it is no text"),
    }
}

fn purposes(object: &Object) -> Result<Purposes, Fault> {
    let of = |name: &Any| name.as_str().map(Purpose::of_name);
    match object.get("purposes") {
        None | Some(Any::Null) => Ok(Purposes::NONE),
        Some(Any::Array(names)) => {
            let names: Option<Vec<_>> = names.iter().map(of).collect();
            // One that is not known here may be known to a later hub.
            names.map_or_else(
                || odd("`purposes` in the answer holds something else than texts"),
                |names| Ok(names.into_iter().flatten().collect()),
            )
        }
        Some(_) => odd("`purposes` in the answer is no list"),
    }
}
