//! Content ids, attribution and the algebra of Yjs updates, straight on bytes.

mod attribute;
mod content_ids;
mod content_map;
mod delta;
mod doc;
mod guard;
pub mod history;
mod id_map;
mod id_map_codec;
mod id_map_merge;
mod id_set;
mod json;
mod ranges;
mod state_vector;
mod update;

pub use attribute::{AttributeName, ContentAttribute};
pub use content_ids::ContentIds;
pub use content_map::{Content, ContentMap};
pub use delta::{Delta, DeltaAttr, DeltaInsert, DeltaItem, DeltaOp};
pub use doc::{forget, gc_merge, integrate_merge, undo};
pub use guard::{
    GuardError, Inspected, Limits, UpdateSummary, check_content_ids, check_delete_set, check_id_set, check_state_vector,
    check_update, inspect_update,
};
pub use id_map::{Attributes, IdMap, MapRange};
pub use id_set::IdSet;
pub use ranges::{IdRange, Ids, Span};
pub use state_vector::StateVector;
pub use update::{
    EMPTY_UPDATE, Id, Parent, Struct, UpdateError, UpdateReader, content_ids, diff, intersect, merge, state_vector_of,
};
