//! The name of a room.

use std::{fmt, sync::Arc};

/// One branch of one document of one tenant. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Arc<Parts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    org: Box<str>,
    docid: Box<str>,
    branch: Box<str>,
}

impl RoomId {
    /// The branch of a room whose name gives none.
    pub const MAIN: &str = "main";

    /// A room by its three parts, which may be any strings.
    pub fn new(org: &str, docid: &str, branch: &str) -> Self {
        Self(Arc::new(Parts { org: org.into(), docid: docid.into(), branch: branch.into() }))
    }

    /// The tenant.
    pub fn org(&self) -> &str {
        &self.0.org
    }

    /// The document in the tenant.
    pub fn docid(&self) -> &str {
        &self.0.docid
    }

    /// The line of edits.
    pub fn branch(&self) -> &str {
        &self.0.branch
    }
}

impl fmt::Display for RoomId {
    /// For people and logs: `org/docid@branch`, control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.org().escape_debug(), self.docid().escape_debug(), self.branch().escape_debug())
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
