//! Hostile bytes: whatever comes in, nothing panics, hangs or takes memory that the bytes do not pay for; and what the
//! guard lets through is understood by everything else.
//!
//! `YHUB_MUTATIONS` sets how many mutated inputs are tried, `YHUB_SEED` where the generator begins.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

mod support;

use rand::{Rng, rngs::StdRng};
use support::{peak_memory, random, random_updates};
use yhub_content::{
    ContentIds, ContentMap, GuardError, IdRange, Limits, StateVector, UpdateError, check_content_ids, check_delete_set,
    check_id_set, check_state_vector, check_update, content_ids, diff, forget, gc_merge,
    history::{ActivityQuery, ChangesetQuery, activity, changeset},
    inspect_update, integrate_merge, intersect, merge, state_vector_of, undo,
};
use yhub_testkit::vectors::{hex, items, list, load};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Updates that say a lot: those of the vectors, and some of yrs.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for file in ["updates-yjs13", "updates-yjs14"] {
        for scenario in list(&load(file)["scenarios"]) {
            samples.extend(list(&scenario["updates"]).iter().take(12).map(|update| hex(&update["hex"])));
            samples.push(hex(&scenario["merged"]));
            samples.push(hex(&scenario["gcDoc"]["hex"]));
            if let Some(hole) = scenario.get("hole") {
                samples.push(hex(&hole["merged"]));
            }
        }
    }
    for case in list(&load("overlapping-merges")["cases"]) {
        samples.extend(items(&case["in"]).iter().map(hex));
    }
    samples.extend(random_updates(&mut random(1), 4, 60));
    samples
}

/// Changes a few bytes, cuts, repeats or inserts some, or puts the end of another in place of its own.
fn mutate(sample: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..9) {
            0..=2 if at < bytes.len() => bytes[at] = rng.random(),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            4 => bytes.insert(at, rng.random()),
            5 if at < bytes.len() => drop(bytes.remove(at)),
            6 => bytes.truncate(at),
            7 => {
                let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
                let length = rng.random_range(1..=8);
                bytes.splice(at..at, huge[..length].iter().map(|byte| byte | 0x80).chain([rng.random_range(0..0x80)]));
            }
            _ => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
            }
        }
    }
    bytes
}

/// Puts `bytes` through everything. True if the guard let them through.
fn everything(bytes: &[u8], rng: &mut StdRng, well_formed: &[u8]) -> bool {
    let limits = Limits::default();
    let _ = check_state_vector(bytes, &limits);
    let _ = check_delete_set(bytes, &limits);
    let _ = check_id_set(bytes, &limits);
    if check_content_ids(bytes, &limits).is_ok() {
        ContentIds::from_bytes(bytes).expect("the guard let these content ids through");
    }
    if check_state_vector(bytes, &limits).is_ok() {
        StateVector::from_bytes(bytes).expect("the guard let this state vector through");
    }
    let vector: StateVector =
        state_vector_of(well_formed).unwrap().iter().map(|(client, clock)| (client, rng.random_range(0..=clock))).collect();
    let inspected = inspect_update(bytes, &limits);
    let checked = check_update(bytes, &limits);
    assert_eq!(inspected.as_ref().map(|inspected| &inspected.summary).ok(), checked.as_ref().ok());
    match inspected {
        Ok(inspected) => {
            let ids = content_ids(bytes).expect("guarded");
            assert_eq!(ids, inspected.ids);
            let merged = merge(&[bytes, well_formed, bytes]).expect("guarded");
            // Strings may have been cut, but never into something that the guard would refuse.
            inspect_update(&merged, &limits).expect("a merge of what passed the guard passes it");
            let both = ContentIds::union(&[ids.clone(), content_ids(well_formed).unwrap()]);
            assert_eq!(content_ids(&merged).unwrap(), both);
            let part = diff(bytes, &vector).expect("guarded");
            assert!(content_ids(&part).unwrap().inserts.difference(&ids.inserts).is_empty());
            assert_eq!(content_ids(&intersect(&merged, &ids).unwrap()).unwrap(), ids);
            state_vector_of(bytes).expect("guarded");
            for document in [gc_merge(&[bytes, well_formed]).expect("guarded"), integrate_merge(&[bytes]).expect("guarded")] {
                check_update(&document, &limits).expect("what a document writes passes the guard");
                assert_eq!(content_ids(&document).unwrap().inserts.difference(&both.inserts), yhub_content::IdSet::new());
            }
            let collected = content_ids(&gc_merge(&[bytes, well_formed]).unwrap()).unwrap();
            assert_eq!(collected.inserts, both.inserts);
            assert!(collected.deletes.contains_all(&both.deletes));
            look_back(bytes, &ids, rng, true).expect("guarded");
            true
        }
        Err(_) => {
            let _ = content_ids(bytes);
            let _ = merge(&[well_formed, bytes]);
            let _ = merge(&[bytes, bytes]);
            let _ = diff(bytes, &vector);
            let _ = state_vector_of(bytes);
            let _ = intersect(bytes, &content_ids(well_formed).unwrap());
            let _ = gc_merge(&[bytes, well_formed]);
            let _ = integrate_merge(&[bytes]);
            let _ = look_back(bytes, &content_ids(well_formed).unwrap(), rng, false);
            false
        }
    }
}

/// Forgets, takes back and shows some of `ids` in `bytes`, whose history they are taken for. What comes out of bytes that passed the
/// guard passes it.
fn look_back(bytes: &[u8], ids: &ContentIds, rng: &mut StdRng, guarded: bool) -> Result<(), UpdateError> {
    let mut some = ContentIds::default();
    for (of, kept) in [(&ids.inserts, &mut some.inserts), (&ids.deletes, &mut some.deletes)] {
        for (client, range) in of.iter().flat_map(|(client, ranges)| ranges.iter().map(move |range| (client, range))) {
            let from = rng.random_range(range.clock()..range.end());
            if let Some(part) = IdRange::between(from, rng.random_range(from..=range.end())) {
                kept.insert(client, part);
            }
        }
    }
    let limits = Limits::default();
    let forgotten = forget(bytes, &some.deletes)?;
    let taken_back = undo(bytes, &some, rng.random_range(0..1 << 53))?;
    if guarded {
        let known = content_ids(bytes)?;
        assert_eq!(inspect_update(&forgotten, &limits).expect("what forgets passes the guard").ids.inserts, known.inserts);
        if let Some(taken) = taken_back {
            let taken = inspect_update(&taken, &limits).expect("what is taken back passes the guard").ids;
            assert!(taken.inserts.intersection(&known.inserts).is_empty(), "the client is a new one");
        }
    }
    let map = ContentMap::union([
        &ContentMap::attribution(&some, Some("ann"), 5, &[("k".into(), "v".into())]),
        &ContentMap::attribution(&ids.difference(&some), Some("bob"), 7, &[]),
    ]);
    let shows = |custom| ActivityQuery { delta: true, ydoc: true, attributions: true, custom, ..ActivityQuery::default() };
    let asked = ChangesetQuery { delta: true, ydoc: true, ..ChangesetQuery::default() };
    let shown = [
        activity(bytes, &map, &shows(rng.random())).map(|found| found.to_any()),
        changeset(bytes, &map, &asked).map(|found| found.to_any()),
    ];
    for found in shown {
        match found {
            Ok(found) => assert!(!found.to_bytes().is_empty()),
            // Nodes and values may be nested more deeply than can be shown.
            Err(UpdateError::NestedTooDeep { .. } | UpdateError::TooDeepToShow { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn mutated_updates_neither_panic_nor_take_memory() {
    let (seed, mutations) = (setting("YHUB_SEED", 7), setting("YHUB_MUTATIONS", 200_000));
    let samples = samples();
    let mut rng = random(seed);
    let before = peak_memory();
    let mut passed = 0u64;
    println!("{mutations} mutations from seed {seed}");
    for round in 0..mutations {
        let sample = &samples[rng.random_range(0..samples.len())];
        let other = &samples[rng.random_range(0..samples.len())];
        let bytes = mutate(sample, other, &mut rng);
        let state = rng.clone();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| everything(&bytes, &mut state.clone(), other)));
        match result {
            Ok(well_formed) => passed += u64::from(well_formed),
            Err(_) => panic!("seed {seed}, round {round}: {}", yhub_testkit::vectors::to_hex(&bytes)),
        }
    }
    println!("the guard let {passed} of {mutations} through; peak memory {} MB more", (peak_memory() - before) >> 20);
    assert!(passed > mutations / 100, "hardly any mutation passes: the test tests little");
    assert!(peak_memory() - before < 256 << 20, "memory grew by {} bytes", peak_memory() - before);
}

#[test]
fn random_bytes_neither_panic_nor_take_memory() {
    let (seed, mutations) = (setting("YHUB_SEED", 8), setting("YHUB_MUTATIONS", 200_000));
    println!("{mutations} random inputs from seed {seed}");
    let mut rng = random(seed);
    let before = peak_memory();
    let sample = &samples()[3];
    for _ in 0..mutations {
        let length = rng.random_range(0..64);
        let bytes: Vec<u8> =
            (0..length).map(|_| if rng.random_bool(0.6) { rng.random_range(0..12) } else { rng.random() }).collect();
        everything(&bytes, &mut rng.clone(), sample);
    }
    assert!(peak_memory() - before < 256 << 20);
}

#[test]
fn every_prefix_is_refused() {
    for sample in samples().iter().step_by(7) {
        for end in 0..sample.len() {
            assert!(check_update(&sample[..end], &Limits::default()).is_err(), "{end} of {} bytes pass", sample.len());
        }
    }
}

#[test]
fn a_state_vector_that_announces_a_billion_entries_is_refused() {
    // Frame: sync, step 1, a state vector of five bytes that claims 2^30 entries.
    let frame = [0x00, 0x00, 0x05, 0x80, 0x94, 0xeb, 0xdc, 0x03];
    assert!(check_state_vector(&frame[3..], &Limits::default()).is_err());
    assert!(StateVector::from_bytes(&frame[3..]).is_err());
    assert!(check_update(&frame[3..], &Limits::default()).is_err());
    assert!(check_delete_set(&frame[3..], &Limits::default()).is_err());
    assert!(check_id_set(&frame[3..], &Limits::default()).is_err());
}

#[track_caller]
fn refused(bytes: &[u8]) -> UpdateError {
    match check_update(bytes, &Limits::default()) {
        Err(GuardError::Malformed(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// An update of one struct of client 9 at clock `clock`.
fn one(clock: u8, bytes: &[u8]) -> Vec<u8> {
    [&[1, 1, 9, clock], bytes, &[0]].concat()
}

#[test]
fn the_guard_refuses_what_some_client_would_fail_on() {
    let limits = Limits::default();
    // JSON texts.
    let json = |kind: u8, text: &str| {
        one(0, &[&[kind, 1, 1, b't'][..], if kind == 2 { &[1][..] } else { &[] }, &[text.len() as u8], text.as_bytes()].concat())
    };
    for good in ["1", "\"a\"", "{\"a\":[1,2,{}]}", " null ", "-0", "1e999", "\"\\ud800\"", "true"] {
        assert!(check_update(&json(2, good), &limits).is_ok(), "{good}");
        assert!(check_update(&json(5, good), &limits).is_ok(), "{good}");
    }
    assert!(check_update(&json(2, "undefined"), &limits).is_ok());
    assert!(matches!(refused(&json(5, "undefined")), UpdateError::Json { .. }));
    for bad in ["", "{", "nul", "01", "'a'", "[1,]", "\"\t\"", "1 2", "NaN"] {
        assert!(matches!(refused(&json(2, bad)), UpdateError::Json { .. }), "{bad}");
        assert!(matches!(refused(&json(5, bad)), UpdateError::Json { .. }), "{bad}");
    }
    let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let embed = |text: &[u8]| {
        let mut bytes = vec![5, 1, 1, b't'];
        yhub_encoding::write_var_bytes(&mut bytes, text);
        one(0, &bytes)
    };
    assert!(check_update(&embed(&deep(limits.max_depth)), &limits).is_ok());
    assert!(matches!(refused(&embed(&deep(limits.max_depth + 1))), UpdateError::Json { .. }));
    assert!(matches!(refused(&embed(&deep(500_000))), UpdateError::Json { .. }));
    // Values.
    let nested = |depth: usize| one(0, &[&[8, 1, 1, b't', 1][..], &[117u8, 1].repeat(depth), &[126]].concat());
    assert!(check_update(&nested(limits.max_depth), &limits).is_ok());
    assert!(matches!(refused(&nested(limits.max_depth + 1)), UpdateError::Decode(_)));
    assert!(matches!(refused(&nested(1_000_000)), UpdateError::Decode(_)));
    assert!(matches!(refused(&one(0, &[8, 1, 1, b't', 1, 115])), UpdateError::Decode(_)));
    // Strings.
    assert!(matches!(refused(&one(0, &[4, 1, 1, b't', 2, 0xc3, 0x28])), UpdateError::Decode(_)));
    assert!(matches!(refused(&one(0, &[4, 1, 1, 0xff, 1, b'a'])), UpdateError::Decode(_)));
    // Kinds.
    assert_eq!(refused(&one(0, &[11, 1, 1, b't', 1])), UpdateError::UnknownContent { at: 4, found: 11 });
    assert!(matches!(refused(&one(0, &[7, 1, 1, b't', 7])), UpdateError::UnknownType { found: 7, .. }));
    assert!(check_update(&one(0, &[7, 1, 1, b't', 5, 1, b'h']), &limits).is_ok(), "a hook has a name");
    // Empty structs. Items once were written so, and are made nothing of.
    for empty in [&[0, 0][..], &[10, 0]] {
        assert_eq!(refused(&one(0, empty)), UpdateError::EmptyStruct { at: 4 });
    }
    for empty in [&[1, 1, 1, b't', 0][..], &[4, 1, 1, b't', 0], &[8, 1, 1, b't', 0], &[2, 1, 1, b't', 0]] {
        let empty = one(0, empty);
        assert!(check_update(&empty, &limits).unwrap().is_empty());
        assert!(content_ids(&empty).unwrap().is_empty());
        let other = one(0, &[4, 1, 1, b't', 1, b'x']);
        assert_eq!(merge(&[&empty, &other]).unwrap(), other);
        assert_eq!(gc_merge(&[&empty, &other]).unwrap(), other);
        assert_eq!(integrate_merge(&[&empty]).unwrap(), [0, 0]);
        assert_eq!(diff(&empty, &StateVector::new()).unwrap(), [0, 0]);
        assert!(state_vector_of(&empty).unwrap().is_empty());
    }
    // In the middle of others.
    let middle =
        [&[1, 3, 9, 0][..], &[4, 1, 1, b't', 1, b'x'], &[0x84, 9, 0, 0], &[0x84, 9, 0, 1, b'y'], &[1, 9, 1, 0, 1]].concat();
    let whole = [&[1, 2, 9, 0][..], &[4, 1, 1, b't', 1, b'x'], &[0x84, 9, 0, 1, b'y'], &[1, 9, 1, 0, 1]].concat();
    assert!(check_update(&middle, &limits).is_ok());
    assert_eq!(merge(&[&middle[..], &[0, 0]]).unwrap(), whole);
    assert_eq!(diff(&middle, &StateVector::new()).unwrap(), whole);
    assert_eq!(inspect_update(&middle, &limits).unwrap().ids, content_ids(&whole).unwrap());
    assert_eq!(intersect(&middle, &content_ids(&whole).unwrap()).unwrap(), whole);
    // References to itself, or to what comes later.
    assert!(check_update(&one(5, &[0x84, 9, 4, 1, b'a']), &limits).is_ok());
    assert!(matches!(refused(&one(5, &[0x84, 9, 5, 1, b'a'])), UpdateError::ForwardReference { .. }));
    assert!(matches!(refused(&one(5, &[0x44, 9, 9, 1, b'a'])), UpdateError::ForwardReference { .. }));
    assert!(matches!(refused(&one(5, &[0x04, 0, 9, 5, 1, b'a'])), UpdateError::ForwardReference { .. }));
    assert!(check_update(&one(5, &[0x84, 8, 5, 1, b'a']), &limits).is_ok());
    // Clocks.
    let clock = |clock: &[u8], len: &[u8]| [&[1, 1, 9][..], clock, &[0], len, &[0]].concat();
    assert!(check_update(&clock(&[0xfe, 0xff, 0xff, 0xff, 0x0f], &[1]), &limits).is_ok());
    assert!(matches!(refused(&clock(&[0xff, 0xff, 0xff, 0xff, 0x0f], &[1])), UpdateError::ClockRange { .. }));
    assert!(matches!(refused(&clock(&[0x80, 0x80, 0x80, 0x80, 0x10], &[1])), UpdateError::ClockRange { .. }));
    assert!(matches!(refused(&clock(&[5], &[0xff, 0xff, 0xff, 0xff, 0x0f])), UpdateError::ClockRange { .. }));
    assert!(matches!(refused(&[0, 1, 9, 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]), UpdateError::ClockRange { .. }));
    // Clients of more than 53 bits.
    assert!(check_update(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 1, 0], &limits).is_ok());
    refused(&[1, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 1, 0]);
    // A client twice.
    for sections in [[9, 9, 8], [9, 8, 9]] {
        let mut update = vec![3];
        for (at, client) in sections.into_iter().enumerate() {
            update.extend([1, client, at as u8, 0, 1]);
        }
        update.push(0);
        assert!(matches!(check_update(&update, &limits), Err(GuardError::RepeatedClient { client: 9, .. })));
        // All the same, merging such updates loses nothing.
        assert_eq!(content_ids(&merge(&[&update, &update]).unwrap()).unwrap(), content_ids(&update).unwrap());
    }
}

#[test]
fn limits_are_kept() {
    let update = [2, 2, 9, 0, 0, 1, 0, 1, 1, 8, 0, 0, 1, 1, 5, 2, 0, 1, 2, 1];
    let default = Limits::default();
    let summary = check_update(&update, &default).unwrap();
    assert_eq!((summary.clients, summary.structs, summary.inserted_ids, summary.delete_ranges), (2, 3, 3, 2));
    for limits in [
        Limits { max_size_bytes: update.len() - 1, ..default },
        Limits { max_clients: 1, ..default },
        Limits { max_structs: 2, ..default },
        Limits { max_delete_ranges: 1, ..default },
    ] {
        assert!(check_update(&update, &limits).unwrap_err().is_over_limit(), "{limits:?}");
        assert!(inspect_update(&update, &limits).unwrap_err().is_over_limit(), "{limits:?}");
    }
    let exact = Limits { max_size_bytes: update.len(), max_clients: 2, max_structs: 3, max_delete_ranges: 2, max_depth: 0 };
    assert!(inspect_update(&update, &exact).is_ok());
}
