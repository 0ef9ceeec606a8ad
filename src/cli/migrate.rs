//! `yhub migrate`: brings the tables of the document store up to date.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::Options;

/// What `--help` says.
pub(super) const HELP: &str = "\
Brings the tables in PostgreSQL up to date. Hubs do not do that by themselves: they look at the tables when they start, and end \
with what to run if those are too old. Run it once before the processes of a new version start; those of the version before \
that run go on, but do not start any more. It may run twice, also at the same time: the second one waits, and finds nothing to do. \
Tables of a y/hub are taken as they are.

Without `postgres.url` there is nothing to do: the files in the data directory are brought up to date when a hub opens them.";

pub(super) fn run(options: Options) -> anyhow::Result<()> {
    let config = options.load()?.config;
    let mut text = String::new();
    match yhub::migrate(&config)? {
        None => text.push_str("nothing to do: the files in the data directory are brought up to date when a hub opens them\n"),
        Some(done) if done.is_empty() => text.push_str("nothing to do: the tables are up to date\n"),
        Some(done) => {
            for name in done {
                writeln!(text, "migrated to {name}")?;
            }
        }
    }
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
