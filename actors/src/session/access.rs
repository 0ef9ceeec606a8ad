//! The asking anew what a session's client may do. Policy is in `yhub_core::Standing`.

use actix::prelude::*;
use futures_util::future::BoxFuture;
use yhub_core::{Change, Checked, Freshness};

use super::{Session, Stage};
use crate::{frames::Frames, pass::CHECK_WITHIN, room::Act, transport::Transport};

impl<T: Transport> Session<T> {
    /// The room wants it checked at `at_ms`: then, or when the answer is there that is under way.
    pub(super) fn on_check_demanded(&mut self, at_ms: u64, ctx: &mut Context<Self>) {
        if self.core.on_check_demanded(at_ms, self.node.uptime_ms()) {
            self.check(Freshness::Fresh, ctx);
        } else {
            self.arm(ctx);
        }
    }

    /// Asks; the core knows of it.
    pub(super) fn check(&mut self, freshness: Freshness, ctx: &mut Context<Self>) {
        let answer = self.params.pass.clone().check(freshness);
        self.ask(answer, false, ctx);
    }

    /// The client shows another token. Of several that come while somebody is being asked the last counts.
    pub(super) fn on_token(&mut self, token: String, ctx: &mut Context<Self>) {
        self.token = Some(token);
        self.show_token(ctx);
    }

    fn show_token(&mut self, ctx: &mut Context<Self>) {
        if self.core.is_asking() {
            return;
        }
        if let Some(token) = self.token.take() {
            self.core.on_asking();
            let answer = self.params.pass.clone().renew(token);
            self.ask(answer, true, ctx);
        }
    }

    fn ask(&self, answer: BoxFuture<'static, Checked>, of_token: bool, ctx: &mut Context<Self>) {
        let answer = async move { tokio::time::timeout(CHECK_WITHIN, answer).await.unwrap_or(Checked::Unavailable) };
        ctx.spawn(answer.into_actor(self).map(move |checked, session, ctx| session.on_checked(checked, of_token, ctx)));
    }

    fn on_checked(&mut self, checked: Checked, of_token: bool, ctx: &mut Context<Self>) {
        let Stage::Open = self.stage else { return };
        let checked = match checked {
            Checked::May { level, expires_ms } => {
                Checked::May { level, expires_ms: expires_ms.map(|at_ms| self.node.uptime_at_ms(at_ms)) }
            }
            other => other,
        };
        let change = self.core.on_checked(checked, self.node.uptime_ms());
        if of_token && !matches!(change, Change::Close(_)) {
            let reply = match checked {
                Checked::Unavailable => Frames::token_unchecked(),
                _ => Frames::token_taken(self.core.may_write()),
            };
            // Who takes nothing is closed for that when time comes.
            let _ = self.outbox.push(&reply);
        }
        if let Some(who) = self.params.pass.who()
            && who != self.who
        {
            // What the room knows them by: checks that are demanded of these claims concern them from now on.
            self.who = who.clone();
            self.acts.push(Act::Identified(who));
        }
        match change {
            Change::Nothing => {}
            Change::Raised => self.acts.push(Act::Raised),
            Change::Close(close) => self.outbox.close(close),
        }
        self.show_token(ctx);
        self.hand_over();
        self.arm(ctx);
        self.outbox.wake();
    }
}
