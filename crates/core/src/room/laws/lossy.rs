//! Laws of rooms on several nodes over one log that loses its last lines, or all of them, at any moment.
//!
//! At the end every update that was visible to any client, or is held by a connected client or a room, is in the log or
//! stored, and whoever wrote it is still its author.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use yhub_content::{self as content, ContentIds, Limits, StateVector};
use yhub_encoding::Any;
use yhub_testkit::Random;

use super::{
    super::*,
    stores::Stores,
    world::{ids_of, update},
};
use crate::{Author, prepare_update};

struct Append {
    messages: Vec<Bytes>,
    floor: StreamClock,
    accepted: Option<Vec<StreamClock>>,
}

/// What rooms let go of now and then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Nothing,
    /// The lines that they remember.
    Lines,
    /// These and the documents.
    All,
}

/// Something asked of the stores: first they are read, later the answer arrives.
enum Asked<Q, A> {
    Asked(Q),
    Answered(A),
}

struct Node {
    core: RoomCore,
    /// Up to where the tail has read; what it read is on its way.
    tail: Option<StreamClock>,
    on_way: VecDeque<StreamLine>,
    suspect: bool,
    append: Option<Append>,
    retry: bool,
    flush: bool,
    retry_recovery: bool,
    loads: [Option<Asked<(), Loaded>>; 2],
    folds: [Option<FoldJob>; 2],
    verify: Option<Asked<(Vec<StreamClock>, StreamClock), Verdict>>,
    salvage: Option<SalvageJob>,
    recovered: usize,
    salvaged: usize,
    cut_ids: u64,
}

struct Client {
    node: usize,
    session: Option<SessionId>,
    variant: Variant,
    holds: Vec<Bytes>,
    /// How many characters it has written, under its own client id.
    written: u32,
    presence: u64,
}

struct World {
    stores: Stores,
    nodes: Vec<Node>,
    clients: BTreeMap<u64, Client>,
    names: u64,
    sessions: u64,
    /// Answers of clients that are on their way.
    answers: VecDeque<(u64, Bytes)>,
    visible: ContentIds,
    excused: ContentIds,
    limits: Limits,
}

fn sessions_of(clients: &BTreeMap<u64, Client>, node: usize) -> Vec<(SessionId, u64)> {
    let here = clients.iter().filter(|(_, client)| client.node == node);
    here.filter_map(|(name, client)| Some((client.session?, *name))).collect()
}

impl World {
    fn new(nodes: usize) -> Self {
        let node = || Node {
            core: RoomCore::new(RoomLimits::default()),
            tail: None,
            on_way: VecDeque::new(),
            suspect: false,
            append: None,
            retry: false,
            flush: false,
            retry_recovery: false,
            loads: [None, None],
            folds: [None, None],
            verify: None,
            salvage: None,
            recovered: 0,
            salvaged: 0,
            cut_ids: 0,
        };
        Self {
            stores: Stores::default(),
            nodes: std::iter::repeat_with(node).take(nodes).collect(),
            clients: BTreeMap::new(),
            names: 0,
            sessions: 0,
            answers: VecDeque::new(),
            visible: ContentIds::new(),
            excused: ContentIds::new(),
            limits: Limits::default(),
        }
    }

    fn connect(&mut self, name: u64) {
        let Some(client) = self.clients.get_mut(&name).filter(|client| client.session.is_none()) else { return };
        self.sessions += 1;
        let session = SessionId(self.sessions);
        client.session = Some(session);
        let (node, variant) = (client.node, client.variant);
        let held = ContentIds::union(client.holds.iter().map(|update| ids_of(update)).collect::<Vec<_>>().iter());
        let effects = self.nodes[node].core.on_join(session, variant, Arc::new(Identity::anonymous("ann")), 1);
        self.carry_out(node, effects);
        let state_vector = StateVector::from_inserts(&held.inserts).to_bytes().into();
        let effects = self.nodes[node].core.on_sync(session, state_vector);
        self.carry_out(node, effects);
    }

    fn submit(&mut self, name: u64, update: &Bytes) {
        let Some(Client { session: Some(session), node, .. }) = self.clients.get(&name) else { return };
        let (session, node) = (*session, *node);
        let author = Author { user: name.to_string(), custom: Vec::new() };
        let submission = prepare_update(update, &author, 1, &self.limits).expect("a client's own document");
        if self.nodes.iter().any(|node| node.suspect) {
            // Who sends along what others wrote is taken for its author where nobody knows yet that it was lost.
            for (client, ranges) in submission.ids.inserts.iter().filter(|(client, _)| *client != name) {
                ranges.iter().for_each(|range| self.excused.inserts.insert(client, *range));
            }
        }
        let effects = self.nodes[node].core.on_submit(session, vec![submission]);
        self.carry_out(node, effects);
    }

    fn write(&mut self, name: u64, kind: usize) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        let written = client.written;
        let bytes = if kind == 0 && written > 0 {
            // Deletes something of its own.
            update(name, 0, 0, Some((name, kind as u32 % written, 1)))
        } else {
            client.written += kind as u32 + 1;
            update(name, written, kind + 1, None)
        };
        client.holds.push(bytes.clone());
        self.submit(name, &bytes);
    }

    fn speak(&mut self, name: u64) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        let Some(session) = client.session else { return };
        client.presence += 1;
        let entry = (name, Presence { clock: client.presence, state: Some("{}".into()), user: None });
        let node = client.node;
        let effects = self.nodes[node].core.on_awareness(session, vec![entry], 1);
        self.carry_out(node, effects);
    }

    fn leave(&mut self, name: u64, for_good: bool) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        let (node, session) = (client.node, client.session.take());
        if for_good {
            self.clients.remove(&name);
        }
        if let Some(session) = session {
            let effects = self.nodes[node].core.on_leave(session, 1);
            self.carry_out(node, effects);
        }
    }

    fn deliver(&mut self, node: usize, session: SessionId, messages: &[ServerMessage]) {
        let found = sessions_of(&self.clients, node).into_iter().find(|(other, _)| *other == session);
        let Some((_, name)) = found else { return };
        for message in messages {
            let client = self.clients.get_mut(&name).expect("found above");
            match message {
                ServerMessage::Step1(state_vector) => {
                    let state_vector = StateVector::from_bytes(state_vector).unwrap();
                    let whole = super::world::merged(client.holds.iter().cloned());
                    let answer = Bytes::from(content::diff(&whole, &state_vector).unwrap());
                    if &answer[..] != content::EMPTY_UPDATE {
                        self.answers.push_back((name, answer));
                    }
                }
                ServerMessage::Step2(update) | ServerMessage::Update(update) => {
                    client.holds.push(update.clone());
                    self.visible.insert_all(&ids_of(update));
                }
                ServerMessage::Awareness(_) => {}
            }
        }
    }

    fn carry_out(&mut self, at: usize, effects: Vec<Effect>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            let node = &mut self.nodes[at];
            match effect {
                Effect::Load(variant) => {
                    let load = node.loads[variant as usize].replace(Asked::Asked(()));
                    assert!(load.is_none(), "a second load at the same time");
                }
                Effect::Follow(after) => {
                    node.tail = Some(after);
                    node.on_way.clear();
                }
                Effect::Append { messages, floor } => {
                    let append = node.append.replace(Append { messages, floor, accepted: None });
                    assert!(append.is_none() && !node.retry, "a second append at the same time");
                }
                Effect::RetryAppend { .. } => assert!(!std::mem::replace(&mut node.retry, true), "retried twice"),
                Effect::Fold(job) => {
                    let fold = node.folds[job.variant as usize].replace(job);
                    assert!(fold.is_none(), "a second fold at the same time");
                }
                Effect::Broadcast { messages, to } => {
                    let to = match to {
                        Recipients::Everyone => sessions_of(&self.clients, at).into_iter().map(|(session, _)| session).collect(),
                        Recipients::These(sessions) => sessions,
                    };
                    for session in to {
                        self.deliver(at, session, &messages);
                    }
                }
                Effect::Close { session, .. } => {
                    let found = sessions_of(&self.clients, at).into_iter().find(|(other, _)| *other == session);
                    if let Some((_, name)) = found {
                        self.clients.get_mut(&name).expect("found above").session = None;
                    }
                    todo.extend(self.nodes[at].core.on_leave(session, 1));
                }
                Effect::Check { sessions } => panic!("nobody demands that {sessions:?} are checked"),
                Effect::FlushAwareness { .. } => node.flush = true,
                Effect::Verify { changes, upto } => {
                    let verify = node.verify.replace(Asked::Asked((changes, upto)));
                    assert!(verify.is_none(), "verified twice at the same time");
                }
                Effect::Salvage(job) => {
                    assert!(node.salvage.replace(job).is_none(), "salvaged twice at the same time");
                }
                Effect::RetryRecovery { .. } => {
                    node.retry_recovery = true;
                }
                Effect::Recovered { remembered, cut_ids, .. } => {
                    node.recovered += 1;
                    node.salvaged += remembered;
                    node.cut_ids += cut_ids;
                }
                Effect::Credit { .. }
                | Effect::Charge { .. }
                | Effect::Cork(_)
                | Effect::SnapshotSize(_)
                | Effect::Limited(_) => {}
                Effect::BadLine { .. } | Effect::NotRecovered | Effect::LookForDeletion | Effect::End { .. } => {
                    panic!("{effect:?}")
                }
            }
        }
    }

    fn answer(&mut self) {
        if let Some((name, answer)) = self.answers.pop_front() {
            self.submit(name, &answer);
        }
    }

    fn tail(&mut self, at: usize, count: usize) {
        let node = &mut self.nodes[at];
        let Some(position) = node.tail else { return };
        for line in self.stores.lines.iter().filter(|line| line.clock > position).take(count) {
            node.tail = Some(line.clock);
            // In memory of its own, as what comes from elsewhere is.
            let message = Some(Bytes::copy_from_slice(&line.message));
            node.on_way.push_back(StreamLine { clock: line.clock, message });
        }
    }

    fn entries(&mut self, at: usize, count: usize) {
        let node = &mut self.nodes[at];
        let count = count.min(node.on_way.len());
        let lines: Vec<_> = node.on_way.drain(..count).collect();
        let effects = node.core.on_entries(&lines, 1);
        self.carry_out(at, effects);
    }

    /// The log takes an append, which the node may hear of or not.
    fn append(&mut self, at: usize, outcome: usize) {
        let Some(mut append) = self.nodes[at].append.take() else { return };
        if outcome < 3 && append.accepted.is_none() {
            let clocks = append.messages.iter().map(|message| self.stores.append(append.floor, message)).collect();
            append.accepted = Some(clocks);
        }
        let core = &mut self.nodes[at].core;
        let effects = match (outcome, &append.accepted) {
            (1, Some(clocks)) => core.on_appended(clocks),
            (2 | 3, _) => core.on_append_failed(),
            _ => {
                self.nodes[at].append = Some(append);
                return;
            }
        };
        self.carry_out(at, effects);
    }

    fn load(&mut self, at: usize, variant: Variant, fails: bool) {
        let loaded = self.stores.load();
        let node = &mut self.nodes[at];
        let effects = match node.loads[variant as usize].take() {
            None => return,
            Some(_) if fails => node.core.on_load_failed(variant, Close::TRY_AGAIN),
            Some(Asked::Asked(())) => {
                node.loads[variant as usize] = Some(Asked::Answered(loaded));
                return;
            }
            Some(Asked::Answered(loaded)) => node.core.on_loaded(variant, loaded, 1),
        };
        self.carry_out(at, effects);
    }

    fn fold(&mut self, at: usize, variant: Variant) {
        let node = &mut self.nodes[at];
        let Some(job) = node.folds[variant as usize].take() else { return };
        let base = super::world::merged(std::iter::once(job.base).chain(job.tail.into_iter().map(|(_, update)| update)));
        let answer = |vector: &Bytes| Bytes::from(content::diff(&base, &StateVector::from_bytes(vector).unwrap()).unwrap());
        let answers = job.state_vectors.iter().map(answer).collect();
        let ids = job.wants_ids.then(|| ids_of(&base));
        let folded = Folded { variant: job.variant, base, upto: job.upto, ids, answers, bad: Vec::new() };
        let effects = node.core.on_folded(folded);
        self.carry_out(at, effects);
    }

    fn verify(&mut self, at: usize, fails: bool) {
        let node = &mut self.nodes[at];
        let effects = match node.verify.take() {
            None => return,
            Some(_) if fails => node.core.on_verify_failed(),
            Some(Asked::Asked((changes, upto))) => {
                node.verify = Some(Asked::Answered(self.stores.compare(&changes, upto)));
                return;
            }
            Some(Asked::Answered(verdict)) => node.core.on_verified(verdict, 1),
        };
        self.carry_out(at, effects);
    }

    fn salvage(&mut self, at: usize, fails: bool) {
        let node = &mut self.nodes[at];
        let Some(job) = node.salvage.take() else { return };
        let effects = if fails { node.core.on_salvage_failed() } else { node.core.on_salvaged(salvage(&job), 1) };
        self.carry_out(at, effects);
    }

    fn timers(&mut self, at: usize) {
        if std::mem::take(&mut self.nodes[at].retry) {
            let effects = self.nodes[at].core.on_retry_append();
            self.carry_out(at, effects);
        }
        if std::mem::take(&mut self.nodes[at].retry_recovery) {
            let effects = self.nodes[at].core.on_retry_recovery(1);
            self.carry_out(at, effects);
        }
        if std::mem::take(&mut self.nodes[at].flush) {
            let effects = self.nodes[at].core.on_flush_awareness(1);
            self.carry_out(at, effects);
        }
    }

    /// Whoever may have read what is lost is told; not before it follows.
    fn suspect(&mut self, at: usize) {
        if self.nodes[at].suspect && self.nodes[at].tail.is_some() {
            self.nodes[at].suspect = false;
            let effects = self.nodes[at].core.on_suspect();
            self.carry_out(at, effects);
        }
    }

    fn lose(&mut self, everything: bool, count: usize) {
        self.stores.lose(everything, count);
        for node in &mut self.nodes {
            node.suspect |= node.tail.is_some() || node.loads.iter().any(Option::is_some);
        }
    }

    /// What was written after a loss stays in the log until all have looked, and what a room has still to hear: its minimum
    /// lifetime sees to that.
    fn compact(&mut self, count: usize) {
        let heard_by_all = self.nodes.iter().all(|node| match node.tail {
            None => node.loads.iter().all(Option::is_none),
            Some(tail) => self.stores.lines.iter().take(count).all(|line| line.clock <= tail),
        });
        let all_calm =
            heard_by_all && self.nodes.iter().all(|node| !node.suspect && node.verify.is_none() && node.core.recovery.is_calm());
        if all_calm {
            self.stores.compact(count);
        }
    }

    fn step(&mut self, random: &mut Random, memory: Memory) {
        let at = random.below(self.nodes.len());
        let names: Vec<u64> = self.clients.keys().copied().collect();
        let name = if names.is_empty() { 0 } else { *random.one_of(&names) };
        let variant = *random.one_of(&Variant::ALL);
        let rarely = |random: &mut Random| random.below(6) == 0;
        match random.below(37) {
            0 | 1 if self.clients.len() < 4 => {
                self.names += 1;
                let client = Client { node: at, session: None, variant, holds: Vec::new(), written: 0, presence: 0 };
                self.clients.insert(self.names, client);
                self.connect(self.names);
            }
            2 | 3 => self.connect(name),
            4 => self.leave(name, random.below(2) == 0),
            5..9 => self.write(name, random.below(4)),
            9 => self.speak(name),
            10..14 => self.append(at, random.below(5)),
            14..17 => self.tail(at, 1 + random.below(4)),
            17..20 => self.entries(at, 1 + random.below(4)),
            20..23 => self.load(at, variant, rarely(random)),
            23 | 24 => self.fold(at, variant),
            25..27 => self.timers(at),
            27 => self.suspect(at),
            28 => self.verify(at, rarely(random)),
            29 => self.verify(at, false),
            30 => self.salvage(at, rarely(random)),
            31 if self.stores.losses < 3 => self.lose(rarely(random), 1 + random.below(6)),
            32 if rarely(random) => self.compact(1 + random.below(8)),
            // As at the bound: what the lines held is still in the document.
            33 if memory == Memory::Lines => self.nodes[at].core.recent.let_go(),
            33 if memory == Memory::All && rarely(random) => {
                let effects = self.nodes[at].core.on_evict();
                self.carry_out(at, effects);
            }
            34.. => self.answer(),
            _ => {}
        }
    }

    fn settle(&mut self) {
        for _ in 0..3_000 {
            let names: Vec<u64> = self.clients.keys().copied().collect();
            names.into_iter().for_each(|name| self.connect(name));
            (0..10).for_each(|_| self.answer());
            for at in 0..self.nodes.len() {
                self.suspect(at);
                self.append(at, 1);
                self.timers(at);
                for _ in 0..2 {
                    self.verify(at, false);
                    Variant::ALL.into_iter().for_each(|variant| self.load(at, variant, false));
                }
                Variant::ALL.into_iter().for_each(|variant| self.fold(at, variant));
                self.salvage(at, false);
                self.tail(at, 10);
                self.entries(at, 10);
            }
            let rests = |node: &Node| {
                let has_read = self.stores.lines.last().is_none_or(|last| node.tail.is_none_or(|tail| tail >= last.clock));
                let loads = node.loads.iter().all(Option::is_none) && node.folds.iter().all(Option::is_none);
                let asks = node.verify.is_some() || node.salvage.is_some() || node.retry || node.retry_recovery || node.flush;
                has_read
                    && loads
                    && !asks
                    && !(node.suspect && node.tail.is_some())
                    && node.append.is_none()
                    && node.on_way.is_empty()
            };
            if self.answers.is_empty()
                && self.nodes.iter().all(rests)
                && self.clients.values().all(|client| client.session.is_some())
            {
                return;
            }
        }
        let under_way = self.nodes.iter().map(|node| {
            let asks = (node.verify.is_some(), node.salvage.is_some(), node.retry, node.retry_recovery, node.flush);
            (asks, node.suspect, node.append.is_some(), node.tail, node.on_way.len(), node.loads.each_ref().map(Option::is_some))
        });
        panic!("it does not come to rest: {:?}", under_way.collect::<Vec<_>>());
    }

    fn assert_laws(&self, seed: u64, memory: Memory) {
        let stored = self.stores.load().ids;
        for (name, client) in &self.clients {
            for update in &client.holds {
                assert!(stored.contains_all(&ids_of(update)), "seed {seed}: client {name} holds what is lost");
            }
            // And everybody sees all of it.
            let holds = super::world::merged(client.holds.iter().cloned());
            let misses = stored.difference(&ids_of(&holds));
            assert!(misses.is_empty(), "seed {seed}, {} losses: client {name} misses {misses:?}", self.stores.losses);
        }
        for (at, node) in self.nodes.iter().enumerate() {
            assert!(node.core.recovery.is_calm(), "seed {seed}: node {at} is still at it");
            if let Some(known) = node.core.snapshots.known() {
                assert!(stored.contains_all(known), "seed {seed}: node {at} takes for stored what is lost");
            }
        }
        if memory == Memory::All {
            return;
        }
        assert!(stored.contains_all(&self.visible), "seed {seed}: what was visible is lost");
        if memory == Memory::Lines {
            return;
        }
        // Whoever has the client id is the author.
        for (client, range, said) in self.stores.attributions().difference(&self.excused).inserts.iter() {
            let authors: Vec<_> = said.values("insert").collect();
            let expected = Any::from(&client.to_string()[..]);
            assert_eq!(authors, [&expected], "seed {seed}: the author of {client}, {range:?} is lost (I-6)");
        }
    }
}

#[test]
fn whatever_a_log_loses() {
    let (mut recovered, mut salvaged, mut cut_ids, mut losses) = (0, 0, 0, 0);
    let seeds: u64 = std::env::var("LOSSY_SEEDS").map_or(400, |count| count.parse().unwrap());
    let first: u64 = std::env::var("LOSSY_FROM").map_or(0, |count| count.parse().unwrap());
    for seed in first..first + seeds {
        let mut random = Random::new(seed);
        let memory = *random.one_of(&[Memory::Nothing, Memory::Lines, Memory::All]);
        let mut world = World::new(1 + random.below(3));
        for _ in 0..150 + random.below(250) {
            world.step(&mut random, memory);
        }
        world.settle();
        world.assert_laws(seed, memory);
        losses += world.stores.losses;
        for node in &world.nodes {
            recovered += node.recovered;
            salvaged += node.salvaged;
            cut_ids += node.cut_ids;
        }
    }
    let counts = format!("{losses} losses, {recovered} recoveries, {salvaged} messages, {cut_ids} ids without author");
    assert!(seeds < 100 || [losses, recovered, salvaged, cut_ids as usize].iter().all(|n| *n as u64 > seeds / 10), "{counts}");
}
