//! PostgreSQL for tests: one server a process, a database of its own for each test.
//!
//! `YHUB_TEST_POSTGRES` names a running server, as the url of a superuser's database; else one is started, on a free port of
//! 127.0.0.1, with its data in a temporary directory and without waiting for disks.

#![allow(dead_code, reason = "not every test program uses all of it")]

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio_postgres::{Client, NoTls};
use yhub_store_sql::{PostgresDocsOptions, migrate_postgres};

/// Ends the server and removes its data when its standard input ends, as it does however this process ends. `keep` leaves the
/// data.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -p "$3" -F -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 \
    $4 >"$2/log" 2>&1 &
server=$!
read -r what
# Without its data it may end at once; and only that way it does not wait for a session that a test has stopped.
[ "$what" = keep ] && kill -INT $server || kill -QUIT $server
wait $server
[ "$what" = keep ] || rm -rf "$2"
"#;

/// Attempts to reach a server that was started, 50 ms apart.
const ATTEMPTS: u32 = 1_200;

/// A database without tables, which sorts texts as people do: nobody may rely on another order.
const EMPTY: &str = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";

/// A server that this process started.
pub(crate) struct Server {
    dir: PathBuf,
    port: u16,
    keeper: Child,
    stdin: Option<ChildStdin>,
    arguments: String,
}

impl Server {
    /// Starts a server with further arguments, separated by spaces.
    pub(crate) fn start(arguments: &str) -> Self {
        let dir = data_dir();
        let port = free_port();
        let (keeper, stdin) = keep(&dir, port, arguments);
        let server = Self { dir, port, keeper, stdin: Some(stdin), arguments: arguments.to_owned() };
        server.wait();
        server
    }

    /// The url of its first database, as superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its data is; settings may be added there before it is started again.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops it; its data stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            stdin.write_all(b"keep\n").expect("the keeper listens");
            drop(stdin);
            self.keeper.wait().expect("the keeper ends");
        }
    }

    /// Starts it again, on the same port.
    pub(crate) fn start_again(&mut self) {
        self.stop();
        let (keeper, stdin) = keep(&self.dir, self.port, &self.arguments);
        (self.keeper, self.stdin) = (keeper, Some(stdin));
        self.wait();
    }

    fn wait(&self) {
        for _ in 0..ATTEMPTS {
            if on_runtime(async { tokio_postgres::connect(&self.url(), NoTls).await.map(drop) }).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        panic!("PostgreSQL did not start: {log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.stdin.take() {
            Some(stdin) => drop(stdin),
            None => drop(fs::remove_dir_all(&self.dir)),
        }
        let _ = self.keeper.wait();
    }
}

/// Runs programs of PostgreSQL as somebody else than root, as which they refuse to run.
fn as_user(program: impl AsRef<Path>) -> Command {
    if !is_root() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program.as_ref());
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("a Linux system").uid() == 0
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    found.retain(|bin| bin.join("initdb").is_file());
    found.sort();
    found.pop().expect("PostgreSQL's server programs in /usr/lib/postgresql; install them, or set YHUB_TEST_POSTGRES")
}

fn data_dir() -> PathBuf {
    let dir = tempfile::Builder::new().prefix("yhub-postgres-").tempdir().expect("a directory").keep();
    if is_root() {
        let changed = Command::new("chown").arg("postgres").arg(&dir).status().expect("run chown");
        assert!(changed.success(), "chown: {changed}");
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("our directory");
    let made = as_user(programs().join("initdb"))
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D"])
        .arg(dir.join("data"))
        .current_dir("/")
        .output()
        .expect("run initdb");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    dir
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it listens").port()
}

fn keep(dir: &Path, port: u16, arguments: &str) -> (Child, ChildStdin) {
    let mut keeper = as_user("/bin/sh")
        .args(["-c", KEEPER, "keeper"])
        .args([programs().as_os_str(), dir.as_os_str()])
        .args([&port.to_string(), arguments])
        .current_dir("/")
        // Not ended with us by a signal to our group: it is there to end the server then.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start PostgreSQL");
    let stdin = keeper.stdin.take().expect("it is piped");
    (keeper, stdin)
}

/// Waits for a future on a thread of its own: callers may be on a runtime.
pub(crate) fn on_runtime<T: Send>(future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
        scope.spawn(run).join().expect("the future panicked")
    })
}

/// The server of this process, as the url of a superuser's database.
fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<Server>)> = OnceLock::new();
    let (url, _) = SHARED.get_or_init(|| match std::env::var("YHUB_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let server = Server::start("");
            (server.url(), Some(server))
        }
    });
    url
}

/// A connection of the test's own. Its driver ends with it.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Runs statements on a connection of their own.
pub(crate) fn execute(url: &str, statements: &str) {
    on_runtime(async { connect(url).await.batch_execute(statements).await }).expect("execute");
}

/// A database of its own. Dropped with this.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
    admin: String,
}

impl Database {
    /// Without any table.
    pub(crate) fn empty() -> Self {
        Self::make(shared(), EMPTY)
    }

    /// On a server of the test's own, without any table.
    pub(crate) fn empty_on(server: &Server) -> Self {
        Self::make(&server.url(), EMPTY)
    }

    /// With the tables of the document store.
    pub(crate) fn migrated() -> Self {
        static TEMPLATE: OnceLock<Database> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let template = Self::empty();
            migrate_postgres(&PostgresDocsOptions::new(&template.url)).expect("migrate the template");
            template
        });
        Self::make(shared(), &format!("TEMPLATE {}", template.name))
    }

    fn make(admin: &str, how: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("yhub_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // One of an earlier process that had this number may be there.
        execute(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        execute(admin, &format!("CREATE DATABASE {name} {how}"));
        let (server, _) = admin.rsplit_once('/').expect("a url with a database");
        Self { url: format!("{server}/{name}"), name, admin: admin.to_owned() }
    }

    /// For the store, with bounds that no test comes near without wanting to.
    pub(crate) fn options(&self) -> PostgresDocsOptions {
        let mut options = PostgresDocsOptions::new(&self.url);
        options.connect_timeout = Duration::from_secs(60);
        options.lock_timeout = Duration::from_secs(60);
        options.statement_timeout = Duration::from_secs(100);
        options.operation_timeout = Duration::from_secs(100);
        options
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may be gone already, with everything on it.
        let _ = on_runtime(async {
            let (client, connection) = tokio_postgres::connect(&self.admin, NoTls).await?;
            let driver = tokio::spawn(connection);
            let dropped = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
            driver.abort();
            dropped
        });
    }
}
