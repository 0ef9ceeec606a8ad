//! Who comes back after a panic. actix's own supervisor restarts actors that stop, not ones that panic.
//!
//! A session never comes back (its client reconnects), a room at the next join, readers and the compactor after a
//! backoff; too many restarts end the process.

use std::{collections::VecDeque, time::Duration};

use actix::prelude::*;

/// So many restarts within [`WINDOW_MS`] are too many.
const MAX_RESTARTS: usize = 10;
const WINDOW_MS: u64 = 60_000;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// How an actor was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It lives.
    Alive,
    /// It is dead; it comes back after its backoff.
    Waiting,
    /// It was dead; a new one has been started.
    Restarted,
    /// It has died too often.
    TooOften,
}

/// An actor that comes back.
pub(crate) struct Supervised<A: Actor> {
    name: &'static str,
    addr: Addr<A>,
    start: Box<dyn FnMut() -> Addr<A>>,
    restarts_ms: VecDeque<u64>,
    back_at_ms: Option<u64>,
}

impl<A: Actor<Context = Context<A>>> Supervised<A> {
    /// Starts it.
    pub(crate) fn start(name: &'static str, mut start: impl FnMut() -> Addr<A> + 'static) -> Self {
        Self { name, addr: start(), start: Box::new(start), restarts_ms: VecDeque::new(), back_at_ms: None }
    }

    /// Its address now.
    pub(crate) fn addr(&self) -> &Addr<A> {
        &self.addr
    }

    /// Looks after it at `now_ms`.
    pub(crate) fn check(&mut self, now_ms: u64) -> Found {
        if self.addr.connected() {
            return Found::Alive;
        }
        let Some(back_at_ms) = self.back_at_ms else {
            while self.restarts_ms.front().is_some_and(|then| now_ms.saturating_sub(*then) > WINDOW_MS) {
                self.restarts_ms.pop_front();
            }
            if self.restarts_ms.len() >= MAX_RESTARTS {
                log::error!("the {} died {MAX_RESTARTS} times within a minute", self.name);
                return Found::TooOften;
            }
            let backoff = FIRST_BACKOFF * 2u32.pow(self.restarts_ms.len().min(6) as u32);
            log::error!("the {} died; it comes back in {backoff:?}", self.name);
            self.restarts_ms.push_back(now_ms);
            self.back_at_ms = Some(now_ms + backoff.as_millis() as u64);
            return Found::Waiting;
        };
        if now_ms < back_at_ms {
            return Found::Waiting;
        }
        self.back_at_ms = None;
        self.addr = (self.start)();
        Found::Restarted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fragile;

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Die;

    impl Handler<Die> for Fragile {
        type Result = ();

        fn handle(&mut self, _: Die, _: &mut Self::Context) {
            panic!("on purpose");
        }
    }

    async fn kill(supervised: &Supervised<Fragile>) {
        assert!(supervised.addr().send(Die).await.is_err());
        while supervised.addr().connected() {
            tokio::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn an_actor_that_panicked_comes_back_after_its_backoff() {
        let mut supervised = Supervised::start("test", || Fragile.start());
        assert_eq!(supervised.check(0), Found::Alive);
        kill(&supervised).await;
        assert_eq!(supervised.check(0), Found::Waiting);
        assert_eq!(supervised.check(99), Found::Waiting);
        assert_eq!(supervised.check(100), Found::Restarted);
        assert_eq!(supervised.check(100), Found::Alive);
    }

    #[actix::test]
    async fn one_that_dies_again_and_again_is_given_up() {
        let mut supervised = Supervised::start("test", || Fragile.start());
        for n in 0..MAX_RESTARTS as u64 {
            kill(&supervised).await;
            assert_eq!(supervised.check(n), Found::Waiting);
            assert_eq!(supervised.check(n + 30_000), Found::Restarted);
        }
        kill(&supervised).await;
        assert_eq!(supervised.check(MAX_RESTARTS as u64), Found::TooOften);
    }
}
