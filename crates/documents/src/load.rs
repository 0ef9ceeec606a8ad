//! Loading a room: what is stored, what the stream has on top of it, and what was set aside, as one update.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use yhub_content::{ContentIds, IdSet, Limits, UpdateError};
use yhub_core::{AuthCheck, Heard, Loaded, RoomId, StreamClock, StreamMessage, Variant};
use yhub_store::{AssetKind, AssetSelection, LogEntry, QuarantineId};

use crate::{
    Documents, DocumentsError,
    read::{RoomContent, Row, SetAsideContent, column, open_entry, payload},
};

impl Documents {
    /// Loads one document of a room. It holds everything up to [`Loaded::clock`], and all that was set aside.
    ///
    /// A room of which nothing is stored is the empty document. A room that was deleted, and one of which a row cannot be read,
    /// are errors. An entry that cannot be read or merged is left out and logged: the stream keeps it.
    pub async fn load(&self, room: &RoomId, variant: Variant) -> Result<Loaded, DocumentsError> {
        let kind = match variant {
            Variant::Gc => AssetKind::GcDoc,
            Variant::Nongc => AssetKind::NongcDoc,
        };
        let (content, set_aside, turn) = self.read_everything(room, AssetSelection::of(&[kind]), &self.loads).await?;
        if content.tombstone.is_some() {
            return Err(DocumentsError::Deleted { room: room.clone() });
        }
        let Changes { updates, pruned, changed, recent, awareness, checks } = changes(room, &content, &set_aside);
        // What was set aside does not count: between its clocks lies what others have compacted since, and it may lie beyond
        // what was read of the stream.
        let clock = content.clock();
        let parts = Parts {
            room: room.clone(),
            kind,
            rows: documents_of_rows(room, &content, kind)?,
            entries: updates.into_iter().map(|Change { origin, update, .. }| (origin, update)).collect(),
            pruned: if variant == Variant::Nongc { pruned } else { IdSet::default() },
        };
        let (base, ids) = self.merge_parts(parts, turn).await?;
        Ok(Loaded { base, ids, clock, changed, recent, awareness, checks })
    }

    /// The turn is given back when the parts are merged, also where nobody waits for that any more.
    async fn merge_parts(&self, parts: Parts, turn: OwnedSemaphorePermit) -> Result<(Bytes, ContentIds), DocumentsError> {
        let (limits, room, size_bytes) = (self.stored_limits(), parts.room.clone(), parts.size_bytes());
        let job = move || {
            let _turn = turn;
            parts.merge(&limits)
        };
        let merged = self.compute.run_sized(size_bytes, job).await;
        merged.map_err(|source| DocumentsError::Compute { room, source })?
    }
}

/// An update that no version row holds.
pub(crate) struct Change {
    pub(crate) origin: Origin,
    pub(crate) update: Bytes,
    /// Who made it, and when: an encoded content map.
    pub(crate) contentmap: Bytes,
}

/// What stream and streams that were set aside add to the rows of a room. What cannot be read is left out and logged.
pub(crate) struct Changes {
    /// What was set aside first, then the stream; each in log order.
    pub(crate) updates: Vec<Change>,
    /// What is to be forgotten of the history.
    pub(crate) pruned: IdSet,
    /// The clock of the last change that the room holds.
    pub(crate) changed: StreamClock,
    /// See [`Loaded::recent`].
    recent: Vec<(StreamClock, Bytes)>,
    /// See [`Loaded::awareness`].
    awareness: Vec<Heard>,
    /// See [`Loaded::checks`].
    checks: Vec<AuthCheck>,
}

pub(crate) fn changes(room: &RoomId, content: &RoomContent, set_aside: &SetAsideContent) -> Changes {
    let stored = content.stored();
    let mut changes = Changes {
        updates: Vec::new(),
        pruned: IdSet::default(),
        changed: stored.unwrap_or(StreamClock::ZERO),
        recent: Vec::new(),
        awareness: Vec::new(),
        checks: Vec::new(),
    };
    let prune = |pruned: &mut IdSet, prune: &[u8], clock: StreamClock| match IdSet::from_bytes(prune) {
        Ok(ids) => pruned.insert_all(&ids),
        Err(error) => {
            log::error!(room:% = room; "left out of the document of room {room}: the ids of the prune at {clock}: {error}");
        }
    };
    // None of it was compacted, whatever its clock.
    for (id, entry) in &set_aside.entries {
        match open(room, entry) {
            Some(StreamMessage::Update { update, contentmap }) => {
                changes.updates.push(Change { origin: Origin::SetAside(id.clone(), entry.clock), update, contentmap });
            }
            Some(StreamMessage::Prune { prune: ids }) => prune(&mut changes.pruned, &ids, entry.clock),
            _ => continue,
        }
        changes.changed = changes.changed.max(entry.clock);
    }
    for entry in &content.entries {
        match open(room, entry) {
            Some(StreamMessage::Update { update, contentmap }) => {
                changes.changed = changes.changed.max(entry.clock);
                if Some(entry.clock) > stored {
                    changes.recent.extend(entry.message.clone().map(|message| (entry.clock, message)));
                    changes.updates.push(Change { origin: Origin::Stream(entry.clock), update, contentmap });
                }
            }
            Some(StreamMessage::Prune { prune: ids }) => {
                changes.changed = changes.changed.max(entry.clock);
                prune(&mut changes.pruned, &ids, entry.clock);
                changes.recent.extend(entry.message.clone().map(|message| (entry.clock, message)));
            }
            Some(StreamMessage::Awareness { update, users }) => {
                changes.awareness.push(Heard { at_ms: entry.clock.ms, update, users });
            }
            Some(StreamMessage::AuthCheck { users, .. }) => {
                changes.checks.push(AuthCheck { at_ms: entry.clock.ms, users: users.map(Into::into) });
            }
            _ => {}
        }
    }
    changes
}

fn open(room: &RoomId, entry: &LogEntry) -> Option<StreamMessage> {
    open_entry(room, entry).unwrap_or_else(|error| {
        log::error!(room:% = room; "left out of the document: {error}");
        None
    })
}

/// One document of each row, with the row's key.
pub(crate) fn documents_of_rows(
    room: &RoomId,
    content: &RoomContent,
    kind: AssetKind,
) -> Result<Vec<(String, Bytes)>, DocumentsError> {
    let document = |row: &Row| Ok((row.t.clone(), payload(room, row, kind)?.clone()));
    content.rows.iter().map(document).collect()
}

/// Where an update comes from that may be left out.
pub(crate) enum Origin {
    Stream(StreamClock),
    SetAside(QuarantineId, StreamClock),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(clock) => write!(f, "entry {clock} of the stream"),
            Self::SetAside(id, clock) => write!(f, "entry {clock} of what was set aside as {}", id.0),
        }
    }
}

/// What a document is made of.
pub(crate) struct Parts {
    pub(crate) room: RoomId,
    pub(crate) kind: AssetKind,
    /// With the key of each row.
    pub(crate) rows: Vec<(String, Bytes)>,
    /// In log order.
    pub(crate) entries: Vec<(Origin, Bytes)>,
    /// What is to be forgotten of the history.
    pub(crate) pruned: IdSet,
}

impl Parts {
    pub(crate) fn size_bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(|(_, update)| update.len()).sum();
        rows + self.entries.iter().map(|(_, update)| update.len()).sum::<usize>()
    }

    /// The rows must be readable; of the entries, those that are not are left out.
    pub(crate) fn merge(self, limits: &Limits) -> Result<(Bytes, ContentIds), DocumentsError> {
        let Self { room, kind, rows, entries, pruned } = self;
        let row = |t: &str, what: String| DocumentsError::Row { room: room.clone(), t: t.into(), column: column(kind), what };
        let left_out = |origin: &Origin, what: &str| {
            log::error!(room:% = room; "left out of the document of room {room}: {origin}: {what}");
        };
        let mut base = Vec::with_capacity(rows.len());
        for (t, update) in rows {
            yhub_content::check_update(&update, limits).map_err(|error| row(&t, error.to_string()))?;
            base.push(update);
        }
        let mut updates = Vec::with_capacity(entries.len());
        for (origin, update) in entries {
            match yhub_content::check_update(&update, limits) {
                Ok(_) => updates.push((origin, update)),
                Err(error) => left_out(&origin, &error.to_string()),
            }
        }
        let merged = merge_what_can_be(base, &updates, &try_merge, &left_out);
        let (base, ids) = merged.map_err(|what| row("all", format!("cannot be merged: {what}")))?;
        // What cannot be forgotten is shown to those who ask for the history: nothing is lost by that.
        let base = without(base.clone(), &pruned).unwrap_or_else(|error| {
            log::error!(room:% = room; "the prunes of room {room} cannot be carried out: {error}");
            base
        });
        Ok((base, ids))
    }
}

/// Merges `base` with those of `updates` that can be merged with it. An error says that the base by itself cannot.
///
/// One update that cannot be merged must not keep everybody from all the others: halves are tried until it is found.
fn merge_what_can_be<T>(
    base: Vec<Bytes>,
    updates: &[(T, Bytes)],
    merge: &impl Fn(&[Bytes]) -> Result<(Bytes, ContentIds), String>,
    left_out: &impl Fn(&T, &str),
) -> Result<(Bytes, ContentIds), String> {
    let all: Vec<Bytes> = base.iter().chain(updates.iter().map(|(_, update)| update)).cloned().collect();
    let failed = match merge(&all) {
        Ok(merged) => return Ok(merged),
        Err(failed) if updates.is_empty() => return Err(failed),
        Err(failed) => failed,
    };
    if let [(origin, _)] = updates {
        let merged = merge(&base)?;
        left_out(origin, &format!("cannot be merged: {failed}"));
        return Ok(merged);
    }
    let (first, second) = updates.split_at(updates.len() / 2);
    let (merged, _) = merge_what_can_be(base, first, merge, left_out)?;
    merge_what_can_be(vec![merged], second, merge, left_out)
}

/// A panic counts as a failure, too: of a bug of ours, one update is to suffer, not the whole document.
fn try_merge(updates: &[Bytes]) -> Result<(Bytes, ContentIds), String> {
    let merge = || {
        let merged = merge_shared(updates)?;
        let ids = yhub_content::content_ids(&merged)?;
        Ok::<_, yhub_content::UpdateError>((merged, ids))
    };
    match catch_unwind(AssertUnwindSafe(merge)) {
        Ok(merged) => merged.map_err(|error| error.to_string()),
        Err(_) => Err("merging panicked; this is a bug".into()),
    }
}

/// A history without what is pruned.
pub(crate) fn without(history: Bytes, pruned: &IdSet) -> Result<Bytes, UpdateError> {
    if pruned.is_empty() { Ok(history) } else { Ok(yhub_content::forget(&history, pruned)?.into()) }
}

/// Merges updates; a single one is shared, not copied.
pub(crate) fn merge_shared(updates: &[Bytes]) -> Result<Bytes, yhub_content::UpdateError> {
    match updates {
        [one] => Ok(one.clone()),
        many => yhub_content::merge(many).map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// Puts one letter after the other; capitals cannot be merged.
    fn join(updates: &[Bytes]) -> Result<(Bytes, ContentIds), String> {
        let all = updates.concat();
        match all.iter().any(u8::is_ascii_uppercase) {
            true => Err("a capital".into()),
            false => Ok((all.into(), ContentIds::default())),
        }
    }

    proptest! {
        #[test]
        fn what_cannot_be_merged_is_left_out_alone(letters in "[a-zA-C]{0,40}") {
            let updates: Vec<(char, Bytes)> =
                letters.chars().map(|letter| (letter, Bytes::copy_from_slice(letter.to_string().as_bytes()))).collect();
            let left_out = RefCell::new(String::new());
            let base = vec![Bytes::from_static(b"base ")];
            let merged = merge_what_can_be(base, &updates, &join, &|letter, _| left_out.borrow_mut().push(*letter));
            let (small, capital): (String, String) = letters.chars().partition(char::is_ascii_lowercase);
            let whole = format!("base {small}");
            prop_assert_eq!(&merged.expect("the base is fine").0[..], whole.as_bytes());
            prop_assert_eq!(left_out.into_inner(), capital);
        }
    }

    #[test]
    fn a_base_that_cannot_be_merged_is_an_error() {
        let updates = [('a', Bytes::from_static(b"a"))];
        let left_out = |_: &char, _: &str| panic!("nothing is left out");
        assert!(merge_what_can_be(vec![Bytes::from_static(b"B")], &updates, &join, &left_out).is_err());
    }
}
