//! A TCP proxy that fails when told to.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::background::Background;
use crate::{
    ports::free_addr,
    wait::{block_until, within},
};

/// How much is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// How many chunks may be on their way in one direction of a connection. Beyond that the sender has to wait.
const IN_FLIGHT: usize = 64;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What clients say.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// Passes connections on to one server, until told otherwise: put between a hub and its Redis, it is the network that
/// breaks. It listens on a port of its own, which stays the same. Gone when dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    cut: bool,
    stalled: bool,
    delay: Duration,
}

struct Shared {
    target: SocketAddr,
    state: watch::Sender<State>,
    budget: Mutex<Option<(Direction, usize)>>,
    listening: AtomicUsize,
    open: AtomicUsize,
    accepted: AtomicUsize,
}

impl Proxy {
    /// In front of `target`, which need not be there yet.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(target: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            target,
            state: watch::Sender::default(),
            budget: Mutex::default(),
            listening: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let addr = free_addr();
        let background = Background::start(serve(addr, shared.clone()));
        let proxy = Self { addr, shared, _background: background };
        proxy.heal();
        proxy
    }

    /// Where clients connect in place of the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections and refuses new ones, until [`Proxy::heal`]. Both is so when this returns.
    pub fn cut(&self) {
        self.shared.cut();
        self.wait_until_cut();
    }

    /// Passes on `bytes` more in one direction, over all connections together, and then is [`Proxy::cut`]. With
    /// `(Direction::ToClient, 0)` the server does what it is told, and nobody hears of it.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        *self.shared.budget() = Some((direction, bytes));
    }

    /// Waits until the cut that was ordered with [`Proxy::cut_after`] has happened.
    ///
    /// # Panics
    /// If it does not happen in time.
    pub fn wait_until_cut(&self) {
        let (listening, open) = (&self.shared.listening, &self.shared.open);
        // A process that another thread starts just then keeps the listener for a moment longer.
        let refuses = || std::net::TcpStream::connect(self.addr).is_err();
        let is_cut = || listening.load(Ordering::SeqCst) == 0 && open.load(Ordering::SeqCst) == 0 && refuses();
        block_until("a proxy that is cut", is_cut);
    }

    /// Keeps all connections open, accepts new ones, and passes nothing on. What is sent meanwhile arrives after
    /// [`Proxy::heal`].
    pub fn stall(&self) {
        self.shared.state.send_modify(|state| state.stalled = true);
    }

    /// Passes everything on, so much later in each direction.
    pub fn delay(&self, by: Duration) {
        self.shared.state.send_modify(|state| state.delay = by);
    }

    /// Ends every fault. New connections are accepted when this returns.
    ///
    /// # Panics
    /// If its port cannot be had again.
    pub fn heal(&self) {
        *self.shared.budget() = None;
        self.shared.state.send_replace(State::default());
        block_until("a proxy that listens", || self.shared.listening.load(Ordering::SeqCst) == 1);
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How many have been accepted since it was started.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn cut(&self) {
        self.state.send_modify(|state| state.cut = true);
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Option<(Direction, usize)>> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `wanted` bytes may be passed on.
    fn spend(&self, direction: Direction, wanted: usize) -> usize {
        match &mut *self.budget() {
            Some((limited, left)) if *limited == direction => {
                let spent = wanted.min(*left);
                *left -= spent;
                spent
            }
            _ => wanted,
        }
    }

    async fn until(&self, is: impl Fn(&State) -> bool) -> State {
        *self.state.subscribe().wait_for(is).await.expect("the sender is in here")
    }
}

/// Counts up now and down when dropped, so that a task that is aborted counts as well.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(addr: SocketAddr, shared: Arc<Shared>) {
    loop {
        shared.until(|state| !state.cut).await;
        let listener = within("the port of a proxy, which stays free", listen(addr)).await;
        let listening = Counted::new(&shared.listening);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = shared.until(|state| state.cut) => break,
                Some(_) = connections.join_next() => {}
                Ok((client, _)) = listener.accept() => {
                    shared.accepted.fetch_add(1, Ordering::SeqCst);
                    let shared = shared.clone();
                    connections.spawn(async move {
                        let _open = Counted::new(&shared.open);
                        // Whatever fails closes both sides, which is all that there is to say.
                        let _ = connection(client, &shared).await;
                    });
                }
            }
        }
        drop(listener);
        connections.shutdown().await;
        drop(listening);
    }
}

/// Again and again: what made [`Proxy::cut`] late may still be there.
async fn listen(addr: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn connection(client: TcpStream, shared: &Shared) -> io::Result<()> {
    shared.until(|state| !state.stalled).await;
    let server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = pump(from_client, to_server, Direction::ToServer, shared);
    let back = pump(from_server, to_client, Direction::ToClient, shared);
    tokio::try_join!(there, back).map(|_| ())
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction, shared: &Shared) -> io::Result<()> {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        loop {
            let State { delay, .. } = shared.until(|state| !state.stalled).await;
            let len = from.read(&mut chunk).await?;
            let due = Instant::now() + delay;
            if len == 0 || send.send((due, chunk[..len].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receive.recv().await {
            sleep_until(due).await;
            shared.until(|state| !state.stalled).await;
            let allowed = shared.spend(direction, bytes.len());
            to.write_all(&bytes[..allowed]).await?;
            if allowed < bytes.len() {
                shared.cut();
                // This task is about to be aborted with all the others.
                std::future::pending::<()>().await;
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;
    use crate::wait::DEADLINE;

    /// A server that sends back what it is sent.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(free_addr()).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut client.try_clone().unwrap(), &mut client));
            }
        });
        addr
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let client = TcpStream::connect(proxy.addr()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    }

    fn says(client: &mut TcpStream, text: &str) {
        client.write_all(text.as_bytes()).unwrap();
        hears(client, text);
    }

    fn hears(client: &mut TcpStream, text: &str) {
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), text);
    }

    fn is_closed(client: &mut TcpStream) -> bool {
        matches!(client.read(&mut [0]), Ok(0) | Err(_))
    }

    #[test]
    fn it_cuts_and_heals() {
        let proxy = Proxy::start(echo());
        let mut client = connect(&proxy);
        says(&mut client, "hello");
        assert_eq!((proxy.connections(), proxy.accepted()), (1, 1));
        proxy.cut();
        assert!(is_closed(&mut client));
        assert_eq!(TcpStream::connect(proxy.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(proxy.connections(), 0);
        proxy.heal();
        says(&mut connect(&proxy), "again");
        assert_eq!(proxy.accepted(), 2);
    }

    #[test]
    fn a_stall_keeps_what_is_sent_and_whoever_comes() {
        let proxy = Proxy::start(echo());
        let mut before = connect(&proxy);
        says(&mut before, "hello");
        proxy.stall();
        before.write_all(b"during").unwrap();
        let mut meanwhile = connect(&proxy);
        meanwhile.write_all(b"me too").unwrap();
        for client in [&mut before, &mut meanwhile] {
            client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            client.set_read_timeout(Some(DEADLINE)).unwrap();
        }
        proxy.heal();
        hears(&mut before, "during");
        hears(&mut meanwhile, "me too");
    }

    #[test]
    fn a_stall_hides_that_the_server_is_gone() {
        let proxy = Proxy::start(free_addr());
        assert!(is_closed(&mut connect(&proxy)));
        proxy.stall();
        let mut client = connect(&proxy);
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        proxy.heal();
        assert!(is_closed(&mut client));
    }

    #[test]
    fn a_delay_delays() {
        let proxy = Proxy::start(echo());
        let mut client = connect(&proxy);
        proxy.delay(Duration::from_millis(300));
        says(&mut client, "hello");
        client.write_all(b"there and back").unwrap();
        // Twice the delay at least: too early cannot be the machine's fault.
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        hears(&mut client, "there and back");
    }

    #[test]
    fn it_cuts_after_so_many_bytes() {
        let proxy = Proxy::start(echo());
        for direction in [Direction::ToServer, Direction::ToClient] {
            let mut client = connect(&proxy);
            says(&mut client, "hello");
            proxy.cut_after(direction, 3);
            client.write_all(b"never whole").unwrap();
            proxy.wait_until_cut();
            let mut heard = Vec::new();
            let _ = client.read_to_end(&mut heard);
            assert!(b"nev".starts_with(&heard[..]), "{heard:?}");
            proxy.heal();
            says(&mut connect(&proxy), "again");
        }
    }
}
