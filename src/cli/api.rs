//! `yhub api`: the API over HTTP, described for people and for programs.

use std::io::{self, Write};

use clap::Subcommand;
use yhub::http::{openapi, reference};

use super::Options;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the reference of every endpoint, as Markdown
    Reference,
    /// Print the description as OpenAPI 3.1, with the paths of the configuration in force
    Openapi,
}

pub(super) fn run(command: Command, options: Options) -> anyhow::Result<()> {
    let text = match command {
        Command::Reference => reference(),
        Command::Openapi => openapi(&options.load()?.config.server.prefix),
    };
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
