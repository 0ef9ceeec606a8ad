//! Laws of id sets, against sets of single ids as a model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use yhub_content::{ContentIds, IdRange, IdSet, Ids};
use yhub_encoding::Reader;

type Model = BTreeSet<(u64, u32)>;

/// Client, clock, length. Few and close together, so that ranges meet.
fn adds() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    prop::collection::vec((prop_oneof![0u64..4, Just((1 << 53) - 1)], 0u32..60, 1u32..9), 0..40)
}

/// Many ranges of one client, now and then far away: lists long enough to be jumped through.
fn long() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    prop::collection::vec((Just(1u64), prop_oneof![0u32..3000, 0u32..60], 1u32..4), 0..200)
}

fn any_adds() -> impl Strategy<Value = Vec<(u64, u32, u32)>> {
    prop_oneof![adds(), long()]
}

fn range(clock: u32, len: u32) -> IdRange {
    IdRange::new(clock, len).expect("the strategies make no empty range")
}

fn inserted(adds: &[(u64, u32, u32)]) -> IdSet {
    let mut set = IdSet::new();
    for &(client, clock, len) in adds {
        set.insert(client, range(clock, len));
    }
    set
}

fn model(adds: &[(u64, u32, u32)]) -> Model {
    adds.iter().flat_map(|&(client, clock, len)| (clock..clock + len).map(move |clock| (client, clock))).collect()
}

fn ids(set: &IdSet) -> Model {
    set.iter()
        .flat_map(|(client, ranges)| ranges.iter().map(move |range| (client, *range)))
        .flat_map(|(client, range)| (range.clock()..range.end()).map(move |clock| (client, clock)))
        .collect()
}

/// Holds exactly `expected`, in normal form.
fn check(set: &IdSet, expected: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(&ids(set), expected);
    prop_assert_eq!(set.id_count(), expected.len() as u64);
    for (client, ranges) in set.iter() {
        prop_assert!(!ranges.is_empty(), "client {} has no range", client);
        for pair in ranges.windows(2) {
            prop_assert!(pair[0].end() < pair[1].clock(), "{:?} overlap or touch", pair);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn insert_is_union(a in any_adds(), b in any_adds()) {
        let (set_a, set_b) = (inserted(&a), inserted(&b));
        check(&set_a, &model(&a))?;
        let both = &model(&a) | &model(&b);
        check(&IdSet::union([&set_a, &set_b]), &both)?;
        let mut grown = set_a.clone();
        grown.insert_all(&set_b);
        check(&grown, &both)?;
        let collected: IdSet = a.iter().chain(&b).map(|&(client, clock, len)| (client, range(clock, len))).collect();
        prop_assert_eq!(&collected, &grown);
        // In place and at once, with three, and in another order.
        prop_assert_eq!(&IdSet::union([&set_b, &set_a, &set_b]), &grown);
    }

    #[test]
    fn difference_and_intersection(a in any_adds(), b in any_adds()) {
        let (set_a, set_b) = (inserted(&a), inserted(&b));
        let (model_a, model_b) = (model(&a), model(&b));
        let without = set_a.difference(&set_b);
        let shared = set_a.intersection(&set_b);
        check(&without, &(&model_a - &model_b))?;
        check(&shared, &(&model_a & &model_b))?;
        prop_assert_eq!(IdSet::union([&without, &shared]), set_a.clone());
        prop_assert_eq!(set_a.contains_all(&set_b), model_b.is_subset(&model_a));
        prop_assert!(set_a.contains_all(&shared) && set_b.contains_all(&shared));
        prop_assert!(set_a.difference(&set_a).is_empty());
        for &(client, clock) in &model_b {
            prop_assert_eq!(set_a.contains(client, clock), model_a.contains(&(client, clock)));
        }
    }

    #[test]
    fn a_slice_covers_its_window(a in any_adds(), client in 0u64..4, clock in 0u32..60, len in 1u32..40) {
        let set = inserted(&a);
        let model = model(&a);
        let mut at = clock;
        let mut before = None;
        for (part, inside) in set.slice(client, range(clock, len)) {
            prop_assert_eq!(part.clock(), at);
            prop_assert!(before != Some(inside), "two pieces where one would do");
            for clock in part.clock()..part.end() {
                prop_assert_eq!(model.contains(&(client, clock)), inside);
            }
            at = part.end();
            before = Some(inside);
        }
        prop_assert_eq!(at, clock + len);
    }

    #[test]
    fn both_codings_are_read_back(a in any_adds(), b in any_adds()) {
        let set = inserted(&a);
        let mut bytes = set.to_bytes();
        let plain = bytes.len();
        prop_assert_eq!(IdSet::from_bytes(&bytes), Ok(set.clone()));
        for end in 0..plain {
            prop_assert!(IdSet::from_bytes(&bytes[..end]).is_err());
        }
        set.encode_v1(&mut bytes);
        prop_assert_eq!(IdSet::decode_v1(&mut Reader::new(&bytes[plain..])), Ok(set.clone()));
        let both = ContentIds { inserts: set, deletes: inserted(&b) };
        prop_assert_eq!(ContentIds::from_bytes(&both.to_bytes()), Ok(both));
    }

    #[test]
    fn a_delete_set_may_repeat_clients(a in adds()) {
        // One entry a range, as nobody writes it.
        let mut bytes = Vec::new();
        yhub_encoding::write_var_uint(&mut bytes, a.len() as u64);
        for &(client, clock, len) in &a {
            for value in [client, 1, u64::from(clock), u64::from(len)] {
                yhub_encoding::write_var_uint(&mut bytes, value);
            }
        }
        check(&IdSet::decode_v1(&mut Reader::new(&bytes)).unwrap(), &model(&a))?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..40)) {
        for set in [IdSet::from_bytes(&bytes), IdSet::decode_v1(&mut Reader::new(&bytes))].into_iter().flatten() {
            prop_assert_eq!(IdSet::from_bytes(&set.to_bytes()), Ok(set));
        }
        let _ = ContentIds::from_bytes(&bytes);
    }
}

#[test]
fn clocks_end_below_2_to_the_32() {
    let last = IdRange::between(u32::MAX - 1, u32::MAX).unwrap();
    let set: IdSet = [(1, last)].into_iter().collect();
    assert_eq!(IdSet::from_bytes(&set.to_bytes()), Ok(set.clone()));
    assert_eq!(set.ranges(1), [last]);
    assert_eq!(IdRange::new(u32::MAX, 1), None);
    assert_eq!(IdRange::new(0, 0), None);
    // Client 1, one range, clock 2^32-2, two ids.
    assert!(IdSet::from_bytes(&[1, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1]).is_err());
    assert!(IdSet::decode_v1(&mut Reader::new(&[1, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 2])).is_err());
    assert!(IdSet::decode_v1(&mut Reader::new(&[1, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1])).is_ok());
    // A count that nothing backs.
    assert!(IdSet::from_bytes(&[1, 1, 0xff, 0xff, 0xff, 0x7f, 0, 0]).is_err());
}
