//! Laws of the algebra of updates, over random documents.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

mod support;

use rand::{Rng, seq::SliceRandom};
use support::{document, random, random_updates};
use yhub_content::{
    ContentIds, Limits, StateVector, UpdateReader, check_update, content_ids, diff, intersect, merge, state_vector_of,
};

fn ids_of(updates: &[Vec<u8>]) -> ContentIds {
    let ids: Vec<_> = updates.iter().map(|update| content_ids(update).unwrap()).collect();
    ContentIds::union(&ids)
}

#[test]
fn merging_in_any_order_or_twice_gives_the_same_content() {
    for seed in 0..40 {
        let mut rng = random(seed);
        let mut updates = random_updates(&mut rng, 4, 40);
        let whole = merge(&updates).unwrap();
        check_update(&whole, &Limits::default()).unwrap();
        let (ids, made) = (ids_of(&updates), document(&updates));
        assert_eq!(content_ids(&whole).unwrap(), ids, "seed {seed}");
        assert_eq!(document(&[&whole]), made, "seed {seed}");

        updates.shuffle(&mut rng);
        assert_eq!(merge(&updates).unwrap(), whole, "seed {seed}: order matters although nothing overlaps");

        // In groups, some of them overlapping, and the whole among them.
        let mut groups: Vec<Vec<u8>> = updates.chunks(rng.random_range(2..6)).map(|group| merge(group).unwrap()).collect();
        groups.extend(updates.iter().filter(|_| rng.random_bool(0.3)).cloned());
        if rng.random_bool(0.5) {
            groups.push(whole.clone());
        }
        groups.shuffle(&mut rng);
        let again = merge(&groups).unwrap();
        check_update(&again, &Limits::default()).unwrap();
        assert_eq!(content_ids(&again).unwrap(), ids, "seed {seed}");
        assert_eq!(document(&[&again]), made, "seed {seed}");
    }
}

#[test]
fn overlapping_inputs_with_holes_lose_nothing() {
    for seed in 100..160 {
        let mut rng = random(seed);
        let updates = random_updates(&mut rng, 3, 30);
        let whole = merge(&updates).unwrap();
        let all = content_ids(&whole).unwrap();
        // Parts of the whole cut anywhere, together with everything.
        let mut parts: Vec<Vec<u8>> = (0..6)
            .map(|_| {
                let wanted: ContentIds = ids_of(&updates.iter().filter(|_| rng.random_bool(0.4)).cloned().collect::<Vec<_>>());
                let mut inserts = yhub_content::IdSet::new();
                for (client, ranges) in wanted.inserts.iter() {
                    for range in ranges {
                        let from = rng.random_range(range.clock()..range.end());
                        let to = rng.random_range(from..=range.end());
                        if let Some(range) = yhub_content::IdRange::between(from, to) {
                            inserts.insert(client, range);
                        }
                    }
                }
                intersect(&whole, &ContentIds { inserts, deletes: wanted.deletes }).unwrap()
            })
            .collect();
        let partial = merge(&parts).unwrap();
        check_update(&partial, &Limits::default()).unwrap();
        assert_eq!(content_ids(&partial).unwrap(), ids_of(&parts), "seed {seed}");

        parts.extend(updates.iter().cloned());
        parts.shuffle(&mut rng);
        let merged = merge(&parts).unwrap();
        check_update(&merged, &Limits::default()).unwrap();
        assert_eq!(content_ids(&merged).unwrap(), all, "seed {seed}");
        // A pair of surrogates may have been cut in a part; everything else is the same. Lengths are, in any case.
        assert_eq!(document(&[&merged]).0, document(&updates).0, "seed {seed}");
    }
}

/// An update with its delete set in one order, whoever wrote it.
fn normal(update: &[u8]) -> Vec<u8> {
    diff(update, &StateVector::new()).unwrap()
}

#[test]
fn collected_documents_in_pieces_are_merged_as_yrs_does() {
    for seed in 400..440 {
        let mut rng = random(seed);
        let whole = yhub_content::gc_merge(&random_updates(&mut rng, 3, 60)).unwrap();
        let ids = content_ids(&whole).unwrap();
        // Each id goes into one of three pieces, in short ranges: GCs are cut, and meet again.
        let mut pieces: Vec<ContentIds> = (0..3).map(|_| ContentIds::new()).collect();
        for (client, ranges) in ids.inserts.iter() {
            for range in ranges {
                let mut at = range.clock();
                while at < range.end() {
                    let end = (at + rng.random_range(1..8)).min(range.end());
                    let piece = &mut pieces[rng.random_range(0..3)];
                    piece.inserts.insert(client, yhub_content::IdRange::between(at, end).unwrap());
                    at = end;
                }
            }
        }
        pieces[0].deletes = ids.deletes.clone();
        let mut pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| intersect(&whole, piece).unwrap()).collect();
        // Surrogates may be cut here, and yrs makes something else of them.
        pieces.shuffle(&mut rng);
        let merged = merge(&pieces).unwrap();
        assert_eq!(content_ids(&merged).unwrap(), ids, "seed {seed}");
        let theirs = yrs::merge_updates_v1(&pieces).unwrap();
        let (ours, theirs) = (normal(&merged), normal(&theirs));
        let kinds = |update: &[u8]| {
            let mut reader = UpdateReader::new(update).unwrap();
            let mut kinds = Vec::new();
            while let Some(one) = reader.next_struct().unwrap() {
                kinds.push((one.id, one.len, one.content_ref(), one.origin, one.right_origin));
            }
            kinds
        };
        assert_eq!(kinds(&ours), kinds(&theirs), "seed {seed}");
    }
}

#[test]
fn a_difference_and_what_was_known_are_the_whole() {
    for seed in 200..240 {
        let mut rng = random(seed);
        let updates = random_updates(&mut rng, 4, 40);
        let whole = merge(&updates).unwrap();
        let made = document(&updates);
        // Up to any point, a document that had all updates until then.
        let known = merge(&updates[..rng.random_range(1..=updates.len())]).unwrap();
        let vector = state_vector_of(&known).unwrap();
        let missing = diff(&whole, &vector).unwrap();
        check_update(&missing, &Limits::default()).unwrap();
        assert_eq!(document(&[&known, &missing]), made, "seed {seed}");
        assert_eq!(content_ids(&merge(&[&known, &missing]).unwrap()).unwrap(), content_ids(&whole).unwrap(), "seed {seed}");
        // Nothing that the vector covers is sent again.
        let sent = content_ids(&missing).unwrap().inserts;
        for (client, ranges) in sent.iter() {
            assert!(ranges[0].clock() >= vector.get(client), "seed {seed}");
        }
        // Who has everything gets only deletions.
        let nothing = diff(&whole, &state_vector_of(&whole).unwrap()).unwrap();
        assert!(content_ids(&nothing).unwrap().inserts.is_empty());
        assert_eq!(diff(&whole, &StateVector::new()).unwrap(), whole, "seed {seed}");
    }
}

#[test]
fn a_difference_can_begin_anywhere() {
    for seed in 500..560 {
        let mut rng = random(seed);
        let updates = random_updates(&mut rng, 3, 40);
        // With holes, so that Skips are met wherever the difference begins.
        let kept: Vec<_> = updates.iter().filter(|_| rng.random_bool(0.8)).cloned().collect();
        let whole = merge(&kept).unwrap();
        let ids = content_ids(&whole).unwrap();
        let vector: StateVector =
            ids.inserts.iter().map(|(client, ranges)| (client, rng.random_range(0..=ranges[ranges.len() - 1].end()))).collect();
        let missing = diff(&whole, &vector).unwrap();
        check_update(&missing, &Limits::default()).unwrap();
        // Exactly the ids from the clock in the vector on, and all deletions.
        let from_there = |(client, ranges): (u64, &[yhub_content::IdRange])| {
            let from = vector.get(client);
            let cut = |range: &yhub_content::IdRange| yhub_content::IdRange::between(range.clock().max(from), range.end());
            ranges.iter().filter_map(cut).map(|range| (client, range)).collect::<Vec<_>>()
        };
        let expected = ids.inserts.iter().flat_map(from_there).collect();
        assert_eq!(content_ids(&missing).unwrap(), ContentIds { inserts: expected, deletes: ids.deletes.clone() }, "seed {seed}");
        // No client begins with a Skip.
        let mut reader = UpdateReader::new(&missing).unwrap();
        let mut before = None;
        while let Some(one) = reader.next_struct().unwrap() {
            assert!(before == Some(one.id.client) || one.content_ref() != 10, "seed {seed}");
            before = Some(one.id.client);
        }
    }
}

#[test]
fn parts_and_the_rest_are_the_whole() {
    for seed in 300..330 {
        let mut rng = random(seed);
        let updates = random_updates(&mut rng, 3, 40);
        let whole = merge(&updates).unwrap();
        let all = content_ids(&whole).unwrap();
        let some = ids_of(&updates.iter().filter(|_| rng.random_bool(0.5)).cloned().collect::<Vec<_>>());
        let part = intersect(&whole, &some).unwrap();
        let rest = intersect(&whole, &all.difference(&some)).unwrap();
        assert_eq!(content_ids(&part).unwrap(), some, "seed {seed}");
        assert_eq!(document(&[&part, &rest]), document(&updates), "seed {seed}");
        assert_eq!(intersect(&whole, &all).unwrap(), whole, "seed {seed}");
    }
}

#[test]
fn twenty_thousand_small_updates_merge_in_no_time() {
    // Each inserts one character after the one before; every second one is deleted again.
    let updates: Vec<Vec<u8>> = (0..20_000u32)
        .map(|clock| {
            let mut out = vec![1, 1, 5];
            yhub_encoding::write_var_uint(&mut out, u64::from(clock));
            if clock == 0 {
                out.extend([4, 1, 1, b't', 1, b'x']);
            } else {
                out.extend([0x84, 5]);
                yhub_encoding::write_var_uint(&mut out, u64::from(clock - 1));
                out.extend([1, b'x']);
            }
            out.push(u8::from(clock % 2 == 1));
            if clock % 2 == 1 {
                out.extend([5, 1]);
                yhub_encoding::write_var_uint(&mut out, u64::from(clock));
                out.push(1);
            }
            out
        })
        .collect();
    #[expect(clippy::disallowed_methods, reason = "a test of speed")]
    let start = std::time::Instant::now();
    let merged = merge(&updates).unwrap();
    let took = start.elapsed();
    println!("merged {} in {took:?}", updates.len());
    assert!(took.as_millis() < 2_000, "took {took:?}: is it quadratic?");
    let mut reader = UpdateReader::new(&merged).unwrap();
    let mut structs = 0;
    while reader.next_struct().unwrap().is_some() {
        structs += 1;
    }
    assert_eq!(structs, 20_000);
}
