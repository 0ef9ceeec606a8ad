//! The binary as whoever runs it sees it: output, errors, exit codes, signals.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

/// The binary in an empty directory, with nothing in the environment but how to find programs.
pub(crate) fn yhub(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yhub"));
    command.args(arguments).current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    finished(&mut yhub(directory, arguments))
}

/// Exit code, stdout and stderr of something that must end by itself.
pub(crate) fn finished(command: &mut Command) -> (i32, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = wait(&mut child);
    let text = |pipe: &mut dyn Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    let (stdout, stderr) = (text(&mut child.stdout.take().unwrap()), text(&mut child.stderr.take().unwrap()));
    (status.code().expect("it was not killed"), stdout, stderr)
}

/// Waits for the end, but not for ever. What is printed here fits into a pipe, so nobody waits for a reader.
fn wait(child: &mut Child) -> ExitStatus {
    for _ in 0..1_000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    panic!("it did not end within 20 s");
}

/// A serving binary, killed when the test is over.
struct Serving {
    child: Child,
    /// What it printed until it was open.
    said: String,
}

impl Serving {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = yhub(directory, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        // The line about access is the last one.
        while !said.contains("  access ") {
            if lines.read_line(&mut said).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("it ended instead of serving: {said}{stderr}");
            }
        }
        Self { child, said }
    }

    /// The host and port in the URL that it printed.
    fn addr(&self) -> &str {
        let url = self.said.split("ws://").nth(1).expect("it prints a URL");
        url.split('/').next().unwrap()
    }

    /// The answer to a GET, head and body.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.addr()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a signal and waits for the end: exit code and log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        // A shell has `kill` built in, wherever the program of that name is missing.
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
        let status = wait(&mut self.child);
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code(), log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_command_it_serves_until_a_signal_ends_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let hub = Serving::start(directory.path(), &["--listen", "127.0.0.1:0"]);
        assert!(hub.said.contains("/api/ws/v1/{org}/{docid}"), "{}", hub.said);
        assert!(
            hub.said.contains(&format!("{}\n", directory.path().canonicalize().unwrap().join("data").display())),
            "{}",
            hub.said
        );
        assert!(hub.said.contains("everyone on this machine may read and write every document"), "{}", hub.said);
        assert!(hub.get("/healthz").starts_with("HTTP/1.1 200"), "{}", hub.get("/healthz"));
        let ready = hub.get("/readyz");
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        for check in ["stream", "documents", "compaction"] {
            assert!(ready.contains(&format!("\"{check}\":\"ok\"")), "{ready}");
        }
        assert!(hub.get("/nowhere").starts_with("HTTP/1.1 404"));
        for file in ["stream.sqlite3", "documents.sqlite3"] {
            assert!(directory.path().join("data").join(file).is_file(), "{file} lies in the data directory itself");
        }
        let (code, log) = hub.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains(" ERROR ") && !log.contains(" WARN "), "{log}");
    }
}

#[test]
fn the_file_here_the_environment_and_flags_are_all_heard() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("yhub.toml"), "data_dir = \"from-file\"\n[server]\nprefix = \"from-file\"\n").unwrap();
    let mut command = yhub(directory.path(), &["--listen", "127.0.0.1:7", "config", "show"]);
    let (code, shown, _) = finished(command.env("YHUB__DATA_DIR", "from-environment"));
    assert_eq!(code, 0);
    for line in [
        "data_dir = \"from-environment\" # environment variable YHUB__DATA_DIR",
        "prefix = \"from-file\" # file yhub.toml",
        "listen = \"127.0.0.1:7\" # flag --listen",
        "keepalive_ms = 12000",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
    }

    let other = directory.path().join("other.toml");
    fs::write(&other, "[server]\nprefix = \"other\"\n").unwrap();
    let shown = finished(yhub(directory.path(), &["config", "show"]).env("YHUB_CONFIG", &other)).1;
    assert!(shown.contains("prefix = \"other\""), "{shown}");
    let mut command = yhub(directory.path(), &["config", "show", "--config", "yhub.toml"]);
    let shown = finished(command.env("YHUB_CONFIG", &other)).1;
    assert!(shown.contains("prefix = \"from-file\""), "{shown}");
}

#[test]
fn the_default_file_is_printed_as_it_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let (code, printed, _) = run(directory.path(), &["config", "default"]);
    assert_eq!((code, printed.as_str()), (0, include_str!("../../config/default.toml")));
    fs::write(directory.path().join("yhub.toml"), printed).unwrap();
    let (code, said, _) = run(directory.path(), &["config", "check"]);
    assert_eq!((code, said.as_str()), (0, "the configuration is valid\n"));
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_2_and_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--colour"][..], "unexpected argument"),
        (&["--listen", "here"], "invalid value 'here'"),
        (&["--role", "boss"], "[possible values: all, server, worker]"),
        (&["--role", "worker"], "`role` (from flag --role) is \"worker\", but the stores in `data_dir` belong to one process"),
        (&["compaction", "pause", "notes"], "\"notes\" is no room: write ORG/DOCID"),
        (&["--listen", "0.0.0.0:0"], "set `auth.everyone` to \"may-write\""),
        (&["serve", "--data-dir", ""], "a value is required for '--data-dir"),
        (&["--config", "missing.toml"], "error: cannot read the configuration file missing.toml"),
        (&["config", "check", "--config", "missing.toml"], "  because: No such file"),
    ] {
        let (code, stdout, stderr) = run(directory.path(), arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    fs::write(directory.path().join("yhub.toml"), "colour = 1\n[server]\nlisen = 2\n").unwrap();
    let (code, _, stderr) = run(directory.path(), &[]);
    assert_eq!(code, 2);
    assert_eq!(stderr.lines().count(), 2, "one line for each problem: {stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("error: `")), "{stderr}");
    assert!(stderr.contains("did you mean `server.listen`?"), "{stderr}");
}

#[test]
fn a_hub_that_cannot_start_ends_with_1_and_names_the_address() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, stdout, stderr) = run(directory.path(), &["--listen", &addr]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains(&addr) && stderr.contains("  because: "), "{stderr}");
}
