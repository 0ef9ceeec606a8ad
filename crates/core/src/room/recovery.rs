//! What a room does when its log may have lost something.
//!
//! First it looks: are the changes it has heard of still there? All of them, not the last alone, because what was appended
//! after a loss and before the suspicion is there, and what was lost stands before it. If they are, the stream is followed
//! anew from where it is as the room knows it. If not, the room loads what the stores hold now, appends again what it holds
//! beyond that, and asks every client for what only clients hold.
//!
//! Until the room knows what the log holds it does not listen to the tail: lines may stand below its position, or be gone.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use yhub_content::{ContentIds, StateVector};

use super::{
    Effect, Kind, Loaded, Recipients, RoomCore, SalvageJob, Salvaged, ServerMessage, SessionId, Submission, Variant, Verdict,
    first_to_look_at, snapshot::SetAside,
};
use crate::{Close, StreamClock, StreamMessage};

/// So often is each step tried: that is about 50 s. A log that cannot be looked at by then is taken for one that has lost
/// everything; a room that cannot be loaded by then gives up.
pub const MAX_RECOVERY_ATTEMPTS: u32 = 14;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is suspected.
    #[default]
    Calm,
    /// The log is being compared with what the room has heard of.
    Verifying { attempts: u32 },
    /// Something is lost. No load or fold is begun until those under way have ended.
    Settling,
    /// What the stores hold now is being loaded.
    Loading { variant: Variant, attempts: u32 },
    /// What is lost is being looked for among what the room holds.
    Salvaging { attempts: u32 },
}

#[derive(Default)]
pub(super) struct Recovery {
    phase: Phase,
    /// Something was heard of that may be older than the suspicion, or there is another one.
    again: bool,
    /// Was the append under way begun before the suspicion?
    old_append: bool,
    /// The same of loads.
    old_loads: [bool; 2],
    /// What the room held of the document, until it is salvaged.
    parts: Vec<Bytes>,
    /// Up to here the tail has brought what the log holds.
    resume: StreamClock,
    /// The first change that was appended before anything was followed. A load that read a log which lost its end since then
    /// may reach beyond it, and not hold it.
    acked_first: Option<StreamClock>,
    /// What the stores held when they were loaded anew.
    stored: Option<ContentIds>,
    /// What may be appended again. A submission that holds some of it, or of what is taken for stored, waits until that is
    /// there, so that the author stays who he was.
    held: ContentIds,
    /// Those submissions, in order, and what their sessions submitted since.
    waiting: Vec<(SessionId, Submission)>,
    waiters: HashSet<SessionId>,
    /// Is the next attempt of the step waited for? A timer may be of an earlier step.
    retrying: bool,
    /// What is taken for stored may not be, whatever the log still holds.
    distrust: bool,
}

impl Recovery {
    pub(super) fn is_calm(&self) -> bool {
        self.phase == Phase::Calm
    }

    /// Is what the tail brings not to be listened to?
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self.phase, Phase::Verifying { .. } | Phase::Settling | Phase::Loading { .. })
    }

    pub(super) fn is_settling(&self) -> bool {
        self.phase == Phase::Settling
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.phase, Phase::Loading { .. })
    }

    /// A change was appended, while the stream was followed up to `position`.
    pub(super) fn on_acked(&mut self, clock: StreamClock, position: Option<StreamClock>) {
        if position.is_none() {
            self.acked_first = Some(self.acked_first.map_or(clock, |first| first.min(clock)));
        }
    }

    pub(super) fn on_first_load(&mut self, loaded: &Loaded) {
        let holds = |first: &StreamClock| loaded.recent.iter().any(|(clock, _)| clock == first);
        // What lies beyond it is brought by the tail.
        self.acked_first = self.acked_first.filter(|first| *first <= loaded.clock && !holds(first));
    }

    pub(super) fn take_old_append(&mut self) -> bool {
        std::mem::take(&mut self.old_append)
    }

    pub(super) fn take_old_load(&mut self, variant: Variant) -> bool {
        std::mem::take(&mut self.old_loads[variant as usize])
    }

    /// Gives the submission back unless it has to wait. `known` is what the room takes for stored.
    pub(super) fn pass(&mut self, session: SessionId, submission: Submission, known: Option<&ContentIds>) -> Option<Submission> {
        let touches = |known: &ContentIds| !submission.ids.intersection(known).is_empty();
        let waits = !self.is_calm() && (self.waiters.contains(&session) || touches(&self.held) || known.is_some_and(touches));
        if !waits {
            return Some(submission);
        }
        // Bounded: it counts against its session's budget.
        self.waiters.insert(session);
        self.waiting.push((session, submission));
        None
    }

    /// Forgets all but what was heard of meanwhile. Returns the submissions that waited.
    fn end(&mut self) -> Vec<(SessionId, Submission)> {
        self.phase = Phase::Calm;
        self.retrying = false;
        self.parts = Vec::new();
        self.stored = None;
        self.held = ContentIds::new();
        self.waiters = HashSet::new();
        std::mem::take(&mut self.waiting)
    }
}

impl RoomCore {
    /// The log may have lost what this room has heard of, or the tail may have missed that it was restarted.
    pub fn on_suspect(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.recovery.old_append = self.outgoing.is_appending();
        self.recovery.old_loads = Variant::ALL.map(|variant| self.snapshots.is_loading(variant));
        self.suspect(&mut effects);
        effects
    }

    pub(super) fn suspect(&mut self, effects: &mut Vec<Effect>) {
        if self.recovery.is_calm() {
            self.verify(0, effects);
        } else {
            self.recovery.again = true;
        }
    }

    fn verify(&mut self, attempts: u32, effects: &mut Vec<Effect>) {
        // Before the first load nothing was heard of.
        let Some(upto) = self.position else { return };
        self.recovery.phase = Phase::Verifying { attempts };
        self.recovery.again = false;
        effects.push(Effect::Verify { changes: self.recent.clocks(), upto });
    }

    /// The log was compared with what this room has heard of.
    pub fn on_verified(&mut self, Verdict { held, resume }: Verdict, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !matches!(self.recovery.phase, Phase::Verifying { .. }) {
            return effects;
        }
        let resume = match self.recovery.acked_first.take() {
            Some(first) => resume.min(first_to_look_at(&[first])),
            None => resume,
        };
        if held && !self.recovery.distrust {
            let waiting = self.recovery.end();
            self.snapshots.rewind(resume);
            self.follow_from(resume, &mut effects);
            for (session, submission) in waiting {
                effects.extend(self.on_submit(session, vec![submission]));
            }
            // Presence is not looked for; it may be gone with the lines behind the last change.
            self.awareness.announce_again();
            self.flush_awareness(now_ms, &mut effects);
            self.look_again(&mut effects);
        } else {
            self.recovery.phase = Phase::Settling;
            self.recovery.resume = resume;
            self.settle(&mut effects);
        }
        effects
    }

    /// The log could not be looked at. That is never taken for "nothing is lost".
    pub fn on_verify_failed(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Phase::Verifying { attempts } = &mut self.recovery.phase else { return effects };
        *attempts += 1;
        if *attempts < MAX_RECOVERY_ATTEMPTS {
            effects.push(retry(*attempts));
            self.recovery.retrying = true;
        } else {
            self.recovery.phase = Phase::Settling;
            self.recovery.resume = StreamClock::ZERO;
            self.settle(&mut effects);
        }
        effects
    }

    /// The time asked for by [`Effect::RetryRecovery`] has passed.
    pub fn on_retry_recovery(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !std::mem::take(&mut self.recovery.retrying) {
            return effects;
        }
        match self.recovery.phase {
            Phase::Verifying { attempts } => self.verify(attempts, &mut effects),
            // A join may have begun it meanwhile.
            Phase::Loading { variant, .. } => self.load(variant, &mut effects),
            Phase::Salvaging { .. } => self.salvage(now_ms, &mut effects),
            Phase::Calm | Phase::Settling => {}
        }
        effects
    }

    /// Sets aside what is here, once no load or fold is under way, and has the stores loaded anew.
    pub(super) fn settle(&mut self, effects: &mut Vec<Effect>) {
        if !self.recovery.is_settling() || self.snapshots.is_busy() {
            return;
        }
        self.recovery.distrust = false;
        let SetAside { parts, has_nongc, known } = self.snapshots.set_aside();
        self.recovery.parts.extend(parts);
        if let Some(known) = known {
            self.recovery.held.insert_all(&known);
        }
        for message in self.recent.messages() {
            if let Ok(StreamMessage::Update { update, .. }) = StreamMessage::decode(message)
                && let Ok(ids) = yhub_content::content_ids(&update)
            {
                self.recovery.held.insert_all(&ids);
            }
        }
        // Either says which ids are stored. The one with deleted content is loaded where it is in use anyway.
        let has_nongc = has_nongc || self.members.values().any(|member| member.variant == Variant::Nongc);
        let variant = if has_nongc { Variant::Nongc } else { Variant::Gc };
        self.recovery.phase = Phase::Loading { variant, attempts: 0 };
        self.load(variant, effects);
    }

    /// Takes what the stores hold now. From here on the room lives by that alone; what it held comes back by the stream.
    pub(super) fn recover(&mut self, variant: Variant, loaded: Loaded, now_ms: u64, effects: &mut Vec<Effect>) {
        self.hear(&loaded.awareness, now_ms);
        self.recent.forget_clocks();
        self.recent.load(&loaded);
        self.recovery.stored = Some(loaded.ids.clone());
        // Below what was loaded: who was answered before is still to be brought what lies between.
        let position = self.recovery.resume;
        self.snapshots.on_loaded(variant, loaded, StreamClock::ZERO);
        self.recovery.phase = Phase::Salvaging { attempts: 0 };
        self.recovery.retrying = false;
        self.follow_from(position, effects);
        self.salvage(now_ms, effects);
        for variant in Variant::ALL {
            if self.snapshots.is_waiting(variant) {
                self.load(variant, effects);
                self.answer(variant, effects);
            }
        }
        effects.push(self.size());
    }

    /// Follows the stream anew: everything after `position` is still to come, also where it came before.
    fn follow_from(&mut self, position: StreamClock, effects: &mut Vec<Effect>) {
        self.position = Some(position);
        self.followed_from = self.followed_from.min(position);
        for member in self.members.values_mut() {
            member.since = member.since.map(|since| since.min(position));
        }
        self.partial = self.members.values().filter(|member| self.is_partial(member)).count();
        effects.push(Effect::Follow(position));
    }

    fn salvage(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let stored = self.recovery.stored.clone().unwrap_or_default();
        let recent = self.recent.messages().cloned().collect();
        effects.push(Effect::Salvage(SalvageJob { stored, recent, parts: self.recovery.parts.clone(), now_ms }));
    }

    /// What is lost has been found: it is appended again, and then everybody is asked for what we lack.
    pub fn on_salvaged(&mut self, salvaged: Salvaged, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !matches!(self.recovery.phase, Phase::Salvaging { .. }) {
            return effects;
        }
        let waiting = self.recovery.end();
        self.recent.forget(&salvaged.messages);
        for message in &salvaged.messages {
            self.outgoing.push(None, message.clone(), message.len(), Kind::Salvaged);
        }
        // In front of everything that clients send from now on, so that no answer of theirs takes an author's place.
        self.append(&mut effects);
        self.snapshots.add_known(&salvaged.holds);
        self.unasked.clear();
        let mut everyone: Vec<_> = self.members.keys().copied().collect();
        everyone.sort_unstable();
        let (remembered, cut_ids, asked) = (salvaged.remembered, salvaged.cut_ids, everyone.len());
        if asked > 0 {
            let state_vector = Bytes::from(StateVector::from_inserts(&salvaged.holds.inserts).to_bytes());
            let messages = vec![ServerMessage::Step1(state_vector)];
            effects.push(Effect::Broadcast { messages, to: Recipients::These(everyone) });
        }
        effects.push(Effect::Recovered { remembered, cut_ids, asked });
        for (session, submission) in waiting {
            effects.extend(self.on_submit(session, vec![submission]));
        }
        self.awareness.announce_again();
        self.flush_awareness(now_ms, &mut effects);
        self.look_again(&mut effects);
        effects
    }

    /// The computation failed.
    pub fn on_salvage_failed(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Phase::Salvaging { attempts } = &mut self.recovery.phase else { return effects };
        *attempts += 1;
        if *attempts < MAX_RECOVERY_ATTEMPTS {
            effects.push(retry(*attempts));
            self.recovery.retrying = true;
        } else {
            self.recovery.end();
            effects.push(Effect::NotRecovered);
            self.close_everyone(&Close::TRY_AGAIN, &mut effects);
            self.look_again(&mut effects);
        }
        effects
    }

    /// The load failed that is to show what is left. `close` is what those are told who waited for it.
    pub(super) fn recovery_load_failed(&mut self, failed: Variant, close: Close, effects: &mut Vec<Effect>) {
        let Phase::Loading { variant, attempts } = &mut self.recovery.phase else { return };
        if *variant != failed {
            return;
        }
        *attempts += 1;
        if *attempts < MAX_RECOVERY_ATTEMPTS {
            effects.push(retry(*attempts));
            self.recovery.retrying = true;
        } else {
            effects.push(Effect::NotRecovered);
            self.end_recovery(close, effects);
        }
    }

    /// What was found lost could not be appended, and is dropped.
    pub(super) fn on_salvage_dropped(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::NotRecovered);
        self.close_everyone(&Close::TRY_AGAIN, effects);
        // It was taken for stored since it began to wait.
        self.recovery.distrust = true;
        self.suspect(effects);
    }

    fn close_everyone(&self, close: &Close, effects: &mut Vec<Effect>) {
        let mut everyone: Vec<_> = self.members.keys().copied().collect();
        everyone.sort_unstable();
        effects.extend(everyone.into_iter().map(|session| Effect::Close { session, close: close.clone() }));
    }

    /// Sends everybody away and begins as an empty room: who joins next loads. Nothing is loaded.
    fn end_recovery(&mut self, close: Close, effects: &mut Vec<Effect>) {
        self.recovery.end();
        self.recovery.again = false;
        self.recent.forget_clocks();
        self.recent.let_go();
        self.position = None;
        self.partial = self.members.values().filter(|member| self.is_partial(member)).count();
        self.close_everyone(&close, effects);
    }

    /// Compares once more if what was heard of meanwhile may be gone too.
    fn look_again(&mut self, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.recovery.again) {
            self.verify(0, effects);
        }
    }
}

/// `attempts` have failed.
fn retry(attempts: u32) -> Effect {
    Effect::RetryRecovery { after: LAST_RETRY.min(FIRST_RETRY * 2u32.pow(attempts.saturating_sub(1).min(10))) }
}
