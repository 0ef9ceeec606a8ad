//! `[postgres]`: the document store, when many nodes share it.

use std::path::PathBuf;

use super::{
    error::Problem,
    secret::{PostgresServer, SecretUrl},
    section::{Millis, section},
};

section! {
    /// The document store, when many nodes share it.
    Postgres = "postgres" {
        /// The database: `postgres://user:password@host:5432/database`, with `?sslmode=require` for TLS. A secret: shown
        /// without user and password, and better given in the environment, as YHUB__POSTGRES__URL.
        url: Option<SecretUrl<PostgresServer>> = None;
        /// Certificates, in PEM, of who may vouch for the server, in place of those that the system trusts.
        ca_file: Option<PathBuf> = None;
        /// Connections that one node may have open.
        connections: usize = 10, 1..=1_000;
        /// A statement that takes longer has failed.
        timeout_ms: Millis = Millis::new(30_000), 100..=600_000;
    }
    rules: rules
}

fn rules(postgres: &Postgres, problems: &mut Vec<Problem>) {
    if postgres.url.as_ref().is_some_and(|url| !url.is_well_formed()) {
        problems.push(Problem::new("postgres.url", "has another form", "write postgres://user:password@host:5432/database"));
    }
}
