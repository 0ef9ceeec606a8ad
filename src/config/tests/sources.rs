//! Files, environment and flags: who overrides whom, and what is no key.

use super::*;

#[test]
fn environment_goes_over_file_and_flags_over_both() {
    let file = "data_dir = \"file\"\n[server]\nlisten = \"127.0.0.1:1\"\nkeepalive_ms = 1000\n";
    let environment = [("YHUB__SERVER__LISTEN", "127.0.0.1:2"), ("YHUB__DATA_DIR", "2026")];
    let flags = Flags { listen: Some("127.0.0.1:3".parse().unwrap()), ..Flags::default() };
    let loaded = load_with(file, &environment, flags).unwrap();
    assert_eq!(loaded.config.server.listen.port(), 3);
    assert_eq!(loaded.config.data_dir, PathBuf::from("2026"), "a text that looks like a number is a text");
    assert_eq!(loaded.config.server.keepalive_ms, Millis::new(1000));
    assert_eq!(loaded.origin("server.listen").as_deref(), Some("flag --listen"));
    assert_eq!(loaded.origin("data_dir").as_deref(), Some("environment variable YHUB__DATA_DIR"));
    assert!(loaded.origin("server.keepalive_ms").unwrap().starts_with("file "));
    assert_eq!(loaded.origin("room.idle_ms"), None);
    let flags = Flags { data_dir: Some("flag".into()), ..Flags::default() };
    assert_eq!(load_with(file, &environment, flags).unwrap().config.data_dir, PathBuf::from("flag"));
}

#[test]
fn the_environment_can_set_every_kind_of_value() {
    let config = load(
        "",
        &[
            ("YHUB__SERVER__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("YHUB__SERVER__RAW_ROOM_NAMES", "true"),
            ("YHUB__SERVER__PREFIX", "1"),
            ("YHUB__SERVER__LISTEN", "[::1]:0"),
            ("YHUB__WORKER__LEASE_MS", "500"),
            ("YHUB__EMBEDDED__DURABILITY", "process-crash"),
            ("YHUB__AUTH__EVERYONE", "may-read"),
        ],
    )
    .unwrap()
    .config;
    assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example"]);
    assert!(config.server.raw_room_names);
    assert_eq!(config.server.prefix, "1");
    assert_eq!(config.server.listen.to_string(), "[::1]:0");
    assert_eq!(config.worker.lease_ms.duration(), std::time::Duration::from_millis(500));
    assert_eq!(config.embedded.durability, Durability::ProcessCrash);
    assert_eq!(config.auth.everyone, Some(Everyone::MayRead));
    assert!(!config.auth.may_write());
    let list = [("YHUB__SERVER__ALLOWED_ORIGINS", "[\"https://a.example\", \"*\"]")];
    assert_eq!(load("", &list).unwrap().config.server.allowed_origins, ["https://a.example", "*"]);
    let list = [("YHUB__SERVER__ALLOWED_ORIGINS", "")];
    assert_eq!(load("", &list).unwrap().config.server.allowed_origins, Vec::<String>::new());
}

#[test]
fn an_unknown_key_is_named_with_its_origin_and_the_nearest_known_one() {
    for (file, environment, expected) in [
        (
            "[server]\nlisen = 1",
            &[][..],
            "`server.lisen` (from file DIR/yhub.toml) is no key of the configuration; did you mean `server.listen`?",
        ),
        ("listen = 1", &[], "`listen` (from file DIR/yhub.toml) is no key of the configuration; did you mean `server.listen`?"),
        (
            "[sever]\nlisten = 1",
            &[],
            "`sever.listen` (from file DIR/yhub.toml) is no key of the configuration; did you mean `server.listen`?",
        ),
        (
            "",
            &[("YHUB__SERVER__LISSTEN", "x")],
            "`server.lissten` (from environment variable YHUB__SERVER__LISSTEN) is no key of the configuration; did you mean `server.listen`?",
        ),
        (
            "",
            &[("YHUB__SERVER__LISTEN__X", "x")],
            "`server.listen` (from environment variable YHUB__SERVER__LISTEN__X) is a table; expected is an IP address and a port, such as 127.0.0.1:4400 or [::1]:4400",
        ),
        (
            "[worker]\ncolour = 1",
            &[],
            "`worker.colour` (from file DIR/yhub.toml) is no key of the configuration; known in `worker` are task_debounce_ms, lease_ms, concurrency, retry_ms, quarantine_after, breaker_rooms, reconcile_ms",
        ),
        (
            "",
            &[("YHUB__", "x")],
            "known are role, data_dir and the sections server, auth, jwt, auth_callback, limits, room, stream, worker, deletion, audit, compute, embedded, redis, postgres",
        ),
        (
            "[colours]",
            &[],
            "`colours` (from file DIR/yhub.toml) is no key of the configuration; known are role, data_dir and the sections",
        ),
    ] {
        let error = refused(file, environment);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_one_per_line() {
    let error = refused("[server]\nlisen = 1\nkeepalive_ms = \"soon\"", &[("YHUB__ROOM__IDLE_MS", "-1")]);
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "`server.keepalive_ms` (from file DIR/yhub.toml) is \"soon\"; expected is a whole number of milliseconds",
            "`server.lisen` (from file DIR/yhub.toml) is no key of the configuration; did you mean `server.listen`?",
            "`room.idle_ms` (from environment variable YHUB__ROOM__IDLE_MS) is signed int -1; expected is a whole number of milliseconds",
        ]
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_an_error_that_names_it() {
    let missing = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() }.load().unwrap_err();
    assert!(missing.to_string().contains("cannot read the configuration file no/such/file.toml"), "{missing}");
    assert!(std::error::Error::source(&missing).is_some());

    let error = refused("data_dir = \"x\"\n[server]\nlisten = = 5\n", &[]);
    assert!(error.starts_with("the configuration file DIR/yhub.toml is not TOML at line 3, column 10: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let twice = refused("[server]\nthreads = 1\nthreads = 2\n", &[]);
    assert!(twice.contains("line 3") && twice.contains("duplicate key"), "{twice}");
}
