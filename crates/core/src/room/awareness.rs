//! Who is present in a room, and who may say so.
//!
//! A client id belongs to the session that first used it: nobody speaks or leaves for another. Clients of the usual
//! libraries repeat what they learn about others; those repetitions must neither bind an id nor bring the dead back.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use yhub_encoding::MAX_UINT;

use crate::{SessionId, limiting::Bound};

/// A state that nobody renewed for so long is dropped: its node is gone. Clients renew every 15 s.
pub const AWARENESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it is remembered that somebody left, so that a late repetition does not bring the state back.
const DEPARTED_MEMORY: Duration = Duration::from_secs(120);
/// Of so many at most: who comes and goes under ever new ids would fill it. Forgotten first is who left first.
const MAX_DEPARTED: usize = 4_096;
/// About what is kept of a client beside its state.
const CLIENT_BYTES: usize = 256;

/// One client's state: JSON text, `None` when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Counts the changes of this client's state.
    pub clock: u64,
    /// JSON text as the client wrote it; `None` when it is gone.
    pub state: Option<Arc<str>>,
    /// Who says so, if they have shown who they are.
    pub user: Option<Arc<str>>,
}

impl Presence {
    /// Bytes of the state.
    fn state_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.len())
    }

    /// About what it takes to keep it while its client is there.
    fn weight(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.len() + CLIENT_BYTES)
    }

    /// Is somebody there who has shown who they are?
    fn is_claimed(&self) -> bool {
        self.state.is_some() && self.user.is_some()
    }

    /// Does `newer` replace `self`? (`None`: nothing known yet, which counts as clock 0 without a state.)
    pub(crate) fn yields_to(known: Option<&Self>, newer: &Self) -> bool {
        let (clock, alive) = known.map_or((0, false), |k| (k.clock, k.state.is_some()));
        newer.clock > clock || (newer.clock == clock && newer.state.is_none() && alive)
    }

    /// Is `newer` the word of another than who speaks for the client as far as is `known`? While a client is there nobody but who
    /// first spoke for it does, on whatever node: all nodes hear the stream in one order, so they agree on who that is. What is said by
    /// nobody in particular (another kind of hub, a request with the right to) is taken.
    fn is_of_another(known: Option<&Self>, newer: &Self) -> bool {
        let Some(Self { state: Some(_), user: Some(speaks), .. }) = known else { return false };
        newer.user.as_ref().is_some_and(|user| user != speaks)
    }
}

struct Known {
    presence: Presence,
    seen_ms: u64,
}

/// Who speaks for a client.
struct Owner {
    session: SessionId,
    /// The newest that it has said, which may still be on its way to the stream.
    said: Presence,
}

/// The clients that a session speaks for.
#[derive(Default)]
struct Spoken {
    clients: Vec<u64>,
    /// Bytes of what it last said of them.
    state_bytes: usize,
}

/// Bounds of what sessions say of themselves. What is beyond is ignored.
#[derive(Clone, Copy, Debug)]
pub struct AwarenessBounds {
    /// Clients that one session speaks for.
    pub clients_per_session: usize,
    /// Bytes of the states of the clients that one session speaks for.
    pub bytes_per_session: usize,
    /// Bytes of everyone who is there: states, and 256 for each client.
    pub bytes: usize,
}

/// The presence of one room: what the stream has said, who may speak for whom, and what waits to be appended.
pub struct AwarenessBoard {
    known: HashMap<u64, Known>,
    /// The weight of those who are there.
    known_bytes: usize,
    /// Who left and when, in that order; also of those who have come back since.
    departed: VecDeque<(u64, u64)>,
    owners: HashMap<u64, Owner>,
    /// The same by session, so that nobody's coming and going costs a walk over everybody.
    clients: HashMap<SessionId, Spoken>,
    // Ordered, so that what goes out does not depend on hashing.
    pending: BTreeMap<u64, Presence>,
    bounds: AwarenessBounds,
    ignored: Option<Bound>,
}

impl AwarenessBoard {
    /// Nobody is there.
    pub fn new(bounds: AwarenessBounds) -> Self {
        Self {
            known: HashMap::new(),
            known_bytes: 0,
            departed: VecDeque::new(),
            owners: HashMap::new(),
            clients: HashMap::new(),
            pending: BTreeMap::new(),
            bounds,
            ignored: None,
        }
    }

    /// Why something was ignored since this was asked last, if that was for its size or number.
    pub fn take_ignored(&mut self) -> Option<Bound> {
        self.ignored.take()
    }

    /// Is there room for `entry`, of whom `known` is known, among everyone who is there?
    fn has_room(&self, known: Option<&Presence>, entry: &Presence) -> bool {
        let before = known.map_or(0, Presence::weight);
        entry.weight() <= before || self.known_bytes - before + entry.weight() <= self.bounds.bytes
    }

    /// Takes what a session says. What it may say waits in [`Self::take_pending`]. Returns what the session must be told
    /// itself: that a client it speaks of has left. A client that reads this of itself raises its clock and says again that it
    /// is there; anyone else knew already. `user` is who is behind the session, if they have shown it.
    pub fn on_session(
        &mut self,
        session: SessionId,
        user: Option<&Arc<str>>,
        entries: impl IntoIterator<Item = (u64, Presence)>,
    ) -> Vec<(u64, Presence)> {
        let mut corrections = Vec::new();
        for (client, entry) in entries {
            let entry = Presence { user: user.cloned(), ..entry };
            let known = self.known.get(&client).map(|known| &known.presence);
            if Presence::is_of_another(known, &entry) || (user.is_none() && known.is_some_and(Presence::is_claimed)) {
                continue;
            }
            if !self.has_room(known, &entry) {
                self.ignored = Some(Bound::RoomPresence);
                continue;
            }
            let spoken_bytes = self.clients.get(&session).map_or(0, |spoken| spoken.state_bytes);
            match self.owners.get_mut(&client) {
                Some(owner) if owner.session == session => {
                    let state_bytes = spoken_bytes - owner.said.state_bytes() + entry.state_bytes();
                    if entry.state_bytes() > owner.said.state_bytes() && state_bytes > self.bounds.bytes_per_session {
                        self.ignored = Some(Bound::PresenceClients);
                        continue;
                    }
                    if Presence::yields_to(Some(&owner.said), &entry) {
                        owner.said = entry.clone();
                        self.clients.entry(session).or_default().state_bytes = state_bytes;
                    }
                }
                Some(_) => continue,
                None => {
                    let known = self.newest(client);
                    if entry.state.is_none() {
                        continue;
                    }
                    if let Some(known) = known
                        && !Presence::yields_to(Some(known), &entry)
                    {
                        if known.state.is_none() {
                            corrections.push((client, known.clone()));
                        }
                        continue;
                    }
                    let spoken = self.clients.entry(session).or_default();
                    let state_bytes = spoken.state_bytes + entry.state_bytes();
                    if spoken.clients.len() >= self.bounds.clients_per_session || state_bytes > self.bounds.bytes_per_session {
                        self.ignored = Some(Bound::PresenceClients);
                        continue;
                    }
                    spoken.clients.push(client);
                    spoken.state_bytes = state_bytes;
                    self.owners.insert(client, Owner { session, said: entry.clone() });
                }
            }
            let newest = self.newest(client);
            // A first entry of clock 0 announces a client; it is passed on although tables do not take it over.
            if newest.is_none() || Presence::yields_to(newest, &entry) {
                self.pending.insert(client, entry);
            }
        }
        corrections
    }

    /// What is to be said of a client next, or was said last.
    fn newest(&self, client: u64) -> Option<&Presence> {
        self.pending.get(&client).or_else(|| self.known.get(&client).map(|known| &known.presence))
    }

    /// A session ended: every client it spoke for leaves.
    pub fn on_leave(&mut self, session: SessionId) {
        for client in self.clients.remove(&session).unwrap_or_default().clients {
            let Some(owner) = self.owners.remove(&client) else { continue };
            let known = self.newest(client).map_or(0, |known| known.clock);
            // Above what is still on its way to the stream too: it arrives there first, and would stay (I-8). A client at the
            // very last clock goes by an entry with that clock.
            let clock = owner.said.clock.max(known).saturating_add(1).min(MAX_UINT);
            self.pending.insert(client, Presence { clock, state: None, user: owner.said.user });
        }
    }

    /// The stream may have lost what it was told: everyone who is here is to be announced again, as last heard.
    pub fn announce_again(&mut self) {
        for (client, owner) in &self.owners {
            self.pending.entry(*client).or_insert_with(|| owner.said.clone());
        }
    }

    /// Is anything waiting to be appended?
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes what waits, the latest state of each client, ascending by client.
    pub fn take_pending(&mut self) -> Vec<(u64, Presence)> {
        std::mem::take(&mut self.pending).into_iter().collect()
    }

    /// Takes what the stream says, at `now_ms`. Returns what counts of it: all but the word of who does not speak for a client.
    pub fn on_stream(&mut self, entries: impl IntoIterator<Item = (u64, Presence)>, now_ms: u64) -> Vec<(u64, Presence)> {
        let mut counts = Vec::new();
        for (client, mut entry) in entries {
            let known = self.known.get(&client).map(|k| &k.presence);
            if Presence::is_of_another(known, &entry) {
                continue;
            }
            let is_newer = Presence::yields_to(known, &entry);
            if is_newer && !self.has_room(known, &entry) {
                self.ignored = Some(Bound::RoomPresence);
                continue;
            }
            counts.push((client, entry.clone()));
            if is_newer {
                if let (None, Some(known)) = (&entry.user, known.filter(|known| known.is_claimed())) {
                    // Said by nobody in particular: it stays the word of who has spoken.
                    entry.user = known.user.clone();
                }
                // Somebody here took the client for theirs while this was on its way: it is not, and they leave for nobody.
                if let Some(owner) = self.owners.get(&client)
                    && entry.state.is_some()
                    && entry.user.is_some()
                    && entry.user != owner.said.user
                {
                    let (session, state_bytes) = (owner.session, owner.said.state_bytes());
                    self.owners.remove(&client);
                    self.pending.remove(&client);
                    self.forget_client(session, client, state_bytes);
                }
                self.remember(client, Known { presence: entry, seen_ms: now_ms });
            }
        }
        counts
    }

    fn remember(&mut self, client: u64, known: Known) {
        let (weight, has_left, seen_ms) = (known.presence.weight(), known.presence.state.is_none(), known.seen_ms);
        let before = self.known.insert(client, known);
        self.known_bytes = self.known_bytes + weight - before.map_or(0, |before| before.presence.weight());
        if has_left {
            self.departed.push_back((client, seen_ms));
            self.bound_departed();
        }
    }

    fn bound_departed(&mut self) {
        while self.departed.len() > MAX_DEPARTED
            && let Some((client, seen_ms)) = self.departed.pop_front()
        {
            let has_left = |known: &Known| known.presence.state.is_none() && known.seen_ms == seen_ms;
            if self.known.get(&client).is_some_and(has_left) {
                self.known.remove(&client);
            }
        }
    }

    fn forget_client(&mut self, session: SessionId, client: u64, state_bytes: usize) {
        if let Some(spoken) = self.clients.get_mut(&session) {
            spoken.clients.retain(|own| *own != client);
            spoken.state_bytes -= state_bytes;
            if spoken.clients.is_empty() {
                self.clients.remove(&session);
            }
        }
    }

    /// Everyone who is there, and those who left a short while ago; ascending by client.
    pub fn snapshot(&self) -> Vec<(u64, Presence)> {
        let mut all: Vec<_> = self.known.iter().map(|(client, known)| (*client, known.presence.clone())).collect();
        all.sort_unstable_by_key(|(client, _)| *client);
        all
    }

    /// Drops states that nobody renewed for [`AWARENESS_TIMEOUT`], and forgets who left long ago. Returns the dropped, as
    /// clients are to be told.
    pub fn expire(&mut self, now_ms: u64) -> Vec<(u64, Presence)> {
        let mut dropped = Vec::new();
        for (client, known) in &mut self.known {
            let age = now_ms.saturating_sub(known.seen_ms);
            if known.presence.state.is_some() && age > AWARENESS_TIMEOUT.as_millis() as u64 {
                self.known_bytes -= known.presence.weight();
                known.presence.state = None;
                known.seen_ms = now_ms;
                self.departed.push_back((*client, now_ms));
                dropped.push((*client, known.presence.clone()));
            }
        }
        let is_remembered = |seen_ms: u64| now_ms.saturating_sub(seen_ms) <= DEPARTED_MEMORY.as_millis() as u64;
        self.known.retain(|_, known| known.presence.state.is_some() || is_remembered(known.seen_ms));
        self.departed.retain(|(_, seen_ms)| is_remembered(*seen_ms));
        self.bound_departed();
        dropped.sort_unstable_by_key(|(client, _)| *client);
        dropped
    }

    /// Is anybody known, who may have to be dropped or forgotten?
    pub fn knows_anybody(&self) -> bool {
        !self.known.is_empty()
    }

    /// Is nothing known, bound or waiting?
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.owners.is_empty() && self.pending.is_empty()
    }

    /// The sessions that speak for somebody; for checks.
    pub fn speakers(&self) -> HashSet<SessionId> {
        self.clients.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SessionId = SessionId(1);
    const BOB: SessionId = SessionId(2);

    fn here(clock: u64) -> Presence {
        Presence { clock, state: Some("{}".into()), user: None }
    }

    fn gone(clock: u64) -> Presence {
        Presence { clock, state: None, user: None }
    }

    fn board(clients_per_session: usize) -> AwarenessBoard {
        AwarenessBoard::new(AwarenessBounds { clients_per_session, bytes_per_session: 100, bytes: 10_000 })
    }

    fn says(clock: u64, state_bytes: usize) -> Presence {
        Presence { clock, state: Some("x".repeat(state_bytes).into()), user: None }
    }

    /// Appends what waits and delivers it, as the stream would.
    fn settle(board: &mut AwarenessBoard, now_ms: u64) -> Vec<(u64, Presence)> {
        let sent = board.take_pending();
        board.on_stream(sent.clone(), now_ms);
        sent
    }

    #[test]
    fn the_latest_state_of_each_client_goes_out_once() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(0))]);
        board.on_session(ANN, None, [(7, here(1))]);
        board.on_session(ANN, None, [(7, here(2))]);
        assert_eq!(settle(&mut board, 0), [(7, here(2))]);
        assert!(!board.has_pending());
    }

    #[test]
    fn nobody_speaks_or_leaves_for_another() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(1))]);
        settle(&mut board, 0);
        board.on_session(BOB, None, [(7, here(5)), (7, gone(9))]);
        assert!(!board.has_pending());
        board.on_leave(BOB);
        assert!(!board.has_pending());
    }

    #[test]
    fn a_session_takes_its_clients_with_it() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(1))]);
        settle(&mut board, 0);
        board.on_session(ANN, None, [(7, here(2))]);
        board.on_leave(ANN);
        assert_eq!(settle(&mut board, 0), [(7, gone(3))]);
        assert!(board.speakers().is_empty());
    }

    #[test]
    fn what_is_still_on_its_way_when_a_session_ends_dies_too() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(50))]);
        let on_its_way = board.take_pending();
        board.on_leave(ANN);
        board.on_stream(on_its_way, 0);
        assert_eq!(settle(&mut board, 0), [(7, gone(51))]);
        assert_eq!(board.snapshot(), [(7, gone(51))]);
    }

    #[test]
    fn who_comes_back_too_early_does_not_undo_the_leaving() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(50))]);
        let on_its_way = board.take_pending();
        board.on_leave(ANN);
        // The same client through a new session, with the clock of an older life: it is told, and raises it.
        assert_eq!(board.on_session(BOB, None, [(7, here(3))]), [(7, gone(51))]);
        board.on_leave(BOB);
        board.on_stream(on_its_way, 0);
        assert_eq!(settle(&mut board, 0), [(7, gone(51))]);
    }

    #[test]
    fn a_client_at_the_last_clock_leaves() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(MAX_UINT))]);
        settle(&mut board, 0);
        board.on_leave(ANN);
        assert_eq!(settle(&mut board, 0), [(7, gone(MAX_UINT))]);
        assert_eq!(board.snapshot(), [(7, gone(MAX_UINT))]);
    }

    #[test]
    fn a_repetition_does_not_bring_the_dead_back_and_the_living_are_told() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(5))]);
        settle(&mut board, 0);
        board.on_leave(ANN);
        settle(&mut board, 0);
        // Bob repeats what he learned of 7 before he heard that it left; so does 7 itself after a reconnect.
        assert_eq!(board.on_session(BOB, None, [(7, here(5))]), [(7, gone(6))]);
        assert!(!board.has_pending());
        // 7 raises its clock and is there again.
        assert_eq!(board.on_session(ANN, None, [(7, here(7))]), []);
        assert_eq!(settle(&mut board, 0), [(7, here(7))]);
    }

    #[test]
    fn what_another_node_says_is_not_bound_by_its_repetition() {
        let mut board = board(8);
        board.on_stream([(7, here(3))], 0);
        board.on_session(BOB, None, [(7, here(3))]);
        assert!(board.speakers().is_empty());
        assert!(!board.has_pending());
    }

    #[test]
    fn what_the_stream_has_lost_is_said_again() {
        let mut board = board(8);
        board.on_session(ANN, None, [(7, here(3))]);
        // On its way when the log loses it: nothing of it comes back.
        board.take_pending();
        board.on_session(BOB, None, [(8, here(1))]);
        board.announce_again();
        assert_eq!(board.take_pending(), [(7, here(3)), (8, here(1))]);
    }

    #[test]
    fn states_that_nobody_renews_die() {
        let mut board = board(8);
        board.on_stream([(7, here(3))], 1_000);
        assert_eq!(board.expire(31_000), []);
        assert_eq!(board.snapshot(), [(7, here(3))]);
        assert_eq!(board.expire(31_001), [(7, gone(3))]);
        assert_eq!(board.snapshot(), [(7, gone(3))]);
        board.expire(31_001 + 120_001);
        assert!(board.is_empty());
    }

    #[test]
    fn a_session_speaks_for_a_bounded_number_of_clients() {
        let mut board = board(2);
        board.on_session(ANN, None, (0..10).map(|client| (client, here(1))));
        assert_eq!(board.take_pending().len(), 2);
    }

    fn user(name: &str) -> Option<Arc<str>> {
        Some(name.into())
    }

    /// What was said on another node is on the stream.
    fn elsewhere(clock: u64, name: &str) -> Presence {
        Presence { user: user(name), ..here(clock) }
    }

    #[test]
    fn nobody_speaks_for_who_is_there_on_another_node() {
        let mut board = board(64);
        board.on_stream([(7, elsewhere(3, "ann"))], 0);
        for other in [user("eve"), None] {
            board.on_session(BOB, other.as_ref(), [(7, here(9)), (7, gone(10))]);
            assert!(!board.has_pending(), "{other:?}");
        }
        // Ann herself comes back through this node.
        board.on_session(BOB, user("ann").as_ref(), [(7, here(4))]);
        assert_eq!(board.take_pending(), [(7, elsewhere(4, "ann"))]);
    }

    #[test]
    fn of_two_who_begin_at_once_the_first_in_the_stream_speaks() {
        let mut board = board(64);
        board.on_session(BOB, user("eve").as_ref(), [(7, here(1))]);
        let eves = board.take_pending();
        assert_eq!(board.on_stream([(7, elsewhere(1, "ann"))], 0).len(), 1);
        assert_eq!(board.on_stream(eves, 0), [], "it is another's");
        assert_eq!(board.snapshot(), [(7, elsewhere(1, "ann"))]);
        // Nor does she leave for her.
        board.on_leave(BOB);
        assert!(!board.has_pending());
        let leaves = Presence { user: user("eve"), ..gone(9) };
        assert_eq!(board.on_stream([(7, leaves)], 0), []);
        // Who has left may be followed by anybody.
        let leaves = Presence { user: user("ann"), ..gone(2) };
        assert_eq!(board.on_stream([(7, leaves)], 0).len(), 1);
        board.on_session(BOB, user("eve").as_ref(), [(7, here(3))]);
        assert_eq!(board.take_pending(), [(7, elsewhere(3, "eve"))]);
    }

    #[test]
    fn what_nobody_in_particular_says_counts_and_binds_nobody() {
        let mut board = board(64);
        board.on_stream([(7, elsewhere(3, "ann"))], 0);
        assert_eq!(board.on_stream([(7, here(4))], 0).len(), 1);
        assert_eq!(board.snapshot(), [(7, elsewhere(4, "ann"))]);
        board.on_stream([(8, here(1))], 0);
        board.on_session(BOB, user("bob").as_ref(), [(8, here(2))]);
        assert_eq!(board.take_pending(), [(8, elsewhere(2, "bob"))]);
    }

    #[test]
    fn a_session_says_no_more_than_it_may() {
        let mut board = board(8);
        board.on_session(ANN, None, [(1, says(1, 60)), (2, says(1, 41)), (3, says(1, 40))]);
        assert_eq!(board.take_ignored(), Some(Bound::PresenceClients));
        assert_eq!(settle(&mut board, 0), [(1, says(1, 60)), (3, says(1, 40))]);
        // More of one is less of another; what leaves gives room.
        board.on_session(ANN, None, [(1, says(2, 61))]);
        assert_eq!(board.take_ignored(), Some(Bound::PresenceClients));
        board.on_session(ANN, None, [(1, says(3, 10)), (3, says(2, 90))]);
        assert_eq!(board.take_ignored(), None);
        board.on_session(ANN, None, [(3, gone(3)), (2, says(2, 90))]);
        assert_eq!(board.take_ignored(), None);
        assert_eq!(settle(&mut board, 0), [(1, says(3, 10)), (2, says(2, 90)), (3, gone(3))]);
    }

    #[test]
    fn a_room_holds_no_more_presence_than_it_may_whoever_says_it() {
        let mut board = AwarenessBoard::new(AwarenessBounds { clients_per_session: 8, bytes_per_session: 1_000, bytes: 1_000 });
        board.on_stream([(1, says(1, 300)), (2, says(1, 100))], 0);
        assert_eq!(board.known_bytes, 912);
        // One more does not fit, neither from here nor from elsewhere; who is there may say less, or go.
        board.on_session(ANN, None, [(3, says(1, 0))]);
        assert_eq!((board.take_ignored(), board.has_pending()), (Some(Bound::RoomPresence), false));
        assert_eq!(board.on_stream([(3, says(1, 0)), (1, says(2, 389))], 0), []);
        assert_eq!(board.take_ignored(), Some(Bound::RoomPresence));
        assert_eq!(board.on_stream([(1, says(3, 388)), (2, gone(2)), (3, says(2, 0))], 0).len(), 3);
        assert_eq!((board.take_ignored(), board.known_bytes), (None, 900));
        board.expire(30_001);
        assert_eq!(board.known_bytes, 0);
    }

    #[test]
    fn of_those_who_come_and_go_the_last_are_remembered() {
        let mut board = board(8);
        let most = MAX_DEPARTED as u64;
        for client in 0..most + 10 {
            board.on_stream([(client, here(1))], client);
            board.on_stream([(client, gone(2))], client);
        }
        assert_eq!((board.known.len(), board.departed.len()), (MAX_DEPARTED, MAX_DEPARTED));
        assert!(!board.known.contains_key(&9) && board.known.contains_key(&10));
        // Who has come back is not forgotten for having left before.
        board.on_stream([(10, here(3))], most + 10);
        board.on_stream([(most + 10, here(1)), (most + 10, gone(2))], most + 10);
        assert_eq!(board.known.get(&10).map(|known| &known.presence), Some(&here(3)));
        // Nor is anybody remembered for longer.
        let later = most + 11 + DEPARTED_MEMORY.as_millis() as u64;
        board.expire(later);
        assert_eq!(board.departed, [(10, later)]);
    }
}
