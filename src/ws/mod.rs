//! WebSocket connections: who may come in, and how a session gets its bytes.

mod direct;
mod mounted;
mod upgrade;

pub(crate) use direct::upgrade as direct_upgrade;
pub use mounted::scope;
pub(crate) use upgrade::Gate;
