//! Assets that are to be deleted, but not yet: somebody may have read their row just before it went.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use log::warn;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use yhub_core::AssetId;

use crate::{AssetStore, asset_plugins::named};

/// At this bound who discards waits.
const MOST_WAITING: usize = 16_384;

/// So many are deleted at once.
const DELETE_AT_ONCE: usize = 16;

/// An asset that cannot be deleted is tried so often, with a pause that doubles.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The assets that wait, and the task that deletes them.
pub(crate) struct Discards {
    shared: Arc<Shared>,
    delay: Duration,
}

struct Shared {
    plugins: Arc<[Arc<dyn AssetStore>]>,
    state: Mutex<State>,
    /// One went.
    went: Notify,
}

#[derive(Default)]
struct State {
    /// Those that are due first stand first: all wait equally long.
    waiting: VecDeque<Discarded>,
    /// Ends when nothing waits, or with the runtime that it was started on; then the next who discards starts another.
    task: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Discarded {
    due: Instant,
    id: AssetId,
    plugin: String,
}

impl Discards {
    pub(crate) fn new(plugins: Arc<[Arc<dyn AssetStore>]>, delay: Duration) -> Self {
        Self { shared: Arc::new(Shared { plugins, state: Mutex::default(), went: Notify::new() }), delay }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    pub(crate) async fn add(&self, assets: Vec<(AssetId, String)>) {
        let mut assets = assets.into_iter().peekable();
        while assets.peek().is_some() {
            let went = self.shared.went.notified();
            if self.add_some(&mut assets) {
                went.await;
            }
        }
    }

    /// Adds as many as may wait. True if there are more.
    fn add_some(&self, assets: &mut std::iter::Peekable<impl Iterator<Item = (AssetId, String)>>) -> bool {
        let mut state = self.shared.lock();
        let due = Instant::now() + self.delay;
        while state.waiting.len() < MOST_WAITING {
            let Some((id, plugin)) = assets.next() else { break };
            state.waiting.push_back(Discarded { due, id, plugin });
        }
        if state.task.as_ref().is_none_or(JoinHandle::is_finished) {
            state.task = Some(tokio::spawn(self.shared.clone().delete_all()));
        }
        assets.peek().is_some()
    }
}

impl Drop for Discards {
    fn drop(&mut self) {
        if let Some(task) = self.shared.lock().task.take() {
            task.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn delete_all(self: Arc<Self>) {
        while let Some(due) = self.next_due() {
            sleep_until(due).await;
            let batch: Vec<Discarded> = {
                let (state, now) = (self.lock(), Instant::now());
                state.waiting.iter().take_while(|next| next.due <= now).take(DELETE_AT_ONCE).cloned().collect()
            };
            join_all(batch.iter().map(|next| self.delete(next))).await;
            // Only now: whatever ends this task before has the next one try again.
            self.lock().waiting.drain(..batch.len());
            self.went.notify_waiters();
        }
    }

    /// When the first of those that wait is due. `None` ends the task, which is said under the lock, so that who adds one
    /// afterwards starts another.
    fn next_due(&self) -> Option<Instant> {
        let mut state = self.lock();
        let due = state.waiting.front().map(|next| next.due);
        if due.is_none() {
            state.task = None;
        }
        due
    }

    async fn delete(&self, Discarded { id, plugin, .. }: &Discarded) {
        let Some(store) = named(&self.plugins, plugin) else {
            warn!(room:% = id.room; "asset {id} stays behind at {plugin:?}, of which the configuration says nothing");
            return;
        };
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let Err(error) = store.delete(id).await else { return };
            if attempt == ATTEMPTS || !error.is_transient() {
                warn!(room:% = id.room; "asset {id} stays behind at {plugin}, where it cannot be deleted: {error}");
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }
}
