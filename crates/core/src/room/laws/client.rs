//! What one client sees of a room, and what must hold of it: at every message, when nothing is under way, at the end.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use yhub_content::ContentIds;

use super::{
    super::*,
    world::{World, ids_of},
};

/// One client.
#[derive(Default)]
pub(super) struct Client {
    pub(super) variant: Option<Variant>,
    /// What its document holds.
    pub(super) holds: ContentIds,
    /// Its sync under way: how many lines of the log the answer must cover.
    pub(super) syncing: Option<usize>,
    pub(super) answered: bool,
    /// Up to where its first answer reached.
    answered_upto: StreamClock,
    /// The line of the log that came last, among those after the answer.
    last_live: Option<usize>,
    asked: usize,
    pub(super) submitted: Vec<usize>,
    pub(super) cost_bytes: usize,
    pub(super) credit_bytes: usize,
    /// Its table of presence, as its library keeps it.
    table: BTreeMap<u64, Presence>,
}

impl Client {
    pub(super) fn new(variant: Variant) -> Self {
        Self { variant: Some(variant), ..Self::default() }
    }

    pub(super) fn variant(&self) -> Variant {
        self.variant.expect("set when it joined")
    }
}

/// Does an entry replace what a client's table holds, as the usual libraries see it?
fn takes_over(known: Option<&Presence>, entry: &Presence) -> bool {
    let (clock, alive) = known.map_or((0, false), |known| (known.clock, known.state.is_some()));
    entry.clock > clock || (entry.clock == clock && entry.state.is_none() && alive)
}

impl World {
    pub(super) fn deliver(&mut self, session: SessionId, messages: &[ServerMessage]) {
        let Some(mut client) = self.clients.remove(&session) else { return };
        for message in messages {
            match message {
                ServerMessage::Step1(_) => client.asked += 1,
                ServerMessage::Step2(answer) => self.answer(session, &mut client, answer),
                ServerMessage::Update(update) => self.live(session, &mut client, update),
                ServerMessage::Awareness(update) => {
                    for (id, presence) in decode_presence(update).expect("encoded by the core") {
                        if takes_over(client.table.get(&id), &presence) {
                            self.counts.goodbyes += usize::from(presence.state.is_none());
                            client.table.insert(id, presence);
                        }
                    }
                }
            }
        }
        self.clients.insert(session, client);
    }

    /// Law: an answer covers all that the tail had brought when it was asked for, and holds nothing the log has not.
    fn answer(&mut self, session: SessionId, client: &mut Client, answer: &Bytes) {
        self.counts.answers += 1;
        let covers = client.syncing.take().unwrap_or_else(|| panic!("{session:?} gets an answer that it did not ask for"));
        let ids = ids_of(answer);
        assert!(self.accepted_ids().contains_all(&ids), "I-1: the answer holds what the log has not accepted");
        client.holds.insert_all(&ids);
        if !std::mem::replace(&mut client.answered, true) {
            client.answered_upto = self.reached[client.variant() as usize];
        }
        self.assert_covered(session, client, covers);
    }

    /// Laws: I-1, I-11, and nothing that the answer held is sent again.
    fn live(&mut self, session: SessionId, client: &mut Client, update: &Bytes) {
        let line = self.log.iter().position(|line| line.update.as_ref().is_some_and(|known| known.as_ptr() == update.as_ptr()));
        client.holds.insert_all(&ids_of(update));
        let Some(line) = line else {
            // Not from the log: the echo of something that was there already.
            self.counts.echoes += 1;
            assert!(client.submitted.iter().any(|at| (0..1 << 20).contains(&(update.as_ptr() as usize).wrapping_sub(*at))));
            assert!(self.accepted_ids().contains_all(&ids_of(update)), "I-1: an echo of what the log has not accepted");
            return;
        };
        self.counts.live += 1;
        assert!(client.answered, "{session:?} gets line {line} before its answer");
        match client.last_live.replace(line) {
            None => {
                let clock = self.log[line].clock;
                assert!(clock > client.answered_upto, "{session:?} gets line {line} again, which its answer held");
                self.assert_covered(session, client, line);
            }
            Some(last) => {
                assert!(line > last, "I-11: {session:?} gets line {line} after {last}");
                let skipped = self.log[last + 1..line].iter().any(|line| line.update.is_some());
                assert!(!skipped, "I-11: {session:?} gets line {line} after {last}, and none between");
            }
        }
    }

    fn accepted_ids(&self) -> ContentIds {
        let mut ids = ContentIds::new();
        self.log.iter().filter_map(|line| line.update.as_ref()).for_each(|update| ids.insert_all(&ids_of(update)));
        ids
    }

    fn assert_covered(&self, session: SessionId, client: &Client, lines: usize) {
        for (at, update) in self.log[..lines].iter().enumerate().filter_map(|(at, line)| Some((at, line.update.as_ref()?))) {
            assert!(client.holds.contains_all(&ids_of(update)), "I-11: {session:?} misses line {at} of {lines}");
        }
    }

    /// What must hold of everybody when nothing is under way.
    pub(super) fn assert_at_rest(&self) {
        let mut present: BTreeMap<u64, Presence> = BTreeMap::new();
        for (id, presence) in
            self.log.iter().filter_map(|line| line.presence.as_ref()).flat_map(|update| decode_presence(update).unwrap())
        {
            if takes_over(present.get(&id), &presence) {
                present.insert(id, presence);
            }
        }
        present.retain(|_, presence| presence.state.is_some());
        for (session, client) in &self.clients {
            assert!(client.syncing.is_none(), "{session:?} was never answered");
            assert_eq!(client.credit_bytes, client.cost_bytes, "I-9: the budget of {session:?} leaks");
            assert!(client.asked <= 1, "{session:?} was asked {} times", client.asked);
            if client.answered {
                self.assert_covered(*session, client, self.log.len());
                let last = self.log.iter().rposition(|line| line.update.is_some());
                assert!(client.last_live.is_none() || client.last_live == last, "I-11: {session:?} misses the end");
                let mut table = client.table.clone();
                table.retain(|_, presence| presence.state.is_some());
                // Who was told of a goodbye that was given up then, knows better than the log.
                assert!(self.gave_up || table == present, "{session:?} sees {table:?}, there are {present:?}");
            }
        }
        assert!(!self.corked, "still corked");
        assert_eq!(self.core.outgoing.size_bytes(), 0, "I-9");
        self.assert_order_of_submissions();
    }

    /// Law: what one session submits stands in the log in that order, each where it stands first.
    fn assert_order_of_submissions(&self) {
        let mut first: HashMap<usize, usize> = HashMap::new();
        for (at, line) in self.log.iter().enumerate() {
            first.entry(line.submitted).or_insert(at);
        }
        for (session, client) in &self.clients {
            let places: Vec<usize> = client.submitted.iter().filter_map(|message| first.get(message).copied()).collect();
            assert!(places.is_sorted(), "{session:?} submitted in another order: {places:?}");
        }
    }

    /// Law: after everybody has left, nothing stays behind.
    pub(super) fn assert_deserted(&mut self) {
        assert!(self.core.is_idle(), "not idle although nobody is here");
        assert!(self.core.awareness.speakers().is_empty(), "I-8: somebody who left still speaks");
        if self.gave_up {
            // What could not be appended was told to nobody; then time is what ends it.
            self.pass(AWARENESS_TIMEOUT + Duration::from_secs(1));
        }
        for (id, presence) in self.core.awareness.snapshot() {
            let ours = self.spoken_for.contains(&id);
            assert!(!ours || presence.state.is_none(), "I-8: client {id} left and is still there");
        }
        self.evict();
        assert_eq!(self.core.snapshots.size_bytes(), 0, "bytes of document stay behind");
    }
}
