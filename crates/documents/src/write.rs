//! Writing into a room without a session: what is missing of an update, what takes changes back, what has them forgotten.
//!
//! All of it goes through the stream, like what a client types: sessions of the room see it, and compaction stores it.

use bytes::Bytes;
use yhub_content::{
    self as content, ContentMap, UpdateError,
    history::{ChangeFilter, forgettable, missing_from, rollback},
};
use yhub_core::{Author, RoomId, StreamClock, StreamMessage, UserMatcher, Variant, limiting::Bound};
use yhub_encoding::awareness::{self, AwarenessLimits};
use yhub_store::Append;

use crate::{AsOf, Documents, DocumentsError, history::Needs};

/// Who writes, and on what condition.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Who, as it is recorded with every character.
    pub author: Author,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Only if the last change of the room is still this one.
    pub unless_changed_since: Option<StreamClock>,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the stream, at this clock.
    Done(StreamClock),
    /// There was nothing to write. The last change of the room is this one.
    Nothing(StreamClock),
    /// The room has changed since the clock that the writer knew. Nothing was written.
    Changed,
}

impl Documents {
    /// Adds to a room what it lacks of an update from outside; what it has keeps its authors.
    ///
    /// # Errors
    /// [`DocumentsError::Refused`] if the update is damaged or beyond [`Documents::limits`], [`DocumentsError::TooLarge`] if the document
    /// would be too large with it.
    pub async fn patch(&self, room: &RoomId, update: Bytes, writer: Writer) -> Result<Written, DocumentsError> {
        let refused = |what: &dyn std::fmt::Display| DocumentsError::Refused { room: room.clone(), what: what.to_string() };
        let (checked, limits) = (update.clone(), self.limits);
        let check = move || content::check_update(&checked, &limits).map(drop);
        let check = self.compute.run_sized(update.len(), check).await;
        let check = check.map_err(|source| DocumentsError::Compute { room: room.clone(), source })?;
        check.map_err(|error| refused(&error))?;
        let loaded = self.load(room, Variant::Gc).await?;
        let (changed, clock) = (loaded.changed, loaded.clock);
        let (size_bytes, by) = (loaded.base.len().max(update.len()), writer.clone());
        let max_bytes = self.quotas.of(room.org()).max_document_bytes;
        let job = move || {
            let Some(missing) = missing_from(&loaded.ids, &update)? else { return Ok(Missing::Nothing) };
            // What only deletes is how a document becomes smaller.
            let is_too_large = max_bytes > 0 && loaded.base.len() + missing.len() > max_bytes;
            if is_too_large && !content::content_ids(&missing)?.inserts.is_empty() {
                return Ok(Missing::TooLarge);
            }
            by.message(&missing).map(Missing::Message)
        };
        let message = self.compute.run_sized(size_bytes, job).await;
        let message = message.map_err(|source| DocumentsError::Compute { room: room.clone(), source })?;
        let value = match message.map_err(|error: UpdateError| refused(&error))? {
            Missing::Nothing => None,
            Missing::Message(message) => Some(message),
            Missing::TooLarge => {
                self.tally.count(Bound::DocumentSize);
                return Err(DocumentsError::TooLarge { room: room.clone(), max_bytes });
            }
        };
        self.append_change(room, AsOf { value, changed, clock }, &writer).await
    }

    /// Takes back the changes that `filter` means, which is itself a change.
    pub async fn rollback(&self, room: &RoomId, filter: ChangeFilter, writer: Writer) -> Result<Written, DocumentsError> {
        let by = writer.clone();
        let message = move |history: &[u8], map: &ContentMap| {
            let undone = rollback(history, map, &filter, new_client(&content::state_vector_of(history)?))?;
            undone.map(|undone| by.message(&undone)).transpose()
        };
        let message = self.with_history(room, Needs::History, message).await?;
        self.append_change(room, message, &writer).await
    }

    /// Has the history forget what the changes that `filter` means have both inserted and deleted. No document looks different.
    ///
    /// # Errors
    /// [`DocumentsError::Held`] if a hold is on the room: what is forgotten is erased.
    pub async fn prune(&self, room: &RoomId, filter: ChangeFilter, writer: Writer) -> Result<Written, DocumentsError> {
        self.check_not_held(room).await?;
        let message = move |_: &[u8], map: &ContentMap| {
            let pruned = forgettable(map, &filter);
            Ok((!pruned.is_empty()).then(|| StreamMessage::encode_prune(&pruned.to_bytes())))
        };
        let message = self.with_history(room, Needs::Map, message).await?;
        // Looking at a long history takes a while.
        self.check_not_held(room).await?;
        self.append_change(room, message, &writer).await
    }

    async fn check_not_held(&self, room: &RoomId) -> Result<(), DocumentsError> {
        let hold = self.deletions.hold_of(room).await;
        match hold.map_err(|source| DocumentsError::Store { room: room.clone(), source })? {
            Some(hold) => Err(DocumentsError::Held { room: room.clone(), by: Some(format!("by {}: {}", hold.by, hold.reason)) }),
            None => Ok(()),
        }
    }

    /// Tells everybody in a room who is there. Like what sessions say, it is over after a while unless it is said again.
    ///
    /// # Errors
    /// [`DocumentsError::Refused`] if it is no awareness update, or beyond `limits`.
    pub async fn write_awareness(&self, room: &RoomId, update: &[u8], limits: AwarenessLimits) -> Result<(), DocumentsError> {
        let refused = |error| DocumentsError::Refused { room: room.clone(), what: format!("{error}") };
        awareness::decode(update, limits).map_err(refused)?;
        // A room that was deleted stays so: presence would bring its stream back to life.
        let changed = self.changed(room).await?;
        self.append_to(room, StreamMessage::encode_awareness(update), changed).await.map(|_| ())
    }

    /// Has every node check anew what those may do who have the room open, or cut them: those of `users`, or all.
    pub async fn recheck(&self, room: &RoomId, users: Option<&[UserMatcher]>, cut: bool) -> Result<(), DocumentsError> {
        self.append_to(room, StreamMessage::encode_auth_check(users, cut), StreamClock::ZERO).await.map(|_| ())
    }

    /// Appends a change, if there is one and the writer's condition holds.
    async fn append_change(
        &self,
        room: &RoomId,
        change: AsOf<Option<Bytes>>,
        writer: &Writer,
    ) -> Result<Written, DocumentsError> {
        let AsOf { value, changed, clock } = change;
        if writer.unless_changed_since.is_some_and(|known| known != changed) {
            return Ok(Written::Changed);
        }
        let Some(message) = value else { return Ok(Written::Nothing(changed)) };
        if writer.unless_changed_since.is_none() {
            return self.append_to(room, message, clock).await.map(Written::Done);
        }
        // Looked at up to `clock`; the log sees to it that nothing has changed after that.
        let append = Append { room: room.clone(), messages: vec![message], floor: clock };
        let clocks = self.log.append_unless_changed(append).await;
        let clocks = clocks.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
        Ok(clocks.map_or(Written::Changed, |clocks| Written::Done(clocks.last().copied().unwrap_or(clock))))
    }

    async fn append_to(&self, room: &RoomId, message: Bytes, floor: StreamClock) -> Result<StreamClock, DocumentsError> {
        let append = Append { room: room.clone(), messages: vec![message], floor };
        let clocks = self.log.append(append).await.map_err(|source| DocumentsError::Stream { room: room.clone(), source })?;
        Ok(clocks.last().copied().unwrap_or(floor))
    }
}

/// What a document lacks of an update.
enum Missing {
    Nothing,
    /// As a message of the stream.
    Message(Bytes),
    /// More than fits.
    TooLarge,
}

impl Writer {
    /// The message of the stream for an update of this writer.
    fn message(&self, update: &[u8]) -> Result<Bytes, UpdateError> {
        let ids = content::content_ids(update)?;
        let map = ContentMap::attribution(&ids, Some(&self.author.user), self.at_ms, &self.author.custom);
        Ok(StreamMessage::encode_update(update, &map.to_bytes()).0)
    }
}

/// A number for a client that has not written into this document.
fn new_client(known: &content::StateVector) -> u64 {
    loop {
        // 32 bits: older clients know no longer ones.
        let client = u64::from(uuid::Uuid::new_v4().as_u64_pair().1 as u32);
        if known.get(client) == 0 {
            return client;
        }
    }
}
