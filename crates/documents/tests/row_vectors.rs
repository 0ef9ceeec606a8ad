//! Rows made of streams, against what y/hub made of the same streams.
//!
//! Content maps and content ids must be the same bytes. Documents may divide or order their items otherwise: content ids,
//! state vector and the integrated result count.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;

use bytes::Bytes;
use serde_json::Value;
use support::{Rig, Row, collected, whole};
use yhub_content::{content_ids, state_vector_of};
use yhub_core::{Asset, StreamClock, StreamMessage, Variant};
use yhub_documents::Compacted;
use yhub_store::Append;
use yhub_testkit::vectors::{hex, items, list, load, text, to_hex, uint};

/// Appends a message at the clock that it had there.
async fn append_at(rig: &Rig, clock: &Value, message: Bytes) {
    let clock: StreamClock = text(clock).parse().unwrap();
    rig.time.set_ms(clock.ms);
    let floor = if clock.seq == 0 { StreamClock::ZERO } else { StreamClock::new(clock.ms, clock.seq - 1) };
    let append = Append { room: rig.room.clone(), messages: vec![message], floor };
    assert_eq!(rig.log.append(append).await.unwrap(), [clock]);
}

/// What y/hub stored.
struct Expected {
    t: String,
    gc: Vec<u8>,
    nongc: Vec<u8>,
    contentmap: String,
    contentids: String,
}

fn assert_row(row: &Row, expected: &Expected) {
    assert_eq!(row.t, expected.t);
    assert_eq!(to_hex(&row.map.to_bytes()), expected.contentmap);
    assert_eq!(to_hex(&row.ids.to_bytes()), expected.contentids);
    for (ours, theirs) in [(&row.gc[..], &expected.gc[..]), (&row.nongc[..], &expected.nongc[..])] {
        assert_eq!(content_ids(ours).unwrap(), content_ids(theirs).unwrap());
        assert_eq!(state_vector_of(ours).unwrap(), state_vector_of(theirs).unwrap());
    }
    assert_eq!(to_hex(&collected(&[&row.gc])), to_hex(&collected(&[&expected.gc])));
    assert_eq!(to_hex(&whole(&[&row.nongc])), to_hex(&whole(&[&expected.nongc])));
    // A gc document is one that was integrated and collected: nothing is left to be collected in it.
    assert_eq!(to_hex(&row.gc), to_hex(&collected(&[&row.gc])));
}

#[tokio::test]
async fn vectors_of_histories_compact_to_the_same_rows() {
    let mut rows = 0;
    for history in list(&load("history")["histories"]) {
        let rig = Rig::new();
        let steps = list(&history["steps"]);
        let mut appended = 0;
        for compaction in items(&history["compactions"]) {
            for step in &steps[appended..uint(&compaction["streamEntries"]) as usize] {
                append_at(&rig, &step["redisClock"], hex(&step["streamMessage"]).into()).await;
                appended += 1;
            }
            let row = &compaction["row"];
            let expected = Expected {
                t: text(&row["t"]).into(),
                gc: hex(&row["gcDoc"]),
                nongc: hex(&row["nongcDoc"]),
                contentmap: text(&row["contentmap"]).into(),
                contentids: text(&row["contentids"]).into(),
            };
            let done = rig.compact().await.unwrap();
            assert!(matches!(done, Compacted::Stored { upto, .. } if upto.to_string() == expected.t), "{done:?}");
            assert_row(&rig.row().await, &expected);
            assert_eq!(rig.rows().await[0].created_ms, uint(&row["created"]) as i64);
            rows += 1;
        }
        for step in &steps[appended..] {
            append_at(&rig, &step["redisClock"], hex(&step["streamMessage"]).into()).await;
        }
        // The end: the last row and the rest of the stream.
        let doc = &history["doc"];
        let nongc = rig.load(Variant::Nongc).await.unwrap();
        assert_eq!(nongc.clock.to_string(), text(&steps.last().unwrap()["redisClock"]));
        assert_eq!(to_hex(&whole(&[&nongc.base])), to_hex(&whole(&[hex(&doc["nongcDoc"])])));
        let gc = rig.load(Variant::Gc).await.unwrap();
        let theirs = hex(&doc["gcDocWithoutGcOnMerge"]);
        assert_eq!(content_ids(&gc.base).unwrap(), content_ids(&theirs).unwrap());
        // Theirs may still hold what was deleted since the first row; no client that collects sees a difference.
        assert_eq!(to_hex(&collected(&[&gc.base])), to_hex(&collected(&[&theirs])));
    }
    assert_eq!(rows, 3);
}

#[tokio::test]
async fn vectors_of_prunes_compact_to_the_same_rows() {
    let mut prunes = 0;
    for history in list(&load("history")["histories"]) {
        for query in list(&history["queries"]).iter().filter(|query| query["message"].is_string() && query["query"] == "prune") {
            let rig = Rig::new();
            for step in list(&history["steps"]) {
                append_at(&rig, &step["redisClock"], hex(&step["streamMessage"]).into()).await;
            }
            let after = &query["after"];
            append_at(&rig, &after["lastClock"], hex(&query["message"]).into()).await;
            // Whoever asks for the history does not see it any more, from then on.
            let seen = rig.load(Variant::Nongc).await.unwrap();
            assert_eq!(to_hex(&whole(&[&seen.base])), to_hex(&whole(&[hex(&after["nongcDoc"])])));
            rig.compact().await.unwrap();
            let expected = Expected {
                t: text(&after["lastClock"]).into(),
                gc: hex(&after["gcDoc"]),
                nongc: hex(&after["nongcDoc"]),
                contentmap: text(&after["contentmap"]).into(),
                contentids: text(&after["contentids"]).into(),
            };
            assert_row(&rig.row().await, &expected);
            prunes += 1;
        }
    }
    assert!(prunes >= 6, "only {prunes}");
}

#[tokio::test]
async fn vectors_of_live_streams_compact_to_the_same_rows() {
    for room in list(&load("live-deployment")["rooms"]) {
        let rig = Rig::new();
        for entry in list(&room["stream"]) {
            append_at(&rig, &entry["id"], hex(&entry["fields"]["m"]).into()).await;
        }
        let loaded = [rig.load(Variant::Gc).await.unwrap(), rig.load(Variant::Nongc).await.unwrap()];
        let [row] = list(&room["rows"]) else { panic!("one row") };
        // Of the main branch the columns hold references, and the objects are named by the asset id.
        let payload = |column: &str, name: &str| {
            let object = room["objects"]
                .as_object()
                .and_then(|objects| objects.iter().find(|(id, _)| id.starts_with(name)).map(|(_, object)| object));
            match Asset::decode(&hex(object.unwrap_or(&row[column])).into()).unwrap() {
                Asset::YDoc { update: bytes }
                | Asset::ContentMap { contentmap: bytes }
                | Asset::ContentIds { contentids: bytes } => bytes.to_vec(),
                other => panic!("{other:?}"),
            }
        };
        let prefix = |kind: &str, gc: &str| {
            let parts = [&room["room"]["org"], &room["room"]["docid"], &room["room"]["branch"]].map(text);
            format!("id:{kind}:v1/{}/{}/{}/{gc}", parts[0], parts[1], parts[2])
        };
        let expected = Expected {
            t: text(&row["t"]).into(),
            gc: payload("gcdoc", &prefix("ydoc", "1/")),
            nongc: payload("nongcdoc", &prefix("ydoc", "0/")),
            contentmap: to_hex(&payload("contentmap", &prefix("contentmap", ""))),
            contentids: to_hex(&payload("contentids", &prefix("contentids", ""))),
        };
        assert!(matches!(rig.compact().await.unwrap(), Compacted::Stored { .. }));
        assert_row(&rig.row().await, &expected);
        assert_eq!(rig.rows().await[0].created_ms, uint(&row["created"]) as i64);
        // Before and after the compaction, a join gets the same.
        for (before, variant) in loaded.iter().zip(Variant::ALL) {
            let after = rig.load(variant).await.unwrap();
            assert_eq!(before.clock, after.clock);
            assert_eq!(to_hex(&collected(&[&before.base])), to_hex(&collected(&[&after.base])));
        }
        // Presence goes with the stream, and what it says is known before.
        assert!(!loaded[0].awareness.is_empty());
        assert!(list(&room["stream"]).iter().all(|entry| {
            !matches!(StreamMessage::decode(&hex(&entry["fields"]["m"]).into()), Err(_) | Ok(StreamMessage::Unknown { .. }))
        }));
    }
}
