//! The open tails of a log, for engines: where they hand over what is durable, and from where consumers take it.
//!
//! An engine makes one [`Tails`], hands new entries to [`Tails::push`], and lends a way to read pages. What is handed over
//! may have holes and may come late: pages are the truth.

mod state;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use self::state::{ReadTicket, Step, TailState};
use crate::{LogEntry, ReadLimit, ReadPage, StreamLogError, TailControl, TailEvent};
use futures_util::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{FusedStream, FuturesUnordered},
};
use yhub_core::{RoomId, StreamClock};

/// So many rooms of one tail catch up at the same time. So a tail that nobody takes from holds so many pages, at most.
const READS_AT_ONCE: usize = 4;
/// How much of a room one read brings.
const PAGE: ReadLimit = ReadLimit { entries: 1024, size_bytes: 1 << 20 };

/// How a tail reads what was not handed to it.
pub trait ReadPages: Send + Sync + 'static {
    /// Reads a page of `room` after `after`. At most a few of one tail are under way, so no bound may hold it up: a tail
    /// that nobody takes from would keep its place from everybody.
    fn read_page(
        &self,
        room: RoomId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> BoxFuture<'static, Result<ReadPage, StreamLogError>>;
}

/// Told which rooms are followed by any tail: for engines that must ask for what is to be handed over. Called under no
/// lock of the tails. To be counted: as calls of several threads may overtake one another, a room may for a moment be
/// counted once too often, but never too rarely: it is counted before it is first read, and as long as it is followed.
pub trait Interest: Send + Sync + 'static {
    /// `room` is followed by one tail more.
    fn follow(&self, room: &RoomId);
    /// `room` is followed by one tail less.
    fn unfollow(&self, room: &RoomId);
}

/// Why tails ended: made anew for each of them.
type Ended = Arc<dyn Fn() -> StreamLogError + Send + Sync>;

/// All open tails.
#[derive(Default)]
pub struct Tails {
    open: Mutex<Vec<Weak<TailShared>>>,
    interest: Option<Arc<dyn Interest>>,
}

/// What a tail, its control and the writer share.
struct TailShared {
    inner: Mutex<Inner>,
    interest: Option<Arc<dyn Interest>>,
}

struct Inner {
    state: TailState,
    waker: Option<Waker>,
    /// Set when the tail can bring nothing more.
    ended: Option<Ended>,
}

impl TailShared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On its way to the consumer: a room with a gap is not followed any more.
    fn tell(&self, event: TailEvent) -> TailEvent {
        if let (TailEvent::Gap { room }, Some(interest)) = (&event, &self.interest) {
            interest.unfollow(room);
        }
        event
    }

    /// Changes the state and wakes the consumer if `change` says so.
    fn change(&self, change: impl FnOnce(&mut TailState) -> bool) {
        let mut inner = self.lock();
        let waker = if change(&mut inner.state) { inner.waker.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Tails {
    /// No tails yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and `interest` is told what they follow.
    pub fn with_interest(interest: Arc<dyn Interest>) -> Self {
        Self { open: Mutex::default(), interest: Some(interest) }
    }

    /// Opens a tail that queues about `bound_bytes` and reads the rest with `pages`.
    pub fn open(&self, bound_bytes: usize, pages: Arc<dyn ReadPages>) -> (FollowControl, FollowTail) {
        let inner = Inner { state: TailState::new(bound_bytes), waker: None, ended: None };
        let shared = Arc::new(TailShared { inner: Mutex::new(inner), interest: self.interest.clone() });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tail| tail.strong_count() > 0);
        open.push(Arc::downgrade(&shared));
        let tail = FollowTail { shared: shared.clone(), pages, under_way: FuturesUnordered::new(), done: false };
        // The control must not keep a tail open that nobody takes from.
        (FollowControl { tail: Arc::downgrade(&shared) }, tail)
    }

    /// Hands over what was just committed of several rooms, in commit order, with nothing left out in between. The
    /// messages are shared, not copied.
    pub fn push(&self, appended: &[(RoomId, Vec<LogEntry>)]) {
        if appended.is_empty() {
            return;
        }
        self.each(|state| {
            appended.iter().fold(false, |wake, (room, entries)| state.push(room, StreamClock::ZERO, entries) | wake)
        });
    }

    /// Hands over new entries of `room`, which stand right after `prev`. Where that is beyond what was handed over before,
    /// the room is read.
    pub fn push_after(&self, room: &RoomId, prev: StreamClock, entries: &[LogEntry]) {
        self.each(|state| state.push(room, prev, entries));
    }

    /// The log has an entry of `room` at `clock`: if that was not handed over, the room is read.
    pub fn seen(&self, room: &RoomId, clock: StreamClock) {
        self.each(|state| state.seen(room, clock));
    }

    /// There may be more of `room` than was handed over: it is read.
    pub fn dirty(&self, room: &RoomId) {
        self.each(|state| state.dirty(room));
    }

    /// There may be more than was handed over of all those followed rooms that `which` names: they are read.
    pub fn dirty_all(&self, which: impl Fn(&RoomId) -> bool) {
        self.each(|state| state.all(&which).iter().fold(false, |wake, room| state.dirty(room) | wake));
    }

    /// Entries of those followed rooms that `which` names may be gone unseen: whoever follows them is told of a gap.
    pub fn gap(&self, which: impl Fn(&RoomId) -> bool) {
        self.each(|state| state.all(&which).iter().fold(false, |wake, room| state.gap(room) | wake));
    }

    /// The log may have lost entries of those followed rooms that `which` names: whoever follows them is told.
    pub fn suspect(&self, which: impl Fn(&RoomId) -> bool) {
        self.each(|state| state.all(&which).iter().fold(false, |wake, room| state.suspect(room) | wake));
    }

    /// Up to where each of `rooms` was handed over, with several tails the lowest; `None` for those that nobody follows, and
    /// those that are being read.
    pub fn live_positions(&self, rooms: &[RoomId]) -> Vec<Option<StreamClock>> {
        let mut lowest: Vec<Option<StreamClock>> = vec![None; rooms.len()];
        self.each(|state| {
            for (known, room) in lowest.iter_mut().zip(rooms) {
                *known = match (*known, state.live_position(room)) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            false
        });
        lowest
    }

    /// Ends every tail with an error.
    pub fn end_all(&self, why: impl Fn() -> StreamLogError + Send + Sync + 'static) {
        let why: Ended = Arc::new(why);
        let open: Vec<_> = self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        for tail in open {
            tail.lock().ended.get_or_insert_with(|| why.clone());
            tail.change(|_| true);
        }
    }

    /// Changes every tail, and wakes those whose `change` says so.
    fn each(&self, mut change: impl FnMut(&mut TailState) -> bool) {
        let open: Vec<_> = self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        for tail in open {
            tail.change(&mut change);
        }
    }
}

/// The control of one tail.
pub struct FollowControl {
    tail: Weak<TailShared>,
}

impl TailControl for FollowControl {
    fn follow(&self, room: RoomId, after: StreamClock) {
        let Some(tail) = self.tail.upgrade() else { return };
        // First: as soon as the tail knows of the room, whoever takes from it may find a gap and end the interest again.
        if let Some(interest) = &tail.interest {
            interest.follow(&room);
        }
        let mut was_followed = false;
        tail.change(|state| {
            was_followed = state.is_followed(&room);
            state.follow(room.clone(), after);
            true
        });
        if let (Some(interest), true) = (&tail.interest, was_followed) {
            interest.unfollow(&room);
        }
    }

    fn unfollow(&self, room: &RoomId) {
        let Some(tail) = self.tail.upgrade() else { return };
        let mut was_followed = false;
        tail.change(|state| {
            was_followed = state.is_followed(room);
            state.unfollow(room);
            false
        });
        if let (Some(interest), true) = (&tail.interest, was_followed) {
            interest.unfollow(room);
        }
    }
}

impl Drop for TailShared {
    /// Whatever it still followed, nobody does any more.
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(interest) = &self.interest {
            inner.state.positions().for_each(|(room, _)| interest.unfollow(room));
        }
    }
}

type PageRead = BoxFuture<'static, (ReadTicket, Result<ReadPage, StreamLogError>)>;

/// The consumer's end of one tail.
pub struct FollowTail {
    shared: Arc<TailShared>,
    pages: Arc<dyn ReadPages>,
    under_way: FuturesUnordered<PageRead>,
    done: bool,
}

impl Stream for FollowTail {
    type Item = Result<TailEvent, StreamLogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        loop {
            while let Poll::Ready(Some((ticket, page))) = this.under_way.poll_next_unpin(cx) {
                match page {
                    Ok(page) => {
                        let event = this.shared.lock().state.page(ticket, page);
                        if let Some(event) = event {
                            return Poll::Ready(Some(Ok(this.shared.tell(event))));
                        }
                    }
                    Err(error) => {
                        this.done = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            let step = {
                let mut inner = this.shared.lock();
                if let Some(why) = &inner.ended {
                    this.done = true;
                    return Poll::Ready(Some(Err(why())));
                }
                let step = inner.state.next(this.under_way.len() < READS_AT_ONCE);
                if matches!(step, Step::Wait) {
                    inner.waker = Some(cx.waker().clone());
                }
                step
            };
            match step {
                Step::Deliver(event) => return Poll::Ready(Some(Ok(this.shared.tell(event)))),
                Step::Read(ticket) => {
                    let page = this.pages.read_page(ticket.room.clone(), ticket.after, PAGE);
                    let read = async move { (ticket, page.await) };
                    // Polled at the top of the loop.
                    this.under_way.push(Box::pin(read));
                }
                Step::Wait => return Poll::Pending,
            }
        }
    }
}

impl FusedStream for FollowTail {
    fn is_terminated(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests;
