//! The hub's binary as a process of its own, which can be killed and measured.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::{ports::free_addr, wait::DEADLINE};

const POLL: Duration = Duration::from_millis(10);

/// How to start the binary, alone or as a node of several. May be used again and again on the same data.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    dir: PathBuf,
    listen: Option<SocketAddr>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ready: String,
}

impl Launch {
    /// `binary` with its data and its log below `dir`, on a port that was free a moment ago. Nodes of one cluster want a
    /// directory each.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            dir: dir.into(),
            listen: Some(free_addr()),
            args: Vec::new(),
            env: Vec::new(),
            ready: "\n  access ".to_owned(),
        }
    }

    /// With a key of the configuration: `server.keepalive_ms`.
    pub fn set(self, key: &str, value: impl ToString) -> Self {
        let name = format!("YHUB__{}", key.to_uppercase().replace('.', "__"));
        self.env(&name, value)
    }

    /// With a variable in its environment, which is otherwise empty.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// With arguments on its command line: `["serve", "--role", "server"]`.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Without a port: it has started when its log contains `ready`.
    pub fn without_port(mut self, ready: &str) -> Self {
        self.listen = None;
        self.ready = ready.to_owned();
        self
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it has no port.
    pub fn addr(&self) -> SocketAddr {
        self.listen.expect("a hub without a port has no address")
    }

    /// Its own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
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
            if log[before..].contains(&self.ready) {
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
        if let Some(listen) = self.listen {
            command.arg("--listen").arg(listen.to_string());
        }
        command.arg("--data-dir").arg(self.data_dir()).args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        HubProcess { child, launch: self.clone() }
    }
}

/// A running hub; killed when dropped.
pub struct HubProcess {
    child: Child,
    launch: Launch,
}

impl HubProcess {
    /// Where it listens.
    ///
    /// # Panics
    /// If it has no port.
    pub fn addr(&self) -> SocketAddr {
        self.launch.addr()
    }

    /// What stock clients are given: its address without a path.
    ///
    /// # Panics
    /// If it has no port.
    pub fn url(&self) -> String {
        format!("ws://{}", self.addr())
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

    /// The CPU time it has used, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        cpu_ms(self.pid())
    }

    /// Stops it where it is, with SIGSTOP. Its connections stay open.
    ///
    /// # Panics
    /// If it has ended.
    pub fn pause(&self) {
        signal("STOP", &[self.pid()]);
    }

    /// Lets it go on where it was.
    ///
    /// # Panics
    /// If it has ended.
    pub fn resume(&self) {
        signal("CONT", &[self.pid()]);
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
        signal("TERM", &[self.pid()]);
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

/// Sends a signal, named without `SIG`, to processes.
///
/// # Panics
/// If one of them is not there.
pub fn signal(name: &str, pids: &[u32]) {
    // A shell has `kill` built in, wherever the program of that name is missing.
    let sent = Command::new("sh").args(["-c", "kill -s \"$@\"", "kill", name]).args(pids.iter().map(u32::to_string)).status();
    assert!(sent.expect("there is a shell").success(), "cannot send SIG{name} to {pids:?}: not all of them are there");
}

/// The same, for processes of which some may have ended.
pub(crate) fn signal_those_left(name: &str, pids: &[u32]) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$@\" 2>/dev/null", "kill", name]).args(pids.iter().map(u32::to_string));
    kill.status().expect("there is a shell");
}

/// Is there such a process? One that has ended and that nobody has asked about is none.
pub fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// Has SIGSTOP reached it?
pub(crate) fn is_stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] == "T")
}

/// The processes that a process has started, not theirs.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("there is a list of processes");
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&other| stat(other).is_some_and(|fields| fields[1] == pid.to_string())).collect()
}

/// The fields of `/proc/PID/stat` from the state on, which is the third.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them is in brackets, and may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The CPU time that a process has used in all its threads, in milliseconds; it is counted in steps of 10.
///
/// # Panics
/// If there is no such process.
pub fn cpu_ms(pid: u32) -> u64 {
    try_cpu_ms(pid).expect("the process is there")
}

pub(crate) fn try_cpu_ms(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    // User and system time, fields 14 and 15: ticks, of which Linux shows programs 100 a second on every machine.
    let ticks = |field: usize| -> u64 { fields[field - 3].parse().expect("a time is a number of ticks") };
    Some((ticks(14) + ticks(15)) * 10)
}

/// The resident memory of a process, in bytes.
///
/// # Panics
/// If there is no such process.
pub fn rss_bytes(pid: u32) -> u64 {
    try_rss_bytes(pid).expect("the process is there")
}

pub(crate) fn try_rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // One that has ended and that nobody has asked about has no memory.
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number of kB");
    Some(kilobytes << 10)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::wait::block_until;

    /// A hub that says what it was started with and then works.
    fn worker(dir: &Path) -> Launch {
        let binary = dir.join("hub");
        let script =
            "#!/bin/sh\necho \"args $*\"\necho \"env $YHUB__REDIS__URL $OTHER $HOME\"\necho is working\nwhile :; do :; done\n";
        fs::write(&binary, script).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let worker = Launch::new(binary, dir.join("node 1")).args(["serve", "--role", "worker"]).without_port("\nis working\n");
        worker.set("redis.url", "redis://there").env("OTHER", 1)
    }

    #[test]
    fn a_worker_is_started_without_a_port() {
        let dir = tempfile::tempdir().unwrap();
        let launch = worker(dir.path());
        let hub = launch.start();
        let data_dir = dir.path().join("node 1/data");
        assert_eq!((launch.data_dir(), launch.dir()), (data_dir.clone(), data_dir.parent().unwrap()));
        let expected = format!("args --data-dir {} serve --role worker\nenv redis://there 1 \n", data_dir.display());
        assert!(launch.log().contains(&expected), "{}", launch.log());
        hub.terminate();
        assert_eq!(hub.wait(), None);
    }

    #[test]
    fn a_paused_hub_uses_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut hub = worker(dir.path()).start();
        block_until("some work", || hub.cpu_ms() >= 50);
        hub.pause();
        block_until("a hub that has stopped", || is_stopped(hub.pid()));
        let used = hub.cpu_ms();
        sleep(Duration::from_millis(100));
        assert_eq!(hub.cpu_ms(), used);
        assert!(hub.is_alive() && hub.rss_bytes() > 0 && hub.open_sockets() == 0);
        hub.resume();
        block_until("more work", || hub.cpu_ms() > used);
        let pid = hub.pid();
        hub.pause();
        drop(hub);
        assert!(!is_running(pid));
    }

    #[test]
    fn children_are_found() {
        let mut shell = Command::new("sh").args(["-c", "sleep 1000 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let found = children(shell.id());
        assert!(found.len() == 1 && found.iter().copied().all(is_running), "{found:?}");
        assert!(children(std::process::id()).contains(&shell.id()));
        signal("KILL", &found);
        // It has ended, and nobody has asked about it yet.
        block_until("its end", || !is_running(shell.id()));
        shell.wait().unwrap();
        block_until("the end of what it started", || !is_running(found[0]));
    }
}
