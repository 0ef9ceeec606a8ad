//! What is being computed, for all who ask it meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, WeakShared},
};
use yhub_store::CacheKey;

use crate::http::HttpError;

/// Something that is being computed.
pub(super) type Computing<T> = BoxFuture<'static, Result<T, HttpError>>;

/// By what is asked. An entry is gone with the last of those who wait for it.
pub(super) struct Flights<T: Clone>(Mutex<HashMap<CacheKey, WeakShared<Computing<T>>>>);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Flights<T> {
    /// Waits for what is being computed, or begins with `compute`.
    pub(super) async fn join(&self, key: CacheKey, compute: Computing<T>) -> Result<T, HttpError> {
        let flight = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // There are as many as are being computed: few.
            flights.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
            match flights.get(&key).and_then(WeakShared::upgrade) {
                Some(flight) => flight,
                None => {
                    let flight = compute.shared();
                    flights.extend(flight.downgrade().map(|weak| (key, weak)));
                    flight
                }
            }
        };
        flight.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use yhub_core::RoomId;

    use super::*;

    fn key(name: &str) -> CacheKey {
        CacheKey { room: RoomId::new("o", "d", "main"), endpoint: name.into(), arguments: Vec::new() }
    }

    #[tokio::test]
    async fn what_many_ask_at_once_is_computed_once() {
        let (flights, computed) = (Flights::<usize>::default(), Arc::new(AtomicUsize::new(0)));
        let compute = || {
            let computed = computed.clone();
            async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                Ok(computed.fetch_add(1, Ordering::Relaxed))
            }
            .boxed()
        };
        let (a, b, other) =
            tokio::join!(flights.join(key("a"), compute()), flights.join(key("a"), compute()), flights.join(key("b"), compute()));
        assert_eq!(a, b);
        assert_ne!(a, other);
        // What was asked later is computed anew.
        assert_eq!(flights.join(key("a"), compute()).await, Ok(2));
        // Who began may go: whoever still waits goes on.
        let mut first = Box::pin(flights.join(key("c"), compute()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.join(key("c"), compute()));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await, Ok(3));
    }
}
