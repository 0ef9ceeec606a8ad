//! What changed in a document between two times.

use yhub_encoding::{Any, Object};

use super::{ChangeFilter, check_depth, ids_upto, with_part};
use crate::{ContentMap, Delta, IdMap, UpdateError, doc::Look};

/// What to compare, and what to tell of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangesetQuery {
    /// Which changes; the document is shown as it was at its end ([`ChangeFilter::to`]).
    pub filter: ChangeFilter,
    /// With who changed what.
    pub attributions: bool,
    /// With what the root without a name looked like, and what had changed; not what is inside of its nodes.
    pub delta: bool,
    /// With the document as it was.
    pub ydoc: bool,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changeset {
    /// Who changed what, encoded ([`ContentMap::encode`]).
    pub attributions: Option<Vec<u8>>,
    /// The root without a name.
    pub delta: Option<Delta>,
    /// The document, as an update: with what these changes deleted, and without what others had deleted before.
    pub ydoc: Option<Vec<u8>>,
}

/// What changed in the document whose whole history is `history`, and of whose content `map` says who made it.
///
/// # Errors
/// If `history` is damaged, takes too many steps to be integrated, or would be shown nested too deeply.
pub fn changeset(history: &[u8], map: &ContentMap, query: &ChangesetQuery) -> Result<Changeset, UpdateError> {
    let mut filter = query.filter.clone();
    filter.by = filter.by.filter(|by| !by.is_empty());
    let found = filter.apply(map);
    let mut changes = Changeset { attributions: query.attributions.then(|| found.to_bytes()), ..Changeset::default() };
    if !query.delta && !query.ydoc {
        return Ok(changes);
    }
    let after = ids_upto(map, query.filter.to);
    with_part(history, &after, &[map, &found], |mut document| {
        document.collect_within(&after.deletes.difference(&found.deletes));
        if query.delta {
            let both = IdMap::union([&found.inserts, &found.deletes]);
            let look = Look { attributed: &both, rendered: None, deep: false };
            let delta = document.render_root("", &look)?;
            // It lies in an object.
            check_depth(1 + delta.depth())?;
            changes.delta = Some(delta);
        }
        if query.ydoc {
            changes.ydoc = Some(document.encode()?);
        }
        Ok(changes)
    })
}

impl Changeset {
    /// The answer as a value, in the order of keys that y/hub gives it.
    pub fn to_any(&self) -> Any {
        let mut object = Object::new();
        if let Some(attributions) = &self.attributions {
            object.insert("attributions", Any::Bytes(attributions.as_slice().into()));
        }
        if let Some(delta) = &self.delta {
            object.insert("delta", delta.to_any());
        }
        if let Some(ydoc) = &self.ydoc {
            object.insert("ydoc", Any::Bytes(ydoc.as_slice().into()));
        }
        Any::Object(object)
    }
}
