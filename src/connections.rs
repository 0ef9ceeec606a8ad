//! Connections while they speak HTTP: how many one address may have, and for how long they may say or take nothing.
//!
//! actix-http gives the head of the first request a time, and nothing that follows: neither the head of a second request nor a client
//! that does not take its answer. So whoever serves a connection here watches over it, and drops it when it is overdue; with
//! it go the request, its answer, and what that holds of a budget.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::net::TcpStream;
use actix_web::{
    body::{BodySize, MessageBody},
    dev::Extensions,
};
use bytes::Bytes;
use socket2::SockRef;
use tokio::time::{Instant, sleep_until};
use yhub_core::limiting::{Bound, Buckets, PlaceOf, Places, Rate, Tally};

use crate::{
    Config,
    peer::{Client, Proxies},
};

/// What actix-http leaves a connection without a request; see its `KeepAlive`.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The clock of actix-http's timers is behind by up to so much.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// So many addresses are told apart by how often they connect.
const MAX_ADDRESSES: usize = 65_536;
/// How often a connection is looked at that is not waited for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So much waits in the operating system to be sent to a client, what is on its way to it apart; the rest waits with us, and is counted.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;
/// What somebody is told who has too many, without being listened to.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The bounds of all connections of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<Places<IpAddr>>,
    per_address: usize,
    coming: Arc<Buckets<IpAddr>>,
    rate: Rate,
    started: Instant,
    proxies: Proxies,
    head: Duration,
    write: Duration,
    tally: Arc<Tally>,
}

impl Connections {
    pub(crate) fn new(config: &Config, proxies: Proxies, tally: Arc<Tally>) -> Self {
        Self {
            open: Arc::default(),
            per_address: config.limits.http_connections_per_address,
            coming: Arc::new(Buckets::new(MAX_ADDRESSES)),
            rate: Rate::per_second(config.limits.http_connections_per_second, config.limits.burst_seconds),
            started: Instant::now(),
            proxies,
            head: config.server.head_timeout_ms.duration(),
            write: config.server.write_timeout_ms.duration(),
            tally,
        }
    }

    /// Takes a connection in, unless there are too many: then it is told so, and ends.
    pub(crate) fn open(&self, io: &TcpStream, watches: &Watches) -> Option<Open> {
        let place = self.take(io)?;
        let watch = Rc::new(Watch(Cell::new(State::New { since: Instant::now() })));
        let listed = io.peer_addr().ok().map(|peer| Listed::new(watches, peer, &watch));
        Some(Open { watch, connections: self.clone(), _place: place, _listed: listed })
    }

    /// The place of a connection, if it is counted. `None`: there are too many, and it has been told so.
    pub(crate) fn take(&self, io: &TcpStream) -> Option<Option<PlaceOf<IpAddr>>> {
        let counted = io.peer_addr().ok().and_then(|peer| self.counted(peer.ip()));
        let place = counted.map_or(Ok(None), |address| self.place(address));
        match place {
            Ok(place) => {
                // What was sent and is not taken is held by the operating system, also after we have let go of the connection; which
                // comes first, so that it is counted.
                #[cfg(target_os = "linux")]
                let _ = SockRef::from(io).set_tcp_user_timeout(Some(self.write * 2));
                // By itself the operating system takes megabytes at once for a client that may take nothing: they cost their copying, and
                // nobody counts them. What is on its way to the client is not bounded by this.
                #[cfg(target_os = "linux")]
                let _ = SockRef::from(io).set_tcp_notsent_lowat(UNSENT_BYTES);
                Some(place)
            }
            Err(bound) => {
                self.tally.count(bound);
                // Whether it is heard is not our affair.
                let _ = SockRef::from(io).send(REFUSAL);
                None
            }
        }
    }

    /// What connections of this peer are counted under. `None`: a proxy, which speaks for many.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let client = Client { address: peer.to_canonical() };
        // Of the address itself: what it is counted under may be a whole network.
        (!self.proxies.trusts(client.address)).then(|| client.key())
    }

    fn place(&self, address: IpAddr) -> Result<Option<PlaceOf<IpAddr>>, Bound> {
        if !self.rate.is_none() {
            let now_ms = self.started.elapsed().as_millis() as u64;
            self.coming.try_take(address, &self.rate, now_ms).map_err(|_| Bound::HttpConnectionRate)?;
        }
        match self.per_address {
            0 => Ok(None),
            most => self.open.take(address, most).map(Some).ok_or(Bound::HttpConnections),
        }
    }

    /// Ends, and is counted, when a client has taken nothing of an answer for too long; for whoever can watch no more than that.
    pub(crate) async fn nothing_is_taken(&self, watch: &Watch) {
        while let State::Answering { since } = watch.0.get() {
            if since + self.write <= Instant::now() {
                return self.tally.count(Bound::AnswerTime);
            }
            sleep_until(since + self.write).await;
        }
        std::future::pending().await
    }
}

/// A connection that was taken in.
pub(crate) struct Open {
    watch: Rc<Watch>,
    connections: Connections,
    _place: Option<PlaceOf<IpAddr>>,
    _listed: Option<Listed>,
}

impl Open {
    /// Runs what serves the connection, until that ends or is overdue.
    pub(crate) async fn watch_over<T>(self, serving: impl Future<Output = T>) {
        let began = Instant::now();
        // Dropped behind what follows: whoever sees the end of their connection finds it counted.
        let mut serving = pin!(serving);
        tokio::select! {
            _ = &mut serving => {
                // actix-http has answered 408 then.
                if self.watch.is_new() && began.elapsed() + CLOCK_STEP >= self.connections.head {
                    self.connections.tally.count(Bound::HeadTime);
                }
            }
            bound = self.overdue() => self.connections.tally.count(bound),
        }
    }

    async fn overdue(&self) -> Bound {
        let Connections { head, write, .. } = self.connections;
        loop {
            let (until, bound) = match self.watch.0.get() {
                // The first head is actix-http's affair; it has said so by then, and the client has not taken that.
                State::New { since } => (Some(since + head + KEEP_ALIVE), Bound::HeadTime),
                // The last of an answer may still be on its way.
                State::Idle { since } => (Some(since + KEEP_ALIVE + head + write), Bound::HeadTime),
                State::Answering { since } => (Some(since + write), Bound::AnswerTime),
                State::Working => (None, Bound::HeadTime),
            };
            let now = Instant::now();
            match until {
                Some(until) if until <= now => return bound,
                until => sleep_until(until.unwrap_or(now + LOOK_EVERY).min(now + LOOK_EVERY.min(write))).await,
            }
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing was asked yet.
    New { since: Instant },
    /// The last answer was given to the server, and nothing is asked.
    Idle { since: Instant },
    /// A request is being worked on, which has bounds of its own.
    Working,
    /// The client has taken some of an answer.
    Answering { since: Instant },
}

/// Follows what a connection is doing.
pub(crate) struct Watch(Cell<State>);

impl Watch {
    /// Of an answer that begins.
    pub(crate) fn of_answer() -> Self {
        Self(Cell::new(State::Answering { since: Instant::now() }))
    }

    /// A request has come.
    pub(crate) fn on_request(&self) {
        self.0.set(State::Working);
    }

    fn is_new(&self) -> bool {
        matches!(self.0.get(), State::New { .. })
    }
}

/// The connections of one worker, by their peers: how their requests find them.
pub(crate) type Watches = Rc<RefCell<HashMap<SocketAddr, Rc<Watch>>>>;

/// For `HttpService::on_connect_ext`.
pub(crate) fn on_connect(watches: &Watches, io: &TcpStream, extensions: &mut Extensions) {
    if let Some(watch) = io.peer_addr().ok().and_then(|peer| watches.borrow().get(&peer).cloned()) {
        extensions.insert(watch);
    }
}

/// An entry of [`Watches`], while the connection is served.
struct Listed {
    watches: Watches,
    peer: SocketAddr,
}

impl Listed {
    fn new(watches: &Watches, peer: SocketAddr, watch: &Rc<Watch>) -> Self {
        watches.borrow_mut().insert(peer, watch.clone());
        Self { watches: watches.clone(), peer }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.watches.borrow_mut().remove(&self.peer);
    }
}

/// A body, watched: each piece that the server asks for is one that the client has taken.
pub(crate) struct Watched<B> {
    body: Pin<Box<B>>,
    watch: Option<Rc<Watch>>,
}

impl<B> Watched<B> {
    pub(crate) fn new(body: B, watch: Option<Rc<Watch>>) -> Self {
        let watched = Self { body: Box::pin(body), watch };
        watched.mark(|since| State::Answering { since });
        watched
    }

    fn mark(&self, state: impl Fn(Instant) -> State) {
        if let Some(watch) = &self.watch {
            watch.0.set(state(Instant::now()));
        }
    }
}

impl<B: MessageBody> MessageBody for Watched<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.mark(|since| State::Answering { since });
        self.body.as_mut().poll_next(cx)
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.mark(|since| State::Idle { since });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_its_address_and_not_by_its_network() {
        let mut config = Config::default();
        config.server.trusted_proxies = ["::1", "2001:db8::1:0/120", "::ffff:10.0.0.0/104"].map(String::from).to_vec();
        let connections = Connections::new(&config, Proxies::new(&config), Arc::default());
        let counted = |peer: &str| connections.counted(peer.parse().unwrap()).map(|address| address.to_string());
        for proxy in ["::1", "2001:db8::1:7", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert_eq!(counted(proxy), None, "{proxy}");
        }
        assert_eq!(counted("::2").as_deref(), Some("::"));
        assert_eq!(counted("2001:db8::2:7").as_deref(), Some("2001:db8::"), "of the same /64 as a proxy");
        assert_eq!(counted("11.1.2.3").as_deref(), Some("11.1.2.3"));
    }
}
