//! What waits for one client: shared bytes, bounded, filled by the room and emptied by the session.
//!
//! Never a mailbox: a client that stops reading must cost no more than the bound.

use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::{Buf, Bytes};
use yhub_core::Close;

use crate::frames::Frames;

/// Why frames were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The bound is reached. Nothing of it was taken.
    Full,
    /// The session has ended or is ending.
    Closed,
}

/// What an answer brings is shared by the room and bounded by there being one, so it does not count against the bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    Answer,
}

/// About what the memory behind a piece takes beside its bytes.
const PIECE_OVERHEAD_BYTES: usize = 32;

struct Piece {
    bytes: Bytes,
    kind: Kind,
    /// Does a whole frame end here? Between two pieces of one frame nothing else may go out.
    ends: bool,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Piece>,
    live_bytes: usize,
    answer_bytes: usize,
    answer_pieces: usize,
    answered: bool,
    work_bytes: usize,
    spoken: bool,
    closing: Option<Close>,
    corked: bool,
    check: Option<u64>,
    credit_bytes: usize,
    ended: bool,
    waker: Option<Waker>,
}

/// What waits for one client, and what its session is told by the room.
pub struct Outbox {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

/// What the session finds besides frames.
#[derive(Debug, Default)]
pub struct Notice {
    /// Bytes of its budget that no longer wait for the stream.
    pub credit_bytes: usize,
    /// Must the socket not be read for now?
    pub corked: bool,
    /// What its client may do is to be found out anew when the node has been up for so long, in milliseconds.
    pub check: Option<u64>,
    /// It is to end, once what waits is sent.
    pub closing: Option<Close>,
    /// A message was put in since the last notice.
    pub spoken: bool,
    /// An answer to a sync has left the queue since the last notice.
    pub answered: bool,
    /// What answers have cost since the last notice, in bytes of messages.
    pub work_bytes: usize,
    /// About how many bytes wait for the client.
    pub waiting_bytes: usize,
}

impl Outbox {
    /// An empty one that takes live frames until `max_bytes` wait; what goes beyond is at most one push, so that a message
    /// longer than the bound still reaches a client that keeps up.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, inner: Mutex::default() }
    }

    /// The critical sections below do not panic; were one to, the queue is still whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds live frames.
    pub fn push(&self, frames: &Frames) -> Result<(), PushError> {
        let mut inner = self.lock();
        if inner.closing.is_some() || inner.ended {
            return Err(PushError::Closed);
        }
        if inner.live_bytes >= self.max_bytes {
            return Err(PushError::Full);
        }
        inner.live_bytes += frames.pieces().iter().map(weight).sum::<usize>();
        inner.add(Kind::Live, frames);
        wake(inner);
        Ok(())
    }

    /// Adds the answer to a sync, of whatever length: the session asks for one at a time.
    pub fn push_answer(&self, frames: &Frames) -> Result<(), PushError> {
        let mut inner = self.lock();
        if inner.closing.is_some() || inner.ended {
            return Err(PushError::Closed);
        }
        inner.answer_pieces += frames.pieces().len();
        inner.answer_bytes += frames.size_bytes();
        inner.add(Kind::Answer, frames);
        wake(inner);
        Ok(())
    }

    /// What the session has asked for has cost about as much as `work_bytes` of messages.
    pub fn charge(&self, work_bytes: usize) {
        let mut inner = self.lock();
        inner.work_bytes += work_bytes;
        wake(inner);
    }

    /// So much of what the session submitted no longer waits.
    pub fn credit(&self, size_bytes: usize) {
        let mut inner = self.lock();
        inner.credit_bytes += size_bytes;
        wake(inner);
    }

    /// Stops or resumes the reading of the socket.
    pub fn cork(&self, corked: bool) {
        let mut inner = self.lock();
        inner.corked = corked;
        wake(inner);
    }

    /// Has the session find out anew what its client may do, when the node has been up for `at_ms`.
    pub fn check(&self, at_ms: u64) {
        let mut inner = self.lock();
        inner.check = Some(inner.check.map_or(at_ms, |known_ms| known_ms.min(at_ms)));
        wake(inner);
    }

    /// Ends the session after what waits; at once if it waits because the client does not take it. The first reason stays.
    pub fn close(&self, close: Close) {
        let mut inner = self.lock();
        if inner.closing.is_none() && !inner.ended {
            if close == Close::TOO_SLOW {
                inner.clear();
            }
            inner.closing = Some(close);
            wake(inner);
        }
    }

    /// The session has ended: nothing is taken any more.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.clear();
        inner.waker = None;
    }

    /// Has the session look around although nothing is added.
    pub fn wake(&self) {
        wake(self.lock());
    }

    /// Whom to wake when something is added.
    pub fn set_waker(&self, waker: &Waker) {
        let mut inner = self.lock();
        match &mut inner.waker {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// Takes what the room told the session.
    #[must_use = "credit that is thrown away is lost: in the end the socket is not read any more"]
    pub fn notice(&self) -> Notice {
        let mut inner = self.lock();
        Notice {
            credit_bytes: std::mem::take(&mut inner.credit_bytes),
            corked: inner.corked,
            check: inner.check.take(),
            closing: inner.closing.clone(),
            spoken: std::mem::take(&mut inner.spoken),
            answered: std::mem::take(&mut inner.answered),
            work_bytes: std::mem::take(&mut inner.work_bytes),
            waiting_bytes: inner.live_bytes + inner.answer_bytes,
        }
    }

    /// Is it to end? Takes nothing, unlike [`Self::notice`]: credit that came meanwhile stays for the next one.
    pub fn closing(&self) -> Option<Close> {
        self.lock().closing.clone()
    }

    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Moves pieces to send into `sending`, about `max` and up to the end of a frame. They no longer count against the
    /// bound.
    pub fn take(&self, sending: &mut VecDeque<Bytes>, max: usize) {
        let mut inner = self.lock();
        let mut within_frame = false;
        while (sending.len() < max || within_frame)
            && let Some(piece) = inner.queue.pop_front()
        {
            match piece.kind {
                Kind::Live => inner.live_bytes -= weight(&piece.bytes),
                Kind::Answer => {
                    inner.answer_pieces -= 1;
                    inner.answer_bytes -= piece.bytes.len();
                    inner.answered |= inner.answer_pieces == 0;
                }
            }
            within_frame = !piece.ends;
            sending.push_back(piece.bytes);
        }
        if inner.queue.is_empty() {
            // An idle session owns no buffer.
            inner.queue = VecDeque::new();
        }
    }
}

impl Inner {
    fn add(&mut self, kind: Kind, frames: &Frames) {
        self.spoken |= frames.speaks();
        let last = frames.pieces().len().saturating_sub(1);
        let pieces = frames.pieces().iter().enumerate();
        self.queue.extend(pieces.map(|(at, bytes)| Piece { bytes: bytes.clone(), kind, ends: at == last }));
    }

    fn clear(&mut self) {
        self.queue = VecDeque::new();
        (self.live_bytes, self.answer_bytes, self.answer_pieces) = (0, 0, 0);
    }
}

/// What a piece counts: its bytes, and about what it takes to keep it, so that many small ones are bounded too.
fn weight(piece: &Bytes) -> usize {
    piece.len() + size_of::<Piece>() + PIECE_OVERHEAD_BYTES
}

/// Wakes the session after the lock is released.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The pieces as the system call takes them, `max_bytes` at most.
pub(crate) fn slices<'a>(sending: &'a VecDeque<Bytes>, max_bytes: usize, out: &mut [IoSlice<'a>]) -> usize {
    let (mut filled, mut left_bytes) = (0, max_bytes);
    for (slot, piece) in out.iter_mut().zip(sending) {
        if left_bytes == 0 {
            break;
        }
        let piece = &piece[..piece.len().min(left_bytes)];
        left_bytes -= piece.len();
        *slot = IoSlice::new(piece);
        filled += 1;
    }
    filled
}

/// Drops the first `sent` bytes.
pub(crate) fn advance(sending: &mut VecDeque<Bytes>, mut sent: usize) {
    while sent > 0
        && let Some(first) = sending.front_mut()
    {
        if first.len() > sent {
            first.advance(sent);
            return;
        }
        sent -= first.len();
        sending.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(size_bytes: usize) -> Frames {
        Frames::from(Bytes::from(vec![1; size_bytes]))
    }

    #[test]
    fn the_bound_is_kept_and_one_long_frame_passes() {
        let outbox = Outbox::new(1000);
        assert_eq!(outbox.push(&frames(600)), Ok(()));
        assert_eq!(outbox.push(&frames(10_000)), Ok(()));
        assert_eq!(outbox.push(&frames(1)), Err(PushError::Full));
        let mut sending = VecDeque::new();
        outbox.take(&mut sending, 1);
        assert_eq!(outbox.push(&frames(1)), Err(PushError::Full));
        outbox.take(&mut sending, 2);
        assert_eq!(outbox.push(&frames(60)), Ok(()));
    }

    #[test]
    fn many_tiny_frames_are_bounded_too() {
        let outbox = Outbox::new(1000);
        let taken = (0..1000).take_while(|_| outbox.push(&frames(1)).is_ok()).count();
        assert!(taken < 20, "{taken} were taken");
    }

    #[test]
    fn an_answer_of_any_length_is_taken_and_says_when_it_has_left() {
        let outbox = Outbox::new(10);
        assert_eq!(outbox.push_answer(&frames(1000)), Ok(()));
        assert!(!outbox.notice().answered);
        assert_eq!(outbox.push(&frames(10)), Ok(()));
        let mut sending = VecDeque::new();
        outbox.take(&mut sending, 1);
        assert!(outbox.notice().answered);
    }

    #[test]
    fn a_slow_client_loses_its_queue_and_others_get_what_waits_first() {
        let slow = Outbox::new(100);
        slow.push(&frames(60)).unwrap();
        slow.close(Close::TOO_SLOW);
        assert!(slow.is_empty());
        let other = Outbox::new(100);
        other.push(&frames(60)).unwrap();
        other.close(Close::SHUTDOWN);
        other.close(Close::INTERNAL);
        assert!(!other.is_empty());
        assert_eq!(other.push(&frames(1)), Err(PushError::Closed));
        assert_eq!(other.notice().closing, Some(Close::SHUTDOWN));
    }

    #[test]
    fn credit_is_taken_by_a_notice_alone() {
        let outbox = Outbox::new(100);
        outbox.credit(3);
        assert_eq!(outbox.closing(), None);
        outbox.credit(4);
        assert_eq!(outbox.notice().credit_bytes, 7);
        assert_eq!(outbox.notice().credit_bytes, 0);
    }

    #[test]
    fn a_write_takes_no_more_than_its_share() {
        let sending: VecDeque<Bytes> = [&b"abc"[..], b"def", b"ghi"].into_iter().map(Bytes::from_static).collect();
        for (max_bytes, expected) in [(0, vec![]), (3, vec![&b"abc"[..]]), (5, vec![b"abc", b"de"]), (100, vec![b"abc", b"def"])]
        {
            let mut out = [IoSlice::new(&[]); 2];
            let filled = slices(&sending, max_bytes, &mut out);
            assert_eq!(out[..filled].iter().map(|piece| &**piece).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn sent_bytes_leave_from_the_front() {
        let mut sending: VecDeque<Bytes> = [&b"abc"[..], b"def"].into_iter().map(Bytes::from_static).collect();
        advance(&mut sending, 4);
        assert_eq!(sending, [&b"ef"[..]]);
    }
}
