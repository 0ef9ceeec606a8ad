//! The binary: parses the command line, sets up logging, runs one command.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use env_logger::Env;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    set_up_logging(cli.verbosity());
    cli.run()
}

/// To stderr, with times, from level `info`; `-v` is stronger than `RUST_LOG`.
fn set_up_logging(verbosity: u8) {
    let mut builder = match verbosity {
        0 => env_logger::Builder::from_env(Env::default().default_filter_or("info,actix_server=warn")),
        _ => env_logger::Builder::new(),
    };
    match verbosity {
        0 => {}
        // Targets are matched by how they begin: this is every crate of ours.
        1 => drop(builder.parse_filters("info,actix_server=warn,yhub=debug")),
        // That client writes the headers of its requests, which are signed, into its log.
        _ => drop(builder.parse_filters("debug,rusoto_core=info,yhub=trace")),
    }
    builder.format_timestamp_millis().init();
}
