//! Laws of the guard against poison rooms, over random histories.

use proptest::prelude::*;

use super::*;

fn room(org: usize, doc: usize) -> RoomId {
    RoomId::new(&format!("org-{org}"), &format!("doc-{doc}"), RoomId::MAIN)
}

/// A policy in which a millisecond stands for a minute.
fn policy() -> PoisonPolicy {
    let ms = Duration::from_millis;
    PoisonPolicy { window: ms(10), unready_for: ms(10), unready_within: ms(60), ..PoisonPolicy::default() }
}

/// A guard, and the store that counts for it.
struct World {
    guard: PoisonGuard,
    now_ms: u64,
    rows: HashMap<RoomId, (String, u64)>,
}

impl World {
    fn new() -> Self {
        Self { guard: PoisonGuard::new(policy()), now_ms: 1_000, rows: HashMap::new() }
    }

    fn fail(&mut self, room: &RoomId, signature: &str) -> (Verdict, Option<BreakerChange>) {
        let row = self.rows.entry(room.clone()).or_insert_with(|| (signature.into(), 0));
        *row = if row.0 == signature { (row.0.clone(), row.1 + 1) } else { (signature.into(), 1) };
        let in_a_row = row.1;
        let rooms_alike = self.rows.values().filter(|row| row.0 == signature).count() as u64;
        let failed = Failed { room, signature, in_a_row, rooms_alike, attempt: 1, may_be_set_aside: true };
        let (verdict, change) = self.guard.on_failed(failed, 0.5, self.now_ms);
        match verdict {
            Verdict::Quarantine => {
                assert!(in_a_row >= 5, "not before it failed five times in a row");
                assert!(self.guard.fault().is_none(), "nobody is set aside while the breaker is open");
                self.rows.remove(room);
            }
            Verdict::HubAtFault { .. } => assert!(self.guard.fault().is_some()),
            Verdict::Retry { .. } => assert!(self.guard.fault().is_none()),
        }
        if let Some(BreakerChange::Opened(_)) = change {
            assert!(self.guard.fault().is_some_and(|fault| fault.since_ms == self.now_ms));
        }
        (verdict, change)
    }

    fn store(&mut self, room: &RoomId) -> Option<BreakerChange> {
        self.rows.remove(room);
        self.guard.on_stored(room, self.now_ms)
    }
}

#[test]
fn a_room_that_fails_alone_is_set_aside_at_the_fifth_time() {
    let mut world = World::new();
    world.store(&room(0, 100));
    world.store(&room(0, 101));
    for nth in 1..=5 {
        let (verdict, _) = world.fail(&room(0, 1), "entry: #");
        assert_eq!(verdict == Verdict::Quarantine, nth == 5, "at the {nth}. time: {verdict:?}");
    }
    // Another cause starts over.
    for signature in ["a", "a", "a", "a", "b", "a", "a", "a", "a"] {
        assert_ne!(world.fail(&room(0, 2), signature).0, Verdict::Quarantine);
    }
}

#[test]
fn what_would_not_help_the_room_is_not_done() {
    let mut guard = PoisonGuard::new(policy());
    let failed =
        Failed { room: &room(0, 1), signature: "row", in_a_row: 99, rooms_alike: 1, attempt: 1, may_be_set_aside: false };
    assert!(matches!(guard.on_failed(failed, 0.0, 0).0, Verdict::Retry { after } if after == Duration::from_secs(300)));
}

#[test]
fn when_many_rooms_fail_alike_the_hub_is_at_fault_until_compactions_succeed_again() {
    for orgs in [1, 2, 7] {
        let mut world = World::new();
        let rooms: Vec<RoomId> = (0..14).map(|n| room(n % orgs, n)).collect();
        let mut opened = None;
        for round in 0..8 {
            for (at, room) in rooms.iter().enumerate() {
                let (verdict, change) = world.fail(room, "compute: #");
                assert_ne!(verdict, Verdict::Quarantine);
                if let Some(BreakerChange::Opened(fault)) = change {
                    assert_eq!((round, at, fault.rooms), (0, 4, 5), "{orgs} orgs");
                    assert!(opened.replace(fault).is_none(), "it opens once");
                }
            }
        }
        assert!(world.guard.withholds_readiness(world.now_ms));
        let closed = rooms.iter().map(|room| world.store(room)).position(|change| change.is_some());
        assert!(closed.is_some_and(|at| at <= 8), "{orgs} orgs: {closed:?}");
        assert_eq!(world.guard.fault(), None);
        assert!(!world.guard.withholds_readiness(world.now_ms));
    }
}

#[test]
fn rooms_that_fail_on_other_nodes_count() {
    let mut guard = PoisonGuard::new(policy());
    let failed = Failed { room: &room(0, 1), signature: "x", in_a_row: 9, rooms_alike: 5, attempt: 1, may_be_set_aside: true };
    assert!(matches!(guard.on_failed(failed, 0.0, 0), (Verdict::HubAtFault { .. }, Some(BreakerChange::Opened(_)))));
    // But not where most of what this node works on succeeds.
    let mut guard = PoisonGuard::new(policy());
    guard.on_stored(&room(0, 2), 0);
    guard.on_stored(&room(0, 3), 0);
    assert_eq!(guard.on_failed(failed, 0.0, 0), (Verdict::Quarantine, None));
}

#[test]
fn failures_of_long_ago_close_the_breaker() {
    let mut world = World::new();
    for n in 0..5 {
        world.fail(&room(0, n), "x");
    }
    assert_eq!(world.guard.look(world.now_ms + 9), None);
    assert!(matches!(world.guard.look(world.now_ms + 10), Some(BreakerChange::Closed(_))));
    assert_eq!(world.guard.look(world.now_ms + 11), None);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut guard = PoisonGuard::new(PoisonPolicy::default());
    for n in 0..MAX_ROOMS + 100 {
        guard.on_stored(&room(0, n), n as u64);
    }
    assert_eq!(guard.seen.len(), MAX_ROOMS);
    assert!(!guard.seen.contains_key(&room(0, 99)) && guard.seen.contains_key(&room(0, 100)));
}

#[test]
fn a_record_is_to_be_forgotten_once() {
    let mut world = World::new();
    world.fail(&room(0, 1), "x");
    world.store(&room(0, 1));
    assert!(world.guard.take_on_record(&room(0, 1)));
    assert!(!world.guard.take_on_record(&room(0, 1)) && !world.guard.take_on_record(&room(0, 2)));
}

proptest! {
    #[test]
    fn pauses_grow_and_stay_within_their_bounds(nth in 1u64..100, jitter in 0.0f64..1.0, other in 0.0f64..1.0) {
        let policy = PoisonPolicy::default();
        let pause = policy.backoff(nth, jitter);
        prop_assert!(pause <= policy.longest_backoff && pause >= policy.first_backoff / 2);
        prop_assert!(policy.backoff(nth + 2, other) >= pause || pause * 2 >= policy.longest_backoff);
    }

    /// Whatever one org does, as long as anybody else is compacted now and then: the breaker stays closed, and the rooms of that
    /// org are set aside one by one.
    #[test]
    fn one_org_cannot_put_the_hub_at_fault(steps in prop::collection::vec((0u64..4, 0usize..60, 0u8..4), 1..600)) {
        let mut world = World::new();
        let (mut failures, mut set_aside) = (0u64, 0u64);
        for (later, doc, step) in steps {
            world.now_ms += later;
            // Of a second org something is always in the window.
            let last_ms = world.guard.seen.get(&room(1, 0)).map(|seen| seen.at_ms);
            if last_ms.is_none_or(|last_ms| world.now_ms - last_ms > 5) {
                world.store(&room(1, 0));
            }
            match step {
                0 => { world.store(&room(0, doc)); }
                _ => {
                    failures += 1;
                    let (verdict, change) = world.fail(&room(0, doc), if step == 1 { "x" } else { "y" });
                    prop_assert_eq!(change, None);
                    set_aside += u64::from(verdict == Verdict::Quarantine);
                }
            }
            prop_assert!(!world.guard.withholds_readiness(world.now_ms));
        }
        prop_assert!(set_aside <= failures / 5);
    }

    /// Whatever happens, by whomever: the hub is not kept from being ready for longer than the bound says.
    #[test]
    fn nobody_keeps_the_hub_from_being_ready(
        steps in prop::collection::vec((0u64..3, 0usize..3, 0usize..8, 0u8..9), 1..900),
        signatures in 1usize..4,
    ) {
        let mut world = World::new();
        let mut not_ready: Vec<bool> = Vec::new();
        for (later, org, doc, step) in steps {
            for _ in 0..later {
                not_ready.push(world.guard.withholds_readiness(world.now_ms));
                world.now_ms += 1;
                if step % 2 == 0 {
                    world.guard.look(world.now_ms);
                }
            }
            // Rarely a whole round of successes, so that the breaker opens and closes again and again.
            match step {
                0 => for doc in 0..8 { for org in 0..3 { world.store(&room(org, doc)); } },
                1 => { world.store(&room(org, doc)); }
                _ => { world.fail(&room(org, doc), ["x", "y", "z"][doc % signatures]); }
            }
        }
        let within = whole_ms(policy().unready_within) as usize;
        for window in not_ready.windows(within.min(not_ready.len()).max(1)) {
            let count = window.iter().filter(|bad| **bad).count() as u64;
            prop_assert!(count <= whole_ms(policy().unready_for), "not ready for {count} of {within}");
        }
    }
}
