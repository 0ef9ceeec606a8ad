//! What one tail follows and where it stands: decisions only, no file and no waiting.
//!
//! Each followed room is in one of three modes. *Live*: everything up to `position` is delivered or queued here, and
//! the writer hands over what comes after. *Behind*: there may be more in the file; it is read when the consumer has
//! time. *Reading*: such a read is under way; what is committed meanwhile is remembered by its clock only, because
//! the page may hold it or not. So a tail that nobody drains holds at most its bound, and the file holds the rest.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use yhub_core::{RoomId, StreamClock};
use yhub_store::{LogEntry, ReadPage, TailEvent};

/// What an entry costs beside its message.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Where one followed room stands.
#[derive(Debug)]
struct Followed {
    /// Tells this following from an earlier one of the same room.
    generation: u64,
    /// Everything up to here was delivered or is in `queued`.
    position: StreamClock,
    queued: Vec<LogEntry>,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Behind,
    Reading { committed_upto: StreamClock },
}

/// What the consumer is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Deliver this.
    Deliver(TailEvent),
    /// Read a page and bring it to [`TailState::page`].
    Read(ReadTicket),
    /// Nothing; wait for a push or a page.
    Wait,
}

/// A read that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadTicket {
    pub(crate) room: RoomId,
    pub(crate) after: StreamClock,
    generation: u64,
}

/// All rooms of one tail.
#[derive(Debug)]
pub(crate) struct TailState {
    rooms: HashMap<RoomId, Followed>,
    /// Rooms with something queued, each once per time it became so.
    ready: VecDeque<RoomId>,
    /// Rooms to read, with their generation; stale ones are skipped.
    behind: VecDeque<(RoomId, u64)>,
    queued_bytes: usize,
    bound_bytes: usize,
    generations: u64,
}

impl TailState {
    /// A tail that follows nothing and queues about `bound_bytes`.
    pub(crate) fn new(bound_bytes: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            queued_bytes: 0,
            bound_bytes,
            generations: 0,
        }
    }

    pub(crate) fn follow(&mut self, room: RoomId, after: StreamClock) {
        self.unfollow(&room);
        self.generations += 1;
        let generation = self.generations;
        self.behind.push_back((room.clone(), generation));
        let followed = Followed { generation, position: after, queued: Vec::new(), mode: Mode::Behind };
        self.rooms.insert(room, followed);
    }

    pub(crate) fn unfollow(&mut self, room: &RoomId) {
        if let Some(gone) = self.rooms.remove(room) {
            self.queued_bytes -= gone.queued.iter().map(cost_bytes).sum::<usize>();
        }
        // Its places in `ready` and `behind` go stale; but they must not pile up if it is followed again and again.
        if self.ready.len() + self.behind.len() > 2 * self.rooms.len() + 64 {
            self.drop_stale();
        }
    }

    /// New entries of `room`, just committed. Says whether there is now something to do.
    pub(crate) fn push(&mut self, room: &RoomId, entries: &[LogEntry]) -> bool {
        let Some(followed) = self.rooms.get_mut(room) else { return false };
        let Some(newest) = entries.last().map(|entry| entry.clock) else { return false };
        match &mut followed.mode {
            Mode::Behind => return false,
            Mode::Reading { committed_upto } => {
                *committed_upto = newest.max(*committed_upto);
                return false;
            }
            Mode::Live => {}
        }
        // A page may have brought some of them already.
        let new = entries.iter().filter(|entry| entry.clock > followed.position);
        let new_bytes: usize = new.clone().map(cost_bytes).sum();
        if new_bytes == 0 {
            return false;
        }
        if self.queued_bytes + new_bytes > self.bound_bytes {
            followed.mode = Mode::Behind;
            // What is queued goes first; see `next`.
            if followed.queued.is_empty() {
                self.behind.push_back((room.clone(), followed.generation));
            }
            return true;
        }
        if followed.queued.is_empty() {
            self.ready.push_back(room.clone());
        }
        followed.queued.extend(new.cloned());
        followed.position = newest;
        self.queued_bytes += new_bytes;
        true
    }

    /// What to do now. `may_read`: is there capacity for another read?
    pub(crate) fn next(&mut self, may_read: bool) -> Step {
        while let Some(room) = self.ready.pop_front() {
            let Some(followed) = self.rooms.get_mut(&room) else { continue };
            if followed.queued.is_empty() {
                continue;
            }
            let entries: Arc<[LogEntry]> = std::mem::take(&mut followed.queued).into();
            self.queued_bytes -= entries.iter().map(cost_bytes).sum::<usize>();
            if followed.mode == Mode::Behind {
                self.behind.push_back((room.clone(), followed.generation));
            }
            return Step::Deliver(TailEvent::Entries { room, entries });
        }
        while may_read && let Some((room, generation)) = self.behind.pop_front() {
            let Some(followed) = self.rooms.get_mut(&room) else { continue };
            if followed.generation != generation || followed.mode != Mode::Behind {
                continue;
            }
            followed.mode = Mode::Reading { committed_upto: StreamClock::ZERO };
            return Step::Read(ReadTicket { room, after: followed.position, generation });
        }
        Step::Wait
    }

    /// A page that was read for `ticket`, and what to deliver of it.
    pub(crate) fn page(&mut self, ticket: ReadTicket, page: ReadPage) -> Option<TailEvent> {
        let ReadTicket { room, after, generation } = ticket;
        let followed = self.rooms.get_mut(&room).filter(|followed| followed.generation == generation)?;
        let Mode::Reading { committed_upto } = followed.mode else { return None };
        if page.trimmed_upto > after {
            self.rooms.remove(&room);
            return Some(TailEvent::Gap { room });
        }
        if let Some(last) = page.entries.last() {
            followed.position = last.clock;
        }
        if page.more || committed_upto > followed.position {
            followed.mode = Mode::Behind;
            self.behind.push_back((room.clone(), generation));
        } else {
            followed.mode = Mode::Live;
        }
        if page.entries.is_empty() {
            return None;
        }
        Some(TailEvent::Entries { room, entries: page.entries.into() })
    }

    fn drop_stale(&mut self) {
        let rooms = &self.rooms;
        self.behind.retain(|(room, generation)| rooms.get(room).is_some_and(|followed| followed.generation == *generation));
        let mut seen = std::collections::HashSet::new();
        self.ready
            .retain(|room| rooms.get(room).is_some_and(|followed| !followed.queued.is_empty()) && seen.insert(room.clone()));
    }
}

fn cost_bytes(entry: &LogEntry) -> usize {
    ENTRY_OVERHEAD_BYTES + entry.message.as_ref().map_or(0, bytes::Bytes::len)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A log of a few rooms, with commits that the tail has not been told of yet.
    #[derive(Default)]
    struct Model {
        committed: Vec<Vec<LogEntry>>,
        trimmed: Vec<StreamClock>,
        /// Committed, and not yet pushed, in order.
        to_push: VecDeque<(usize, Vec<LogEntry>)>,
        /// Read, and not yet brought back.
        pages: Vec<(ReadTicket, ReadPage)>,
        clock: u64,
    }

    /// What the consumer has been brought of one room since it followed it last.
    #[derive(Default)]
    struct Seen {
        position: StreamClock,
        followed: bool,
    }

    fn room(n: usize) -> RoomId {
        RoomId::new("o", &n.to_string(), "main")
    }

    impl Model {
        fn commit(&mut self, n: usize, count: u64, size_bytes: usize) {
            let entries: Vec<_> = (0..count)
                .map(|_| {
                    self.clock += 1;
                    let message = Some(Bytes::from(vec![0; size_bytes]));
                    LogEntry { clock: StreamClock::new(self.clock, 0), message }
                })
                .collect();
            self.committed[n].extend(entries.iter().cloned());
            self.to_push.push_back((n, entries));
        }

        /// Reads as the file would at this moment.
        fn read(&mut self, ticket: ReadTicket, limit: usize) {
            let n: usize = ticket.room.docid().parse().unwrap();
            let mut entries: Vec<_> = self.committed[n].iter().filter(|entry| entry.clock > ticket.after).cloned().collect();
            let more = entries.len() > limit;
            entries.truncate(limit);
            self.pages.push((ticket, ReadPage { entries, more, trimmed_upto: self.trimmed[n] }));
        }
    }

    /// Over random interleavings of commits, their delayed pushes, reads and their delayed pages, trims, follows and
    /// unfollows: each following is brought every entry after its clock, once and in order, or is told of a gap.
    #[test]
    fn nothing_is_lost_or_brought_twice() {
        let (mut gaps, mut delivered, mut behind) = (0, 0, 0);
        for seed in 0..600 {
            const ROOMS: usize = 3;
            let mut random = fastrand::Rng::with_seed(seed);
            let bound = [1, 200, 10_000][random.u64(..3) as usize];
            let mut tail = TailState::new(bound);
            let mut model = Model { committed: vec![vec![]; ROOMS], trimmed: vec![StreamClock::ZERO; ROOMS], ..Model::default() };
            let mut seen: Vec<Seen> = (0..ROOMS).map(|_| Seen::default()).collect();
            // At the end everything comes to rest, and nothing may be missing then.
            let (busy, rest) = (300, 400);
            for step in 0..busy + rest {
                let n = random.u64(..ROOMS as u64) as usize;
                let choice = if step < busy { random.u64(..10) } else { 5 + random.u64(..5) };
                match choice {
                    0 | 1 => model.commit(n, 1 + random.u64(..3), random.u64(..120) as usize),
                    2 if random.u64(..4) == 0 && !model.committed[n].is_empty() => {
                        let upto = random.u64(..model.committed[n].len() as u64) as usize;
                        model.trimmed[n] = model.committed[n][upto].clock;
                        model.committed[n].drain(..=upto);
                    }
                    3 if random.u64(..3) == 0 => {
                        let last = model.committed[n].last().map_or(StreamClock::ZERO, |entry| entry.clock);
                        let after = [StreamClock::ZERO, last, seen[n].position][random.u64(..3) as usize];
                        tail.follow(room(n), after);
                        seen[n] = Seen { position: after, followed: true };
                    }
                    4 if random.u64(..6) == 0 => {
                        tail.unfollow(&room(n));
                        seen[n].followed = false;
                    }
                    5 => {
                        if let Some((n, entries)) = model.to_push.pop_front() {
                            tail.push(&room(n), &entries);
                        }
                    }
                    _ => {
                        let event = if random.u64(..2) == 0 && !model.pages.is_empty() {
                            let at = random.u64(..model.pages.len() as u64) as usize;
                            let (ticket, page) = model.pages.swap_remove(at);
                            tail.page(ticket, page)
                        } else {
                            match tail.next(model.pages.len() < 2) {
                                Step::Deliver(event) => Some(event),
                                Step::Read(ticket) => {
                                    behind += 1;
                                    model.read(ticket, 1 + random.u64(..4) as usize);
                                    None
                                }
                                Step::Wait => None,
                            }
                        };
                        match event {
                            None => {}
                            Some(TailEvent::Gap { room }) => {
                                let n: usize = room.docid().parse().unwrap();
                                assert!(seen[n].followed && model.trimmed[n] > seen[n].position, "seed {seed}: no gap");
                                seen[n].followed = false;
                                gaps += 1;
                            }
                            Some(TailEvent::Entries { room, entries }) => {
                                let n: usize = room.docid().parse().unwrap();
                                assert!(seen[n].followed, "seed {seed}: not followed");
                                for entry in entries.iter() {
                                    assert!(entry.clock > seen[n].position, "seed {seed}: {} twice", entry.clock);
                                    let skipped = model.committed[n]
                                        .iter()
                                        .any(|other| other.clock > seen[n].position && other.clock < entry.clock);
                                    assert!(!skipped, "seed {seed}: one before {} was left out", entry.clock);
                                    seen[n].position = entry.clock;
                                    delivered += 1;
                                }
                            }
                            Some(other) => panic!("seed {seed}: {other:?}"),
                        }
                    }
                }
                assert!(tail.queued_bytes <= bound, "seed {seed}: {} bytes queued", tail.queued_bytes);
                assert!(tail.ready.len() + tail.behind.len() <= 4 * ROOMS + 70, "seed {seed}: stale rooms pile up");
            }
            for (n, seen) in seen.iter().enumerate().filter(|(_, seen)| seen.followed) {
                let missing = model.committed[n].iter().any(|entry| entry.clock > seen.position);
                assert!(!missing, "seed {seed}: room {n} waits for what is there");
            }
        }
        assert!(gaps > 50 && delivered > 10_000 && behind > 1_000, "{gaps} gaps, {delivered} entries, {behind} reads");
    }

    #[test]
    fn a_new_following_gets_nothing_of_the_old_one() {
        let mut tail = TailState::new(10_000);
        let entry = |ms| LogEntry { clock: StreamClock::new(ms, 0), message: None };
        let page = |entries| ReadPage { entries, more: false, trimmed_upto: StreamClock::ZERO };
        tail.follow(room(1), StreamClock::ZERO);
        let Step::Read(old) = tail.next(true) else { panic!("it is behind") };
        tail.follow(room(1), StreamClock::new(5, 0));
        assert_eq!(tail.page(old, page(vec![entry(1)])), None);
        let Step::Read(new) = tail.next(true) else { panic!("it is behind") };
        assert_eq!(new.after, StreamClock::new(5, 0));
        assert_eq!(tail.page(new, page(vec![])), None);
        assert!(tail.push(&room(1), &[entry(6)]));
        tail.follow(room(1), StreamClock::new(6, 0));
        assert!(matches!(tail.next(true), Step::Read(_)), "what was queued for the old one is gone");
        assert_eq!(tail.queued_bytes, 0);
    }
}
