//! A private Redis that sentinels watch.

use std::net::SocketAddr;

use super::{Redis, RedisOptions};

/// The name of the watched master.
const NAME: &str = "yhub";

/// After how long a silence a master counts as dead. Shorter, and on a busy machine the living would.
const DOWN_AFTER_MS: u64 = 1_500;

/// A master, its replica, and one or three sentinels that replace the one by the other within seconds. Ended when dropped.
pub struct RedisSentinel {
    data: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl RedisSentinel {
    /// With one sentinel or with three.
    ///
    /// # Panics
    /// If there is no `redis-server`, or they do not find together.
    pub fn start(sentinels: usize) -> Self {
        Self::with(sentinels, Redis::options())
    }

    /// The same, with options for the master and its replica; a password is theirs, the sentinels have none.
    ///
    /// # Panics
    /// As for [`RedisSentinel::start`].
    pub fn with(sentinels: usize, options: RedisOptions) -> Self {
        let options = options.same_password_elsewhere();
        let master = options.clone().start();
        let replica = options.clone().setting("replicaof", format!("127.0.0.1 {}", master.addr().port())).start();
        let quorum = sentinels / 2 + 1;
        let sentinel = || {
            let mut watching = Redis::options()
                .sentinel()
                .setting("sentinel monitor", format!("{NAME} 127.0.0.1 {} {quorum}", master.addr().port()))
                .setting("sentinel down-after-milliseconds", format!("{NAME} {DOWN_AFTER_MS}"))
                .setting("sentinel failover-timeout", format!("{NAME} 3000"));
            if let Some(password) = &options.password {
                watching = watching.setting("sentinel auth-pass", format!("{NAME} {password}"));
            }
            let sentinel = watching.start();
            // As it is, a sentinel asks once a second, and takes whoever has not answered in less for dead. It also takes
            // eight seconds to tell a master that comes back what has become of it, and half a minute off when it had to
            // wait for a busy machine. (Not oftener than this: what it knows of the replica counts for five of these, and
            // while the master is down it asks for that once a second.)
            let periods = ["ping-period", "300", "info-period", "300", "publish-period", "300", "tilt-period", "1000"];
            sentinel.cli(["SENTINEL", "DEBUG"].iter().chain(&periods));
            sentinel
        };
        let sentinels: Vec<_> = (0..sentinels).map(|_| sentinel()).collect();
        let this = Self { data: [master, replica], sentinels };
        this.wait_until_whole();
        this
    }

    /// The name under which sentinels know the master.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Where clients ask for the master.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// The addresses of the sentinels.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Redis::addr).collect()
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Who is the master now, as the first sentinel knows.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn master(&self) -> &Redis {
        let master = self.master_port();
        self.data.iter().find(|redis| redis.addr().port().to_string() == master).expect("the master is one of ours")
    }

    /// The other one, which may be down.
    ///
    /// # Panics
    /// If the first sentinel does not answer.
    pub fn replica(&self) -> &Redis {
        let master = self.master().addr();
        self.data.iter().find(|redis| redis.addr() != master).expect("there are two")
    }

    /// Kills the master and waits until all sentinels name the other one, and that has become a master. The killed one stays
    /// down: [`Redis::start_again`] makes it a replica, after [`RedisSentinel::wait_until_whole`].
    ///
    /// # Panics
    /// If that takes too long.
    pub fn failover(&self) {
        let (master, replica) = (self.master(), self.replica());
        master.kill();
        let promoted = replica.addr().port().to_string();
        for sentinel in &self.sentinels {
            sentinel.wait_until("a new master", || master_port(sentinel) == promoted);
        }
        replica.wait_until("its promotion", || asked(replica, &["ROLE"]).starts_with("master"));
    }

    /// Waits until the replica holds what the master holds and every sentinel knows all the others.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_whole(&self) {
        let wanted = format!("status=ok,address=127.0.0.1:{},slaves=1,sentinels={}", self.master_port(), self.sentinels.len());
        for sentinel in &self.sentinels {
            sentinel.wait_until("a sentinel that knows all others", || sentinel.cli(["INFO", "sentinel"]).contains(&wanted));
        }
        let (master, replica) = (self.master(), self.replica());
        replica.wait_until("a replica that holds everything", || {
            let [at_master, at_replica] = [master, replica].map(|redis| asked(redis, &["INFO", "replication"]));
            let position = |info: &str| info.lines().find(|line| line.starts_with("master_repl_offset:")).map(str::to_owned);
            at_master.contains("state=online")
                && at_replica.contains("master_link_status:up")
                && position(&at_master) == position(&at_replica)
        });
    }

    fn master_port(&self) -> String {
        master_port(&self.sentinels[0])
    }
}

/// The answer of one whose role may be changing, which ends all connections: then none.
fn asked(redis: &Redis, args: &[&str]) -> String {
    redis.try_cli(args).unwrap_or_default()
}

fn master_port(sentinel: &Redis) -> String {
    let addr = sentinel.cli(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
    addr.lines().last().expect("the master is known").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replica_takes_over() {
        for (sentinels, options) in [(1, Redis::options().password("secret")), (3, Redis::options())] {
            let redis = RedisSentinel::with(sentinels, options);
            let (master, replica) = (redis.master().addr(), redis.replica().addr());
            redis.master().cli(["SET", "key", "value"]);
            redis.wait_until_whole();
            redis.failover();
            assert_eq!(redis.master().addr(), replica);
            assert_eq!(redis.master().cli(["GET", "key"]), "value");
            assert!(!redis.replica().is_running());
            redis.replica().start_again();
            redis.wait_until_whole();
            assert_eq!((redis.replica().addr(), redis.urls().len()), (master, sentinels));
            assert_eq!(redis.replica().cli(["GET", "key"]), "value");
        }
    }
}
