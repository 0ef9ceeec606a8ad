//! From what SQLite says to what callers can do about it.

use std::sync::Arc;

use diesel::result::Error as SqlError;
use yhub_store::{DocStoreError, StreamLogError};

/// A failure that many callers share, as text: an error of Diesel cannot be cloned.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Shared(pub(crate) Arc<str>);

impl Shared {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string().into())
    }
}

/// Why an operation did not do it.
#[derive(Debug)]
pub(crate) enum OpError {
    /// It wrote nothing: the operations beside it can go on.
    Refused(StreamLogError),
    /// SQLite failed in the middle of it: what it wrote must be taken back.
    Sql(SqlError),
}

impl From<SqlError> for OpError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Does SQLite say that the file itself is damaged?
fn is_damage(what: &str) -> bool {
    // The texts of SQLITE_CORRUPT and SQLITE_NOTADB; Diesel does not pass the codes on.
    what.contains("malformed") || what.contains("file is not a database")
}

/// The failure `what` of the file `at`.
pub(crate) fn log_error(at: &str, what: Shared) -> StreamLogError {
    if is_damage(&what.0) {
        return StreamLogError::Corrupt { at: at.to_owned(), what: what.to_string() };
    }
    StreamLogError::Unavailable { at: at.to_owned(), source: Box::new(what) }
}

/// The failure `what` of the document store in the file `at`.
pub(crate) fn docs_error(at: &str, what: Shared) -> DocStoreError {
    if is_damage(&what.0) {
        return DocStoreError::Corrupt { at: at.to_owned(), what: what.to_string() };
    }
    DocStoreError::Unavailable { at: at.to_owned(), source: Box::new(what) }
}

/// What was thrown, as far as it is text.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a panic: {}", text.unwrap_or("without a message"))
}

/// A stored number that must not be negative.
pub(crate) fn unsigned(value: i64, at: impl FnOnce() -> String) -> Result<u64, OpError> {
    u64::try_from(value).map_err(|_| OpError::Refused(StreamLogError::Corrupt { at: at(), what: format!("{value} is negative") }))
}
