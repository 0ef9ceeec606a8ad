//! From what PostgreSQL says to what callers can do about it. Nothing here holds a password or a whole url.

use std::{error::Error, io};

use diesel::result::{DatabaseErrorKind, Error as SqlError};
use yhub_core::RoomId;
use yhub_store::{BoxError, DocStoreError};
use yhub_tls::TrustError;

use crate::error::{Shared, docs_error};

/// Why the document store in PostgreSQL cannot be used or migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The url is not usable.
    #[error("`postgres.url` {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// The certificates to judge the server by cannot be used.
    #[error("cannot judge PostgreSQL by its certificate: {0}; {advice}", advice = TrustError::ADVICE)]
    Certificates(TrustError),
    /// The server is not there, is starting or stopping, has no room for a connection, or did not answer in time.
    #[error("cannot reach PostgreSQL at {at}; check `postgres.url` and that the server is running")]
    Unreachable {
        /// Host, port and database.
        at: String,
        /// What the system or the server said.
        #[source]
        source: BoxError,
    },
    /// Encryption was asked for and there is none, or the server's certificate is not accepted.
    #[error("cannot speak TLS with PostgreSQL at {at}: {what}; check `sslmode` in `postgres.url`, the CA file and the server")]
    Tls {
        /// Host, port and database.
        at: String,
        /// What failed.
        what: String,
    },
    /// The server does not let us in, or has no such database.
    #[error("PostgreSQL at {at} refuses the connection: {what}; check user, password and database in `postgres.url`")]
    Denied {
        /// Host, port and database.
        at: String,
        /// What the server said.
        what: String,
    },
    /// Tables are missing, or of an earlier version.
    #[error("the tables of the document store at {at} are missing or old (to be applied: {missing}); run `yhub migrate`")]
    NotMigrated {
        /// Host, port and database.
        at: String,
        /// The versions that are missing.
        missing: String,
    },
    /// A later version has changed the tables.
    #[error(
        "the document store at {at} was migrated by a newer yhub (its tables are at version {found}, this program knows up to \
         {known}); run that version"
    )]
    Newer {
        /// Host, port and database.
        at: String,
        /// The version of the tables.
        found: String,
        /// The newest version that this program knows.
        known: String,
    },
    /// The tables have the names of ours, but not their columns, or we may not read them.
    #[error("the tables of the document store at {at} cannot be used: {what}; check the user's rights and whose tables they are")]
    Tables {
        /// Host, port and database.
        at: String,
        /// What the server said.
        what: String,
    },
    /// Bringing the tables up to date failed. The version that failed was taken back whole.
    #[error("cannot migrate the document store at {at}; nothing of the version that failed was kept")]
    Migration {
        /// Host, port and database.
        at: String,
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// The server failed otherwise.
    #[error("PostgreSQL at {at} failed")]
    Database {
        /// Host, port and database.
        at: String,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The threads for the store cannot be started.
    #[error("cannot start the threads of the document store")]
    Runtime {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// May the same call succeed later without anyone acting?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Database { .. })
    }
}

/// An error with all that is below it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        // Some say what is below them themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = error.source();
    }
    text
}

/// What making a connection ended with.
pub(super) fn connect_error(at: &str, error: tokio_postgres::Error) -> ConnectError {
    let at = at.to_owned();
    if let Some(said) = error.as_db_error() {
        let code = said.code().code();
        // 28: who we are. 3D: which database. 42501: what we may. All others pass: starting up, shutting down, full.
        if code.starts_with("28") || code.starts_with("3D") || code == "42501" {
            return ConnectError::Denied { at, what: said.message().to_owned() };
        }
        return ConnectError::Unreachable { at, source: Box::new(Shared::new(said.message())) };
    }
    let what = chain(&error);
    if is_tls(&error) {
        return ConnectError::Tls { at, what };
    }
    if what.starts_with("invalid configuration") || what.starts_with("authentication error") {
        return ConnectError::Denied { at, what };
    }
    ConnectError::Unreachable { at, source: Box::new(Shared::new(what)) }
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    // Of what kind an error is cannot be asked otherwise. A server that goes away during the handshake is no affair of TLS.
    if !error.to_string().contains("TLS") {
        return false;
    }
    let below = error.source().and_then(|below| below.downcast_ref::<io::Error>());
    below.is_none_or(|io| io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()))
}

/// The failure of an operation of the store at `at`, on the room `about`.
pub(super) fn operation_error(at: &str, about: Option<&RoomId>, error: &SqlError) -> DocStoreError {
    match error {
        SqlError::DeserializationError(what) => DocStoreError::Corrupt { at: at.to_owned(), what: what.to_string() },
        SqlError::DatabaseError(kind, said) => match about {
            // A key of an index may have about 2,700 bytes. Not the number is asked, because PostgreSQL compresses keys first.
            Some(room) if matches!(kind, DatabaseErrorKind::Unknown) && is_too_long(said.message()) => {
                DocStoreError::Room { room: room.clone(), why: format!("its name is too long: {}", said.message()) }
            }
            _ => docs_error(at, Shared::new(said.message())),
        },
        error => docs_error(at, Shared::new(chain(error))),
    }
}

/// Is it about the size of a key? Whatever the server's language, it names the kind of the index.
fn is_too_long(said: &str) -> bool {
    said.contains("btree")
}
