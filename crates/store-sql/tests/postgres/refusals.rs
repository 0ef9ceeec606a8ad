//! What cannot be connected to says why, where and what to do, and never a password.

use std::{error::Error, fs};

use yhub_store_sql::{ConnectError, PostgresDocs, PostgresDocsOptions, migrate_postgres};
use yhub_testkit::servers::Postgres;

use super::support::{self, Database};

/// What connecting says, with all that is below it.
async fn said(options: PostgresDocsOptions) -> (ConnectError, String) {
    let error = PostgresDocs::connect(options).await.err().expect("refused");
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text = format!("{text}: {source}");
        below = source.source();
    }
    println!("{text}");
    assert!(!text.contains("s3cret") && !text.contains("postgres://"), "{text}");
    (error, text)
}

fn with_url(database: &Database, url: String) -> PostgresDocsOptions {
    PostgresDocsOptions { url, ..database.options() }
}

#[tokio::test]
async fn what_the_login_refuses() {
    let server = Postgres::private();
    let database = Database::migrated_on(&server);
    fs::write(
        server.data_dir().join("pg_hba.conf"),
        "host all editor 127.0.0.1/32 scram-sha-256\nhost all outsider 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust\n",
    )
    .expect("write");
    support::execute(
        &server.url(),
        "CREATE ROLE editor LOGIN PASSWORD 's3cret'; CREATE ROLE outsider LOGIN; CREATE ROLE reader LOGIN; SELECT pg_reload_conf()",
    );
    let (at, name) = (server.addr().to_string(), database.name());
    // Told to reload, the server takes its time.
    let right = with_url(&database, format!("postgres://editor:s3cret@{at}/{name}"));
    let wrong = with_url(&database, format!("postgres://editor:s3cret2@{at}/{name}"));
    loop {
        match PostgresDocs::connect(wrong.clone()).await {
            Err(ConnectError::Denied { .. }) => break,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    let (error, text) = said(wrong.clone()).await;
    assert!(matches!(error, ConnectError::Denied { .. }) && !error.is_transient(), "{error:?}");
    assert!(
        ["password authentication failed", "editor", &at, name, "postgres.url"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    let migrated = tokio::task::spawn_blocking(move || migrate_postgres(&wrong)).await.expect("no panic");
    assert!(matches!(migrated, Err(ConnectError::Denied { .. })), "{migrated:?}");

    // Let in, but the tables are somebody else's.
    let (error, text) = said(right).await;
    assert!(matches!(error, ConnectError::Tables { .. }) && text.contains("permission denied"), "{text}");

    let (error, _) = said(with_url(&database, format!("postgres://outsider:s3cret@{at}/{name}"))).await;
    assert!(matches!(error, ConnectError::Denied { .. }), "{error:?}");
    let (error, text) = said(with_url(&database, format!("postgres://editor@{at}/{name}"))).await;
    assert!(matches!(error, ConnectError::Denied { .. }) && text.contains("password missing"), "{text}");
}

#[tokio::test]
async fn places_where_there_is_nothing() {
    let database = Database::migrated();
    let (server, _) = database.url.rsplit_once('/').expect("a url");
    let (error, text) = said(with_url(&database, format!("{}/nosuch", server.replace("postgres@", "postgres:s3cret@")))).await;
    assert!(matches!(error, ConnectError::Denied { .. }) && text.contains("database \"nosuch\" does not exist"), "{text}");
    for (host, database_name) in [("127.0.0.1:1", "d"), ("nosuch.invalid:5432", "d")] {
        let url = format!("postgres://u:s3cret@{host}/{database_name}");
        let (error, text) = said(with_url(&database, url)).await;
        assert!(matches!(error, ConnectError::Unreachable { .. }) && error.is_transient(), "{error:?}");
        assert!(text.contains(&format!("{host}/{database_name}")) && text.contains("postgres.url"), "{text}");
    }
}

#[tokio::test]
async fn tables_of_another_version() {
    let database = Database::empty();
    let (error, text) = said(database.options()).await;
    assert!(matches!(error, ConnectError::NotMigrated { .. }) && !error.is_transient(), "{error:?}");
    assert!(["run `yhub migrate`", "0001, 0002, 0003, 0004", database.name()].iter().all(|part| text.contains(part)), "{text}");
    let objects = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let row = support::connect(&database.url).await.query_one(objects, &[]).await.expect("ask");
    assert_eq!(row.get::<_, i64>(0), 0, "looking changes nothing");

    let database = Database::migrated();
    support::execute(&database.url, "DELETE FROM __diesel_schema_migrations WHERE version = '0003'");
    let (error, text) = said(database.options()).await;
    assert!(matches!(error, ConnectError::NotMigrated { .. }) && text.contains("applied: 0003)"), "{text}");

    let database = Database::migrated();
    support::execute(&database.url, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    let (error, text) = said(database.options()).await;
    assert!(matches!(&error, ConnectError::Newer { found, known, .. } if found == "9999" && known == "0005"), "{error:?}");
    assert!(text.contains("newer yhub"), "{text}");
    let options = database.options();
    let migrated = tokio::task::spawn_blocking(move || migrate_postgres(&options)).await.expect("no panic");
    assert!(matches!(migrated, Err(ConnectError::Newer { .. })), "{migrated:?}");
}

#[tokio::test]
async fn tables_that_only_have_our_names() {
    let database = Database::migrated();
    support::execute(&database.url, "ALTER TABLE yhub_ydoc_v1 DROP COLUMN contentids_is_reference");
    let (error, text) = said(database.options()).await;
    assert!(matches!(error, ConnectError::Tables { .. }) && text.contains("contentids_is_reference"), "{text}");
}
