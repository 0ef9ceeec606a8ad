//! A node that stops: sessions are closed one after the other, those that are still here go on.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use yhub_core::{Close, Effect, spread_closes};

use super::Room;

/// Sessions that are sent away one after the other go in groups: a timer for each would cost more than it spreads.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Take nobody in any more, close all sessions over a while, finish what is under way, stop. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// What clients are told.
    pub close: Close,
    /// Over so long; zero: at once.
    pub window: Duration,
    /// Decides who goes when.
    pub seed: u64,
}

impl Room {
    /// Closes those whose turn has come, until nobody is left.
    fn drain(&mut self, ctx: &mut Context<Self>) {
        let Some(close) = self.retiring.clone() else { return };
        let now = Instant::now();
        let mut effects = Vec::new();
        while let Some((_, session)) = self.drain.pop_if(|(due, _)| *due <= now) {
            // Who has gone by itself is not here any more.
            if self.outboxes.contains_key(&session) {
                effects.push(Effect::Close { session, close: close.clone() });
            }
        }
        if let Some((due, _)) = self.drain.last() {
            ctx.run_later(due.duration_since(now).max(DRAIN_STEP), Self::drain);
        }
        self.carry_out(effects, ctx);
    }
}

impl Handler<Drain> for Room {
    type Result = ();

    fn handle(&mut self, Drain { close, window, seed }: Drain, ctx: &mut Self::Context) {
        if window.is_zero() || self.retiring.is_some() {
            self.retire(close, ctx);
            return;
        }
        self.retiring = Some(close);
        let now = Instant::now();
        let closes = spread_closes(self.outboxes.keys().copied().collect(), window, seed);
        self.drain = closes.into_iter().rev().map(|(due, session)| (now + due, session)).collect();
        self.drain(ctx);
    }
}
