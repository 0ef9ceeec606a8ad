//! How a private Redis is to be, and the files that tell it.

use std::{
    fmt::{self, Write as _},
    fs,
    net::SocketAddr,
    path::Path,
};

use super::{Redis, certificates::Certificates};
use crate::ports::free_addr;

/// When an append-only file reaches the disk, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before a command is answered.
    Always,
    /// Once a second.
    EverySec,
    /// Whenever the system likes. A killed Redis loses nothing by that, only a killed machine would.
    No,
}

/// How a [`Redis`] is to be. Without anything it keeps its data in memory only.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    append_only: Option<Fsync>,
    max_memory: Option<(u64, String)>,
    pub(super) password: Option<String>,
    pub(super) tls: bool,
    cluster: bool,
    pub(super) shiftable_time: bool,
    pub(super) sentinel: bool,
    settings: Vec<(String, String)>,
}

impl RedisOptions {
    /// With an append-only file: what was written is there again after a stop or a kill.
    pub fn append_only(mut self, fsync: Fsync) -> Self {
        self.append_only = Some(fsync);
        self
    }

    /// With a bound for its memory, and what happens there: `noeviction`, `allkeys-lru`, …
    pub fn max_memory(mut self, bytes: u64, policy: &str) -> Self {
        self.max_memory = Some((bytes, policy.to_owned()));
        self
    }

    /// With a password, which [`Redis::url`] then contains.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With TLS only, on a certificate for 127.0.0.1 and localhost that [`Redis::ca_file`] vouches for.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// As a node of a cluster that does not exist yet. See [`super::RedisCluster`].
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// With a time of its own, see [`Redis::shift_time`]. Needs a C compiler.
    pub fn shiftable_time(mut self) -> Self {
        self.shiftable_time = true;
        self
    }

    /// With a line of `redis.conf`.
    pub fn setting(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// With the same password wherever it asks others.
    pub(super) fn same_password_elsewhere(self) -> Self {
        match self.password.clone() {
            Some(password) => self.setting("masterauth", password),
            None => self,
        }
    }

    /// As a sentinel, which knows but few settings.
    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it does not like the options.
    pub fn start(self) -> Redis {
        Redis::start_with(self)
    }

    /// Fills the directory of a server: its configuration in `redis.conf`, its certificates, an empty `data`. It listens at
    /// `addr` and at `socket` in the directory.
    pub(super) fn write(&self, dir: &Path, addr: SocketAddr) {
        let file = |name: &str, text: &str| {
            fs::write(dir.join(name), text).expect("a file in the temporary directory can be written");
            dir.join(name).display().to_string()
        };
        fs::create_dir_all(dir.join("data")).expect("the directory of the data can be made");
        let mut conf = String::new();
        let mut set = |key: &str, value: &dyn fmt::Display| writeln!(conf, "{key} {value}").expect("a text takes everything");
        set("bind", &"127.0.0.1");
        set("dir", &dir.join("data").display());
        set("unixsocket", &dir.join("socket").display());
        if self.tls {
            let made = Certificates::new();
            set("port", &0);
            set("tls-port", &addr.port());
            set("tls-auth-clients", &"no");
            set("tls-ca-cert-file", &file("ca.pem", made.ca()));
            set("tls-cert-file", &file("server.pem", made.certificate()));
            set("tls-key-file", &file("server.key", made.key()));
        } else {
            set("port", &addr.port());
        }
        if !self.sentinel {
            set("save", &"\"\"");
            set("enable-debug-command", &"local");
            // Otherwise a master waits for more replicas first, and then a second until it sends what was written meanwhile.
            set("repl-diskless-sync", &"no");
        }
        if let Some(fsync) = self.append_only {
            set("appendonly", &"yes");
            set("appendfsync", &format!("{fsync:?}").to_lowercase());
        }
        if let Some((bytes, policy)) = &self.max_memory {
            set("maxmemory", bytes);
            set("maxmemory-policy", policy);
        }
        if let Some(password) = &self.password {
            set("requirepass", password);
        }
        if self.cluster {
            set("cluster-enabled", &"yes");
            // Otherwise it is the port and 10000 more, which nobody has kept free.
            set("cluster-port", &free_addr().port());
            set("cluster-node-timeout", &2_000);
        }
        for (key, value) in &self.settings {
            set(key, value);
        }
        file("redis.conf", &conf);
    }
}
