//! The actors of a node. They know storage traits, never engines; what they decide is in `yhub-core`.
//!
//! | actor | lives | when it fails |
//! |---|---|---|
//! | [`Registry`] | as long as the node | the process exits non-zero |
//! | [`Room`] | first join until it was empty for a while | its sessions close with 1011; the next join starts a fresh one |
//! | [`Session`] | one connection | that client reconnects |
//! | [`StreamReader`], [`Compactor`], [`LeaseKeeper`], [`Reconciler`], [`NoticeReader`], [`Janitor`] | as long as the node | restarted with backoff |
//!
//! An actor never awaits an actor that may be awaiting it.

mod admission;
mod compactor;
mod frames;
mod health;
mod inbound;
mod janitor;
mod lease_keeper;
mod node;
mod notices;
mod outbox;
mod pass;
mod reconciler;
mod registry;
mod room;
mod session;
mod stream_reader;
mod supervisor;
mod transport;
mod work;

pub use admission::{Arrival, Place};
pub use compactor::Compactor;
pub use health::CompactionHealth;
pub use janitor::{Forgets, Janitor, JanitorSettings};
pub use lease_keeper::LeaseKeeper;
pub use node::{Node, NodeParts, WorkerSettings};
pub use notices::{NoticeReader, NoticeSettings, Told};
pub use pass::{OpenPass, Pass};
pub use reconciler::Reconciler;
pub use registry::{Census, Count, GetRoom, Registry, Shutdown};
pub use room::Room;
pub use session::{Session, SessionParams};
pub use stream_reader::StreamReader;
pub use transport::Transport;
