//! Streams that are set aside and released: they stay part of the document, whatever happens at the same time.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;
#[path = "support/turns.rs"]
mod turns;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use support::{Rig, collected, whole, write, writers};
use turns::{Comes, Gate, Gated, interleave};
use yhub_content::{ContentMap, content_ids};
use yhub_core::{StreamClock, StreamMessage, Variant};
use yhub_documents::{Compacted, Documents, QuarantineReason, SetAside, quarantine_id};
use yhub_store::{
    Append, AssetSelection, DocStore, FailureStore, Page, QuarantineId, QuarantineRecord, ReadLimit, StreamLog, WorkerId,
    faults::{Fault, LogMethod},
};

fn why(from: Option<StreamClock>) -> QuarantineReason {
    QuarantineReason { class: "entry".into(), signature: "entry: damaged".into(), reason: "damaged".into(), from }
}

async fn set_aside(documents: &Documents, rig: &Rig) -> QuarantineId {
    match documents.quarantine(&rig.room, why(None)).await.unwrap() {
        SetAside::Done { id } => id,
        other => panic!("{other:?}"),
    }
}

async fn names(rig: &Rig) -> Vec<QuarantineId> {
    rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined
}

async fn entries_of(rig: &Rig, id: &QuarantineId) -> usize {
    let limit = ReadLimit { entries: 1_000, size_bytes: 1 << 20 };
    rig.log.read_quarantined(&rig.room, id, StreamClock::ZERO, limit).await.unwrap().entries.len()
}

#[tokio::test]
async fn what_was_set_aside_is_shown_and_not_compacted_until_it_is_released() {
    let rig = Rig::new();
    let (first, second, third) = (write(7, 0, "hello"), write(9, 0, "world"), write(11, 0, "!"));
    rig.write(&first, "ann").await;
    rig.compact().await.unwrap();
    rig.write(&second, "bob").await;
    let poison = rig.append(Bytes::from_static(b"\x76garbage")).await;
    let failed = {
        rig.pass();
        let task = rig.claim("worker").await;
        rig.documents().compact(&WorkerId("worker".into()), &task, Duration::ZERO).await.unwrap_err()
    };
    assert_eq!((failed.error.class().name(), failed.upto, failed.is_transient()), ("entry", poison, false));
    let id = set_aside(&rig.documents(), &rig).await;
    assert_eq!((&id, entries_of(&rig, &id).await), (&quarantine_id(&rig.room, failed.from), 2));
    let records = rig.failures.quarantines(Page { after: None, max: 9 }).await.unwrap();
    let [QuarantineRecord { class, signature, reason, from, upto, .. }] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&class[..], &signature[..], &reason[..]), ("entry", "entry: damaged", "damaged"));
    assert_eq!((*from, *upto), (failed.from, poison));
    rig.write(&third, "cy").await;
    rig.compact().await.unwrap();
    // Not in the row, and shown all the same; what nobody can read is left out.
    assert_eq!(whole(&[rig.row().await.nongc]), whole(&[&first, &third]));
    for variant in Variant::ALL {
        let loaded = rig.load(variant).await.unwrap();
        assert_eq!(collected(&[loaded.base]), collected(&[&first, &second, &third]));
        assert!(loaded.ids.contains_all(&content_ids(&second).unwrap()), "it counts as known");
        assert_eq!(loaded.changed.to_string(), rig.row().await.t);
    }
    assert_eq!(rig.documents().release(&rig.room, &id, None).await.unwrap(), Some(2));
    assert_eq!((names(&rig).await, entries_of(&rig, &id).await), (vec![], 0));
    assert_eq!(rig.documents().release(&rig.room, &id, None).await.unwrap(), None, "again");
    assert_eq!(whole(&[rig.load(Variant::Nongc).await.unwrap().base]), whole(&[&first, &second, &third]));
}

/// Of a stream that is not moved yet.
fn record(rig: &Rig) -> QuarantineRecord {
    QuarantineRecord {
        room: rig.room.clone(),
        id: quarantine_id(&rig.room, StreamClock::new(1, 1)),
        class: "entry".into(),
        signature: "s".into(),
        reason: "r".into(),
        from: StreamClock::ZERO,
        upto: StreamClock::ZERO,
        at_ms: 1,
    }
}

#[tokio::test]
async fn a_named_stream_that_is_not_there_is_empty() {
    let rig = Rig::new();
    let update = write(7, 0, "hello");
    rig.write(&update, "ann").await;
    rig.failures.put_quarantine(&record(&rig)).await.unwrap();
    assert_eq!(whole(&[rig.load(Variant::Gc).await.unwrap().base]), whole(&[&update]));
    rig.compact().await.unwrap();
    assert_eq!(whole(&[rig.load(Variant::Gc).await.unwrap().base]), whole(&[&update]));
}

#[tokio::test]
async fn only_the_stream_that_failed_is_set_aside() {
    let rig = Rig::new();
    assert_eq!(rig.documents().quarantine(&rig.room, why(None)).await.unwrap(), SetAside::Nothing, "an empty room");
    let first = rig.write(&write(7, 0, "x"), "ann").await;
    let id = set_aside(&rig.documents(), &rig).await;
    // Only the filler is left; and then another stream than that which failed.
    assert_eq!(rig.documents().quarantine(&rig.room, why(Some(first))).await.unwrap(), SetAside::Nothing);
    rig.write(&write(9, 0, "y"), "ann").await;
    assert_eq!(rig.documents().quarantine(&rig.room, why(Some(first))).await.unwrap(), SetAside::Nothing);
    assert_eq!(names(&rig).await, vec![id]);
}

#[tokio::test]
async fn so_many_streams_are_set_aside_and_no_more() {
    let rig = Rig::new();
    for n in 0..16 {
        rig.write(&write(n + 1, 0, "x"), "ann").await;
        set_aside(&rig.documents(), &rig).await;
    }
    rig.write(&write(99, 0, "x"), "ann").await;
    assert_eq!(rig.documents().quarantine(&rig.room, why(None)).await.unwrap(), SetAside::TooMany { count: 16 });
    let loaded = rig.load(Variant::Gc).await.unwrap();
    assert_eq!(loaded.ids.inserts.id_count(), 17);
}

/// Whatever is interrupted, doing it again ends in the same place.
#[tokio::test]
async fn an_interrupted_quarantine_is_brought_to_its_end() {
    for fault in [Fault::FailBefore, Fault::FailAfter] {
        let rig = Rig::new();
        let update = write(7, 0, "x");
        let first = rig.write(&update, "ann").await;
        rig.log_faults.on_nth(LogMethod::Quarantine, 1, fault);
        rig.faulty().quarantine(&rig.room, why(Some(first))).await.unwrap_err();
        let id = quarantine_id(&rig.room, first);
        assert_eq!(names(&rig).await, std::slice::from_ref(&id), "on record before it is moved");
        assert_eq!(whole(&[rig.load(Variant::Gc).await.unwrap().base]), whole(&[&update]), "{fault:?}");
        let again = rig.faulty().quarantine(&rig.room, why(Some(first))).await.unwrap();
        let expected = if fault == Fault::FailBefore { SetAside::Done { id: id.clone() } } else { SetAside::Nothing };
        assert_eq!((again, names(&rig).await, entries_of(&rig, &id).await), (expected, vec![id.clone()], 1));
        assert_eq!(whole(&[rig.load(Variant::Gc).await.unwrap().base]), whole(&[&update]), "{fault:?}");
        // And the way back.
        rig.log_faults.on_nth(LogMethod::Release, 1, fault);
        rig.faulty().release(&rig.room, &id, None).await.unwrap_err();
        assert_eq!(whole(&[rig.load(Variant::Gc).await.unwrap().base]), whole(&[&update]), "{fault:?}");
        rig.faulty().release(&rig.room, &id, None).await.unwrap();
        assert_eq!((names(&rig).await, entries_of(&rig, &id).await), (vec![], 0));
        rig.compact().await.unwrap();
        assert_eq!(writers(&rig.row().await.map, 7), ["ann"]);
    }
}

#[tokio::test]
async fn the_stores_hold_what_is_in_the_stream_in_a_row_or_set_aside() {
    let rig = Rig::new();
    let documents = rig.documents();
    let lost = StreamClock::new(u64::from(u32::MAX), 3);
    assert!(documents.holds(&rig.room, StreamClock::ZERO).await.unwrap() && !documents.holds(&rig.room, lost).await.unwrap());
    let first = rig.write(&write(7, 0, "x"), "ann").await;
    assert!(documents.holds(&rig.room, first).await.unwrap(), "in the stream");
    rig.compact().await.unwrap();
    assert!(documents.holds(&rig.room, first).await.unwrap(), "in a row");
    let second = rig.write(&write(9, 0, "y"), "ann").await;
    set_aside(&documents, &rig).await;
    assert!(documents.holds(&rig.room, second).await.unwrap(), "set aside");
    // Another log, that has nothing: what was set aside is lost, whatever the rows reach.
    let other = Rig::new();
    let emptied = rig.documents_over(other.log.clone(), rig.docs.clone());
    assert!(!emptied.holds(&rig.room, second).await.unwrap());
    rig.write(&write(11, 0, "z"), "ann").await;
    rig.compact().await.unwrap();
    assert!(!emptied.holds(&rig.room, second).await.unwrap(), "a later row does not hold it");
    let id = names(&rig).await.remove(0);
    documents.release(&rig.room, &id, None).await.unwrap();
    assert!(emptied.holds(&rig.room, first).await.unwrap(), "the row does");
}

/// Between the read of the rows, which name it, and its own, what was set aside is released, and maybe compacted as well.
#[tokio::test]
async fn a_release_in_the_middle_of_a_load_hides_nothing() {
    for compacted in [false, true] {
        let rig = Arc::new(Rig::new());
        let updates = [write(7, 0, "hello"), write(9, 0, "world")];
        rig.write(&updates[0], "ann").await;
        let id = set_aside(&rig.documents(), &rig).await;
        rig.write(&updates[1], "bob").await;
        rig.log_faults.on_nth(LogMethod::ReadQuarantined, 1, Fault::Hang);
        let load = tokio::spawn({
            let rig = rig.clone();
            async move { rig.faulty().load(&rig.room, Variant::Gc).await }
        });
        while rig.log_faults.calls(LogMethod::ReadQuarantined) == 0 {
            tokio::task::yield_now().await;
        }
        rig.documents().release(&rig.room, &id, None).await.unwrap();
        if compacted {
            rig.compact().await.unwrap();
            assert!(rig.entries().await.is_empty());
        }
        while !load.is_finished() {
            rig.log_faults.release();
            tokio::task::yield_now().await;
        }
        let loaded = load.await.unwrap().unwrap();
        assert_eq!(whole(&[loaded.base]), whole(&updates), "compacted: {compacted}");
        assert_eq!(loaded.clock, rig.load(Variant::Gc).await.unwrap().clock);
    }
}

/// What is set aside in the middle of a load may lie beyond what was compacted meanwhile: the load does not reach its clocks.
#[tokio::test]
async fn a_load_reaches_no_further_than_it_has_read() {
    let rig = Arc::new(Rig::new());
    rig.write(&write(7, 0, "read"), "ann").await;
    let record = record(&rig);
    rig.failures.put_quarantine(&record).await.unwrap();
    rig.log_faults.on_nth(LogMethod::ReadQuarantined, 1, Fault::Hang);
    let load = tokio::spawn({
        let rig = rig.clone();
        async move { rig.faulty().load(&rig.room, Variant::Gc).await }
    });
    while rig.log_faults.calls(LogMethod::ReadQuarantined) == 0 {
        tokio::task::yield_now().await;
    }
    let missed = write(9, 0, "missed");
    let missed_at = rig.write(&missed, "bob").await;
    rig.compact().await.unwrap();
    rig.write(&write(11, 0, "aside"), "cy").await;
    assert!(rig.log.quarantine(&rig.room, &record.id).await.unwrap());
    while !load.is_finished() {
        rig.log_faults.release();
        tokio::task::yield_now().await;
    }
    let loaded = load.await.unwrap().unwrap();
    assert!(!loaded.ids.contains_all(&content_ids(&missed).unwrap()) && loaded.clock < missed_at, "who follows is told");
    let limit = ReadLimit { entries: 9, size_bytes: 1 << 20 };
    assert!(rig.log.read(&rig.room, loaded.clock, limit).await.unwrap().trimmed_upto > loaded.clock);
}

/// What was recorded and never moved is forgotten by a release, and not before whoever may be about to move it has done so.
#[tokio::test]
async fn a_release_waits_for_a_quarantine_that_is_under_way() {
    let rig = Arc::new(Rig::new());
    let update = write(7, 0, "x");
    let first = rig.write(&update, "ann").await;
    let id = quarantine_id(&rig.room, first);
    rig.log_faults.on_nth(LogMethod::Quarantine, 1, Fault::Hang);
    let quarantine = tokio::spawn({
        let rig = rig.clone();
        async move { rig.faulty().quarantine(&rig.room, why(None)).await }
    });
    while names(&rig).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let release = tokio::spawn({
        let (rig, id) = (rig.clone(), id.clone());
        async move { rig.faulty().release(&rig.room, &id, None).await }
    });
    while rig.log_faults.calls(LogMethod::Release) == 0 {
        tokio::task::yield_now().await;
    }
    while !quarantine.is_finished() {
        rig.log_faults.release();
        tokio::task::yield_now().await;
    }
    assert_eq!(quarantine.await.unwrap().unwrap(), SetAside::Done { id: id.clone() });
    assert_eq!(release.await.unwrap().unwrap(), Some(1), "it waited");
    assert_eq!(names(&rig).await, []);
    // And what nobody moves is forgotten.
    rig.doc_faults.clear();
    rig.log_faults.on_nth(LogMethod::Quarantine, 1, Fault::FailBefore);
    rig.faulty().quarantine(&rig.room, why(None)).await.unwrap_err();
    let [id] = <[QuarantineId; 1]>::try_from(names(&rig).await).unwrap();
    assert_eq!(rig.documents().release(&rig.room, &id, None).await.unwrap(), None);
    assert_eq!((names(&rig).await, whole(&[rig.load(Variant::Gc).await.unwrap().base])), (vec![], whole(&[&update])));
}

/// A log that has lost its epochs.
#[tokio::test]
async fn a_claim_below_what_has_stored_is_given_back_and_the_next_is_above() {
    let rig = Rig::new();
    for round in 0..3u32 {
        rig.write(&write(7 + u64::from(round), 0, "x"), "ann").await;
        rig.compact().await.unwrap();
    }
    // The same document store with another log, whose time is behind, and who writes knows how far the room was.
    let other = Rig::new();
    let documents = other.documents_over(other.log.clone(), rig.docs.clone());
    let floor = rig.row().await.t.parse().unwrap();
    let update = write(99, 0, "y");
    let map = ContentMap::attribution(&content_ids(&update).unwrap(), Some("ann"), 1_000, &[]);
    let messages = vec![StreamMessage::encode_update(&update, &map.to_bytes()).0];
    other.log.append(Append { room: other.room.clone(), messages, floor }).await.unwrap();
    let worker = WorkerId("worker".into());
    let task = other.claim("worker").await;
    let done = documents.compact(&worker, &task, Duration::ZERO).await.unwrap();
    let Compacted::GivenBack { above } = done else { panic!("{done:?}") };
    // At once, and above.
    let next = other.claim("worker").await;
    assert!(next.epoch > above && above > task.epoch);
    assert!(matches!(documents.compact(&worker, &next, Duration::ZERO).await.unwrap(), Compacted::Stored { .. }));
    assert_eq!(
        whole(&[rig.row().await.nongc]),
        whole(&[write(7, 0, "x"), write(8, 0, "x"), write(9, 0, "x"), write(99, 0, "y")])
    );
}

/// Everything that people do at once.
struct World {
    rig: Rig,
    accepted: Mutex<Vec<Vec<u8>>>,
    /// How often a release began or ended.
    releases: Mutex<u64>,
    loads: Mutex<u64>,
}

impl World {
    fn documents(&self, gate: &Gate) -> Documents {
        let log: Arc<dyn StreamLog> = Arc::new(Gated::<dyn StreamLog> { inner: self.rig.log.clone(), gate: gate.clone() });
        let docs: Arc<dyn DocStore> = Arc::new(Gated::<dyn DocStore> { inner: self.rig.docs.clone(), gate: gate.clone() });
        let failures: Arc<dyn FailureStore> =
            Arc::new(Gated::<dyn FailureStore> { inner: self.rig.failures.clone(), gate: gate.clone() });
        self.rig.documents_of(log, docs, failures)
    }

    fn accepted(&self) -> Vec<Vec<u8>> {
        self.accepted.lock().unwrap().clone()
    }

    async fn write(self: Arc<Self>, gate: Gate) {
        for n in 0..6 {
            gate.turn().await;
            let update = write(100 + n, 0, "x");
            self.rig.write(&update, &format!("user-{n}")).await;
            self.accepted.lock().unwrap().push(update);
            self.rig.time.advance(Duration::from_millis(5));
        }
    }

    /// Takes whatever task there is, also another's: as if that one had been stopped for longer than its lease.
    async fn compact(self: Arc<Self>, gate: Gate, name: &'static str) {
        let (documents, worker) = (self.documents(&gate), WorkerId(name.into()));
        for _ in 0..4 {
            let tasks = documents.log().claim(&worker, 1, Duration::ZERO, Duration::ZERO).await.unwrap();
            for task in &tasks {
                documents.compact(&worker, task, Duration::ZERO).await.unwrap();
            }
        }
    }

    async fn quarantine(self: Arc<Self>, gate: Gate) {
        let documents = self.documents(&gate);
        for _ in 0..3 {
            documents.quarantine(&self.rig.room, why(None)).await.unwrap();
        }
    }

    async fn release(self: Arc<Self>, gate: Gate) {
        let documents = self.documents(&gate);
        for _ in 0..3 {
            gate.turn().await;
            for id in names(&self.rig).await {
                // What is on record and not moved yet is on its way: a release waits for that, for longer than turns can last.
                if entries_of(&self.rig, &id).await == 0 {
                    continue;
                }
                *self.releases.lock().unwrap() += 1;
                documents.release(&self.rig.room, &id, None).await.unwrap();
                *self.releases.lock().unwrap() += 1;
            }
        }
    }

    /// Laws of a load: it shows all that was accepted before it began, unless something is released meanwhile; then what it
    /// lacks comes after its clock to who follows the room from there, or they are told of a gap.
    async fn load(self: Arc<Self>, gate: Gate, seed: u64) {
        let documents = self.documents(&gate);
        for round in 0..5 {
            gate.turn().await;
            let (before, releases) = (self.accepted(), *self.releases.lock().unwrap());
            let loaded = documents.load(&self.rig.room, Variant::Nongc).await.unwrap();
            let lacks = |ids: &yhub_content::ContentIds| {
                before.iter().filter(|update| !ids.contains_all(&content_ids(update).unwrap())).count()
            };
            let context = format!("seed {seed}, load {round}, clock {}", loaded.clock);
            if releases % 2 == 0 && releases == *self.releases.lock().unwrap() {
                assert_eq!(lacks(&loaded.ids), 0, "{context}");
            }
            let limit = ReadLimit { entries: 1_000, size_bytes: 1 << 20 };
            let page = self.rig.log.read(&self.rig.room, loaded.clock, limit).await.unwrap();
            let mut ids = loaded.ids;
            for entry in page.entries {
                if let Some(StreamMessage::Update { update, .. }) = entry.message.map(|m| StreamMessage::decode(&m).unwrap()) {
                    ids.insert_all(&content_ids(&update).unwrap());
                }
            }
            assert!(page.trimmed_upto > loaded.clock || lacks(&ids) == 0, "{context}: lost for who follows");
            *self.loads.lock().unwrap() += 1;
        }
    }
}

async fn at_once(seed: u64, with_release: bool) {
    let world =
        Arc::new(World { rig: Rig::new(), accepted: Mutex::default(), releases: Mutex::default(), loads: Mutex::default() });
    let of = |world: &Arc<World>| world.clone();
    let (a, b, c, d, e, f) = (of(&world), of(&world), of(&world), of(&world), of(&world), of(&world));
    let mut people: Vec<Comes> = vec![
        Box::new(move |gate| Box::pin(a.write(gate))),
        Box::new(move |gate| Box::pin(b.compact(gate, "one"))),
        Box::new(move |gate| Box::pin(c.compact(gate, "other"))),
        Box::new(move |gate| Box::pin(d.quarantine(gate))),
        Box::new(move |gate| Box::pin(e.load(gate, seed))),
    ];
    if with_release {
        people.push(Box::new(move |gate| Box::pin(f.release(gate))));
    }
    interleave(seed, people).await;
    assert_eq!(*world.loads.lock().unwrap(), 5);
    // When all is quiet: everything is shown; and once all is released and compacted, it is in the rows, as first attributed.
    let rig = &world.rig;
    let accepted = world.accepted();
    assert_eq!(whole(&[rig.load(Variant::Nongc).await.unwrap().base]), whole(&accepted), "seed {seed}");
    for id in names(rig).await {
        if entries_of(rig, &id).await == 0 {
            continue;
        }
        rig.documents().release(&rig.room, &id, None).await.unwrap();
    }
    for _ in 0..4 {
        rig.pass();
        let tasks = rig.log.claim(&WorkerId("last".into()), 9, Duration::ZERO, support::LEASE).await.unwrap();
        for task in &tasks {
            rig.documents().compact(&WorkerId("last".into()), task, Duration::ZERO).await.unwrap();
        }
    }
    assert!(rig.entries().await.is_empty(), "seed {seed}: the stream drains");
    let rows: Vec<_> = rig.rows().await.into_iter().map(support::Row::open).collect();
    let documents: Vec<_> = rows.iter().map(|row| row.nongc.clone()).collect();
    assert_eq!(whole(&documents), whole(&accepted), "seed {seed}");
    let last = rows.last().expect("a row");
    for n in 0..6 {
        assert_eq!(writers(&last.map, 100 + n), [format!("user-{n}")], "seed {seed}");
    }
}

#[tokio::test]
async fn whatever_happens_at_once_no_load_misses_anything() {
    for seed in 0..60 {
        at_once(seed, false).await;
    }
}

#[tokio::test]
async fn nor_while_streams_are_released() {
    for seed in 1_000..1_060 {
        at_once(seed, true).await;
    }
}
