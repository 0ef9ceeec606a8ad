//! Loading a room from the embedded engines: of nothing, of either store, of both, and while they change.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use support::{Rig, collected, delete, go_on, whole, write};
use yhub_content::content_ids;
use yhub_core::{Heard, Presence, RoomId, StreamClock, StreamMessage, Variant, room::decode_presence};
use yhub_documents::DocumentsError;
use yhub_store::{
    AssetSelection, AuditRecord, DocStore, DocStoreError, StoreOutcome, StoreVersion, StoredRoom, Task, TaskEpoch, Tombstone,
    TombstoneOutcome, WorkerId,
};

#[tokio::test]
async fn a_room_of_which_nothing_is_stored_is_the_empty_document() {
    let rig = Rig::new();
    for variant in Variant::ALL {
        let loaded = rig.load(variant).await.unwrap();
        assert_eq!((&loaded.base[..], loaded.clock, loaded.awareness.len()), (&[0, 0][..], StreamClock::ZERO, 0));
        assert!(loaded.ids.is_empty());
    }
}

#[tokio::test]
async fn of_stream_rows_and_both_comes_the_same_document() {
    let rig = Rig::new();
    let updates = [write(7, 0, "hello"), go_on(7, 5, " world"), delete(7, 1, 3), write(9, 0, "x")];
    let mut last = StreamClock::ZERO;
    for (at, update) in updates.iter().enumerate() {
        last = rig.write(update, "ann").await;
        // Of the stream alone at first, then of a row alone, then of a row and the stream.
        for compact in [false, true] {
            if compact && at != 1 {
                continue;
            }
            if compact {
                rig.compact().await.unwrap();
                assert_eq!((rig.entries().await.len(), rig.rows().await.len()), (0, 1));
            }
            let [gc, nongc] = [rig.load(Variant::Gc).await.unwrap(), rig.load(Variant::Nongc).await.unwrap()];
            assert_eq!((gc.clock, nongc.clock), (last, last));
            assert_eq!(gc.ids, content_ids(&gc.base).unwrap());
            assert_eq!(whole(&[nongc.base]), whole(&updates[..=at]));
            assert_eq!(collected(&[gc.base]), collected(&updates[..=at]));
        }
    }
    // What was deleted before the row was made is not in the gc document any more.
    rig.compact().await.unwrap();
    assert!(!rig.load(Variant::Gc).await.unwrap().base.windows(3).any(|bytes| bytes == b"ell"));
    assert!(rig.load(Variant::Nongc).await.unwrap().base.windows(3).any(|bytes| bytes == b"ell"));
    assert_eq!(rig.load(Variant::Gc).await.unwrap().clock, last);
}

#[tokio::test]
async fn presence_comes_along_with_its_time() {
    let rig = Rig::new();
    let clock = rig.append(StreamMessage::encode_awareness(&[1, 7, 3, 2, b'{', b'}'])).await;
    let loaded = rig.load(Variant::Gc).await.unwrap();
    assert_eq!((&loaded.base[..], loaded.clock), (&[0, 0][..], clock));
    let [Heard { at_ms, update, .. }] = &loaded.awareness[..] else { panic!("{:?}", loaded.awareness) };
    assert_eq!(*at_ms, clock.ms);
    assert_eq!(decode_presence(update).unwrap(), [(7, Presence { clock: 3, state: Some("{}".into()), user: None })]);
}

/// Does something before the first read that reaches it, or after.
struct Between {
    docs: Arc<dyn DocStore>,
    race: Mutex<Option<Race>>,
}

struct Race {
    rig: Arc<Rig>,
    after: bool,
}

impl Race {
    async fn run(self) {
        self.rig.compact().await.unwrap();
        assert_eq!(self.rig.entries().await.len(), 0, "stored and trimmed in between");
    }
}

#[async_trait]
impl DocStore for Between {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        let race = self.race.lock().unwrap().take();
        match race {
            Some(race) if race.after => {
                let stored = self.docs.read_upto(room, assets, upto_ms).await;
                race.run().await;
                stored
            }
            Some(race) => {
                race.run().await;
                self.docs.read_upto(room, assets, upto_ms).await
            }
            None => self.docs.read_upto(room, assets, upto_ms).await,
        }
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        self.docs.store(version).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        self.docs.put_tombstone(room, tombstone, audit).await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        self.docs.check().await
    }
}

/// The stream is read before the rows. In whichever gap the compaction falls, nothing is missing.
#[tokio::test]
async fn a_compaction_between_the_two_reads_hides_nothing() {
    for after in [false, true] {
        for stored_before in [false, true] {
            let rig = Arc::new(Rig::new());
            let updates = [write(7, 0, "hello"), go_on(7, 5, " world")];
            rig.write(&updates[0], "ann").await;
            if stored_before {
                rig.compact().await.unwrap();
            }
            let last = rig.write(&updates[1], "ann").await;
            let race = Mutex::new(Some(Race { rig: rig.clone(), after }));
            let docs = Between { docs: rig.docs.clone(), race };
            let documents = rig.documents_over(rig.log.clone(), Arc::new(docs));
            let loaded = documents.load(&rig.room, Variant::Nongc).await.unwrap();
            assert_eq!(loaded.clock, last);
            assert_eq!(whole(&[loaded.base]), whole(&updates), "after: {after}, stored before: {stored_before}");
        }
    }
}

#[tokio::test]
async fn a_room_that_was_deleted_is_no_empty_document() {
    for hard in [false, true] {
        let rig = Rig::new();
        rig.write(&write(7, 0, "hello"), "ann").await;
        let tombstone = Tombstone { deleted_at_ms: 1, hard, purged_at_ms: None, by: None };
        rig.docs.put_tombstone(&rig.room, tombstone, None).await.unwrap();
        let error = rig.load(Variant::Gc).await.unwrap_err();
        assert!(matches!(&error, DocumentsError::Deleted { room } if *room == rig.room));
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_it() {
    let asset = |update: &'static [u8]| yhub_core::Asset::YDoc { update: Bytes::from_static(update) }.encode();
    for bad in [Bytes::from_static(b"no asset"), asset(b"no update")] {
        let rig = Rig::new();
        let good = asset(&[0, 0]);
        let version = StoreVersion {
            room: rig.room.clone(),
            clock: StreamClock::new(5, 0),
            assets: [bad, good.clone(), good.clone(), good],
            is_reference: [false; 4],
            replaces: Vec::new(),
            epoch: TaskEpoch(1),
        };
        rig.docs.store(version).await.unwrap();
        let error = rig.load(Variant::Gc).await.unwrap_err();
        let DocumentsError::Row { t, column: named, .. } = &error else { panic!("{error}") };
        assert_eq!((&t[..], *named), ("5-0", "gcdoc"));
        assert!(!error.is_transient());
        // The other document is another column.
        assert!(rig.load(Variant::Nongc).await.is_ok());
    }
}

/// What cannot be read is left out by a load, and stops a compaction before it stores or trims anything.
#[tokio::test]
async fn a_malformed_entry_is_left_out_and_never_trimmed() {
    let map = [0, 0];
    let malformed: [(&str, Bytes); 3] = [
        ("does not decode", Bytes::from_static(b"no message")),
        ("update", StreamMessage::encode_update(b"no update", &map).0),
        ("contentmap", StreamMessage::encode_update(&write(9, 0, "y"), b"no map").0),
    ];
    for (what, message) in malformed {
        let rig = Rig::new();
        let updates = [write(7, 0, "hello"), go_on(7, 5, " world")];
        rig.write(&updates[0], "ann").await;
        let bad = rig.append(message).await;
        let last = rig.write(&updates[1], "ann").await;
        let loaded = rig.load(Variant::Nongc).await.unwrap();
        assert_eq!(loaded.clock, last);
        // An update is right although what is said of its author is not.
        let mut expected = updates.to_vec();
        if what == "contentmap" {
            expected.push(write(9, 0, "y"));
        }
        assert_eq!(whole(&[loaded.base]), whole(&expected), "{what}");

        let error = rig.compact().await.unwrap_err().error;
        let DocumentsError::Entry { room, clock, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!((room, *clock), (&rig.room, bad), "{what}: {error}");
        assert!(!error.is_transient());
        assert_eq!((rig.entries().await.len(), rig.rows().await.len()), (3, 0), "{what}: nothing is trimmed or stored");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_a_transient_error() {
    use yhub_store::faults::{DocMethod, Fault, LogMethod};
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    let documents = rig.faulty();
    rig.log_faults.on_nth(LogMethod::Read, 1, Fault::FailBefore);
    let error = documents.load(&rig.room, Variant::Gc).await.unwrap_err();
    assert!(matches!(error, DocumentsError::Stream { .. }) && error.is_transient());
    rig.doc_faults.on_nth(DocMethod::Read, 1, Fault::FailAfter);
    let error = documents.load(&rig.room, Variant::Gc).await.unwrap_err();
    assert!(matches!(error, DocumentsError::Store { .. }) && error.is_transient());
    assert_eq!(documents.load(&rig.room, Variant::Gc).await.unwrap().base, write(7, 0, "hello"), "byte for byte");
}

/// Many pages of the stream are one document.
#[tokio::test]
async fn long_streams_are_read_in_pages() {
    let rig = Rig::new();
    let messages: Vec<Bytes> = (0..5_000u32)
        .map(|clock| {
            let update = if clock == 0 { write(7, 0, "x") } else { go_on(7, clock, "x") };
            StreamMessage::encode_update(&update, &[0, 0]).0
        })
        .collect();
    for messages in messages.chunks(1_000) {
        let append = yhub_store::Append { room: rig.room.clone(), messages: messages.to_vec(), floor: StreamClock::ZERO };
        rig.log.append(append).await.unwrap();
    }
    let loaded = rig.load(Variant::Gc).await.unwrap();
    assert_eq!(loaded.ids.inserts.id_count(), 5_000);
    assert_eq!(loaded.clock, rig.entries().await.last().unwrap().clock);
}

/// A task that nobody holds any more changes nothing in the stream.
#[tokio::test]
async fn a_task_that_was_lost_trims_nothing() {
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    rig.pass();
    let task: Task = rig.claim("first").await;
    rig.pass();
    let again = rig.claim("second").await;
    assert!(again.epoch > task.epoch);
    let documents = rig.documents();
    let lost = documents.compact(&WorkerId("first".into()), &task, Duration::ZERO).await.unwrap();
    assert_eq!(lost, yhub_documents::Compacted::Lost);
    assert_eq!(rig.entries().await.len(), 1, "the stream keeps it for the owner");
    let done = documents.compact(&WorkerId("second".into()), &again, Duration::ZERO).await.unwrap();
    assert!(matches!(done, yhub_documents::Compacted::Trimmed { trimmed: 1 }), "the first one's row is right: {done:?}");
    assert_eq!((rig.entries().await.len(), rig.rows().await.len()), (0, 1));
}
