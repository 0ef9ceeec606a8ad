//! The API as it is described, taken at its word: by a program that makes requests of the description, by a back end in Node, and by a
//! person with a browser.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    node,
    support::{Stage, TestHub},
};

on_stage!(direct, Direct; no_request_of_the_description_fails, a_back_end_and_an_editor_work_together, the_page_works_in_a_browser);
on_stage!(full, Full; no_request_of_the_description_fails, a_back_end_and_an_editor_work_together);

/// Runs it to its end; what it says if it fails.
async fn run(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await.unwrap().expect("it starts");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "it ended with {}:\n{said}\n{complained}", output.status);
}

async fn hub(stage: Stage) -> TestHub {
    TestHub::with(stage, |config| config.auth.purposes.extend(["hard-delete", "hold"].map(String::from))).await
}

/// Where `scripts/test` has installed it, or on the PATH.
fn schemathesis() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/schemathesis");
    if installed.is_file() { installed } else { "schemathesis".into() }
}

/// Requests that fit the description, and requests that do not: none makes the hub fail, and each answer is one that is described.
/// YHUB_SCHEMA_SEED and YHUB_SCHEMA_EXAMPLES make others, and more of them.
async fn no_request_of_the_description_fails(stage: Stage) {
    let hub = hub(stage).await;
    let program = schemathesis();
    let found = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "schemathesis is missing; `scripts/test` installs it");
    let of_env = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.current_dir(dir.path());
    command.args(["run", &format!("http://{}/api/openapi.json", hub.addr()), "--phases", "coverage,fuzzing", "--no-color"]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"]);
    command.args(["--max-examples", &of_env("YHUB_SCHEMA_EXAMPLES", "40"), "--seed", &of_env("YHUB_SCHEMA_SEED", "1")]);
    command.args(["--header", "Accept: application/json", "--request-timeout", "60"]);
    run(command).await;
    assert_eq!(hub.open_sessions(), 0);
}

async fn a_back_end_and_an_editor_work_together(stage: Stage) {
    let hub = hub(stage).await;
    run(node::script("backend.mjs", &format!("http://{}", hub.addr()))).await;
}

async fn the_page_works_in_a_browser(stage: Stage) {
    let hub = hub(stage).await;
    let found = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_the_path);
    let browser = std::env::var_os("CHROMIUM").map(PathBuf::from).or_else(found);
    let browser = browser.expect("Chromium is missing; `scripts/test` installs it, or CHROMIUM names one");
    let mut command = node::script("page.mjs", &format!("http://{}", hub.addr()));
    command.env("CHROMIUM", browser);
    run(command).await;
}

fn on_the_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
