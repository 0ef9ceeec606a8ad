//! What the crate promises, asked from outside: tokens of every kind, key sets and back ends that misbehave.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

mod callback;
mod jwks;
mod jwt;
mod keys;
mod methods;
mod sign;
mod tls;
