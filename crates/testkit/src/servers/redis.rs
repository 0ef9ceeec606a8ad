//! A private Redis.

use std::{fs, net::SocketAddr, os::unix::net::UnixStream, path::PathBuf, process::Command, time::Duration};

use super::{RedisOptions, guarded::Guarded, resp, shifted_time::ShiftedTime};
use crate::{
    ports::free_addr,
    process::{cpu_ms, rss_bytes},
    wait::DEADLINE,
};

const INSTALL: &str = "redis-server";

/// A running `redis-server` of this test's own; killed when dropped.
///
/// Its port and its directory stay the same over all restarts. [`Redis::cli`] does not use the port, so that a test sees
/// what Redis holds whatever it does to the network.
pub struct Redis {
    options: RedisOptions,
    addr: SocketAddr,
    time: Option<ShiftedTime>,
    guard: Guarded,
}

impl Redis {
    /// One that keeps its data in memory only.
    ///
    /// # Panics
    /// If there is no `redis-server`.
    pub fn start() -> Self {
        Self::options().start()
    }

    pub(super) fn start_with(options: RedisOptions) -> Self {
        let (addr, guard) = (free_addr(), Guarded::new("redis", "KILL"));
        let time = options.shiftable_time.then(|| ShiftedTime::new(guard.dir()));
        // Only once: a sentinel, and a Redis that it turns into a replica, rewrite theirs.
        options.write(guard.dir(), addr);
        let redis = Self { options, addr, time, guard };
        redis.start_again();
        redis
    }

    /// Options to start one with.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// Where clients connect, with the password if there is one: `redis://` or `rediss://`.
    pub fn url(&self) -> String {
        self.url_at(self.addr)
    }

    /// The same at another address: that of a proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let user = self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{user}{addr}/")
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate of the authority to trust, in PEM.
    ///
    /// # Panics
    /// If it was started without TLS.
    pub fn ca_file(&self) -> PathBuf {
        assert!(self.options.tls, "this Redis was started without TLS");
        self.guard.dir().join("ca.pem")
    }

    /// The directory of what it keeps on disk.
    pub fn data_dir(&self) -> PathBuf {
        self.guard.dir().join("data")
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Its answer to a command, as `redis-cli --raw` shows it.
    ///
    /// # Panics
    /// If it is an error, or if there is none.
    pub fn cli<A: AsRef<[u8]>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let args: Vec<Vec<u8>> = args.into_iter().map(|arg| arg.as_ref().to_vec()).collect();
        self.try_cli(&args).unwrap_or_else(|error| {
            let args: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            panic!("redis does not answer {args:?}: {error}")
        })
    }

    /// Its answer to a command; the text of the error if it is one, or if Redis cannot be asked.
    pub fn try_cli<A: AsRef<[u8]>>(&self, args: impl IntoIterator<Item = A>) -> Result<String, String> {
        let ask = || {
            let mut connection = UnixStream::connect(self.socket())?;
            connection.set_read_timeout(Some(DEADLINE))?;
            if let Some(password) = &self.options.password
                && let Err(error) = resp::ask(&mut connection, ["AUTH", password])?
            {
                return Ok(Err(error));
            }
            resp::ask(&mut connection, args)
        };
        ask().unwrap_or_else(|error: std::io::Error| Err(error.to_string()))
    }

    /// Its time since 1970.
    pub fn time(&self) -> Duration {
        let time = self.cli(["TIME"]);
        let (seconds, micros) = time.split_once('\n').expect("TIME gives two numbers");
        let number = |text: &str| text.parse().expect("TIME gives numbers");
        Duration::from_secs(number(seconds)) + Duration::from_micros(number(micros))
    }

    /// Sets its time to the machine's plus `by_ms`, which may be negative. How long things take stays as it is.
    ///
    /// # Panics
    /// If it was started without [`RedisOptions::shiftable_time`].
    pub fn shift_time(&self, by_ms: i64) {
        self.time.as_ref().expect("this Redis was started without a time of its own").set(by_ms);
    }

    /// Removes all keys.
    pub fn flush_all(&self) {
        self.cli(["FLUSHALL"]);
    }

    /// Stops it in an orderly way. It writes no snapshot.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop(&self) {
        // It ends instead of answering.
        let _ = self.try_cli(["SHUTDOWN", "NOSAVE"]);
        self.guard.wait();
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.guard.kill();
    }

    /// Starts it after a stop or a kill, with what its append-only file holds, and waits until it answers.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn start_again(&self) {
        let mut command = Command::new("redis-server");
        command.arg(self.guard.dir().join("redis.conf"));
        if self.options.sentinel {
            command.arg("--sentinel");
        }
        if let Some(time) = &self.time {
            time.apply(&mut command);
        }
        self.guard.start(&mut command, INSTALL);
        // An error while it loads its data.
        self.guard.wait_until("an answer of redis", || self.try_cli(["PING"]).is_ok());
    }

    /// [`Redis::stop`] and [`Redis::start_again`].
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Kills it and starts it without its data. A node of a cluster stays in it.
    pub fn restart_empty(&self) {
        self.kill();
        for name in ["appendonlydir", "dump.rdb"] {
            let path = self.data_dir().join(name);
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            assert!(gone.is_ok() || !path.exists(), "cannot remove {}: {gone:?}", path.display());
        }
        self.start_again();
    }

    /// Stops it where it is, with SIGSTOP. Its connections stay open, and new ones are accepted by the system.
    pub fn pause(&self) {
        self.guard.signal("STOP");
    }

    /// Lets it go on where it was.
    pub fn resume(&self) {
        self.guard.signal("CONT");
    }

    /// Does it run? A paused one does.
    pub fn is_running(&self) -> bool {
        self.guard.is_running()
    }

    /// Its process id, which changes with every start.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.guard.pid()
    }

    /// The CPU time it has used since it was started, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        cpu_ms(self.pid())
    }

    /// Its memory, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// Waits until `ready`.
    ///
    /// # Panics
    /// If it ends instead, or takes too long.
    pub(super) fn wait_until(&self, what: &str, ready: impl FnMut() -> bool) {
        self.guard.wait_until(what, ready);
    }

    fn socket(&self) -> PathBuf {
        self.guard.dir().join("socket")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        sync::Arc,
    };

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, pem::PemObject},
    };

    use super::*;
    use crate::{process::is_running, servers::Fsync};

    #[test]
    fn it_keeps_what_it_is_told_to_keep() {
        let (memory, disk) = (Redis::start(), Redis::options().append_only(Fsync::Always).start());
        for redis in [&memory, &disk] {
            redis.cli(["SET", "key", "a value"]);
            assert_eq!(redis.cli(["GET", "key"]), "a value");
            redis.restart();
        }
        assert_eq!((memory.cli(["GET", "key"]), disk.cli(["GET", "key"])), (String::new(), "a value".to_owned()));
        disk.kill();
        assert!(!disk.is_running());
        disk.start_again();
        assert_eq!(disk.cli(["KEYS", "*"]), "key");
        disk.restart_empty();
        assert_eq!(disk.cli(["DBSIZE"]), "0");
        disk.cli(["SET", "key", "value"]);
        disk.flush_all();
        assert_eq!(disk.cli(["DBSIZE"]), "0");
        assert_eq!(disk.cli(["CONFIG", "GET", "appendfsync"]), "appendfsync\nalways");
    }

    #[test]
    fn options_arrive() {
        let redis = Redis::options().max_memory(8 << 20, "allkeys-lru").password("secret").setting("hz", 50).start();
        assert_eq!(redis.cli(["CONFIG", "GET", "maxmemory"]), "maxmemory\n8388608");
        assert_eq!(redis.cli(["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nallkeys-lru");
        assert_eq!(redis.cli(["CONFIG", "GET", "hz"]), "hz\n50");
        assert_eq!(redis.url(), format!("redis://:secret@{}/", redis.addr()));
        let mut stranger = TcpStream::connect(redis.addr()).unwrap();
        assert!(resp::ask(&mut stranger, ["GET", "key"]).unwrap().unwrap_err().starts_with("NOAUTH"));
        assert_eq!(resp::ask(&mut stranger, ["AUTH", "secret"]).unwrap().unwrap(), "OK");
        assert!(redis.try_cli(["NONSENSE"]).unwrap_err().contains("unknown command"));
    }

    #[test]
    fn answers_are_shown_in_lines() {
        let redis = Redis::start();
        assert_eq!(redis.cli(["RPUSH", "list", "a", "b"]), "2");
        assert_eq!(redis.cli(["LRANGE", "list", "0", "-1"]), "a\nb");
        assert_eq!(redis.cli(["XADD", "stream", "1-1", "field", "value"]), "1-1");
        assert_eq!(redis.cli(["XRANGE", "stream", "-", "+"]), "1-1\nfield\nvalue");
    }

    #[test]
    fn time_moves_back_and_redis_lives_on() {
        let redis = Redis::options().shiftable_time().append_only(Fsync::EverySec).start();
        let pid = redis.pid();
        let before = redis.time();
        let hour = Duration::from_secs(3_600);
        let id_ms = |id: String| id.split('-').next().unwrap().parse::<u64>().unwrap();
        for (shift, expected) in [(-3_600_000, before - hour), (0, before), (3_600_500, before + hour)] {
            redis.shift_time(shift);
            let now = redis.time();
            assert!(now >= expected && now < expected + Duration::from_secs(600), "{now:?} is not {expected:?}");
            // What it writes is of that time as well, once it has looked at its clock again.
            let id = id_ms(redis.cli(["XADD", &format!("stream {shift}"), "*", "field", "value"]));
            assert!(u128::from(id) + 1_000 >= expected.as_millis(), "{id} is not of {expected:?}");
            assert!(u128::from(id) < expected.as_millis() + 600_000, "{id} is not of {expected:?}");
        }
        // A timeout in it still comes to its end.
        redis.shift_time(-3_600_000);
        assert_eq!(redis.cli(["BLPOP", "nothing", "0.05"]), "");
        assert!(redis.is_running() && redis.pid() == pid);
    }

    #[test]
    fn it_speaks_tls_on_a_certificate_of_its_own() {
        let redis = Redis::options().tls().start();
        assert_eq!(redis.url(), format!("rediss://{}/", redis.addr()));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(redis.ca_file()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
        let connect = |name: &'static str| {
            let session = ClientConnection::new(Arc::new(config.clone()), name.try_into().unwrap()).unwrap();
            StreamOwned::new(session, TcpStream::connect(redis.addr()).unwrap())
        };
        for name in ["localhost", "127.0.0.1"] {
            assert_eq!(resp::ask(&mut connect(name), ["PING"]).unwrap().unwrap(), "PONG");
        }
        resp::ask(&mut connect("elsewhere"), ["PING"]).unwrap_err();
        // In plain text it answers nobody.
        let mut plain = TcpStream::connect(redis.addr()).unwrap();
        plain.set_read_timeout(Some(DEADLINE)).unwrap();
        plain.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        let len = plain.read(&mut answer).unwrap_or(0);
        assert_ne!(&answer[..len], b"+PONG\r\n");
    }

    #[test]
    fn a_paused_one_answers_later() {
        let redis = Redis::start();
        redis.pause();
        assert!(redis.is_running());
        let mut client = TcpStream::connect(redis.addr()).unwrap();
        client.write_all(b"PING\r\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        client.read(&mut [0]).unwrap_err();
        redis.resume();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = [0; 7];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        redis.cli(["DEBUG", "SLEEP", "0"]);
        assert!(redis.rss_bytes() > 1 << 20 && redis.cpu_ms() < 60_000);
        // Dropped while it is paused.
        redis.pause();
        let (pid, dir) = (redis.pid(), redis.guard.dir().to_owned());
        drop(redis);
        assert!(!is_running(pid) && !dir.exists());
    }
}
