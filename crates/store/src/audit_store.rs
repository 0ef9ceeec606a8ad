//! Records of what was done and refused, by whom: for whoever has to account for it.
//!
//! A record of a change is written in the transaction of the change, where both lie in the document store: then there is neither
//! without the other. The methods that change something there take a record along for that. They write it iff they changed
//! something: what is asked for again, and is so already, leaves no second record.

use std::{borrow::Cow, fmt, str::FromStr};

use async_trait::async_trait;

use crate::DocStoreError;

/// Bytes of [`AuditRecord::actor`] that are kept.
pub const MAX_AUDIT_ACTOR: usize = 256;
/// Bytes of the words [`AuditRecord::via`], [`AuditRecord::action`] and [`AuditRecord::result`] that are kept, of each.
pub const MAX_AUDIT_WORD: usize = 64;
/// Bytes of [`AuditRecord::org`] that are kept. Less than an org may have: it stands in an index, where some databases hold no
/// long texts. Who looks for a longer one finds all that begin so.
pub const MAX_AUDIT_ORG: usize = 1_024;
/// Bytes of [`AuditRecord::docid`] and [`AuditRecord::branch`] that are kept, of each.
pub const MAX_AUDIT_NAME: usize = 4_096;
/// Bytes of [`AuditRecord::request_id`] and [`AuditRecord::address`] that are kept, of each.
pub const MAX_AUDIT_ORIGIN: usize = 128;
/// Bytes of [`AuditRecord::detail`] that are kept.
pub const MAX_AUDIT_DETAIL: usize = 1_024;

/// What somebody did, or was refused. Never content of documents, nor secrets.
///
/// Texts that are longer than their bound are cut between characters when they are written, and U+0000 becomes U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When, in milliseconds since 1970, from the log's time.
    pub at_ms: u64,
    /// Who: a user id, up to [`MAX_AUDIT_ACTOR`] bytes.
    pub actor: String,
    /// By what they had shown who they are: a name of [`yhub_core::access::Via`], or `cli`.
    pub via: String,
    /// What: one word, such as `delete`, `token.create`, `recheck`, `denied`.
    pub action: String,
    /// In which org, if in one.
    pub org: Option<String>,
    /// Of which document, if of one.
    pub docid: Option<String>,
    /// Of which branch, if of one.
    pub branch: Option<String>,
    /// How it ended: `done`, `denied`, `refused` or `failed`.
    pub result: String,
    /// The id of the request, as logs have it; empty if there was none.
    pub request_id: String,
    /// Where the request came from, if that is kept.
    pub address: Option<String>,
    /// What else is to be known, up to [`MAX_AUDIT_DETAIL`] bytes; may be empty.
    pub detail: String,
    /// For how many alike it stands; 1 mostly.
    pub count: u32,
}

impl AuditRecord {
    /// The same with all its texts within their bounds: what is written.
    pub fn bounded(&self) -> Self {
        let cut = |text: &str, max| kept_text(text, max).into_owned();
        let cut_some = |text: &Option<String>, max| text.as_deref().map(|text| cut(text, max));
        Self {
            at_ms: self.at_ms,
            actor: cut(&self.actor, MAX_AUDIT_ACTOR),
            via: cut(&self.via, MAX_AUDIT_WORD),
            action: cut(&self.action, MAX_AUDIT_WORD),
            org: cut_some(&self.org, MAX_AUDIT_ORG),
            docid: cut_some(&self.docid, MAX_AUDIT_NAME),
            branch: cut_some(&self.branch, MAX_AUDIT_NAME),
            result: cut(&self.result, MAX_AUDIT_WORD),
            request_id: cut(&self.request_id, MAX_AUDIT_ORIGIN),
            address: cut_some(&self.address, MAX_AUDIT_ORIGIN),
            detail: cut(&self.detail, MAX_AUDIT_DETAIL),
            count: self.count,
        }
    }
}

/// `text` as every engine can hold it: without U+0000, which not every database takes, and of at most `max` bytes.
pub fn kept_text(text: &str, max: usize) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(max)];
    if !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    // Two bytes more for each of them: cut again.
    let mut whole = text.replace('\0', "\u{fffd}");
    whole.truncate(whole.floor_char_boundary(max));
    Cow::Owned(whole)
}

/// Which records: those that all of what is set fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this org.
    pub org: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// With this action.
    pub action: Option<String>,
    /// With this result.
    pub result: Option<String>,
    /// At this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
}

/// Where a listing goes on. Its text may be handed to anybody and taken back; what it says is the store's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    /// The time of the last record.
    pub(crate) at_ms: u64,
    /// Its name in the store.
    pub(crate) id: String,
}

/// A text is no [`AuditCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a list of audit records; take the one that came with the page before, or none")]
pub struct AuditCursorError;

impl AuditCursor {
    /// After the record of this time and name. For engines: names are of 1 to 64 letters and digits.
    pub fn new(at_ms: u64, id: impl Into<String>) -> Self {
        Self { at_ms, id: id.into() }
    }

    /// The time and the name of the record. For engines.
    pub fn parts(&self) -> (u64, &str) {
        (self.at_ms, &self.id)
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at_ms, self.id)
    }
}

impl FromStr for AuditCursor {
    type Err = AuditCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at_ms, id) = text.split_once('-').ok_or(AuditCursorError)?;
        let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match at_ms.parse() {
            Ok(at_ms) if is_id => Ok(Self { at_ms, id: id.to_owned() }),
            _ => Err(AuditCursorError),
        }
    }
}

/// A part of a listing, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// Its records.
    pub records: Vec<AuditRecord>,
    /// Where it goes on; `None`: there is no more.
    pub next: Option<AuditCursor>,
}

/// Where records are kept. Every method may be cancelled: what it was about to do then happened wholly or not at all.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Writes records, all of them or none. Done again because its answer was lost, they may be there twice.
    async fn append(&self, records: &[AuditRecord]) -> Result<(), DocStoreError>;

    /// Up to `max` records, newest first; of one time, those first that one process wrote last. What is written meanwhile with
    /// an older time may be missed, and nothing else.
    async fn page(&self, filter: &AuditFilter, after: Option<&AuditCursor>, max: usize) -> Result<AuditPage, DocStoreError>;

    /// Deletes up to `max` of the records from before `at_ms`, in milliseconds since 1970. Returns how many: fewer than `max`,
    /// and none are left.
    async fn delete_before(&self, at_ms: u64, max: usize) -> Result<u64, DocStoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_hold_no_nul() {
        assert_eq!(kept_text("as it is", 100), "as it is");
        assert_eq!(kept_text("a\0b", 100), "a\u{fffd}b");
        for max in 0..12 {
            for text in ["é🦀é🦀", "\0\0\0\0", "a\0é\0🦀"] {
                let kept = kept_text(text, max);
                assert!(kept.len() <= max && !kept.contains('\0'), "{kept:?} of {max}");
            }
        }
    }

    #[test]
    fn cursors_are_read_back_and_nothing_else_is() {
        let cursor = AuditCursor::new(7, "00ff");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let long = format!("1-{}", "a".repeat(65));
        for wrong in ["", "7", "7-", "-7", "x-1", "7-a b", "7-é", "7-\0", "99999999999999999999-1", &long] {
            assert_eq!(wrong.parse::<AuditCursor>(), Err(AuditCursorError), "{wrong:?}");
        }
    }
}
