//! What one client may cost: refused before it is buffered, closed when it stands still, and nobody else notices.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::json;
use yhub::config::Millis;
use yhub_core::limiting::Bound;
use yhub_encoding::sync::{self, Message};
use yhub_store::faults::{Fault, LogMethod};
use yhub_testkit::{
    BackEnd, HubProcess, Oracle, TestClient, TextWriter,
    client::{awareness_message, frame},
    until,
};

use crate::support::{ORG, Stage, TestHub, binary, path};

on_one_node!(
    what_cannot_be_read_closes_for_good_and_disturbs_nobody,
    a_message_over_the_limit_is_refused,
    presence_over_its_limits_is_refused_or_ignored,
    a_reader_that_stands_still_is_closed,
    a_writer_waits_while_the_stream_does,
    connections_beyond_the_limit_are_refused,
    pages_of_other_origins_stay_outside,
);

const MIB: u64 = 1 << 20;

async fn what_cannot_be_read_closes_for_good_and_disturbs_nobody(stage: Stage) {
    let hub = TestHub::start(stage).await;
    let mut writer = TextWriter::new(7);
    let mut healthy = hub.client("malformed").await;
    healthy.sync().await;
    let cases: [(&str, &[u8]); 11] = [
        ("nothing", &[]),
        ("half a message", &[0]),
        ("a state vector that claims a billion entries", &[0x00, 0x00, 0x05, 0x80, 0x94, 0xeb, 0xdc, 0x03]),
        ("a state vector that ends early", &[0, 0, 2, 1, 7]),
        ("a length beyond the message", &[0, 2, 100, 1, 1]),
        ("an update that claims a billion clients", &[0, 2, 5, 0x80, 0x94, 0xeb, 0xdc, 0x03]),
        ("an update that claims a billion structs", &[0, 1, 7, 1, 0x80, 0x94, 0xeb, 0xdc, 0x03, 7]),
        ("a struct of an unknown kind", &[0, 2, 8, 1, 1, 7, 0, 30, 1, 1, 116]),
        ("a delete set that ends early", &[0, 2, 4, 0, 1, 7, 1]),
        ("awareness that is no json", &[1, 5, 1, 7, 1, 1, b'{']),
        ("awareness that ends early", &[1, 1, 5]),
    ];
    for (what, message) in cases {
        let mut client = hub.client("malformed").await;
        client.sync().await;
        client.send(message).await;
        let closed = client.closed().await;
        assert_eq!(closed.code, Some(4400), "{what}: {}", closed.reason);
        assert!(closed.reason.starts_with("malformed message: ") && closed.reason.len() > 22, "{what}: {}", closed.reason);
        let update = writer.append("x");
        healthy.send_update(&update).await;
        healthy.shown(&update).await;
    }
    for (what, bytes) in [
        ("an unmasked frame", &[0x82, 1, 0][..]),
        ("text", &[0x81, 0x80, 0, 0, 0, 0]),
        ("bits that mean nothing", &[0xf2, 0x80, 0, 0, 0, 0]),
    ] {
        let mut client = hub.client("malformed").await;
        client.send_raw(bytes).await.unwrap();
        assert_eq!(client.closed().await.code, Some(4400), "{what}");
    }
    assert_eq!(
        hub.stream_updates("malformed").await.len(),
        cases.len(),
        "nothing but the healthy one's updates is in the stream"
    );
}

async fn a_message_over_the_limit_is_refused(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.max_message_bytes = 10_000).await;
    let mut writer = TextWriter::new(7);
    let mut client = hub.client("large").await;
    client.sync().await;
    let fits = writer.append(&"x".repeat(9_900));
    client.send_update(&fits).await;
    client.shown(&fits).await;
    client.send_update(&writer.append(&"y".repeat(10_000))).await;
    assert_eq!(client.closed().await.code, Some(4413));

    // In pieces it is as long as in one.
    let mut client = hub.client("large").await;
    let mut piece = frame(&vec![0; 6_000]);
    piece[0] &= 0x7f;
    client.send_raw(&piece).await.unwrap();
    piece[0] &= 0xf0;
    client.send_raw(&piece).await.unwrap();
    assert_eq!(client.closed().await.code, Some(4413));
    assert_eq!(Oracle::of([hub.client("large").await.sync().await]).text().len(), 9_900);
    assert_eq!(hub.limited(Bound::MessageSize), 2);

    // The same over HTTP: whether the body is too long or what it holds.
    let back_end = BackEnd::of(hub.addr());
    for len in [10_001, 100_000, 4_000_000] {
        let body = json!({ "update": BASE64_STANDARD.encode(vec![0; len]) });
        let answered = back_end.send_json(Method::PATCH, &format!("/api/ydoc/v1/{ORG}/large"), &body).await;
        assert_eq!((answered.code(), answered.json()["code"].as_str()), (413, Some("too-large")), "{len}");
    }
    assert_eq!(hub.limited(Bound::MessageSize), 5);
}

async fn presence_over_its_limits_is_refused_or_ignored(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.limits.max_awareness_bytes = 1_000;
        config.limits.max_awareness_clients = 3;
    };
    let hub = TestHub::with(stage, change).await;
    let mut watcher = hub.client("presence").await;
    watcher.sync().await;
    let mut client = hub.client("presence").await;
    let many: Vec<_> = (1..=10).map(|id| (id, 1, "{}")).collect();
    client.send_awareness(&many).await;
    let seen: Vec<_> = watcher.awareness().await.into_iter().map(|(id, ..)| id).collect();
    assert_eq!(seen, [1, 2, 3], "one session speaks for so many");
    assert_eq!(hub.limited(Bound::PresenceClients), 1, "once for all that one message told of");
    client.send_awareness(&[(1, 2, &format!("{:?}", "x".repeat(1_000)))]).await;
    assert_eq!(client.closed().await.code, Some(4413));
    assert_eq!(hub.limited(Bound::PresenceSize), 1);
    let patch = async |entries: &[(u64, u64, &str)]| {
        // Without the kind of the message and the length.
        let message = awareness_message(entries);
        let Ok(Message::Awareness(update)) = Message::decode(&message) else { panic!("it is of presence") };
        let body = json!({ "awareness": BASE64_STANDARD.encode(update) });
        BackEnd::of(hub.addr()).send_json(Method::PATCH, &format!("/api/ydoc/v1/{ORG}/presence"), &body).await.code()
    };
    assert_eq!(patch(&[(20, 2, &format!("{:?}", "x".repeat(1_000)))]).await, 413);
    assert_eq!(patch(&many).await, 400);
    assert_eq!((hub.limited(Bound::PresenceSize), hub.limited(Bound::PresenceClients)), (2, 2));
    watcher.presence(1, "null").await;
}

async fn a_reader_that_stands_still_is_closed(stage: Stage) {
    let change = |config: &mut yhub::Config| {
        config.server.outbox_bytes = 256 << 10;
        // It is not for that that they are closed.
        config.server.stall_timeout_ms = Millis::new(300_000);
    };
    let hub = TestHub::with(stage, change).await;
    let mut writer = TextWriter::new(1);
    let mut healthy = hub.client("stalled").await;
    healthy.sync().await;
    let mut stalled = Vec::new();
    for id in 100..105 {
        let mut client = hub.connect("stalled").small_buffer().open().await.unwrap();
        client.sync().await;
        client.send_awareness(&[(id, 1, "{}")]).await;
        healthy.presence(id, "{}").await;
        stalled.push((id, client));
    }
    let mut flowing = hub.client("stalled").await;
    flowing.sync().await;
    let mut seen = 0;
    let mut gone = 0;
    let mut sent = 0;
    // The operating system takes little ahead for who takes nothing, so that it is noticed soon.
    while sent < 5 * MIB / 4 {
        let update = writer.append(&"x".repeat(64 << 10));
        healthy.send_update(&update).await;
        sent += update.len() as u64;
        flowing_catches_up(&mut flowing, &mut seen, writer.clock()).await;
        gone += settle(&mut healthy, &update).await;
    }
    while gone < 4 {
        gone += healthy.until("a client to be let go of", gone_in).await;
    }
    // Who reads again at once is told why, behind what was under way.
    let mut told = 0;
    for (id, client) in &mut stalled {
        let closed = client.closed().await;
        assert!(matches!(closed.code, Some(1013) | None), "{id}: {closed:?}");
        told += usize::from(closed.code == Some(1013));
    }
    assert!(told > 0, "nobody was told why");
    drop(stalled);
    until("the sessions to end", async || (hub.open_sessions() == 2).then_some(())).await;

    // Who does not read again ends all the same: the hub waits for nobody.
    let mut never = hub.connect("stalled").small_buffer().open().await.unwrap();
    never.sync_from(&yhub_testkit::updates::state_vector(&[(1, writer.clock())])).await;
    while hub.open_sessions() == 3 {
        let update = writer.append(&"x".repeat(64 << 10));
        healthy.send_update(&update).await;
        settle(&mut healthy, &update).await;
        flowing.shown(&update).await;
        sent += update.len() as u64;
        assert!(sent < 400 * MIB, "the last one is still there after {sent} bytes");
    }
    drop(never);
}

/// How many clients a message says to have gone, if any.
fn gone_in(message: Message<'_>) -> Option<usize> {
    let entries = yhub_testkit::client::awareness_of(message)?;
    let gone = entries.iter().filter(|(_, _, state)| state == "null").count();
    (gone > 0).then_some(gone)
}

/// Reads until `update` is echoed: how many clients have gone meanwhile.
async fn settle(client: &mut TestClient, update: &[u8]) -> usize {
    let mut gone = 0;
    let echoed = client.until("the echo", |message| match message {
        Message::Awareness(_) => {
            gone += gone_in(message).unwrap_or(0);
            None
        }
        Message::Update(shown) if shown == update => Some(()),
        _ => None,
    });
    echoed.await;
    gone
}

/// A client that reads misses nothing.
async fn flowing_catches_up(client: &mut TestClient, seen: &mut u64, upto: u64) {
    while *seen < upto {
        let update = client.update().await;
        let ids = yhub_content::content_ids(&update).unwrap();
        let span = ids.inserts.iter().next().expect("every update inserts").1[0];
        assert_eq!(u64::from(span.clock()), *seen, "in order and without a gap");
        *seen = u64::from(span.end());
    }
}

async fn a_writer_waits_while_the_stream_does(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.inbound_bytes = 64 << 10).await;
    let mut client = hub.client("backpressure").await;
    client.sync().await;
    hub.log_plan.on_every(LogMethod::Append, Fault::Hang);
    let mut writer = TextWriter::new(7);
    const UPDATES: usize = 2_000;
    let updates: Vec<_> = (0..UPDATES).map(|_| writer.append(&"x".repeat(32 << 10))).collect();
    let wire: Vec<u8> = updates.iter().flat_map(|update| frame(&sync::update(update)).to_vec()).collect();
    let mut sent = client.push(&wire, Duration::from_secs(1)).await;
    assert!(sent < wire.len() / 2, "{sent} of {} bytes were taken although nothing was stored", wire.len());
    hub.log_plan.clear();
    hub.log_plan.release();
    let (mut seen, mut last) = (0, Vec::new());
    while seen < UPDATES {
        sent += client.push(&wire[sent..], Duration::from_millis(5)).await;
        while let Some(message) = client.next_within(Duration::from_millis(5)).await {
            if let Message::Update(update) = Message::decode(&message.unwrap()).unwrap() {
                seen += 1;
                last = update.to_vec();
            }
        }
    }
    assert_eq!(last, updates[UPDATES - 1], "all of them, the last one last");
}

async fn connections_beyond_the_limit_are_refused(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.max_connections = 3).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(hub.client("full").await);
    }
    let refused = hub.connect("full").open().await.err().expect("there is no place");
    assert_eq!(refused.status, 503, "{}", refused.answer);
    clients.pop();
    until("a place to be free", async || (hub.open_sessions() < 3).then_some(())).await;
    hub.client("full").await.sync().await;
}

async fn pages_of_other_origins_stay_outside(stage: Stage) {
    let hub = TestHub::with(stage, |config| config.server.allowed_origins = vec!["https://editor.example".into()]).await;
    let own = format!("http://{}", hub.addr());
    for (origin, status) in [("https://evil.example", 403), ("null", 403), (&own, 101), ("https://editor.example", 101)] {
        let answer = hub.connect("origins").header("origin", origin).open().await;
        assert_eq!(answer.err().map_or(101, |refused| refused.status), status, "{origin}");
    }
    for (path, status) in [("/api/ws/v1/acme", 404), ("/api/ws/v1/acme/a/b", 404), ("/api/ws/v1/acme/%zz", 400), ("/other", 404)]
    {
        let refused = yhub_testkit::Connect::to(hub.addr(), path).open().await.err().expect("it is no room");
        assert_eq!(refused.status, status, "{path}: {}", refused.answer);
    }
}

/// The most memory that a hub had while `work` was going on, beyond what it had before.
async fn growth(hub: &HubProcess, work: impl Future<Output = ()>) -> u64 {
    let before = hub.rss_bytes();
    let mut most = before;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return most.max(hub.rss_bytes()) - before,
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(hub.rss_bytes()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_announces_a_tebibyte_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hub = binary(dir.path()).start();
    TestClient::connect(hub.addr(), &path("warm")).await.sync().await;
    let grown = growth(&hub, async {
        let announce = [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        let mebibyte = vec![0; MIB as usize];
        for _ in 0..10 {
            let mut client = TestClient::connect(hub.addr(), &path("tebibyte")).await;
            client.send_raw(&announce).await.unwrap();
            for _ in 0..20 {
                // Sent on although it was refused.
                if client.send_raw(&mebibyte).await.is_err() {
                    break;
                }
            }
            let closed = client.closed().await;
            assert!(matches!(closed.code, Some(4413) | None), "{closed:?}");
        }
        // Without more behind it, the reason certainly arrives.
        let mut client = TestClient::connect(hub.addr(), &path("tebibyte")).await;
        client.send_raw(&announce).await.unwrap();
        assert_eq!(client.closed().await.code, Some(4413));
    })
    .await;
    assert!(grown < 16 * MIB, "{grown} bytes for frames that were only announced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_stalled_readers_cost_little_and_their_sockets_end() {
    const STALLED: usize = 20;
    const FLOW: u64 = 200 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let hub = binary(dir.path()).set("server.outbox_bytes", MIB).set("server.stall_timeout_ms", 5_000).start();
    let mut ann = TestClient::connect(hub.addr(), &path("stalled")).await;
    ann.sync().await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut client = yhub_testkit::Connect::to(hub.addr(), &path("stalled")).small_buffer().open().await.unwrap();
        client.sync().await;
        stalled.push(client);
    }
    let open_sockets = hub.open_sockets();
    let state: Arc<str> = format!("{:?}", "x".repeat(500 << 10)).into();
    let grown = growth(&hub, async {
        // Presence is what flows without the document growing, so that what is measured is what waits for clients.
        let (mut flown, mut clock) = (0, 0);
        while flown < FLOW {
            clock += 1;
            ann.send(&awareness_message(&[(7, clock, &state)])).await;
            assert_eq!(ann.presence(7, &state).await, clock);
            flown += state.len() as u64;
        }
    })
    .await;
    println!("{STALLED} stalled readers, {} MiB of messages: the hub grew by {} MiB", FLOW / MIB, grown / MIB);
    assert!(grown < 120 * MIB, "{grown} bytes for {STALLED} readers that may have {MIB} each");
    until("the sockets of stalled readers to end", async || (hub.open_sockets() <= open_sockets - STALLED).then_some(())).await;
    for client in &mut stalled {
        let closed = client.closed().await;
        assert!(matches!(closed.code, Some(1013) | None), "{closed:?}");
    }
    // Who keeps up is not concerned.
    let update = TextWriter::new(7).append("still here");
    ann.send_update(&update).await;
    ann.shown(&update).await;
}
