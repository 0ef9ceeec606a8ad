//! The tables in PostgreSQL: looked at by servers, changed by `yhub migrate` only.

use diesel::{
    QueryableByName,
    migration::{Migration, MigrationSource},
    pg::Pg,
    sql_query,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::runtime::Builder;
use yhub_store::BoxError;

use super::{ConnectError, PostgresDocsOptions, connect::Target, error::chain};
use crate::error::{Shared, panic_text};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres/documents");

/// The advisory lock that whoever migrates holds: `yhubDOCS`.
const LOCK: i64 = i64::from_be_bytes(*b"yhubDOCS");

/// How long one migration waits for another, and for those who use the tables; and how long a statement of it may take.
const PATIENCE: &str = "SET lock_timeout = '60s'; SET statement_timeout = '10min'; SET client_min_messages = 'warning'";

#[derive(QueryableByName)]
struct There {
    #[diesel(sql_type = Bool)]
    there: bool,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The versions that this program knows, oldest first.
fn known() -> Result<Vec<String>, BoxError> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations()?;
    let mut known: Vec<_> = migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    known.sort();
    Ok(known)
}

/// The versions that were applied to the database.
async fn applied(conn: &mut AsyncPgConnection) -> diesel::QueryResult<Vec<String>> {
    let table: There =
        sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS there").get_result(conn).await?;
    if !table.there {
        return Ok(Vec::new());
    }
    let versions: Vec<Version> = sql_query("SELECT version FROM __diesel_schema_migrations").load(conn).await?;
    Ok(versions.into_iter().map(|row| row.version).collect())
}

/// Are the tables there, of this version, with all their columns? Changes nothing.
pub(super) async fn check(target: &Target) -> Result<(), ConnectError> {
    let mut conn = target.establish().await?;
    let at = || target.at.to_string();
    let failed = |source| ConnectError::Database { at: at(), source };
    let known = known().map_err(failed)?;
    let applied = applied(&mut conn).await.map_err(|error| ConnectError::Tables { at: at(), what: chain(&error) })?;
    refuse_newer(target, &known, &applied)?;
    let missing: Vec<_> = known.into_iter().filter(|version| !applied.contains(version)).collect();
    if !missing.is_empty() {
        return Err(ConnectError::NotMigrated { at: at(), missing: missing.join(", ") });
    }
    look_at_columns(&mut conn, target).await
}

fn refuse_newer(target: &Target, known: &[String], applied: &[String]) -> Result<(), ConnectError> {
    match applied.iter().filter(|version| !known.contains(version)).max() {
        None => Ok(()),
        Some(found) => Err(ConnectError::Newer {
            at: target.at.to_string(),
            found: found.clone(),
            known: known.last().cloned().unwrap_or_else(|| "none".to_owned()),
        }),
    }
}

/// Tables that were taken over may be others than we think: better now than at the first compaction.
async fn look_at_columns(conn: &mut AsyncPgConnection, target: &Target) -> Result<(), ConnectError> {
    super::bodies::look_at_columns(&mut &*conn)
        .await
        .map_err(|error| ConnectError::Tables { at: target.at.to_string(), what: chain(&error) })
}

/// Brings the tables up to date and returns the versions that were applied. Takes over the tables of y/hub 0.7 as they are.
/// Any number of processes may do it at once: one does it, the others wait and find it done. Blocks.
pub fn migrate_postgres(options: &PostgresDocsOptions) -> Result<Vec<String>, ConnectError> {
    let target = Target::new(options)?;
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|source| ConnectError::Runtime { source })?;
    let at = target.at.to_string();
    // On a thread of its own: whoever calls may be on a runtime, in which another one may not be waited for.
    let thread = std::thread::Builder::new()
        .name("yhub-migrate".to_owned())
        .spawn(move || runtime.block_on(migrate(&target)))
        .map_err(|source| ConnectError::Runtime { source })?;
    thread
        .join()
        .unwrap_or_else(|panic| Err(ConnectError::Migration { at, source: Box::new(Shared::new(panic_text(panic.as_ref()))) }))
}

async fn migrate(target: &Target) -> Result<Vec<String>, ConnectError> {
    let failed = |source| ConnectError::Migration { at: target.at.to_string(), source };
    let mut conn = target.establish().await?;
    conn.batch_execute(PATIENCE).await.map_err(|error| failed(error.into()))?;
    // Of the session: it ends with the connection, however that ends.
    let lock = sql_query(format!("SELECT pg_advisory_lock({LOCK})")).execute(&mut conn).await;
    lock.map_err(|error| failed(format!("another migration is under way, or its lock is held: {}", chain(&error)).into()))?;
    let (known, applied) = (known().map_err(failed)?, applied(&mut conn).await.map_err(|error| failed(error.into()))?);
    refuse_newer(target, &known, &applied)?;
    let mut harness = AsyncMigrationHarness::new(conn);
    let done = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    let done: Vec<String> = done.iter().map(ToString::to_string).collect();
    look_at_columns(&mut harness.into_inner(), target).await?;
    Ok(done)
}
