//! The open tails of a log: where the writer hands over what it has committed, and from where consumers take it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_util::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{FusedStream, FuturesUnordered},
};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{LogEntry, ReadLimit, ReadPage, StreamLogError, TailControl, TailEvent};

use super::{
    readers::{ReadJob, ReadQueue},
    tail_state::{ReadTicket, Step, TailState},
};
use crate::error::{Shared, log_error};

/// So many rooms of one tail catch up at the same time. So a tail that nobody takes from holds so many pages, at most.
const READS_AT_ONCE: usize = 4;
/// How much of a room one read brings.
const PAGE: ReadLimit = ReadLimit { entries: 1024, size_bytes: 1 << 20 };

/// All open tails.
pub(crate) struct Tails {
    open: Mutex<Vec<Weak<TailShared>>>,
}

/// What a tail, its control and the writer share.
struct TailShared {
    inner: Mutex<Inner>,
}

struct Inner {
    state: TailState,
    waker: Option<Waker>,
    /// Set when the tail can bring nothing more.
    ended: Option<Shared>,
}

impl TailShared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn new() -> Self {
        Self { open: Mutex::new(Vec::new()) }
    }

    /// Opens a tail of the log in the file `at` that queues about `bound_bytes`.
    pub(crate) fn open(&self, bound_bytes: usize, reads: Arc<ReadQueue>, at: Arc<str>) -> (FollowControl, FollowTail) {
        let inner = Inner { state: TailState::new(bound_bytes), waker: None, ended: None };
        let shared = Arc::new(TailShared { inner: Mutex::new(inner) });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tail| tail.strong_count() > 0);
        open.push(Arc::downgrade(&shared));
        let tail = FollowTail { shared: shared.clone(), reads, at, under_way: FuturesUnordered::new(), done: false };
        // The control must not keep a tail open that nobody takes from.
        (FollowControl { tail: Arc::downgrade(&shared) }, tail)
    }

    /// Hands over what was just committed, in commit order. The messages are shared, not copied.
    pub(crate) fn push(&self, appended: &[(RoomId, Vec<LogEntry>)]) {
        if appended.is_empty() {
            return;
        }
        for tail in self.each() {
            tail.change(|state| appended.iter().fold(false, |wake, (room, entries)| state.push(room, entries) | wake));
        }
    }

    /// Ends every tail with an error.
    pub(crate) fn end_all(&self, why: &Shared) {
        for tail in self.each() {
            tail.lock().ended.get_or_insert_with(|| why.clone());
            tail.change(|_| true);
        }
    }

    fn each(&self) -> Vec<Arc<TailShared>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}

/// The control of one tail.
pub(crate) struct FollowControl {
    tail: Weak<TailShared>,
}

impl TailControl for FollowControl {
    fn follow(&self, room: RoomId, after: StreamClock) {
        if let Some(tail) = self.tail.upgrade() {
            tail.change(|state| {
                state.follow(room, after);
                true
            });
        }
    }

    fn unfollow(&self, room: &RoomId) {
        if let Some(tail) = self.tail.upgrade() {
            tail.change(|state| {
                state.unfollow(room);
                false
            });
        }
    }
}

type PageRead = BoxFuture<'static, (ReadTicket, Result<ReadPage, StreamLogError>)>;

/// The consumer's end of one tail.
pub(crate) struct FollowTail {
    shared: Arc<TailShared>,
    reads: Arc<ReadQueue>,
    at: Arc<str>,
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
                        if let Some(event) = this.shared.lock().state.page(ticket, page) {
                            return Poll::Ready(Some(Ok(event)));
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
                if let Some(why) = inner.ended.clone() {
                    this.done = true;
                    return Poll::Ready(Some(Err(log_error(&this.at, why))));
                }
                let step = inner.state.next(this.under_way.len() < READS_AT_ONCE);
                if matches!(step, Step::Wait) {
                    inner.waker = Some(cx.waker().clone());
                }
                step
            };
            match step {
                Step::Deliver(event) => return Poll::Ready(Some(Ok(event))),
                Step::Read(ticket) => {
                    let (job, answer) = ReadJob::new(ticket.room.clone(), ticket.after, PAGE);
                    // Its bound is `READS_AT_ONCE`.
                    if let Err(error) = this.reads.send_past_the_bounds(job) {
                        this.done = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    let reads = this.reads.clone();
                    let read = async move { (ticket, answer.await.unwrap_or_else(|_| Err(reads.closed()))) };
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
