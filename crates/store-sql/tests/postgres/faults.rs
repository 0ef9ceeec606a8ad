//! Connections that die, servers that go and come, locks that are held: all or nothing, and then on as before.

use std::{process::Command, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_postgres::Client;
use yhub_core::RoomId;
use yhub_store::{
    AssetSelection, DocStore, DocStoreError, FailureStore, Page, QuarantineId, QuarantineRecord, StoreOutcome, StoreVersion,
    TaskEpoch, Tombstone,
};
use yhub_store_sql::{ConnectError, PostgresDocs, PostgresDocsOptions, migrate_postgres};
use yhub_testkit::servers::Postgres;

use super::{
    connect, keys, room,
    support::{self, Database},
    version,
};

const FENCE: &str = "INSERT INTO yhub_room_epochs_v1 (org, docid, branch, epoch) VALUES ('o', 'd', 'main', 1) \
     ON CONFLICT (org, docid, branch) DO UPDATE SET epoch = excluded.epoch";

/// Waits until so many sessions of the database wait for a lock; or until `done`.
async fn until_waiting(admin: &Client, count: i64, done: impl Fn() -> bool) {
    for _ in 0..3_000 {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let row = admin.query_one(waiting, &[]).await.expect("ask");
        if row.get::<_, i64>(0) >= count || done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits for a lock");
}

/// Ends the sessions of the database that wait for a lock (`lock`), or all others.
async fn terminate(admin: &Client, lock: bool) {
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() AND (wait_event_type = 'Lock' OR NOT $1)";
    admin.query(sessions, &[&lock]).await.expect("terminate");
}

fn hard() -> Tombstone {
    Tombstone { deleted_at_ms: 5, hard: true, purged_at_ms: None, by: None }
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, DocStoreError>) -> String {
    let error = result.expect_err("it cannot have worked");
    assert!(matches!(error, DocStoreError::Unavailable { .. }) && error.is_transient(), "{error:?}");
    format!("{error}: {}", std::error::Error::source(&error).expect("what the server said"))
}

#[tokio::test]
async fn a_store_that_is_killed_half_way_leaves_nothing() {
    let database = Database::migrated();
    let docs = Arc::new(connect(database.options()).await);
    docs.store(version(1, &[])).await.expect("store");
    let (holder, admin) = (support::connect(&database.url).await, support::connect(&database.url).await);
    // The row that it is to replace is held: it has raised the fence and inserted its own, and waits.
    holder.batch_execute("BEGIN; SELECT FROM yhub_ydoc_v1 WHERE t = '1-0' FOR UPDATE").await.expect("hold");
    let storing = tokio::spawn({
        let docs = docs.clone();
        async move { docs.store(StoreVersion { epoch: TaskEpoch(7), ..version(2, &["1-0"]) }).await }
    });
    until_waiting(&admin, 1, || false).await;
    terminate(&admin, true).await;
    println!("{}", assert_unavailable(storing.await.expect("no panic")));
    holder.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(keys(&docs).await, ["1-0"]);
    // Not even the fence was raised.
    assert_eq!(docs.store(version(2, &["1-0"])).await.expect("store"), StoreOutcome::Stored);
    assert_eq!(keys(&docs).await, ["2-0"]);
}

#[tokio::test]
async fn stores_that_are_killed_at_any_time_are_whole_or_absent() {
    let database = Database::migrated();
    let docs = Arc::new(connect(database.options()).await);
    let admin = support::connect(&database.url).await;
    let seed = 11;
    let mut chance = fastrand::Rng::with_seed(seed);
    docs.store(version(0, &[])).await.expect("store");
    let (mut now, mut failed) = (0u64, 0);
    for step in 1..=80 {
        let storing = tokio::spawn({
            let docs = docs.clone();
            async move { docs.store(version(step, &[&format!("{now}-0")])).await }
        });
        tokio::time::sleep(Duration::from_micros(chance.u64(..4_000))).await;
        terminate(&admin, false).await;
        let result = storing.await.expect("no panic");
        // What reads it may find a connection that has just died, once.
        let found = loop {
            match docs.read(&room(), AssetSelection::NONE).await {
                Ok(found) => break found.rows.into_iter().map(|row| row.t).collect::<Vec<_>>(),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        };
        assert!(found == [format!("{now}-0")] || found == [format!("{step}-0")], "{found:?} at step {step}, seed {seed}");
        match result {
            Ok(outcome) => assert_eq!((outcome, found), (StoreOutcome::Stored, vec![format!("{step}-0")])),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failed += 1;
                if found == [format!("{now}-0")] {
                    continue;
                }
            }
        }
        now = step;
    }
    assert!(failed > 0 && now > 0, "{failed} failed, the last stored is {now}");
}

#[tokio::test]
async fn a_deletion_waits_for_a_store_under_way_so_that_a_purge_finds_its_row() {
    let database = Database::migrated();
    let docs = Arc::new(connect(database.options()).await);
    docs.store(version(1, &[])).await.expect("store");
    let (holder, admin) = (support::connect(&database.url).await, support::connect(&database.url).await);
    holder.batch_execute("BEGIN; SELECT FROM yhub_ydoc_v1 WHERE t = '1-0' FOR UPDATE").await.expect("hold");
    let storing = tokio::spawn({
        let docs = docs.clone();
        async move { docs.store(version(2, &["1-0"])).await }
    });
    until_waiting(&admin, 1, || false).await;
    // Its row is inserted and not committed. Now the room is deleted, and what is there is purged.
    let deleting = tokio::spawn({
        let (docs, url) = (docs.clone(), database.url.clone());
        async move {
            docs.put_tombstone(&room(), hard(), None).await.expect("delete");
            let purge = "DELETE FROM yhub_ydoc_v1 WHERE t <> '1-0'";
            support::connect(&url).await.batch_execute(purge).await.expect("purge");
        }
    });
    until_waiting(&admin, 2, || deleting.is_finished()).await;
    holder.batch_execute("ROLLBACK").await.expect("let go");
    deleting.await.expect("deleted");
    assert_eq!(storing.await.expect("no panic").expect("store"), StoreOutcome::Stored);
    assert_eq!(keys(&docs).await, [""; 0], "a row came after the purge");
}

#[tokio::test]
async fn a_store_that_waited_for_a_deletion_sees_it() {
    let database = Database::migrated();
    // Whatever a database takes for usual.
    let name = database.name();
    support::execute(&database.url, &format!("ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"));
    let docs = Arc::new(connect(database.options()).await);
    let (deleter, admin) = (support::connect(&database.url).await, support::connect(&database.url).await);
    deleter.batch_execute(&format!("BEGIN; {FENCE}")).await.expect("the lock of a deletion");
    let storing = tokio::spawn({
        let docs = docs.clone();
        async move { docs.store(version(2, &[])).await }
    });
    until_waiting(&admin, 1, || storing.is_finished()).await;
    let tombstone = "INSERT INTO yhub_ydoc_tombstones_v1 (org, docid, branch, deleted_at, hard) \
         VALUES ('o', 'd', 'main', 5, true); COMMIT";
    deleter.batch_execute(tombstone).await.expect("delete");
    assert_eq!(storing.await.expect("no panic").expect("store"), StoreOutcome::HardDeleted);
    assert_eq!(keys(&docs).await, [""; 0]);
}

#[tokio::test]
async fn what_is_read_is_of_one_moment() {
    let database = Database::migrated();
    let docs = Arc::new(connect(database.options()).await);
    docs.store(version(1, &[])).await.expect("store");
    let (holder, admin) = (support::connect(&database.url).await, support::connect(&database.url).await);
    // The rows can be read, and what was set aside cannot yet.
    holder.batch_execute("BEGIN; LOCK TABLE yhub_quarantines_v1 IN ACCESS EXCLUSIVE MODE").await.expect("hold");
    let reading = tokio::spawn({
        let docs = docs.clone();
        async move { docs.read(&room(), AssetSelection::NONE).await }
    });
    until_waiting(&admin, 1, || false).await;
    docs.store(version(2, &["1-0"])).await.expect("store");
    docs.put_tombstone(&room(), Tombstone { hard: false, ..hard() }, None).await.expect("delete");
    let set_aside = "INSERT INTO yhub_quarantines_v1 (org, docid, branch, qid, class, signature, reason, from_clock, upto_clock, \
         at_ms) VALUES ('o', 'd', 'main', 'q', 'c', 's', 'r', '1-0', '2-0', 1); COMMIT";
    holder.batch_execute(set_aside).await.expect("set aside");
    let found = reading.await.expect("no panic").expect("read");
    assert_eq!(found.rows.iter().map(|row| row.t.as_str()).collect::<Vec<_>>(), ["1-0"]);
    assert_eq!((found.tombstone, found.quarantined), (None, Vec::new()), "not of the moment of the rows");
    let found = docs.read(&room(), AssetSelection::NONE).await.expect("read");
    assert_eq!(found.quarantined, [QuarantineId("q".to_owned())]);
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() {
    let server = Postgres::private();
    let database = Database::migrated_on(&server);
    let mut options = database.options();
    options.url = options.url.replace("postgres@", "postgres:s3cret@");
    let docs = connect(options).await;
    for round in 0..2 {
        docs.store(version(round, &[])).await.expect("store");
        server.stop();
        for _ in 0..3 {
            let said = assert_unavailable(docs.store(version(10 + round, &[])).await);
            assert!(said.contains(&format!("{}/{}", server.addr(), database.name())), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
            println!("{}", assert_unavailable(docs.check().await));
            assert_unavailable(docs.read(&room(), AssetSelection::ALL).await);
            assert_unavailable(docs.put_tombstone(&room(), hard(), None).await);
            assert_unavailable(docs.quarantines(Page { after: None, max: 1 }).await);
        }
        server.start_again();
        docs.check().await.expect("it is back");
    }
    assert_eq!(keys(&docs).await, ["0-0", "1-0"]);
}

#[tokio::test]
async fn a_backend_that_hangs_is_left_and_replaced() {
    let server = Postgres::private();
    let database = Database::migrated_on(&server);
    let docs =
        connect(PostgresDocsOptions { connections: 1, operation_timeout: Duration::from_secs(3), ..database.options() }).await;
    docs.store(version(1, &[])).await.expect("store");
    let admin = support::connect(&server.url()).await;
    let backend = "SELECT pid FROM pg_stat_activity WHERE datname = $1";
    let pid: i32 = admin.query_one(backend, &[&database.name()]).await.expect("the store's only one").get(0);
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &pid.to_string()]).status().expect("run kill");
        assert!(sent.success());
    };
    signal("-STOP");
    let said = assert_unavailable(docs.store(version(2, &["1-0"])).await);
    assert!(said.contains("3000 ms"), "{said}");
    // It holds nothing, so another connection does it at once.
    assert_eq!(keys(&docs).await, ["1-0"]);
    assert_eq!(docs.store(version(3, &["1-0"])).await.expect("store"), StoreOutcome::Stored);
    signal("-CONT");
    assert_eq!(docs.store(version(4, &["3-0"])).await.expect("store"), StoreOutcome::Stored);
}

#[tokio::test]
async fn a_lock_is_not_waited_for_for_ever() {
    let database = Database::migrated();
    let options = PostgresDocsOptions { connections: 1, lock_timeout: Duration::from_millis(100), ..database.options() };
    let docs = connect(options).await;
    let holder = support::connect(&database.url).await;
    holder.batch_execute(&format!("BEGIN; {FENCE}")).await.expect("hold");
    docs.check().await.expect("check");
    let admin = support::connect(&database.url).await;
    let ours = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'yhub'";
    let before: i32 = admin.query_one(ours, &[]).await.expect("the only one").get(0);
    println!("{}", assert_unavailable(docs.store(version(1, &[])).await));
    assert_unavailable(docs.put_tombstone(&room(), hard(), None).await);
    docs.check().await.expect("check");
    // A connection on which something failed is not used again: it may lead to a server that others have left.
    let after: Vec<i32> = admin.query(ours, &[]).await.expect("ask").iter().map(|row| row.get(0)).collect();
    assert!(!after.contains(&before), "{before} is among {after:?}");
    // Readers wait for nobody, other rooms neither.
    assert_eq!(keys(&docs).await, [""; 0]);
    let other = StoreVersion { room: RoomId::new("o", "e", "main"), ..version(1, &[]) };
    assert_eq!(docs.store(other).await.expect("store"), StoreOutcome::Stored);
    holder.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(docs.store(version(1, &[])).await.expect("store"), StoreOutcome::Stored);
}

#[tokio::test]
async fn a_statement_does_not_run_for_ever() {
    let database = Database::migrated();
    let docs = connect(PostgresDocsOptions { statement_timeout: Duration::from_millis(100), ..database.options() }).await;
    let holder = support::connect(&database.url).await;
    holder.batch_execute("BEGIN; LOCK TABLE yhub_ydoc_v1 IN ACCESS EXCLUSIVE MODE").await.expect("hold");
    println!("{}", assert_unavailable(docs.read(&room(), AssetSelection::NONE).await));
    holder.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(keys(&docs).await, [""; 0]);
}

/// A node that was stopped in the middle of a store holds the lock of its room until the server takes it back.
#[tokio::test]
async fn a_transaction_that_sleeps_is_taken_back() {
    let database = Database::migrated();
    let docs = connect(PostgresDocsOptions { statement_timeout: Duration::from_millis(200), ..database.options() }).await;
    let admin = support::connect(&database.url).await;
    // Nobody can stop one of ours at that point from here; that it has the bound is seen from what its statements see.
    admin
        .batch_execute(
            "CREATE TABLE seen (what text, value text); \
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 INSERT INTO seen SELECT name, setting FROM pg_settings WHERE name IN \
                     ('idle_in_transaction_session_timeout', 'synchronous_commit', 'lock_timeout', 'statement_timeout'); \
                 RETURN NEW; END $$; \
             CREATE TRIGGER look BEFORE INSERT ON yhub_ydoc_v1 FOR EACH ROW EXECUTE FUNCTION look()",
        )
        .await
        .expect("watch");
    docs.store(version(1, &[])).await.expect("store");
    let rows = admin.query("SELECT what, value FROM seen ORDER BY what", &[]).await.expect("ask");
    let seen: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("idle_in_transaction_session_timeout", "200"),
        ("lock_timeout", "60000"),
        ("statement_timeout", "200"),
        ("synchronous_commit", "on"),
    ];
    assert_eq!(seen, expected.map(|(what, value)| (what.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn commits_are_on_the_disk_whatever_the_database_takes_for_usual() {
    let database = Database::migrated();
    for (usual, used) in [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")] {
        let set = format!("ALTER DATABASE {} SET synchronous_commit = {usual}", database.name());
        let watch = "DROP TABLE IF EXISTS seen; CREATE TABLE seen AS SELECT ''::text AS value; \
             CREATE OR REPLACE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 UPDATE seen SET value = current_setting('synchronous_commit'); RETURN NEW; END $$; \
             CREATE OR REPLACE TRIGGER look BEFORE INSERT ON yhub_ydoc_v1 FOR EACH ROW EXECUTE FUNCTION look()";
        support::execute(&database.url, watch);
        support::execute(&database.url, &set);
        let docs = connect(database.options()).await;
        docs.store(version(1, &[])).await.expect("store");
        let row = support::connect(&database.url).await.query_one("SELECT value FROM seen", &[]).await.expect("ask");
        assert_eq!(row.get::<_, String>(0), used);
    }
}

#[tokio::test]
async fn whoever_accepts_and_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("it listens").port();
    let mut options = PostgresDocsOptions::new(format!("postgres://u@127.0.0.1:{port}/d"));
    options.connect_timeout = Duration::from_millis(200);
    let error = PostgresDocs::connect(options.clone()).await.err().expect("nobody answers");
    assert!(matches!(error, ConnectError::Unreachable { .. }) && error.is_transient(), "{error:?}");
    let migrated = tokio::task::spawn_blocking(move || migrate_postgres(&options)).await.expect("no panic");
    assert!(matches!(migrated, Err(ConnectError::Unreachable { .. })), "{migrated:?}");
}

#[tokio::test]
async fn turns_are_bounded() {
    let database = Database::migrated();
    let options = PostgresDocsOptions { operations: 1, wait: Duration::from_millis(50), ..database.options() };
    let docs = Arc::new(connect(options).await);
    let (holder, admin) = (support::connect(&database.url).await, support::connect(&database.url).await);
    holder.batch_execute(&format!("BEGIN; {FENCE}")).await.expect("hold");
    let storing = tokio::spawn({
        let docs = docs.clone();
        async move { docs.store(version(1, &[])).await }
    });
    until_waiting(&admin, 1, || false).await;
    let said = assert_unavailable(docs.check().await);
    assert!(said.contains("1 operations are waiting"), "{said}");
    holder.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(storing.await.expect("no panic").expect("store"), StoreOutcome::Stored);
    docs.check().await.expect("it is their turn");
}

#[tokio::test]
async fn a_name_that_no_index_holds_is_refused_as_a_name() {
    let database = Database::migrated();
    let docs = connect(database.options()).await;
    let mut chance = fastrand::Rng::with_seed(5);
    let long: String = (0..5_000).map(|_| chance.alphanumeric()).collect();
    let room = RoomId::new("o", &long, "main");
    let stored = docs.store(StoreVersion { room: room.clone(), ..version(1, &[]) }).await;
    assert!(matches!(&stored, Err(DocStoreError::Room { room: of, .. }) if *of == room), "{stored:?}");
    let record = QuarantineRecord {
        room: room.clone(),
        id: QuarantineId("q".to_owned()),
        class: String::new(),
        signature: String::new(),
        reason: String::new(),
        from: version(1, &[]).clock,
        upto: version(1, &[]).clock,
        at_ms: 1,
    };
    assert!(matches!(docs.put_quarantine(&record).await, Err(DocStoreError::Room { .. })));
    // One that is long and compresses is held, as y/hub holds it.
    let plain = RoomId::new("o", &"a".repeat(5_000), "main");
    let stored = docs.store(StoreVersion { room: plain, ..version(1, &[]) }).await;
    assert_eq!(stored.expect("store"), StoreOutcome::Stored);
    assert_eq!(docs.read(&room, AssetSelection::NONE).await.expect("read").rows, []);
}
