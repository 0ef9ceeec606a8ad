//! The name of a room.

use std::{
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock},
};

/// One branch of one document of one tenant. Cheap to clone, to hash and to tell from others.
#[derive(Clone)]
pub struct RoomId(Arc<Parts>);

struct Parts {
    /// Of the names below: rooms are looked up far more often than made.
    hash: u64,
    org: Box<str>,
    docid: Box<str>,
    branch: Box<str>,
}

/// Nobody outside knows its keys, so nobody can choose names that fall together.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl RoomId {
    /// The branch of a room whose name gives none.
    pub const MAIN: &str = "main";

    /// A room by its three parts, which may be any strings.
    pub fn new(org: &str, docid: &str, branch: &str) -> Self {
        let hash = HASHES.hash_one((org, docid, branch));
        Self(Arc::new(Parts { hash, org: org.into(), docid: docid.into(), branch: branch.into() }))
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

impl PartialEq for RoomId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.cmp(other).is_eq())
    }
}

impl Eq for RoomId {}

impl Hash for RoomId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for RoomId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RoomId {
    /// By org, then docid, then branch.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.org(), self.docid(), self.branch()).cmp(&(other.org(), other.docid(), other.branch()))
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
