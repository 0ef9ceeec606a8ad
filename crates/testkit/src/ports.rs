//! Ports for servers that tests stop and start again.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Below the ports that clients are given, of which one might even connect to itself.
const PORTS: Range<u32> = 12_000..30_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

// A UDP socket on the port's number is in nobody's way, excludes every other test program that asks here, and goes away with
// the process, however that ends.
static RESERVED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A loopback address that nobody listens on, and that no test of any process is given while this process lives: it stays
/// free while its server is down.
///
/// # Panics
/// If there is none.
pub fn free_addr() -> SocketAddr {
    for _ in 0..1_000 {
        let addr = nth(TAKEN.fetch_add(1, Ordering::Relaxed));
        let Ok(reservation) = UdpSocket::bind(addr) else { continue };
        // Not by listening there: a process that another thread starts just then would keep the port busy for a moment longer.
        if TcpStream::connect(addr).is_err() {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
            return addr;
        }
    }
    panic!("no port between {} and {} is free", PORTS.start, PORTS.end);
}

/// Where this process looks: test programs that run side by side look in different places.
fn nth(n: u32) -> SocketAddr {
    let place = std::process::id().wrapping_mul(97).wrapping_add(n);
    let port = PORTS.start + place % (PORTS.end - PORTS.start);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_where_somebody_listens_is_not_given() {
        let next = TAKEN.load(Ordering::Relaxed);
        // Some of them somebody else may have.
        let listeners: Vec<_> = (next..next + 5).filter_map(|n| TcpListener::bind(nth(n)).ok()).collect();
        let given = free_addr();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() != given), "{given}");
    }

    #[test]
    fn an_address_is_given_once_and_stays_free() {
        let addr = free_addr();
        let here = TAKEN.load(Ordering::Relaxed);
        // As another process would that looks in the same place.
        TAKEN.store(here - 1, Ordering::Relaxed);
        assert_ne!(free_addr(), addr);
        TcpListener::bind(addr).expect("it stays free");
    }
}
