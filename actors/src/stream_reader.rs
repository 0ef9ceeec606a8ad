//! Brings the new lines of its share of the rooms to their rooms.
//!
//! Owns one tail of the stream log. When the tail ends it is opened anew and every room resumes at the clock it had. What
//! a slow room has not taken is bounded: beyond the bound it is not followed until it has caught up.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::time::Instant;
use yhub_core::{RoomId, StreamClock, StreamLine, chain};
use yhub_store::{LogEntry, StreamLog, StreamLogError, Tail, TailControl, TailEvent};

use crate::room::{Entries, Gap, Room, Suspect};

/// So many batches may wait in a room's mailbox; at the bound the room is not followed until half have gone.
const MAX_WAITING: usize = 64;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// Bring every line of `room` after `after` to `to`. From a room.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Follow {
    /// The room.
    pub room: RoomId,
    /// Where it stands.
    pub after: StreamClock,
    /// Its actor.
    pub to: Addr<Room>,
    /// Which of the actors that the room has had.
    pub generation: u64,
    /// Which of the followings of that actor: its lines come with this number.
    pub following: u64,
    /// When the room began to read what it knows of the stream.
    pub read_since: Instant,
}

/// Nothing more for this room. From a room that ends.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unfollow {
    /// The room.
    pub room: RoomId,
    /// Which of its actors; a later one stays followed.
    pub generation: u64,
}

struct Followed {
    to: Addr<Room>,
    generation: u64,
    following: u64,
    /// The last clock that was handed on.
    reached: StreamClock,
    waiting: usize,
    paused: bool,
}

/// The actor.
pub struct StreamReader {
    log: Arc<dyn StreamLog>,
    rooms: HashMap<RoomId, Followed>,
    control: Option<Box<dyn TailControl>>,
    backoff: Duration,
    /// When the log was last known to be, or may have been, restarted.
    suspected: Option<Instant>,
    has_lost_a_tail: bool,
}

impl StreamReader {
    /// A reader that follows nothing yet.
    pub fn new(log: Arc<dyn StreamLog>) -> Self {
        Self { log, rooms: HashMap::new(), control: None, backoff: FIRST_BACKOFF, suspected: None, has_lost_a_tail: false }
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        let log = self.log.clone();
        let open = async move { log.tail().await };
        ctx.spawn(open.into_actor(self).map(|opened: Result<(Box<dyn TailControl>, Tail), _>, reader, ctx| match opened {
            Ok((control, tail)) => {
                for (room, followed) in reader.rooms.iter().filter(|(_, followed)| !followed.paused) {
                    control.follow(room.clone(), followed.reached);
                }
                reader.control = Some(control);
                ctx.add_stream(tail);
                if reader.has_lost_a_tail {
                    // While no tail was open, nobody would have been told that the log was restarted.
                    reader.suspected = Some(Instant::now());
                    reader.rooms.values().for_each(|followed| followed.to.do_send(Suspect));
                }
            }
            Err(error) => {
                reader.lost(&error);
                reader.reopen(ctx);
            }
        }));
    }

    fn lost(&self, error: &StreamLogError) {
        log::warn!("the tail of the stream log ended, it is opened anew in {:?}: {}", self.backoff, chain(error));
    }

    fn reopen(&mut self, ctx: &mut Context<Self>) {
        self.control = None;
        self.has_lost_a_tail = true;
        ctx.run_later(self.backoff, Self::open);
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
    }

    fn hand_on(&mut self, room: RoomId, entries: &[LogEntry], ctx: &mut Context<Self>) {
        let Some(followed) = self.rooms.get_mut(&room).filter(|followed| !followed.paused) else { return };
        let lines: Arc<[StreamLine]> = entries
            .iter()
            .filter(|entry| entry.clock > followed.reached)
            .map(|entry| StreamLine { clock: entry.clock, message: entry.message.clone() })
            .collect();
        let Some(last) = lines.last() else { return };
        followed.reached = last.clock;
        followed.waiting += 1;
        if followed.waiting >= MAX_WAITING {
            followed.paused = true;
            if let Some(control) = &self.control {
                control.unfollow(&room);
            }
        }
        let (generation, following) = (followed.generation, followed.following);
        let taken = followed.to.send(Entries { lines, following });
        // A room that died is taken off by its own `Unfollow`.
        ctx.spawn(taken.into_actor(self).map(move |_, reader, _| reader.on_taken(&room, generation, following)));
    }

    fn on_taken(&mut self, room: &RoomId, generation: u64, following: u64) {
        let is_that = |followed: &&mut Followed| (followed.generation, followed.following) == (generation, following);
        let Some(followed) = self.rooms.get_mut(room).filter(is_that) else { return };
        followed.waiting = followed.waiting.saturating_sub(1);
        if followed.paused && followed.waiting <= MAX_WAITING / 2 {
            followed.paused = false;
            if let Some(control) = &self.control {
                control.follow(room.clone(), followed.reached);
            }
        }
    }
}

impl Actor for StreamReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A message is one batch of one room, and each room's are bounded by `MAX_WAITING`.
        ctx.set_mailbox_capacity(1024);
        self.open(ctx);
    }
}

impl StreamHandler<Result<TailEvent, StreamLogError>> for StreamReader {
    fn handle(&mut self, event: Result<TailEvent, StreamLogError>, ctx: &mut Self::Context) {
        fail::fail_point!("stream_reader::event", |_| ());
        match event {
            Ok(TailEvent::Entries { room, entries }) => {
                self.backoff = FIRST_BACKOFF;
                self.hand_on(room, &entries, ctx);
            }
            Ok(TailEvent::Suspect { room }) => {
                self.suspected = Some(Instant::now());
                if let Some(followed) = self.rooms.get(&room) {
                    followed.to.do_send(Suspect);
                }
            }
            Ok(TailEvent::Gap { room }) => {
                if let Some(followed) = self.rooms.remove(&room) {
                    followed.to.do_send(Gap);
                }
            }
            Ok(_) => {}
            Err(error) => self.lost(&error),
        }
    }

    /// The tail has ended: it is opened anew, and every room resumes where it was.
    fn finished(&mut self, ctx: &mut Self::Context) {
        self.reopen(ctx);
    }
}

impl Handler<Follow> for StreamReader {
    type Result = ();

    fn handle(&mut self, follow: Follow, _: &mut Self::Context) {
        let Follow { room, after, to, generation, following, read_since } = follow;
        if let Some(control) = &self.control {
            control.follow(room.clone(), after);
        }
        if self.suspected.is_some_and(|suspected| suspected > read_since) {
            // What it read may be of the log as it was before.
            to.do_send(Suspect);
        }
        self.rooms.insert(room, Followed { to, generation, following, reached: after, waiting: 0, paused: false });
    }
}

impl Handler<Unfollow> for StreamReader {
    type Result = ();

    fn handle(&mut self, Unfollow { room, generation }: Unfollow, _: &mut Self::Context) {
        if self.rooms.get(&room).is_some_and(|followed| followed.generation == generation) {
            self.rooms.remove(&room);
            if let Some(control) = &self.control {
                control.unfollow(&room);
            }
        }
    }
}
