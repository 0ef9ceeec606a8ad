//! Which rooms of one shard are followed, for the connection that pushes come on.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use yhub_core::RoomId;

struct Want {
    room: RoomId,
    /// The key of its stream.
    stream: Arc<str>,
    tails: usize,
}

#[derive(Default)]
struct State {
    by_channel: HashMap<String, Want>,
    /// Channels whose wanting has changed since somebody looked.
    changed: Vec<String>,
}

/// What is to be subscribed to. Bounded by the rooms of the node.
#[derive(Default)]
pub(crate) struct Wanted {
    state: Mutex<State>,
    pub(crate) changed: Notify,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One tail more follows `room`.
    pub(crate) fn add(&self, channel: String, room: &RoomId, stream: impl FnOnce() -> String) {
        let mut state = self.lock();
        match state.by_channel.entry(channel) {
            Entry::Occupied(mut want) => want.get_mut().tails += 1,
            Entry::Vacant(place) => {
                let channel = place.key().clone();
                place.insert(Want { room: room.clone(), stream: stream().into(), tails: 1 });
                state.changed.push(channel);
                self.changed.notify_one();
            }
        }
    }

    /// One tail less.
    pub(crate) fn remove(&self, channel: String) {
        let mut state = self.lock();
        let Entry::Occupied(mut want) = state.by_channel.entry(channel) else { return };
        want.get_mut().tails -= 1;
        if want.get().tails == 0 {
            let (channel, _) = want.remove_entry();
            state.changed.push(channel);
            self.changed.notify_one();
        }
    }

    /// The room whose entries come on `channel`, if it is followed.
    pub(crate) fn room(&self, channel: &str) -> Option<RoomId> {
        self.lock().by_channel.get(channel).map(|want| want.room.clone())
    }

    /// Every room that is followed, and at the same place the key of its stream.
    pub(crate) fn rooms(&self) -> (Vec<RoomId>, Vec<Arc<str>>) {
        self.lock().by_channel.values().map(|want| (want.room.clone(), want.stream.clone())).unzip()
    }

    /// Every channel that is wanted; what has changed before counts as looked at.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut state = self.lock();
        state.changed.clear();
        state.by_channel.keys().cloned().collect()
    }

    /// The channels that have changed, and whether they are wanted now.
    pub(crate) fn take_changed(&self) -> Vec<(String, bool)> {
        let mut state = self.lock();
        let mut changed = std::mem::take(&mut state.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
            .into_iter()
            .map(|channel| (state.by_channel.contains_key(&channel), channel))
            .map(|(is, channel)| (channel, is))
            .collect()
    }
}
