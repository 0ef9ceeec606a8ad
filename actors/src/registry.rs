//! Room id → room; places rooms on threads, keeps the node's document budget, looks after the other actors.
//!
//! It must not fail: when it is gone, the process ends with an error.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::prelude::*;
use tokio::sync::mpsc;
use yhub_core::{Budget, Close, Lookback, RoomId};

use crate::{
    compactor::{Compactor, KeeperIs, Stop},
    janitor::Janitor,
    lease_keeper::LeaseKeeper,
    node::Node,
    notices::{Demand, NoticeReader, Noticed, RecentDemands},
    reconciler::Reconciler,
    room::{Demanded, Drain, Evict, ReaderIs, Room},
    stream_reader::StreamReader,
    supervisor::{Found, Supervised},
};

/// How often the other actors are looked after.
const CHECK: Duration = Duration::from_millis(250);

/// The room of this id, started if it is not there. From a session.
#[derive(Message)]
#[rtype(result = "Result<Addr<Room>, Close>")]
pub struct GetRoom(pub RoomId);

/// A room is gone. From the room, also when it panicked.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RoomStopped {
    /// Which.
    pub room: RoomId,
    /// Which of the actors that the room has had.
    pub generation: u64,
}

/// So many bytes of document are in a room's memory. From the room, when that changes.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SnapshotSize {
    /// Which.
    pub room: RoomId,
    /// Which of its actors.
    pub generation: u64,
    /// Bytes.
    pub size_bytes: usize,
}

/// How many rooms are there, and how many bytes of document? For operators and tests.
#[derive(Message)]
#[rtype(result = "Census")]
pub struct Count;

/// The answer to [`Count`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, MessageResponse)]
pub struct Census {
    /// Rooms in memory.
    pub rooms: usize,
    /// Bytes of document in their memory.
    pub snapshot_bytes: usize,
    /// Rooms started since the node did.
    pub rooms_started: u64,
}

/// Closes every session, waits until nothing is under way, stops everything. From the hub; answered when done.
///
/// Nobody comes in from now on, and no more tasks are claimed. Sessions that are open go on until their turn comes.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// Sessions are closed over so long, evenly and in a random order, so that they do not all come back elsewhere at the
    /// same moment; zero: all at once.
    pub window: Duration,
    /// Decides the order; `None`: another one each time.
    pub seed: Option<u64>,
}

impl Shutdown {
    /// All sessions at once.
    pub const AT_ONCE: Self = Self::over(Duration::ZERO);

    /// Spread over `window`.
    pub const fn over(window: Duration) -> Self {
        Self { window, seed: None }
    }
}

struct Entry {
    room: Addr<Room>,
    generation: u64,
}

/// The actor.
pub struct Registry {
    node: Arc<Node>,
    arbiters: Vec<ArbiterHandle>,
    rooms: HashMap<RoomId, Entry>,
    snapshots: Budget<RoomId>,
    generations: u64,
    hasher: RandomState,
    readers: Vec<Supervised<StreamReader>>,
    lease_keeper: Option<Supervised<LeaseKeeper>>,
    compactor: Option<Supervised<Compactor>>,
    reconciler: Option<Supervised<Reconciler>>,
    janitor: Option<Supervised<Janitor>>,
    notice_reader: Option<Supervised<NoticeReader>>,
    /// For rooms that start.
    recent_demands: RecentDemands,
    shutting_down: bool,
    /// Dropped with the actor: whoever holds the other end then knows that it is gone.
    _alive: mpsc::Receiver<()>,
}

impl Registry {
    /// A registry whose rooms live on `arbiters`, at least one if the node serves. When it has died, or given another actor up, `alive` is
    /// dropped.
    pub fn new(node: Arc<Node>, arbiters: Vec<ArbiterHandle>, alive: mpsc::Receiver<()>) -> Self {
        Self {
            snapshots: Budget::new(node.snapshot_budget_bytes),
            node,
            arbiters,
            rooms: HashMap::new(),
            generations: 0,
            hasher: RandomState::new(),
            readers: Vec::new(),
            lease_keeper: None,
            compactor: None,
            reconciler: None,
            janitor: None,
            notice_reader: None,
            recent_demands: RecentDemands::default(),
            shutting_down: false,
            _alive: alive,
        }
    }

    fn share_of(&self, room: &RoomId, shares: usize) -> usize {
        (self.hasher.hash_one(room) % shares as u64) as usize
    }

    fn start_room(&mut self, id: &RoomId, ctx: &mut Context<Self>) -> Addr<Room> {
        self.remove(id);
        self.generations += 1;
        let generation = self.generations;
        let arbiter = self.arbiters[self.share_of(id, self.arbiters.len())].clone();
        let reader = self.readers[self.share_of(id, self.readers.len())].addr().clone();
        let (node, registry, own_id) = (self.node.clone(), ctx.address(), id.clone());
        let room = Room::start_in_arbiter(&arbiter, move |ctx| {
            // Every message of a session counts against that session's budget, every batch of the reader against its own.
            ctx.set_mailbox_capacity(1024);
            Room::new(own_id, generation, node, registry, reader)
        });
        let demands = self.recent_demands.of(id, self.node.uptime_ms());
        if !demands.is_empty() {
            // Before anybody can join.
            room.do_send(Demanded(demands));
        }
        self.rooms.insert(id.clone(), Entry { room: room.clone(), generation });
        room
    }

    fn remove(&mut self, id: &RoomId) {
        self.rooms.remove(id);
        self.snapshots.remove(id);
    }

    fn look_after(&mut self, ctx: &mut Context<Self>) {
        let now_ms = self.node.uptime_ms();
        let mut given_up = false;
        for share in 0..self.readers.len() {
            match self.readers[share].check(now_ms) {
                Found::Restarted => {
                    let reader = self.readers[share].addr().clone();
                    for (id, entry) in &self.rooms {
                        if self.share_of(id, self.readers.len()) == share {
                            entry.room.do_send(ReaderIs(reader.clone()));
                        }
                    }
                }
                Found::TooOften => given_up = true,
                Found::Alive | Found::Waiting => {}
            }
        }
        if let (Some(compactor), Some(keeper)) = (&mut self.compactor, &mut self.lease_keeper) {
            let found = [keeper.check(now_ms), compactor.check(now_ms)];
            given_up |= found.contains(&Found::TooOften);
            if found.contains(&Found::Restarted) {
                // Each was started with the other as it was then.
                compactor.addr().do_send(KeeperIs(keeper.addr().clone()));
            }
        }
        if let Some(reconciler) = &mut self.reconciler {
            given_up |= reconciler.check(now_ms) == Found::TooOften;
        }
        if let Some(janitor) = &mut self.janitor {
            given_up |= janitor.check(now_ms) == Found::TooOften;
        }
        if let Some(notice_reader) = &mut self.notice_reader {
            given_up |= notice_reader.check(now_ms) == Found::TooOften;
        }
        if given_up {
            ctx.stop();
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        let arbiters = if self.node.serves { self.arbiters.clone() } else { Vec::new() };
        for arbiter in arbiters {
            let log = self.node.documents.log().clone();
            let start = move || {
                let log = log.clone();
                StreamReader::start_in_arbiter(&arbiter, move |_| StreamReader::new(log))
            };
            self.readers.push(Supervised::start("stream reader", start));
        }
        if let Some(settings) = self.node.notices.clone().filter(|_| self.node.serves) {
            let (node, registry) = (self.node.clone(), ctx.address());
            let lookback = Arc::new(Mutex::new(Lookback::new(node.time.now_ms())));
            let start = move || NoticeReader::new(node.clone(), settings.clone(), registry.clone(), lookback.clone()).start();
            self.notice_reader = Some(Supervised::start("notice reader", start));
        }
        if self.node.worker.concurrency > 0 {
            let node = self.node.clone();
            let keeper = Supervised::start("lease keeper", move || LeaseKeeper::new(node.clone()).start());
            let (node, first_keeper) = (self.node.clone(), keeper.addr().clone());
            let compactor = move || Compactor::new(node.clone(), first_keeper.clone()).start();
            self.compactor = Some(Supervised::start("compactor", compactor));
            self.lease_keeper = Some(keeper);
            self.reconciler = self.node.admin.clone().map(|admin| {
                let node = self.node.clone();
                Supervised::start("reconciler", move || Reconciler::new(node.clone(), admin.clone()).start())
            });
            self.janitor = self.node.janitor.clone().map(|settings| {
                let node = self.node.clone();
                Supervised::start("janitor", move || Janitor::new(node.clone(), settings.clone()).start())
            });
        }
        ctx.run_interval(CHECK, Self::look_after);
    }
}

impl Handler<GetRoom> for Registry {
    type Result = Result<Addr<Room>, Close>;

    fn handle(&mut self, GetRoom(id): GetRoom, ctx: &mut Self::Context) -> Self::Result {
        if self.shutting_down {
            return Err(Close::SHUTDOWN);
        }
        if self.readers.is_empty() {
            log::error!(room:% = id; "room {id} was asked for on a node that serves none");
            return Err(Close::TRY_AGAIN);
        }
        let living = self.rooms.get(&id).map(|entry| &entry.room).filter(|room| room.connected()).cloned();
        let room = living.unwrap_or_else(|| self.start_room(&id, ctx));
        self.snapshots.touch(&id);
        Ok(room)
    }
}

impl Handler<RoomStopped> for Registry {
    type Result = ();

    fn handle(&mut self, stopped: RoomStopped, _: &mut Self::Context) {
        if self.rooms.get(&stopped.room).is_some_and(|entry| entry.generation == stopped.generation) {
            self.remove(&stopped.room);
        }
    }
}

impl Handler<SnapshotSize> for Registry {
    type Result = ();

    fn handle(&mut self, size: SnapshotSize, _: &mut Self::Context) {
        if self.rooms.get(&size.room).is_some_and(|entry| entry.generation == size.generation) {
            for id in self.snapshots.set(&size.room, size.size_bytes) {
                if let Some(entry) = self.rooms.get(&id) {
                    entry.room.do_send(Evict);
                }
            }
        }
    }
}

impl Handler<Noticed> for Registry {
    type Result = ();

    fn handle(&mut self, Noticed(notices): Noticed, _: &mut Self::Context) {
        let now_ms = self.node.time.now_ms();
        let demands: Arc<[Demand]> = notices.into_iter().map(|notice| Demand::new(notice, now_ms)).collect();
        self.recent_demands.remember(&demands, self.node.uptime_ms());
        for (id, entry) in &self.rooms {
            if demands.iter().any(|demand| demand.concerns(id)) {
                entry.room.do_send(Demanded(demands.clone()));
            }
        }
    }
}

impl Handler<Count> for Registry {
    type Result = Census;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Census {
        Census { rooms: self.rooms.len(), snapshot_bytes: self.snapshots.held_bytes(), rooms_started: self.generations }
    }
}

impl Handler<Shutdown> for Registry {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Shutdown { window, seed }: Shutdown, _: &mut Self::Context) -> Self::Result {
        self.shutting_down = true;
        let seed = seed.unwrap_or_else(|| self.hasher.hash_one(0));
        let mut rooms = Vec::with_capacity(self.rooms.len());
        for (id, entry) in &self.rooms {
            // A hash that is the same in every process, so that a seed repeats everything.
            let seed = BuildHasherDefault::<DefaultHasher>::default().hash_one((seed, id));
            entry.room.do_send(Drain { close: Close::SHUTDOWN, window, seed });
            rooms.push(entry.room.clone());
        }
        let compactor = self.compactor.as_ref().map(|compactor| compactor.addr().clone());
        let wait = async move {
            if let Some(compactor) = compactor {
                // It may have died, which is as good.
                let _ = compactor.send(Stop).await;
            }
            // A room stops when all it has taken is in the stream.
            while rooms.iter().any(Addr::connected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Box::pin(wait.into_actor(self))
    }
}
