//! The hub as a library.
