//! For tests only: a running hub, raw clients, golden vectors.

pub mod vectors;
