//! One client's connection to one room. Policy is in `yhub_core::SessionCore`.
//!
//! A session runs on a plain `Context` and owns its byte stream, so that a client that stops reading stops nothing but
//! itself: its timers run on, what waits for it is bounded by its outbox, and its socket really ends. Everything below
//! happens in [`Session::pump`], which is polled when the socket, the outbox or a timer wakes the actor.

mod access;
mod pace;
mod pump;
mod taking;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use yhub_core::{
    Author, Close, Due, RoomId, SessionCore, SessionId, Standing, Submission, Variant,
    access::{Identity, Level},
};

use crate::{
    admission::Place,
    frames::Frames,
    inbound::Inbound,
    node::Node,
    outbox::Outbox,
    pass::Pass,
    registry::{GetRoom, Registry},
    room::{Act, FromClient, Join, Leave, Room},
    transport::Transport,
};
use pace::SessionPace;
use pump::Pump;
use taking::Taking;

/// A closing handshake takes at most so long; then the connection ends without it.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// So often is a room asked for anew that stopped just when it was joined.
const JOIN_ATTEMPTS: usize = 5;

/// What the upgrade found out about a connection.
pub struct SessionParams {
    /// The room.
    pub room: RoomId,
    /// Which of its documents.
    pub variant: Variant,
    /// What it may do at first.
    pub level: Level,
    /// When that ends, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// Who is behind it.
    pub who: Arc<Identity>,
    /// Who writes.
    pub author: Author,
    /// What has let it in.
    pub pass: Arc<dyn Pass>,
}

enum Stage {
    /// Messages go both ways.
    Open,
    /// What waits is sent, then the close frame; nothing more is read as a message.
    Draining { close: Close, until_ms: u64, framed: bool },
    /// The close frame is out: what comes is thrown away until the peer ends or has sent too much, so that it can read why.
    Lingering { until_ms: u64 },
}

/// The actor.
pub struct Session<T: Transport> {
    id: SessionId,
    core: SessionCore,
    params: Arc<SessionParams>,
    /// Who is behind it, as its room knows.
    who: Arc<Identity>,
    node: Arc<Node>,
    registry: Addr<Registry>,
    room: Option<Addr<Room>>,
    transport: T,
    outbox: Arc<Outbox>,
    inbound: Inbound,
    sending: VecDeque<Bytes>,
    /// What this poll has read, on its way to the room.
    acts: Vec<Act>,
    /// A long update is being looked through in the pool: nothing else is read meanwhile, so that order is kept.
    busy: bool,
    stage: Stage,
    /// What has come after the end.
    thrown_away_bytes: usize,
    /// A token that the client has shown while another one was being looked at.
    token: Option<String>,
    timer: Option<SpawnHandle>,
    spoke_ms: u64,
    /// The timer has run out: what is due is decided after the next read, which may bring what it waits for.
    is_time: bool,
    stalled_since_ms: Option<u64>,
    pace: SessionPace,
    taking: Taking,
    place: Place,
}

impl<T: Transport> Session<T> {
    /// A session over `transport`, of which `read` was read already after the upgrade.
    pub fn start_on(transport: T, read: &[u8], params: SessionParams, node: Arc<Node>, registry: Addr<Registry>, place: Place) {
        let now_ms = node.uptime_ms();
        let mut inbound = Inbound::default();
        inbound.extend(read);
        let expires_ms = params.expires_at_ms.map(|at_ms| node.uptime_at_ms(at_ms));
        let id = node.session_id();
        // Sessions come one after the other: their checks are spread over the period as the golden ratio spreads numbers.
        let spread = (id.0 as f64 * 0.618_033_988_749_895).fract();
        let standing = Standing::new(params.level, expires_ms, now_ms, spread, node.access_policy.clone());
        let quota = node.limiting.quotas.of(params.room.org()).clone();
        let mut session = Self {
            id,
            core: SessionCore::new(standing, now_ms),
            who: params.who.clone(),
            params: Arc::new(params),
            outbox: Arc::new(Outbox::new(node.session_limits.outbox_bytes)),
            node,
            registry,
            room: None,
            transport,
            inbound,
            sending: VecDeque::new(),
            acts: Vec::new(),
            busy: false,
            stage: Stage::Open,
            thrown_away_bytes: 0,
            token: None,
            timer: None,
            spoke_ms: now_ms,
            is_time: false,
            stalled_since_ms: None,
            pace: SessionPace::new(quota, now_ms),
            taking: Taking::default(),
            place,
        };
        session.spend_bytes(read.len());
        session.start();
    }

    fn join(&self, ctx: &mut Context<Self>) {
        let (registry, params) = (self.registry.clone(), self.params.clone());
        let (session, outbox) = (self.id, self.outbox.clone());
        let join = async move {
            for _ in 0..JOIN_ATTEMPTS {
                let room = match registry.send(GetRoom(params.room.clone())).await {
                    Ok(found) => found?,
                    Err(_) => return Err(Close::SHUTDOWN),
                };
                let join = Join { session, variant: params.variant, who: params.who.clone(), outbox: outbox.clone() };
                if room.send(join).await.is_ok() {
                    return Ok(room);
                }
            }
            Err(Close::TRY_AGAIN)
        };
        ctx.wait(join.into_actor(self).map(|joined, session, ctx| {
            match joined {
                Ok(room) => {
                    session.core.on_opened(session.node.uptime_ms());
                    session.room = Some(room);
                }
                Err(close) => session.outbox.close(close),
            }
            ctx.spawn(Pump);
            session.arm(ctx);
        }));
    }

    /// Sets the timer, which there is one of.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let now_ms = self.node.uptime_ms();
        let wait_ms = match self.stage {
            Stage::Open => self.core.next_time_ms(now_ms, self.spoke_ms, &self.node.session_limits),
            Stage::Draining { until_ms, .. } | Stage::Lingering { until_ms } => until_ms.saturating_sub(now_ms).max(10),
        };
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(Duration::from_millis(wait_ms), Self::on_time));
    }

    fn on_time(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        let now_ms = self.node.uptime_ms();
        match self.stage {
            Stage::Open => {
                self.is_time = true;
                self.outbox.wake();
                return;
            }
            Stage::Draining { until_ms, .. } | Stage::Lingering { until_ms } if now_ms >= until_ms => {
                self.transport.abort();
                ctx.stop();
                return;
            }
            Stage::Draining { .. } | Stage::Lingering { .. } => {}
        }
        self.arm(ctx);
    }

    /// Does what the passing of time asks for.
    fn on_due(&mut self, ctx: &mut Context<Self>) {
        let now_ms = self.node.uptime_ms();
        match self.core.on_time(now_ms, self.spoke_ms, self.stalled_since_ms, &self.node.session_limits) {
            Due::Nothing => {}
            Due::Check(freshness) => self.check(freshness, ctx),
            Due::SyncAll => self.on_sync(Bytes::from_static(&[0])),
            Due::KeepAlive => {
                // Once per period, whether or not the client takes it.
                self.spoke_ms = now_ms;
                if self.outbox.push(&Frames::keepalive()).is_err() {
                    self.outbox.close(Close::TOO_SLOW);
                }
            }
            Due::Close(close) => self.outbox.close(close),
        }
    }

    /// Asks the room for what the client lacks, unless an answer is under way.
    fn on_sync(&mut self, state_vector: Bytes) {
        if let Some(state_vector) = self.core.on_sync(state_vector) {
            self.acts.push(Act::Sync(state_vector));
        }
    }

    fn submit(&mut self, submission: Submission) {
        self.core.on_submitted(submission.cost_bytes);
        match self.acts.last_mut() {
            Some(Act::Submit(submissions)) => submissions.push(submission),
            _ => self.acts.push(Act::Submit(vec![submission])),
        }
    }

    /// Sends what was read to the room, in one message.
    fn hand_over(&mut self) {
        if let (Some(room), false) = (&self.room, self.acts.is_empty()) {
            // Bounded: everything in it counts against this session's budget, but for one sync.
            room.do_send(FromClient { session: self.id, acts: std::mem::take(&mut self.acts) });
        }
    }

    fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.do_send(Leave(self.id));
        }
    }
}

impl<T: Transport> Actor for Session<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.join(ctx);
    }
}

impl<T: Transport> Drop for Session<T> {
    /// Runs after a panic too: who it spoke for leaves, and nothing is queued for nobody.
    fn drop(&mut self) {
        self.outbox.end();
        self.leave();
    }
}
