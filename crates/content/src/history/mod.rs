//! Who changed what, and when: looked at, taken back, forgotten.
//!
//! Pure functions over what is stored of a document: the update that holds its whole history, and the map that says of each
//! content who inserted it and who deleted it. Results are those of y/hub 0.7, byte for byte where it answers with bytes.

mod activity;
mod changes;
mod changeset;
mod filter;

pub use activity::{Activity, ActivityEntry, ActivityQuery, activity};
pub use changes::{forgettable, missing_from, rollback, state_at};
pub use changeset::{Changeset, ChangesetQuery, changeset};
pub use filter::ChangeFilter;

use yhub_encoding::MAX_ANY_DEPTH;

use crate::{
    ContentIds, ContentMap, IdMap, UpdateError,
    doc::{Document, integrated},
    intersect,
};

/// The content that was there, or was there and was deleted, up to a time.
fn ids_upto(map: &ContentMap, to: Option<f64>) -> ContentIds {
    ChangeFilter::upto(to).apply(map).to_ids()
}

/// Can an answer be read in which so many arrays and objects lie inside one another? Values of people may be as deep as one can be, and
/// in an answer they lie in nodes, and these in its frame.
fn check_depth(depth: usize) -> Result<(), UpdateError> {
    if depth > MAX_ANY_DEPTH { Err(UpdateError::TooDeepToShow { depth, max: MAX_ANY_DEPTH }) } else { Ok(()) }
}

/// What `work` makes of the part `ids` of a history, divided wherever what `maps` say of its content changes.
fn with_part<R>(
    history: &[u8],
    ids: &ContentIds,
    maps: &[&ContentMap],
    work: impl FnOnce(Document<'_>) -> Result<R, UpdateError>,
) -> Result<R, UpdateError> {
    let halves = maps.iter().flat_map(|map| [&map.inserts, &map.deletes]);
    let ends = halves.flat_map(IdMap::iter).flat_map(|(client, range, _)| [(client, range.clock()), (client, range.end())]);
    let mut points: Vec<_> = ends.collect();
    points.sort_unstable();
    points.dedup();
    integrated(&[intersect(history, ids)?], &points, work)
}
