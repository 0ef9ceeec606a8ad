//! The document store in PostgreSQL, for any number of nodes. Speaks the protocol itself: no libpq.
//!
//! Every wait has a bound: for a turn, for a connection, for a lock, for a statement, for a whole operation. What ends at one
//! is [`DocStoreError::Unavailable`], and its connection is thrown away, so that nothing half done is left on it.

#[expect(clippy::duplicate_mod, reason = "one set of bodies, compiled once for each kind of connection")]
#[path = "../bodies/mod.rs"]
mod bodies;
mod connect;
mod error;
mod migrate;
mod options;
mod tls;

pub use self::{error::ConnectError, migrate::migrate_postgres, options::PostgresDocsOptions};

use std::{pin::pin, sync::Arc, time::Duration};

use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool},
    },
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tokio::{runtime::Builder, time::timeout};
use yhub_core::RoomId;
use yhub_store::DocStoreError;

use self::{connect::Target, error::operation_error};
use super::{Access, Stop, desk::Desk};
use crate::error::{Shared, docs_error};

/// The connection that the bodies are compiled for: shared, because several statements may be on their way.
type Conn<'c> = &'c AsyncPgConnection;
/// The database that the bodies are compiled for.
type Db = diesel::pg::Pg;
/// The store that the bodies are compiled for.
type Engine = PostgresDocs;

/// All of them on their way at once, in any order.
macro_rules! together {
    ($tx:ident, $($($statement:ident)::+($($given:tt)*)),+) => {
        futures_util::try_join!($(async {
            let mut conn = *$tx;
            $($statement)::+(&mut conn, $($given)*).await
        }),+)?
    };
}
use together;

/// Version rows, tombstones, failures and quarantines in a PostgreSQL database, beside other nodes and beside y/hub.
///
/// A room with U+0000 in its name is refused: PostgreSQL holds no such text. Connections are made when they are needed, and
/// anew when they are lost: a server that was away is found again by itself. Dropping the store waits for the operations
/// that are under way.
pub struct PostgresDocs {
    desk: Desk,
    pool: Pool<AsyncPgConnection>,
    operation_timeout: Duration,
}

impl PostgresDocs {
    /// Connects, and looks whether the tables are there and of this version. Changes nothing: that is for
    /// [`migrate_postgres`].
    pub async fn connect(options: PostgresDocsOptions) -> Result<Self, ConnectError> {
        let target = Arc::new(Target::new(&options)?);
        let runtime = Builder::new_multi_thread()
            // More would mostly wake one another: it waits for the server and copies what that sends.
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("yhub-docs")
            .enable_all()
            .build()
            .map_err(|source| ConnectError::Runtime { source })?;
        let check = runtime.spawn({
            let target = target.clone();
            async move { migrate::check(&target).await }
        });
        let desk = Desk::new(runtime, options.operations, options.wait, target.at.clone());
        let pool = pool(target.clone(), options.connections.max(1));
        let checked = check.await.unwrap_or_else(|panic| {
            Err(ConnectError::Database { at: target.at.to_string(), source: Box::new(Shared::new(panic)) })
        });
        checked.map(|()| Self { desk, pool, operation_timeout: options.operation_timeout })
    }

    /// Does `work` in one transaction. `about` is the room that it concerns.
    async fn within<T: Send + 'static>(
        &self,
        about: Option<&RoomId>,
        access: Access,
        work: impl for<'c> FnOnce(&'c mut Conn<'c>) -> BoxFuture<'c, Result<T, Stop<T>>> + Send + 'static,
    ) -> Result<T, DocStoreError> {
        if let Some(room) = about {
            refuse_nul(room)?;
        }
        let (pool, bound, at, about) = (self.pool.clone(), self.operation_timeout, self.desk.at().clone(), about.cloned());
        self.desk
            .run(async move {
                let operation = async {
                    let conn = pool.get().await.map_err(|error| docs_error(&at, Shared::new(error)))?;
                    let lent = Lent(Some(conn));
                    let result = transaction(lent.conn(), access, work).await;
                    if !matches!(result, Err(Stop::Sql(_))) {
                        lent.give_back();
                    }
                    match result {
                        Ok(done) | Err(Stop::Outcome(done)) => Ok(done),
                        Err(Stop::Refused(error)) => Err(error),
                        Err(Stop::Sql(error)) => Err(operation_error(&at, about.as_ref(), &error)),
                    }
                };
                // The server's own timeouts do not help where the server or the way to it is gone.
                timeout(bound, operation).await.unwrap_or_else(|_| {
                    let what = format!("no answer within {} ms; it may have been done", bound.as_millis());
                    Err(docs_error(&at, Shared::new(what)))
                })
            })
            .await
    }
}

/// Does `work` in a transaction on `conn`, which is not to be used again after an [`Stop::Sql`].
///
/// Its beginning and the first statements are sent together, and nobody waits for the end of one that changed nothing: those
/// would be most of what a short transaction costs.
async fn transaction<T: Send>(
    conn: &AsyncPgConnection,
    access: Access,
    work: impl for<'c> FnOnce(&'c mut Conn<'c>) -> BoxFuture<'c, Result<T, Stop<T>>> + Send,
) -> Result<T, Stop<T>> {
    // Said each time, because a database may have another default.
    let begin = match access {
        Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        Access::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    };
    let (mut begins, mut ends, mut works) = (conn, conn, conn);
    // Looked at first, here and each time: it is sent first, and where it fails the work ends before it hears of anything.
    let result = match select(pin!(begins.batch_execute(begin)), work(&mut works)).await {
        Either::Left((begun, work)) => {
            begun?;
            work.await
        }
        Either::Right((done, begun)) => {
            begun.await?;
            done
        }
    };
    match (&result, access) {
        (Err(Stop::Sql(_)), _) => {}
        // Sent before whatever this connection does next.
        (_, Access::Read) => drop(ends.batch_execute("COMMIT").now_or_never()),
        (Ok(_), Access::Write) => ends.batch_execute("COMMIT").await?,
        (Err(_), Access::Write) => ends.batch_execute("ROLLBACK").await?,
    }
    result
}

fn refuse_nul(room: &RoomId) -> Result<(), DocStoreError> {
    if [room.org(), room.docid(), room.branch()].iter().any(|part| part.contains('\0')) {
        let why = "PostgreSQL holds no text with U+0000".to_owned();
        return Err(DocStoreError::Room { room: room.clone(), why });
    }
    Ok(())
}

/// A connection of the pool. Closed unless it is given back: what ends an operation half way, a timeout, a panic, an error,
/// leaves a connection that may be in the middle of something, or that leads to a server which others have left.
struct Lent(Option<Object<AsyncPgConnection>>);

impl Lent {
    fn conn(&self) -> &AsyncPgConnection {
        self.0.as_ref().expect("it is only taken by those who consume this")
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(Object::take(conn));
        }
    }
}

fn pool(target: Arc<Target>, size: usize) -> Pool<AsyncPgConnection> {
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    // Whether the connection is closed is looked at without asking the server. One that dies just then fails one operation.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let target = target.clone();
        async move { target.establish().await.map_err(|error| diesel::ConnectionError::BadConnection(error::chain(&error))) }
            .boxed()
    });
    // The manager's own url is not used: ours has passwords in it, and need not lie in a second place.
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Pool::builder(manager).max_size(size).build().expect("a pool without timeouts needs no runtime")
}
