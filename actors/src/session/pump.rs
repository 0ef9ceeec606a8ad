//! The moving of bytes between a socket and a room.

use std::{
    cell::RefCell,
    io::IoSlice,
    pin::Pin,
    task::{self, Poll},
};

use actix::{fut::ActorFuture, prelude::*};
use bytes::Bytes;
use tokio::io::ReadBuf;
use yhub_core::{Close, Intent, limiting::Bound, prepare_update};

use super::{CLOSE_WITHIN, Session, Stage, pace::MayRead};
use crate::{
    frames::Frames,
    inbound::Received,
    outbox::{advance, slices},
    room::Act,
    transport::Transport,
};

/// One read takes at most so much; one buffer a thread serves all its sessions, so that an idle one owns none.
const READ_BYTES: usize = 64 << 10;
/// So much is thrown away of what comes after the end, so that the peer can read why.
const THROWN_AWAY_BYTES: usize = 256 << 10;
/// So much is read to find out whether there is something.
const BEGINNING_BYTES: usize = 512;
/// So many reads a poll, then it is another session's turn.
const READS_PER_POLL: usize = 4;
/// So many pieces a write.
const PIECES: usize = 32;
/// So many bytes a write, and so many writes a poll, then it is another session's turn.
const WRITE_BYTES: usize = 128 << 10;
const WRITES_PER_POLL: usize = 4;
/// Of a message that is not whole so much is nobody's concern; what is more is counted in pieces.
const UNCOUNTED_BYTES: usize = 64 << 10;
const COUNTED_BYTES: usize = 1 << 20;
/// A longer update is looked through in the compute pool.
const INLINE_UPDATE_BYTES: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Polls [`Session::pump`] for as long as the session lives.
pub(super) struct Pump;

impl<T: Transport> ActorFuture<Session<T>> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session<T>,
        ctx: &mut Context<Session<T>>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        if session.pump(ctx, cx).is_err() {
            ctx.stop();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The connection is over.
struct Over;

impl<T: Transport> Session<T> {
    /// Does everything that can be done without waiting.
    fn pump(&mut self, ctx: &mut Context<Self>, cx: &mut task::Context<'_>) -> Result<(), Over> {
        // First, so that what is added from here on wakes us.
        self.outbox.set_waker(cx.waker());
        let flushed = self.flush(cx);
        if !matches!(self.stage, Stage::Open) {
            flushed?;
        }
        let notice = self.outbox.notice();
        self.core.on_credit(notice.credit_bytes);
        if notice.spoken {
            self.spoke_ms = self.node.uptime_ms();
        }
        if notice.answered
            && let Some(state_vector) = self.core.on_answered()
        {
            self.acts.push(Act::Sync(state_vector));
        }
        if notice.work_bytes > 0 {
            self.spend_bytes(notice.work_bytes);
        }
        self.watch_taking(notice.waiting_bytes, ctx);
        if let (Some(at_ms), Stage::Open) = (notice.check, &self.stage) {
            self.on_check_demanded(at_ms, ctx);
        }
        if let (Stage::Open, Some(close)) = (&self.stage, notice.closing) {
            self.begin_close(close, ctx);
        }
        if let Stage::Open = self.stage {
            self.release_presence(ctx);
            let read = self.read(notice.corked, ctx, cx);
            if std::mem::take(&mut self.is_time) && read.is_ok() {
                self.on_due(ctx);
                self.arm(ctx);
            }
            // Also when the connection is over: what was read before its end is still the client's word.
            self.hand_over();
            read?;
            // A refused message closes; so does a close frame of the client.
            if let Some(close) = self.outbox.closing() {
                self.begin_close(close, ctx);
            }
        }
        self.finish(cx)
    }

    /// Writes until nothing waits, the socket takes no more, or it is another session's turn. `Over`: nothing will be taken any more.
    /// What the client said before that may still wait to be read, up to the end that reading finds; who never finds it is stalled.
    fn flush(&mut self, cx: &mut task::Context<'_>) -> Result<(), Over> {
        for _ in 0..WRITES_PER_POLL {
            if self.sending.is_empty() {
                self.outbox.take(&mut self.sending, PIECES);
            }
            if self.sending.is_empty() {
                self.sending = Default::default();
                self.stalled_since_ms = None;
                self.taking.has_emptied = true;
                return Ok(());
            }
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let filled = slices(&self.sending, WRITE_BYTES, &mut pieces);
            match self.transport.poll_write(cx, &pieces[..filled]) {
                Poll::Ready(Ok(sent)) if sent > 0 => {
                    self.taking.taken_bytes += sent;
                    advance(&mut self.sending, sent);
                    self.stalled_since_ms = None;
                }
                Poll::Ready(_) => {
                    self.stalled_since_ms.get_or_insert_with(|| self.node.uptime_ms());
                    return Err(Over);
                }
                Poll::Pending => {
                    self.stalled_since_ms.get_or_insert_with(|| self.node.uptime_ms());
                    return Ok(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Reads and understands messages until there are no more, or the client has used up its budget.
    fn read(&mut self, corked: bool, ctx: &mut Context<Self>, cx: &mut task::Context<'_>) -> Result<(), Over> {
        let mut reads = 0;
        while reads < READS_PER_POLL {
            let max_bytes = match self.may_read(corked, ctx, cx) {
                MayRead::Next => READ_BYTES,
                MayRead::Beginning => BEGINNING_BYTES,
                MayRead::Nothing => {
                    // Credit, an uncorking, the end of the computation or of a pause wakes us.
                    if let Err(close) = self.hold_unfinished() {
                        self.outbox.close(close);
                    }
                    return Ok(());
                }
            };
            let received = match self.inbound.next(self.node.session_limits.max_message_bytes) {
                Ok(Some(received)) => self.on_received(received, ctx).map(|()| true),
                Ok(None) => self.hold_unfinished().map(|()| false),
                Err(close) => Err(close),
            };
            match received {
                Ok(true) => {}
                Ok(false) => {
                    if self.read_once(max_bytes, cx)?.is_pending() {
                        return Ok(());
                    }
                    reads += 1;
                }
                Err(close) => {
                    self.outbox.close(close);
                    return Ok(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn read_once(&mut self, max_bytes: usize, cx: &mut task::Context<'_>) -> Result<Poll<()>, Over> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..max_bytes]);
            match self.transport.poll_read(cx, &mut buffer) {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.core.on_received(self.node.uptime_ms());
                    self.spend_bytes(buffer.filled().len());
                    self.inbound.extend(buffer.filled());
                    Ok(Poll::Ready(()))
                }
                Poll::Ready(_) => Err(Over),
            }
        })
    }

    /// Counts what has come of a message that is not whole, or of several that are not looked at yet.
    fn hold_unfinished(&mut self) -> Result<(), Close> {
        let size_bytes = self.inbound.size_bytes();
        self.core.on_unfinished(size_bytes, self.node.uptime_ms())?;
        let counted = if size_bytes <= UNCOUNTED_BYTES { 0 } else { size_bytes.next_multiple_of(COUNTED_BYTES) };
        if self.place.hold_unfinished(counted) {
            return Ok(());
        }
        self.node.limiting.tally.count(Bound::Unfinished);
        Err(Close::TRY_AGAIN)
    }

    fn on_received(&mut self, received: Received, ctx: &mut Context<Self>) -> Result<(), Close> {
        let message = match received {
            Received::Message(message) => message,
            Received::Fragment | Received::Pong => {
                self.spend_frame(None);
                return Ok(());
            }
            Received::Ping(payload) => {
                self.spend_frame(None);
                return self.outbox.push(&Frames::pong(&payload)).map_err(|_| Close::TOO_SLOW);
            }
            Received::Close => return Err(Close::NORMAL),
        };
        fail::fail_point!("session::message", self.params.room.docid() == "poison-session", |_| Ok(()));
        let intent = self.core.on_message(&message, &self.node.session_limits, self.node.documents.limits())?;
        // Presence reaches the room at a rate of its own.
        let to_room = (!matches!(intent, Intent::Awareness(_))).then_some(message.len());
        self.spend_frame(to_room);
        self.core.on_whole();
        match intent {
            Intent::Nothing => {}
            Intent::Sync(state_vector) => {
                let state_vector = message.slice_ref(state_vector);
                self.on_sync(state_vector);
            }
            Intent::Renew(token) => self.on_token(token.to_owned(), ctx),
            Intent::Awareness(entries) => self.on_presence(entries, message.len(), ctx),
            // Asked a thousand times at once, it is answered once: a question is short, and its answer may be long.
            Intent::QueryAwareness if self.acts.iter().any(|act| matches!(act, Act::QueryAwareness(_))) => {}
            Intent::QueryAwareness => {
                self.core.on_submitted(message.len());
                self.acts.push(Act::QueryAwareness(message.len()));
            }
            Intent::Update(update) if update.len() > INLINE_UPDATE_BYTES => {
                let update = message.slice_ref(update);
                self.prepare_in_pool(update, ctx);
            }
            Intent::Update(update) => {
                let now_ms = self.node.time.now_ms();
                let submission = prepare_update(update, &self.params.author, now_ms, self.node.documents.limits())?;
                self.submit(submission);
            }
        }
        Ok(())
    }

    fn prepare_in_pool(&mut self, update: Bytes, ctx: &mut Context<Self>) {
        self.busy = true;
        let (node, params) = (self.node.clone(), self.params.clone());
        let prepare = async move {
            let (limits, now_ms) = (*node.documents.limits(), node.time.now_ms());
            let job = move || prepare_update(&update, &params.author, now_ms, &limits);
            node.documents.compute().run(job).await
        };
        ctx.spawn(prepare.into_actor(self).map(|prepared, session, _| {
            session.busy = false;
            match prepared {
                Ok(Ok(submission)) => session.submit(submission),
                Ok(Err(close)) => session.outbox.close(close),
                Err(error) => {
                    log::warn!(room:% = session.params.room; "an update for {} was not looked through: {error}", session.params.room);
                    session.outbox.close(Close::TRY_AGAIN);
                }
            }
            session.hand_over();
            // The pump may have had its turn already in this poll, and what came behind the update waits to be read.
            session.outbox.wake();
        }));
    }

    fn begin_close(&mut self, close: Close, ctx: &mut Context<Self>) {
        self.count_close(&close);
        self.pace.give_up_turn();
        // What was read before it is still a client's word.
        self.hand_over();
        self.leave();
        let until_ms = self.node.uptime_ms() + CLOSE_WITHIN.as_millis() as u64;
        self.stage = Stage::Draining { close, until_ms, framed: false };
        self.arm(ctx);
    }

    /// The closing handshake, as far as it goes now.
    fn finish(&mut self, cx: &mut task::Context<'_>) -> Result<(), Over> {
        if let Stage::Draining { close, until_ms, framed } = &mut self.stage {
            let until_ms = *until_ms;
            if !*framed && self.sending.is_empty() && self.outbox.is_empty() {
                *framed = true;
                self.sending.extend(Frames::close(close).pieces().iter().cloned());
            }
            let framed = *framed;
            self.flush(cx)?;
            if framed && self.sending.is_empty() {
                if let Poll::Ready(Err(_)) = self.transport.poll_shutdown(cx) {
                    return Err(Over);
                }
                self.stage = Stage::Lingering { until_ms };
            }
        }
        if let Stage::Draining { .. } | Stage::Lingering { .. } = self.stage {
            for _ in 0..READS_PER_POLL {
                if self.thrown_away_bytes >= THROWN_AWAY_BYTES {
                    // The rest is left to the operating system: who goes on sending is not read for that.
                    return Ok(());
                }
                let read = BUFFER.with_borrow_mut(|buffer| {
                    let mut buffer = ReadBuf::new(buffer);
                    self.transport.poll_read(cx, &mut buffer).map(|read| read.map_or(0, |()| buffer.filled().len()))
                });
                match read {
                    Poll::Ready(0) => return Err(Over),
                    Poll::Ready(size_bytes) => self.thrown_away_bytes += size_bytes,
                    Poll::Pending => return Ok(()),
                }
            }
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}
