//! Why the guard refuses bytes.

use yhub_encoding::DecodeError;

use crate::UpdateError;

/// Why bytes were refused. `at` is an offset in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// They are not what they should be.
    #[error(transparent)]
    Malformed(#[from] UpdateError),
    /// There are too many of them.
    #[error("{size_bytes} bytes are above the limit of {limit_bytes}")]
    TooLarge {
        /// How many there are.
        size_bytes: usize,
        /// How many are allowed.
        limit_bytes: usize,
    },
    /// They hold too many of something.
    #[error("{found} {what} are above the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many, or how many were seen before reading on was pointless.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A client has two lists of structs. Some readers forget the first.
    #[error("client {client} has more than one list of structs, one of them at byte {at} or before")]
    RepeatedClient {
        /// Which.
        client: u64,
        /// Where the lists were known to repeat.
        at: usize,
    },
}

impl From<DecodeError> for GuardError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.into())
    }
}

impl GuardError {
    /// Would the bytes pass if the limits were wider? Otherwise they are wrong.
    pub fn is_over_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooMany { .. })
    }
}
