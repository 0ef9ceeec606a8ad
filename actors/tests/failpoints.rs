//! A poison room whose way to quarantine is cut off at each of its steps: it is set aside once, under one name, and shown.

mod support;

use std::time::Duration;

use fail::FailScenario;
use support::{Rig, Settings, room};
use yhub_content::{ContentMap, content_ids};
use yhub_core::{PoisonPolicy, StreamClock, StreamMessage, Variant};
use yhub_store::{Append, AssetSelection, DocStore, StreamLog};
use yhub_testkit::TextWriter;

#[actix::test]
async fn whatever_step_is_cut_off_a_poison_room_is_set_aside_once() {
    let scenario = FailScenario::setup();
    tokio::time::pause();
    for step in ["compact::claimed", "compact::read", "work::recorded", "quarantine::recorded", "quarantine::moved"] {
        for end in ["1*return->1*off->1*return", "1*panic(on purpose)->1*off->1*panic(on purpose)"] {
            let context = format!("{step}: {end}");
            let poison = PoisonPolicy { quarantine_after: 2, ..PoisonPolicy::default() };
            let rig = Rig::with(Settings { concurrency: 1, poison, ..Settings::default() });
            let update = TextWriter::new(7).append("x");
            let map = ContentMap::attribution(&content_ids(&update).expect("an update"), Some("ann"), 1_000, &[]);
            let messages = vec![StreamMessage::encode_update(&update, &map.to_bytes()).0];
            let append = Append { room: room("doc"), messages, floor: StreamClock::ZERO };
            rig.log.append(append).await.expect("appending works");
            rig.log.poison(&room("doc")).await;
            fail::cfg(step, end).expect("a fail point");
            // Several of the longest pauses, and of the leases of workers that died.
            let hour = Duration::from_secs(3600);
            rig.within(hour, &context, |rig| rig.log.set_aside(&room("doc")) == [2] && rig.log.entry_count(&room("doc")) == 0)
                .await;
            fail::remove(step);
            let stored = rig.docs.read(&room("doc"), AssetSelection::NONE).await.expect("it can be read");
            assert_eq!(stored.quarantined.len(), 1, "{context}: one name");
            let loaded = rig.node.documents.load(&room("doc"), Variant::Gc).await.expect("it can be loaded");
            assert_eq!(loaded.ids, content_ids(&update).expect("an update"), "{context}");
        }
    }
    scenario.teardown();
}
