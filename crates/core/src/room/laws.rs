//! Laws of a room, over random interleavings of everything that can happen to it.
//!
//! The laws themselves are asserted in [`client`], where they can first be seen to break.

mod client;
mod lossy;
mod stores;
mod world;

use std::{cell::Cell, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};

use self::world::{Counts, WRITERS, World};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Join(bool),
    Leave(u8),
    Sync(u8, [u8; WRITERS]),
    Submit(u8, Vec<(u8, u8)>),
    Speak(u8, u8, u8, bool),
    Query(u8),
    Elsewhere(u8),
    Accepted,
    Appended,
    AppendFailed,
    /// The log takes nothing for so long that the room gives up.
    Outage,
    Retry,
    Tail(u8, u8),
    Loaded(bool, u8),
    LoadFailed(bool),
    Folded(bool),
    FoldFailed(bool),
    Evict,
    Flush,
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Join),
        2 => any::<u8>().prop_map(Step::Leave),
        5 => (any::<u8>(), any::<[u8; WRITERS]>()).prop_map(|(who, holds)| Step::Sync(who, holds)),
        8 => (any::<u8>(), prop::collection::vec((any::<u8>(), any::<u8>()), 1..4)).prop_map(|(who, what)| Step::Submit(who, what)),
        4 => (any::<u8>(), 0..4u8, any::<u8>(), any::<bool>()).prop_map(|(who, client, clock, here)| Step::Speak(who, client, clock, here)),
        1 => any::<u8>().prop_map(Step::Query),
        3 => any::<u8>().prop_map(Step::Elsewhere),
        4 => Just(Step::Accepted),
        6 => Just(Step::Appended),
        3 => Just(Step::AppendFailed),
        1 => Just(Step::Outage),
        3 => Just(Step::Retry),
        8 => (1..5u8, 0..3u8).prop_map(|(count, again)| Step::Tail(count, again)),
        6 => (any::<bool>(), 0..6u8).prop_map(|(gc, late)| Step::Loaded(gc, late)),
        1 => any::<bool>().prop_map(Step::LoadFailed),
        6 => any::<bool>().prop_map(Step::Folded),
        1 => any::<bool>().prop_map(Step::FoldFailed),
        2 => Just(Step::Evict),
        3 => Just(Step::Flush),
        2 => (0..50u8).prop_map(Step::Pass),
    ]
}

fn variant(gc: bool) -> Variant {
    if gc { Variant::Gc } else { Variant::Nongc }
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Join(gc) => drop(world.join(variant(gc))),
        Step::Elsewhere(kind) => world.elsewhere(kind),
        Step::Accepted => world.append_accepted(),
        Step::Appended => world.append_reported(),
        Step::AppendFailed => world.append_failed(),
        Step::Outage => {
            for _ in 0..MAX_APPEND_ATTEMPTS {
                world.retry();
                world.append_failed();
            }
        }
        Step::Retry => world.retry(),
        Step::Tail(count, again) => world.tail(count.into(), again.into()),
        Step::Loaded(gc, late) => world.loaded(variant(gc), late.into()),
        Step::LoadFailed(gc) => world.load_failed(variant(gc)),
        Step::Folded(gc) => world.folded(variant(gc)),
        Step::FoldFailed(gc) => world.fold_failed(variant(gc)),
        Step::Evict => world.evict(),
        Step::Flush => world.flush(),
        Step::Pass(ms) => world.pass(Duration::from_millis(ms.into())),
        Step::Leave(who) | Step::Sync(who, _) | Step::Submit(who, _) | Step::Speak(who, ..) | Step::Query(who) => {
            let Some(session) = world.pick(who) else { return };
            match step {
                Step::Leave(_) => world.leave(session),
                Step::Sync(_, holds) => world.sync(session, holds),
                Step::Submit(_, writes) => world.submit(session, &writes),
                // Two clients may share an id, and a client may speak of another.
                Step::Speak(_, client, clock, here) => world.speak(session, 1 + u64::from(client), clock.into(), here),
                _ => world.query(session),
            }
        }
    }
}

/// One life of a room, from the first step until everybody has left.
fn live(inline_folds: bool, steps: Vec<Step>) -> Counts {
    let mut world = World::new(inline_folds);
    for step in steps {
        take(&mut world, step);
    }
    world.settle();
    world.assert_at_rest();
    // Whoever has not asked yet asks now; everybody comes to see everything.
    let everyone: Vec<_> = world.clients.keys().copied().collect();
    for session in everyone {
        world.sync(session, [3; WRITERS]);
    }
    world.settle();
    world.assert_at_rest();
    while let Some(session) = world.pick(0) {
        world.leave(session);
    }
    world.settle();
    world.assert_deserted();
    world.counts
}

#[test]
fn whatever_happens_to_a_room() {
    let config = ProptestConfig::default();
    let config = ProptestConfig { cases: 3 * config.cases, max_shrink_iters: 20_000, failure_persistence: None, ..config };
    let cases = config.cases as usize;
    let counts = Cell::new(Counts::default());
    let lives = (any::<bool>(), prop::collection::vec(step(), 1..120));
    let ended = TestRunner::new(config).run(&lives, |(inline_folds, steps)| {
        counts.set(counts.get() + live(inline_folds, steps));
        Ok(())
    });
    if let Err(broken) = ended {
        panic!("{broken}");
    }
    // Every law was put to the test, and often.
    let counts = counts.get();
    let Counts { answers, live, echoes, refusals, given_up, reloads, folds, goodbyes } = counts;
    for (count, a_case) in [(answers, 2.0), (live, 4.0), (echoes, 0.05), (refusals, 0.1), (folds, 1.0), (goodbyes, 0.2)] {
        assert!(count as f64 >= a_case * cases as f64, "{cases} cases: {counts:?}");
    }
    assert!(cases < 700 || (given_up > 0 && reloads > 0), "{cases} cases: {counts:?}");
}
