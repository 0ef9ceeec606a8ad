//! Access tokens: who may come in by which, with what, until when.
//!
//! A token that was made by means of another descends from it, and ends with it: tokens form trees. What changes a tree holds the
//! lock of its root, so of a token that is made and an ancestor that is revoked at the same time one is first, and the other sees
//! it.

use async_trait::async_trait;
use yhub_core::access::Grants;

use crate::{AuditRecord, DocStoreError};

/// Bytes of a token's id. It is of ASCII letters and digits.
pub const MAX_TOKEN_ID: usize = 64;
/// Bytes of a token's label that are kept.
pub const MAX_TOKEN_LABEL: usize = 256;
/// A token has at most so many ancestors.
pub const MAX_TOKEN_ANCESTORS: usize = 16;

/// An access token as it is stored. Its secret is not: only the hash of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id: 1 to [`MAX_TOKEN_ID`] ASCII letters and digits, random.
    pub id: String,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// The ids of the tokens that it descends from, from the root down to its parent.
    pub ancestors: Vec<String>,
    /// Who comes in by it: 1 to [`yhub_core::access::MAX_USER_BYTES`] bytes.
    pub user: String,
    /// What it is for, in the words of who made it; cut at [`MAX_TOKEN_LABEL`] bytes.
    pub label: String,
    /// What it gives. Layout: the JSON of [`Grants::to_any`].
    pub grants: Grants,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends by itself, in milliseconds since 1970: not after its parent.
    pub expires_ms: Option<u64>,
    /// When it was revoked, itself or with an ancestor.
    pub revoked_ms: Option<u64>,
    /// Who made it.
    pub by: String,
}

impl AccessToken {
    /// Does it let anybody in at `now_ms`, as far as it says itself? See [`FoundToken::is_alive`].
    pub fn is_alive(&self, now_ms: u64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|expires_ms| expires_ms > now_ms)
    }
}

/// A token that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundToken {
    /// The token.
    pub token: AccessToken,
    /// Is it revoked, or is an ancestor, or is one not there any more?
    pub is_revoked: bool,
}

impl FoundToken {
    /// Does it let anybody in at `now_ms`?
    pub fn is_alive(&self, now_ms: u64) -> bool {
        !self.is_revoked && self.token.is_alive(now_ms)
    }
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateTokenError {
    /// What it is to descend from is not there, or descends from others than was said.
    #[error("token {id}, which it is to descend from, is not there, or descends from others; ask for it again")]
    ParentGone {
        /// Which.
        id: String,
    },
    /// What it is to descend from is revoked.
    #[error("token {id}, which it is to descend from, is revoked")]
    ParentRevoked {
        /// Which.
        id: String,
    },
    /// What it is to descend from has ended.
    #[error("token {id}, which it is to descend from, has expired")]
    ParentExpired {
        /// Which.
        id: String,
    },
    /// It would have too many ancestors.
    #[error(
        "it would descend from {count} others, and {MAX_TOKEN_ANCESTORS} are the most; make it by one that is nearer to the root"
    )]
    TooDeep {
        /// How many.
        count: usize,
    },
    /// There is a token of that id.
    #[error("there is a token {id} already; choose another id")]
    Taken {
        /// Which.
        id: String,
    },
    /// It cannot be stored as it is.
    #[error("a token of this form cannot be stored: its {field} {what}")]
    Invalid {
        /// Which part.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DocStoreError),
}

/// Where access tokens are kept. Every method may be cancelled: what it was about to do then happened wholly or not at all.
///
/// Records of `audit` are written in the same transaction, see [`crate::AuditStore`].
#[async_trait]
pub trait AccessTokenStore: Send + Sync + 'static {
    /// Makes a token. Whether its parent still lets anybody in, at [`AccessToken::created_ms`], is looked at in the transaction.
    /// Returns it as it is stored: it ends no later than its parent. Whether the parent may hand on what it gives is for the
    /// caller to see; grants do not change.
    async fn create(&self, token: &AccessToken, audit: Option<&AuditRecord>) -> Result<AccessToken, CreateTokenError>;

    /// The token of this id, and whether it still holds.
    async fn find(&self, id: &str) -> Result<Option<FoundToken>, DocStoreError>;

    /// Up to `max` tokens after the id `after`, in the order of their ids; also those that have ended. With an org: only those
    /// of which every grant is in that org.
    async fn page(&self, org: Option<&str>, after: Option<&str>, max: usize) -> Result<Vec<AccessToken>, DocStoreError>;

    /// Revokes a token and all that descend from it, at once. Returns how many were not revoked before; `None` if there is none
    /// of this id. The time of one that was revoked before stays. In the same transaction it leaves notices for every node that
    /// concern whoever came in by them, see [`crate::NoticeStore`]: those whose claim `token` is the id of one.
    async fn revoke(&self, id: &str, at_ms: u64, audit: Option<&AuditRecord>) -> Result<Option<u64>, DocStoreError>;

    /// Forgets up to `max` tokens that were revoked or expired before `before_ms`, in milliseconds since 1970. Returns how many:
    /// fewer than `max`, and none are left.
    async fn delete_ended_before(&self, before_ms: u64, max: usize) -> Result<u64, DocStoreError>;
}
