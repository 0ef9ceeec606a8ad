//! Documents: updates integrated into lists and attributes, to be garbage collected and written anew.
//!
//! A [`Document`] is built from one update in one go. Every place where an item will have to be divided (at the origins
//! of others, at the ends of deleted ranges) is known beforehand, so all pieces are laid out first, by client and
//! clock, in one array that never changes its order: ids are found by binary search, neighbours and parents are indices.
//! Contents stay what they are, slices of the update's bytes; nothing but their lengths is ever looked at.
//!
//! Neither integrating nor deleting nor collecting uses recursion: how deep bytes can nest types costs memory in
//! proportion to the bytes, never stack.

mod block;
mod build;
mod collect;
mod encode;
mod index;
mod integrate;
#[cfg(test)]
mod order_tests;
mod render;
mod roots;
mod types;
mod undo;

use crate::update::merge_anew;
use crate::{ContentIds, IdSet, UpdateError, UpdateReader};

pub(crate) use self::render::Look;
pub use self::roots::{Looks, roots};

use self::block::Block;
use self::index::ClientIndex;
use self::types::Types;

/// Merges updates as a document with garbage collection does that receives all of them in one transaction: deleted
/// content is forgotten, neighbours are joined.
///
/// What cannot be integrated, because something it refers to is missing, is kept as it is; so are deletions of unknown
/// ids. The result does not depend on the order of the updates (unless they overlap and disagree).
///
/// # Errors
/// If an update is damaged, or if integrating takes far more steps than documents of people do.
pub fn gc_merge<T: AsRef<[u8]>>(updates: &[T]) -> Result<Vec<u8>, UpdateError> {
    integrated(updates, &[], |mut document| {
        document.collect();
        document.encode()
    })
}

/// What `work` makes of the document in `updates`, divided before `points`.
pub(crate) fn integrated<T: AsRef<[u8]>, R>(
    updates: &[T],
    points: &[(u64, u32)],
    work: impl FnOnce(Document<'_>) -> Result<R, UpdateError>,
) -> Result<R, UpdateError> {
    if let [one] = updates {
        // Mostly it is in order; then nothing of it needs be copied.
        match Document::load(one.as_ref(), points) {
            Ok(document) => return work(document),
            Err(error @ UpdateError::TooManySteps) => return Err(error),
            // Merging puts it in order, or says where it is damaged.
            Err(_) => {}
        }
    }
    let merged = merge_anew(updates)?;
    work(Document::load(&merged, points)?)
}

/// Like [`gc_merge`], but keeps deleted content: what a document without garbage collection would write.
///
/// # Errors
/// As [`gc_merge`].
pub fn integrate_merge<T: AsRef<[u8]>>(updates: &[T]) -> Result<Vec<u8>, UpdateError> {
    // Each update deletes by itself, and an item is divided where any of its deleted ranges ends: between the halves of
    // a surrogate pair that leaves a trace, which the union of all ranges would not.
    let mut ends = Vec::new();
    for update in updates {
        UpdateReader::new(update.as_ref())?.deletes(|client, start, end| ends.extend([(client, start), (client, end)]))?;
    }
    integrated(updates, &ends, |document| document.encode())
}

/// Forgets the deleted content of `update` that lies in `ids`: of what is deleted there only length and place stay, and of what
/// lies inside of that only the length. Content that is not deleted stays, in `ids` or not; so does deleted content elsewhere.
///
/// The document looks the same before and after. Takes an update that holds a whole history, as [`integrate_merge`] does.
///
/// # Errors
/// As [`gc_merge`].
pub fn forget(update: &[u8], ids: &IdSet) -> Result<Vec<u8>, UpdateError> {
    integrated(&[update], &ends_of(ids), |mut document| {
        document.collect_within(ids);
        document.encode()
    })
}

/// The update that takes back the changes `ids` of the document `update`: what they inserted is deleted, and what they deleted is
/// inserted anew. What they both inserted and deleted stays as it is. An attribute gets the value back that they took from it,
/// whoever has set it since.
///
/// Whoever applies the result sees it as the work of `client`, which must be new to the document: if it is not, the next number
/// that is takes its place. `None` if there is nothing to take back. What was garbage collected cannot come back.
///
/// Takes an update that holds a whole history, as [`integrate_merge`] does.
///
/// # Errors
/// As [`gc_merge`].
pub fn undo(update: &[u8], ids: &ContentIds, client: u64) -> Result<Option<Vec<u8>>, UpdateError> {
    let (inserts, deletes) = (ids.inserts.difference(&ids.deletes), ids.deletes.difference(&ids.inserts));
    let ends = [ends_of(&inserts), ends_of(&deletes)].concat();
    integrated(&[update], &ends, |mut document| document.undo(&inserts, &deletes, client))
}

/// Where the ranges of `ids` begin and end.
fn ends_of(ids: &IdSet) -> Vec<(u64, u32)> {
    let ranges = ids.iter().flat_map(|(client, ranges)| ranges.iter().map(move |range| (client, range)));
    ranges.flat_map(|(client, range)| [(client, range.clock()), (client, range.end())]).collect()
}

/// An update, integrated. See the module's first lines.
pub(crate) struct Document<'a> {
    /// The update.
    bytes: &'a [u8],
    /// Number of each client that is mentioned; other places name clients by their index here.
    clients: Vec<u64>,
    /// Which blocks each client has: none if it is only referred to.
    index: Vec<ClientIndex>,
    /// Clients that have blocks, in the order of the update: descending.
    sections: Vec<u32>,
    /// All pieces of structs, by section and clock.
    blocks: Vec<Block>,
    /// The clock of each block, apart: this is what searches look at.
    clocks: Vec<u32>,
    types: Types<'a>,
    /// Are there structs that could not be integrated?
    waits: bool,
    /// Deleted ranges that are not, or not integrated, here: client number, start, end.
    waiting_deletes: Vec<(u64, u32, u32)>,
}

#[cfg(test)]
mod tests {
    use yhub_encoding::{write_var_string, write_var_uint};

    use super::*;

    /// Clients that insert into a text of client 1, in an order in which each has to pass all others: the right
    /// neighbour differs from client to client, so that none can stop early.
    fn crowd(clients: u64) -> Vec<u8> {
        let mut update = Vec::new();
        write_var_uint(&mut update, clients + 1);
        for client in (1..=clients).rev() {
            update.push(1);
            write_var_uint(&mut update, client + 1);
            update.extend([0, 0x44, 1]);
            write_var_uint(&mut update, client);
            update.extend([1, b'x']);
        }
        update.extend([1, 1, 0, 4, 1, 1, b't']);
        write_var_string(&mut update, &"y".repeat(clients as usize + 1));
        update.push(0);
        update
    }

    #[test]
    fn insertions_made_to_take_forever_are_refused() {
        let update = crowd(3_000);
        assert!(Document::load(&update, &[]).is_ok(), "a few thousand are no problem");
        assert_eq!(Document::load_within(&update, &[], 100_000).err(), Some(UpdateError::TooManySteps));
    }
}
