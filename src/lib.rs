//! The hub as a library.

pub mod config;
pub mod http;

pub use config::Config;
