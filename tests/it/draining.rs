//! One hub of several is told to stop: it says so, sends its clients away bit by bit, and hands over what it has under way.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use yhub::Config;
use yhub_encoding::sync::{self, Message};
use yhub_testkit::{
    Closed, Connect, Oracle, TestClient, TextWriter, block_until,
    servers::{Balancer, Postgres},
    until,
    vectors::{hex, list, load},
    within,
};

use crate::{
    ground::Ground,
    support::{ORG, path},
};

const EDITORS: usize = 24;
const ROOMS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nobody new should come.
    NotReady,
    /// An editor was sent away.
    Closed,
    /// It writes again, at another hub.
    Back,
}

type Events = Arc<Mutex<Vec<Event>>>;

/// A client that writes one update after the other.
struct Editor {
    docid: String,
    client: TestClient,
    writer: TextWriter,
    updates: Vec<Vec<u8>>,
    /// So many of them came back from the hub.
    acknowledged: usize,
}

impl Editor {
    async fn join(balancer: SocketAddr, number: usize) -> Self {
        let docid = format!("drain-{}", number % ROOMS);
        let client = joined(balancer, &docid).await;
        Self { docid, client, writer: TextWriter::new(100 + number as u64), updates: Vec::new(), acknowledged: 0 }
    }

    /// Writes, and waits until the hub shows it.
    async fn write(&mut self) -> Result<(), Closed> {
        self.updates.push(self.writer.append("word "));
        self.catch_up().await
    }

    /// Says what was not acknowledged, once more, and waits until the hub shows it.
    async fn catch_up(&mut self) -> Result<(), Closed> {
        for update in &self.updates[self.acknowledged..] {
            // A connection that has ended says why when it is read.
            let _ = self.client.try_send(&sync::update(update)).await;
        }
        while self.acknowledged < self.updates.len() {
            let message = self.client.next().await?;
            if matches!(Message::decode(&message), Ok(Message::Update(update)) if update == self.updates[self.acknowledged]) {
                self.acknowledged += 1;
            }
        }
        Ok(())
    }

    /// Writes until it is sent away, goes where the balancer leads it, and writes on.
    async fn edit(mut self, balancer: SocketAddr, wrote: mpsc::Sender<()>, events: Events) -> Self {
        let closed = loop {
            match self.write().await {
                Ok(()) => drop(wrote.try_send(())),
                Err(closed) => break closed,
            }
        };
        events.lock().unwrap().push(Event::Closed);
        assert_eq!((closed.code, closed.reason.as_str()), (Some(1013), "the hub is shutting down"));
        self.client = joined(balancer, &self.docid).await;
        self.catch_up().await.expect("the other hub stays");
        events.lock().unwrap().push(Event::Back);
        self.write().await.expect("the other hub stays");
        self
    }
}

/// A client that is in: one that is refused, because the balancer does not know yet who stops, tries again.
async fn joined(balancer: SocketAddr, docid: &str) -> TestClient {
    let tries = async {
        loop {
            if let Some(client) = join_once(balancer, docid).await {
                return client;
            }
        }
    };
    within("a hub that lets a client in", tries).await
}

async fn join_once(balancer: SocketAddr, docid: &str) -> Option<TestClient> {
    let mut client = Connect::to(balancer, &path(docid)).open().await.ok()?;
    client.try_send(&sync::step1(&[0])).await.ok()?;
    loop {
        if let Message::SyncStep2(_) = Message::decode(&client.next().await.ok()?).unwrap() {
            return Some(client);
        }
    }
}

/// The status of `/readyz`.
pub(crate) async fn readiness(addr: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(addr).await.expect("the hub listens");
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the hub reads");
    let mut answer = String::new();
    within("an answer to /readyz", stream.read_to_string(&mut answer)).await.expect("the hub answers");
    answer.split(' ').nth(1).expect("a status").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_moves_clients_to_another_hub_bit_by_bit() {
    let ground = tokio::task::spawn_blocking(Ground::distributed).await.expect("the servers start");
    let launch = |name: &str| ground.node(name).set("server.drain_ms", 4_000).set("server.first_sync_ms", 5_000);
    let (leaves, stays) = (launch("leaves").start(), launch("stays").start());
    let balancer = Arc::new(Balancer::start([leaves.addr(), stays.addr()], 7));
    balancer.take_out(stays.addr());
    let events = Events::default();
    let (mut editing, mut all_wrote) = (Vec::new(), Vec::new());
    for number in 0..EDITORS {
        let (wrote, has_written) = mpsc::channel(1);
        let editor = Editor::join(balancer.addr(), number).await;
        editing.push(tokio::spawn(editor.edit(balancer.addr(), wrote, events.clone())));
        all_wrote.push(has_written);
    }
    for mut wrote in all_wrote {
        within("an editor to write", wrote.recv()).await.expect("it writes");
    }
    assert_eq!(balancer.connections(leaves.addr()), EDITORS);
    balancer.put_in(stays.addr());
    assert_eq!(readiness(leaves.addr()).await, 200);

    leaves.terminate();
    until("the hub not to be ready", async || (readiness(leaves.addr()).await == 503).then_some(())).await;
    events.lock().unwrap().push(Event::NotReady);
    balancer.take_out(leaves.addr());
    let mut editors = Vec::new();
    for editing in editing {
        editors.push(editing.await.expect("it edits to the end"));
    }
    let log = leaves.launch().clone();
    assert_eq!(tokio::task::spawn_blocking(|| leaves.wait()).await.unwrap(), Some(0), "{}", log.log());
    assert!(!log.log().contains(" ERROR ") && !log.log().contains("panicked"), "{}", log.log());

    let events = events.lock().unwrap().clone();
    let last = events.iter().rposition(|event| *event == Event::Closed).expect("all are sent away");
    let before = |wanted: Event| events[..last].iter().filter(|event| **event == wanted).count();
    assert_eq!(before(Event::Closed), EDITORS - 1);
    assert_eq!(before(Event::NotReady), 1, "who asks hears that the hub leaves while clients are there: {events:?}");
    assert!(before(Event::Back) >= EDITORS / 2, "those who go first are back before the last one goes: {events:?}");

    assert!(editors.iter().all(|editor| editor.acknowledged == editor.updates.len()));
    for docid in (0..ROOMS).map(|n| format!("drain-{n}")) {
        let expected = Oracle::of(editors.iter().filter(|editor| editor.docid == docid).flat_map(|editor| &editor.updates));
        let found = Oracle::of([TestClient::connect(stays.addr(), &path(&docid)).await.sync().await]);
        assert_eq!((found.state(), found.text()), (expected.state(), expected.text()), "{docid}");
    }
    drop(editors);
    block_until("the streams to drain", || ground.is_drained());
    assert_eq!(ground.database().query("SELECT DISTINCT docid FROM yhub_ydoc_v1").len(), ROOMS);
}

#[test]
fn a_compactor_that_is_told_to_stop_gives_its_tasks_back() {
    const TASKS: usize = 3;
    let ground = Ground::distributed();
    // Instead of the database that others use: one that can be stopped in the middle of a compaction.
    let postgres = Postgres::private();
    let database = postgres.create_database();
    let mut config = Config::default();
    config.redis.url = Some(ground.redis().url().into());
    config.postgres.url = Some(database.url().into());
    yhub::migrate(&config).expect("the migrations run");
    let launch = |name: &str| {
        let launch = ground.node(name).args(["--role", "worker"]).without_port("compacts, without a port");
        // Not long: of that, too, something is left for giving back.
        launch.set("postgres.url", database.url()).set("server.shutdown_ms", 1_000)
    };
    let leaves = launch("leaves").start();
    postgres.pause();
    let histories = load("history");
    let message = hex(&list(&list(&histories["histories"])[0]["steps"])[0]["streamMessage"]);
    for n in 0..TASKS {
        let key = format!("yhub:room:{ORG}:given-back-{n}:main");
        ground.redis().cli([b"XADD", key.as_bytes(), b"*", b"m", &message]);
        ground.enqueue("*", "compact", &key);
    }
    let claimed = || ground.task_owners().iter().filter(|owner| *owner != "pending").count();
    block_until("the tasks to be claimed", || claimed() == TASKS);
    leaves.terminate();
    let log = leaves.launch().clone();
    assert_eq!(leaves.wait(), Some(0), "{}", log.log());
    // Not only left to whoever finds them when their leases have lapsed.
    assert_eq!(ground.task_owners(), ["pending"; TASKS]);
    postgres.resume();
    let _stays = launch("stays").start();
    block_until("the streams to drain", || ground.is_drained());
    assert_eq!(database.query("SELECT DISTINCT docid FROM yhub_ydoc_v1").len(), TASKS);
}
