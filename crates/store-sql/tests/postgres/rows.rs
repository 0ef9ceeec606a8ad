//! Rows that y/hub wrote, and their like.

use std::{fs, path::Path};

use serde_json::Value;
use yhub_core::RoomId;
use yhub_store::{
    AssetSelection, DeletionStore, DocStore, Erased, Page, StoreOutcome, StoreVersion, Tombstone, TombstoneFilter, TombstoneState,
};

use super::{
    connect, keys, room,
    support::{self, Database},
    version,
};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

const ASSETS: [&str; 4] = ["gcdoc", "nongcdoc", "contentmap", "contentids"];

#[tokio::test]
async fn rows_of_a_running_deployment_are_read_exactly() {
    let database = Database::migrated();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/live-deployment.json");
    let captured: Value = serde_json::from_slice(&fs::read(path).expect("the vectors")).expect("JSON");
    let writer = support::connect(&database.url).await;
    let mut rows = Vec::new();
    for of in captured["rooms"].as_array().expect("rooms") {
        let names = &of["room"];
        let room = RoomId::new(text(names, "org"), text(names, "docid"), text(names, "branch"));
        rows.extend(of["rows"].as_array().expect("rows").iter().map(|row| (room.clone(), row)));
    }
    let insert = "INSERT INTO yhub_ydoc_v1 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let flags = |row: &Value| [0, 1, 2, 3].map(|at| row["isReference"][at].as_bool().expect("a flag"));
    for (room, row) in &rows {
        let created = row["created"].as_i64().expect("created");
        let assets = ASSETS.map(|name| bytes(text(row, name)));
        let is = flags(row);
        let t = text(row, "t");
        let (org, docid, branch) = (room.org(), room.docid(), room.branch());
        writer
            .execute(
                insert,
                &[
                    &org, &docid, &branch, &t, &created, &assets[0], &assets[1], &assets[2], &assets[3], &is[0], &is[1], &is[2],
                    &is[3],
                ],
            )
            .await
            .expect("insert");
    }
    assert!(!rows.is_empty());
    let docs = connect(database.options()).await;
    for (room, row) in &rows {
        let found = docs.read(room, AssetSelection::ALL).await.expect("read");
        let found = found.rows.iter().find(|found| found.t == text(row, "t")).expect("the row");
        assert_eq!(Some(found.created_ms), row["created"].as_i64());
        assert_eq!(found.is_reference, flags(row));
        for (at, name) in ASSETS.into_iter().enumerate() {
            assert_eq!(found.assets[at].as_deref(), Some(&bytes(text(row, name))[..]), "{name} of {room}");
        }
    }
}

#[tokio::test]
async fn imported_rows_are_read_in_their_place_and_replaced() {
    let database = Database::migrated();
    let insert = |t: &str| support::execute(&database.url, &format!("INSERT INTO yhub_ydoc_v1 VALUES ('o', 'd', 'main', '{t}')"));
    for t in ["1000-1", "123-I", "99-10", "99-9"] {
        insert(t);
    }
    let docs = connect(database.options()).await;
    assert_eq!(keys(&docs).await, ["99-9", "99-10", "123-I", "1000-1"]);
    let found = docs.read(&room(), AssetSelection::ALL).await.expect("read").rows;
    // What the row does not say has the value that older writers meant.
    assert_eq!((found[2].created_ms, found[2].is_reference, &found[2].assets), (123, [true; 4], &[const { None }; 4]));
    assert_eq!(docs.store(version(2_000, &["123-I", "1000-1"])).await.expect("store"), StoreOutcome::Stored);
    assert_eq!(keys(&docs).await, ["99-9", "99-10", "2000-0"]);
    insert("5-x");
    let error = docs.read(&room(), AssetSelection::NONE).await.expect_err("that is no clock");
    let said = error.to_string();
    assert!(
        !error.is_transient() && ["yhub_ydoc_v1", "column t", "o/d@main", "5-x"].iter().all(|part| said.contains(part)),
        "{said}"
    );
}

/// Tables of y/hub sort as their database does. However that is, pages have each room once.
#[tokio::test]
async fn rooms_are_listed_whole_however_the_database_sorts() {
    let database = Database::migrated();
    let admin = support::connect(&database.url).await;
    for table in ["yhub_ydoc_v1", "yhub_ydoc_tombstones_v1"] {
        for column in ["org", "docid", "branch"] {
            let sort = format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE text COLLATE \"en-x-icu\"");
            admin.batch_execute(&sort).await.expect("sort as people do");
        }
    }
    let docs = connect(database.options()).await;
    let mut rooms = Vec::new();
    for docid in ["a", "A", "b", "B", "Z", "z", "é", "e", "É", "_", "-", "a b", "ab", "a-b", "文", "", "~", "10", "9"] {
        for branch in ["main", "Main", ""] {
            let room = RoomId::new("o", docid, branch);
            docs.store(StoreVersion { room: room.clone(), ..version(1, &[]) }).await.expect("store");
            let soft = Tombstone { deleted_at_ms: 1, hard: false, purged_at_ms: None, by: None };
            docs.put_tombstone(&room, soft, None).await.expect("delete");
            rooms.push(room);
        }
    }
    rooms.sort();
    for max in [1, 2, 7, 100] {
        let (mut listed, mut deleted) = (Vec::<RoomId>::new(), Vec::<RoomId>::new());
        loop {
            let after = listed.last().map(|room| (room.docid(), room.branch()));
            let page = docs.rooms_of("o", after, max).await.expect("list");
            if page.is_empty() {
                break;
            }
            assert!(page.iter().all(|room| room.rows == 1 && room.tombstone.is_some()), "{page:?}");
            listed.extend(page.into_iter().map(|found| found.room));
        }
        loop {
            let filter = TombstoneFilter { org: Some("o"), state: TombstoneState::Any };
            let page = docs.tombstones(filter, Page { after: deleted.last(), max }).await.expect("list");
            if page.is_empty() {
                break;
            }
            deleted.extend(page.into_iter().map(|found| found.room));
        }
        for mut found in [listed, deleted] {
            found.sort();
            assert_eq!(found, rooms, "in pages of {max}");
        }
    }
}

/// A row whose key is no clock cannot be read, and is erased all the same.
#[tokio::test]
async fn rows_with_odd_keys_are_erased() {
    let database = Database::migrated();
    support::execute(&database.url, "INSERT INTO yhub_ydoc_v1 VALUES ('o', 'd', 'main', '5-x', 5, '\\x00')");
    let docs = connect(database.options()).await;
    assert!(docs.read(&room(), AssetSelection::NONE).await.is_err());
    let hard = Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
    docs.put_tombstone(&room(), hard.clone(), None).await.expect("delete");
    assert_eq!(docs.tombstone(&room()).await.expect("tombstone"), Some(hard));
    assert_eq!(docs.rooms_of("o", None, 9).await.expect("list")[0].newest, "5-x");
    let Erased::Rows(rows) = docs.erase_rows(&room(), 9).await.expect("erase") else { panic!() };
    // A column of which nobody said that it holds no reference, and that holds nothing.
    assert_eq!((rows[0].t.as_str(), rows[0].sizes_bytes[0], rows[0].sizes_bytes[1]), ("5-x", Some(1), None));
    assert_eq!(keys(&docs).await, [""; 0]);
}
