//! Erasing what is left of a room that is deleted for good, and proving it.
//!
//! Rows before objects (I-4): what an interruption leaves behind is an object that nothing refers to, which is found by listing
//! and by the note of the row. When all is erased everything is read back, and only then the receipt is written. Whoever is
//! late, a compaction, a client, somebody who releases what was set aside, is found by that reading: then all is done again.

use yhub_core::{RoomId, StreamClock};
use yhub_store::{AssetSelection, AuditRecord, Erased, PurgeReceipt, QuarantineId, ReadLimit};

use super::{
    fail_point, in_log, in_store, is_content, not_erased,
    receipt::{Facts, Found, Rows, receipt},
};
use crate::{Documents, DocumentsError};

/// So many rows are erased in one transaction, and so many streams listed at once.
const AT_ONCE: usize = 100;
/// So often all is done again where something new was found, before it is left to the janitor.
const ROUNDS: usize = 5;
/// One read of the stream brings at most so much.
const PAGE: ReadLimit = ReadLimit { entries: 1024, size_bytes: 4 << 20 };

/// How [`Documents::purge`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    /// Nothing is left of the room's content.
    Done(PurgeReceipt),
    /// A hold is on the room. What was erased before stays so.
    Held,
    /// The room is not deleted for good: nothing was erased.
    NotForGood,
}

/// On whose behalf a room is erased.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behalf<'a> {
    /// Who is named in the receipt.
    pub(super) by: Option<&'a str>,
    /// What is written together with the receipt.
    pub(super) audit: Option<&'a AuditRecord>,
}

impl Documents {
    /// Erases a room that is deleted for good, and writes the receipt. May be repeated: what was interrupted goes on where it
    /// was, and of a room that was purged before, the first receipt comes back. `audit` is written together with the receipt.
    pub async fn purge(&self, room: &RoomId, by: Option<&str>, audit: Option<&AuditRecord>) -> Result<Purged, DocumentsError> {
        self.purge_found(room, Behalf { by, audit }, Found::default()).await
    }

    pub(super) async fn purge_found(&self, room: &RoomId, on: Behalf<'_>, mut found: Found) -> Result<Purged, DocumentsError> {
        let mut left = "nothing";
        for _ in 0..ROUNDS {
            // Each step by itself asks whether it may: a hold may come at any time.
            if let Some(refused) = self.erase_all_rows(room).await? {
                return Ok(refused);
            }
            fail_point!("purge::rows", room);
            if self.is_held(room).await? {
                return Ok(Purged::Held);
            }
            self.erase_objects(room, &mut found).await?;
            fail_point!("purge::objects", room);
            if self.is_held(room).await? {
                return Ok(Purged::Held);
            }
            self.discard_set_aside(room, &mut found).await?;
            fail_point!("purge::set_aside", room);
            self.failures.forget_failures(room).await.map_err(|source| in_store(room, source))?;
            if self.stream_has_content(room).await? {
                if self.is_held(room).await? {
                    return Ok(Purged::Held);
                }
                found.stream_entries += self.admin.clear(room).await.map_err(|source| in_log(room, source))?;
                fail_point!("purge::cleared", room);
                // The line that tells of the deletion went, too, and not everybody may have heard it.
                self.announce(room).await?;
            }
            // Again: an answer that was being computed may have been kept since.
            self.cache.forget_cached(room).await.map_err(|source| in_log(room, source))?;
            fail_point!("purge::erased", room);
            if let Some(found) = self.left_of(room).await? {
                left = found;
                continue;
            }
            fail_point!("purge::read_back", room);
            if let Some(receipt) = self.finish(room, on, &found).await? {
                return Ok(Purged::Done(receipt));
            }
            left = "a row that came meanwhile";
        }
        Err(not_erased(room, format!("{left} was there again each time")))
    }

    /// Erases all rows. `Some`: that is refused.
    async fn erase_all_rows(&self, room: &RoomId) -> Result<Option<Purged>, DocumentsError> {
        loop {
            match self.deletions.erase_rows(room, AT_ONCE).await.map_err(|source| in_store(room, source))? {
                Erased::Rows(rows) if rows.is_empty() => return Ok(None),
                Erased::Rows(_) => fail_point!("purge::some_rows", room),
                Erased::Held => return Ok(Some(Purged::Held)),
                Erased::NotForGood => return Ok(Some(Purged::NotForGood)),
            }
        }
    }

    /// Erases the streams that were set aside, and then the records that name them: also of those that are gone.
    async fn discard_set_aside(&self, room: &RoomId, found: &mut Found) -> Result<(), DocumentsError> {
        for id in self.set_aside_of(room).await? {
            let entries = self.admin.discard(room, &id).await.map_err(|source| in_log(room, source))?;
            found.set_aside(&id.0, entries.unwrap_or(0));
            fail_point!("purge::discarded", room);
            self.failures.end_quarantine(room, &id, None).await.map_err(|source| in_store(room, source))?;
        }
        let recorded = self.store.read(room, AssetSelection::NONE).await.map_err(|source| in_store(room, source))?;
        for id in recorded.quarantined {
            found.set_aside(&id.0, 0);
            self.failures.end_quarantine(room, &id, None).await.map_err(|source| in_store(room, source))?;
        }
        Ok(())
    }

    /// The names of the streams in the log that were set aside.
    async fn set_aside_of(&self, room: &RoomId) -> Result<Vec<QuarantineId>, DocumentsError> {
        let (mut ids, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.admin.quarantined(Some(room), cursor.as_deref(), AT_ONCE).await;
            let page = page.map_err(|source| in_log(room, source))?;
            ids.extend(page.items.into_iter().filter(|stream| stream.room == *room).map(|stream| stream.id));
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(ids),
            }
        }
    }

    /// Does the stream hold anything but lines that tell of the deletion?
    async fn stream_has_content(&self, room: &RoomId) -> Result<bool, DocumentsError> {
        let mut after = StreamClock::ZERO;
        loop {
            let page = self.log.read(room, after, PAGE).await.map_err(|source| in_log(room, source))?;
            if page.entries.iter().any(is_content) {
                return Ok(true);
            }
            match page.entries.last() {
                Some(last) if page.more => after = last.clock,
                _ => return Ok(false),
            }
        }
    }

    /// Reads back everything. `Some` says what is still there.
    async fn left_of(&self, room: &RoomId) -> Result<Option<&'static str>, DocumentsError> {
        // The log first, as always: what leaves it is in a row by then.
        if self.stream_has_content(room).await? {
            return Ok(Some("an entry of the stream"));
        }
        if !self.set_aside_of(room).await?.is_empty() {
            return Ok(Some("a stream that was set aside"));
        }
        let stored = self.store.read(room, AssetSelection::NONE).await.map_err(|source| in_store(room, source))?;
        if !stored.rows.is_empty() {
            return Ok(Some("a row"));
        }
        if !stored.quarantined.is_empty() {
            return Ok(Some("the record of a stream that was set aside"));
        }
        Ok((self.count_objects(room).await? > 0).then_some("an object"))
    }

    /// Writes the receipt. `None` if that is refused.
    async fn finish(&self, room: &RoomId, on: Behalf<'_>, found: &Found) -> Result<Option<PurgeReceipt>, DocumentsError> {
        let (mut rows, mut after) = (Rows::default(), None::<String>);
        loop {
            let noted = self.deletions.erased_rows(room, after.as_deref(), AT_ONCE).await;
            let noted = noted.map_err(|source| in_store(room, source))?;
            let Some(last) = noted.last() else { break };
            after = Some(last.t.clone());
            noted.iter().for_each(|row| rows.add(row));
        }
        let Some(tombstone) = self.tombstone(room).await? else { return Ok(None) };
        let at_ms = self.log.now_ms().await.map_err(|source| in_log(room, source))?;
        let json = receipt(&Facts { room, tombstone: &tombstone, by: on.by, at_ms, rows: &rows, found });
        let receipt = PurgeReceipt { purged_at_ms: i64::try_from(at_ms).unwrap_or(i64::MAX), json };
        if !self.deletions.finish_purge(room, &receipt, on.audit).await.map_err(|source| in_store(room, source))? {
            return Ok(None);
        }
        fail_point!("purge::finished", room);
        // It may be an earlier one.
        let kept = self.deletions.receipt(room).await.map_err(|source| in_store(room, source))?;
        Ok(Some(kept.unwrap_or(receipt)))
    }
}
