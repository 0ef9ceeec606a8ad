//! `yhub config`: what could be set, what is in force, and whether it can be used.

use std::io::{self, Write};

use clap::Subcommand;
use yhub::config::{default_file, limits_page};

use super::Options;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether a hub could start with this configuration
    Check,
    /// Print the default configuration file, with every key explained
    Default,
    /// Print the page about all limits, as Markdown
    Limits,
    /// Print the configuration in force, and where each value came from
    Show,
}

pub(super) fn run(command: Command, options: Options) -> anyhow::Result<()> {
    let text = match command {
        Command::Check => {
            options.load()?;
            "the configuration is valid\n".to_owned()
        }
        Command::Default => default_file(),
        Command::Limits => limits_page(),
        Command::Show => options.load()?.to_file(),
    };
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
