//! Setting the stream of a room aside, and giving it back.
//!
//! What was set aside stays part of the document for readers ([`Documents::load`]) and is not compacted. It is on record before
//! it is moved, and off record after it is moved back: whoever reads a room in between finds it in one place or the other.

use std::time::Duration;

use yhub_core::{RoomId, StreamClock};
use yhub_store::{Allowance, AssetSelection, AuditRecord, QuarantineId, QuarantineRecord};

use crate::{Documents, DocumentsError};

/// At most so many streams of one room are set aside: every load reads them all. Beyond, a room that fails is only tried again,
/// until somebody releases one or deletes the room.
const MAX_SET_ASIDE: usize = 16;

/// A stream that is on record and not there may be about to be moved. A record that is removed then would leave the stream without
/// one, and readers would not look for it. So a release waits for so long, and looks again.
const MOVED_WITHIN: Duration = Duration::from_secs(1);

/// Why a stream is to be set aside.
#[derive(Clone, Debug)]
pub struct QuarantineReason {
    /// The class of the failures; `operator` if somebody asks for it.
    pub class: String,
    /// Their signature.
    pub signature: String,
    /// What the last one said. Never content of documents.
    pub reason: String,
    /// The first entry of the stream that failed. A stream that begins with another one is not that, and is left alone. `None`:
    /// whatever it begins with.
    pub from: Option<StreamClock>,
}

/// How [`Documents::quarantine`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// The stream is set aside.
    Done {
        /// Under this name.
        id: QuarantineId,
    },
    /// There is nothing to set aside, or it is not the stream any more that failed.
    Nothing,
    /// As many as may be are set aside already.
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Documents {
    /// Sets the stream of `room` aside. May be repeated: what was interrupted is brought to its end under the same name.
    pub async fn quarantine(&self, room: &RoomId, why: QuarantineReason) -> Result<SetAside, DocumentsError> {
        let in_log = |source| DocumentsError::Stream { room: room.clone(), source };
        let in_store = |source| DocumentsError::Store { room: room.clone(), source };
        let Some((first, last)) = self.extent(room).await? else { return Ok(SetAside::Nothing) };
        if why.from.is_some_and(|from| from != first) {
            return Ok(SetAside::Nothing);
        }
        let id = quarantine_id(room, first);
        let stored = self.store.read(room, AssetSelection::NONE).await.map_err(in_store)?;
        if stored.tombstone.is_some_and(|tombstone| tombstone.hard) {
            // It is about to be erased, and whoever does that may have looked already.
            return Ok(SetAside::Nothing);
        }
        let named = stored.quarantined;
        if named.len() >= MAX_SET_ASIDE && !named.contains(&id) {
            return Ok(SetAside::TooMany { count: named.len() });
        }
        let at_ms = self.log.now_ms().await.map_err(in_log)?;
        let QuarantineReason { class, signature, reason, .. } = why;
        let record = QuarantineRecord { room: room.clone(), id, class, signature, reason, from: first, upto: last, at_ms };
        // The record first: who reads the room after the move is told where to look. If we die in between, it names a stream
        // that is not there, which is read as empty.
        self.failures.put_quarantine(&record).await.map_err(in_store)?;
        fail::fail_point!("quarantine::recorded", |how: Option<String>| Err(crate::asked_for(room, how.as_deref())));
        let id = record.id.clone();
        if !self.log.quarantine(room, &id).await.map_err(in_log)? {
            self.failures.end_quarantine(room, &id, None).await.map_err(in_store)?;
            return Ok(SetAside::Nothing);
        }
        fail::fail_point!("quarantine::moved", |how: Option<String>| Err(crate::asked_for(room, how.as_deref())));
        // Again: whoever slept since the first time, while another did the same and it was released, would have moved a stream
        // that no record names, and readers would miss it.
        self.failures.put_quarantine(&record).await.map_err(in_store)?;
        Ok(SetAside::Done { id })
    }

    /// Appends what was set aside as `id` to the stream of its room again. Returns how many entries it held; `None` if there was
    /// none of this name. May be repeated. Of a room that was deleted for good nothing comes back. `audit` is written iff there was
    /// a record of it, together with forgetting that.
    pub async fn release(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        audit: Option<&AuditRecord>,
    ) -> Result<Option<u64>, DocumentsError> {
        let in_log = |source| DocumentsError::Stream { room: room.clone(), source };
        if self.tombstone(room).await?.is_some_and(|tombstone| tombstone.hard) {
            return Err(DocumentsError::Deleted { room: room.clone() });
        }
        // The log first: as long as it is on record, readers look for it, and where it is gone they read on in the stream.
        let mut released = self.log.release(room, id).await.map_err(in_log)?;
        if released.is_none() {
            tokio::time::sleep(MOVED_WITHIN).await;
            released = self.log.release(room, id).await.map_err(in_log)?;
        }
        fail::fail_point!("quarantine::released", |how: Option<String>| Err(crate::asked_for(room, how.as_deref())));
        let ended = self.failures.end_quarantine(room, id, audit).await;
        ended.map_err(|source| DocumentsError::Store { room: room.clone(), source })?;
        Ok(released)
    }

    /// The first and the last entry of a stream; `None` if it says nothing: a stream of fillers is what setting aside leaves.
    async fn extent(&self, room: &RoomId) -> Result<Option<(StreamClock, StreamClock)>, DocumentsError> {
        let stretch = self.read_stream(room, StreamClock::ZERO, usize::MAX, &Allowance::unlimited()).await;
        let entries = stretch.map_err(|unread| unread.of_all(room))?.entries;
        let says_something = entries.iter().any(|entry| entry.message.is_some());
        Ok(entries.first().zip(entries.last()).filter(|_| says_something).map(|(first, last)| (first.clock, last.clock)))
    }
}

/// The name of a stream that is set aside: a UUID made of its room and its first entry. So whoever sets the same stream aside,
/// again after an interruption or at the same time as another, gives it the same name.
pub fn quarantine_id(room: &RoomId, first: StreamClock) -> QuarantineId {
    // FNV-1a with 128 bits. Nobody gains by a collision: it would have to be with a stream of the same room.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    };
    for part in [room.org(), room.docid(), room.branch()] {
        add(&(part.len() as u64).to_be_bytes());
        add(part.as_bytes());
    }
    add(&first.ms.to_be_bytes());
    add(&first.seq.to_be_bytes());
    // Version 4 and variant 1: others that look at these names expect that.
    let hash = hash & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{hash:032x}");
    QuarantineId(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_uuid_of_its_room_and_first_entry() {
        let of = |org: &str, docid: &str, ms| quarantine_id(&RoomId::new(org, docid, "main"), StreamClock::new(ms, 0)).0;
        let one = of("acme", "report", 5);
        assert_eq!(one, of("acme", "report", 5));
        for other in [of("acm", "ereport", 5), of("acme", "report", 6), of("report", "acme", 5)] {
            assert_ne!(one, other);
        }
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(one[14..].starts_with('4') && ['8', '9', 'a', 'b'].iter().any(|c| one[19..].starts_with(*c)), "{one}");
    }
}
