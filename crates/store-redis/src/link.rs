//! Who is spoken to: one server, the master that sentinels name, or the node of a cluster that has a shard's slot. Asked
//! anew for every connection, so that a failover is followed.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
    aio::MultiplexedConnection,
};

use crate::{RedisConnectError, RedisLogOptions};

/// Who is spoken to.
pub(crate) struct Link {
    base: ConnectionInfo,
    sentinels: Vec<ConnectionInfo>,
    master: String,
    /// A key of the shard, if its slot says who is spoken to.
    slot_key: Option<String>,
    timeout: Duration,
}

impl Link {
    /// For the shard that has `key`.
    pub(crate) fn new(options: &RedisLogOptions, key: &str) -> Result<Self, RedisConnectError> {
        let wrong = |key, what: String| RedisConnectError::Options { key, what };
        let ca = match &options.ca_file {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                wrong("redis.ca_file", format!("{} cannot be read: {error}; name a PEM file", path.display()))
            })?),
        };
        // The client's error would show the url, and with it the password.
        let no_url = |_| wrong("redis.url", "it is no url such as redis://:password@host:6379/0 or rediss://…".to_owned());
        let base = options.url.as_str().into_connection_info().map_err(no_url)?;
        let is_tls = matches!(base.addr(), ConnectionAddr::TcpTls { .. });
        if ca.is_some() && !is_tls {
            return Err(wrong("redis.ca_file", "`redis.url` does not ask for TLS; begin it with rediss://".to_owned()));
        }
        let base = if is_tls {
            let client = Client::build_with_tls(base, TlsCertificates { client_tls: None, root_cert: ca });
            let client = client.map_err(|error| wrong("redis.ca_file", format!("it holds no certificates in PEM: {error}")))?;
            client.get_connection_info().clone()
        } else {
            base
        };
        let sentinels = options.sentinels.iter().map(|sentinel| {
            let (host, port) = sentinel
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                .ok_or_else(|| wrong("redis.sentinels", format!("{sentinel:?} is no host:port such as 10.0.0.1:26379")))?;
            // Without the user and password of the master: sentinels have their own, or none.
            format!("redis://{host}:{}", u16::to_string(&port))
                .into_connection_info()
                .map_err(|error| wrong("redis.sentinels", error.to_string()))
        });
        let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
        if sentinels.is_empty() != options.sentinel_master.is_empty() {
            return Err(wrong(
                "redis.sentinel_master",
                "sentinels need the name of the master, and the name needs sentinels".into(),
            ));
        }
        if options.cluster && !sentinels.is_empty() {
            return Err(wrong("redis.cluster", "a cluster has no sentinels; set one of the two".into()));
        }
        Ok(Self {
            base,
            sentinels,
            master: options.sentinel_master.clone(),
            slot_key: options.cluster.then(|| key.to_owned()),
            timeout: options.timeout,
        })
    }

    /// Host and port as configured, for people.
    pub(crate) fn name(&self) -> String {
        if self.sentinels.is_empty() { address(&self.base) } else { format!("master {}", self.master) }
    }

    /// Whom to connect to now.
    pub(crate) async fn resolve(&self) -> Result<ConnectionInfo, RedisError> {
        if let Some(key) = &self.slot_key {
            return self.node_of(key).await;
        }
        let mut last = None;
        for sentinel in &self.sentinels {
            match self.ask_sentinel(sentinel).await {
                Ok(Some((host, port))) => return Ok(self.at(host, port)),
                // One that does not know it is no better than one that does not answer: the others may.
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
        }
        match last {
            _ if self.sentinels.is_empty() => Ok(self.base.clone()),
            Some(error) => Err(error),
            None => Err(RedisError::from((
                redis::ErrorKind::MasterNameNotFoundBySentinel,
                "no sentinel knows the master",
                format!("`redis.sentinel_master` is {:?}", self.master),
            ))),
        }
    }

    async fn ask_sentinel(&self, sentinel: &ConnectionInfo) -> Result<Option<(String, u16)>, RedisError> {
        let mut conn = self.open(sentinel, self.config()).await?;
        redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(&self.master).query_async(&mut conn).await
    }

    async fn node_of(&self, key: &str) -> Result<ConnectionInfo, RedisError> {
        let mut conn = self.open(&self.base, self.config()).await?;
        let (slot, ranges): (u16, Vec<redis::Value>) =
            redis::pipe().cmd("CLUSTER").arg("KEYSLOT").arg(key).cmd("CLUSTER").arg("SLOTS").query_async(&mut conn).await?;
        for range in ranges {
            let (from, to, (host, port)): (u16, u16, (String, u16)) = first_node(range)?;
            if (from..=to).contains(&slot) {
                // An empty name stands for whom we asked.
                let host = if host.is_empty() { host_of(&self.base) } else { host };
                return Ok(self.at(host, port));
            }
        }
        Err(RedisError::from((
            redis::ErrorKind::ClusterConnectionNotFound,
            "no node of the cluster has the slot",
            slot.to_string(),
        )))
    }

    /// The same user, database and kind of connection at another address.
    fn at(&self, host: String, port: u16) -> ConnectionInfo {
        let addr = match self.base.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.base.clone().set_addr(addr)
    }

    /// Every connection gives up on an attempt and on an answer in the same time.
    pub(crate) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_pipeline_buffer_size(1024)
    }

    /// Connects to `info`.
    pub(crate) async fn open(
        &self,
        info: &ConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let settings = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let client = Client::open(info.clone().set_tcp_settings(settings))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// Host and port, without anything secret.
pub(crate) fn address(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
        other => other.to_string(),
    }
}

fn host_of(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}

/// A range of slots and its master, from the answer of CLUSTER SLOTS: first slot, last slot, nodes.
fn first_node(range: redis::Value) -> Result<(u16, u16, (String, u16)), RedisError> {
    let parts: Vec<redis::Value> = redis::from_redis_value(range)?;
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    let (from, to, node) = (redis::from_redis_value(next())?, redis::from_redis_value(next())?, next());
    let node: Vec<redis::Value> = redis::from_redis_value(node)?;
    let mut node = node.into_iter();
    let host = redis::from_redis_value(node.next().unwrap_or_default())?;
    let port = redis::from_redis_value(node.next().unwrap_or_default())?;
    Ok((from, to, (host, port)))
}
