//! Who gets which part of a document, when, and in which messages.

use std::time::Duration;

use yhub::config::{Everyone, Millis};
use yhub_content::{StateVector, content_ids};
use yhub_encoding::sync::{self, Message};
use yhub_testkit::{Oracle, TextWriter, until, updates::state_vector};

use crate::support::{Stage, TestHub};

on_all!(
    the_answer_is_the_difference,
    who_does_not_ask_gets_everything,
    the_hub_asks_for_what_it_lacks,
    everything_is_echoed_and_comes_once_a_frame,
    what_the_room_holds_is_not_appended_again,
    every_repeated_question_is_answered,
    branches_and_orgs_are_separate,
    history_is_for_who_asks_for_it,
    a_reader_is_present_and_cannot_write,
    a_big_document_arrives_whole,
    many_writers_converge,
);

async fn the_answer_is_the_difference(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let (mut ann, mut bob) = (TextWriter::new(7), TextWriter::new(8));
    let mut client = hub.client("diff").await;
    client.sync().await;
    let long = ann.append(&"long ".repeat(2_000));
    let updates = [long.clone(), ann.append("short"), bob.append("other")];
    for update in &updates {
        client.send_update(update).await;
        client.shown(update).await;
    }
    let mut reader = hub.client("diff").await;
    let all = reader.sync().await;
    assert_eq!(Oracle::of([&all]).text(), Oracle::of(&updates).text());

    // Who has everything but five letters gets five letters.
    let known = state_vector(&[(ann.client(), 10_000), (bob.client(), bob.clock())]);
    let rest = reader.sync_from(&known).await;
    assert!(rest.len() < 64, "{} bytes for five letters", rest.len());
    assert_eq!(Oracle::of([&long, &updates[2], &rest]).text(), Oracle::of(&updates).text());
    let nothing = reader.sync_from(&state_vector(&[(ann.client(), ann.clock()), (bob.client(), bob.clock())])).await;
    assert_eq!(nothing, [0, 0]);
    // A part of a run is cut where the client stands.
    let cut = reader.sync_from(&state_vector(&[(ann.client(), 9_990), (bob.client(), bob.clock())])).await;
    assert!(cut.len() < 128, "{} bytes for fifteen letters", cut.len());
}

async fn who_does_not_ask_gets_everything(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let update = TextWriter::new(7).append("hello");
    let mut client = hub.client("silent").await;
    client.sync().await;
    client.send_update(&update).await;
    client.shown(&update).await;

    let mut silent = hub.client("silent").await;
    let everything = silent.step2().await;
    assert_eq!(Oracle::of([&everything]).text(), "hello");
    // From there on it is like everyone else.
    let more = TextWriter::new(8).append("more");
    client.send_update(&more).await;
    silent.shown(&more).await;
}

async fn the_hub_asks_for_what_it_lacks(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    let (known, offline) = (writer.append("known"), writer.append(" offline"));
    let mut client = hub.client("asks").await;
    client.sync().await;
    client.send_update(&known).await;
    client.shown(&known).await;

    let mut back = hub.client("asks").await;
    let asked = back.until("step 1", |message| match message {
        Message::SyncStep1(state_vector) => Some(StateVector::from_bytes(state_vector).unwrap()),
        _ => None,
    });
    assert_eq!(asked.await.iter().collect::<Vec<_>>(), [(7, 5)]);
    back.send(&sync::step2(&offline)).await;
    client.shown(&offline).await;
}

async fn everything_is_echoed_and_comes_once_a_frame(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    let mut author = hub.client("echo").await;
    let mut reader = hub.client("echo").await;
    author.sync().await;
    reader.sync().await;
    let updates: Vec<_> = (0..200).map(|n| writer.append(&format!("{n},"))).collect();
    for update in &updates {
        author.send_update(update).await;
    }
    for client in [&mut author, &mut reader] {
        for update in &updates {
            let message = client.next().await.unwrap();
            // Older clients read one message of a frame: there must be no second one behind it.
            assert_eq!(message, sync::update(update), "in order, each in a frame of its own");
        }
    }
}

async fn what_the_room_holds_is_not_appended_again(stage: Stage) {
    // Nothing is trimmed while we look.
    let hub = TestHub::with(stage, |config| config.worker.task_debounce_ms = Millis::new(3_600_000)).await;
    let mut writer = TextWriter::new(7);
    let updates = [writer.append("one"), writer.append("two"), writer.delete(1, 1)];
    let mut client = hub.client("twice").await;
    client.sync().await;
    for update in &updates {
        client.send_update(update).await;
        client.shown(update).await;
    }
    let mut other = hub.client("twice").await;
    let all = other.sync().await;
    for _ in 0..5 {
        for update in updates.iter().chain([&all]) {
            // Newer clients show "saved" from the echo: a repetition has one too.
            other.send_update(update).await;
            other.shown(update).await;
            client.send(&sync::step2(update)).await;
        }
    }
    client.sync().await;
    assert_eq!(hub.stream_updates("twice").await, updates);
}

async fn every_repeated_question_is_answered(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    let mut client = hub.client("again").await;
    for round in 0..20 {
        let update = writer.append("x");
        client.send_update(&update).await;
        // Whether the update is in this answer depends on when it is stored; later ones hold it.
        let answer = client.sync().await;
        let text = Oracle::of([&answer]).text();
        assert!((round..=round + 1).contains(&text.len()), "round {round}: {text}");
        until("the update to be in an answer", async || {
            let answer = client.sync().await;
            (Oracle::of([&answer]).text().len() == round + 1).then_some(())
        })
        .await;
    }
    // Asked a hundred times at once, the last question at least is answered; no answer is left out of a frame.
    for _ in 0..100 {
        client.send(&sync::step1(&state_vector(&[(7, 1)]))).await;
    }
    client.send(&sync::step1(&state_vector(&[(7, 20)]))).await;
    loop {
        if client.step2().await == [0, 0] {
            break;
        }
    }
}

async fn branches_and_orgs_are_separate(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let rooms = ["same", "same?branch=draft", "same?branch=main%20", "other"];
    for (client, room) in rooms.iter().enumerate() {
        let mut connection = hub.client(room).await;
        connection.sync().await;
        let update = TextWriter::new(client as u64 + 1).append(room);
        connection.send_update(&update).await;
        connection.shown(&update).await;
    }
    for room in rooms {
        assert_eq!(Oracle::of([hub.client(room).await.sync().await]).text(), room);
    }
    assert_eq!(Oracle::of([hub.client("same?branch=main").await.sync().await]).text(), "same", "main is the unnamed one");
    let nodes = hub.node_count() as u64;
    assert!((4..=4 * nodes).contains(&hub.census().await.rooms_started), "each at most once on each node");
}

async fn history_is_for_who_asks_for_it(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    let mut client = hub.client("history").await;
    client.sync().await;
    for update in [writer.append("keep secret keep"), writer.delete(5, 7)] {
        client.send_update(&update).await;
        client.shown(&update).await;
    }
    drop(client);
    let holds = |update: &[u8]| update.windows(6).any(|window| window == b"secret");
    // Folded and out of memory: what is loaded now comes from the rows.
    until("the gc document to be without the secret", async || {
        let update = hub.client("history").await.sync().await;
        assert_eq!(Oracle::of([&update]).text(), "keep keep");
        if holds(&update) {
            until("the room to leave memory", async || (hub.census().await.rooms == 0).then_some(())).await;
            return None;
        }
        Some(())
    })
    .await;
    let history = hub.client("history?gc=false").await.sync().await;
    assert!(holds(&history), "the nongc document has it");
    assert_eq!(Oracle::of([&history]).text(), "keep keep");
}

async fn a_reader_is_present_and_cannot_write(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.auth.everyone = Some(Everyone::MayRead)).await;
    let mut reader = hub.client("readonly").await;
    let mut watcher = hub.client("readonly").await;
    reader.sync().await;
    watcher.sync().await;
    let update = TextWriter::new(7).append("written");
    reader.send_update(&update).await;
    reader.send(&sync::step2(&update)).await;
    reader.send_awareness(&[(7, 1, r#"{"name":"reader"}"#)]).await;
    watcher.presence(7, r#"{"name":"reader"}"#).await;
    // What came before the presence was not taken, in memory or in the stream.
    assert_eq!(Oracle::of([reader.sync().await]).text(), "");
    assert_eq!(hub.stream_updates("readonly").await, [] as [Vec<u8>; 0]);
    drop(reader);
    watcher.presence(7, "null").await;
}

async fn a_big_document_arrives_whole(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.outbox_bytes = 64 << 10).await;
    let mut writer = TextWriter::new(7);
    let mut client = hub.client("big").await;
    client.sync().await;
    // Far beyond the outbox's bound, which is for what clients do not take.
    let updates: Vec<_> = (0..8).map(|n| writer.append(&char::from(b'a' + n).to_string().repeat(1 << 20))).collect();
    for update in &updates {
        client.send_update(update).await;
        client.shown(update).await;
    }
    let mut reader = hub.connect("big").small_buffer().open().await.unwrap();
    let all = reader.sync().await;
    assert_eq!(content_ids(&all).unwrap().inserts, content_ids(&yhub_content::merge(&updates).unwrap()).unwrap().inserts);
    assert_eq!(Oracle::of([&all]).text().len(), 8 << 20);
    assert_eq!(reader.sync_from(&state_vector(&[(7, 8 << 20)])).await, [0, 0]);
}

async fn many_writers_converge(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let writers: Vec<_> = (1..=10u64)
        .map(|id| {
            let connect = hub.connect("crowd");
            tokio::spawn(async move {
                let mut client = connect.open().await.unwrap();
                let mut writer = TextWriter::new(id);
                let oracle = Oracle::of([client.sync().await]);
                for n in 0..50 {
                    client.send_update(&writer.append(&format!("{id}:{n} "))).await;
                }
                while oracle.state() != (1..=10).map(|id| (id, total(id))).collect::<Vec<_>>() {
                    oracle.apply(&client.update().await);
                }
                oracle.text()
            })
        })
        .collect();
    let mut texts = Vec::new();
    for writer in writers {
        texts.push(writer.await.unwrap());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    let joined = Oracle::of([hub.client("crowd").await.sync().await]);
    assert_eq!(joined.text(), texts[0]);
    // What was merged along the way is what an oracle makes of it.
    tokio::time::timeout(Duration::from_secs(30), async { hub.client("crowd").await.settled().await }).await.unwrap();
}

/// How long what one of the ten writers writes is.
fn total(id: u64) -> u32 {
    (0..50).map(|n| format!("{id}:{n} ").len() as u32).sum()
}
