//! What an endpoint is: its path, what it takes, who may call it, what it answers. Requests are read, rights are checked and the
//! API is described from the same table, so that they cannot differ.

use std::sync::Arc;

use actix_web::http::Method;
use futures_util::future::BoxFuture;
pub(super) use yhub_core::access::{Purpose, Right};
use yhub_core::{Author, RoomId, access::Target};

use super::{Rest, answer::Answer, conditions::Conditions, keeping::Sharer, values::Values};
use crate::{doorkeeper::Caller, http::HttpError};

/// What a parameter or a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Milliseconds since 1970, or a length of time in milliseconds; not negative.
    Number,
    /// A number of things: an integer, not negative.
    Count,
    /// `true` or `false`.
    Bool,
    /// A text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Bytes: base64 in queries and JSON.
    Bytes,
    /// Keys with values: `k:v,k:v` in queries, a list of `{ k, v }` in bodies.
    Pairs,
    /// Something with a form of its own, in these words; not in queries.
    Value(&'static str),
}

impl Kind {
    /// Its name in errors.
    pub(crate) fn name(self) -> String {
        match self {
            // One word for both, as y/hub has it.
            Self::Number | Self::Count => "number".into(),
            Self::Bool => "boolean".into(),
            Self::Text => "string".into(),
            Self::Choice(words) => words.join(" | "),
            Self::Bytes => "bytes".into(),
            Self::Pairs => "{ k, v }[]".into(),
            Self::Value(form) => form.into(),
        }
    }
}

/// A parameter of the query, or a field of the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// For people.
    pub(crate) about: &'static str,
}

/// Shortens the tables.
pub(crate) const fn param(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, kind, about }
}

/// What an endpoint speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `{org}/{docid}`, with the branch in the query.
    Room,
    /// `{org}`.
    Org,
}

/// How an endpoint answers when all is well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returns {
    pub(crate) about: &'static str,
    /// The fields of the object, each with what it holds.
    pub(crate) fields: &'static [Param],
    /// May it be a text instead?
    pub(crate) or_text: bool,
}

/// One method on one path.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    /// What stands before the scope: `ydoc/v1`.
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    /// What stands behind it: ``, or `/restore`.
    pub(crate) tail: &'static str,
    pub(crate) needs: Right,
    /// A parameter of the query which, if it is `true`, takes another right.
    pub(crate) needs_if: Option<(&'static str, Right)>,
    /// One line for people.
    pub(crate) summary: &'static str,
    /// More for people.
    pub(crate) about: &'static str,
    pub(crate) query: &'static [Param],
    /// `None`: a body is not looked at.
    pub(crate) body: Option<&'static [Param]>,
    /// Does a write take a condition (`If-Match`)?
    pub(crate) conditional: bool,
    pub(crate) returns: Returns,
    pub(crate) run: Run,
}

impl Endpoint {
    /// Is its answer that of a clock, with an `ETag`, so that who has it can ask whether it still is?
    pub(crate) fn is_tagged(&self) -> bool {
        matches!((&self.method, self.name), (&Method::GET, "ydoc/v1" | "activity/v1" | "changeset/v1"))
    }
}

impl Endpoint {
    /// Does it take an `Idempotency-Key`? What changes something of a room does. Not what makes a secret: the secret would be kept for
    /// longer than it is good for, and a ticket more than was wanted is used by nobody and soon over.
    pub(crate) fn takes_key(&self) -> bool {
        self.needs.changes() && self.scope == Scope::Room && !matches!(self.needs, Right::Purpose(Purpose::Ticket))
    }

    /// As what a call is recorded that changes something outside the document store. What changes that writes its record itself, in
    /// the same transaction; and who changed a document stands in it.
    pub(super) fn recorded_as(&self) -> Option<&'static str> {
        match self.needs {
            Right::Purpose(Purpose::Prune) => Some("prune"),
            Right::Purpose(Purpose::Rollback) => Some("rollback"),
            // That of an org goes through the document store.
            Right::Purpose(Purpose::Recheck) if self.scope == Scope::Room => Some("recheck"),
            Right::Purpose(Purpose::Ticket) => Some("ticket.create"),
            _ => None,
        }
    }
}

/// Does what the endpoint is for.
pub(crate) type Run = fn(Arc<Rest>, Call) -> BoxFuture<'static, Result<Answer, HttpError>>;

impl Endpoint {
    /// Its path below the prefix, with names in braces.
    pub(crate) fn path(&self) -> String {
        let scope = match self.scope {
            Scope::Room => "{org}/{docid}",
            Scope::Org => "{org}",
        };
        format!("{}/{scope}{}", self.name, self.tail)
    }

    /// What the rest of a path below the prefix names in this endpoint, segments as they stand there.
    pub(crate) fn matched<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let inner = path.strip_prefix(self.name)?.strip_prefix('/')?.strip_suffix(self.tail)?;
        let segments: Vec<_> = inner.split('/').collect();
        let wanted = match self.scope {
            Scope::Room => 2,
            Scope::Org => 1,
        };
        (segments.len() == wanted).then_some(segments)
    }
}

/// The org of this name; `*` is every org, as in grants, and so the hub.
pub(super) fn org_place(org: &str) -> Target<'_> {
    if org == "*" { Target::Hub } else { Target::Org(org) }
}

/// The head of a request, as it was read.
pub(super) struct Asked {
    pub(super) org: String,
    pub(super) room: Option<RoomId>,
    pub(super) query: Values,
    /// In whose name the caller wants to write.
    pub(super) user: Option<String>,
    pub(super) conditions: Conditions,
}

impl Asked {
    /// Where something is asked for.
    pub(super) fn place(&self) -> Target<'_> {
        self.room.as_ref().map_or_else(|| org_place(&self.org), Target::Room)
    }
}

/// A request that was read and let in.
#[derive(Clone)]
pub(crate) struct Call {
    /// The org; of a room its own.
    pub(crate) org: String,
    /// The room; where the scope is an org, none.
    pub(crate) room: Option<RoomId>,
    pub(crate) query: Values,
    pub(crate) body: Values,
    /// Who calls.
    pub(crate) caller: Caller,
    /// In whose name they write.
    pub(crate) author: Author,
    pub(crate) conditions: Conditions,
    /// Is only the head of the answer wanted?
    pub(crate) head_only: bool,
    /// Whose share of what is kept the answer takes.
    pub(crate) sharer: Sharer,
}

impl Call {
    /// The room of an endpoint that has one.
    pub(crate) fn room(&self) -> &RoomId {
        self.room.as_ref().expect("the endpoint's scope is a room, whose name was read")
    }
}
