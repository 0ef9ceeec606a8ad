//! A TCP balancer in front of several nodes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::background::{Background, blocking};
use crate::{ports::free_addr, random::Random};

/// Gives each connection to a random backend that accepts it. Gone when dropped, with all its connections.
pub struct Balancer {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _background: Background,
}

struct Shared {
    backends: Vec<Backend>,
    random: Random,
}

struct Backend {
    addr: SocketAddr,
    is_out: bool,
    connections: usize,
}

impl Balancer {
    /// In front of `backends`, which need not be there yet. The same seed chooses alike.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(backends: impl IntoIterator<Item = SocketAddr>, seed: u64) -> Self {
        let backends = backends.into_iter().map(|addr| Backend { addr, is_out: false, connections: 0 }).collect();
        let shared = Arc::new(Mutex::new(Shared { backends, random: Random::new(seed) }));
        let addr = free_addr();
        let listener = blocking(async { TcpListener::bind(addr).await?.into_std() }).expect("the port is free");
        let background = Background::start(serve(listener, shared.clone()));
        Self { addr, shared, _background: background }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where stock clients connect: the address without a path.
    pub fn url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// Gives `backend` no more connections. Those that it has stay.
    ///
    /// # Panics
    /// If there is no such backend.
    pub fn take_out(&self, backend: SocketAddr) {
        lock(&self.shared).backend(backend).is_out = true;
    }

    /// Gives `backend` connections again.
    ///
    /// # Panics
    /// If there is no such backend.
    pub fn put_in(&self, backend: SocketAddr) {
        lock(&self.shared).backend(backend).is_out = false;
    }

    /// How many connections `backend` has.
    ///
    /// # Panics
    /// If there is no such backend.
    pub fn connections(&self, backend: SocketAddr) -> usize {
        lock(&self.shared).backend(backend).connections
    }
}

impl Shared {
    fn backend(&mut self, addr: SocketAddr) -> &mut Backend {
        let found = self.backends.iter_mut().find(|backend| backend.addr == addr);
        found.unwrap_or_else(|| panic!("{addr} is no backend of this balancer"))
    }

    /// Those that are in, in the order in which they are to be tried.
    fn candidates(&mut self) -> Vec<SocketAddr> {
        let mut left: Vec<_> = self.backends.iter().filter(|backend| !backend.is_out).map(|backend| backend.addr).collect();
        let mut order = Vec::new();
        while !left.is_empty() {
            order.push(left.swap_remove(self.random.below(left.len())));
        }
        order
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Mutex<Shared>>) {
    let listener = TcpListener::from_std(listener).expect("a listener can change its runtime");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection(client, shared.clone()));
            }
        }
    }
}

async fn connection(mut client: TcpStream, shared: Arc<Mutex<Shared>>) {
    let candidates = lock(&shared).candidates();
    for backend in candidates {
        // Whoever is not there refuses at once: all are on this machine.
        let Ok(mut server) = TcpStream::connect(backend).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        lock(&shared).backend(backend).connections += 1;
        // If it fails, both sides are closed.
        let _ = copy_bidirectional(&mut client, &mut server).await;
        lock(&shared).backend(backend).connections -= 1;
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        io::{Read, Write},
        net,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    /// Tells everyone who connects its own port; closes everything when dropped.
    struct Node {
        addr: SocketAddr,
        ended: Arc<AtomicBool>,
    }

    impl Node {
        fn start() -> Self {
            let listener = net::TcpListener::bind(free_addr()).unwrap();
            let (addr, ended) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
            let is_over = ended.clone();
            thread::spawn(move || {
                for mut client in listener.incoming().flatten() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    writeln!(client, "{addr}").unwrap();
                }
            });
            Self { addr, ended }
        }

        fn end(&self) {
            self.ended.store(true, Ordering::SeqCst);
            // Wakes it up.
            drop(net::TcpStream::connect(self.addr));
            while net::TcpStream::connect(self.addr).is_ok() {
                thread::yield_now();
            }
        }
    }

    fn ask(balancer: &Balancer) -> Option<SocketAddr> {
        let mut answer = String::new();
        net::TcpStream::connect(balancer.addr()).unwrap().read_to_string(&mut answer).ok()?;
        answer.trim().parse().ok()
    }

    #[test]
    fn it_finds_whoever_lives_and_is_in() {
        let nodes: Vec<_> = (0..3).map(|_| Node::start()).collect();
        let addrs: Vec<_> = nodes.iter().map(|node| node.addr).collect();
        let seed = 7;
        let balancer = Balancer::start(addrs.clone(), seed);
        let who = |balancer: &Balancer| -> Vec<_> { (0..30).map(|_| ask(balancer)).collect() };
        let seen = who(&balancer);
        assert_eq!(seen.iter().flatten().collect::<HashSet<_>>().len(), 3, "{seen:?}");
        assert_eq!(who(&Balancer::start(addrs.clone(), seed)), seen, "the same seed chooses alike");

        balancer.take_out(addrs[0]);
        nodes[1].end();
        assert!(who(&balancer).iter().all(|node| *node == Some(addrs[2])));
        balancer.take_out(addrs[2]);
        assert_eq!(ask(&balancer), None, "nobody is left");
        balancer.put_in(addrs[0]);
        assert!(who(&balancer).iter().all(|node| *node == Some(addrs[0])));
    }
}
