//! What a room does at its bounds, and when time goes back.

use super::*;

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);

/// A room with `base` loaded and the sessions `1..=count` in it.
fn room(limits: RoomLimits, base: &'static [u8], count: u64) -> RoomCore {
    let mut room = RoomCore::new(limits);
    for session in 1..=count {
        room.on_join(SessionId(session), Variant::Gc, ann(), 0);
    }
    let ids = yhub_content::content_ids(base).unwrap();
    let loaded = Loaded {
        base: Bytes::from_static(base),
        ids,
        clock: StreamClock::new(1, 0),
        changed: StreamClock::new(1, 0),
        recent: Vec::new(),
        awareness: Vec::new(),
        checks: Vec::new(),
    };
    room.on_loaded(Variant::Gc, loaded, 0);
    room
}

fn ann() -> Arc<Identity> {
    Arc::new(Identity::anonymous("ann"))
}

fn here(clock: u64) -> Vec<(u64, Presence)> {
    vec![(7, Presence { clock, state: Some("{}".into()), user: None })]
}

#[test]
fn presence_goes_out_although_the_clock_was_set_back() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    let hour_ms = 3_600_000;
    assert!(matches!(room.on_awareness(ANN, here(1), hour_ms)[..], [Effect::Append { .. }]));
    room.on_appended(&[StreamClock::new(2, 0)]);
    assert!(matches!(room.on_awareness(ANN, here(2), hour_ms)[..], [Effect::FlushAwareness { .. }]));
    assert!(matches!(room.on_flush_awareness(5)[..], [Effect::Append { .. }]));
}

#[test]
fn a_room_says_whether_it_is_corked_to_who_joins() {
    let mut room = room(RoomLimits { pending_bytes: 10, ..RoomLimits::default() }, &[0, 0], 1);
    let update = Bytes::from_static(&[1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0]);
    let ids = yhub_content::content_ids(&update).unwrap();
    let submission = Submission { ids, message: update.clone(), update, cost_bytes: 11 };
    let effects = room.on_submit(ANN, vec![submission]);
    assert!(matches!(effects[..], [Effect::Append { .. }, Effect::Cork(true)]), "{effects:?}");
    assert!(room.is_corked());
    assert!(room.on_appended(&[StreamClock::new(2, 0)]).iter().any(|effect| matches!(effect, Effect::Cork(false))));
    assert!(!room.is_corked());
}

#[test]
fn many_different_questions_are_answered_by_more_than_one_fold() {
    let count = 100;
    let base = &[1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0];
    let mut room = room(RoomLimits::default(), base, count);
    let mut jobs = Vec::new();
    for session in 1..=count {
        let state_vector = Bytes::from(vec![1, 9, session as u8]);
        let effects = room.on_sync(SessionId(session), state_vector);
        jobs.extend(effects.into_iter().filter_map(|effect| if let Effect::Fold(job) = effect { Some(job) } else { None }));
    }
    let (mut answered, mut folds) = (0, 0);
    while let Some(job) = jobs.pop() {
        folds += 1;
        assert!(job.state_vectors.len() <= 64, "{}", job.state_vectors.len());
        let answers = job.state_vectors.iter().map(|_| Bytes::from_static(&[0, 0])).collect();
        let folded = Folded { variant: Variant::Gc, base: job.base, upto: job.upto, ids: None, answers, bad: Vec::new() };
        for effect in room.on_folded(folded) {
            match effect {
                Effect::Fold(job) => jobs.push(job),
                Effect::Broadcast { .. } => answered += 1,
                _ => {}
            }
        }
    }
    // The first fold is of the first question alone; the others came while it was under way.
    assert_eq!((answered, folds), (count, 3));
}

#[test]
fn who_is_gone_is_told_nothing() {
    let mut room = room(RoomLimits::default(), &[0, 0], 2);
    room.on_leave(BOB, 0);
    assert!(room.on_query_awareness(BOB).is_empty());
    assert!(!room.on_query_awareness(ANN).is_empty());
}

const X: &[u8] = &[1, 1, 5, 0, 4, 1, 1, b't', 1, b'x', 0];

fn submission() -> Submission {
    let update = Bytes::from_static(X);
    Submission { ids: yhub_content::content_ids(X).unwrap(), message: update.clone(), update, cost_bytes: 11 }
}

fn nothing_stored(changed: StreamClock) -> Loaded {
    let (base, ids) = (Bytes::from_static(&[0, 0]), ContentIds::new());
    Loaded { base, ids, clock: changed, changed, recent: Vec::new(), awareness: Vec::new(), checks: Vec::new() }
}

const LOST: Verdict = Verdict { held: false, resume: StreamClock::ZERO };

#[test]
fn what_is_lost_is_no_longer_answered_from_memory() {
    let mut room = room(RoomLimits::default(), X, 2);
    assert!(matches!(room.on_submit(ANN, vec![submission()])[..], [Effect::Broadcast { .. }, Effect::Credit { .. }]));
    assert!(matches!(room.on_suspect()[..], [Effect::Verify { .. }]));
    assert!(matches!(room.on_verified(LOST, 0)[..], [Effect::Load(Variant::Gc)]));
    assert!(room.on_submit(BOB, vec![submission()]).is_empty(), "it waits: whose it is is not known yet");
    let effects = room.on_loaded(Variant::Gc, nothing_stored(StreamClock::ZERO), 0);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Salvage(job) if job.parts == [X])), "{effects:?}");
    // As if nothing of it could be read.
    let salvaged = Salvaged { messages: Vec::new(), remembered: 0, cut_ids: 0, holds: ContentIds::new() };
    let effects = room.on_salvaged(salvaged, 0);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Append { messages, .. } if messages == &[X])), "{effects:?}");
}

#[test]
fn a_log_that_cannot_be_looked_at_is_never_taken_for_whole() {
    let mut room = room(RoomLimits::default(), X, 1);
    let mut effects = room.on_suspect();
    let mut waited = std::time::Duration::ZERO;
    for _ in 1..MAX_RECOVERY_ATTEMPTS {
        assert!(matches!(effects[..], [Effect::Verify { .. }]), "{effects:?}");
        let [Effect::RetryRecovery { after }] = room.on_verify_failed()[..] else { panic!() };
        waited += after;
        effects = room.on_retry_recovery(0);
        assert!(room.on_retry_recovery(0).is_empty(), "a timer of before");
    }
    assert!(waited < std::time::Duration::from_secs(60), "{waited:?}");
    assert!(matches!(room.on_verify_failed()[..], [Effect::Load(Variant::Gc)]), "it is taken for lost");
    // And a room that cannot be loaded by then gives up.
    for _ in 1..MAX_RECOVERY_ATTEMPTS {
        let effects = room.on_load_failed(Variant::Gc, Close::TRY_AGAIN);
        assert!(matches!(effects.last(), Some(Effect::RetryRecovery { .. })), "{effects:?}");
        assert!(!room.is_idle());
        room.on_retry_recovery(0);
    }
    let effects = room.on_load_failed(Variant::Gc, Close::TRY_AGAIN);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::NotRecovered)), "{effects:?}");
    assert!(matches!(effects.last(), Some(Effect::Close { session: ANN, .. })), "{effects:?}");
    room.on_leave(ANN, 0);
    assert!(room.is_idle());
    // Who joins next finds a room like a new one.
    assert!(matches!(room.on_join(BOB, Variant::Gc, ann(), 0)[..], [Effect::Load(Variant::Gc)]));
    let effects = room.on_loaded(Variant::Gc, nothing_stored(StreamClock::ZERO), 0);
    assert!(matches!(effects[0], Effect::Follow(StreamClock::ZERO)), "{effects:?}");
}

#[test]
fn a_deleted_room_brings_nothing_back() {
    let mut room = room(RoomLimits::default(), X, 1);
    room.on_suspect();
    room.on_verified(LOST, 0);
    let effects = room.on_load_failed(Variant::Gc, Close::DELETED);
    assert!(matches!(&effects[..], [Effect::End { close }] if *close == Close::DELETED), "{effects:?}");
    assert!(room.on_leave(ANN, 0).is_empty());
}

fn saying(ms: u64, message: Bytes) -> StreamLine {
    StreamLine { clock: StreamClock::new(ms, 0), message: Some(message) }
}

/// Who was there when the room was deleted leaves without a word to the stream, which would bring the room to life.
#[test]
fn a_deleted_room_ends_without_a_word() {
    let mut room = room(RoomLimits::default(), X, 2);
    assert!(matches!(room.on_awareness(ANN, here(1), 0)[..], [Effect::Append { .. }]));
    let effects = room.on_entries(&[saying(3, StreamMessage::encode_tombstone())], 0);
    assert!(matches!(effects[..], [Effect::LookForDeletion]), "{effects:?}");
    let effects = room.on_deletion(Some(true));
    assert!(matches!(&effects[..], [Effect::End { close }] if *close == Close::DELETED), "{effects:?}");
    for session in [ANN, BOB] {
        assert!(room.on_leave(session, 0).is_empty());
    }
    assert!(room.on_deletion(Some(true)).is_empty(), "it is over once");
}

/// A line of a deletion that was taken back since ends nothing; one that came meanwhile is looked into by itself.
#[test]
fn an_old_deletion_ends_nothing() {
    let mut room = room(RoomLimits::default(), X, 1);
    let told = || StreamMessage::encode_tombstone();
    assert!(matches!(room.on_entries(&[saying(3, told()), saying(4, told())], 0)[..], [Effect::LookForDeletion]));
    assert!(matches!(room.on_deletion(Some(false))[..], [Effect::LookForDeletion]));
    assert!(room.on_deletion(Some(false)).is_empty());
    assert!(matches!(room.on_awareness(ANN, here(1), 0)[..], [Effect::Append { .. }]), "it goes on");
    assert!(matches!(room.on_entries(&[saying(5, told())], 0)[..], [Effect::LookForDeletion]));
    let effects = room.on_deletion(None);
    assert!(matches!(&effects[..], [Effect::End { close }] if *close == Close::TRY_AGAIN), "{effects:?}");
}

/// What was written before the deletion is shown before the end.
#[test]
fn what_comes_before_a_deletion_is_shown() {
    let mut room = room(RoomLimits::default(), X, 1);
    room.on_sync(ANN, Bytes::from_static(&[0]));
    let update = Bytes::from_static(&[1, 1, 6, 0, 4, 1, 1, b't', 1, b'x', 0]);
    let written = StreamMessage::encode_update(&update, &[0, 0]).0;
    let effects = room.on_entries(&[saying(3, written), saying(4, StreamMessage::encode_tombstone())], 0);
    let shown = |effect: &Effect| matches!(effect, Effect::Broadcast { messages, .. } if messages[..] == [ServerMessage::Update(update.clone())]);
    assert!(effects.iter().any(shown), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::LookForDeletion)), "{effects:?}");
}

/// What was salvaged outlives what is given up around it, but not for ever.
#[test]
fn what_was_salvaged_is_appended_in_the_end_or_given_up() {
    let mut room = room(RoomLimits::default(), X, 1);
    room.on_suspect();
    room.on_verified(LOST, 0);
    let effects = room.on_loaded(Variant::Gc, nothing_stored(StreamClock::ZERO), 0);
    let Some(Effect::Salvage(job)) = effects.into_iter().find(|effect| matches!(effect, Effect::Salvage(_))) else { panic!() };
    let salvaged = salvage(&job);
    assert_eq!((salvaged.messages.len(), salvaged.remembered, salvaged.cut_ids), (1, 0, 1));
    room.on_salvaged(salvaged, 0);
    let mut failures = 0;
    loop {
        failures += 1;
        let effects = room.on_append_failed();
        if effects.iter().any(|effect| matches!(effect, Effect::NotRecovered)) {
            assert!(effects.iter().any(|effect| matches!(effect, Effect::Verify { .. })), "it took it for stored: {effects:?}");
            break;
        }
        assert!(effects.iter().any(|effect| matches!(effect, Effect::RetryAppend { .. })), "{effects:?}");
        assert!(matches!(room.on_retry_append()[..], [Effect::Append { .. }]));
    }
    assert_eq!(failures, 12 * MAX_APPEND_ATTEMPTS);
    // Whatever the log still holds: what was given up is not answered from memory.
    let held = Verdict { held: true, resume: StreamClock::ZERO };
    assert!(matches!(room.on_verified(held, 0)[..], [Effect::Load(Variant::Gc)]));
}

fn held(upto: u64) -> Verdict {
    Verdict { held: true, resume: StreamClock::new(upto, 0) }
}

fn line(ms: u64) -> [StreamLine; 1] {
    let message = StreamMessage::encode_update(X, &[0, 0]).0;
    [StreamLine { clock: StreamClock::new(ms, 0), message: Some(message) }]
}

fn verifies(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Verify { .. }))
}

#[test]
fn while_a_room_looks_it_does_not_listen_and_then_it_follows_from_where_it_may_have_missed_something() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    room.on_entries(&line(9), 0);
    room.on_suspect();
    room.on_entries(&line(12), 0);
    assert_eq!(room.position(), Some(StreamClock::new(9, 0)));
    let effects = room.on_verified(held(5), 0);
    assert!(matches!(effects[0], Effect::Follow(after) if after == StreamClock::new(5, 0)), "{effects:?}");
    room.on_entries(&line(7), 0);
    assert_eq!(room.position(), Some(StreamClock::new(7, 0)));
}

/// What was begun before a suspicion and ends after it may bring what is lost: then the room looks once more.
#[test]
fn what_is_older_than_a_suspicion_is_looked_for_once_more() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    room.on_join(BOB, Variant::Nongc, ann(), 0);
    assert!(matches!(room.on_submit(ANN, vec![submission()])[..], [Effect::Append { .. }]));
    room.on_suspect();
    assert!(!verifies(&room.on_verified(held(1), 0)));
    assert!(verifies(&room.on_appended(&[StreamClock::new(3, 0)])));
    assert!(!verifies(&room.on_verified(held(1), 0)));
    assert!(verifies(&room.on_loaded(Variant::Nongc, nothing_stored(StreamClock::new(4, 0)), 0)));
    assert!(!verifies(&room.on_verified(held(1), 0)));
    assert!(!verifies(&room.on_entries(&line(5), 0)));
}

#[test]
fn a_fold_of_before_does_not_reach_beyond_where_the_room_went_back_to() {
    let mut room = room(RoomLimits::default(), X, 2);
    room.on_entries(&line(9), 0);
    let effects = room.on_sync(ANN, Bytes::from_static(&[1, 9, 9]));
    let [Effect::Fold(job)] = &effects[..] else { panic!("{effects:?}") };
    let folded = Folded {
        variant: Variant::Gc,
        base: job.base.clone(),
        upto: job.upto,
        ids: None,
        answers: vec![Bytes::from_static(X)],
        bad: Vec::new(),
    };
    room.on_suspect();
    room.on_verified(held(5), 0);
    room.on_folded(folded);
    room.on_entries(&line(7), 0);
    let effects = room.on_sync(BOB, Bytes::from_static(&[0]));
    assert!(matches!(&effects[..], [Effect::Fold(job)] if job.tail.len() == 1), "{effects:?}");
}

fn auth_check(ms: u64, user: Option<&str>, cut: bool) -> StreamLine {
    let users = user.map(|user| vec![crate::UserMatcher::User(user.into())]);
    StreamLine { clock: StreamClock::new(ms, 0), message: Some(StreamMessage::encode_auth_check(users.as_deref(), cut)) }
}

#[test]
fn a_check_of_access_finds_those_it_is_for() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    room.on_join(BOB, Variant::Gc, Arc::new(Identity::anonymous("bob")), 0);
    let effects = room.on_entries(&[auth_check(2, Some("bob"), false)], 2);
    assert!(matches!(&effects[..], [Effect::Check { sessions }] if sessions[..] == [BOB]), "{effects:?}");
    let effects = room.on_entries(&[auth_check(3, None, false)], 3);
    assert!(matches!(&effects[..], [Effect::Check { sessions }] if sessions[..] == [ANN, BOB]), "{effects:?}");
    let effects = room.on_entries(&[auth_check(4, Some("bob"), true)], 4);
    assert!(matches!(&effects[..], [Effect::Close { session: BOB, close }] if *close == Close::REVOKED), "{effects:?}");
    assert!(room.on_entries(&[auth_check(5, Some("carl"), false)], 5).is_empty());
}

#[test]
fn who_was_let_in_before_a_check_and_joins_after_it_is_checked() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    assert!(room.on_entries(&[auth_check(2, Some("bob"), true)], 2).is_empty());
    let effects = room.on_join(BOB, Variant::Gc, Arc::new(Identity::anonymous("bob")), 3);
    assert!(matches!(&effects[..], [Effect::Check { sessions }, ..] if sessions[..] == [BOB]), "{effects:?}");
    let effects = room.on_join(SessionId(3), Variant::Gc, ann(), 3);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Check { .. })), "{effects:?}");
}

#[test]
fn who_shows_other_claims_is_meant_by_those() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    assert!(room.on_entries(&[auth_check(2, Some("bob"), false)], 2).is_empty());
    // It was demanded a moment ago of who they are from now on.
    let effects = room.on_identified(ANN, Arc::new(Identity::anonymous("bob")), 3);
    assert!(matches!(&effects[..], [Effect::Check { sessions }] if sessions[..] == [ANN]), "{effects:?}");
    assert!(room.on_entries(&[auth_check(4, Some("ann"), true)], 4).is_empty());
    let effects = room.on_entries(&[auth_check(5, Some("bob"), true)], 5);
    assert!(matches!(&effects[..], [Effect::Close { session: ANN, close }] if *close == Close::REVOKED), "{effects:?}");
    assert!(room.on_identified(SessionId(9), ann(), 6).is_empty());
}

#[test]
fn checks_that_the_stream_holds_when_it_is_first_read_count() {
    let mut room = RoomCore::new(RoomLimits::default());
    room.on_join(ANN, Variant::Gc, ann(), 1_000_000);
    let check = AuthCheck { at_ms: 999_000, users: None };
    let loaded = Loaded { checks: vec![check], ..nothing_stored(StreamClock::new(999_000, 0)) };
    let effects = room.on_loaded(Variant::Gc, loaded, 1_000_000);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Check { sessions } if sessions[..] == [ANN])), "{effects:?}");
}

#[test]
fn a_document_grows_until_it_is_measured_beyond_its_bound_and_may_shrink_then() {
    let mut writer = yhub_testkit::TextWriter::new(7);
    let submission = |update: Vec<u8>| {
        let update = Bytes::from(update);
        let ids = yhub_content::content_ids(&update).unwrap();
        let (message, _) = StreamMessage::encode_update(&update, &[0, 0]);
        Submission { ids, message, cost_bytes: update.len(), update }
    };
    let base: &'static [u8] = Box::leak(writer.append(&"x".repeat(1_000)).into_boxed_slice());
    let mut room = room(RoomLimits { max_document_bytes: 1_500, ..RoomLimits::default() }, base, 1);
    let mut fold = None;
    for clock in 2..4 {
        let update = submission(writer.append(&"y".repeat(300)));
        let message = Some(update.message.clone());
        assert!(matches!(room.on_submit(ANN, vec![update])[..], [Effect::Append { .. }]), "it is not known to be too large");
        assert!(fold.is_none());
        room.on_appended(&[StreamClock::new(clock, 0)]);
        let effects = room.on_entries(&[StreamLine { clock: StreamClock::new(clock, 0), message }], 0);
        fold = effects.into_iter().find_map(|effect| if let Effect::Fold(job) = effect { Some(job) } else { None });
    }
    let job = fold.expect("it may be too large by now, so it is measured");
    let parts: Vec<Bytes> = [job.base].into_iter().chain(job.tail.into_iter().map(|(_, update)| update)).collect();
    let base = Bytes::from(yhub_content::merge(&parts).unwrap());
    assert!(base.len() > 1_500);
    room.on_folded(Folded { variant: Variant::Gc, base, upto: job.upto, ids: None, answers: Vec::new(), bad: Vec::new() });
    let both = vec![submission(writer.append("z")), submission(writer.append("zz"))];
    let effects = room.on_submit(ANN, both);
    assert!(matches!(&effects[..], [Effect::Close { close, .. }] if *close == Close::DOCUMENT_TOO_LARGE), "{effects:?}");
    // Also after it has left memory.
    room.on_evict();
    assert!(matches!(room.on_submit(ANN, vec![submission(writer.append("z"))])[..], [Effect::Close { .. }]));
    assert!(matches!(room.on_submit(ANN, vec![submission(writer.delete(0, 900))])[..], [Effect::Append { .. }]));
}

/// What a session is charged for what it has asked for.
fn charged(effects: &[Effect]) -> Vec<(SessionId, usize)> {
    let charge = |effect: &Effect| match effect {
        Effect::Charge { session, work_bytes } => Some((*session, *work_bytes)),
        _ => None,
    };
    effects.iter().filter_map(charge).collect()
}

#[test]
fn what_is_asked_for_has_its_price_the_longer_the_higher() {
    let mut room = room(RoomLimits::default(), &[0, 0], 2);
    assert_eq!(charged(&room.on_query_awareness(ANN)), [(ANN, 0)]);
    let state: Arc<str> = format!("{:?}", "x".repeat(16_000)).into();
    let appended = |effects: Vec<Effect>| {
        let message = effects.into_iter().find_map(|effect| match effect {
            Effect::Append { messages, .. } => messages.into_iter().next(),
            _ => None,
        });
        message.expect("presence is appended")
    };
    let message = appended(room.on_awareness(ANN, vec![(7, Presence { clock: 1, state: Some(state), user: None })], 0));
    // Whoever only listens pays nothing.
    assert_eq!(charged(&room.on_entries(&[saying(2, message)], 0)), []);
    assert_eq!(charged(&room.on_query_awareness(ANN)), [(ANN, 16_010 / 16)]);
    // The first answer tells who is there.
    assert_eq!(charged(&room.on_sync(BOB, Bytes::from_static(&[0]))), [(BOB, 16_010 / 16)]);
}
