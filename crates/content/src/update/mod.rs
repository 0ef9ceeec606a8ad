//! The algebra of updates, on their bytes: reading, merging, differences, parts.
//!
//! Nothing here decodes a content. What passes through comes out as the bytes it was, whatever it means to a client.
//! The format is the Yjs update format V1; `docs/PROTOCOL.md` describes it.

mod cut;
mod deletes;
mod diff;
mod error;
mod heal;
pub(crate) mod ids;
mod intersect;
mod merge;
pub(crate) mod reader;
pub(crate) mod structs;
mod write;

pub(crate) use cut::{after_character, cut_text, write_piece};
pub(crate) use deletes::Deletes;
pub use diff::diff;
pub use error::UpdateError;
pub use ids::{content_ids, state_vector_of};
pub use intersect::intersect;
pub(crate) use merge::merge_anew;
pub use merge::{EMPTY_UPDATE, merge};
pub use reader::UpdateReader;
pub use structs::{Id, Parent, Struct};
