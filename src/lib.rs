//! The hub as a library.

pub mod config;

pub use config::Config;
