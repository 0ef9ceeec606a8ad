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

use crate::{ContentIds, ContentMap, IdMap, UpdateError, doc::Document, intersect, update::merge_anew};

/// The content that was there, or was there and was deleted, up to a time.
fn ids_upto(map: &ContentMap, to: Option<f64>) -> ContentIds {
    ChangeFilter::upto(to).apply(map).to_ids()
}

/// The part `ids` of a history, as an update whose parts are known to descend.
fn part(history: &[u8], ids: &ContentIds) -> Result<Vec<u8>, UpdateError> {
    merge_anew(&[intersect(history, ids)?])
}

/// A document divided wherever what `maps` say of its content changes.
fn divided<'a>(update: &'a [u8], maps: &[&ContentMap]) -> Result<Document<'a>, UpdateError> {
    let ends = |map: &IdMap| {
        map.iter().flat_map(|(client, range, _)| [(client, range.clock()), (client, range.end())]).collect::<Vec<_>>()
    };
    let mut points: Vec<_> = maps.iter().flat_map(|map| [ends(&map.inserts), ends(&map.deletes)]).flatten().collect();
    points.sort_unstable();
    points.dedup();
    Document::load(update, &points)
}
