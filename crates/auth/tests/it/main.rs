//! What the crate promises, asked from outside: tokens of every kind, key sets and back ends that misbehave.

mod callback;
mod jwks;
mod jwt;
mod keys;
mod methods;
mod sign;
