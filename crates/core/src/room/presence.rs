//! Who is there: what sessions say of themselves goes to the stream, and what the stream says of others to them.
//!
//! Which entry of a client counts, and who may speak for it, is decided in [`AwarenessBoard`](super::AwarenessBoard).

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    Effect, Heard, Kind, Presence, Recipients, RoomCore, ServerMessage, SessionId, WORK_OF_AN_ANSWER,
    awareness_update::{encode_presence, heard_presence, speakers},
};
use crate::StreamMessage;

impl RoomCore {
    /// A session says who is there. The entries have passed the guard.
    pub fn on_awareness(&mut self, session: SessionId, entries: Vec<(u64, Presence)>, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.members.contains_key(&session) {
            return effects;
        }
        let user = self.members.get(&session).and_then(|member| member.user());
        let corrections = self.awareness.on_session(session, user.as_ref(), entries);
        effects.extend(self.awareness.take_ignored().map(Effect::Limited));
        if !corrections.is_empty() {
            let message = ServerMessage::Awareness(encode_presence(&corrections));
            effects.push(Effect::Broadcast { messages: vec![message], to: Recipients::These(vec![session]) });
        }
        self.flush_awareness(now_ms, &mut effects);
        effects
    }

    /// A session wants to know who is there.
    pub fn on_query_awareness(&mut self, session: SessionId) -> Vec<Effect> {
        if !self.members.contains_key(&session) {
            return Vec::new();
        }
        let presence = self.presence();
        let work_bytes = presence.len() / WORK_OF_AN_ANSWER;
        let messages = vec![ServerMessage::Awareness(presence)];
        vec![Effect::Broadcast { messages, to: Recipients::These(vec![session]) }, Effect::Charge { session, work_bytes }]
    }

    /// The time asked for by [`Effect::FlushAwareness`] has passed.
    pub fn on_flush_awareness(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.awareness_armed = false;
        // Also where the clock was set back meanwhile: it would be waited for until it is as late again.
        self.awareness_flushed_ms = 0;
        self.flush_awareness(now_ms, &mut effects);
        effects
    }

    /// Time passes: presence that nobody renews dies, and who is here is told. To be called now and then while
    /// [`Self::has_presence`].
    pub fn on_tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.presence = None;
        let dropped = self.awareness.expire(now_ms);
        let mut effects: Vec<_> = self.awareness.take_ignored().map(Effect::Limited).into_iter().collect();
        if dropped.is_empty() {
            return effects;
        }
        let to = if self.partial == 0 {
            Recipients::Everyone
        } else {
            Recipients::These(self.members.iter().filter(|(_, m)| m.since.is_some()).map(|(session, _)| *session).collect())
        };
        effects.push(Effect::Broadcast { messages: vec![ServerMessage::Awareness(encode_presence(&dropped))], to });
        effects
    }

    /// Is presence known that may die with time?
    pub fn has_presence(&self) -> bool {
        self.awareness.knows_anybody()
    }

    /// Takes one line of presence; `new` gets what is to be said of it. `Err` says what is wrong with it.
    pub(super) fn learn_presence(
        &mut self,
        update: &[u8],
        users: &[(u64, Arc<str>)],
        now_ms: u64,
        new: &mut HashMap<u64, Presence>,
    ) -> Result<(), String> {
        for (client, entry) in self.awareness.on_stream(heard_presence(update, users)?, now_ms) {
            let said = new.get(&client);
            // The newest of a batch, which need not be the last: two nodes may speak for one client.
            if said.is_none() || Presence::yields_to(said, &entry) {
                new.insert(client, entry);
            }
        }
        self.presence = None;
        Ok(())
    }

    /// Takes the presence that the stream has told of, as far as it is not over at `now_ms`.
    pub(super) fn hear(&mut self, heard: &[Heard], now_ms: u64) {
        for Heard { at_ms, update, users } in heard {
            if let Ok(entries) = heard_presence(update, users) {
                self.awareness.on_stream(entries, *at_ms);
            }
        }
        self.awareness.expire(now_ms);
        self.presence = None;
    }

    /// Everyone who is there, encoded once for all who ask until that changes.
    pub(super) fn presence(&mut self) -> Bytes {
        let (awareness, memory) = (&self.awareness, &self.memory);
        self.presence.get_or_insert_with(|| memory.count(encode_presence(&awareness.snapshot()))).clone()
    }

    /// Appends the presence that waits, at most once in the coalescing time.
    pub(super) fn flush_awareness(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.awareness.has_pending() || self.awareness_armed {
            return;
        }
        let window_ms = self.limits.awareness_coalesce.as_millis() as u64;
        let wait_ms = window_ms.saturating_sub(now_ms.saturating_sub(self.awareness_flushed_ms));
        if wait_ms > 0 && self.awareness_flushed_ms > 0 {
            self.awareness_armed = true;
            effects.push(Effect::FlushAwareness { after: std::time::Duration::from_millis(wait_ms) });
            return;
        }
        self.awareness_flushed_ms = now_ms;
        let pending = self.awareness.take_pending();
        let update = encode_presence(&pending);
        let message = StreamMessage::encode_awareness_of(&update, &speakers(&pending));
        self.outgoing.push(None, message, update.len(), Kind::Presence);
        self.append(effects);
    }
}
