//! The engines on SQL databases, through Diesel: the document store on SQLite and on PostgreSQL, the stream log with its
//! task queue on SQLite.
//!
//! The embedded two live in one data directory, in a file each, so that a large version row never stands before a small
//! append.

mod docs;
mod embedded;
mod error;
mod open;
mod schema;

pub use docs::{ConnectError, PostgresDocs, PostgresDocsOptions, SqliteDocs, SqliteDocsOptions, migrate_postgres};
pub use embedded::{Durability, EmbeddedLog, EmbeddedLogOptions};
pub use open::OpenError;
