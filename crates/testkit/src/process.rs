//! The hub's binary as a process of its own, which can be killed and measured.

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::Duration,
};

use crate::wait::DEADLINE;

const POLL: Duration = Duration::from_millis(10);

/// How to start the binary. May be used again and again on the same data.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    dir: PathBuf,
    listen: SocketAddr,
    settings: Vec<(String, String)>,
}

impl Launch {
    /// `binary` with its data and its log below `dir`, on a port that was free a moment ago.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), dir: dir.into(), listen: free_addr(), settings: Vec::new() }
    }

    /// With a key of the configuration: `server.keepalive_ms`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        let name = format!("YHUB__{}", key.to_uppercase().replace('.', "__"));
        self.settings.push((name, value.to_string()));
        self
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Everything that every process started from here has said.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("hub.log")
    }

    /// Starts it and waits until it is open.
    ///
    /// # Panics
    /// If it ends instead, or takes too long.
    pub fn start(&self) -> HubProcess {
        let before = self.log().len();
        let mut hub = self.spawn();
        for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
            let log = self.log();
            if log[before..].contains("\n  access ") {
                return hub;
            }
            if let Some(status) = hub.child.try_wait().expect("it is our child") {
                panic!("the hub ended with {status} instead of serving: {}", &log[before..]);
            }
            sleep(POLL);
        }
        panic!("the hub was not open after {DEADLINE:?}: {}", self.log());
    }

    /// Starts it without waiting.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(&self) -> HubProcess {
        fs::create_dir_all(&self.dir).expect("the directory of a test can be made");
        let log = || File::options().create(true).append(true).open(self.log_file()).expect("the log can be opened");
        writeln!(log(), "-- start").expect("the log can be written");
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.dir).env_clear().stdin(Stdio::null()).stdout(log()).stderr(log());
        command.arg("--listen").arg(self.listen.to_string()).arg("--data-dir").arg(self.data_dir());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        HubProcess { child, launch: self.clone() }
    }
}

/// A loopback address that nobody listens on, and that stays free while its hub is down: below the ports that clients are
/// given, of which one might even connect to itself.
fn free_addr() -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 12_000..30_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1_000 {
        // Test programs that run side by side look in different places.
        let place = std::process::id().wrapping_mul(97).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + place % (PORTS.end - PORTS.start);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no port between {} and {} is free", PORTS.start, PORTS.end);
}

/// A running hub; killed when dropped.
pub struct HubProcess {
    child: Child,
    launch: Launch,
}

impl HubProcess {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.launch.listen
    }

    /// What stock clients are given: its address without a path.
    pub fn url(&self) -> String {
        format!("ws://{}", self.launch.listen)
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it not ended?
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Its memory, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// How many sockets it has open.
    pub fn open_sockets(&self) -> usize {
        open_sockets(self.pid())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to end with SIGTERM.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn terminate(&self) {
        // A shell has `kill` built in, wherever the program of that name is missing.
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid())]).status();
        assert!(sent.expect("there is a shell").success(), "the hub is not there to be asked");
    }

    /// Waits for its end: the exit code, `None` if a signal ended it.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(mut self) -> Option<i32> {
        for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            sleep(POLL);
        }
        panic!("the hub has not ended after {DEADLINE:?}: {}", self.launch.log());
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// The resident memory of a process, in bytes.
///
/// # Panics
/// If there is no such process.
pub fn rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a living process has memory");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number of kB");
    kilobytes << 10
}

/// How many sockets a process has open.
///
/// # Panics
/// If there is no such process.
pub fn open_sockets(pid: u32) -> usize {
    let files = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).expect("the process is there");
    let is_socket = |file: &fs::DirEntry| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    // One that is closed meanwhile is not open.
    files.flatten().filter(is_socket).count()
}
