//! The laws of a tail, over random interleavings of everything that can happen to it.

use bytes::Bytes;

use super::*;

/// New entries of one room on their way to the tail.
#[derive(Clone)]
struct OnItsWay {
    n: usize,
    prev: StreamClock,
    entries: Vec<LogEntry>,
}

/// A log of a few rooms, with commits that the tail has not been told of yet.
#[derive(Default)]
struct Model {
    committed: Vec<Vec<LogEntry>>,
    trimmed: Vec<StreamClock>,
    /// Everything that ever was committed, trimmed or not.
    history: Vec<Vec<StreamClock>>,
    /// Committed, and not yet pushed, in order.
    to_push: VecDeque<OnItsWay>,
    /// Read, and not yet brought back.
    pages: Vec<(ReadTicket, ReadPage)>,
    clock: u64,
}

/// What the consumer has been brought of one room since it followed it last.
#[derive(Default)]
struct Seen {
    position: StreamClock,
    followed: bool,
    /// Is it still to hear that the log may have lost something?
    suspect: bool,
}

/// How often something happened over all seeds: that it did at all is part of what a test proves.
#[derive(Debug, Default)]
struct Counts {
    gaps: usize,
    delivered: usize,
    reads: usize,
    suspects: usize,
}

fn room(n: usize) -> RoomId {
    RoomId::new("o", &n.to_string(), "main")
}

fn number(room: &RoomId) -> usize {
    room.docid().parse().unwrap()
}

impl Model {
    fn new(rooms: usize) -> Self {
        let (committed, history) = (vec![vec![]; rooms], vec![vec![]; rooms]);
        Self { committed, trimmed: vec![StreamClock::ZERO; rooms], history, ..Self::default() }
    }

    fn commit(&mut self, n: usize, count: u64, size_bytes: usize) {
        let prev = self.history[n].last().copied().unwrap_or(StreamClock::ZERO);
        let entries: Vec<_> = (0..count)
            .map(|_| {
                self.clock += 1;
                let message = Some(Bytes::from(vec![0; size_bytes]));
                LogEntry { clock: StreamClock::new(self.clock, 0), message }
            })
            .collect();
        self.history[n].extend(entries.iter().map(|entry| entry.clock));
        self.committed[n].extend(entries.iter().cloned());
        self.to_push.push_back(OnItsWay { n, prev, entries });
    }

    fn trim(&mut self, n: usize, upto: usize) {
        self.trimmed[n] = self.committed[n][upto].clock;
        self.committed[n].drain(..=upto);
    }

    /// Reads as the file would at this moment.
    fn read(&mut self, ticket: ReadTicket, limit: usize) {
        let n = number(&ticket.room);
        let mut entries: Vec<_> = self.committed[n].iter().filter(|entry| entry.clock > ticket.after).cloned().collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        self.pages.push((ticket, ReadPage { entries, more, trimmed_upto: self.trimmed[n] }));
    }

    /// What is pushed next: in order, each once, with nothing said of what it follows on.
    fn next_in_order(&mut self) -> Option<OnItsWay> {
        Some(OnItsWay { prev: StreamClock::ZERO, ..self.to_push.pop_front()? })
    }

    /// What is pushed next, where pushes overtake one another, get lost, and come twice: but each says what it follows.
    fn next_in_disorder(&mut self, random: &mut fastrand::Rng) -> Option<OnItsWay> {
        let at = random.u64(..self.to_push.len().clamp(1, 6) as u64) as usize;
        match random.u64(..6) {
            0 => {
                self.to_push.remove(at);
                None
            }
            1 => self.to_push.get(at).cloned(),
            _ => self.to_push.remove(at),
        }
    }
}

/// Checks one event against what is in the log and what was brought before.
fn check(event: TailEvent, seen: &mut [Seen], model: &Model, counts: &mut Counts, seed: u64) {
    match event {
        TailEvent::Gap { room } => {
            let n = number(&room);
            assert!(seen[n].followed && model.trimmed[n] > seen[n].position, "seed {seed}: no gap");
            seen[n] = Seen::default();
            counts.gaps += 1;
        }
        TailEvent::Suspect { room } => {
            let n = number(&room);
            assert!(seen[n].followed && seen[n].suspect, "seed {seed}: room {n} is not suspect, or was told before");
            seen[n].suspect = false;
            counts.suspects += 1;
        }
        TailEvent::Entries { room, entries } => {
            let n = number(&room);
            assert!(seen[n].followed, "seed {seed}: not followed");
            assert!(!entries.is_empty(), "seed {seed}: nothing");
            for entry in entries.iter() {
                assert!(entry.clock > seen[n].position, "seed {seed}: {} twice", entry.clock);
                let skipped = model.history[n].iter().any(|other| *other > seen[n].position && *other < entry.clock);
                assert!(!skipped, "seed {seed}: one before {} was left out", entry.clock);
                seen[n].position = entry.clock;
                counts.delivered += 1;
            }
        }
    }
}

/// Over random interleavings of commits, their pushes, reads and their delayed pages, trims, follows and unfollows:
/// each following is brought every entry after its clock, once and in order, or is told of a gap; and a consumer that
/// sleeps until it is woken misses nothing. `disorder`: pushes may also be lost, overtake one another and come twice.
fn run(disorder: bool) -> Counts {
    let mut counts = Counts::default();
    for seed in 0..600 {
        const ROOMS: usize = 3;
        let mut random = fastrand::Rng::with_seed(seed);
        let bound = [1, 200, 10_000][random.u64(..3) as usize];
        let mut tail = TailState::new(bound);
        let mut model = Model::new(ROOMS);
        let mut seen: Vec<Seen> = (0..ROOMS).map(|_| Seen::default()).collect();
        let mut asleep = false;
        // At the end everything comes to rest, and nothing may be missing then.
        let (busy, rest) = (300, 500);
        for step in 0..busy + rest {
            let n = random.u64(..ROOMS as u64) as usize;
            let choice = if step < busy { random.u64(..11) } else { 5 + random.u64(..5) };
            if disorder && step == busy {
                // What is still on its way is lost, too. A sweep finds it.
                model.to_push.clear();
                (0..ROOMS).for_each(|n| asleep &= !tail.dirty(&room(n)));
            }
            match choice {
                0 | 1 => model.commit(n, 1 + random.u64(..3), random.u64(..120) as usize),
                2 if random.u64(..4) == 0 && !model.committed[n].is_empty() => {
                    let upto = random.u64(..model.committed[n].len() as u64) as usize;
                    model.trim(n, upto);
                }
                3 if random.u64(..3) == 0 => {
                    let last = model.committed[n].last().map_or(StreamClock::ZERO, |entry| entry.clock);
                    let after = [StreamClock::ZERO, last, seen[n].position][random.u64(..3) as usize];
                    tail.follow(room(n), after);
                    seen[n] = Seen { position: after, followed: true, suspect: seen[n].suspect };
                    asleep = false;
                }
                4 if random.u64(..6) == 0 => {
                    tail.unfollow(&room(n));
                    seen[n] = Seen::default();
                }
                5 => {
                    let pushed = if disorder { model.next_in_disorder(&mut random) } else { model.next_in_order() };
                    if let Some(OnItsWay { n, prev, entries }) = pushed {
                        asleep &= !tail.push(&room(n), prev, &entries);
                    }
                }
                10 if random.u64(..2) == 0 => asleep &= !tail.dirty(&room(n)),
                10 if random.u64(..2) == 0 => {
                    asleep &= !tail.suspect(&room(n));
                    // Told once, however often it became so before.
                    seen[n].suspect = seen[n].followed;
                }
                _ => {
                    let event = if random.u64(..2) == 0 && !model.pages.is_empty() {
                        let at = random.u64(..model.pages.len() as u64) as usize;
                        let (ticket, page) = model.pages.swap_remove(at);
                        asleep = false;
                        tail.page(ticket, page)
                    } else if asleep {
                        None
                    } else {
                        match tail.next(model.pages.len() < 2) {
                            Step::Deliver(event) => Some(event),
                            Step::Read(ticket) => {
                                counts.reads += 1;
                                model.read(ticket, 1 + random.u64(..4) as usize);
                                None
                            }
                            Step::Wait => {
                                asleep = true;
                                None
                            }
                        }
                    };
                    if let Some(event) = event {
                        check(event, &mut seen, &model, &mut counts, seed);
                    }
                }
            }
            assert!(tail.queued_bytes <= bound, "seed {seed}: {} bytes queued", tail.queued_bytes);
            let places = tail.ready.len() + tail.behind.len() + tail.troubled.len();
            assert!(places <= 5 * ROOMS + 70, "seed {seed}: stale rooms pile up");
        }
        for (n, seen) in seen.iter().enumerate().filter(|(_, seen)| seen.followed) {
            let missing = model.committed[n].iter().any(|entry| entry.clock > seen.position);
            assert!(!missing, "seed {seed}: room {n} waits for what is there");
            assert!(!seen.suspect, "seed {seed}: room {n} was not told");
        }
    }
    counts
}

#[test]
fn nothing_is_lost_or_brought_twice() {
    let counts = run(false);
    assert!(counts.gaps > 50 && counts.delivered > 10_000 && counts.reads > 1_000 && counts.suspects > 500, "{counts:?}");
}

#[test]
fn nothing_is_lost_or_brought_twice_where_pushes_are() {
    let counts = run(true);
    assert!(counts.gaps > 50 && counts.delivered > 10_000 && counts.reads > 1_000 && counts.suspects > 500, "{counts:?}");
}

#[test]
fn a_suspicion_is_told_once_and_outlasts_a_new_following() {
    let mut tail = TailState::new(10_000);
    let told = |tail: &mut TailState| matches!(tail.next(false), Step::Deliver(TailEvent::Suspect { .. }));
    assert!(!tail.suspect(&room(1)), "nobody follows it");
    tail.follow(room(1), StreamClock::ZERO);
    assert!(!told(&mut tail));
    for _ in 0..2 {
        assert!(tail.suspect(&room(1)));
        assert!(told(&mut tail) && !told(&mut tail));
    }
    tail.suspect(&room(1));
    tail.follow(room(1), StreamClock::new(1, 0));
    assert!(told(&mut tail) && !told(&mut tail));
    tail.suspect(&room(1));
    tail.unfollow(&room(1));
    tail.follow(room(1), StreamClock::ZERO);
    assert!(!told(&mut tail), "that is another following");
}

#[test]
fn a_tail_that_nobody_takes_from_holds_no_more_places_than_rooms() {
    let mut tail = TailState::new(10_000);
    for _ in 0..1_000 {
        tail.follow(room(1), StreamClock::ZERO);
        tail.suspect(&room(1));
        tail.unfollow(&room(1));
    }
    let places = tail.ready.len() + tail.behind.len() + tail.troubled.len();
    assert!(places < 100, "{places} places");
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
    assert!(tail.push(&room(1), StreamClock::ZERO, &[entry(6)]));
    tail.follow(room(1), StreamClock::new(6, 0));
    assert!(matches!(tail.next(true), Step::Read(_)), "what was queued for the old one is gone");
    assert_eq!(tail.queued_bytes, 0);
}
