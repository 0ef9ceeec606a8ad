//! Cases of stored assets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId};

use super::{
    AssetStoreRig,
    support::{odd_rooms, room},
};
use crate::{Allowance, AssetStore, Brought, Stored, StoredName, StoredObject};

const KINDS: [AssetIdKind; 4] =
    [AssetIdKind::YDoc { gc: true }, AssetIdKind::YDoc { gc: false }, AssetIdKind::ContentMap, AssetIdKind::ContentIds];

fn id(kind: AssetIdKind, room: &RoomId, t: &str) -> AssetId {
    AssetId { kind, room: room.clone(), t: t.to_owned() }
}

fn map_of(room: &RoomId, t: &str) -> AssetId {
    id(AssetIdKind::ContentMap, room, t)
}

fn asset(payload: impl Into<Bytes>) -> Bytes {
    Asset::YDoc { update: payload.into() }.encode()
}

/// So many bytes that repeat nowhere near.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut noise = vec![0; len];
    random.fill(&mut noise);
    noise
}

impl AssetStoreRig {
    fn assets(&self) -> &dyn AssetStore {
        self.assets.as_ref()
    }

    /// Stores an asset that must be taken.
    async fn put(&self, id: &AssetId, asset: &Bytes) {
        assert_eq!(self.assets().store(id, asset).await.expect("an asset is stored"), Stored::Here, "{id}");
    }

    async fn get(&self, id: &AssetId) -> Option<Bytes> {
        self.assets().retrieve(id).await.expect("an asset is looked for")
    }

    async fn delete(&self, id: &AssetId) {
        self.assets().delete(id).await.expect("an asset is deleted");
    }

    /// All objects of a listing, `max` at a time. None may come twice while nobody writes.
    async fn list(&self, of: Option<&RoomId>, max: usize) -> Vec<StoredObject> {
        const MOST_PARTS: usize = 10_000;
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PARTS {
            let page = self.assets().list(of, cursor.as_deref(), max).await.expect("a listing");
            assert!(page.items.len() <= max, "{} of {max}", page.items.len());
            all.extend(page.items);
            let Some(next) = page.next else {
                let names: BTreeSet<String> = all.iter().map(name).collect();
                assert_eq!(names.len(), all.len(), "something is listed twice");
                return all;
            };
            cursor = Some(next);
        }
        panic!("a listing that does not end");
    }

    /// The names of all objects, in order.
    async fn names(&self, of: Option<&RoomId>) -> BTreeSet<String> {
        self.list(of, 1_000).await.iter().map(name).collect()
    }
}

fn name(object: &StoredObject) -> String {
    match &object.name {
        StoredName::Asset(id) => id.to_string(),
        StoredName::Other(name) => panic!("{name:?} is listed, which is none of ours"),
    }
}

fn texts<'a>(ids: impl IntoIterator<Item = &'a AssetId>) -> BTreeSet<String> {
    ids.into_iter().map(ToString::to_string).collect()
}

/// What is not there is no error, neither alone nor beside others of its room.
pub async fn an_unknown_asset_is_none(rig: AssetStoreRig) {
    let known = map_of(&room(1), "5-0");
    assert_eq!(rig.get(&known).await, None);
    rig.put(&known, &asset("x")).await;
    for unknown in [map_of(&room(1), "5-1"), map_of(&room(2), "5-0"), id(AssetIdKind::ContentIds, &room(1), "5-0")] {
        assert_eq!(rig.get(&unknown).await, None, "{unknown}");
    }
}

/// Assets of every kind, with every byte, with none, and of some megabytes.
pub async fn assets_come_back_exactly(rig: AssetStoreRig) {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (n, payload) in [every_byte, Vec::new(), noise(3 << 20, 1)].into_iter().enumerate() {
        let payload = Bytes::from(payload);
        for (kind, asset) in KINDS.into_iter().zip([
            Asset::YDoc { update: payload.clone() },
            Asset::YDoc { update: payload.clone() },
            Asset::ContentMap { contentmap: payload.clone() },
            Asset::ContentIds { contentids: payload.clone() },
        ]) {
            let id = id(kind, &room(1), &format!("{n}-0"));
            rig.put(&id, &asset.encode()).await;
            assert!(rig.get(&id).await == Some(asset.encode()), "{id} comes back as something else");
        }
    }
}

/// Stored again, an asset has the new bytes, also where they are fewer.
pub async fn the_next_takes_the_place(rig: AssetStoreRig) {
    let id = map_of(&room(1), "1-0");
    for payload in ["first, and long", "second", "third, and long again"] {
        rig.put(&id, &asset(payload)).await;
        assert_eq!(rig.get(&id).await, Some(asset(payload)));
        // Once more, because it may be kept somewhere now.
        assert_eq!(rig.get(&id).await, Some(asset(payload)));
    }
    assert_eq!(rig.list(None, 10).await.len(), 1);
}

/// What is deleted is gone, whether it was read before or not, and may be deleted again; the others stay.
pub async fn what_is_deleted_is_gone(rig: AssetStoreRig) {
    let ids: Vec<AssetId> = KINDS.map(|kind| id(kind, &room(1), "1-0")).to_vec();
    for id in &ids {
        rig.put(id, &asset(id.to_string())).await;
        assert!(rig.get(id).await.is_some());
    }
    for (n, gone) in ids.iter().enumerate() {
        rig.delete(gone).await;
        rig.delete(gone).await;
        for (other, id) in ids.iter().enumerate() {
            assert_eq!(rig.get(id).await, (other > n).then(|| asset(id.to_string())), "{id} after {gone}");
        }
    }
    rig.delete(&map_of(&room(9), "1-0")).await;
    assert!(rig.list(None, 10).await.is_empty());
}

/// Of several who share an allowance each takes what it brings; who would bring more than is left brings nothing, takes nothing, and
/// is told how long it is. Asked again, because it may be kept somewhere then.
pub async fn what_is_longer_than_allowed_stays(rig: AssetStoreRig) {
    let assets = [asset("short"), asset(noise(100_000, 3)), asset(noise(9 << 20, 4))];
    let ids = [0, 1, 2].map(|n| map_of(&room(1), &format!("{n}-0")));
    for (id, asset) in ids.iter().zip(&assets) {
        rig.put(id, asset).await;
    }
    let sizes = assets.each_ref().map(|asset| asset.len() as u64);
    for _ in 0..2 {
        for ((id, asset), size_bytes) in ids.iter().zip(&assets).zip(sizes) {
            let (short, enough) = (Allowance::of(size_bytes - 1), Allowance::of(2 * size_bytes - 1));
            let bring = async |allowance| rig.assets().retrieve_within(id, allowance).await.expect("an asset is looked for");
            let too_long = Some(Brought::TooLong { size_bytes });
            assert!(bring(&short).await == too_long, "{size_bytes} bytes come where one fewer was allowed");
            assert_eq!(short.left(), size_bytes - 1);
            assert!(bring(&enough).await == Some(Brought::Whole(asset.clone())), "{size_bytes} bytes");
            assert_eq!(enough.left(), size_bytes - 1);
            assert!(bring(&enough).await == too_long, "{size_bytes} bytes come twice");
        }
    }
    let (all, unknown) = (Allowance::of(sizes.iter().sum()), map_of(&room(2), "0-0"));
    let bring = |id| rig.assets().retrieve_within(id, &all);
    let brought = futures_util::future::try_join_all([&unknown, &ids[0], &ids[1], &ids[2]].map(bring)).await;
    let [none, rest @ ..] = &brought.expect("assets are looked for")[..] else { panic!("four were asked for") };
    assert!(none.is_none() && rest.iter().zip(&assets).all(|(found, asset)| *found == Some(Brought::Whole(asset.clone()))));
    assert_eq!(all.left(), 0);
}

/// 40 MB come back whole, and are listed as so many.
pub async fn big_assets_are_whole(rig: AssetStoreRig) {
    let (id, big) = (map_of(&room(1), "1-0"), asset(noise(40_000_000, 2)));
    rig.put(&id, &big).await;
    assert!(rig.get(&id).await == Some(big.clone()), "it comes back as something else");
    assert_eq!(rig.list(Some(&room(1)), 10).await[0].size_bytes, big.len() as u64);
    let small = asset("small");
    rig.put(&id, &small).await;
    assert_eq!(rig.get(&id).await, Some(small));
}

/// Ids of which any two differ in one part, or in where one part ends.
fn odd_ids() -> Vec<AssetId> {
    let mut ids: Vec<AssetId> = odd_rooms().iter().map(|room| map_of(room, "1-0")).collect();
    for t in ["", ".", "..", "1-I", "a/b", "%2F", "1 0", "文"] {
        ids.extend(KINDS.map(|kind| id(kind, &room(1), t)));
    }
    ids
}

/// No two names fall together, whatever stands in them; each is listed as it is.
pub async fn odd_names_are_kept_apart(rig: AssetStoreRig) {
    let ids: Vec<AssetId> = odd_ids().into_iter().filter(|id| (rig.takes)(id)).collect();
    assert!(ids.len() > 20, "it takes nothing that is odd");
    for id in &ids {
        rig.put(id, &asset(id.to_string())).await;
    }
    for id in &ids {
        assert_eq!(rig.get(id).await, Some(asset(id.to_string())), "{id}");
    }
    assert_eq!(rig.names(None).await, texts(&ids));
    let by_room = ids.iter().fold(BTreeMap::<&RoomId, Vec<&AssetId>>::new(), |mut by_room, id| {
        by_room.entry(&id.room).or_default().push(id);
        by_room
    });
    for (room, of_room) in by_room {
        assert_eq!(rig.names(Some(room)).await, texts(of_room), "{room}");
    }
    for (n, gone) in ids.iter().enumerate() {
        rig.delete(gone).await;
        assert_eq!(rig.get(gone).await, None, "{gone}");
        if let Some(next) = ids.get(n + 1) {
            assert!(rig.get(next).await.is_some(), "{next} after {gone}");
        }
    }
}

/// What a store does not take, it does not have; to delete it is no error.
pub async fn what_is_passed_on_is_not_there(rig: AssetStoreRig) {
    let long = RoomId::new(&"o".repeat(40_000), &"ü".repeat(10_000), RoomId::MAIN);
    let beside = RoomId::new("org", "doc", "beside");
    let mut ids = odd_ids();
    ids.extend([map_of(&long, "1-0"), map_of(&beside, "1-0")]);
    for id in ids.iter().filter(|id| !(rig.takes)(id)) {
        assert_eq!(rig.assets().store(id, &asset("x")).await.expect("an asset is offered"), Stored::PassedOn, "{id}");
        rig.delete(id).await;
    }
    assert!(rig.list(None, 10).await.is_empty());
}

/// Rooms whose names begin alike, or in which the same characters are divided in another way, are not listed with each other.
pub async fn a_room_is_listed_without_others(rig: AssetStoreRig) {
    let rooms: Vec<RoomId> = [
        ("a", "b", "main"),
        ("a", "b2", "main"),
        ("a", "", "main"),
        ("a", "b/main", "main"),
        ("a/b", "", "main"),
        ("ab", "", "main"),
        ("a", "b", "main2"),
        ("a", "b", "mai"),
        ("a", "B", "main"),
        ("A", "b", "main"),
        ("", "a", "main"),
        ("a", "b%2Fmain", "main"),
    ]
    .map(|(org, docid, branch)| RoomId::new(org, docid, branch))
    .into();
    let of_room = |room: &RoomId| -> Vec<AssetId> {
        let ids = ["1-0", "10-0", "main"].into_iter().flat_map(|t| KINDS.map(|kind| id(kind, room, t)));
        ids.filter(|id| (rig.takes)(id)).collect()
    };
    for id in rooms.iter().flat_map(of_room) {
        rig.put(&id, &asset("x")).await;
    }
    for room in &rooms {
        assert_eq!(rig.names(Some(room)).await, texts(&of_room(room)), "{room}");
    }
    assert!(rig.names(Some(&RoomId::new("nobody", "", "main"))).await.is_empty());
}

/// However small the pages are, everything is in one of them, once.
pub async fn listings_come_in_pages(rig: AssetStoreRig) {
    let mut of_room = BTreeSet::new();
    for n in 0..7 {
        for kind in KINDS {
            let here = id(kind, &room(1), &format!("{n}-0"));
            rig.put(&here, &asset("x")).await;
            of_room.insert(here.to_string());
            rig.put(&id(kind, &room(2), &format!("{n}-0")), &asset("x")).await;
        }
    }
    for max in [1, 2, 5, 28, 29, 1_000] {
        assert_eq!(rig.list(None, max).await.len(), 56, "{max} at a time");
        let listed: BTreeSet<String> = rig.list(Some(&room(1)), max).await.iter().map(name).collect();
        assert_eq!(listed, of_room, "{max} at a time");
    }
}

/// Which asset, how many bytes, and when: not before others that were stored before.
pub async fn a_listing_says_what_is_there(rig: AssetStoreRig) {
    assert_eq!(rig.list(None, 10).await, []);
    let payloads = ["", "x", "a longer one"];
    for (n, payload) in payloads.iter().enumerate() {
        rig.put(&map_of(&room(1), &format!("{n}-0")), &asset(*payload)).await;
    }
    let mut listed = rig.list(None, 10).await;
    listed.sort_by_key(name);
    for (n, object) in listed.iter().enumerate() {
        assert_eq!(object.name, StoredName::Asset(map_of(&room(1), &format!("{n}-0"))));
        assert_eq!(object.size_bytes, asset(payloads[n]).len() as u64);
        assert!(object.modified_ms > 0);
    }
    assert!(listed.is_sorted_by_key(|object| object.modified_ms), "{listed:?}");
}

/// Who deletes what a page names and goes on with the next page meets everything.
pub async fn what_is_listed_can_be_deleted_meanwhile(rig: AssetStoreRig) {
    for n in 0..30 {
        rig.put(&map_of(&room(n % 3), &format!("{n}-0")), &asset("x")).await;
    }
    let (mut deleted, mut cursor) = (0, None::<String>);
    loop {
        let page = rig.assets().list(None, cursor.as_deref(), 4).await.expect("a listing");
        for object in &page.items {
            rig.delete(&name(object).parse().expect("an id")).await;
            deleted += 1;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(deleted, 30);
    assert!(rig.list(None, 10).await.is_empty());
}

/// Of many who store one id at once, the asset of one is there, whole; meanwhile readers see no half of one.
pub async fn stores_at_once_leave_one_whole(rig: AssetStoreRig) {
    let id = map_of(&room(1), "1-0");
    let versions: Vec<Bytes> = (0..12u64).map(|n| asset(noise(100_000 + n as usize, n))).collect();
    let is_whole = |found: &Bytes| versions.contains(found);
    rig.put(&id, &versions[0]).await;
    let writing = stream::iter(&versions).map(async |version| rig.put(&id, version).await).buffer_unordered(12).count();
    let reading = async {
        for _ in 0..20 {
            assert!(rig.get(&id).await.as_ref().is_some_and(is_whole), "half an asset, or none");
        }
    };
    futures_util::future::join(writing, reading).await;
    let last = rig.get(&id).await.expect("it is there");
    assert!(is_whole(&last));
    assert!(rig.get(&id).await == Some(last), "it changes although nobody writes");
    assert_eq!(rig.list(None, 10).await.len(), 1);
}

/// A store that is given up is whole, or has not been; later ones are not disturbed.
pub async fn a_cancelled_store_is_whole_or_absent(rig: AssetStoreRig) {
    let (old, new) = (asset(noise(200_000, 1)), asset(noise(9 << 20, 2)));
    for n in 0..12u32 {
        let id = map_of(&room(1), &format!("{n}-0"));
        rig.put(&id, &old).await;
        // After the last of these it is usually done.
        let _ = tokio::time::timeout(Duration::from_micros(150) * 3u32.pow(n.min(8)), rig.assets().store(&id, &new)).await;
        let found = rig.get(&id).await.expect("it is there");
        assert!(found == old || found == new, "neither the old nor the new asset");
        // What was given up may come to its end until then, and no later.
        let last = asset(format!("last {n}"));
        rig.put(&id, &last).await;
        let found = rig.get(&id).await.expect("it is there");
        assert!(found == last || found == new, "neither the new nor the last asset");
    }
    assert_eq!(rig.list(None, 100).await.len(), 12);
}

/// A store that is prepared again has what it had.
pub async fn preparing_again_changes_nothing(rig: AssetStoreRig) {
    let id = map_of(&room(1), "1-0");
    rig.put(&id, &asset("x")).await;
    let again: Result<Vec<()>, _> =
        stream::iter(0..4).map(async |_| rig.assets().init().await).buffer_unordered(4).try_collect().await;
    again.expect("it is prepared");
    assert_eq!(rig.get(&id).await, Some(asset("x")));
}

/// A store that works says so, and has nothing more afterwards.
pub async fn check_answers(rig: AssetStoreRig) {
    rig.assets().check().await.expect("it works");
    assert!(rig.list(None, 10).await.is_empty());
}
