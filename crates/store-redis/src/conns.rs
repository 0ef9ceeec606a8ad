//! The connections of one shard: made when they are needed, thrown away together when one of them breaks.
//!
//! One carries the appends of all rooms, and whatever else is answered in a few bytes; a few in a pool the rest. So a long
//! answer never stands before an append, and what happens often needs no connection of its own.
//! They live on the log's own runtime, whichever thread asks.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime as PoolRuntime};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::{runtime::Handle, sync::Mutex, time::Instant};
use yhub_store::StreamLogError;

use crate::{
    error::{breaks_connection, log_error, unavailable},
    link::{Link, address},
};

/// After a failed attempt nobody tries again before this.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Connections to one server, of one moment.
pub(crate) struct Conns {
    /// For what has short answers.
    short: MultiplexedConnection,
    /// For the rest.
    pool: Pool,
    /// Whom they lead to.
    pub(crate) at: String,
}

/// The connections of one shard.
pub(crate) struct Connections {
    link: Link,
    pool_size: usize,
    timeout: Duration,
    runtime: Handle,
    current: RwLock<Option<Arc<Conns>>>,
    /// When the last attempt failed.
    connecting: Mutex<Option<Instant>>,
}

impl Connections {
    pub(crate) fn new(link: Link, pool_size: usize, timeout: Duration, runtime: Handle) -> Self {
        Self { link, pool_size: pool_size.max(1), timeout, runtime, current: RwLock::new(None), connecting: Mutex::new(None) }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Those that there are, or new ones. Who asks while others connect waits for them.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Arc<Conns>, StreamLogError> {
        if let Some(conns) = self.known() {
            return Ok(conns);
        }
        let mut failed_at = self.connecting.lock().await;
        if let Some(conns) = self.known() {
            return Ok(conns);
        }
        if failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return Err(unavailable(&self.link.name(), "it could not be connected to a moment ago"));
        }
        let this = self.clone();
        let attempt = self.runtime.spawn(async move { tokio::time::timeout(this.timeout, this.connect()).await });
        let conns = match attempt.await {
            Ok(Ok(conns)) => conns.map_err(|error| log_error(&self.link.name(), error)),
            Ok(Err(_)) => Err(unavailable(&self.link.name(), format!("no connection within {:?}", self.timeout))),
            Err(_) => Err(unavailable(&self.link.name(), "the log was closed")),
        };
        match conns {
            Ok(conns) => {
                *failed_at = None;
                let conns = Arc::new(conns);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(conns.clone());
                Ok(conns)
            }
            Err(error) => {
                *failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Conns, RedisError> {
        let info = self.link.resolve().await?;
        let short = self.link.open(&info, self.link.config()).await?;
        let at = address(&info);
        let manager = Manager::new_with_config(info, self.link.config())?;
        let timeout = Some(self.timeout);
        let config = PoolConfig {
            max_size: self.pool_size,
            timeouts: deadpool_redis::Timeouts { wait: timeout, create: timeout, recycle: timeout },
            ..PoolConfig::default()
        };
        let pool = Pool::builder(manager).config(config).runtime(PoolRuntime::Tokio1).build();
        let pool =
            pool.map_err(|error| RedisError::from((redis::ErrorKind::Client, "no pool can be made", error.to_string())))?;
        Ok(Conns { short, pool, at })
    }

    fn known(&self) -> Option<Arc<Conns>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets `conns`, unless others have taken their place.
    pub(crate) fn forget(&self, conns: &Arc<Conns>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|known| Arc::ptr_eq(known, conns)) {
            *current = None;
        }
    }

    /// What `error` means to who called; a broken connection is not used again.
    fn failed(&self, conns: &Arc<Conns>, error: RedisError) -> StreamLogError {
        if breaks_connection(&error) {
            self.forget(conns);
        }
        log_error(&conns.at, error)
    }

    /// Does something whose answer is short, on the connection of appends. If this is dropped before what it sends is sent,
    /// nothing is done; if afterwards, all of it.
    pub(crate) async fn run_short<T, F>(
        self: &Arc<Self>,
        work: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StreamLogError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let conns = self.get().await?;
        work(conns.short.clone()).await.map_err(|error| self.failed(&conns, error))
    }

    /// Does something with a connection of the pool; dropped, it is like the other.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, work: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, StreamLogError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let conns = self.get().await?;
        let pool = conns.pool.clone();
        // On our runtime, because a connection lives where it was made.
        let conn = match self.runtime.spawn(async move { pool.get().await }).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => {
                self.forget(&conns);
                return Err(unavailable(&conns.at, format!("no connection: {error}")));
            }
            Err(_) => return Err(unavailable(&self.link.name(), "the log was closed")),
        };
        // A handle of the connection that is ours until `conn` goes back to the pool.
        work((*conn).clone()).await.map_err(|error| self.failed(&conns, error))
    }
}
