//! Waiting with a deadline.

use std::{thread, time::Duration};

use tokio::time::{sleep, timeout};

/// How long anything may take unless a test says otherwise. Long, because machines that build and test at once are slow.
pub const DEADLINE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(10);

/// What `future` gives.
///
/// # Panics
/// If that takes longer than [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for: {what}"),
    }
}

/// Looks again and again until `look` sees something.
///
/// # Panics
/// If that takes longer than [`DEADLINE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            sleep(POLL).await;
        }
    };
    within(what, look).await
}

/// The same without a runtime: blocks the thread until `ready`.
///
/// # Panics
/// If that takes longer than [`DEADLINE`].
pub fn block_until(what: &str, mut ready: impl FnMut() -> bool) {
    const POLL: Duration = Duration::from_millis(1);
    for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
        if ready() {
            return;
        }
        thread::sleep(POLL);
    }
    panic!("waited {DEADLINE:?} for: {what}");
}
