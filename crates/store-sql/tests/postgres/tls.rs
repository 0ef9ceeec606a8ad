//! Encryption: each mode does what it says, or refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use yhub_store::DocStore;
use yhub_store_sql::{ConnectError, PostgresDocs, PostgresDocsOptions, migrate_postgres};
use yhub_testkit::servers::Postgres;

use super::support::{self, Database};

fn openssl(dir: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output().expect("run openssl");
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority and, by it, a certificate for `localhost`, in `dir`. A second authority that has signed nothing.
fn certificates(dir: &Path) {
    for name in ["ca", "other"] {
        openssl(dir, &format!("req -x509 {KEY} -days 3650 -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    openssl(dir, &format!("req -new {KEY} -subj /CN=localhost -keyout server.key -out server.csr"));
    fs::write(dir.join("extensions"), "subjectAltName=DNS:localhost\n").expect("write");
    openssl(
        dir,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out server.pem",
    );
}

/// A server with a certificate for `localhost`, a database on it, and where the certificates of the authorities are.
fn encrypted() -> (Postgres, Database, tempfile::TempDir) {
    let server = Postgres::private();
    let made = tempfile::tempdir().expect("a directory");
    certificates(made.path());
    let data = server.data_dir();
    for name in ["server.key", "server.pem"] {
        // Over files that are the server's own: it reads no key that others may read.
        support::execute(
            &server.url(),
            &format!("COPY (SELECT 1) TO PROGRAM 'umask 077; touch \"{}\"'", data.join(name).display()),
        );
        fs::write(data.join(name), fs::read(made.path().join(name)).expect("read")).expect("write");
    }
    support::execute(&server.url(), "ALTER SYSTEM SET ssl = on");
    support::execute(&server.url(), "ALTER SYSTEM SET ssl_cert_file = 'server.pem'");
    support::execute(&server.url(), "ALTER SYSTEM SET ssl_key_file = 'server.key'");
    server.restart();
    let database = Database::migrated_on(&server);
    (server, database, made)
}

#[tokio::test]
async fn every_mode_does_what_it_says() {
    let (server, database, made) = encrypted();
    let admin = support::connect(&database.url).await;
    let (ca, other): (Option<PathBuf>, _) = (Some(made.path().join("ca.pem")), Some(made.path().join("other.pem")));
    let options = |host: &str, mode: &str, ca_file: &Option<PathBuf>| PostgresDocsOptions {
        url: format!("postgres://postgres@{host}:{}/{}?{mode}", server.addr().port(), database.name()),
        ca_file: ca_file.clone(),
        ..database.options()
    };
    for (nth, (host, mode, ca_file, is_encrypted)) in [
        ("127.0.0.1", "sslmode=disable", &None, false),
        ("127.0.0.1", "", &None, true),
        ("127.0.0.1", "sslmode=prefer", &None, true),
        ("127.0.0.1", "sslmode=require", &None, true),
        ("127.0.0.1", "sslmode=require", &ca, true),
        ("127.0.0.1", "sslmode=verify-ca", &ca, true),
        ("localhost", "sslmode=verify-full", &ca, true),
        ("localhost", "", &ca, true),
    ]
    .into_iter()
    .enumerate()
    {
        let docs = PostgresDocs::connect(options(host, &format!("{mode}&application_name=t{nth}"), ca_file)).await;
        let docs = docs.unwrap_or_else(|error| panic!("{host} {mode} {ca_file:?}: {error}"));
        docs.check().await.expect("check");
        let ask = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
        let found: Option<bool> = admin.query_one(ask, &[&format!("t{nth}")]).await.expect("ask").get(0);
        assert_eq!(found, Some(is_encrypted), "{host} {mode} {ca_file:?}");
    }
    for (host, mode, ca_file) in [
        // Signed by somebody else; by somebody that the system does not know.
        ("127.0.0.1", "sslmode=require", &other),
        ("127.0.0.1", "sslmode=verify-ca", &other),
        ("localhost", "sslmode=verify-full", &other),
        ("localhost", "sslmode=verify-full", &None),
        // For another host.
        ("127.0.0.1", "sslmode=verify-full", &ca),
        ("127.0.0.1", "", &ca),
    ] {
        let options = options(host, mode, ca_file);
        let error = PostgresDocs::connect(options.clone()).await.err().unwrap_or_else(|| panic!("{host} {mode} {ca_file:?}"));
        println!("{host} {mode} {ca_file:?}: {error}");
        assert!(matches!(error, ConnectError::Tls { .. }) && !error.is_transient(), "{host} {mode} {ca_file:?}: {error:?}");
        let migrated = tokio::task::spawn_blocking(move || migrate_postgres(&options)).await.expect("no panic");
        assert!(matches!(migrated, Err(ConnectError::Tls { .. })), "{migrated:?}");
    }
}

#[tokio::test]
async fn a_server_without_encryption_is_refused_where_it_is_asked_for() {
    let database = Database::migrated();
    for (mode, refused) in [("require", true), ("prefer", false), ("disable", false)] {
        let options = PostgresDocsOptions { url: format!("{}?sslmode={mode}", database.url), ..database.options() };
        match PostgresDocs::connect(options).await {
            Ok(docs) => docs.check().await.expect("check"),
            Err(error) => {
                println!("{error}");
                assert!(refused && matches!(error, ConnectError::Tls { .. }), "{mode}: {error:?}");
                continue;
            }
        }
        assert!(!refused, "{mode}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let made = tempfile::tempdir().expect("a directory");
    fs::write(made.path().join("empty"), "nothing of the kind").expect("write");
    for name in ["empty", "missing"] {
        let options = PostgresDocsOptions {
            ca_file: Some(made.path().join(name)),
            ..PostgresDocsOptions::new("postgres://u@127.0.0.1:1/d")
        };
        let error = PostgresDocs::connect(options).await.err().expect("no certificates");
        assert!(matches!(error, ConnectError::Certificates(_)) && error.to_string().contains(name), "{error}");
    }
}
