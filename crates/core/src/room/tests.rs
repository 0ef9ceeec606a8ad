//! What a room does at its bounds, and when time goes back.

use super::*;

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);

/// A room with `base` loaded and the sessions `1..=count` in it.
fn room(limits: RoomLimits, base: &'static [u8], count: u64) -> RoomCore {
    let mut room = RoomCore::new(limits);
    for session in 1..=count {
        room.on_join(SessionId(session), Variant::Gc);
    }
    let ids = yhub_content::content_ids(base).unwrap();
    let loaded = Loaded { base: Bytes::from_static(base), ids, clock: StreamClock::new(1, 0), awareness: Vec::new() };
    room.on_loaded(Variant::Gc, loaded, 0);
    room
}

fn here(clock: u64) -> Vec<(u64, Presence)> {
    vec![(7, Presence { clock, state: Some("{}".into()) })]
}

#[test]
fn presence_goes_out_although_the_clock_was_set_back() {
    let mut room = room(RoomLimits::default(), &[0, 0], 1);
    let hour_ms = 3_600_000;
    assert!(matches!(room.on_awareness(ANN, here(1), hour_ms)[..], [Effect::Append { .. }]));
    room.on_appended(StreamClock::new(2, 0));
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
    assert!(room.on_appended(StreamClock::new(2, 0)).iter().any(|effect| matches!(effect, Effect::Cork(false))));
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
