//! The configuration of a hub: one file per section, and where the values come from.
//!
//! In rising order: the defaults in the code, a TOML file, the environment (`YHUB__SERVER__LISTEN` for `server.listen`),
//! flags of the command line. A key that does not exist is an error that names it, wherever it stands. Everything is
//! checked before anything starts.

mod assets;
mod audit;
mod auth;
mod auth_callback;
mod compute;
mod default_file;
mod deletion;
mod embedded;
mod error;
mod jwt;
mod limits;
mod limits_page;
mod orgs;
mod places;
mod postgres;
mod redis;
mod role;
mod room;
mod s3;
mod secret;
mod section;
mod server;
mod sources;
mod stream;
mod worker;

use std::{
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};

pub(crate) use assets::branches;
pub use assets::{AssetCache, Assets, Files};
pub use audit::Audit;
pub use auth::{Auth, AuthMode, AuthModes, Everyone};
pub use auth_callback::{AuthCallback, CallbackKind};
pub use compute::Compute;
pub use default_file::default_file;
pub use deletion::Deletion;
pub use embedded::{Durability, Embedded};
pub use error::{ConfigError, Problem};
pub(crate) use jwt::KeySource;
pub use jwt::{Jwt, KeyFile};
pub use limits::Limits;
pub use limits_page::limits_page;
pub(crate) use orgs::org_limits;
pub use postgres::Postgres;
pub use redis::Redis;
pub use role::{Role, UnknownRole};
pub use room::Room;
pub use s3::{S3, S3Client};
pub use secret::{PostgresServer, RedisServer, SecretText, SecretUrl, Service};
pub use section::Millis;
pub use server::{Server, TrustedHeader};
pub use sources::{Flags, Loaded, Sources};
pub use stream::Stream;
pub use worker::Worker;

use section::{Field, Section, problems_of};

/// Everything that one hub can be told. What is secret in it is not shown, by `Debug` neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What this process does.
    pub role: Role,
    /// The directory of the embedded engines; created if it is missing. One running hub per directory.
    pub data_dir: PathBuf,
    /// How clients reach the hub, and what one connection may cost.
    pub server: Server,
    /// Who may do what.
    pub auth: Auth,
    /// Signed tokens.
    pub jwt: Jwt,
    /// The application's back end.
    pub auth_callback: AuthCallback,
    /// What clients may send.
    pub limits: Limits,
    /// Documents that are open.
    pub room: Room,
    /// The short-lived log of every room.
    pub stream: Stream,
    /// Folding the streams into stored versions.
    pub worker: Worker,
    /// What becomes of deleted documents.
    pub deletion: Deletion,
    /// The records of what was done and refused.
    pub audit: Audit,
    /// Merging and comparing documents.
    pub compute: Compute,
    /// The storage engines in the data directory.
    pub embedded: Embedded,
    /// The stream log that many nodes share.
    pub redis: Redis,
    /// The document store that many nodes share.
    pub postgres: Postgres,
    /// Where assets lie that are not in their rows.
    pub assets: Assets,
    /// Assets in an S3 service.
    pub s3: S3,
    /// Assets in files.
    pub files: Files,
    /// Assets at hand.
    pub asset_cache: AssetCache,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::default(),
            data_dir: PathBuf::from("./data"),
            server: Server::default(),
            auth: Auth::default(),
            jwt: Jwt::default(),
            auth_callback: AuthCallback::default(),
            limits: Limits::default(),
            room: Room::default(),
            stream: Stream::default(),
            worker: Worker::default(),
            deletion: Deletion::default(),
            audit: Audit::default(),
            compute: Compute::default(),
            embedded: Embedded::default(),
            redis: Redis::default(),
            postgres: Postgres::default(),
            assets: Assets::default(),
            s3: S3::default(),
            files: Files::default(),
            asset_cache: AssetCache::default(),
        }
    }
}

impl Config {
    /// The configuration of this process: defaults, then `file` (or the one that `YHUB_CONFIG` names, or `./yhub.toml` if
    /// it exists), then the environment, then `flags`.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML; else everything that is wrong with keys and values, at once.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, ConfigError> {
        Ok(Sources::of_process(file, flags)?.load()?.config)
    }

    /// For tests: a free port on loopback, few threads, short times, nothing that waits for a disk.
    pub fn for_testing(data_dir: impl Into<PathBuf>) -> Self {
        let mut config = Self { data_dir: data_dir.into(), ..Self::default() };
        config.server.listen.set_port(0);
        config.server.threads = 2;
        config.server.first_sync_ms = Millis::new(300);
        config.server.shutdown_ms = Millis::new(500);
        config.room.idle_ms = Millis::new(500);
        config.stream.min_message_lifetime_ms = Millis::new(100);
        config.worker.task_debounce_ms = Millis::new(100);
        config.worker.lease_ms = Millis::new(2_000);
        config.worker.concurrency = 1;
        config.worker.retry_ms = Millis::new(100);
        config.worker.reconcile_ms = Millis::new(1_000);
        config.deletion.janitor_ms = Millis::new(1_000);
        config.compute.threads = 1;
        config.embedded.durability = Durability::ProcessCrash;
        config.redis.sweep_ms = Millis::new(50);
        config.redis.timeout_ms = Millis::new(1_900);
        // As fast as it goes; tests of the rates set them.
        let limits = &mut config.limits;
        (limits.messages_per_second, limits.message_bytes_per_second) = (0, 0);
        (limits.user_messages_per_second, limits.user_bytes_per_second) = (0, 0);
        (limits.address_messages_per_second, limits.address_bytes_per_second) = (0, 0);
        (limits.room_messages_per_second, limits.room_bytes_per_second) = (0, 0);
        (limits.awareness_per_second, limits.awareness_bytes_per_second) = (0, 0);
        limits.http_connections_per_second = 0;
        (limits.upgrades_per_second, limits.rest_per_second, limits.rest_per_second_of_user) = (0, 0, 0);
        config
    }

    /// Are the stores Redis and PostgreSQL, which many nodes share, and not those in the data directory?
    pub fn is_distributed(&self) -> bool {
        self.redis.url.is_some() && self.postgres.url.is_some()
    }

    /// Can a hub be started with these values?
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
    }

    fn problems(&self) -> Vec<Problem> {
        // Every section by name, so that a new one that is left out here does not compile.
        let Self {
            role,
            data_dir,
            server,
            auth,
            jwt,
            auth_callback,
            limits,
            room,
            stream,
            worker,
            deletion,
            audit,
            compute,
            embedded,
            redis,
            postgres,
            assets,
            s3,
            files,
            asset_cache,
        } = self;
        let mut problems = Vec::new();
        if data_dir.as_os_str().is_empty() {
            problems.push(Problem::new("data_dir", "is empty", "name a directory, such as \"./data\""));
        }
        problems.extend(problems_of(server));
        problems.extend(problems_of(auth));
        problems.extend(problems_of(jwt));
        problems.extend(problems_of(auth_callback));
        problems.extend(problems_of(limits));
        problems.extend(problems_of(room));
        problems.extend(problems_of(stream));
        problems.extend(problems_of(worker));
        problems.extend(problems_of(deletion));
        problems.extend(problems_of(audit));
        problems.extend(problems_of(compute));
        problems.extend(problems_of(embedded));
        problems.extend(problems_of(redis));
        problems.extend(problems_of(postgres));
        problems.extend(problems_of(assets));
        problems.extend(problems_of(s3));
        problems.extend(problems_of(files));
        problems.extend(problems_of(asset_cache));
        if auth.mode.contains(AuthMode::Jwt) {
            jwt.check_used(&mut problems);
        }
        if auth.mode.contains(AuthMode::Callback) {
            auth_callback.check_used(auth.mode.contains(AuthMode::Jwt), &mut problems);
        }
        if role.serves() {
            auth.check_listen(server, &mut problems);
        }
        problems.extend(self.wrong_stores());
        problems.extend(self.wrong_assets());
        problems
    }

    /// What does not go together in the choice of stores.
    fn wrong_stores(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (redis, postgres) = (&self.redis, &self.postgres);
        let is_missing = |key, other| {
            let advice = "set it as well to run on Redis and PostgreSQL, or remove the other to serve from `data_dir`";
            Problem::new(key, format!("is not set, but `{other}` is"), advice)
        };
        match (&redis.url, &postgres.url) {
            (Some(_), None) => problems.push(is_missing("postgres.url", "redis.url")),
            (None, Some(_)) => problems.push(is_missing("redis.url", "postgres.url")),
            (None, None) if self.role != Role::All => problems.push(Problem::new(
                "role",
                format!("is \"{}\", but the stores in `data_dir` belong to one process, which has to do everything", self.role),
                "set `redis.url` and `postgres.url`, or leave the role at \"all\"",
            )),
            (None, None) => {}
            (Some(_), Some(_)) => {
                let mut less = |key, time: Millis, of, bound: Millis, why| {
                    if time >= bound {
                        let advice = format!("choose less than `{of}`, which is {bound:?}: {why}");
                        problems.push(Problem::new(key, format!("is {time:?}"), advice));
                    }
                };
                let lifetime = self.stream.min_message_lifetime_ms;
                let why = "else entries may leave the stream before every node has read them";
                less("redis.sweep_ms", redis.sweep_ms, "stream.min_message_lifetime_ms", lifetime, why);
                let why = "else one answer that does not come costs a worker its tasks";
                less("redis.timeout_ms", redis.timeout_ms, "worker.lease_ms", self.worker.lease_ms, why);
            }
        }
        if let Some(key) = redis.placed_without_url() {
            problems.push(Problem::new(key, "is set, but `redis.url` is not", "set that as well, or remove it"));
        }
        problems
    }
}

/// `count`, or the number of cores if it is 0: what `threads` means.
pub fn or_cores(count: usize) -> usize {
    if count > 0 { count } else { thread::available_parallelism().map_or(1, usize::from) }
}

/// The keys and texts of one section.
struct SectionInfo {
    key: &'static str,
    about: &'static [&'static str],
    fields: &'static [Field],
}

impl SectionInfo {
    const fn of<S: Section>() -> Self {
        Self { key: S::KEY, about: S::ABOUT, fields: S::FIELDS }
    }
}

/// Every key there is, in the order of the default file. The first one holds the keys that stand in no table.
const SCHEMA: &[SectionInfo] = &[
    SectionInfo {
        key: "",
        about: &[],
        fields: &[
            Field::of::<Role>(
                "role",
                &[
                    " What this process does: \"all\", \"server\" (clients, no compaction) or \"worker\" (compaction, no port). Other",
                    " than \"all\" only on Redis and PostgreSQL, where each role needs at least one process.",
                ],
                None,
            ),
            Field::of::<PathBuf>(
                "data_dir",
                &[" The directory of the embedded engines; created if it is missing. One running hub per directory."],
                None,
            ),
        ],
    },
    SectionInfo::of::<Server>(),
    SectionInfo::of::<Auth>(),
    SectionInfo::of::<Jwt>(),
    SectionInfo::of::<AuthCallback>(),
    SectionInfo::of::<Limits>(),
    SectionInfo::of::<Room>(),
    SectionInfo::of::<Stream>(),
    SectionInfo::of::<Worker>(),
    SectionInfo::of::<Deletion>(),
    SectionInfo::of::<Audit>(),
    SectionInfo::of::<Compute>(),
    SectionInfo::of::<Embedded>(),
    SectionInfo::of::<Redis>(),
    SectionInfo::of::<Postgres>(),
    SectionInfo::of::<Assets>(),
    SectionInfo::of::<S3>(),
    SectionInfo::of::<Files>(),
    SectionInfo::of::<AssetCache>(),
];

#[cfg(test)]
mod tests;
