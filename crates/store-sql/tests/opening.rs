//! What happens when a data directory is opened that is in use, damaged, somebody else's, or of another version.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use yhub_core::{RoomId, SystemClock};
use yhub_store::{AssetSelection, DocStore, DocStoreError, StreamLog};
use yhub_store_sql::{EmbeddedLog, EmbeddedLogOptions, OpenError, SqliteDocs, SqliteDocsOptions};

const STREAM: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/stream");
const DOCUMENTS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/documents");

fn open_log(dir: &Path) -> Result<EmbeddedLog, OpenError> {
    EmbeddedLog::open(EmbeddedLogOptions::new(dir), Arc::new(SystemClock))
}

fn open_docs(dir: &Path) -> Result<SqliteDocs, OpenError> {
    SqliteDocs::open(SqliteDocsOptions::new(dir))
}

/// Opens a file of the directory `dir` with one of the two engines; says what went wrong.
type Open = fn(&Path) -> Option<OpenError>;
const ENGINES: [(&str, Open); 2] =
    [("stream.sqlite3", |dir| open_log(dir).err()), ("documents.sqlite3", |dir| open_docs(dir).err())];

fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("connect")
}

#[test]
fn a_missing_directory_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep/er");
    for (file, open) in ENGINES {
        assert!(open(&path).is_none());
        assert!(path.join(file).is_file());
    }
}

#[test]
fn two_openers_are_one_too_many() {
    let dir = tempfile::tempdir().expect("a directory");
    let _log = open_log(dir.path()).expect("the first");
    let _docs = open_docs(dir.path()).expect("the first");
    for (_, open) in ENGINES {
        let error = open(dir.path()).expect("the second");
        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&dir.path().canonicalize().expect("it is there").display().to_string()), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("data_dir"), "{text}");
    }
}

#[test]
fn another_process_is_kept_out_until_this_one_ends() {
    if let Some(dir) = std::env::var_os("YHUB_TEST_DIR") {
        return open_for_the_parent(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let try_it = || {
        let exe = std::env::current_exe().expect("this test");
        let mut child = Command::new(exe);
        child
            .args(["another_process_is_kept_out_until_this_one_ends", "--exact", "--nocapture"])
            .env("YHUB_TEST_DIR", dir.path());
        String::from_utf8_lossy(&child.output().expect("run").stdout).into_owned()
    };
    let log = open_log(dir.path()).expect("the first");
    assert!(try_it().contains("REFUSED: InUse"));
    drop(log);
    assert!(try_it().contains("OPENED"));
    open_log(dir.path()).expect("the other has ended, and its lock with it");
}

/// What the test above does in the process that it starts.
fn open_for_the_parent(dir: &Path) {
    match open_log(dir) {
        // The lock ends with the process, whether or not the log is closed.
        Ok(log) => {
            std::mem::forget(log);
            println!("OPENED");
        }
        Err(error) => println!("REFUSED: {error:?}"),
    }
}

#[test]
fn a_foreign_file_is_left_as_it_is() {
    for (file, open) in ENGINES {
        for content in [&b"no database at all"[..], b"x", b"SQLite format 2\0 and so on", &[0; 4096]] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join(file);
            fs::write(&path, content).expect("write");
            let error = open(dir.path()).expect("it is not ours");
            assert!(matches!(&error, OpenError::Foreign { path, .. } if path.ends_with(file)), "{error:?}");
            assert_eq!(fs::read(&path).expect("it is there"), content);
        }
    }
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    for (file, open) in ENGINES {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(file);
        connect(&path).batch_execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").expect("make");
        let before = fs::read(&path).expect("read");
        let error = open(dir.path()).expect("it is not ours");
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert_eq!(fs::read(&path).expect("it is there"), before);
    }
    // Not even the file of the other engine.
    let dir = tempfile::tempdir().expect("a directory");
    drop(open_log(dir.path()).expect("open"));
    fs::rename(dir.path().join("stream.sqlite3"), dir.path().join("documents.sqlite3")).expect("rename");
    assert!(matches!(open_docs(dir.path()).err(), Some(OpenError::Foreign { .. })));
}

#[test]
fn an_empty_file_is_a_new_one() {
    for (file, open) in ENGINES {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(file), b"").expect("write");
        assert!(open(dir.path()).is_none());
        assert!(open(dir.path()).is_none(), "and again");
    }
}

#[tokio::test]
async fn a_damaged_file_is_an_error_whenever_it_is_noticed() {
    for (file, open) in ENGINES {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(open(dir.path()).is_none());
        let path = dir.path().join(file);
        let mut content = fs::read(&path).expect("read");
        content[100..].fill(0xa5);
        fs::write(&path, &content).expect("write");
        let error = open(dir.path()).expect("it is damaged");
        assert!(matches!(&error, OpenError::Database { path, .. } if path.ends_with(file)), "{error:?}");
        assert_eq!(fs::read(&path).expect("it is there"), content);
    }
    // Damage that opening does not see.
    let dir = tempfile::tempdir().expect("a directory");
    drop(open_docs(dir.path()).expect("open"));
    let path = dir.path().join("documents.sqlite3");
    let mut content = fs::read(&path).expect("read");
    assert!(content.len() > 3 * 4096);
    content[4096..].fill(0xa5);
    fs::write(&path, &content).expect("write");
    if let Ok(docs) = open_docs(dir.path()) {
        let error = docs.read(&RoomId::new("o", "d", "main"), AssetSelection::ALL).await.expect_err("damaged");
        assert!(matches!(error, DocStoreError::Corrupt { .. }), "{error:?}");
    }
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    for (file, open) in ENGINES {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(open(dir.path()).is_none());
        let path = dir.path().join(file);
        connect(&path).batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')").expect("write");
        let before = fs::read(&path).expect("read");
        let error = open(dir.path()).expect("it is newer");
        assert!(matches!(&error, OpenError::Newer { found, known, .. } if found == "9999" && known < found), "{error:?}");
        assert_eq!(fs::read(&path).expect("it is there"), before);
    }
}

#[derive(diesel::QueryableByName, Debug, PartialEq)]
struct Object {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    sql: Option<String>,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    application_id: i64,
}

fn objects(conn: &mut SqliteConnection) -> Vec<Object> {
    sql_query(
        "SELECT name, sql, application_id FROM sqlite_master, pragma_application_id \
         WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '__diesel_schema_migrations' ORDER BY name",
    )
    .load(conn)
    .expect("read the schema")
}

#[test]
fn up_down_up_gives_the_same_tables() {
    for (migrations, again) in [(STREAM, STREAM), (DOCUMENTS, DOCUMENTS)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut conn = connect(&dir.path().join("file"));
        conn.run_pending_migrations(migrations).expect("up");
        let first = objects(&mut conn);
        assert!(first.len() >= 3 && first.iter().all(|object| object.application_id != 0), "{first:?}");
        conn.revert_all_migrations(again).expect("down");
        assert_eq!(objects(&mut conn), []);
        conn.run_pending_migrations(if first[0].name.starts_with("stream") { STREAM } else { DOCUMENTS }).expect("up again");
        assert_eq!(objects(&mut conn), first);
    }
}

#[tokio::test]
async fn a_key_that_is_no_clock_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let docs = open_docs(dir.path()).expect("open");
    let mut conn = connect(&dir.path().join("documents.sqlite3"));
    let insert = |t: &str| format!("INSERT INTO yhub_ydoc_v1 (org, docid, branch, t) VALUES ('o', 'd', 'main', '{t}')");
    // As imports have written them: they order like the start of their millisecond.
    for t in ["5-1", "5-I", "4", "4-10"] {
        conn.batch_execute(&insert(t)).expect("insert");
    }
    let room = RoomId::new("o", "d", "main");
    let found = docs.read(&room, AssetSelection::ALL).await.expect("all are clocks");
    assert_eq!(found.rows.iter().map(|row| row.t.as_str()).collect::<Vec<_>>(), ["4", "4-10", "5-I", "5-1"]);
    // What a row does not say has the value that older writers meant.
    assert_eq!((found.rows[2].created_ms, found.rows[2].is_reference), (5, [true; 4]));
    assert_eq!(found.rows[2].assets, [const { None }; 4]);
    conn.batch_execute(&insert("5-x")).expect("insert");
    let error = docs.read(&room, AssetSelection::NONE).await.expect_err("that is no clock");
    let text = error.to_string();
    assert!(matches!(error, DocStoreError::Corrupt { .. }) && !error.is_transient());
    assert!(["yhub_ydoc_v1", "column t", "o/d@main", "5-x"].iter().all(|part| text.contains(part)), "{text}");
    let other = docs.read(&RoomId::new("o", "e", "main"), AssetSelection::NONE).await.expect("other rooms go on");
    assert_eq!(other.rows, []);
}

#[tokio::test]
async fn both_engines_share_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, docs) = (open_log(dir.path()).expect("open"), open_docs(dir.path()).expect("open"));
    log.check().await.expect("the log answers");
    docs.check().await.expect("the store answers");
    // A reader of one file does not hold up the other.
    let mut conn = connect(&dir.path().join("documents.sqlite3"));
    conn.batch_execute("BEGIN IMMEDIATE").expect("hold the store's write lock");
    tokio::time::timeout(Duration::from_secs(2), log.check()).await.expect("not held up").expect("the log answers");
}
