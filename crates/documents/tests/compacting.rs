//! What a compaction stores: the four assets, whose attribution they hold, and what must survive them.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Rig, collected, delete, go_on, whole, write, writers};
use yhub_content::{ContentMap, content_ids};
use yhub_core::{Asset, StreamClock, StreamMessage, Variant};
use yhub_documents::Compacted;
use yhub_encoding::{Any, write_var_uint};
use yhub_store::{StoreOutcome, StoreVersion, Tombstone, WorkerId};

#[tokio::test]
async fn a_row_holds_the_four_assets_of_the_format() {
    let rig = Rig::new();
    let updates = [write(7, 0, "hello"), delete(7, 1, 3), write(9, 0, "x")];
    let mut last = StreamClock::ZERO;
    for (update, user) in updates.iter().zip(["ann", "bob", "cy"]) {
        last = rig.write(update, user).await;
    }
    let done = rig.compact().await.unwrap();
    assert_eq!(done, Compacted::Stored { upto: last, trimmed: 3 });
    let [stored] = &rig.rows().await[..] else { panic!("one row") };
    assert_eq!((&stored.t, stored.created_ms, stored.is_reference), (&last.to_string(), last.ms as i64, [false; 4]));
    let kinds = [
        ("asset:ydoc:v1", "update"),
        ("asset:ydoc:v1", "update"),
        ("asset:contentmap:v1", "contentmap"),
        ("asset:contentids:v1", "contentids"),
    ];
    for (asset, (kind, key)) in stored.assets.iter().zip(kinds) {
        let bytes = asset.as_ref().unwrap();
        let Any::Object(object) = Any::from_bytes(bytes).unwrap() else { panic!("no object") };
        let keys: Vec<&str> = object.iter().map(|(key, _)| key).collect();
        assert_eq!((keys, object.get("type")), (vec!["type", key], Some(&Any::from(kind))));
        assert!(matches!(object.get(key), Some(Any::Bytes(_))));
        assert_eq!(&Asset::decode(bytes).unwrap().encode(), bytes, "byte for byte what is written here");
    }
    let row = rig.row().await;
    assert_eq!((&row.gc[..], whole(&[&row.nongc])), (&collected(&updates)[..], whole(&updates)));
    assert_eq!(row.ids, row.map.to_ids());
    let ids = updates.iter().map(|update| content_ids(update).unwrap());
    assert_eq!(
        row.ids,
        ids.reduce(|mut all, ids| {
            all.insert_all(&ids);
            all
        })
        .unwrap()
    );
    assert_eq!((writers(&row.map, 7), writers(&row.map, 9)), (vec!["ann".to_owned(); 5], vec!["cy".to_owned()]));
}

/// I-6, also over several rows, and for content of which only a part is new.
#[tokio::test]
async fn the_first_writer_keeps_the_attribution() {
    let rig = Rig::new();
    rig.write(&write(7, 0, "ab"), "ann").await;
    rig.write(&write(7, 0, "abc"), "bob").await;
    rig.write(&delete(7, 0, 1), "cy").await;
    rig.compact().await.unwrap();
    for _ in 0..2 {
        // A client that repeats all it has, through somebody else.
        rig.write(&write(7, 0, "abcd"), "dan").await;
        rig.write(&delete(7, 0, 2), "dan").await;
        rig.compact().await.unwrap();
    }
    let row = rig.row().await;
    assert_eq!(writers(&row.map, 7), ["ann", "ann", "bob", "dan"]);
    let deleters: Vec<_> = row
        .map
        .deletes
        .iter()
        .map(|(client, range, attributes)| (client, range.clock(), range.len(), attributes.values("delete").next().cloned()))
        .collect();
    assert_eq!(deleters, [(7, 0, 1, Some(Any::from("cy"))), (7, 1, 1, Some(Any::from("dan")))]);
}

/// What refers to something that is missing is kept through any number of compactions, and healed when that comes.
#[tokio::test]
async fn pending_structs_and_deletes_survive() {
    let rig = Rig::new();
    // In the order in which they come: the first characters of client 7, and what is deleted of client 9, come last.
    let updates = [go_on(7, 5, " world"), delete(9, 2, 2), go_on(7, 11, "!"), write(9, 0, "abcdef"), write(7, 0, "hello")];
    for (at, update) in updates.iter().enumerate() {
        rig.write(update, &format!("user-{at}")).await;
        rig.compact().await.unwrap();
        let row = rig.row().await;
        assert_eq!(whole(&[&row.nongc]), whole(&updates[..=at]), "after {at}");
        assert_eq!(collected(&[&row.gc]), collected(&updates[..=at]), "after {at}");
        for variant in Variant::ALL {
            let loaded = rig.load(variant).await.unwrap();
            assert_eq!(whole(&[collected(&[loaded.base])]), whole(&[collected(&updates[..=at])]));
        }
    }
    let row = rig.row().await;
    assert_eq!(writers(&row.map, 7)[4..7], ["user-4", "user-0", "user-0"]);
    // Healed: nothing waits any more, so a state vector reaches the end.
    assert_eq!(yhub_content::state_vector_of(&row.gc).unwrap().get(7), 12);
}

/// Values that other implementations change when they read and write them, one struct each.
fn odd_values() -> Vec<(&'static str, Vec<u8>)> {
    let of = |clock: u64, content: &[u8]| {
        let mut out = Vec::new();
        for value in [1, 1, 5, clock] {
            write_var_uint(&mut out, value);
        }
        out.extend(content);
        out.push(0);
        out
    };
    // Content 8 is a list of any values, 7 a type; both in the root `t`.
    let any = |clock, value: Any| {
        let mut content = vec![8, 1, 1, b't', 1];
        content.extend(value.to_bytes());
        of(clock, &content)
    };
    let ordered: yhub_encoding::Object = [("z", Any::Null), ("a", Any::Undefined), ("10", Any::from(1.0))].into_iter().collect();
    vec![
        ("bigint", any(0, Any::BigInt(i64::MIN))),
        ("-0", any(1, Any::Number(-0.0))),
        ("keys out of order", any(2, Any::Object(ordered))),
        ("xml hook", of(3, &[7, 1, 1, b't', 5, 4, b'h', b'o', b'o', b'k'])),
        ("a subdocument", {
            let mut content = vec![9, 1, 1, b't', 4, b'g', b'u', b'i', b'd'];
            content
                .extend(Any::Object([("autoLoad", Any::Bool(true)), ("meta", Any::BigInt(7))].into_iter().collect()).to_bytes());
            of(4, &content)
        }),
    ]
}

#[tokio::test]
async fn odd_values_come_back_byte_for_byte() {
    let rig = Rig::new();
    let values = odd_values();
    for (_, update) in &values {
        yhub_content::check_update(update, &yhub_content::Limits::default()).unwrap();
        rig.write(update, "ann").await;
    }
    let is_there = |document: &[u8], when: &str| {
        for (what, update) in &values {
            // All but the header and the empty delete set.
            let content = &update[4..update.len() - 1];
            // A document may refer to the neighbour instead of the root: what counts is the value.
            let value = &content[4..];
            assert!(document.windows(value.len()).any(|bytes| bytes == value), "{what} {when}");
        }
    };
    for variant in Variant::ALL {
        is_there(&rig.load(variant).await.unwrap().base, "loaded from the stream");
    }
    for round in 0..2 {
        rig.compact().await.unwrap();
        let row = rig.row().await;
        is_there(&row.gc, "in the gc document");
        is_there(&row.nongc, "in the nongc document");
        for variant in Variant::ALL {
            is_there(&rig.load(variant).await.unwrap().base, "loaded from the row");
        }
        rig.write(&write(100 + round, 0, "x"), "bob").await;
    }
}

/// A single update that was never merged is stored as it came.
#[tokio::test]
async fn a_lone_update_is_stored_as_it_came() {
    for (what, update) in odd_values().into_iter().take(1) {
        let rig = Rig::new();
        rig.write(&update, "ann").await;
        rig.compact().await.unwrap();
        assert_eq!(rig.row().await.nongc, update, "{what}");
        assert_eq!(rig.load(Variant::Nongc).await.unwrap().base, update, "{what}");
    }
}

#[tokio::test]
async fn presence_is_trimmed_and_never_stored() {
    let rig = Rig::new();
    let awareness = StreamMessage::encode_awareness(&[1, 7, 3, 2, b'{', b'}']);
    rig.append(awareness.clone()).await;
    assert_eq!(rig.compact().await.unwrap(), Compacted::Trimmed { trimmed: 1 });
    assert!(rig.rows().await.is_empty());
    let update = write(7, 0, "hello");
    rig.write(&update, "ann").await;
    let last = rig.append(awareness).await;
    // The row reaches the last line of any kind.
    assert_eq!(rig.compact().await.unwrap(), Compacted::Stored { upto: last, trimmed: 2 });
    assert_eq!(rig.row().await.nongc, update);
}

#[tokio::test]
async fn what_is_young_stays_in_the_stream_and_is_stored_once() {
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    let worker = WorkerId("worker".into());
    for round in 0..3 {
        let task = rig.claim("worker").await;
        let done = rig.documents().compact(&worker, &task, Duration::from_secs(60)).await.unwrap();
        let expected = if round == 0 {
            Compacted::Stored { upto: rig.entries().await[0].clock, trimmed: 0 }
        } else {
            Compacted::Trimmed { trimmed: 0 }
        };
        assert_eq!(done, expected);
        assert_eq!((rig.entries().await.len(), rig.rows().await.len()), (1, 1));
        rig.time.advance(Duration::from_secs(1));
    }
    rig.time.advance(Duration::from_secs(120));
    let task = rig.claim("worker").await;
    let done = rig.documents().compact(&worker, &task, Duration::from_secs(60)).await.unwrap();
    assert_eq!((done, rig.entries().await.len()), (Compacted::Trimmed { trimmed: 1 }, 0));
}

fn tombstone(hard: bool) -> Tombstone {
    Tombstone { deleted_at_ms: 1, hard, purged_at_ms: None, by: None }
}

/// I-5: nothing of a room that was deleted for good is stored; a soft deletion keeps everything.
#[tokio::test]
async fn a_room_deleted_for_good_is_never_stored() {
    for hard in [true, false] {
        let rig = Rig::new();
        rig.write(&write(7, 0, "hello"), "ann").await;
        rig.docs.put_tombstone(&rig.room, tombstone(hard), None).await.unwrap();
        let done = rig.compact().await.unwrap();
        assert_eq!(matches!(done, Compacted::Trimmed { trimmed: 1 }), hard, "{done:?}");
        assert_eq!((rig.content().await.len(), rig.rows().await.len()), (0, usize::from(!hard)));
    }
}

/// Its end is not held up by what cannot be read: it is trimmed all the same.
#[tokio::test]
async fn a_room_deleted_for_good_is_trimmed_whatever_it_holds() {
    let rig = Rig::new();
    rig.append(Bytes::from_static(b"no message")).await;
    rig.write(&write(7, 0, "hello"), "ann").await;
    rig.docs.put_tombstone(&rig.room, tombstone(true), None).await.unwrap();
    assert!(matches!(rig.compact().await.unwrap(), Compacted::Trimmed { trimmed: 2 }));
    assert_eq!((rig.content().await.len(), rig.rows().await.len()), (0, 0));
}

/// The deletion comes when everything is read and nothing stored: the store's barrier holds.
#[tokio::test]
async fn a_deletion_while_it_is_being_compacted_wins() {
    use yhub_store::faults::{DocMethod, Fault};
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    rig.pass();
    let task = rig.claim("worker").await;
    rig.doc_faults.on_nth(DocMethod::Store, 1, Fault::Hang);
    let (documents, worker) = (rig.faulty(), WorkerId("worker".into()));
    let compaction = documents.compact(&worker, &task, Duration::ZERO);
    let deletion = async {
        while rig.doc_faults.calls(DocMethod::Store) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.docs.put_tombstone(&rig.room, tombstone(true), None).await.unwrap();
        rig.doc_faults.release();
    };
    let (done, ()) = tokio::join!(compaction, deletion);
    assert_eq!(done.unwrap(), Compacted::Trimmed { trimmed: 1 });
    assert_eq!((rig.entries().await.len(), rig.rows().await.len()), (0, 0));
}

/// Whoever claims later fences off who claimed before, however late that one stores.
#[tokio::test]
async fn a_superseded_worker_stores_nothing() {
    use yhub_store::faults::{DocMethod, Fault};
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    rig.pass();
    let task = rig.claim("slow").await;
    rig.doc_faults.on_nth(DocMethod::Store, 1, Fault::Hang);
    let (documents, slow) = (rig.faulty(), WorkerId("slow".into()));
    let compaction = documents.compact(&slow, &task, Duration::ZERO);
    let takeover = async {
        while rig.doc_faults.calls(DocMethod::Store) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // More has come since; the next owner stores that too.
        rig.write(&go_on(7, 5, " world"), "bob").await;
        rig.compact().await.unwrap();
        rig.doc_faults.release();
    };
    let (done, ()) = tokio::join!(compaction, takeover);
    assert_eq!(done.unwrap(), Compacted::Lost);
    let row = rig.row().await;
    assert_eq!(whole(&[&row.nongc]), whole(&[write(7, 0, "hello"), go_on(7, 5, " world")]));
}

/// A row that another engine stored under an odd key is replaced like any other.
#[tokio::test]
async fn imported_rows_are_replaced() {
    let rig = Rig::new();
    let update = Bytes::from(write(7, 0, "hello"));
    let ids = content_ids(&update).unwrap();
    let map = ContentMap::attribution(&ids, Some("ann"), 5, &[]);
    let document = Asset::YDoc { update }.encode();
    let version = StoreVersion {
        room: rig.room.clone(),
        clock: StreamClock::new(5, 0),
        assets: [
            document.clone(),
            document,
            Asset::ContentMap { contentmap: map.to_bytes().into() }.encode(),
            Asset::ContentIds { contentids: ids.to_bytes().into() }.encode(),
        ],
        is_reference: [false; 4],
        replaces: Vec::new(),
        epoch: yhub_store::TaskEpoch(0),
    };
    assert_eq!(rig.docs.store(version).await.unwrap(), StoreOutcome::Stored);
    let last = rig.write(&write(7, 0, "hello!"), "bob").await;
    rig.compact().await.unwrap();
    let row = rig.row().await;
    assert_eq!(row.t, last.to_string());
    assert_eq!(writers(&row.map, 7), ["ann", "ann", "ann", "ann", "ann", "bob"]);
}
