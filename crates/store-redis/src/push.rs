//! The connection on which new entries of followed rooms are pushed, one a shard, and the eye on the server behind it.
//!
//! Pushes only save reading: after a reconnect every followed room is read, and a sweep looks at all of them again and
//! again. Here it is noticed when the server was restarted, or came back without what it had.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use redis::{ProtocolVersion, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use yhub_core::{
    RoomId,
    alarms::{Alarm, raise},
};
use yhub_store::tail::Tails;

use crate::{
    RedisConnectError,
    entries::{Push, StoredEntry, decode_push},
    link::address,
    safety::{Findings, ServerInfo},
    shard::{Shard, scripts},
};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
/// How often it is looked whether the store is still the one it was.
const PULSE: Duration = Duration::from_secs(1);
/// How often it is looked whether it is still safe to use.
const INSPECT: Duration = Duration::from_secs(10);
/// So many channels are subscribed to in one go.
const CHANNELS_AT_ONCE: usize = 512;
/// So many rooms are looked at by one command, which holds up everybody else's for as long.
const SWEEP_AT_ONCE: usize = 128;

/// Which store it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// Of this start of the server.
    run_id: String,
    /// The name that the store was given when it was first used.
    boot: String,
    /// Grows.
    pulse: u64,
}

/// The loop of one shard.
pub(crate) struct PushLoop {
    shard: Arc<Shard>,
    tails: Arc<Tails>,
    /// Is a room one of this shard's?
    is_ours: Arc<dyn Fn(&RoomId) -> bool + Send + Sync>,
    sweep: Duration,
    min_lifetime: Duration,
    timeout: Duration,
    /// What was last said of the server's settings: said again only when it changes.
    said: Findings,
    known: Option<Identity>,
}

impl PushLoop {
    pub(crate) fn new(
        shard: Arc<Shard>,
        tails: Arc<Tails>,
        is_ours: Arc<dyn Fn(&RoomId) -> bool + Send + Sync>,
        options: &crate::RedisLogOptions,
    ) -> Self {
        Self {
            shard,
            tails,
            is_ours,
            sweep: options.sweep,
            min_lifetime: options.min_lifetime,
            timeout: options.timeout,
            said: Findings::default(),
            known: None,
        }
    }

    /// Looks at the server before anything is done with it.
    pub(crate) async fn inspect_first(&mut self) -> Result<(), RedisConnectError> {
        let at = self.shard.conns.link().name();
        let first = async {
            let info = self.shard.conns.link().resolve().await?;
            let mut conn = self.shard.conns.link().open(&info, self.shard.conns.link().config()).await?;
            read_info(&mut conn).await
        };
        let unreachable = |source| RedisConnectError::Unreachable { at: at.clone(), source };
        let info = match timeout(self.timeout * 2, first).await {
            Ok(info) => info.map_err(|error| unreachable(error.into()))?,
            Err(_) => return Err(unreachable(format!("no answer within {:?}", self.timeout * 2).into())),
        };
        match self.judge(&info) {
            None => Ok(()),
            Some(what) => Err(RedisConnectError::Unsafe { at, what }),
        }
    }

    /// Goes on for as long as the log does.
    pub(crate) async fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        let mut cut_off_since: Option<Instant> = None;
        loop {
            let since = *cut_off_since.get_or_insert_with(Instant::now);
            let error = match self.connect().await {
                Ok((mut conn, disconnected, at)) => {
                    self.caught_up(since);
                    cut_off_since = None;
                    backoff = FIRST_BACKOFF;
                    let ended = self.serve(&mut conn, &disconnected).await;
                    log::warn!("the connection to Redis at {at} ended, it is made anew: {ended}");
                    continue;
                }
                Err(error) => error,
            };
            log::warn!("cannot connect to Redis {}, trying again in {backoff:?}: {error}", self.shard.conns.link().name());
            sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Connects, sees whom it is connected to, and subscribes to everything that is wanted.
    async fn connect(&mut self) -> Result<(MultiplexedConnection, Arc<Notify>, String), RedisError> {
        let link = self.shard.conns.link();
        let disconnected = Arc::new(Notify::new());
        let info = link.resolve().await?;
        let at = address(&info);
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let config = link.config().set_push_sender(self.receiver(disconnected.clone()));
        let mut conn = link.open(&info.set_redis_settings(settings), config).await?;
        self.look(&mut conn).await?;
        let channels = self.shard.wanted.all();
        for channels in channels.chunks(CHANNELS_AT_ONCE) {
            subscribe(&mut conn, "SSUBSCRIBE", channels).await?;
        }
        Ok((conn, disconnected, at))
    }

    /// What is done with a push: on the connection's own task, so that nothing waits in between.
    fn receiver(
        &self,
        disconnected: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static {
        let (shard, tails) = (self.shard.clone(), self.tails.clone());
        move |push| {
            match push.kind {
                PushKind::SMessage => {
                    let mut data = push.data.into_iter();
                    if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (data.next(), data.next())
                        && let Some(room) = std::str::from_utf8(&channel).ok().and_then(|channel| shard.wanted.room(channel))
                    {
                        match decode_push(payload) {
                            Push::Entries { prev, entries } => tails.push_after(&room, prev, &entries),
                            Push::Read => tails.dirty(&room),
                        }
                    }
                }
                // By itself a server says so when a slot has moved to another: the connection is made anew.
                PushKind::SUnsubscribe => {
                    let channel = push.data.first().and_then(|value| match value {
                        Value::BulkString(channel) => std::str::from_utf8(channel).ok(),
                        _ => None,
                    });
                    if channel.is_some_and(|channel| shard.wanted.room(channel).is_some()) {
                        disconnected.notify_one();
                    }
                }
                PushKind::Disconnection => disconnected.notify_one(),
                _ => {}
            }
            Ok(())
        }
    }

    /// After the time in which nothing came: everything followed is read, or where that may be too late, told of a gap.
    fn caught_up(&self, since: Instant) {
        let is_ours = self.is_ours.clone();
        if since.elapsed() > self.min_lifetime {
            log::warn!(
                "nothing came from Redis {} for {:?}, longer than entries are kept for certain: its rooms are loaded anew",
                self.shard.conns.link().name(),
                since.elapsed()
            );
            self.tails.gap(move |room| is_ours(room));
        } else {
            self.tails.dirty_all(move |room| is_ours(room));
        }
    }

    /// Follows what is wanted until the connection ends: why it did.
    async fn serve(&mut self, conn: &mut MultiplexedConnection, disconnected: &Notify) -> String {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut pulse, mut inspect) = (every(PULSE), every(INSPECT));
        let (shard, tails, period) = (self.shard.clone(), self.tails.clone(), self.sweep);
        let mut sweeps = std::pin::pin!(async move { sweep_for_ever(&shard, &tails, period).await });
        loop {
            let done = tokio::select! {
                () = disconnected.notified() => return "it was cut".to_owned(),
                error = &mut sweeps => return error,
                () = self.shard.wanted.changed.notified() => self.subscribe_changed(conn).await,
                _ = pulse.tick() => self.pulse(conn).await,
                _ = inspect.tick() => self.look(conn).await,
            };
            if let Err(error) = done {
                return error.to_string();
            }
        }
    }

    async fn subscribe_changed(&self, conn: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let (wanted, unwanted): (Vec<_>, Vec<_>) = self.shard.wanted.take_changed().into_iter().partition(|(_, wanted)| *wanted);
        let names = |channels: Vec<(String, bool)>| channels.into_iter().map(|(channel, _)| channel).collect::<Vec<_>>();
        let (wanted, unwanted) = (names(wanted), names(unwanted));
        for channels in unwanted.chunks(CHANNELS_AT_ONCE) {
            subscribe(conn, "SUNSUBSCRIBE", channels).await?;
        }
        for channels in wanted.chunks(CHANNELS_AT_ONCE) {
            subscribe(conn, "SSUBSCRIBE", channels).await?;
            // What came between their first reading and now.
            channels.iter().filter_map(|channel| self.shard.wanted.room(channel)).for_each(|room| self.tails.dirty(&room));
        }
        Ok(())
    }

    /// Is it still the same store, with everything that it had?
    async fn pulse(&mut self, conn: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let run_id = self.known.as_ref().map(|known| known.run_id.clone()).unwrap_or_default();
        self.compare(conn, run_id).await
    }

    /// The same, and is it still safe to use?
    async fn look(&mut self, conn: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let info = read_info(conn).await?;
        let refused = self.judge(&info);
        *self.shard.refused.write().unwrap_or_else(PoisonError::into_inner) = refused;
        self.compare(conn, info.run_id().to_owned()).await
    }

    async fn compare(&mut self, conn: &mut MultiplexedConnection, run_id: String) -> Result<(), RedisError> {
        let keys = &self.shard.keys;
        let mut call = scripts().pulse.prepare_invoke();
        call.key(&keys.boot).key(&keys.pulse).arg(uuid::Uuid::new_v4().to_string());
        let (boot, pulse): (String, u64) = call.invoke_async(conn).await?;
        let now = Identity { run_id, boot, pulse };
        let before = self.known.replace(now.clone());
        let Some(before) = before else { return Ok(()) };
        let name = self.shard.conns.link().name();
        if before.boot != now.boot {
            let count = raise(Alarm::LogLost, 1);
            log::error!(
                alarm = Alarm::LogLost.name(), count = count;
                "Redis {name} came back empty: every node asks its clients for what is missing, and republishes what it holds"
            );
        } else if before.pulse >= now.pulse {
            let count = raise(Alarm::LogLost, 1);
            log::error!(
                alarm = Alarm::LogLost.name(), count = count;
                "Redis {name} came back with older data ({} after {}): every node asks its clients for what is missing, and \
                 republishes what it holds",
                now.pulse, before.pulse
            );
        } else if before.run_id != now.run_id {
            let count = raise(Alarm::LogRestarted, 1);
            log::warn!(
                alarm = Alarm::LogRestarted.name(), count = count;
                "Redis {name} was restarted or replaced: open rooms compare what they know with what it holds"
            );
        } else {
            return Ok(());
        }
        let is_ours = self.is_ours.clone();
        self.tails.suspect(move |room| is_ours(room));
        Ok(())
    }

    /// Says what is new about the server's settings. Why it must not be used, if so.
    fn judge(&mut self, info: &ServerInfo) -> Option<String> {
        let found = info.findings();
        let name = self.shard.conns.link().name();
        for refusal in found.refusals.iter().filter(|refusal| !self.said.refusals.contains(refusal)) {
            log::error!("Redis {name} is not safe to use: {refusal}");
        }
        for warning in found.warnings.iter().filter(|warning| !self.said.warnings.contains(warning)) {
            log::warn!("Redis {name}: {warning}");
        }
        let refused = (!found.refusals.is_empty()).then(|| found.refusals.join("; "));
        self.said = found;
        refused
    }
}

async fn read_info(conn: &mut MultiplexedConnection) -> Result<ServerInfo, RedisError> {
    let text: String = redis::cmd("INFO").query_async(conn).await?;
    let info = ServerInfo::parse(&text);
    if info.is_loading() {
        return Err(RedisError::from((redis::ErrorKind::Client, "the server is still loading its data")));
    }
    Ok(info)
}

/// One command a channel: that is what a shard channel is confirmed by.
async fn subscribe(conn: &mut MultiplexedConnection, command: &str, channels: &[String]) -> Result<(), RedisError> {
    let mut all = redis::pipe();
    for channel in channels {
        all.cmd(command).arg(channel).ignore();
    }
    all.query_async(conn).await
}

/// Looks at every followed room within each period, a few at a time. Ends only with an error.
async fn sweep_for_ever(shard: &Arc<Shard>, tails: &Tails, period: Duration) -> String {
    loop {
        let (mut rooms, mut streams) = shard.wanted.rooms();
        // Not all at once, so that nobody has to wait for all of it.
        let parts = rooms.len().div_ceil(SWEEP_AT_ONCE).max(1) as u32;
        if rooms.is_empty() {
            sleep(period).await;
        }
        while !rooms.is_empty() {
            let from = rooms.len().saturating_sub(SWEEP_AT_ONCE);
            if let Err(error) = sweep(shard, tails, rooms.split_off(from), streams.split_off(from)).await {
                return format!("a sweep failed: {error}");
            }
            sleep(period / parts).await;
        }
    }
}

/// Has those of `rooms` read that have entries which were not handed over.
async fn sweep(
    shard: &Arc<Shard>,
    tails: &Tails,
    rooms: Vec<RoomId>,
    streams: Vec<Arc<str>>,
) -> Result<(), yhub_store::StreamLogError> {
    let positions = tails.live_positions(&rooms);
    let asked: Vec<(RoomId, Arc<str>, String)> = rooms
        .into_iter()
        .zip(streams)
        .zip(positions)
        .filter_map(|((room, stream), position)| Some((room, stream, position?.to_string())))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(1).arg("STREAMS");
    read.arg(asked.iter().map(|(_, stream, _)| &**stream).collect::<Vec<_>>());
    read.arg(asked.iter().map(|(.., position)| position).collect::<Vec<_>>());
    let found: Option<Vec<(String, Vec<StoredEntry>)>> =
        shard.run(move |mut conn| async move { read.query_async(&mut conn).await }).await?;
    let found: HashMap<String, Vec<StoredEntry>> = found.unwrap_or_default().into_iter().collect();
    for (room, stream, _) in asked.iter().filter(|_| !found.is_empty()) {
        if let Some(entry) = found.get(&**stream).and_then(|entries| entries.first()) {
            tails.seen(room, entry.0.clock);
        }
    }
    Ok(())
}
