//! Tails as an engine sees them: what they are interested in, and what is handed over to several of them.

use std::collections::HashMap;

use futures_util::FutureExt;

use super::*;

/// A log whose pages a test sets.
#[derive(Default)]
struct Pages {
    pages: Mutex<HashMap<RoomId, ReadPage>>,
    /// Which were read, after which clock.
    asked: Mutex<Vec<(RoomId, StreamClock)>>,
}

impl ReadPages for Pages {
    fn read_page(&self, room: RoomId, after: StreamClock, _: ReadLimit) -> BoxFuture<'static, Result<ReadPage, StreamLogError>> {
        let empty = ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO };
        self.asked.lock().unwrap().push((room.clone(), after));
        let mut page = self.pages.lock().unwrap().get(&room).cloned().unwrap_or(empty);
        page.entries.retain(|entry| entry.clock > after);
        Box::pin(async move { Ok(page) })
    }
}

/// Counts what is followed, and what a call to `follow` of its own is answered with.
#[derive(Default)]
struct Counted {
    rooms: Mutex<HashMap<RoomId, i64>>,
    /// Run inside `follow`, as another thread would at that moment.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Counted {
    fn count(&self, room: &RoomId) -> i64 {
        self.rooms.lock().unwrap().get(room).copied().unwrap_or(0)
    }

    fn add(&self, room: &RoomId, by: i64) {
        let mut rooms = self.rooms.lock().unwrap();
        let count = rooms.entry(room.clone()).or_insert(0);
        *count += by;
        assert!(*count >= 0, "{room} is followed by less than nobody");
    }
}

impl Interest for Counted {
    fn follow(&self, room: &RoomId) {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.add(room, 1);
    }

    fn unfollow(&self, room: &RoomId) {
        self.add(room, -1);
    }
}

fn room(n: usize) -> RoomId {
    RoomId::new("o", &n.to_string(), "main")
}

fn clock(ms: u64) -> StreamClock {
    StreamClock::new(ms, 0)
}

fn entry(ms: u64) -> LogEntry {
    LogEntry { clock: clock(ms), message: None }
}

fn now(tail: &mut FollowTail) -> Option<TailEvent> {
    tail.next().now_or_never().map(|event| event.expect("it goes on").expect("no failure"))
}

#[test]
fn interest_is_counted_through_everything() {
    let (counted, pages) = (Arc::new(Counted::default()), Arc::new(Pages::default()));
    let tails = Tails::with_interest(counted.clone());
    let (control, mut tail) = tails.open(1_000, pages.clone());
    let (other_control, other) = tails.open(1_000, pages.clone());
    control.follow(room(1), clock(0));
    control.follow(room(1), clock(1));
    control.unfollow(&room(2));
    assert_eq!((counted.count(&room(1)), counted.count(&room(2))), (1, 0));
    other_control.follow(room(1), clock(0));
    assert_eq!(counted.count(&room(1)), 2);
    control.unfollow(&room(1));
    control.unfollow(&room(1));
    assert_eq!(counted.count(&room(1)), 1);
    // A gap ends the interest.
    let gone = ReadPage { entries: Vec::new(), more: false, trimmed_upto: clock(5) };
    pages.pages.lock().unwrap().insert(room(3), gone);
    control.follow(room(3), clock(1));
    assert_eq!(counted.count(&room(3)), 1);
    assert_eq!(now(&mut tail), Some(TailEvent::Gap { room: room(3) }));
    assert_eq!(counted.count(&room(3)), 0);
    control.unfollow(&room(3));
    // So does the end of the tail.
    control.follow(room(1), clock(1));
    drop(other);
    assert_eq!(counted.count(&room(1)), 1);
    other_control.follow(room(1), clock(1));
    drop(tail);
    assert_eq!(counted.count(&room(1)), 0);
}

#[test]
fn a_gap_that_is_found_at_once_ends_what_was_counted() {
    let (counted, pages) = (Arc::new(Counted::default()), Arc::new(Pages::default()));
    let gone = ReadPage { entries: Vec::new(), more: false, trimmed_upto: clock(5) };
    pages.pages.lock().unwrap().insert(room(1), gone);
    let tails = Tails::with_interest(counted.clone());
    let (control, mut tail) = tails.open(1_000, pages);
    // Whoever takes from the tail does so while the interest is being told: it must not know of the room before.
    let taken = Arc::new(Mutex::new(None));
    let take = {
        let taken = taken.clone();
        move || *taken.lock().unwrap() = now(&mut tail).map(|event| (event, tail))
    };
    *counted.meanwhile.lock().unwrap() = Some(Box::new(take));
    control.follow(room(1), clock(1));
    assert!(taken.lock().unwrap().is_none(), "counted too late");
}

#[test]
fn positions_are_those_of_rooms_that_wait_for_nothing() {
    let tails = Tails::new();
    let pages = Arc::new(Pages::default());
    let (control, mut tail) = tails.open(1_000, pages.clone());
    let (other_control, mut other) = tails.open(1_000, pages);
    control.follow(room(1), clock(3));
    other_control.follow(room(1), clock(2));
    let positions = || tails.live_positions(&[room(2), room(1)]);
    assert_eq!(positions(), [None, None], "nothing was read yet");
    assert_eq!((now(&mut tail), now(&mut other)), (None, None));
    assert_eq!(positions(), [None, Some(clock(2))]);
    tails.push_after(&room(1), clock(3), &[entry(4)]);
    // One has it, the other must read: something before it was not handed over.
    assert_eq!(positions(), [None, Some(clock(4))]);
    assert_eq!(now(&mut tail), Some(TailEvent::Entries { room: room(1), entries: vec![entry(4)].into() }));
}

#[test]
fn a_room_is_read_for_what_was_not_handed_over_alone() {
    let tails = Tails::new();
    let pages = Arc::new(Pages::default());
    let (control, mut tail) = tails.open(1_000, pages.clone());
    control.follow(room(1), clock(3));
    assert_eq!(now(&mut tail), None);
    assert_eq!(*pages.asked.lock().unwrap(), [(room(1), clock(3))]);
    tails.seen(&room(1), clock(3));
    tails.seen(&room(2), clock(9));
    assert_eq!(now(&mut tail), None);
    assert_eq!(pages.asked.lock().unwrap().len(), 1, "there is nothing that it has not");
    tails.seen(&room(1), clock(4));
    assert_eq!(now(&mut tail), None);
    assert_eq!(*pages.asked.lock().unwrap(), [(room(1), clock(3)), (room(1), clock(3))]);
}

#[test]
fn whoever_is_suspect_is_told() {
    let tails = Tails::new();
    let (control, mut tail) = tails.open(1_000, Arc::new(Pages::default()));
    control.follow(room(1), clock(0));
    control.follow(room(2), clock(0));
    assert_eq!(now(&mut tail), None);
    tails.suspect(|of| *of == room(2));
    assert_eq!(now(&mut tail), Some(TailEvent::Suspect { room: room(2) }));
    assert_eq!(now(&mut tail), None);
    tails.push_after(&room(2), clock(0), &[entry(1)]);
    assert!(matches!(now(&mut tail), Some(TailEvent::Entries { .. })), "it is still followed");
}
