//! From what Redis says to what callers can do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use yhub_store::{BoxError, StreamLogError};

/// Why the log cannot be used. All of them want somebody to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisConnectError {
    /// The options contradict each other or cannot be read.
    #[error("`{key}` cannot be used: {what}")]
    Options {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong, and what to do. Without secrets.
        what: String,
    },
    /// There is nobody, or not whom we look for.
    #[error("cannot connect to Redis at {at}; check `redis.url` and that the server is running")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The server would lose what it is given.
    #[error("Redis at {at} is not safe to use: {what}")]
    Unsafe {
        /// Host and port.
        at: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// Does the connection have to be made anew, perhaps to somebody else?
pub(crate) fn breaks_connection(error: &RedisError) -> bool {
    let moved = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::Moved | ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown
        )
    );
    // A script hands on what the commands in it were told, with another code.
    let in_a_script = error.detail().is_some_and(|detail| detail.contains("READONLY") || detail.contains("MOVED"));
    moved || in_a_script || error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

/// The failure `error` of the server at `at`.
pub(crate) fn log_error(at: &str, error: RedisError) -> StreamLogError {
    let is_damage = error.kind() == ErrorKind::UnexpectedReturnType
        || error.code() == Some("WRONGTYPE")
        || error.detail().is_some_and(|detail| detail.contains("WRONGTYPE"));
    if is_damage {
        return StreamLogError::Corrupt { at: at.to_owned(), what: error.to_string() };
    }
    StreamLogError::Unavailable { at: at.to_owned(), source: Box::new(error) }
}

/// Stored data that is not as it should be.
pub(crate) fn corrupt(at: impl Into<String>, what: impl Into<String>) -> StreamLogError {
    StreamLogError::Corrupt { at: at.into(), what: what.into() }
}

/// The server does not answer, in our own words.
pub(crate) fn unavailable(at: &str, what: impl Into<String>) -> StreamLogError {
    StreamLogError::Unavailable { at: at.to_owned(), source: BoxError::from(what.into()) }
}
