//! Cases of tickets.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::TicketRig;
use crate::{MAX_TICKET_BYTES, StreamLogError};

const LONG: Duration = Duration::from_secs(3_600);

fn hash(n: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[12..20].copy_from_slice(&n.to_be_bytes());
    hash
}

async fn put(rig: &TicketRig, n: u64, says: impl Into<Bytes>, ttl: Duration) {
    rig.tickets.put(&hash(n), says.into(), ttl).await.expect("a ticket is kept");
}

async fn take(rig: &TicketRig, n: u64) -> Option<Bytes> {
    rig.tickets.take(&hash(n)).await.expect("a ticket is looked for")
}

/// Every byte, no byte at all, and as many as may be; each once.
pub async fn a_ticket_is_taken_once(rig: TicketRig) {
    let every_byte: Bytes = (0..=255u8).collect();
    for (n, says) in [every_byte, Bytes::new(), Bytes::from(vec![7; MAX_TICKET_BYTES])].into_iter().enumerate() {
        let n = n as u64;
        assert_eq!(take(&rig, n).await, None);
        put(&rig, n, says.clone(), LONG).await;
        assert_eq!(take(&rig, n).await, Some(says));
        assert_eq!(take(&rig, n).await, None);
    }
}

/// Tickets of any hashes are apart.
pub async fn tickets_do_not_mix(rig: TicketRig) {
    let numbers = [0, 1, 255, 256, 0x2a5b_3f00, 0x3a3a_3a3a, 0x0d0a_0d0a, u64::MAX];
    for n in numbers {
        put(&rig, n, n.to_string(), LONG).await;
    }
    for n in numbers {
        assert_eq!(take(&rig, n).await, Some(n.to_string().into()));
    }
}

/// Of many who take one at the same time, one gets it.
pub async fn of_many_takers_one_gets_it(rig: TicketRig) {
    for n in 0..20 {
        put(&rig, n, n.to_string(), LONG).await;
        let took = join_all((0..16).map(|_| {
            let tickets = rig.tickets.clone();
            tokio::spawn(async move { tickets.take(&hash(n)).await.expect("a ticket is looked for") })
        }));
        let got: Vec<Bytes> = took.await.into_iter().filter_map(|taken| taken.expect("no panic")).collect();
        assert_eq!(got, [n.to_string()]);
    }
}

/// A ticket is there as long as it was asked to be, and no longer; what is put in its place has its own time.
pub async fn a_time_ends(rig: TicketRig) {
    put(&rig, 1, "short", Duration::from_secs(100)).await;
    put(&rig, 2, "short", Duration::from_secs(100)).await;
    put(&rig, 3, "short", Duration::from_secs(100)).await;
    put(&rig, 3, "long", Duration::from_secs(1_000)).await;
    rig.control.advance(Duration::from_secs(50)).await;
    assert_eq!(take(&rig, 1).await, Some("short".into()));
    rig.control.advance(Duration::from_secs(51)).await;
    assert_eq!(take(&rig, 2).await, None);
    assert_eq!(take(&rig, 3).await, Some("long".into()));
}

/// What is over at once is not kept, and what says too much is refused; what was there before is not said any more in the first
/// case, and still is in the second.
pub async fn what_cannot_be_kept_is_not_there(rig: TicketRig) {
    put(&rig, 1, "old", LONG).await;
    put(&rig, 1, "new", Duration::ZERO).await;
    assert_eq!(take(&rig, 1).await, None);
    put(&rig, 2, "old", LONG).await;
    let refused = rig.tickets.put(&hash(2), Bytes::from(vec![0; MAX_TICKET_BYTES + 1]), LONG).await;
    assert!(matches!(&refused, Err(error @ StreamLogError::TooLarge { .. }) if !error.is_transient()), "{refused:?}");
    assert_eq!(take(&rig, 2).await, Some("old".into()));
}
