//! Notices of what changes somebody's access in many rooms at once: for every node, also for one that hears nothing of the log.
//!
//! They lie where the version rows are. Each node reads again and again what has come, see [`yhub_core::Lookback`].

use async_trait::async_trait;
use yhub_core::{Listed, UserMatcher};

use crate::{AuditRecord, DocStoreError};

/// So many users are named in one notice; one that is published with more becomes several.
pub const MAX_NOTICE_USERS: usize = 1_000;
/// One read lists at most so many notices, the youngest.
pub const MAX_NOTICES: usize = 20_000;
/// One read brings notices whose users have about so many bytes. One with more comes without them.
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

/// A notice that is there, without whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeHead {
    /// Its name.
    pub id: NoticeId,
    /// As in [`Notice`].
    pub at_ms: u64,
    /// As in [`Notice`].
    pub org: Option<String>,
    /// How many bytes its users have.
    pub size_bytes: usize,
}

impl Listed for NoticeHead {
    type Id = NoticeId;

    fn id(&self) -> &NoticeId {
        &self.id
    }

    fn org(&self) -> Option<&str> {
        self.org.as_deref()
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// Which notices there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeList {
    /// By their time, the oldest first; those of one time always in the same order.
    pub heads: Vec<NoticeHead>,
    /// There are older ones, which are not listed: who cannot look at all of them takes everybody for concerned.
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

    /// Which notices of `at_ms` or later are committed: the youngest `max`.
    async fn list(&self, at_ms: u64, max: usize) -> Result<NoticeList, DocStoreError>;

    /// These notices, in the order of [`Self::list`], but for those that are gone. One whose users cannot be read, or are longer than
    /// [`MAX_NOTICES_BYTES`], comes as one that has everybody of its org checked.
    async fn bring(&self, heads: &[NoticeHead]) -> Result<Vec<(NoticeId, Notice)>, DocStoreError>;

    /// Deletes up to `max` of the notices from before `at_ms`, in milliseconds since 1970. Returns how many: fewer than `max`,
    /// and none are left.
    async fn delete_before(&self, at_ms: u64, max: usize) -> Result<u64, DocStoreError>;
}
