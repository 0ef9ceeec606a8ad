//! Makes connections to PostgreSQL, each with its bounds set.

use std::{sync::Arc, time::Duration};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    ConnectError, PostgresDocsOptions,
    error::connect_error,
    options::{Parsed, parse},
    tls::connector,
};

/// What idle connections are asked whether they live after, in place of the two hours that systems have.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where to connect, and how.
pub(super) struct Target {
    /// Host, port and database, for errors.
    pub(super) at: Arc<str>,
    config: Config,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
    /// What a new connection is told.
    setup: String,
}

impl Target {
    /// Reads the url and the CA file; connects to nothing.
    pub(super) fn new(options: &PostgresDocsOptions) -> Result<Self, ConnectError> {
        let parsed = parse(&options.url, options.ca_file.is_some())?;
        let at = parsed.at().into();
        let tls = connector(parsed.verify, options.ca_file.as_deref())?;
        let Parsed { mut config, .. } = parsed;
        config.connect_timeout(options.connect_timeout).keepalives_idle(KEEPALIVE).tcp_user_timeout(options.operation_timeout);
        if config.get_application_name().is_none() {
            config.application_name("yhub");
        }
        // 0 would be for ever.
        let ms = |bound: Duration| bound.as_millis().clamp(1, i32::MAX as u128);
        let setup = format!(
            "SET statement_timeout = {statement}; SET idle_in_transaction_session_timeout = {statement}; \
             SET lock_timeout = {lock}; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            statement = ms(options.statement_timeout),
            lock = ms(options.lock_timeout),
        );
        Ok(Self { at, config, tls, connect_timeout: options.connect_timeout, setup })
    }

    /// Makes a connection. The runtime that this runs on drives it.
    ///
    /// Commits on it are on the disk before they are answered, whatever the database's default: what a version row holds is
    /// trimmed from the stream.
    pub(super) async fn establish(&self) -> Result<AsyncPgConnection, ConnectError> {
        let connect = async {
            let (client, connection) =
                self.config.connect(self.tls.clone()).await.map_err(|error| connect_error(&self.at, error))?;
            let lost = |source| ConnectError::Unreachable { at: self.at.to_string(), source };
            let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection)
                .await
                .map_err(|error| lost(error.into()))?;
            conn.batch_execute(&self.setup).await.map_err(|error| lost(error.into()))?;
            Ok(conn)
        };
        // Around it all: the bound of the configuration is for one address and ends where TLS and the login begin.
        timeout(self.connect_timeout, connect).await.unwrap_or_else(|_| {
            let source = format!("no connection within {} ms", self.connect_timeout.as_millis()).into();
            Err(ConnectError::Unreachable { at: self.at.to_string(), source })
        })
    }
}
