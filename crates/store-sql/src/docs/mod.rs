//! The document store on SQL databases: SQLite in a file, PostgreSQL for many nodes.
//!
//! `bodies` holds the statements and the traits' methods, and is compiled once for each database: both engines give it a
//! `Conn`, an `Engine`, `Engine::within`, and `together!`, which runs statements of which none needs another's answer. What
//! does not know a connection lies here and in `desk`.

mod desk;
mod postgres;
mod records;
mod sqlite;

pub use self::{
    postgres::{ConnectError, PostgresDocs, PostgresDocsOptions, migrate_postgres},
    sqlite::{SqliteDocs, SqliteDocsOptions},
};

use yhub_store::DocStoreError;

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Sees one moment, however many statements it has. Waits for no writer.
    Read,
    /// Each statement sees what was committed before it began. That is what makes the lock of a fence worth something: see
    /// `store` in `bodies`.
    Write,
}

/// Why a transaction ended without being committed.
enum Stop<T> {
    /// It must be taken back: nothing is to change, and this is the answer.
    Outcome(T),
    /// What was found or given cannot be worked with.
    Refused(DocStoreError),
    /// The database failed.
    Sql(diesel::result::Error),
}

impl<T> From<diesel::result::Error> for Stop<T> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Sql(error)
    }
}

impl<T> From<DocStoreError> for Stop<T> {
    fn from(error: DocStoreError) -> Self {
        Self::Refused(error)
    }
}
