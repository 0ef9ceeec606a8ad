//! Assets in files run every case of the suite, and what is true of files only.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, ManualTime, RoomId, SystemClock, TimeSource};
use yhub_store::{
    AssetStore, AssetStoreError, Branches, FileAssets, FileAssetsOptions, Stored, StoredName, testsuite::AssetStoreRig,
};

async fn open(options: FileAssetsOptions) -> FileAssets {
    let assets = FileAssets::new(options, Arc::new(SystemClock));
    assets.init().await.expect("the directory can be made");
    assets
}

async fn rig(branches: Branches) -> AssetStoreRig {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = FileAssetsOptions::new(dir.path().join("assets"));
    options.branches = branches.clone();
    let assets = Arc::new(open(options).await);
    let takes = move |id: &AssetId| branches.have(&id.room) && id.to_string().len() <= 64 << 10;
    AssetStoreRig { assets, takes: Box::new(takes), keep: Box::new(dir) }
}

mod files {
    use super::*;

    yhub_store::asset_store_conformance!(rig(Branches::All));
}

mod files_of_main {
    use super::*;

    yhub_store::asset_store_conformance!(rig(Branches::main()));
}

fn id(docid: &str) -> AssetId {
    AssetId { kind: AssetIdKind::ContentIds, room: RoomId::new("o", docid, RoomId::MAIN), t: "1-0".into() }
}

fn asset(text: &str) -> Bytes {
    Asset::ContentIds { contentids: Bytes::copy_from_slice(text.as_bytes()) }.encode()
}

/// Every file below, but for directories.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it can be read").map(|entry| entry.expect("it can be read")) {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[tokio::test]
async fn no_path_is_made_of_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let assets = open(FileAssetsOptions::new(dir.path().join("in/here"))).await;
    for part in ["../../..", "/etc", "..", "a\0b", ""] {
        let id = AssetId { kind: AssetIdKind::ContentMap, room: RoomId::new(part, part, part), t: part.into() };
        assert_eq!(assets.store(&id, &asset("x")).await.unwrap(), Stored::Here);
    }
    let files = files(dir.path());
    assert_eq!(files.len(), 5);
    for file in files {
        let below = file.strip_prefix(dir.path().join("in/here")).expect("inside").to_str().unwrap().to_owned();
        assert!(below.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'/'), "{below}");
    }
}

#[tokio::test]
async fn every_damage_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let assets = open(FileAssetsOptions::new(dir.path())).await;
    let (a, b) = (id("a"), id("b"));
    assets.store(&a, &asset("content")).await.unwrap();
    let [file] = files(dir.path()).try_into().unwrap();
    let good = fs::read(&file).unwrap();
    let is_corrupt = async |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        matches!(assets.retrieve(&a).await, Err(AssetStoreError::Corrupt { id, .. }) if id == a)
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(is_corrupt(&bad).await, "byte {at} is another");
        assert!(is_corrupt(&good[..at]).await, "cut to {at} bytes");
    }
    assert!(is_corrupt(&[&good[..], b"more"].concat()).await, "with more at its end");
    // The file of another asset in its place.
    assets.store(&b, &asset("content")).await.unwrap();
    let of_b = files(dir.path()).into_iter().find(|path| *path != file).unwrap();
    assert!(is_corrupt(&fs::read(&of_b).unwrap()).await, "the file of another");
    // Damage is listed as what nobody may delete unseen, and does not hide the others.
    let listed = assets.list(None, None, 10).await.unwrap().items;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|object| object.name == StoredName::Asset(b.clone())));
    assert!(listed.iter().any(|object| matches!(object.name, StoredName::Other(_))), "{listed:?}");
    // Stored again it is whole again.
    assets.store(&a, &asset("content")).await.unwrap();
    assert_eq!(assets.retrieve(&a).await.unwrap(), Some(asset("content")));
}

#[tokio::test]
async fn what_a_crash_left_behind_is_cleared_away_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let time = Arc::new(ManualTime::new(SystemClock.now_ms()));
    let assets = FileAssets::new(FileAssetsOptions::new(dir.path()), time.clone());
    assets.init().await.unwrap();
    let left = dir.path().join("tmp/left");
    fs::write(&left, "half").unwrap();
    assets.init().await.unwrap();
    assert!(left.exists(), "somebody may be writing it");
    assert!(assets.list(None, None, 10).await.unwrap().items.is_empty(), "it is no asset");
    time.advance(Duration::from_secs(2 * 3_600));
    assets.list(None, None, 10).await.unwrap();
    assert!(!left.exists());
    fs::write(&left, "half").unwrap();
    assets.init().await.unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn a_directory_that_is_not_there_says_nothing_about_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let assets = open(FileAssetsOptions::new(dir.path().join("mounted"))).await;
    assets.store(&id("a"), &asset("x")).await.unwrap();
    fs::rename(dir.path().join("mounted"), dir.path().join("elsewhere")).unwrap();
    let is_away = |error: AssetStoreError| error.is_transient();
    assert!(is_away(assets.retrieve(&id("a")).await.unwrap_err()));
    assert!(is_away(assets.delete(&id("a")).await.unwrap_err()));
    assert!(is_away(assets.list(None, None, 1).await.unwrap_err()));
    assert!(is_away(assets.store(&id("b"), &asset("x")).await.unwrap_err()));
    assert!(is_away(assets.check().await.unwrap_err()));
    fs::rename(dir.path().join("elsewhere"), dir.path().join("mounted")).unwrap();
    assert_eq!(assets.retrieve(&id("a")).await.unwrap(), Some(asset("x")));
    assets.check().await.unwrap();
}

#[tokio::test]
async fn an_asset_that_is_too_large_is_refused_on_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = FileAssetsOptions::new(dir.path());
    let large = asset("a text of some length");
    open(options.clone()).await.store(&id("a"), &large).await.unwrap();
    options.max_asset_bytes = large.len() as u64 - 1;
    let assets = open(options).await;
    let is_too_large = |error| matches!(error, AssetStoreError::TooLarge { size_bytes, .. } if size_bytes == large.len() as u64);
    assert!(is_too_large(assets.store(&id("b"), &large).await.unwrap_err()));
    assert!(is_too_large(assets.retrieve(&id("a")).await.unwrap_err()));
}
