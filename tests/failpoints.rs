//! What a panic takes with it, and what it does not: shown with named fail points, in the order fail, pass, fail.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

#[allow(dead_code, reason = "shared with another test program, which uses all of it")]
#[path = "it/support.rs"]
mod support;
