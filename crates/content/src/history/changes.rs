//! Taking changes back, forgetting them, adding those that are missing, and going back in time.

use super::ChangeFilter;
use crate::{ContentIds, ContentMap, EMPTY_UPDATE, IdSet, UpdateError, content_ids, intersect, undo};

/// The update that takes back the changes that `filter` means, in the name of `client`, a number that no one else has; `None` if
/// there are none, or all of them were taken back already.
///
/// # Errors
/// If `history` is damaged, or takes too many steps to be integrated.
pub fn rollback(history: &[u8], map: &ContentMap, filter: &ChangeFilter, client: u64) -> Result<Option<Vec<u8>>, UpdateError> {
    undo(history, &filter.apply(map).to_ids(), client)
}

/// The content that the changes that `filter` means have both inserted and deleted: forgetting it ([`crate::forget`]) changes
/// nothing that anybody sees.
pub fn forgettable(map: &ContentMap, filter: &ChangeFilter) -> IdSet {
    let ids = filter.apply(map).to_ids();
    ids.inserts.intersection(&ids.deletes)
}

/// The part of `update` that is not known yet; `None` if all of it is. `known` is what the document has, in whatever form it was
/// merged.
///
/// # Errors
/// If `update` is damaged.
pub fn missing_from(known: &ContentIds, update: &[u8]) -> Result<Option<Vec<u8>>, UpdateError> {
    let missing = intersect(update, &content_ids(update)?.difference(known))?;
    Ok((missing != EMPTY_UPDATE).then_some(missing))
}

/// The document as it was at a time, in milliseconds since 1970, with what had been deleted by then.
///
/// # Errors
/// If `history` is damaged.
pub fn state_at(history: &[u8], map: &ContentMap, at_ms: f64) -> Result<Vec<u8>, UpdateError> {
    intersect(history, &super::ids_upto(map, Some(at_ms)))
}
