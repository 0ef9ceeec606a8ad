//! Opens a database file of the data directory: locks it, looks whose it is, brings its tables up to date.
//!
//! Nothing is written to a file before it is known to be ours.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use diesel::{
    QueryableByName, RunQueryDsl, SqliteConnection,
    connection::{Connection, SimpleConnection},
    migration::MigrationSource,
    sql_query,
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use log::info;
use yhub_store::BoxError;

/// Every SQLite file begins with these bytes.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Why a data directory cannot be opened. All of them want somebody to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("cannot use {}; check that it is a directory this user may write to, and that the disk is not full", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// SQLite takes its paths as UTF-8.
    #[error("the data directory {} has a name that is not UTF-8; choose another", path.display())]
    PathName {
        /// The directory.
        path: PathBuf,
    },
    /// Another process, or another engine in this one, has it open.
    #[error(
        "the data directory {} is in use by {by}; stop that one first, or give this one a `data_dir` of its own",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as far as is known.
        by: String,
    },
    /// The file is damaged or of another program. It was left as it is.
    #[error("{} is not a file of yhub: {what}; move it away, or choose another `data_dir`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A later version has changed the tables. The file was left as it is.
    #[error(
        "{} was written by a newer yhub (its tables are at version {found}, this program knows up to {known}); \
         run that version, or restore a backup from before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the tables in the file.
        found: String,
        /// The newest version that this program knows.
        known: String,
    },
    /// SQLite could not open the file or bring its tables up to date.
    #[error("cannot open the database {}; check the disk, and restore a backup if it is damaged", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BoxError,
    },
}

/// Which file, and how to recognise it.
pub(crate) struct FileKind {
    /// Its name in the data directory.
    pub(crate) name: &'static str,
    /// The `application_id` in its header.
    pub(crate) application_id: u32,
    /// Its tables.
    pub(crate) migrations: EmbeddedMigrations,
}

/// An open database file. Whoever holds it is the only one who writes to the file.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    /// Where it is, absolute; as Diesel wants it.
    pub(crate) url: String,
    /// The lock; given back when this is dropped.
    _lock: File,
}

/// Opens (or makes) the file `kind` in `dir`, alone, with its tables up to date and in WAL mode.
pub(crate) fn open_file(dir: &Path, kind: FileKind) -> Result<OpenedFile, OpenError> {
    let dir = make_dir(dir)?;
    let path = dir.join(kind.name);
    let lock = lock(&dir, kind.name)?;
    // Absolute, so that it can never be taken for a URI.
    let url = path.to_str().ok_or_else(|| OpenError::PathName { path: dir.clone() })?.to_owned();
    refuse_other_format(&path)?;
    let database = |source: BoxError| OpenError::Database { path: path.clone(), source };
    let mut conn = SqliteConnection::establish(&url).map_err(|error| database(error.into()))?;
    conn.batch_execute("PRAGMA busy_timeout = 5000").map_err(|error| database(error.into()))?;
    refuse_foreign(&mut conn, &path, kind.application_id)?;
    refuse_newer(&mut conn, &path, &kind.migrations)?;
    let applied = conn.run_pending_migrations(kind.migrations).map_err(database)?;
    if let Some(version) = applied.last() {
        info!(file:% = path.display(), version:% = version; "brought the tables of {} to version {version}", path.display());
    }
    // After the tables: the first migration then needs no WAL to be recognised by, should it be interrupted.
    // What was in the log of the run before goes into the file, and with it what was erased since goes for good.
    conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA wal_checkpoint(TRUNCATE)").map_err(|error| database(error.into()))?;
    Ok(OpenedFile { url, _lock: lock })
}

fn make_dir(dir: &Path) -> Result<PathBuf, OpenError> {
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    if !dir.is_dir() {
        std::fs::create_dir_all(dir).map_err(io_error)?;
        // The name of a new directory must survive a power loss like what will be in it.
        if let Some(parent) = dir.canonicalize().map_err(io_error)?.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(io_error)?;
        }
    }
    dir.canonicalize().map_err(io_error)
}

/// Takes the lock file beside `name`. The system gives it back when the process ends, however it ends.
fn lock(dir: &Path, name: &str) -> Result<File, OpenError> {
    let path = dir.join(format!("{name}.lock"));
    let io_error = |source| OpenError::Io { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only for the message: whoever holds the lock wrote its number, or is about to.
            let by = match file.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                _ => "another process".to_owned(),
            };
            return Err(OpenError::InUse { dir: dir.to_owned(), by });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io_error)?;
    Ok(file)
}

/// Reads the first bytes without SQLite, which would take a short file for an empty database.
fn refuse_other_format(path: &Path) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(error)),
    };
    let mut start = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io_error)?;
    if start.is_empty() || start == MAGIC {
        return Ok(());
    }
    Err(OpenError::Foreign { path: path.to_owned(), what: "it is no SQLite database".to_owned() })
}

#[derive(QueryableByName)]
struct Identity {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    application_id: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    tables: i64,
}

fn refuse_foreign(conn: &mut SqliteConnection, path: &Path, application_id: u32) -> Result<(), OpenError> {
    let found: Identity = sql_query(
        "SELECT application_id, (SELECT count(*) FROM sqlite_master WHERE type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '__diesel_schema_migrations') AS tables \
         FROM pragma_application_id",
    )
    .get_result(conn)
    .map_err(|error| OpenError::Database { path: path.to_owned(), source: error.into() })?;
    // Without an id and without tables: new, or the very first opening was interrupted.
    let fresh = found.application_id == 0 && found.tables == 0;
    if fresh || found.application_id == i64::from(application_id) {
        return Ok(());
    }
    let what = format!("it is the SQLite database of another program (application id {})", found.application_id);
    Err(OpenError::Foreign { path: path.to_owned(), what })
}

fn refuse_newer(conn: &mut SqliteConnection, path: &Path, migrations: &EmbeddedMigrations) -> Result<(), OpenError> {
    let database = |source: BoxError| OpenError::Database { path: path.to_owned(), source };
    let mut known: Vec<String> = MigrationSource::<Sqlite>::migrations(migrations)
        .map_err(database)?
        .iter()
        .map(|migration| migration.name().version().as_owned().to_string())
        .collect();
    known.sort();
    let applied = conn.applied_migrations().map_err(database)?;
    let unknown = applied.iter().map(ToString::to_string).filter(|version| !known.contains(version)).max();
    match unknown {
        None => Ok(()),
        Some(found) => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: known.pop().unwrap_or_else(|| "none".to_owned()) })
        }
    }
}
