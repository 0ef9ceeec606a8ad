//! A private Redis Cluster.

use std::net::SocketAddr;

use super::{Redis, RedisOptions};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;

/// Three masters without replicas that share all slots. Ended when dropped.
///
/// While a node is down its slots are, and the others refuse commands once they have noticed.
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// One that keeps its data in memory only.
    ///
    /// # Panics
    /// If there is no `redis-server`, or the nodes do not find together.
    pub fn start() -> Self {
        Self::with(Redis::options())
    }

    /// One whose nodes have these options.
    ///
    /// # Panics
    /// As for [`RedisCluster::start`].
    pub fn with(options: RedisOptions) -> Self {
        let nodes: Vec<_> = (0..MASTERS).map(|_| options.clone().cluster().start()).collect();
        for (i, node) in nodes.iter().enumerate() {
            let (first, last) = (SLOTS * i / MASTERS, SLOTS * (i + 1) / MASTERS - 1);
            node.cli(["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for node in &nodes[1..] {
            let cluster_port = node.cli(["CONFIG", "GET", "cluster-port"]);
            let cluster_port = cluster_port.lines().last().expect("a setting has a value");
            nodes[0].cli(["CLUSTER", "MEET", "127.0.0.1", &node.addr().port().to_string(), cluster_port]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_ok();
        cluster
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Where clients connect: the address of every node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The addresses of the nodes.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::addr).collect()
    }

    /// The node that a key is on.
    ///
    /// # Panics
    /// If none answers.
    pub fn node_of(&self, key: &str) -> &Redis {
        let slot = self.nodes.iter().find_map(|node| node.try_cli(["CLUSTER", "KEYSLOT", key]).ok()).expect("a node answers");
        let slot: usize = slot.parse().expect("a slot is a number");
        let has = |i: usize| (SLOTS * i / MASTERS..SLOTS * (i + 1) / MASTERS).contains(&slot);
        &self.nodes[(0..MASTERS).find(|i| has(*i)).expect("every slot is on a node")]
    }

    /// Waits until every node serves: after a restart.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_ok(&self) {
        let wanted = ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"];
        for node in &self.nodes {
            node.wait_until("a cluster that serves", || {
                let info = node.cli(["CLUSTER", "INFO"]);
                wanted.iter().all(|line| info.lines().any(|found| found == *line))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Fsync;

    #[test]
    fn every_key_has_its_node() {
        let cluster = RedisCluster::with(Redis::options().append_only(Fsync::Always));
        let keys: Vec<_> = (0..30).map(|i| format!("key {i}")).collect();
        for key in &keys {
            cluster.node_of(key).cli(["SET", key, "value"]);
            let elsewhere = cluster.nodes().iter().filter(|node| node.addr() != cluster.node_of(key).addr());
            assert!(elsewhere.into_iter().all(|node| node.try_cli(["GET", key]).unwrap_err().starts_with("MOVED")));
        }
        let sizes: Vec<usize> = cluster.nodes().iter().map(|node| node.cli(["DBSIZE"]).parse().unwrap()).collect();
        assert!(sizes.iter().sum::<usize>() == 30 && !sizes.contains(&0), "{sizes:?}");

        cluster.nodes()[1].kill();
        cluster.nodes()[1].start_again();
        cluster.nodes()[2].restart_empty();
        cluster.wait_until_ok();
        let (keys, cluster) = (&keys, &cluster);
        let kept = |node: usize| {
            keys.iter().filter(move |key| cluster.nodes()[node].try_cli(["GET", key.as_str()]).is_ok_and(|v| v == "value"))
        };
        assert_eq!([kept(1).count(), kept(2).count()], [sizes[1], 0]);
        assert_eq!((cluster.urls().len(), cluster.addrs().len()), (3, 3));
    }
}
