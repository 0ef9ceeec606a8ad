//! Notices of what changes somebody's access in many rooms at once: for every node, also for one that hears nothing of the log.
//!
//! They lie where the version rows are. Each node reads again and again what has come, see [`yhub_core::Lookback`].

use async_trait::async_trait;
use yhub_core::UserMatcher;

use crate::{AuditRecord, DocStoreError};

/// So many users are named in one notice; one that is published with more becomes several.
pub const MAX_NOTICE_USERS: usize = 1_000;
/// One read brings at most so many notices.
pub const MAX_NOTICES: usize = 10_000;
/// One read brings notices whose users have at most so many bytes.
pub const MAX_NOTICES_BYTES: usize = 4 << 20;

/// The name of a notice in its store, which no other has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoticeId(pub String);

/// Access of these may have changed: sessions that are concerned are to be checked, or cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When, in milliseconds since 1970. A node misses one whose time is further from its own than [`yhub_core::NOTICE_WINDOW`].
    pub at_ms: u64,
    /// In rooms of this org; `None`: of every org.
    pub org: Option<String>,
    /// Whom it concerns; `None`: everybody.
    pub users: Option<Vec<UserMatcher>>,
    /// They are cut, and not asked for.
    pub cut: bool,
}

impl Notice {
    /// Everybody, everywhere, is to be checked.
    pub fn check_everybody(at_ms: u64) -> Self {
        Self { at_ms, org: None, users: None, cut: false }
    }
}

/// What a read has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticePage {
    /// Notices with their names, by their time; those of one time always in the same order.
    pub notices: Vec<(NoticeId, Notice)>,
    /// There are more, which were not brought: who cannot look at all of them takes everybody for concerned.
    pub more: bool,
}

/// Where notices are kept. Every method may be cancelled: what it was about to do then happened wholly or not at all.
#[async_trait]
pub trait NoticeStore: Send + Sync + 'static {
    /// Leaves a notice for every node. `audit` is written in the same transaction. Done again because its answer was lost, it is
    /// there twice.
    ///
    /// # Errors
    /// [`DocStoreError::Room`] if the store can hold no room of that org; else if the store fails.
    async fn publish(&self, notice: &Notice, audit: Option<&AuditRecord>) -> Result<(), DocStoreError>;

    /// The notices of `at_ms` or later that are committed, oldest first: up to `max`, and up to [`MAX_NOTICES_BYTES`]. One whose
    /// users cannot be read comes as one that has everybody checked.
    async fn since(&self, at_ms: u64, max: usize) -> Result<NoticePage, DocStoreError>;

    /// Deletes up to `max` of the notices from before `at_ms`, in milliseconds since 1970. Returns how many: fewer than `max`,
    /// and none are left.
    async fn delete_before(&self, at_ms: u64, max: usize) -> Result<u64, DocStoreError>;
}
