//! A node of actors over stores in memory, all on the thread of the test, and clients that speak through pipes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod docs;
pub(crate) mod stores;

use std::{
    io::{self, IoSlice},
    net::Ipv4Addr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix::prelude::*;
use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};
use docs::MemoryDocs;
use stores::MemoryLog;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf},
    sync::mpsc,
};
use yhub_actors::{
    Arrival, Census, Count, Node, NodeParts, NoticeSettings, OpenPass, Pass, Registry, Session, SessionParams, Told, Transport,
    WorkerSettings,
};
use yhub_content::Limits;
use yhub_core::{
    AccessPolicy, Author, PoisonPolicy, RoomId, RoomLimits, SessionLimits, SystemClock, TimeSource, Variant,
    access::{Identity, Level},
    limiting::Limiting,
};
use yhub_documents::{ComputePool, Documents, DocumentsParts};
use yhub_encoding::sync::{self, Message};
use yhub_store::MemoryCache;

pub(crate) fn room(docid: &str) -> RoomId {
    RoomId::new("org", docid, RoomId::MAIN)
}

pub(crate) struct Rig {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) docs: Arc<MemoryDocs>,
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Addr<Registry>,
    alive: mpsc::Sender<()>,
}

/// What a test sets otherwise.
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) lease: Duration,
    pub(crate) snapshot_budget_bytes: usize,
    pub(crate) serves: bool,
    pub(crate) poison: PoisonPolicy,
    pub(crate) access_policy: AccessPolicy,
    pub(crate) session_limits: SessionLimits,
    pub(crate) room_limits: RoomLimits,
    pub(crate) limiting: Limiting,
    pub(crate) time: Arc<dyn TimeSource>,
    pub(crate) told: Told,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 0,
            lease: Duration::from_secs(3),
            snapshot_budget_bytes: 64 << 20,
            serves: true,
            poison: PoisonPolicy::default(),
            access_policy: AccessPolicy::default(),
            session_limits: SessionLimits::default(),
            room_limits: RoomLimits::default(),
            limiting: Limiting::default(),
            time: Arc::new(SystemClock),
            told: Arc::new(|_| ()),
        }
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::over(MemoryLog::new(), Arc::new(MemoryDocs::default()), settings)
    }

    /// Another node over the same stores.
    pub(crate) fn beside(&self) -> Self {
        self.beside_with(Settings::default())
    }

    pub(crate) fn beside_with(&self, settings: Settings) -> Self {
        Self::over(self.log.clone(), self.docs.clone(), settings)
    }

    fn over(log: Arc<MemoryLog>, docs: Arc<MemoryDocs>, settings: Settings) -> Self {
        let compute = ComputePool::new(1, 64, Duration::from_secs(600)).expect("a thread");
        let node = Node::new(NodeParts {
            documents: Documents::new(DocumentsParts {
                log: log.clone(),
                admin: log.clone(),
                store: docs.clone(),
                failures: docs.clone(),
                deletions: docs.clone(),
                cache: Arc::new(MemoryCache::new(1 << 20, Arc::new(SystemClock))),
                assets: Arc::default(),
                compute,
                limits: Limits::default(),
            }),
            admin: Some(log.clone()),
            serves: settings.serves,
            time: settings.time,
            access_policy: settings.access_policy,
            notices: Some(NoticeSettings { store: docs.clone(), every: Duration::from_millis(500), told: settings.told }),
            session_limits: settings.session_limits,
            room_limits: settings.room_limits,
            load_timeout: Duration::from_secs(20),
            snapshot_budget_bytes: settings.snapshot_budget_bytes,
            worker: WorkerSettings {
                concurrency: settings.concurrency,
                task_debounce: Duration::from_millis(10),
                lease: settings.lease,
                min_message_lifetime: Duration::ZERO,
                poll: Duration::from_millis(20),
                stop_within: Duration::from_secs(2),
                reconcile_every: Duration::from_secs(30),
                poison: settings.poison,
            },
            janitor: None,
            forgets: None,
            limiting: settings.limiting,
            max_connections: 1_000,
        });
        let (alive, held) = mpsc::channel(1);
        let registry = Registry::new(node.clone(), vec![Arbiter::current()], held).start();
        Self { log, docs, node, registry, alive }
    }

    pub(crate) async fn census(&self) -> Census {
        self.registry.send(Count).await.expect("the registry lives")
    }

    pub(crate) fn connect(&self, docid: &str) -> Client {
        self.connect_through(docid, 1 << 20)
    }

    /// A client whose connection holds so many bytes on their way.
    pub(crate) fn connect_through(&self, docid: &str, pipe_bytes: usize) -> Client {
        let params = self.params(docid, "ann", Level::Write, Arc::new(OpenPass(Level::Write)));
        self.connect_with(params, pipe_bytes)
    }

    pub(crate) fn params(&self, docid: &str, user: &str, level: Level, pass: Arc<dyn Pass>) -> SessionParams {
        SessionParams {
            room: room(docid),
            variant: Variant::Gc,
            level,
            expires_at_ms: None,
            who: Arc::new(Identity::anonymous(user)),
            author: Author { user: user.into(), custom: Vec::new() },
            pass,
        }
    }

    pub(crate) fn connect_with(&self, params: SessionParams, pipe_bytes: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        let arrival = Arrival { address: Ipv4Addr::LOCALHOST.into(), user: None, room: &params.room };
        let place = self.node.admit(&arrival).expect("there is a place");
        Session::start_on(Pipe(theirs), &[], params, self.node.clone(), self.registry.clone(), place);
        Client { pipe: ours, bytes: BytesMut::new() }
    }

    /// A client that has been answered what the room holds.
    pub(crate) async fn join(&self, docid: &str) -> (Client, Bytes) {
        let mut client = self.connect(docid);
        let answer = client.sync().await;
        (client, answer)
    }

    /// Waits until `what` holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        self.within(Duration::from_secs(20), what, holds).await;
    }

    /// The same for what takes longer; of paused time.
    pub(crate) async fn within(&self, time: Duration, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..time.as_millis() / 10 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }
}

/// The server's end of a connection in memory.
struct Pipe(DuplexStream);

impl Transport for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The client's end.
pub(crate) struct Client {
    pub(crate) pipe: DuplexStream,
    bytes: BytesMut,
}

/// What a client is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Step1(Bytes),
    Answer(Bytes),
    Update(Bytes),
    Awareness(Bytes),
    Auth(Bytes),
    Ping,
    Close(u16),
    /// The connection has ended.
    End,
}

impl Client {
    pub(crate) fn frame(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        Parser::write_message(&mut out, payload, OpCode::Binary, true, true);
        out
    }

    pub(crate) async fn send(&mut self, payload: &[u8]) {
        self.pipe.write_all(&Self::frame(payload)).await.expect("the connection stands");
    }

    pub(crate) async fn write(&mut self, update: &[u8]) {
        self.send(&sync::update(update)).await;
    }

    pub(crate) async fn send_close(&mut self) {
        let mut out = BytesMut::new();
        Parser::write_message(&mut out, 1000u16.to_be_bytes(), OpCode::Close, true, true);
        self.pipe.write_all(&out).await.expect("the connection stands");
    }

    pub(crate) async fn send_pong(&mut self) {
        let mut out = BytesMut::new();
        Parser::write_message(&mut out, [], OpCode::Pong, true, true);
        self.pipe.write_all(&out).await.expect("the connection stands");
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            match Parser::parse(&mut self.bytes, false, 64 << 20).expect("frames of the hub are well-formed") {
                Some((_, OpCode::Ping, _)) => return Got::Ping,
                Some((_, OpCode::Close, payload)) => {
                    let payload = payload.unwrap_or_default();
                    return Got::Close(u16::from_be_bytes([payload[0], payload[1]]));
                }
                Some((true, OpCode::Binary, payload)) => {
                    let payload = payload.unwrap_or_default().freeze();
                    let share = |part: &[u8]| Bytes::copy_from_slice(part);
                    return match Message::decode(&payload).expect("messages of the hub are well-formed") {
                        Message::SyncStep1(vector) => Got::Step1(share(vector)),
                        Message::SyncStep2(update) => Got::Answer(share(update)),
                        Message::Update(update) => Got::Update(share(update)),
                        Message::Awareness(update) => Got::Awareness(share(update)),
                        Message::Auth(payload) => Got::Auth(share(payload)),
                        other => panic!("{other:?}"),
                    };
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
            match self.pipe.read_buf(&mut self.bytes).await {
                Ok(count) if count > 0 => {}
                _ => return Got::End,
            }
        }
    }

    /// The next update, past everything that is none.
    pub(crate) async fn update(&mut self) -> Bytes {
        loop {
            match self.next().await {
                Got::Update(update) => return update,
                Got::Close(code) => panic!("closed with {code}"),
                Got::End => panic!("the connection has ended"),
                _ => {}
            }
        }
    }

    /// The code with which the connection is closed, past everything before.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Got::Close(code) => return code,
                Got::End => panic!("it ended without a word"),
                _ => {}
            }
        }
    }

    /// Asks for everything, and waits for it.
    pub(crate) async fn sync(&mut self) -> Bytes {
        self.send(&sync::step1(&[0])).await;
        loop {
            match self.next().await {
                Got::Answer(answer) => return answer,
                Got::Close(code) => panic!("closed with {code}"),
                Got::End => panic!("the connection has ended"),
                _ => {}
            }
        }
    }
}
