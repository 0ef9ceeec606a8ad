//! The chain of places for assets: who takes one, who has it, and when it goes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId};
use yhub_store::{
    Allowance, AssetPlugins, AssetStore, AssetStoreError, Branches, Brought, Column,
    faults::{AssetMethod, Fault, FaultPlan, FaultyAssetStore},
    testsuite::MemoryAssets,
};

const DELAY: Duration = Duration::from_secs(10);

fn id_of(branch: &str, n: usize) -> AssetId {
    AssetId { kind: AssetIdKind::ContentMap, room: RoomId::new("o", "d", branch), t: format!("{n}-0") }
}

fn asset() -> Bytes {
    Asset::ContentMap { contentmap: Bytes::from_static(b"map") }.encode()
}

fn only(branch: &str) -> Branches {
    Branches::Only([branch.to_owned()].into())
}

/// Two places: `First:v1` for `main`, `Second:v1` for `draft`, both with faults.
struct Chain {
    plugins: AssetPlugins,
    stores: [Arc<MemoryAssets>; 2],
    plans: [Arc<FaultPlan<AssetMethod>>; 2],
}

fn chain() -> Chain {
    let stores =
        [Arc::new(MemoryAssets::new("First:v1", Branches::main())), Arc::new(MemoryAssets::new("Second:v1", only("draft")))];
    let plans = [FaultPlan::new(), FaultPlan::new()];
    let faulty = |n: usize| -> Arc<dyn AssetStore> { Arc::new(FaultyAssetStore::new(stores[n].clone(), plans[n].clone())) };
    Chain { plugins: AssetPlugins::new(vec![faulty(0), faulty(1)], DELAY), stores, plans }
}

fn reference(plugin: &str) -> Column {
    Column { bytes: Asset::Retrievable { plugin: plugin.into() }.encode(), is_reference: true }
}

#[tokio::test]
async fn the_first_that_takes_it_has_it() {
    let Chain { plugins, stores, plans } = chain();
    assert_eq!(plugins.store(&id_of("main", 1), asset()).await.unwrap(), reference("First:v1"));
    assert_eq!(plugins.store(&id_of("draft", 1), asset()).await.unwrap(), reference("Second:v1"));
    assert_eq!(plans[1].calls(AssetMethod::Store), 1, "the second is not asked for what the first takes");
    assert_eq!((stores[0].ids(), stores[1].ids()), (vec![id_of("main", 1)], vec![id_of("draft", 1)]));
    assert_eq!(plugins.store(&id_of("other", 1), asset()).await.unwrap(), Column { bytes: asset(), is_reference: false });
    assert_eq!(plugins.retrieve(&id_of("draft", 1), "Second:v1").await.unwrap(), asset());
    plugins.delete(&id_of("draft", 1), "Second:v1").await.unwrap();
    assert!(stores[1].ids().is_empty());
}

#[tokio::test]
async fn without_places_assets_stay_in_their_rows() {
    let plugins = AssetPlugins::default();
    assert!(plugins.is_empty());
    plugins.init().await.unwrap();
    plugins.check().await.unwrap();
    assert_eq!(plugins.store(&id_of("main", 1), asset()).await.unwrap(), Column { bytes: asset(), is_reference: false });
}

#[tokio::test]
async fn a_place_that_fails_is_no_reason_to_take_another() {
    let Chain { plugins, stores, plans } = chain();
    plans[0].on_nth(AssetMethod::Store, 1, Fault::FailBefore);
    assert!(plugins.store(&id_of("main", 1), asset()).await.unwrap_err().is_transient());
    assert!(stores[1].ids().is_empty());
    plans[1].on_nth(AssetMethod::Check, 1, Fault::FailBefore);
    assert!(plugins.check().await.unwrap_err().is_transient());
    plans[1].on_nth(AssetMethod::Init, 1, Fault::FailBefore);
    assert!(plugins.init().await.unwrap_err().is_transient());
    plugins.init().await.unwrap();
    plugins.check().await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_damage_and_never_nothing() {
    let Chain { plugins, .. } = chain();
    let id = id_of("main", 1);
    let missing = plugins.retrieve(&id, "First:v1").await.unwrap_err();
    assert!(matches!(&missing, AssetStoreError::Missing { at, .. } if at == "First:v1") && !missing.is_transient());
    for unknown in [
        plugins.retrieve(&id, "Other:v1").await.unwrap_err(),
        plugins.delete(&id, "Other:v1").await.unwrap_err(),
        AssetPlugins::default().retrieve(&id, "Other:v1").await.unwrap_err(),
    ] {
        assert!(matches!(&unknown, AssetStoreError::UnknownPlugin { .. }) && !unknown.is_transient());
        let text = unknown.to_string();
        assert!(text.contains("\"Other:v1\"") && text.contains("assets.plugins") && text.contains(&id.to_string()), "{text}");
    }
    let text = plugins.retrieve(&id, "Other:v1").await.unwrap_err().to_string();
    assert!(text.contains("First:v1, Second:v1"), "{text}");
}

#[tokio::test]
async fn a_column_is_resolved_to_the_asset_it_refers_to() {
    let Chain { plugins, stores, .. } = chain();
    let id = id_of("main", 1);
    let inline = Asset::decode(&asset()).unwrap();
    let all = Allowance::unlimited();
    assert_eq!(plugins.resolve(&id, inline.clone(), &Allowance::of(0)).await.unwrap(), Brought::Whole(inline.clone()));
    let column = plugins.store(&id, asset()).await.unwrap();
    let column = Asset::decode(&column.bytes).unwrap();
    assert_eq!(plugins.resolve(&id, column.clone(), &all).await.unwrap(), Brought::Whole(inline));
    let size_bytes = asset().len() as u64;
    let too_long = plugins.resolve(&id, column.clone(), &Allowance::of(size_bytes - 1)).await.unwrap();
    assert_eq!(too_long, Brought::TooLong { size_bytes });
    for damaged in [Bytes::from_static(b"no asset"), reference("First:v1").bytes] {
        stores[0].store(&id, &damaged).await.unwrap();
        let error = plugins.resolve(&id, column.clone(), &all).await.unwrap_err();
        assert!(matches!(error, AssetStoreError::Corrupt { .. }), "{error}");
    }
}

/// Lets the task that deletes have its turns, without time going on.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_discarded_can_be_read_until_the_delay_is_over() {
    let Chain { plugins, stores, .. } = chain();
    for n in 0..40 {
        stores[0].store(&id_of("main", n), &asset()).await.unwrap();
    }
    let of = |range: std::ops::Range<usize>| range.map(|n| (id_of("main", n), "First:v1".to_owned())).collect::<Vec<_>>();
    plugins.discard(of(0..20)).await;
    tokio::time::sleep(DELAY / 2).await;
    plugins.discard(of(20..40)).await;
    tokio::time::sleep(DELAY / 2 - Duration::from_millis(1)).await;
    settle().await;
    assert_eq!((stores[0].ids().len(), plugins.discarding()), (40, 40));
    tokio::time::sleep(Duration::from_millis(2)).await;
    settle().await;
    assert_eq!((stores[0].ids().len(), plugins.discarding()), (20, 20));
    tokio::time::sleep(DELAY / 2).await;
    settle().await;
    assert_eq!((stores[0].ids().len(), plugins.discarding()), (0, 0));
    // The task has ended; a new one begins when it is needed.
    stores[0].store(&id_of("main", 1), &asset()).await.unwrap();
    plugins.discard(of(1..2)).await;
    tokio::time::sleep(DELAY * 2).await;
    assert_eq!(stores[0].ids(), []);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_discarded_holds_nobody_up() {
    let Chain { plugins, stores, plans } = chain();
    for n in 0..3 {
        stores[0].store(&id_of("main", n), &asset()).await.unwrap();
    }
    // One is tried again until it goes, one is left behind, one is nowhere.
    plans[0].on_nth(AssetMethod::Delete, 1, Fault::FailBefore);
    let all = vec![
        (id_of("main", 0), "First:v1".to_owned()),
        (id_of("main", 1), "Other:v1".to_owned()),
        (id_of("main", 2), "First:v1".to_owned()),
    ];
    plugins.discard(all).await;
    tokio::time::sleep(DELAY * 3).await;
    assert_eq!((stores[0].ids(), plugins.discarding()), (vec![id_of("main", 1)], 0));
    plans[0].on_every(AssetMethod::Delete, Fault::FailBefore);
    plugins.discard(vec![(id_of("main", 1), "First:v1".to_owned())]).await;
    tokio::time::sleep(DELAY * 3).await;
    assert_eq!((stores[0].ids().len(), plugins.discarding()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn very_many_that_wait_make_those_who_discard_wait() {
    let Chain { plugins, .. } = chain();
    let many = |count: usize| (0..count).map(|n| (id_of("main", n), "First:v1".to_owned())).collect::<Vec<_>>();
    plugins.discard(many(16_384)).await;
    let more = tokio::time::timeout(DELAY / 2, plugins.discard(many(1))).await;
    assert!(more.is_err(), "there is no bound");
    assert_eq!(plugins.discarding(), 16_384);
    plugins.discard(many(1)).await;
    assert!(plugins.discarding() <= 16_384);
}

#[test]
fn a_runtime_that_ends_takes_no_discarded_asset_along() {
    let Chain { plugins, stores, .. } = chain();
    let paused = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let discard = async |n: usize| {
        stores[0].store(&id_of("main", n), &asset()).await.unwrap();
        plugins.discard(vec![(id_of("main", n), "First:v1".to_owned())]).await;
    };
    paused().block_on(discard(1));
    assert_eq!(plugins.discarding(), 1);
    paused().block_on(async {
        discard(2).await;
        tokio::time::sleep(DELAY * 3).await;
    });
    assert_eq!((stores[0].ids(), plugins.discarding()), (vec![], 0));
}
