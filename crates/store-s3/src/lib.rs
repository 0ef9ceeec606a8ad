//! Assets as objects of an S3 service, named and laid out as y/hub 0.7 does: one object an asset, called by the asset's id.
//!
//! [`S3Assets`] decides; a client sends. There are two clients, each a feature: `object-store`, and `rusoto`, which is not
//! maintained any more. Both pass the same tests, and read what the other has written. Layout: `docs/PROTOCOL.md`.

mod assets;
mod client;
mod download;
mod keys;
mod options;
mod retry;
mod time;
mod upload;
#[cfg(feature = "object-store")]
mod with_object_store;
#[cfg(feature = "rusoto")]
mod with_rusoto;

pub use assets::S3Assets;
pub use options::{S3ClientKind, S3Options, S3Secret};
