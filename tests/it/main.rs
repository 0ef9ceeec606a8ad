//! What the hub can do, seen from outside: one module per capability.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

mod cli;
