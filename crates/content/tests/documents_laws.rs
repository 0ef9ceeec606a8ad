//! Laws of integrated documents, over random documents, with yrs as second opinion; and documents that are made to hurt.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

mod support;

use rand::{Rng, seq::SliceRandom};
use support::{document, random, random_updates, yrs_gc};
use yhub_content::{
    ContentIds, Limits, UpdateReader, check_update, content_ids, gc_merge, integrate_merge, intersect, merge, state_vector_of,
};
use yhub_encoding::{write_var_string, write_var_uint};

/// The structs of an update, without what two writers may order differently: contents of items that live.
fn skeleton(update: &[u8]) -> Vec<String> {
    let mut reader = UpdateReader::new(update).unwrap();
    let mut all = Vec::new();
    while let Some(one) = reader.next_struct().unwrap() {
        all.push(format!("{:?} {} {:x} {:?} {:?} {:?}", one.id, one.len, one.info, one.origin, one.right_origin, one.parent));
    }
    all
}

#[test]
fn documents_are_those_of_yrs() {
    for seed in 0..150 {
        let mut rng = random(1_000 + seed);
        let updates = random_updates(&mut rng, 5, 60);
        let ours = gc_merge(&updates).unwrap();
        check_update(&ours, &Limits::default()).unwrap();
        let theirs = yrs_gc(&updates);
        assert_eq!(content_ids(&ours).unwrap(), content_ids(&theirs).unwrap(), "seed {seed}");
        assert_eq!(skeleton(&ours), skeleton(&theirs), "seed {seed}");
        let made = document(&updates);
        assert_eq!(document(&[&ours]), made, "seed {seed}");
        let full = integrate_merge(&updates).unwrap();
        check_update(&full, &Limits::default()).unwrap();
        assert_eq!(document(&[&full]), made, "seed {seed}");
    }
}

#[test]
fn documents_do_not_depend_on_order_or_grouping() {
    for seed in 0..60 {
        let mut rng = random(2_000 + seed);
        let mut updates = random_updates(&mut rng, 4, 50);
        let collected = gc_merge(&updates).unwrap();
        updates.shuffle(&mut rng);
        assert_eq!(gc_merge(&updates).unwrap(), collected, "seed {seed}");
        let groups: Vec<Vec<u8>> = updates.chunks(rng.random_range(1..8)).map(|group| merge(group).unwrap()).collect();
        assert_eq!(gc_merge(&groups).unwrap(), collected, "seed {seed}");
        assert_eq!(gc_merge(&[&collected]).unwrap(), collected, "seed {seed}: collecting again changes something");
        // Collected in parts, then together: the same state, although more places may be forgotten.
        let (early, late) = updates.split_at(updates.len() / 2);
        let parts = [gc_merge(early).unwrap(), gc_merge(late).unwrap()];
        let again = gc_merge(&parts).unwrap();
        assert_eq!(content_ids(&again).unwrap(), content_ids(&collected).unwrap(), "seed {seed}");
    }
}

#[test]
fn what_is_missing_waits_and_heals() {
    for seed in 0..60 {
        let mut rng = random(3_000 + seed);
        let updates = random_updates(&mut rng, 4, 50);
        let collected = gc_merge(&updates).unwrap();
        let (mut some, missing): (Vec<_>, Vec<_>) = updates.iter().cloned().partition(|_| rng.random_bool(0.7));
        if some.is_empty() {
            some = updates.clone();
        }
        let partial = gc_merge(&some).unwrap();
        check_update(&partial, &Limits::default()).unwrap();
        let ids: Vec<_> = some.iter().map(|update| content_ids(update).unwrap()).collect();
        let ids = ContentIds::union(&ids);
        let kept = content_ids(&partial).unwrap();
        assert_eq!(kept.inserts, ids.inserts, "seed {seed}: something that waits is lost");
        assert!(kept.deletes.contains_all(&ids.deletes), "seed {seed}: a deletion that waits is lost");
        assert_eq!(state_vector_of(&partial).unwrap(), state_vector_of(&merge(&some).unwrap()).unwrap(), "seed {seed}");
        // When the rest arrives nothing is missing any more.
        let mut all = vec![partial];
        all.extend(missing);
        let healed = gc_merge(&all).unwrap();
        assert_eq!(content_ids(&healed).unwrap(), content_ids(&collected).unwrap(), "seed {seed}");
        assert_eq!(document(&[&healed]).0, document(&[&collected]).0, "seed {seed}");
    }
}

#[test]
fn any_part_of_a_document_is_integrated_without_loss() {
    for seed in 0..60 {
        let mut rng = random(4_000 + seed);
        let updates = random_updates(&mut rng, 4, 40);
        let whole = merge(&updates).unwrap();
        let wanted: Vec<_> = updates.iter().filter(|_| rng.random_bool(0.5)).map(|update| content_ids(update).unwrap()).collect();
        let wanted = ContentIds::union(&wanted);
        let part = intersect(&whole, &wanted).unwrap();
        for made in [gc_merge(&[&part]).unwrap(), integrate_merge(&[&part]).unwrap()] {
            check_update(&made, &Limits::default()).unwrap();
            let ids = content_ids(&made).unwrap();
            assert_eq!(ids.inserts, wanted.inserts, "seed {seed}");
            assert!(ids.deletes.contains_all(&wanted.deletes), "seed {seed}");
        }
    }
}

/// An update of client 1 with these structs, and the deletion of its first `deleted` clocks.
fn of_one_client(structs: u64, bytes: &[u8], deleted: u64) -> Vec<u8> {
    let mut out = vec![1];
    write_var_uint(&mut out, structs);
    out.extend([1, 0]);
    out.extend_from_slice(bytes);
    if deleted == 0 {
        out.push(0);
    } else {
        out.extend([1, 1, 1, 0]);
        write_var_uint(&mut out, deleted);
    }
    out
}

#[test]
fn nesting_costs_no_stack() {
    // A node in a node in a node: each has the one before as parent.
    const DEPTH: u64 = 300_000;
    let mut bytes = vec![7, 1];
    write_var_string(&mut bytes, "t");
    bytes.push(1);
    for clock in 1..DEPTH {
        bytes.extend([7, 0, 1]);
        write_var_uint(&mut bytes, clock - 1);
        bytes.push(1);
    }
    let kept = of_one_client(DEPTH, &bytes, 0);
    check_update(&kept, &Limits::default()).unwrap();
    let deleted = of_one_client(DEPTH, &bytes, 1);
    // A small stack, so that recursion would be seen.
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let made = thread.spawn(move || (gc_merge(&[&kept]).unwrap() == kept, gc_merge(&[deleted]).unwrap()));
    let (kept_is_the_same, collected) = made.unwrap().join().unwrap();
    assert!(kept_is_the_same);
    // The outermost is deleted, all others are forgotten: two structs.
    assert_eq!(skeleton(&collected).len(), 2);
    assert_eq!(content_ids(&collected).unwrap().deletes.id_count(), DEPTH);
}

#[test]
fn a_chain_in_the_wrong_order_costs_no_stack() {
    // Client n refers to client n-1, and clients come descending: the first struct needs all others.
    const CLIENTS: u64 = 100_000;
    let mut update = Vec::new();
    write_var_uint(&mut update, CLIENTS);
    for client in (1..=CLIENTS).rev() {
        update.push(1);
        write_var_uint(&mut update, client);
        update.push(0);
        if client == 1 {
            update.extend([4, 1, 1, b't', 1, b'x']);
        } else {
            update.push(0x84);
            write_var_uint(&mut update, client - 1);
            update.extend([0, 1, b'x']);
        }
    }
    update.push(0);
    check_update(&update, &Limits::default()).unwrap();
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    assert!(thread.spawn(move || gc_merge(&[&update]).unwrap() == update).unwrap().join().unwrap());
}

#[test]
fn circles_wait() {
    // Two that are each other's left neighbour, one that is its own through a third, and one that is well.
    let update = [
        &[4][..],
        &[1, 9, 0, 0x84, 8, 0, 1, b'a'],
        &[1, 8, 0, 0x84, 9, 0, 1, b'b'],
        &[1, 7, 0, 0xc4, 9, 0, 6, 0, 1, b'c'],
        &[1, 6, 0, 4, 1, 1, b't', 1, b'd'],
        &[1, 9, 1, 0, 1],
    ]
    .concat();
    check_update(&update, &Limits::default()).unwrap();
    assert_eq!(gc_merge(&[&update]).unwrap(), update);
}

#[test]
fn one_long_text_divided_everywhere_takes_linear_time() {
    // A megabyte of text of client 2, and client 1 puts something behind every tenth character.
    let text = "0123456789".repeat(100_000);
    let mut update = vec![2, 1, 2, 0, 4, 1, 1, b't'];
    write_var_string(&mut update, &text);
    write_var_uint(&mut update, 99_999);
    update.extend([1, 0]);
    for at in 1..100_000u64 {
        update.push(0xc4);
        for clock in [at * 10 - 1, at * 10] {
            update.push(2);
            write_var_uint(&mut update, clock);
        }
        update.extend([1, b'x']);
    }
    update.push(0);
    check_update(&update, &Limits::default()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test of speed")]
    let start = std::time::Instant::now();
    let made = gc_merge(&[&update]).unwrap();
    let took = start.elapsed();
    println!("{} bytes took {took:?}", update.len());
    assert_eq!(skeleton(&made).len(), 199_999);
    assert!(took.as_secs() < 10, "took {took:?}: is it quadratic?");
}
