//! The generated file of defaults, and what is shown as a file.

use super::*;

#[test]
fn the_committed_default_file_is_the_generated_one() {
    let committed = include_str!("../../../config/default.toml");
    assert_eq!(committed, default_file(), "run `cargo run -- config default > config/default.toml`");
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    assert_eq!(load(&default_file(), &[]).unwrap().config, Config::default());
    // With every assignment in force. Prose in a comment has a space after the `#`.
    let in_force: String = default_file()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let mut expected = Config::default();
    // The examples of keys that are unset by default.
    expected.auth.everyone = Some(Everyone::MayWrite);
    expected.jwt.secret = Some("a secret".into());
    expected.jwt.key = Some("a secret".into());
    expected.jwt.key_file = Some("/etc/yhub/jwt.pem".into());
    expected.jwt.jwks_ca_file = Some("/etc/yhub/ca.pem".into());
    expected.auth_callback.secret = Some("a secret".into());
    expected.auth_callback.ca_file = Some("/etc/yhub/ca.pem".into());
    expected.server.metrics = Some("127.0.0.1:4401".parse().unwrap());
    expected.redis.url = Some("rediss://:password@redis.example:6379/0".into());
    expected.redis.ca_file = Some("/etc/yhub/ca.pem".into());
    expected.postgres.url = Some("postgres://yhub:password@postgres.example:5432/yhub".into());
    expected.postgres.ca_file = Some("/etc/yhub/ca.pem".into());
    expected.s3.secret_key = Some("a secret".into());
    expected.s3.ca_file = Some("/etc/yhub/ca.pem".into());
    assert_eq!(load(&in_force, &[]).unwrap().config, expected);
}

#[test]
fn what_is_shown_loads_as_the_same_configuration() {
    let file = "data_dir = \"a \\\"b\\\" \\\\ ü \\u007F\"\n[server]\nallowed_origins = [\"https://a.example\", \"*\"]\n[auth]\neveryone = \"may-read\"";
    let loaded = load(file, &[("YHUB__ROOM__IDLE_MS", "77")]).unwrap();
    let shown = loaded.to_file();
    assert!(shown.contains("idle_ms = 77 # environment variable YHUB__ROOM__IDLE_MS\n"), "{shown}");
    assert_eq!(load(&shown, &[]).unwrap().config, loaded.config);
}
