//! The embedded engines on SQLite through Diesel: stream log with its task queue, and document store.
//!
//! Both live in one data directory, in a file each, so that a large version row never stands before a small append.

mod docs;
mod embedded;
mod error;
mod open;
mod schema;

pub use docs::{SqliteDocs, SqliteDocsOptions};
pub use embedded::{Durability, EmbeddedLog, EmbeddedLogOptions};
pub use open::OpenError;
