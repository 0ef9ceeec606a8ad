//! The embedded engines on SQLite through Diesel: stream log with its task queue, and document store.
