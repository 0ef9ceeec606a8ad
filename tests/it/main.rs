//! What the hub can do, seen from outside: one module per capability.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

#[macro_use]
mod support;

mod access;
mod assets;
mod awareness;
mod bounds;
mod chaos;
mod cli;
mod clients;
mod crash;
mod deletion;
mod described;
mod draining;
mod ground;
mod hostile;
mod joins;
mod lasting;
mod limits;
mod load_failure;
mod node;
mod operate;
mod orphans;
mod records;
mod rest;
mod rest_deletion;
mod rest_errors;
mod rest_history;
mod revoking;
mod secrets;
mod shutdown;
mod silence;
mod sync;
mod takeover;
mod takeover_s3;
mod trust;
