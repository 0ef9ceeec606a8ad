//! Content ids, attribution and the algebra of Yjs updates, straight on bytes.

mod content_ids;
mod id_set;
mod ranges;

pub use content_ids::ContentIds;
pub use id_set::IdSet;
pub use ranges::{IdRange, Ids, Span};
