//! A PostgreSQL for all tests of a process, private ones to break, and databases in them.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{background::blocking, guarded::Guarded};
use crate::{
    ports::free_addr,
    process::{children, is_running, is_stopped, signal_those_left, try_cpu_ms, try_rss_bytes},
    wait::{DEADLINE, block_until},
};

const INSTALL: &str = "postgresql";

/// The url of a running server and of a superuser's database in it, for the tests of many processes.
const VARIABLE: &str = "YHUB_TEST_POSTGRES";

/// A database without tables, which sorts texts as people do: nobody may rely on another order. `template0`: the other one
/// cannot be copied while somebody looks into it.
const EMPTY: &str = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";

/// The server that this process shares, if nobody has named one.
static SHARED: OnceLock<Postgres> = OnceLock::new();

/// A running PostgreSQL of this test's own; ended when dropped.
///
/// Its port and its directory stay the same over all restarts. What was committed is there again after a stop or a kill.
pub struct Postgres {
    programs: PathBuf,
    owner: Option<Owner>,
    addr: SocketAddr,
    guard: Guarded,
}

/// Whom the server runs as: it refuses to be root.
#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// A new, empty database for one test: on the server that `YHUB_TEST_POSTGRES` names, else on one that this process
    /// shares. To run the tests of many processes, `scripts/private-postgres` starts one for all.
    ///
    /// # Panics
    /// If it cannot be made, or if there is no PostgreSQL: with what to install.
    pub fn database() -> Database {
        match std::env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Database::create(url),
            _ => SHARED.get_or_init(Postgres::private).create_database(),
        }
    }

    /// A server of its own, to stop and to break. Starting it takes a second or two.
    ///
    /// # Panics
    /// If there is no PostgreSQL: with what to install.
    pub fn private() -> Self {
        let guard = Guarded::new("postgres", "QUIT");
        let this = Self { programs: programs(), owner: owner(guard.dir()), addr: free_addr(), guard };
        if let Some(Owner { user, group }) = this.owner {
            chown(this.guard.dir(), Some(user), Some(group)).expect("root can give a directory away");
        }
        let mut initdb = this.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        let made = initdb.output().unwrap_or_else(|error| panic!("cannot start initdb: {error}"));
        assert!(made.status.success(), "initdb has failed: {}", String::from_utf8_lossy(&made.stderr));
        this.start_again();
        this
    }

    /// A new, empty database on this server.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn create_database(&self) -> Database {
        Database::create(self.url())
    }

    /// The superuser's database.
    pub fn url(&self) -> String {
        self.url_at(self.addr)
    }

    /// The same at another address: that of a proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        format!("postgres://postgres@{addr}/postgres")
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The directory of its data and of its settings, which may be changed before it is started again.
    pub fn data_dir(&self) -> PathBuf {
        self.guard.dir().join("data")
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Stops it in an orderly way, with all its connections.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop(&self) {
        self.guard.signal("INT");
        self.guard.wait();
    }

    /// Kills it with SIGKILL, all its processes, and waits until they are gone.
    pub fn kill(&self) {
        if self.guard.is_running() {
            let children = self.freeze();
            self.guard.kill();
            // They end with it, unless they are paused.
            signal_those_left("KILL", &children);
            block_until("the end of all processes of postgres", || !children.iter().any(|&child| is_running(child)));
        }
    }

    /// Starts it after a stop or a kill, and waits until it answers.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn start_again(&self) {
        let mut postgres = self.command("postgres");
        let settings = [
            "listen_addresses=127.0.0.1",
            &format!("port={}", self.addr.port()),
            "unix_socket_directories=",
            "max_connections=200",
            // Only a killed machine would lose anything by these two.
            "fsync=off",
            "full_page_writes=off",
        ];
        postgres.args(settings.iter().flat_map(|setting| ["-c", *setting]));
        self.guard.start(&mut postgres, INSTALL);
        let url = self.url();
        self.guard.wait_until("an answer of postgres", || query(&url, "SELECT 1", DEADLINE).is_ok());
    }

    /// [`Postgres::stop`] and [`Postgres::start_again`].
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Stops all its processes where they are, with SIGSTOP. Connections stay open, and new ones are accepted by the system.
    pub fn pause(&self) {
        signal_those_left("STOP", &self.freeze());
    }

    /// Lets them go on where they were.
    pub fn resume(&self) {
        signal_those_left("CONT", &children(self.pid()));
        self.guard.signal("CONT");
    }

    /// Stops the first process, so that no others are started, and gives those that there are.
    fn freeze(&self) -> Vec<u32> {
        let pid = self.pid();
        self.guard.signal("STOP");
        block_until("a postgres that has stopped", || is_stopped(pid) || !is_running(pid));
        children(pid)
    }

    /// Does it run? A paused one does.
    pub fn is_running(&self) -> bool {
        self.guard.is_running()
    }

    /// The id of its first process, which changes with every start.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.guard.pid()
    }

    /// The CPU time that its living processes have used, in milliseconds. A connection has one of its own: it falls when
    /// one is closed.
    pub fn cpu_ms(&self) -> u64 {
        self.sum(try_cpu_ms)
    }

    /// The memory of all its processes, in bytes. What they share is counted for each.
    pub fn rss_bytes(&self) -> u64 {
        self.sum(try_rss_bytes)
    }

    fn sum(&self, of: impl Fn(u32) -> Option<u64>) -> u64 {
        let mut all = children(self.pid());
        all.push(self.pid());
        // One that has just ended counts no more.
        all.into_iter().filter_map(of).sum()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.data_dir());
        // A directory that its user may not enter is none to work in.
        command.current_dir(self.guard.dir());
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The whole of it: its children would not end before it if they are paused.
        self.kill();
    }
}

/// The directory of `initdb` and `postgres`: on the PATH, else the newest of Debian's.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let dirs = on_path.into_iter().chain(versions.into_iter().rev().map(|(_, dir)| dir));
    let found = dirs.into_iter().find(|dir| ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file()));
    found.unwrap_or_else(|| {
        panic!(
            "initdb and postgres are missing; they must be on the PATH or where Debian puts them: apt-get install -y {INSTALL}"
        )
    })
}

/// `None` if we may run it ourselves: `ours` is a file of ours.
fn owner(ours: &Path) -> Option<Owner> {
    if fs::metadata(ours).expect("it is there").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("there is a list of users");
    let postgres = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == "postgres");
    let postgres =
        postgres.expect("postgres does not run as root, and there is no user postgres. Debian: apt-get install -y postgresql");
    let number = |field: &str| field.parse().expect("an id is a number");
    Some(Owner { user: number(postgres[2]), group: number(postgres[3]) })
}

/// A database that is empty at first; dropped with everything in it, whoever is connected, when this is.
pub struct Database {
    name: String,
    url: String,
    server: String,
}

impl Database {
    fn create(server: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Several machines may use one server.
        let (process, number, any) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed), fastrand::u32(..));
        let name = format!("yhub_test_{process}_{number}_{any:08x}");
        let made = query(&server, &format!("CREATE DATABASE {name} {EMPTY}"), DEADLINE);
        made.unwrap_or_else(|error| panic!("cannot make a database for a test; {VARIABLE} must be a superuser's url: {error}"));
        Self { url: with_database(&server, &name), name, server }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same database at another address: that of a proxy.
    ///
    /// # Panics
    /// If the url is none.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a url has a scheme");
        let (authority, path) = rest.split_once('/').expect("it has a path: the name of the database");
        let user = authority.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
        format!("{scheme}://{user}{addr}/{path}")
    }

    /// What statements give: the rows of all of them, as text; `None` for null.
    ///
    /// # Panics
    /// If one fails.
    pub fn query(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        query(&self.url, statements, DEADLINE).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that is down or paused takes its databases with it.
        let _ = query(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name), Duration::from_secs(10));
    }
}

/// The url of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let (url, parameters) = url.split_once('?').map_or((url, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    format!("{}/{name}{parameters}", &url[..end])
}

/// Statements on a connection of their own. An error contains its causes.
fn query(url: &str, statements: &str, longest: Duration) -> Result<Vec<Vec<Option<String>>>, String> {
    let work = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(statements).await;
        drop(client);
        // Until it is closed: a database can only be copied or dropped when nobody uses it.
        let _ = connection.await;
        messages
    };
    let done = blocking(async { timeout(longest, work).await }).map_err(|_| format!("no answer in {longest:?}"))?;
    let messages = done.map_err(|error| match error.as_db_error() {
        Some(error) => error.to_string(),
        None => format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)),
    })?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(database: &Database) -> Vec<Vec<Option<String>>> {
        database.query("SELECT n FROM numbers ORDER BY n")
    }

    #[test]
    fn databases_are_separate_and_do_not_stay() {
        let (one, other) = (Postgres::database(), Postgres::database());
        one.query("CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1), (NULL)");
        assert_eq!(numbers(&one), [[Some("1".to_owned())], [None]]);
        other.query("CREATE TABLE numbers (n int)");
        assert!(numbers(&other).is_empty());

        let name = one.name().to_owned();
        let there = || other.query(&format!("SELECT 1 FROM pg_database WHERE datname = '{name}'")).len();
        assert_eq!(there(), 1);
        drop(one);
        assert_eq!(there(), 0);
    }

    #[tokio::test]
    async fn it_can_be_used_from_a_runtime() {
        assert_eq!(Postgres::database().query("SHOW fsync").len(), 1);
    }

    #[test]
    fn texts_are_sorted_as_people_do() {
        let sorted = Postgres::database().query("SELECT * FROM (VALUES ('Z'), ('a'), ('B')) AS texts (text) ORDER BY text");
        assert_eq!(sorted.concat().into_iter().flatten().collect::<String>(), "aBZ");
    }

    #[test]
    fn a_private_one_keeps_what_was_committed() {
        let postgres = Postgres::private();
        let database = postgres.create_database();
        database.query("CREATE TABLE numbers (n int)");
        for (n, break_it) in [Postgres::restart, |p: &Postgres| {
            p.kill();
            p.start_again()
        }]
        .into_iter()
        .enumerate()
        {
            database.query(&format!("INSERT INTO numbers VALUES ({n})"));
            break_it(&postgres);
            assert_eq!(numbers(&database).len(), n + 1);
        }
        postgres.stop();
        assert!(!postgres.is_running());
        assert!(query(database.url(), "SELECT 1", DEADLINE).is_err());
        postgres.start_again();

        postgres.pause();
        let error = query(database.url(), "SELECT 1", Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("no answer"), "{error}");
        // Those that have their connections already are paused as well.
        let others = children(postgres.pid());
        assert!(!others.is_empty());
        block_until("all of them to stop", || others.iter().all(|&child| is_stopped(child) || !is_running(child)));
        postgres.resume();
        assert_eq!(numbers(&database).len(), 2);
        assert!(postgres.rss_bytes() > 1 << 20 && postgres.cpu_ms() < 600_000);
        // Dropped while it is paused: nothing of it may be left, nor may that take long.
        let (pid, dir) = (postgres.pid(), postgres.guard.dir().to_owned());
        let everything = [children(pid), vec![pid]].concat();
        drop(database);
        postgres.pause();
        drop(postgres);
        assert!(!everything.iter().any(|&pid| is_running(pid)) && !dir.exists());
    }

    #[test]
    fn urls_are_taken_apart() {
        let other = |url| with_database(url, "other");
        assert_eq!(other("postgres://u:p@h:1/db"), "postgres://u:p@h:1/other");
        assert_eq!(other("postgres://h"), "postgres://h/other");
        assert_eq!(other("postgres://h/db?sslmode=disable&host=/tmp"), "postgres://h/other?sslmode=disable&host=/tmp");
    }
}
