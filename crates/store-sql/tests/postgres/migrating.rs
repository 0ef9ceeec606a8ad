//! Bringing the tables up to date: from nothing, from y/hub's, by several at once, back and forth; alike in both dialects.

use std::{thread, time::Duration};

use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query, sql_types};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use yhub_store::{AssetSelection, DocStore, StoreOutcome};
use yhub_store_sql::{ConnectError, PostgresDocsOptions, migrate_postgres};

use super::{
    connect, keys, room,
    support::{self, Database},
    version,
};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres/documents");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/documents");

/// The tables as y/hub 0.7 makes them.
const THEIRS: &str = "\
    CREATE TABLE yhub_ydoc_v1 (org text, docid text, branch text, t text, created int8, \
        gcdoc bytea, nongcdoc bytea, contentmap bytea, contentids bytea, \
        gcdoc_is_reference boolean not null default true, nongcdoc_is_reference boolean not null default true, \
        contentmap_is_reference boolean not null default true, contentids_is_reference boolean not null default true, \
        primary key (org, docid, branch, t)); \
    CREATE TABLE yhub_ydoc_tombstones_v1 (org text, docid text, branch text, deleted_at int8 not null, \
        hard boolean not null, purged_at int8, by text, primary key (org, docid, branch)); \
    CREATE INDEX yhub_ydoc_tombstones_v1_pending ON yhub_ydoc_tombstones_v1 (deleted_at) WHERE purged_at IS NULL; \
    INSERT INTO yhub_ydoc_v1 (org, docid, branch, t, created, gcdoc) VALUES ('o', 'd', 'main', '7-1', 7, '\\x760a'); \
    INSERT INTO yhub_ydoc_tombstones_v1 VALUES ('o', 'gone', 'main', 5, true, null, 'me');";

/// One connection on a runtime that migrations may block.
fn with_harness<T: Send>(url: &str, work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> T + Send) -> T {
    thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
            runtime.block_on(async { work(&mut AsyncPgConnection::establish(url).await.expect("connect").into()) })
        };
        scope.spawn(run).join().expect("no panic")
    })
}

/// Everything in the schema, as text.
fn objects(url: &str) -> Vec<String> {
    let query = "\
        SELECT concat_ws(' ', table_name, column_name, ordinal_position, data_type, is_nullable, column_default, collation_name) \
            FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations' \
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> '__diesel_schema_migrations' \
        ORDER BY 1";
    support::on_runtime(async {
        let rows = support::connect(url).await.query(query, &[]).await.expect("read the schema");
        rows.iter().map(|row| row.get(0)).collect()
    })
}

#[test]
fn from_nothing_and_again() {
    let database = Database::empty();
    let options = database.options();
    assert_eq!(migrate_postgres(&options).expect("migrate"), ["0001", "0002", "0003", "0004", "0005"]);
    let first = objects(&database.url);
    assert!(first.len() > 30, "{first:?}");
    assert_eq!(migrate_postgres(&options).expect("again"), [""; 0]);
    assert_eq!(objects(&database.url), first);
}

#[tokio::test]
async fn inside_a_runtime_that_must_not_be_blocked() {
    let database = Database::empty();
    assert_eq!(migrate_postgres(&database.options()).expect("migrate").len(), 5);
    connect(database.options()).await.check().await.expect("check");
}

#[test]
fn many_at_once_do_it_once() {
    for _ in 0..3 {
        let database = Database::empty();
        let options = database.options();
        let mut applied: Vec<String> = thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| migrate_postgres(&options).expect("migrate"))).collect();
            all.into_iter().flat_map(|one| one.join().expect("no panic")).collect()
        });
        applied.sort();
        assert_eq!(applied, ["0001", "0002", "0003", "0004", "0005"]);
    }
}

#[tokio::test]
async fn tables_of_y_hub_are_taken_over_as_they_are() {
    let database = Database::empty();
    support::execute(&database.url, THEIRS);
    let before = objects(&database.url);
    assert_eq!(migrate_postgres(&database.options()).expect("migrate"), ["0001", "0002", "0003", "0004", "0005"]);
    let after = objects(&database.url);
    assert!(before.iter().all(|theirs| after.contains(theirs)), "{before:?} became {after:?}");
    // And the others are what a new database has.
    assert_eq!(after, objects(&Database::migrated().url));
    let docs = connect(database.options()).await;
    let found = docs.read(&room(), AssetSelection::ALL).await.expect("read");
    assert_eq!((found.rows[0].t.as_str(), found.rows[0].created_ms, found.rows[0].is_reference), ("7-1", 7, [true; 4]));
    assert_eq!(found.rows[0].assets[0].as_deref(), Some(&b"\x76\x0a"[..]));
    assert_eq!(docs.store(version(8, &["7-1"])).await.expect("store"), StoreOutcome::Stored);
    assert_eq!(keys(&docs).await, ["8-0"]);
    let gone = yhub_core::RoomId::new("o", "gone", "main");
    let tombstone = docs.read(&gone, AssetSelection::NONE).await.expect("read").tombstone.expect("it was deleted");
    assert_eq!((tombstone.deleted_at_ms, tombstone.hard, tombstone.by.as_deref()), (5, true, Some("me")));
    let late = yhub_store::StoreVersion { room: gone, ..version(9, &[]) };
    assert_eq!(docs.store(late).await.expect("store"), StoreOutcome::HardDeleted);
}

#[test]
fn up_down_up_gives_the_same_tables() {
    let database = Database::empty();
    let url = &database.url;
    with_harness(url, |harness| drop(harness.run_pending_migrations(POSTGRES).expect("up")));
    let first = objects(url);
    with_harness(url, |harness| drop(harness.revert_all_migrations(POSTGRES).expect("down")));
    assert_eq!(objects(url), [""; 0]);
    with_harness(url, |harness| drop(harness.run_pending_migrations(POSTGRES).expect("up again")));
    assert_eq!(objects(url), first);
}

#[test]
fn going_down_drops_no_documents() {
    let database = Database::migrated();
    let url = &database.url;
    let set_aside = "INSERT INTO yhub_quarantines_v1 (org, docid, branch, qid, class, signature, reason, from_clock, upto_clock, \
         at_ms) VALUES ('o', 'd', 'main', 'q', 'c', 's', 'r', '1-0', '2-0', 1)";
    let first = objects(url);
    let held = "INSERT INTO yhub_holds_v1 VALUES ('o', 'd', 'main', 'me', 'r', 1)";
    let erased = "INSERT INTO yhub_erased_rows_v1 (org, docid, branch, t) VALUES ('o', 'd', 'main', '1-0')";
    let receipt = "INSERT INTO yhub_deletion_receipts_v1 VALUES ('o', 'd', 'main', 1, '{}')";
    let audited = "INSERT INTO yhub_audit_v1 (at_ms, id, actor, via, action, result, request_id, detail, stands_for) \
         VALUES (1, 'i', 'a', 'cli', 'x', 'done', '', '', 1)";
    let token = "INSERT INTO yhub_access_tokens_v1 (id, secret_hash, user_id, label, grants, created_ms, created_by) \
         VALUES ('i', '\\x00', 'a', '', '[]', 1, 'a')";
    for (row, table, versions_left) in [
        (audited, "yhub_audit_v1", 4),
        (token, "yhub_access_tokens_v1", 4),
        (held, "yhub_holds_v1", 3),
        (erased, "yhub_erased_rows_v1", 3),
        (receipt, "yhub_deletion_receipts_v1", 3),
        (set_aside, "yhub_quarantines_v1", 2),
        ("INSERT INTO yhub_ydoc_v1 (org, docid, branch, t) VALUES ('o', 'd', 'main', '1-0')", "yhub_ydoc_v1", 1),
        ("INSERT INTO yhub_ydoc_tombstones_v1 VALUES ('o', 'd', 'main', 1, true, null, null)", "yhub_ydoc_tombstones_v1", 1),
    ] {
        support::execute(url, row);
        with_harness(url, |harness| drop(harness.revert_all_migrations(POSTGRES).expect_err("refused")));
        let left = with_harness(url, |harness| harness.applied_migrations().expect("ask").len());
        assert_eq!(left, versions_left, "{table} is not empty");
        support::execute(url, &format!("DELETE FROM {table}"));
        with_harness(url, |harness| drop(harness.run_pending_migrations(POSTGRES).expect("up")));
        assert_eq!(objects(url), first);
    }
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = sql_types::Text)]
    column: String,
}

#[test]
fn both_dialects_have_the_same_tables_and_columns() {
    let database = Database::migrated();
    // Name of table and column, its place, whether it must be there, its place in the key, its kind.
    let query = "\
        SELECT concat_ws(' ', c.table_name, c.column_name, c.ordinal_position, c.is_nullable, coalesce(k.ordinal_position, 0), \
            CASE c.data_type WHEN 'bigint' THEN 'BIGINT' WHEN 'bytea' THEN 'BLOB' ELSE upper(c.data_type) END) \
        FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k USING (table_name, column_name) \
        WHERE c.table_schema = 'public' AND c.table_name <> '__diesel_schema_migrations' ORDER BY 1";
    let in_postgres: Vec<String> = support::on_runtime(async {
        let rows = support::connect(&database.url).await.query(query, &[]).await.expect("read the schema");
        rows.iter().map(|row| row.get(0)).collect()
    });
    let mut sqlite = SqliteConnection::establish(":memory:").expect("connect");
    sqlite.run_pending_migrations(SQLITE).expect("up");
    let columns: Vec<Column> = sql_query(
        "SELECT m.name || ' ' || c.name || ' ' || (c.cid + 1) || ' ' || iif(c.\"notnull\", 'NO', 'YES') || ' ' || c.pk || ' ' \
             || c.type AS column \
         FROM sqlite_master m JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> '__diesel_schema_migrations' ORDER BY 1",
    )
    .load(&mut sqlite)
    .expect("read the schema");
    assert!(in_postgres.len() > 30);
    let (mut in_sqlite, mut in_postgres) = (columns.into_iter().map(|row| row.column).collect::<Vec<_>>(), in_postgres);
    in_sqlite.sort();
    in_postgres.sort();
    assert_eq!(in_postgres, in_sqlite);
}

#[test]
fn what_fails_is_taken_back() {
    let database = Database::empty();
    // A table of that name that is something else entirely.
    support::execute(&database.url, "CREATE VIEW yhub_failures_v1 AS SELECT 1 AS one");
    let error = migrate_postgres(&database.options()).expect_err("it is in the way");
    let below = std::error::Error::source(&error).expect("what the server said").to_string();
    assert!(matches!(error, ConnectError::Migration { .. }) && below.contains("yhub_failures_v1"), "{error:?}");
    support::execute(&database.url, "DROP VIEW yhub_failures_v1");
    assert_eq!(migrate_postgres(&database.options()).expect("migrate"), ["0002", "0003", "0004", "0005"], "the first was done");
}

#[test]
fn another_migration_is_waited_for() {
    let database = Database::empty();
    let options = PostgresDocsOptions { lock_timeout: Duration::from_millis(10), ..database.options() };
    let lock = i64::from_be_bytes(*b"yhubDOCS");
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    thread::scope(|scope| {
        support::on_runtime(async {
            let holder = support::connect(&database.url).await;
            holder.query("SELECT pg_advisory_lock($1)", &[&lock]).await.expect("lock");
            let migrating = scope.spawn(|| migrate_postgres(&options));
            while holder.query_one(waiting, &[]).await.expect("ask").get::<_, i64>(0) == 0 {
                assert!(!migrating.is_finished(), "it did not wait");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            holder.query("SELECT pg_advisory_unlock($1)", &[&lock]).await.expect("unlock");
            assert_eq!(migrating.join().expect("no panic").expect("migrate"), ["0001", "0002", "0003", "0004", "0005"]);
        });
    });
}
