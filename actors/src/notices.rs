//! Brings what changes access in many rooms from the document store to the rooms of this node, within a second.
//!
//! Not through the log: a node that hears nothing of that hears of revoked access all the same. Which notices are new is decided
//! in `yhub_core::Lookback`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::prelude::*;
use yhub_core::{AuthCheck, CHECKS_REMEMBERED, Lookback, News, RoomId, chain};
use yhub_store::{DocStoreError, MAX_NOTICES, MAX_NOTICES_BYTES, Notice, NoticeId, NoticeList, NoticeStore};

use crate::{node::Node, registry::Registry};

/// A read that is not answered within so long is not answered.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// The longest pause after a read that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Checks of more users in one read become one of everybody: rooms would take long to look through them.
const MAX_USERS_A_READ: usize = 10_000;
/// The same of those that are remembered for rooms that start.
const MAX_USERS_REMEMBERED: usize = 20_000;

/// Who is told of notices besides the rooms.
pub type Told = Arc<dyn Fn(&[Notice]) + Send + Sync>;

/// Where notices are, and how often a node that serves clients reads them.
#[derive(Clone)]
pub struct NoticeSettings {
    /// Where they are.
    pub store: Arc<dyn NoticeStore>,
    /// How often they are read, about.
    pub every: Duration,
    /// Told of what is new, before the rooms are: so that whoever is asked by them has forgotten what was so before.
    pub told: Told,
}

/// These have come. From the notice reader.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Noticed(pub(crate) Vec<Notice>);

/// What is demanded of rooms.
#[derive(Clone)]
pub(crate) struct Demand {
    org: Option<String>,
    pub(crate) check: AuthCheck,
    pub(crate) cut: bool,
}

impl Demand {
    /// What a notice demands that was read at `now_ms`: who was let in before that may join for a while after, whatever the clock
    /// said where the notice was written.
    pub(crate) fn new(notice: Notice, now_ms: u64) -> Self {
        let check = AuthCheck { at_ms: now_ms, users: notice.users.map(Into::into) };
        Self { org: notice.org, check, cut: notice.cut }
    }

    /// Does it concern this room?
    pub(crate) fn concerns(&self, room: &RoomId) -> bool {
        self.org.as_ref().is_none_or(|org| org == room.org())
    }

    fn users(&self) -> usize {
        self.check.users.as_ref().map_or(1, |users| users.len().max(1))
    }
}

/// What was demanded in the last [`CHECKS_REMEMBERED`], for rooms that start: who joins there may have been let in before it.
#[derive(Default)]
pub(crate) struct RecentDemands {
    demands: VecDeque<(u64, Demand)>,
    users: usize,
}

impl RecentDemands {
    /// These came when the node was up for `uptime_ms`.
    pub(crate) fn remember(&mut self, demands: &[Demand], uptime_ms: u64) {
        self.forget_old(uptime_ms);
        for demand in demands {
            // Nobody is there yet who could be cut.
            let mut demand = Demand { cut: false, ..demand.clone() };
            if self.users + demand.users() > MAX_USERS_REMEMBERED {
                self.demands.clear();
                self.users = 0;
                demand = Demand::new(Notice::check_everybody(0), demand.check.at_ms);
            }
            self.users += demand.users();
            self.demands.push_back((uptime_ms, demand));
        }
    }

    /// Those that concern a room that starts.
    pub(crate) fn of(&mut self, room: &RoomId, uptime_ms: u64) -> Arc<[Demand]> {
        self.forget_old(uptime_ms);
        self.demands.iter().filter(|(_, demand)| demand.concerns(room)).map(|(_, demand)| demand.clone()).collect()
    }

    fn forget_old(&mut self, uptime_ms: u64) {
        let is_old = |came_ms: u64| u128::from(uptime_ms.saturating_sub(came_ms)) > CHECKS_REMEMBERED.as_millis();
        while let Some((_, demand)) = self.demands.pop_front_if(|(came_ms, _)| is_old(*came_ms)) {
            self.users -= demand.users();
        }
    }
}

/// What a node has read; outlives the actor that reads, so that the next one goes on there.
pub(crate) type SharedLookback = Arc<Mutex<Lookback<NoticeId>>>;

/// The actor.
pub struct NoticeReader {
    node: Arc<Node>,
    settings: NoticeSettings,
    registry: Addr<Registry>,
    lookback: SharedLookback,
    random: fastrand::Rng,
    failed_in_a_row: u32,
}

impl NoticeReader {
    /// A reader that reads at once.
    pub(crate) fn new(node: Arc<Node>, settings: NoticeSettings, registry: Addr<Registry>, lookback: SharedLookback) -> Self {
        let random = fastrand::Rng::with_seed(uuid::Uuid::new_v4().as_u64_pair().0);
        Self { node, settings, registry, lookback, random, failed_in_a_row: 0 }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let begun_ms = self.node.time.now_ms();
        let (store, lookback) = (self.settings.store.clone(), self.lookback.clone());
        let read = async move { tokio::time::timeout(READ_WITHIN, read(&*store, &lookback, begun_ms)).await };
        ctx.spawn(read.into_actor(self).map(move |read, reader, ctx| {
            match read {
                Ok(Ok((news, notices))) => reader.on_read(begun_ms, &news, notices),
                Ok(Err(error)) => reader.on_failed(&chain(&error)),
                Err(_) => reader.on_failed(&format!("no answer within {READ_WITHIN:?}")),
            }
            let pause = reader.pause();
            ctx.run_later(pause, Self::read);
        }));
    }

    fn on_read(&mut self, begun_ms: u64, news: &News, mut notices: Vec<Notice>) {
        if self.failed_in_a_row > 0 {
            log::info!("notices of changed access are read again, also those of meanwhile");
            self.failed_in_a_row = 0;
        }
        if news.anybody {
            log::warn!("there are more notices of changed access than can be read at once; all sessions are checked");
        }
        // Whoever is here came in after it.
        notices.iter_mut().filter(|notice| notice.at_ms < news.began_ms).for_each(|notice| notice.cut = false);
        if news.anybody {
            notices.retain(|notice| notice.cut);
            notices.push(Notice::check_everybody(begun_ms));
        }
        gather_many(&mut notices, begun_ms);
        if !notices.is_empty() {
            (self.settings.told)(&notices);
            self.registry.do_send(Noticed(notices));
        }
    }

    fn on_failed(&mut self, why: &str) {
        if self.failed_in_a_row == 0 {
            log::warn!("notices of changed access cannot be read; it is tried again until they can: {why}");
        }
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
    }

    /// Nodes do not all read at the same time for long.
    fn pause(&mut self) -> Duration {
        let whole = self.settings.every;
        let backoff = whole.saturating_mul(1 << self.failed_in_a_row.min(10)).min(LONGEST_PAUSE.max(whole));
        backoff.mul_f64(0.75 + self.random.f64() / 4.0)
    }
}

/// What is new, and the notices themselves. What was brought is known from here on: it is given away by whoever awaits this.
async fn read(
    store: &dyn NoticeStore,
    lookback: &Mutex<Lookback<NoticeId>>,
    begun_ms: u64,
) -> Result<(News, Vec<Notice>), DocStoreError> {
    let from_ms = lock(lookback).from_ms(begun_ms);
    let NoticeList { heads, more } = store.list(from_ms, MAX_NOTICES).await?;
    let listed: Vec<_> = heads.iter().map(|head| head.id.clone()).collect();
    let chosen = lock(lookback).choose(heads, MAX_NOTICES_BYTES);
    let brought = if chosen.is_empty() { Vec::new() } else { store.bring(&chosen).await? };
    let news = lock(lookback).on_read(begun_ms, &listed, chosen.into_iter().map(|head| head.id), more);
    Ok((news, brought.into_iter().map(|(_, notice)| notice).collect()))
}

/// Where checks name too many users, they become one of everybody: in the org that names most, and in the next, until they are few enough.
fn gather_many(notices: &mut Vec<Notice>, begun_ms: u64) {
    let users_of = |notice: &Notice| notice.users.as_ref().map_or(1, |users| users.len().max(1));
    let mut users = HashMap::<Option<String>, usize>::new();
    for notice in notices.iter().filter(|notice| !notice.cut) {
        *users.entry(notice.org.clone()).or_default() += users_of(notice);
    }
    let mut all: usize = users.values().sum();
    while all > MAX_USERS_A_READ
        && let Some(most) = users.iter().max_by_key(|(_, users)| **users).map(|(org, _)| org.clone())
    {
        all -= users.remove(&most).unwrap_or(0);
        notices.retain(|notice| notice.cut || notice.org != most);
        notices.push(Notice { org: most, ..Notice::check_everybody(begun_ms) });
    }
}

fn lock(lookback: &Mutex<Lookback<NoticeId>>) -> MutexGuard<'_, Lookback<NoticeId>> {
    lookback.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor for NoticeReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.read(ctx);
    }
}

#[cfg(test)]
mod tests {
    use yhub_core::UserMatcher;

    use super::*;

    fn demand(org: Option<&str>, users: usize) -> Demand {
        let users = Some(vec![UserMatcher::User("ann".to_owned()); users]);
        Demand::new(Notice { at_ms: 1, org: org.map(str::to_owned), users, cut: true }, 1_000)
    }

    fn of(recent: &mut RecentDemands, org: &str, uptime_ms: u64) -> usize {
        recent.of(&RoomId::new(org, "doc", RoomId::MAIN), uptime_ms).len()
    }

    #[test]
    fn demands_are_remembered_for_a_while_and_for_their_org() {
        let mut recent = RecentDemands::default();
        recent.remember(&[demand(Some("a"), 1), demand(None, 0)], 5_000);
        recent.remember(&[demand(Some("a"), 1)], 6_000);
        assert_eq!((of(&mut recent, "a", 6_000), of(&mut recent, "b", 6_000)), (3, 1));
        assert!(recent.of(&RoomId::new("a", "doc", RoomId::MAIN), 6_000).iter().all(|demand| !demand.cut));
        assert_eq!((of(&mut recent, "a", 125_000), of(&mut recent, "a", 125_001), of(&mut recent, "a", 126_001)), (3, 1, 0));
        assert_eq!(recent.users, 0);
    }

    #[test]
    fn too_many_to_remember_concern_everybody() {
        let mut recent = RecentDemands::default();
        for _ in 0..20 {
            recent.remember(&[demand(Some("a"), 1_000)], 5_000);
        }
        assert_eq!((of(&mut recent, "a", 5_000), of(&mut recent, "b", 5_000)), (20, 0));
        recent.remember(&[demand(Some("a"), 1)], 5_000);
        assert_eq!((of(&mut recent, "a", 5_000), of(&mut recent, "b", 5_000)), (1, 1));
    }
}
