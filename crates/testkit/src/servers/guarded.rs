//! A server's process that cannot outlive whoever started it, and the directory it lives in.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use crate::{process::signal, wait::DEADLINE};

/// How often one looks at a server that starts or ends.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// Reads which process to end; at the end of its input, which comes however the test ends, it ends that process and removes
/// the directory. Some signals only ask, and a stopped process hears no question.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -s "$1" "$pid" 2>/dev/null; then
  kill -s CONT "$pid" 2>/dev/null
  tries=0
  while kill -s 0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -s KILL "$pid" 2>/dev/null
fi
rm -rf -- "$2"
"#;

/// At most one process, started again and again in the same temporary directory. Both are gone when this is dropped, and also
/// when the test that holds it is killed.
pub(crate) struct Guarded {
    name: &'static str,
    dir: PathBuf,
    child: Mutex<Option<Child>>,
    watchdog: Child,
    // Closed to tell the watchdog that the time has come.
    orders: Mutex<Option<ChildStdin>>,
}

impl Guarded {
    /// Nothing runs yet. `last` is the signal that ends the server when the test is no more.
    ///
    /// # Panics
    /// If there is no temporary directory or no shell.
    pub(crate) fn new(name: &'static str, last: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("yhub-{name}-")).tempdir().expect("a temporary directory can be made");
        let dir = dir.keep();
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "watchdog", last]).arg(&dir).stdin(Stdio::piped());
        // In a group of its own: what ends the test from outside, an interrupt say, must not end its watchdog before.
        let watchdog = watchdog.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
        let mut watchdog = watchdog.expect("there is a shell");
        let orders = watchdog.stdin.take();
        Self { name, dir, child: Mutex::new(None), watchdog, orders: Mutex::new(orders) }
    }

    /// The directory. Everything in it goes at the end.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything that the server has said.
    pub(crate) fn log(&self) -> String {
        fs::read(self.dir.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Starts the process.
    ///
    /// # Panics
    /// If one runs already, or if it cannot be started: with what to install.
    pub(crate) fn start(&self, command: &mut Command, install: &str) {
        let mut child = self.child();
        assert!(child.is_none(), "{} runs already", self.name);
        let log = || File::options().create(true).append(true).open(self.dir.join("log")).expect("the log can be opened");
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(log()).stderr(log()).process_group(0);
        let started = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().to_string_lossy();
            panic!("cannot start {program}: {error}; it must be on the PATH. Debian: apt-get install -y {install}")
        });
        self.order(&started.id().to_string());
        *child = Some(started);
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it does not run.
    pub(crate) fn pid(&self) -> u32 {
        self.child().as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).id()
    }

    /// Has it been started, and neither ended by itself nor by us?
    pub(crate) fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    /// Waits until `ready`.
    ///
    /// # Panics
    /// If it ends instead, or takes too long.
    pub(crate) fn wait_until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
            if ready() {
                return;
            }
            if let Some(how) = self.ended() {
                panic!("{} {how} while the test waited for: {what}. It said: {}", self.name, self.log());
            }
            sleep(POLL);
        }
        panic!("waited {DEADLINE:?} for: {what}. {} said: {}", self.name, self.log());
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it does not run.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, &[self.pid()]);
    }

    /// Waits for its end, after it was asked.
    ///
    /// # Panics
    /// If it does not end in time.
    pub(crate) fn wait(&self) -> ExitStatus {
        let mut child = self.child();
        let running = child.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name));
        for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
            if let Some(status) = running.try_wait().expect("it is our child") {
                *child = None;
                self.order("");
                return status;
            }
            sleep(POLL);
        }
        panic!("{} has not ended after {DEADLINE:?}: {}", self.name, self.log());
    }

    /// Kills it with SIGKILL and waits until it is gone. Nothing happens if it does not run.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            self.order("");
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended; `None` while it runs.
    fn ended(&self) -> Option<String> {
        match self.child().as_mut().map(|child| child.try_wait().expect("it is our child")) {
            None => Some("was stopped".to_owned()),
            Some(Some(status)) => Some(format!("ended with {status}")),
            Some(None) => None,
        }
    }

    /// Tells the watchdog which process to end; none for an empty text.
    fn order(&self, pid: &str) {
        if let Some(orders) = self.orders.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            writeln!(orders, "{pid}").expect("the watchdog listens");
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.watchdog.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::{
        process::is_running,
        servers::{Postgres, Redis},
        wait::block_until,
    };

    const CHILD: &str = "YHUB_TESTKIT_CHILD";

    /// Does nothing unless the other test has started it: then it holds servers until it is killed.
    #[test]
    fn holds_servers() {
        if std::env::var_os(CHILD).is_some() {
            let (redis, postgres) = (Redis::start(), Postgres::private());
            redis.pause();
            println!("\nHOLDS {} {} {}", redis.pid(), postgres.pid(), redis.data_dir().parent().unwrap().display());
            sleep(10 * DEADLINE);
        }
    }

    #[test]
    fn nothing_outlives_a_killed_test() {
        let mut holder = Command::new(std::env::current_exe().unwrap());
        holder.args(["--exact", "servers::guarded::tests::holds_servers", "--nocapture"]).env(CHILD, "1");
        let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = said.find_map(|line| line.strip_prefix("HOLDS ").map(str::to_owned)).expect("it starts servers");
        let [redis, postgres, dir] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let pids = [redis.parse().unwrap(), postgres.parse().unwrap()];
        assert!(pids.into_iter().all(is_running) && Path::new(dir).exists());
        holder.kill().unwrap();
        holder.wait().unwrap();
        block_until("the end of its servers", || !pids.into_iter().any(is_running) && !Path::new(dir).exists());
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let start = || Guarded::new("nothing", "KILL").start(&mut Command::new("yhub-no-such-program"), "some-package");
        let panic = std::panic::catch_unwind(start).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("yhub-no-such-program") && text.contains("apt-get install -y some-package"), "{text}");
    }

    #[test]
    fn a_server_that_ends_says_why() {
        let start = || Redis::options().setting("nonsense", 1).start();
        let panic = std::panic::catch_unwind(start).err().unwrap();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("ended with") && text.contains("nonsense"), "{text}");
    }
}
