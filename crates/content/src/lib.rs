//! The algebra of Yjs updates with the history of every character, straight on bytes.
//!
//! An *update* is a Yjs update in its V1 format: structs, which insert content under ids (client, clock), and deleted ids. Three ways
//! lead over it, each as cheap as it can be:
//! - **On the bytes**, in one linear walk without a document: [`merge`], [`diff`], [`intersect`], [`content_ids`],
//!   [`state_vector_of`]. What passes through comes out as the bytes it was.
//! - **As a document**, integrated for one purpose: [`gc_merge`] and [`integrate_merge`], [`forget`], [`undo`].
//! - **As a history**, with a [`ContentMap`] that says who inserted and deleted what: the functions in [`history`].
//!
//! Bytes from outside go through the guard first ([`check_update`], [`inspect_update`]): everything else returns an error where they
//! are damaged, but only the guard sees to it that every other reader takes them, too. Nothing here panics, recurses as deep as
//! bytes ask, or takes memory that the bytes do not pay for; but who asks [`history::activity`] for deltas gets the document once for
//! each entry: set a limit. `yrs` is no part of it; the tests ask it, and yjs, for a second opinion.
//!
//! ```
//! use yhub_content::{ContentMap, UpdateError, content_ids, merge};
//! use yhub_content::history::{ActivityQuery, ChangeFilter, activity, rollback};
//!
//! // Client 1 writes "hi" into the root `t`, client 2 puts "!" behind it.
//! let hi = [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];
//! let more = [1, 1, 2, 0, 0x84, 1, 1, 1, b'!', 0];
//! let by = |user, at_ms, update: &[u8]| -> Result<ContentMap, UpdateError> {
//!     Ok(ContentMap::attribution(&content_ids(update)?, Some(user), at_ms, &[]))
//! };
//! let map = ContentMap::union([&by("ann", 1_000, &hi)?, &by("bob", 5_000, &more)?]);
//! let document = merge(&[&hi[..], &more[..]])?;
//!
//! let happened = activity(&document, &map, &ActivityQuery::default())?;
//! assert_eq!(happened.entries.iter().map(|entry| entry.by.as_str()).collect::<Vec<_>>(), [Some("ann"), Some("bob")]);
//!
//! let by_bob = ChangeFilter { by: Some("bob".into()), ..ChangeFilter::default() };
//! let back = rollback(&document, &map, &by_bob, 3)?.expect("bob has changed something");
//! assert_eq!(content_ids(&back)?.deletes, content_ids(&more)?.inserts);
//! # Ok::<(), UpdateError>(())
//! ```

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
mod ranges;
mod state_vector;
mod update;

pub use attribute::{AttributeName, ContentAttribute};
pub use content_ids::ContentIds;
pub use content_map::{Content, ContentMap};
pub use delta::{Delta, DeltaAttr, DeltaInsert, DeltaItem, DeltaOp};
pub use doc::{Looks, forget, gc_merge, integrate_merge, roots, undo};
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
