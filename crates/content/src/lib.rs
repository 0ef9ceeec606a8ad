//! Content ids, attribution and the algebra of Yjs updates, straight on bytes.

mod content_ids;
mod guard;
mod id_set;
mod ranges;
mod state_vector;
mod update;

pub use content_ids::ContentIds;
pub use guard::{
    GuardError, Inspected, Limits, UpdateSummary, check_content_ids, check_delete_set, check_id_set, check_state_vector,
    check_update, inspect_update,
};
pub use id_set::IdSet;
pub use ranges::{IdRange, Ids, Span};
pub use state_vector::StateVector;
pub use update::{
    EMPTY_UPDATE, Id, Parent, Struct, UpdateError, UpdateReader, content_ids, diff, intersect, merge, state_vector_of,
};
