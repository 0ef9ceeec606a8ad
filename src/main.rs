//! The binary: parses the command line, sets up logging, runs one command.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use env_logger::Env;

fn main() -> ExitCode {
    give_back_what_was_long();
    let cli = cli::Cli::parse();
    set_up_logging(cli.verbosity());
    cli.run()
}

/// Has glibc give memory of long documents back to the system as soon as it is free. Left alone, it learns from the first long one to
/// keep what was as long, and holds twice what is in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back_what_was_long() {
    const LONG_BYTES: i32 = 256 << 10;
    #[expect(unsafe_code, reason = "the allocator has no other way to be told")]
    // SAFETY: it sets a number, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LONG_BYTES);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back_what_was_long() {}

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
