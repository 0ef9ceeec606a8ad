//! Laws of id maps, against maps of single ids as a model and against the order of attributes that the format asks for.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use yhub_content::{ContentAttribute, ContentIds, ContentMap, IdMap, IdRange, IdSet, Ids};
use yhub_encoding::Any;

/// Client, clock, length, attributes.
type Entry = (u64, u32, u32, Vec<u8>);
type Model = BTreeMap<(u64, u32), Vec<u8>>;

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let attributes = prop::collection::btree_set(0u8..5, 0..3).prop_map(|set| set.into_iter().collect());
    let attributes = attributes.prop_flat_map(|list: Vec<u8>| Just(list).prop_shuffle());
    prop::collection::vec((0u64..3, 0u32..30, 1u32..9, attributes), 0..14)
}

fn attribute(number: u8) -> ContentAttribute {
    ContentAttribute::new(["insert", "insertAt", "x", "insert:k", "delete"][usize::from(number)], f64::from(number))
}

fn map(entries: &[Entry]) -> IdMap {
    let lists: Vec<Vec<ContentAttribute>> =
        entries.iter().map(|(.., list)| list.iter().copied().map(attribute).collect()).collect();
    IdMap::from_ranges(entries.iter().zip(&lists).map(|(&(client, clock, len, _), list)| {
        (client, IdRange::new(clock, len).expect("the strategy makes no empty range"), &list[..])
    }))
}

fn number(attribute: &ContentAttribute) -> u8 {
    attribute.value.as_f64().expect("made from a number") as u8
}

fn ids(map: &IdMap) -> Model {
    map.iter()
        .flat_map(|(client, range, attributes)| {
            (range.clock()..range.end()).map(move |clock| ((client, clock), attributes.iter().map(number).collect()))
        })
        .collect()
}

fn sets(model: &Model) -> BTreeMap<(u64, u32), BTreeSet<u8>> {
    model.iter().map(|(&id, list)| (id, list.iter().copied().collect())).collect()
}

/// The rule of the format, step by step on a list, for one client.
fn by_the_book(mut list: Vec<(u32, u32, Vec<u8>)>) -> Vec<(u32, u32, Vec<u8>)> {
    list.sort_by_key(|&(clock, ..)| clock);
    let mut i = 0;
    while i + 1 < list.len() {
        let ((a, a_len, a_list), (b, b_len, b_list)) = (list[i].clone(), list[i + 1].clone());
        if a < b {
            if a + a_len > b {
                list[i].1 = b - a;
                list.insert(i + 1, (b, a + a_len - b, a_list));
            }
            i += 1;
            continue;
        }
        let n = a_len.min(b_len);
        let lacking = b_list.iter().filter(|item| !a_list.contains(item));
        list[i] = (a, n, a_list.iter().chain(lacking).copied().collect());
        if a_len == b_len {
            list.remove(i + 1);
        } else {
            let longer = if a_len > b_len { a_list } else { b_list };
            list[i + 1] = (a + n, a_len.max(b_len) - n, longer);
            let mut at = i + 1;
            while at + 1 < list.len() && list[at + 1].0 < list[at].0 {
                list.swap(at, at + 1);
                at += 1;
            }
        }
    }
    let mut joined: Vec<(u32, u32, Vec<u8>)> = Vec::new();
    for (clock, len, attributes) in list {
        let sorted = |list: &[u8]| list.iter().copied().collect::<BTreeSet<u8>>();
        match joined.last_mut() {
            Some(last) if last.0 + last.1 == clock && sorted(&last.2) == sorted(&attributes) => last.1 += len,
            _ => joined.push((clock, len, attributes)),
        }
    }
    joined
}

proptest! {
    #[test]
    fn union_is_by_the_book(a in entries(), b in entries()) {
        let all: Vec<Entry> = a.iter().chain(&b).cloned().collect();
        let united = map(&all);
        let found: Vec<Entry> = united.iter()
            .map(|(client, range, attributes)| (client, range.clock(), range.len(), attributes.iter().map(number).collect()))
            .collect();
        let expected: Vec<Entry> = (0..3)
            .flat_map(|client| {
                let list = all.iter().filter(|entry| entry.0 == client).map(|(_, c, l, list)| (*c, *l, list.clone())).collect();
                by_the_book(list).into_iter().map(move |(clock, len, list)| (client, clock, len, list))
            })
            .collect();
        prop_assert_eq!(found, expected);

        // The same content and, as sets, the same attributes when united in two steps.
        let (map_a, map_b) = (map(&a), map(&b));
        let in_steps = IdMap::union([&map_a, &map_b]);
        prop_assert_eq!(sets(&ids(&in_steps)), sets(&ids(&united)));
        prop_assert_eq!(&in_steps.to_id_set(), &IdSet::union([&map_a.to_id_set(), &map_b.to_id_set()]));
    }

    #[test]
    fn difference_and_intersection(a in entries(), b in entries()) {
        let (map_a, map_b) = (map(&a), map(&b));
        let (model_a, model_b) = (ids(&map_a), ids(&map_b));
        let set_b = map_b.to_id_set();

        let outside: Model = model_a.iter().filter(|(id, _)| !model_b.contains_key(id)).map(|(id, l)| (*id, l.clone())).collect();
        let inside: Model = model_a.iter().filter(|(id, _)| model_b.contains_key(id)).map(|(id, l)| (*id, l.clone())).collect();
        prop_assert_eq!(ids(&map_a.difference(&set_b)), outside.clone());
        prop_assert_eq!(ids(&map_a.difference(&map_b)), outside);
        prop_assert_eq!(ids(&map_a.restricted_to(&set_b)), inside.clone());
        let both: Model = inside.iter().map(|(id, list)| (*id, [&list[..], &model_b[id]].concat())).collect();
        prop_assert_eq!(ids(&map_a.intersection(&map_b)), both);
        prop_assert_eq!(map_a.to_id_set().difference(&map_b), map_a.to_id_set().difference(&set_b));
        prop_assert_eq!(map_a.to_id_set().intersection(&map_b), map_a.to_id_set().intersection(&set_b));

        let wanted = map_a.filter(|attributes| attributes.values("x").next().is_some());
        let expected: Model = model_a.iter().filter(|(_, list)| list.contains(&2)).map(|(id, l)| (*id, l.clone())).collect();
        prop_assert_eq!(ids(&wanted), expected);

        let mut at = 5;
        for (part, attributes) in map_a.slice(1, IdRange::between(5, 25).unwrap()) {
            prop_assert_eq!(part.clock(), at);
            at = part.end();
            for clock in part.clock()..part.end() {
                prop_assert_eq!(model_a.get(&(1, clock)).cloned(), attributes.map(|list| list.iter().map(number).collect()));
            }
        }
        prop_assert_eq!(at, 25);
    }

    #[test]
    fn maps_are_read_back(a in entries(), b in entries()) {
        let both = ContentMap { inserts: map(&a), deletes: map(&b) };
        let bytes = both.to_bytes();
        let read = ContentMap::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &both);
        prop_assert_eq!(read.to_bytes(), bytes.clone());
        for end in 0..bytes.len() {
            prop_assert!(ContentMap::from_bytes(&bytes[..end]).is_err());
        }
        // Made of parts of another map, it has tables with more than it needs: they are not written.
        let part = both.difference(&ContentIds { inserts: both.inserts.to_id_set(), deletes: IdSet::new() });
        prop_assert_eq!(part.to_bytes(), ContentMap { inserts: IdMap::new(), deletes: map(&b) }.to_bytes());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..60)) {
        if let Ok(map) = IdMap::from_bytes(&bytes) {
            prop_assert_eq!(IdMap::from_bytes(&map.to_bytes()), Ok(map));
        }
        let _ = ContentMap::from_bytes(&bytes);
    }

    #[test]
    fn damaged_maps_never_panic(a in entries(), at: prop::sample::Index, byte: u8) {
        let mut bytes = map(&a).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(map) = IdMap::from_bytes(&bytes) {
            prop_assert_eq!(IdMap::from_bytes(&map.to_bytes()), Ok(map));
        }
    }
}

#[test]
fn attributions_stand_in_their_order() {
    let ids: IdSet = [(7, IdRange::new(3, 2).unwrap())].into_iter().collect();
    let ids = ContentIds { inserts: ids.clone(), deletes: ids };
    let custom = ["a", "b", "a"].map(|key| (key.into(), "v".into()));
    let map = ContentMap::attribution(&ids, Some("alice"), 1_719_792_000_000, &custom);
    let at = Any::Number(1_719_792_000_000.0);
    let expect = |kind: &str, found: &IdMap| {
        let (_, range, attributes) = found.iter().next().unwrap();
        assert_eq!(range, IdRange::new(3, 2).unwrap());
        let found: Vec<ContentAttribute> = attributes.iter().cloned().collect();
        let expected = [
            ContentAttribute::new(kind, "alice"),
            ContentAttribute::new(&format!("{kind}At")[..], at.clone()),
            ContentAttribute::new(&format!("{kind}:a")[..], "v"),
            ContentAttribute::new(&format!("{kind}:b")[..], "v"),
        ];
        assert_eq!(found, expected);
    };
    expect("insert", &map.inserts);
    expect("delete", &map.deletes);
    assert_eq!(map.to_ids(), ids);

    let nobody = ContentMap::attribution(&ids, None, 1_719_792_000_000, &[]);
    let (.., attributes) = nobody.inserts.iter().next().unwrap();
    assert_eq!(attributes.iter().cloned().collect::<Vec<_>>(), [ContentAttribute::new("insertAt", at)]);
    assert!(ContentMap::attribution(&ContentIds::new(), Some("alice"), 1, &custom).is_empty());
}

#[test]
fn ids_must_be_given_before_they_are_used() {
    // Client 1, one range [0, 1) with one attribute: id 0, name 0 = "n", null.
    let good = [1, 1, 1, 0, 0, 1, 0, 0, 1, b'n', 0x7e];
    assert_eq!(IdMap::from_bytes(&good).unwrap().ranges(1).len(), 1);
    for at in [6, 7] {
        let mut bad = good;
        bad[at] = 1;
        assert!(IdMap::from_bytes(&bad).is_err(), "byte {at}");
    }
    // Clients beyond 2^53-1, by their sum.
    let far = [2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0, 0, 1, 1, 0, 0, 0];
    assert!(IdMap::from_bytes(&far).is_err());
    assert!(IdMap::from_bytes(&[&[1], &far[1..]].concat()).is_ok());
    // Counts that nothing backs: clients, ranges, attributes.
    for bytes in [&[0xff, 0xff, 0x7f, 1][..], &[1, 1, 0xff, 0xff, 0x7f, 0, 0, 0], &[1, 1, 1, 0, 0, 0xff, 0x7f, 0]] {
        assert!(IdMap::from_bytes(bytes).is_err());
    }
}

#[test]
fn long_lists_of_attributes_are_sets_too() {
    let names: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
    let list: Vec<ContentAttribute> = names.iter().map(|name| ContentAttribute::new(&name[..], 0.0)).collect();
    let reversed: Vec<ContentAttribute> = list.iter().rev().cloned().collect();
    let [first, second, overlapping] = [(0, 5), (5, 9), (3, 9)].map(|(a, b)| IdRange::between(a, b).unwrap());
    let touching = IdMap::from_ranges([(1, first, &list[..]), (1, second, &reversed[..])]);
    assert_eq!(touching.range_count(), 1);
    let map = IdMap::from_ranges([(1, first, &list[..]), (1, overlapping, &reversed[..])]);
    assert_eq!(map.range_count(), 1);
    assert_eq!(map.iter().next().unwrap().2.iter().len(), 100);
    assert_eq!(IdMap::from_bytes(&map.to_bytes()), Ok(map));
}
