//! Options of the PostgreSQL store, and what its url says.

use std::{fmt, path::PathBuf, time::Duration};

use tokio_postgres::config::{Config, Host, SslMode};

use super::ConnectError;

/// Options of the document store in PostgreSQL.
#[derive(Clone)]
pub struct PostgresDocsOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`. Secret: never logged, and not in [`Debug`].
    ///
    /// `sslmode` is as in libpq: `disable`; `prefer`, the default: encrypted if the server can, whoever it is; `require`:
    /// encrypted; `verify-ca`: and the certificate is signed by `ca_file`; `verify-full`: and it is that of the host, signed
    /// by `ca_file` or, without that, by an authority that the system trusts. `require` with a `ca_file` is `verify-ca`; a
    /// `ca_file` without any `sslmode` is `verify-full`.
    pub url: String,
    /// Certificates (PEM) of the authorities that may have signed the server's.
    pub ca_file: Option<PathBuf>,
    /// At most so many connections.
    pub connections: usize,
    /// At most so many operations wait or run; beyond, a call waits for its turn.
    pub operations: usize,
    /// How long a call waits for its turn before it is [`yhub_store::DocStoreError::Unavailable`].
    pub wait: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a statement waits for a lock that somebody else holds.
    pub lock_timeout: Duration,
    /// How long a statement may take, and how long a transaction may lie idle before the server takes it back: a node that
    /// was stopped half way holds its room's lock no longer.
    pub statement_timeout: Duration,
    /// How long an operation may take from its turn to its end.
    pub operation_timeout: Duration,
}

impl PostgresDocsOptions {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            connections: 8,
            operations: 256,
            wait: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for PostgresDocsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field by name, so that a new one cannot be forgotten.
        let Self {
            url,
            ca_file,
            connections,
            operations,
            wait,
            connect_timeout,
            lock_timeout,
            statement_timeout,
            operation_timeout,
        } = self;
        let at = parse(url, ca_file.is_some()).map_or_else(|_| "unreadable".to_owned(), |parsed| parsed.at());
        f.debug_struct("PostgresDocsOptions")
            .field("at", &at)
            .field("ca_file", ca_file)
            .field("connections", connections)
            .field("operations", operations)
            .field("wait", wait)
            .field("connect_timeout", connect_timeout)
            .field("lock_timeout", lock_timeout)
            .field("statement_timeout", statement_timeout)
            .field("operation_timeout", operation_timeout)
            .finish()
    }
}

/// How much of the server's identity is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Nothing; also what is encrypted may go to anybody.
    Nothing,
    /// Who signed its certificate.
    Signer,
    /// That, and whether it is the certificate of the host.
    Full,
}

/// A url that was read.
pub(super) struct Parsed {
    /// For tokio-postgres. Holds the password.
    pub(super) config: Config,
    pub(super) verify: Verify,
}

impl Parsed {
    /// Host, port and database, for errors and logs: `host:port/database`.
    pub(super) fn at(&self) -> String {
        let hosts = self.config.get_hosts().iter().enumerate().map(|(nth, host)| {
            // One port is everybody's, else each has its own.
            let ports = self.config.get_ports();
            let port = ports.get(nth).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(host) => format!("{host}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("");
        format!("{}/{database}", hosts.collect::<Vec<_>>().join(","))
    }
}

/// Reads a url. What errors say holds nothing that stands before the `@`.
pub(super) fn parse(url: &str, has_ca_file: bool) -> Result<Parsed, ConnectError> {
    let wrong = |why: String| ConnectError::Url { why };
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(wrong("is no url; write `postgres://user:password@host:port/database`".to_owned()));
    }
    // A second one would cut the password, and take the rest of it for the name of the host.
    if url.matches('@').count() > 1 {
        return Err(wrong("holds more than one `@`; write those in user name and password as `%40`".to_owned()));
    }
    // Only behind it: a password may have a `?` in it.
    let query = url.split_once('@').map_or(url, |(_, rest)| rest).split_once('?').map_or("", |(_, query)| query);
    let mut mode = None;
    let mut others = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            _ => others.push(parameter),
        }
    }
    let (ssl, verify) = match (mode, has_ca_file) {
        (Some("disable"), false) => (SslMode::Disable, Verify::Nothing),
        (Some("prefer") | None, false) => (SslMode::Prefer, Verify::Nothing),
        (Some("require"), false) => (SslMode::Require, Verify::Nothing),
        (Some("require" | "verify-ca"), true) => (SslMode::Require, Verify::Signer),
        (Some("verify-full"), _) | (None, true) => (SslMode::Require, Verify::Full),
        (Some("verify-ca"), false) => {
            return Err(wrong(
                "says `sslmode=verify-ca`, but there is no CA file; give one, or take `verify-full` for the authorities that \
                 the system trusts"
                    .to_owned(),
            ));
        }
        (Some(mode @ ("disable" | "prefer")), true) => {
            return Err(wrong(format!(
                "says `sslmode={mode}`, but there is a CA file, which would not be used; take `verify-full` or leave out one \
                 of them"
            )));
        }
        (Some(_), _) => {
            return Err(wrong(
                "has an unknown `sslmode`; there are `disable`, `prefer`, `require`, `verify-ca`, `verify-full`".to_owned(),
            ));
        }
    };
    let base = &url[..url.len() - query.len()];
    let mut config: Config = format!("{base}{}", others.join("&")).parse().map_err(|error: tokio_postgres::Error| {
        // It names parameters, not their values.
        wrong(format!("cannot be read: {}", super::error::chain(&error)))
    })?;
    if config.get_hosts().is_empty() {
        return Err(wrong("names no host".to_owned()));
    }
    config.ssl_mode(ssl);
    Ok(Parsed { config, verify })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str, ca: bool) -> String {
        parse(url, ca).err().expect("refused").to_string()
    }

    #[test]
    fn modes_of_encryption() {
        let mode = |query: &str, ca| {
            let parsed = parse(&format!("postgres://u:p@h/d{query}"), ca).expect("read");
            (parsed.config.get_ssl_mode(), parsed.verify)
        };
        assert_eq!(mode("", false), (SslMode::Prefer, Verify::Nothing));
        assert_eq!(mode("?sslmode=disable", false), (SslMode::Disable, Verify::Nothing));
        assert_eq!(mode("?application_name=x&sslmode=require", false), (SslMode::Require, Verify::Nothing));
        assert_eq!(mode("?sslmode=require&application_name=x", true), (SslMode::Require, Verify::Signer));
        assert_eq!(mode("?sslmode=verify-ca", true), (SslMode::Require, Verify::Signer));
        assert_eq!(mode("?sslmode=verify-full", false), (SslMode::Require, Verify::Full));
        assert_eq!(mode("", true), (SslMode::Require, Verify::Full));
        for (query, ca) in [("allow", false), ("verify-ca", false), ("disable", true), ("prefer", true), ("", false)] {
            assert!(why(&format!("postgres://u:p@h/d?sslmode={query}"), ca).contains("sslmode"), "{query}");
        }
    }

    #[test]
    fn the_place_is_named_without_secrets() {
        let at = |url| parse(url, false).expect("read").at();
        assert_eq!(at("postgres://me:s3cret@db.example/notes?connect_timeout=3"), "db.example:5432/notes");
        assert_eq!(at("postgresql://me@db:6543"), "db:6543/me");
        assert_eq!(at("postgres://me:a%40b@[::1]:1/notes"), "::1:1/notes");
        assert_eq!(at("postgres://a,b:6543/notes"), "a:5432,b:6543/notes");
        let options = PostgresDocsOptions::new("postgres://me:s3cret@db.example/notes");
        let text = format!("{options:?}");
        assert!(text.contains("db.example:5432/notes") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_said_without_secrets() {
        for url in [
            "postgres://me:s3cret@db@example/notes",
            "postgres://me:x@s3cret?s3cret@db/notes",
            "host=db user=me password=s3cret",
            "postgres://me:s3cret@db:port/notes",
            "postgres://me:s3cret@db/notes?password=s3cret&nonsense=s3cret",
            "postgres://me:s3cret@db/notes?sslmode=s3cret",
            "postgres://me:s3cret@/notes",
            "postgres://me:s3cret@db/notes?s",
            "mysql://me:s3cret@db/notes",
            "",
        ] {
            let why = why(url, false);
            assert!(!why.contains("s3cret") && why.contains("postgres.url"), "{why}");
            let text = format!("{:?}", PostgresDocsOptions::new(url));
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
