//! Cases of version rows: what comes back, in which order, and what a replacement leaves.

use bytes::Bytes;
use yhub_core::{RoomId, StreamClock};

use super::{
    DocStoreRig,
    support::{odd_rooms, room},
};
use crate::{
    AssetKind, AssetSelection, Brought, DocStore, DocStoreError, StoreOutcome, StoreVersion, StoredRoom, TaskEpoch, VersionRow,
};

/// A version of `room` at `clock` whose assets say so, under epoch 1.
pub(super) fn version(room: &RoomId, clock: StreamClock) -> StoreVersion {
    let assets = AssetKind::ALL.map(|kind| Bytes::from(format!("{kind:?} at {clock} of {room}")));
    StoreVersion { room: room.clone(), clock, assets, is_reference: [false; 4], replaces: Vec::new(), epoch: TaskEpoch(1) }
}

/// The same, in place of other rows.
pub(super) fn in_place_of(version: StoreVersion, replaces: &[StreamClock]) -> StoreVersion {
    StoreVersion { replaces: replaces.iter().map(ToString::to_string).collect(), ..version }
}

pub(super) async fn store(docs: &dyn DocStore, version: StoreVersion) -> StoreOutcome {
    docs.store(version).await.expect("store")
}

pub(super) async fn read(docs: &dyn DocStore, room: &RoomId) -> StoredRoom {
    docs.read(room, AssetSelection::ALL).await.expect("read")
}

/// The keys of the rows of `room`, in the order in which they come.
pub(super) async fn keys(docs: &dyn DocStore, room: &RoomId) -> Vec<String> {
    docs.read(room, AssetSelection::NONE).await.expect("read").rows.into_iter().map(|row| row.t).collect()
}

pub(super) const fn at(ms: u64, seq: u64) -> StreamClock {
    StreamClock::new(ms, seq)
}

/// What must be found of a version that was stored.
fn as_row(version: &StoreVersion) -> VersionRow {
    VersionRow {
        t: version.clock.to_string(),
        created_ms: version.clock.ms as i64,
        assets: version.assets.clone().map(Some),
        is_reference: version.is_reference,
    }
}

/// A room that nobody stored has no rows and no tombstone.
pub async fn an_unknown_room_is_empty(rig: DocStoreRig) {
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await, StoredRoom::default());
}

/// Every byte, no byte at all, and key and time of the clock.
pub async fn bytes_come_back_exactly(rig: DocStoreRig) {
    let every_byte: Bytes = (0..=255u8).collect();
    let assets = [every_byte, Bytes::new(), Bytes::from_static(b"\0"), Bytes::from_static(b"\xff\xfe'\"\\x")];
    let version = StoreVersion { assets, ..version(&room(1), at(1_700_000_000_123, 45)) };
    assert_eq!(store(rig.docs.as_ref(), version.clone()).await, StoreOutcome::Stored);
    let found = read(rig.docs.as_ref(), &room(1)).await;
    assert_eq!(found, StoredRoom { rows: vec![as_row(&version)], ..StoredRoom::default() });
    assert_eq!((found.rows[0].t.as_str(), found.rows[0].created_ms), ("1700000000123-45", 1_700_000_000_123));
}

/// Each of the sixteen selections brings exactly its assets.
pub async fn only_what_is_selected_comes(rig: DocStoreRig) {
    let version = version(&room(1), at(5, 0));
    store(rig.docs.as_ref(), version.clone()).await;
    for bits in 0..16 {
        let wanted = AssetSelection([0, 1, 2, 3].map(|at| bits >> at & 1 == 1));
        let found = rig.docs.read(&room(1), wanted).await.expect("read");
        let mut expected = as_row(&version);
        for kind in AssetKind::ALL.into_iter().filter(|kind| !wanted.has(*kind)) {
            expected.assets[kind as usize] = None;
        }
        assert_eq!(found.rows, [expected], "with {wanted:?}");
    }
}

/// Rows that were made later come without assets; those of that very millisecond and before with them.
pub async fn assets_of_later_rows_stay(rig: DocStoreRig) {
    let versions = [at(4, 0), at(5, 0), at(5, u64::MAX), at(6, 0)].map(|clock| version(&room(1), clock));
    for version in &versions {
        store(rig.docs.as_ref(), version.clone()).await;
    }
    for (upto_ms, with) in [(0, 0), (4, 1), (5, 3), (6, 4), (u64::MAX, 4)] {
        let found = rig.docs.read_upto(&room(1), AssetSelection::ALL, upto_ms).await.expect("read");
        let mut expected = versions.each_ref().map(as_row);
        expected[with..].iter_mut().for_each(|row| row.assets = [const { None }; 4]);
        assert_eq!(found.rows, expected, "up to {upto_ms}");
        let found = rig.docs.read_upto(&room(1), AssetSelection::NONE, upto_ms).await.expect("read");
        assert!(found.rows.iter().flat_map(|row| &row.assets).all(Option::is_none), "up to {upto_ms}");
    }
}

/// What is selected comes if all of it together may; otherwise nothing does, and it is said how long it is. Rows that were made later
/// have no part in it, and of what is not selected the length does not count.
pub async fn what_is_longer_than_allowed_stays(rig: DocStoreRig) {
    let long = |ms: u64, lengths: [usize; 4]| StoreVersion {
        assets: lengths.map(|length| Bytes::from(vec![b'x'; length])),
        ..version(&room(1), at(ms, 0))
    };
    let versions = [long(4, [100, 2_000, 0, 7]), long(5, [300, 40_000, 11, 0]), long(6, [5_000_000, 0, 0, 1])];
    for version in &versions {
        store(rig.docs.as_ref(), version.clone()).await;
    }
    let of = AssetSelection::of;
    for (wanted, upto_ms, size_bytes) in [
        (of(&[AssetKind::GcDoc]), 4, 100),
        (of(&[AssetKind::GcDoc]), 5, 400),
        (of(&[AssetKind::GcDoc]), u64::MAX, 5_000_400),
        (of(&[AssetKind::NongcDoc, AssetKind::ContentIds]), u64::MAX, 42_008),
        (of(&[AssetKind::ContentMap]), 4, 0),
        (AssetSelection::ALL, 5, 42_418),
        (AssetSelection::ALL, 3, 0),
        (AssetSelection::NONE, u64::MAX, 0),
    ] {
        let expected = rig.docs.read_upto(&room(1), wanted, upto_ms).await.expect("read");
        assert_eq!((expected.size_bytes(), expected.rows.len()), (size_bytes, 3), "{wanted:?} up to {upto_ms}");
        for max_bytes in [0, size_bytes.saturating_sub(1), size_bytes, size_bytes + 1, u64::MAX] {
            let found = rig.docs.read_within(&room(1), wanted, upto_ms, max_bytes).await.expect("read");
            let whole = size_bytes <= max_bytes;
            let expected = if whole { Brought::Whole(expected.clone()) } else { Brought::TooLong { size_bytes } };
            assert!(found == expected, "{wanted:?} up to {upto_ms}, at most {max_bytes} of {size_bytes}: whole: {whole}");
        }
    }
    let unknown = rig.docs.read_within(&room(2), AssetSelection::ALL, u64::MAX, 0).await.expect("read");
    assert_eq!(unknown, Brought::Whole(StoredRoom::default()));
}

/// Oldest first, by number and not by text.
pub async fn rows_order_as_numbers(rig: DocStoreRig) {
    let mut clocks = [at(5, 10), at(1_000, 0), at(5, 9), at(999, u64::MAX), at(10, 0), at(9, 1), at(0, 0), at(1 << 62, 3)];
    for clock in clocks {
        assert_eq!(store(rig.docs.as_ref(), version(&room(1), clock)).await, StoreOutcome::Stored);
    }
    clocks.sort();
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await, clocks.map(|clock| clock.to_string()));
}

/// The new row stands, those that it names are gone, all others of this and other rooms are as they were.
pub async fn replaced_rows_are_gone(rig: DocStoreRig) {
    for clock in [at(1, 0), at(2, 0), at(3, 0)] {
        store(rig.docs.as_ref(), version(&room(1), clock)).await;
        store(rig.docs.as_ref(), version(&room(2), clock)).await;
    }
    let other = read(rig.docs.as_ref(), &room(2)).await;
    // One of them is not there; that is no matter.
    let new = in_place_of(version(&room(1), at(4, 0)), &[at(1, 0), at(3, 0), at(9, 9)]);
    assert_eq!(store(rig.docs.as_ref(), new.clone()).await, StoreOutcome::Stored);
    let found = read(rig.docs.as_ref(), &room(1)).await;
    assert_eq!(found.rows, [as_row(&version(&room(1), at(2, 0))), as_row(&new)]);
    assert_eq!(read(rig.docs.as_ref(), &room(2)).await, other);
}

/// A row that names its own key among those to replace is stored and stays.
pub async fn its_own_key_is_not_replaced(rig: DocStoreRig) {
    store(rig.docs.as_ref(), version(&room(1), at(1, 0))).await;
    let new = in_place_of(version(&room(1), at(2, 0)), &[at(1, 0), at(2, 0)]);
    assert_eq!(store(rig.docs.as_ref(), new.clone()).await, StoreOutcome::Stored);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.rows, [as_row(&new)]);
    // And again, as a retry would.
    assert_eq!(store(rig.docs.as_ref(), new.clone()).await, StoreOutcome::AlreadyThere);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.rows, [as_row(&new)]);
}

/// A row with the same key keeps its bytes; what is to be replaced goes all the same.
pub async fn a_row_that_is_there_is_left_alone(rig: DocStoreRig) {
    let first = version(&room(1), at(2, 0));
    store(rig.docs.as_ref(), version(&room(1), at(1, 0))).await;
    store(rig.docs.as_ref(), first.clone()).await;
    let again = StoreVersion { assets: [const { Bytes::from_static(b"other") }; 4], is_reference: [true; 4], ..first.clone() };
    let outcome = store(rig.docs.as_ref(), in_place_of(again, &[at(1, 0)])).await;
    assert_eq!(outcome, StoreOutcome::AlreadyThere);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.rows, [as_row(&first)]);
}

/// Which columns hold references is kept for each column.
pub async fn which_columns_are_references(rig: DocStoreRig) {
    for bits in 0..16u64 {
        let is_reference = [0, 1, 2, 3].map(|at| bits >> at & 1 == 1);
        store(rig.docs.as_ref(), StoreVersion { is_reference, ..version(&room(1), at(1, bits)) }).await;
    }
    let found = rig.docs.read(&room(1), AssetSelection::NONE).await.expect("read").rows;
    assert_eq!(found.len(), 16);
    for (bits, row) in found.iter().enumerate() {
        assert_eq!(row.is_reference, [0, 1, 2, 3].map(|at| bits >> at & 1 == 1));
    }
}

/// Rooms are told apart by exactly their three parts.
pub async fn odd_room_names_are_kept_apart(rig: DocStoreRig) {
    let rooms = odd_rooms();
    for room in &rooms {
        assert_eq!(store(rig.docs.as_ref(), version(room, at(1, 0))).await, StoreOutcome::Stored, "in {room}");
    }
    for room in &rooms {
        assert_eq!(read(rig.docs.as_ref(), room).await.rows, [as_row(&version(room, at(1, 0)))], "in {room}");
    }
}

/// A name with U+0000 is either kept like any other, or refused as a name; never cut short.
pub async fn a_name_with_nul_is_kept_or_refused(rig: DocStoreRig) {
    let (cut, whole) = (RoomId::new("o", "a", "main"), RoomId::new("o", "a\0b", "main"));
    store(rig.docs.as_ref(), version(&cut, at(1, 0))).await;
    match rig.docs.store(version(&whole, at(2, 0))).await {
        Ok(outcome) => {
            assert_eq!(outcome, StoreOutcome::Stored);
            assert_eq!(keys(rig.docs.as_ref(), &whole).await, ["2-0"]);
        }
        Err(DocStoreError::Room { room, .. }) => assert_eq!(room, whole),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(keys(rig.docs.as_ref(), &cut).await, ["1-0"]);
}

/// 20 MB in one asset, beside small ones.
pub async fn big_assets_are_whole(rig: DocStoreRig) {
    let mut chance = fastrand::Rng::with_seed(3);
    let mut version = version(&room(1), at(1, 0));
    version.assets[AssetKind::NongcDoc as usize] = (0..20_000_000 / 8).flat_map(|_| chance.u64(..).to_le_bytes()).collect();
    store(rig.docs.as_ref(), version.clone()).await;
    assert!(read(rig.docs.as_ref(), &room(1)).await.rows == [as_row(&version)], "changed");
}

/// More rows at once than one statement may name.
pub async fn hundreds_of_rows_are_replaced_at_once(rig: DocStoreRig) {
    const ROWS: u64 = 1_200;
    let clocks: Vec<_> = (0..ROWS).map(|n| at(n / 7, n)).collect();
    for clock in &clocks {
        let assets = [const { Bytes::from_static(b"x") }; 4];
        store(rig.docs.as_ref(), StoreVersion { assets, ..version(&room(1), *clock) }).await;
    }
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await.len(), clocks.len());
    let new = in_place_of(version(&room(1), at(ROWS, 0)), &clocks[1..]);
    assert_eq!(store(rig.docs.as_ref(), new).await, StoreOutcome::Stored);
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await, [clocks[0].to_string(), at(ROWS, 0).to_string()]);
}

/// A store that can be read says so.
pub async fn check_answers(rig: DocStoreRig) {
    rig.docs.check().await.expect("check");
    store(rig.docs.as_ref(), version(&room(1), at(1, 0))).await;
    rig.docs.check().await.expect("check again");
}
