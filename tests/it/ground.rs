//! What hubs stand on that are processes of their own: the engines in their data directory, or servers that they share.

use std::{fs, path::Path};

use yhub::{Backend, Config, Stores};
use yhub_testkit::{
    Launch,
    servers::{Database, Fsync, Redis},
};

use crate::support::{Servers, Stage, binary};

/// Stream and group of the tasks.
const QUEUE: &str = "yhub:worker";

/// A directory for hubs and their commands, and the servers that its configuration file names, if it names any.
pub(crate) struct Ground {
    servers: Option<Servers>,
    dir: tempfile::TempDir,
}

impl Ground {
    /// For one hub, on its data directory.
    pub(crate) fn embedded() -> Self {
        Self { servers: None, dir: tempfile::tempdir().unwrap() }
    }

    /// For any number of hubs, on Redis and PostgreSQL.
    pub(crate) fn distributed() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A hub complains about one that keeps nothing.
        let servers = Servers::with(Redis::options().append_only(Fsync::EverySec).start());
        let file = format!(
            "[redis]\nurl = \"{}\"\ntimeout_ms = 1500\nsweep_ms = 200\n[postgres]\nurl = \"{}\"\n",
            servers.redis.url(),
            servers.database.url()
        );
        fs::write(dir.path().join("yhub.toml"), file).unwrap();
        Self { servers: Some(servers), dir }
    }

    /// What a stage of one node stands on.
    pub(crate) async fn of(stage: Stage) -> Self {
        match stage.is_distributed() {
            true => tokio::task::spawn_blocking(Self::distributed).await.expect("the servers start"),
            false => Self::embedded(),
        }
    }

    /// Where commands find the configuration and the data.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The hub whose data the commands find.
    pub(crate) fn launch(&self) -> Launch {
        self.adapted(binary(self.dir()))
    }

    /// One of several hubs.
    pub(crate) fn node(&self, name: &str) -> Launch {
        self.adapted(binary(&self.dir().join(name)).env("YHUB_CONFIG", self.dir().join("yhub.toml").display()))
    }

    fn adapted(&self, launch: Launch) -> Launch {
        // A lease has to be longer than a server may take to answer.
        if self.servers.is_some() { launch.set("worker.lease_ms", 2_000) } else { launch }
    }

    /// The stores. On the embedded engines they are free only when no hub is running.
    pub(crate) async fn stores(&self) -> Stores {
        let mut config = Config::for_testing(self.dir().join("data"));
        if let Some(servers) = &self.servers {
            servers.set(&mut config);
        }
        Backend::open_stores(&config).await.unwrap()
    }

    /// The Redis of distributed hubs.
    pub(crate) fn redis(&self) -> &Redis {
        &self.servers.as_ref().expect("these hubs are distributed").redis
    }

    /// Their database.
    pub(crate) fn database(&self) -> &Database {
        &self.servers.as_ref().expect("these hubs are distributed").database
    }

    /// Writes a task as a y/hub does: into its group at once, for a consumer of that name.
    pub(crate) fn enqueue(&self, id: &str, kind: &str, what: &str) {
        let redis = self.redis();
        // Whoever starts makes the group; it may be there.
        let _ = redis.try_cli(["XGROUP", "CREATE", QUEUE, QUEUE, "0", "MKSTREAM"]);
        redis.cli(["XADD", QUEUE, id, kind, what]);
        redis.cli(["XREADGROUP", "GROUP", QUEUE, "pending", "COUNT", "1", "STREAMS", QUEUE, ">"]);
    }

    /// Who has each task of the queue.
    pub(crate) fn task_owners(&self) -> Vec<String> {
        let pending = self.redis().cli(["XPENDING", QUEUE, QUEUE, "-", "+", "100"]);
        let lines: Vec<&str> = pending.lines().collect();
        lines.chunks(4).map(|entry| entry[1].to_owned()).collect()
    }

    /// Is nothing left in Redis that is to be compacted?
    pub(crate) fn is_drained(&self) -> bool {
        self.redis().cli(["KEYS", "yhub:room:*"]).is_empty() && self.redis().cli(["XLEN", QUEUE]) == "0"
    }
}
