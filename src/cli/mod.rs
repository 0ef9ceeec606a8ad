//! The command line: one file per command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod api;
mod audit;
mod compaction;
mod config;
mod failures;
mod hold;
mod migrate;
mod moment;
mod output;
mod purge;
mod quarantine;
mod room_name;
mod rooms;
mod serve;
mod stores;
mod token;
mod tombstones;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    ArgAction, Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use yhub::config::{ConfigError, Flags, Loaded, Role, Sources};

use stores::with_stores;

/// A self-hosted collaboration hub for Yjs documents.
///
/// Without a command it serves.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Options {
    /// The configuration file [default: what YHUB_CONFIG names, else ./yhub.toml if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// What this process does, in place of `role`
    #[arg(long, global = true, value_parser = PossibleValuesParser::new(Role::NAMES).try_map(|role| role.parse::<Role>()))]
    role: Option<Role>,
    /// The address and port to listen on, in place of `server.listen`
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    listen: Option<SocketAddr>,
    /// The directory of the data, in place of `data_dir`
    #[arg(long, value_name = "DIRECTORY", global = true)]
    data_dir: Option<PathBuf>,
    /// Log more; twice for everything. Without it, RUST_LOG is honoured
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients, compact, or both (see --role), until interrupted
    Serve,
    /// Bring the tables of the document store up to date
    #[command(long_about = migrate::HELP)]
    Migrate,
    /// List the rooms that are live
    #[command(long_about = format!("{}\n\n{STORES}", rooms::HELP))]
    Rooms(rooms::Arguments),
    /// Pause, resume or hasten the compaction of a room
    #[command(subcommand, long_about = format!("{}\n\n{STORES}", compaction::HELP))]
    Compaction(compaction::Command),
    /// List the rooms that cannot be compacted now
    #[command(long_about = format!("{}\n\n{STORES}", failures::HELP))]
    Failures(failures::Arguments),
    /// Look at streams that were set aside, release them, set others aside
    #[command(subcommand, long_about = format!("{}\n\n{STORES}", quarantine::HELP))]
    Quarantine(quarantine::Command),
    /// List the rooms that were deleted
    #[command(long_about = format!("{}\n\n{STORES}", tombstones::HELP))]
    Tombstones(tombstones::Arguments),
    /// Keep rooms from being erased
    #[command(subcommand, long_about = format!("{}\n\n{STORES}", hold::HELP))]
    Hold(hold::Command),
    /// Erase what is left of a room that was deleted for good
    #[command(long_about = format!("{}\n\n{STORES}", purge::HELP), after_help = room_name::HELP)]
    Purge(purge::Arguments),
    /// List what was done and refused
    #[command(long_about = format!("{}\n\n{STORES}", audit::HELP))]
    Audit(audit::Arguments),
    /// Make, list and revoke access tokens
    #[command(subcommand, long_about = format!("{}\n\n{STORES}", token::HELP))]
    Token(token::Command),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Describe the API over HTTP
    #[command(subcommand)]
    Api(api::Command),
}

/// What `--help` says of every command that looks into the storage.
const STORES: &str = "\
This command opens the stores itself. Redis and PostgreSQL it uses beside the nodes that run on them. A data directory belongs to \
one process at a time, so stop its hub first.";

impl Options {
    /// Everything that has a say in the configuration, merged and checked.
    fn load(self) -> Result<Loaded, ConfigError> {
        let flags = Flags { role: self.role, listen: self.listen, data_dir: self.data_dir };
        Sources::of_process(self.config.as_deref(), flags)?.load()
    }
}

impl Cli {
    /// How often `-v` was given.
    pub(crate) fn verbosity(&self) -> u8 {
        self.options.verbose
    }

    /// Runs the command to its end, and says on stderr why it failed.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            None | Some(Command::Serve) => serve::run(self.options),
            Some(Command::Migrate) => migrate::run(self.options),
            Some(Command::Rooms(arguments)) => with_stores(self.options, async |stores, _| rooms::run(arguments, stores).await),
            Some(Command::Compaction(command)) => {
                with_stores(self.options, async |stores, _| compaction::run(command, stores).await)
            }
            Some(Command::Failures(arguments)) => {
                with_stores(self.options, async |stores, _| failures::run(arguments, stores).await)
            }
            Some(Command::Quarantine(command)) => {
                with_stores(self.options, async |stores, config| quarantine::run(command, stores, config).await)
            }
            Some(Command::Tombstones(arguments)) => {
                with_stores(self.options, async |stores, config| tombstones::run(arguments, stores, config).await)
            }
            Some(Command::Hold(command)) => with_stores(self.options, async |stores, _| hold::run(command, stores).await),
            Some(Command::Purge(arguments)) => {
                with_stores(self.options, async |stores, config| purge::run(arguments, stores, config).await)
            }
            Some(Command::Audit(arguments)) => with_stores(self.options, async |stores, _| audit::run(arguments, stores).await),
            Some(Command::Token(command)) => with_stores(self.options, async |stores, _| token::run(command, stores).await),
            Some(Command::Config(command)) => config::run(command, self.options),
            Some(Command::Api(command)) => api::run(command, self.options),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                // If stderr is gone too, nobody is left to tell.
                let _ = report(&error, &mut io::stderr().lock());
                ExitCode::from(if error.chain().any(|cause| cause.is::<ConfigError>()) { 2 } else { 1 })
            }
        }
    }
}

/// Did whoever read our output stop reading, as `head` does?
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and its causes, one per line.
fn report(error: &anyhow::Error, out: &mut impl Write) -> io::Result<()> {
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { "error" } else { "  because" };
        for line in cause.to_string().lines() {
            writeln!(out, "{label}: {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        for line in
            [&["yhub", "--listen", "127.0.0.1:1", "serve", "-vv"][..], &["yhub", "serve", "--listen=127.0.0.1:1", "-v", "-v"]]
        {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.options.listen.unwrap().port(), 1);
            assert_eq!(cli.verbosity(), 2);
        }
        let error = Cli::try_parse_from(["yhub", "--listen", "here"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn errors_are_told_with_their_causes_one_per_line() {
        let error = Err::<(), _>(io::Error::other("disk on fire\nsecond line")).context("cannot open it").unwrap_err();
        let mut out = Vec::new();
        report(&error, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "error: cannot open it\n  because: disk on fire\n  because: second line\n");
    }
}
