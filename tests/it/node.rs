//! The scripts in `tests/clients`: stock clients in processes of their own.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// The script `name` of `tests/clients`, against the hub at `url`.
///
/// # Panics
/// If Node or the clients are missing, with what to do.
pub(crate) fn script(name: &str, url: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    assert!(node.is_ok_and(|status| status.success()), "node is missing; `scripts/test` installs it");
    assert!(folder.join("node_modules").is_dir(), "the clients are missing; run `npm ci` in tests/clients, or `scripts/test`");
    let mut command = Command::new("node");
    command.arg(name).current_dir(folder).env("YHUB_URL", url).stdin(Stdio::null());
    command
}
