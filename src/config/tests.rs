//! The configuration as a whole: what is taken, what is refused and in which words, who overrides whom.

use std::fs;

use super::*;

/// Loads from this file text and these variables.
fn load(file: &str, environment: &[(&str, &str)]) -> Result<Loaded, String> {
    load_with(file, environment, Flags::default())
}

fn load_with(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("yhub.toml");
    fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let loaded = Sources { file: Some(path), environment, flags }.load();
    loaded.map_err(|error| error.to_string().replace(directory.path().to_str().unwrap(), "DIR"))
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment).expect_err("it should be refused")
}

#[test]
fn defaults_and_the_configuration_for_tests_are_valid() {
    Config::default().validate().unwrap();
    Config::for_testing("somewhere").validate().unwrap();
    assert_eq!(load("", &[]).unwrap().config, Config::default());
    assert!(Config::default().server.listen.ip().is_loopback());
    assert_eq!(Config::default().server.listen.to_string(), "127.0.0.1:4400");
}

#[test]
fn the_schema_lists_exactly_the_keys_of_the_configuration() {
    let value = serde_json::to_value(Config::default()).unwrap();
    let mut of_config = Vec::new();
    for (name, value) in value.as_object().unwrap() {
        match value.as_object() {
            Some(section) => of_config.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => of_config.push(name.clone()),
        }
    }
    let mut of_schema: Vec<String> =
        SCHEMA.iter().flat_map(|info| info.fields.iter().map(|field| section::full_key(info.key, field.name))).collect();
    of_config.sort();
    of_schema.sort();
    assert_eq!(of_config, of_schema);
}

#[test]
fn the_committed_default_file_is_the_generated_one() {
    let committed = include_str!("../../config/default.toml");
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
fn values_of_the_wrong_type_say_what_is_expected() {
    for (file, expected) in [
        ("server = 5", "`server` (from file DIR/yhub.toml) is a table of keys; set one of the keys in it"),
        ("data_dir = 5", "expected is the path of a directory"),
        (
            "[server]\nlisten = \"localhost:4400\"",
            "`server.listen` (from file DIR/yhub.toml) is \"localhost:4400\"; expected is an IP address and a port",
        ),
        ("[server]\nlisten = 4400", "expected is an IP address and a port"),
        ("[server]\nallowed_origins = \"*\"", "expected is a list of texts"),
        ("[server]\nallowed_origins = [1]", "expected is a list of texts"),
        ("[server]\nraw_room_names = \"yes\"", "expected is true or false"),
        ("[server]\nthreads = 1.5", "expected is a whole number"),
        (
            "[auth]\nmode = \"none\"",
            "`auth.mode` (from file DIR/yhub.toml) is \"none\"; expected is \"open\", \"jwt\", \"callback\", \"token\", or a list of several of them",
        ),
        ("[auth]\neveryone = \"may-do-anything\"", "expected is \"may-write\" or \"may-read\""),
        ("[auth]\neveryone = true", "expected is \"may-write\" or \"may-read\""),
        ("[embedded]\ndurability = \"none\"", "expected is \"power-loss\" or \"process-crash\""),
    ] {
        let error = refused(file, &[]);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn every_bound_is_kept_on_both_sides() {
    let mut checked = 0;
    for info in SCHEMA {
        for field in info.fields {
            let Some(range) = &field.range else { continue };
            let key = section::full_key(info.key, field.name);
            let name = format!("YHUB__{}__{}", info.key, field.name).to_uppercase();
            let try_value = |value: u64| load("", &[(name.as_str(), value.to_string().as_str())]);
            let words = format!("choose a number from {} to {}", range.start(), range.end());
            let outside = [range.start().checked_sub(1), Some(range.end() + 1)];
            for value in outside.into_iter().flatten() {
                let error = try_value(value).expect_err("it is out of bounds");
                let line = format!("`{key}` (from environment variable {name}) is {value}; {words}");
                assert!(error.lines().any(|said| said == line), "{error}\nexpected: {line}");
            }
            for value in [*range.start(), *range.end()] {
                // It may still not go together with another value, but it is within its own bounds.
                if let Err(error) = try_value(value) {
                    assert!(!error.contains(&words), "{error}");
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 25, "only {checked} numbers have bounds");
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (file, expected) in [
        ("data_dir = \"\"", "`data_dir` (from file DIR/yhub.toml) is empty; name a directory"),
        ("[server]\nprefix = \"a/b\"", "is \"a/b\"; choose one path segment"),
        ("[server]\nprefix = \"\"", "choose one path segment"),
        ("[server]\nprefix = \"..\"", "choose one path segment"),
        ("[server]\nprefix = \"readyz\"", "choose another word"),
        (
            "[server]\nallowed_origins = [\"https://a.example/\"]",
            "holds \"https://a.example/\"; write an origin as browsers send it",
        ),
        ("[server]\nidle_timeout_ms = 5000", "is 5000 ms; choose more than `server.keepalive_ms`, which is 12000 ms"),
    ] {
        let error = refused(file, &[]);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn open_access_stays_on_loopback_unless_somebody_says_in_words_who_may_come() {
    for open in ["0.0.0.0:4400", "[::]:4400", "192.168.1.5:4400", "[::ffff:127.0.0.1]:4400"] {
        let error = refused("", &[("YHUB__SERVER__LISTEN", open)]);
        for words in [
            open,
            "`auth.mode` is \"open\"",
            "loopback",
            "set `auth.everyone` to \"may-write\" if everyone",
            "\"may-read\" if everyone",
        ] {
            assert!(error.contains(words), "{error}\nexpected: {words}");
        }
        for (everyone, may_write) in [("may-write", true), ("may-read", false)] {
            let config = load("", &[("YHUB__SERVER__LISTEN", open), ("YHUB__AUTH__EVERYONE", everyone)]).unwrap().config;
            assert_eq!(config.auth.may_write(), may_write);
        }
    }
    for closed in ["127.0.0.1:4400", "127.8.8.8:1", "[::1]:4400"] {
        assert!(load("", &[("YHUB__SERVER__LISTEN", closed)]).unwrap().config.auth.may_write());
    }
}

#[test]
fn one_or_several_modes_are_taken_in_order() {
    use AuthMode::{Callback, Jwt, Open};
    let others = [
        ("YHUB__JWT__SECRET", "0123456789abcdef0123456789abcdef"),
        ("YHUB__AUTH_CALLBACK__URL", "https://app.example/auth"),
        ("YHUB__AUTH__EVERYONE", "may-read"),
    ];
    let modes = |file: &str, environment: &[(&str, &str)]| {
        let loaded = load(file, &[environment, &others].concat()).unwrap();
        assert_eq!(load(&default_file_with(&loaded), &others).unwrap().config.auth.mode, loaded.config.auth.mode);
        loaded.config.auth.mode.iter().collect::<Vec<_>>()
    };
    assert_eq!(modes("", &[]), [Open]);
    assert_eq!(modes("[auth]\nmode = \"jwt\"", &[]), [Jwt]);
    assert_eq!(modes("[auth]\nmode = [\"callback\", \"jwt\"]", &[]), [Callback, Jwt]);
    assert_eq!(modes("[auth]\nmode = \"jwt\"", &[("YHUB__AUTH__MODE", "jwt, callback,open")]), [Jwt, Callback, Open]);
    assert_eq!(modes("", &[("YHUB__AUTH__MODE", "callback")]), [Callback]);
    assert_eq!(modes("", &[("YHUB__AUTH__MODE", "[\"jwt\", \"open\"]")]), [Jwt, Open]);
}

/// The modes as `yhub config show` writes them.
fn default_file_with(loaded: &Loaded) -> String {
    let line = loaded.to_file().lines().find(|line| line.starts_with("mode = ")).unwrap().to_owned();
    format!("[auth]\n{line}\n")
}

#[test]
fn modes_need_what_they_ask() {
    let directory = tempfile::tempdir().unwrap();
    let key = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = include_str!("../../crates/auth/tests/keys/ed25519.pub.pem");
    let jwt = |keys: &str| format!("[auth]\nmode = \"jwt\"\n[jwt]\n{keys}\n");
    let callback = |keys: &str| format!("[auth]\nmode = \"callback\"\n[auth_callback]\n{keys}\n");
    let file = |name: &str, text: &str| format!("key_file = {:?}", key(name, text));
    for (text, expected) in [
        (jwt(""), "`jwt.jwks_url` is not set, nor is"),
        (jwt("secret = \"hunter2\""), "`jwt.secret` (from file DIR/yhub.toml) has 7 bytes"),
        (jwt("secret = \"\""), "`jwt.secret` (from file DIR/yhub.toml) is empty"),
        (jwt("key = \"hunter2\""), "`jwt.key` (from file DIR/yhub.toml) is no PEM"),
        (jwt("key_file = \"/nowhere/key.pem\""), "is /nowhere/key.pem, which cannot be read"),
        (jwt(&file("short", include_str!("../../crates/auth/tests/keys/rsa-1024.pub.pem"))), "is an RSA key of 1024 bits"),
        (jwt(&file("private", include_str!("../../crates/auth/tests/keys/rsa-2048.pem"))), "is a private key"),
        (jwt(&file("long", &"x".repeat(70_000))), "has more than 65536 bytes"),
        (
            jwt("secret = \"0123456789abcdef0123456789abcdef\"\njwks_url = \"https://a.example\""),
            "`jwt.jwks_url` (from file DIR/yhub.toml) is set, and `jwt.secret` as well",
        ),
        (jwt("jwks_url = \"http://a.example/keys\""), "asks for no TLS"),
        (jwt("jwks_url = \"https://u:hunter2@a.example/keys\""), "holds a user or a password"),
        (jwt("jwks_url = \"hunter2\""), "is no URL"),
        (jwt("jwks_url = \"http://[::1]/\"\njwks_ca_file = \"/ca.pem\""), "`jwt.jwks_ca_file`"),
        (jwt("jwks_url = \"https://a.example\"\njwks_max_stale_ms = 299999"), "less than `jwt.jwks_refresh_ms`"),
        (
            jwt("jwks_url = \"https://a.example\"\naudiences = [\"\"]"),
            "`jwt.audiences` (from file DIR/yhub.toml) holds an empty text",
        ),
        (jwt("jwks_url = \"https://a.example\"\ngrants_claim = \"\""), "`jwt.grants_claim`"),
        (callback(""), "`auth_callback.url` is not set"),
        (callback("url = \"https://a.example\"\nform = \"get\""), "add \"jwt\" to `auth.mode`"),
        (callback("url = \"https://a.example?x\""), "holds a query"),
        (callback("url = \"http://a.example\""), "asks for no TLS"),
        (callback("url = \"https://a.example\"\nsecret = \"ä\""), "`auth_callback.secret`"),
        (callback("url = \"https://a.example\"\nform = \"put\""), "expected is \"post\" or \"get\""),
        ("[auth]\nmode = []".into(), "is an empty list"),
        ("[auth]\nmode = [\"open\", \"open\"]".into(), "holds \"open\" twice"),
        (
            jwt("secret = \"0123456789abcdef0123456789abcdef\"").replace("\"jwt\"", "[\"jwt\", \"open\"]"),
            "`auth.everyone` is not set",
        ),
    ] {
        let error = refused(&text, &[]);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
        assert!(!error.contains("hunter2\"") && !error.contains("hunter2@"), "{error}");
    }
    for text in [
        jwt(&file("good", good)),
        jwt(&format!("key = {good:?}")),
        jwt("jwks_url = \"http://localhost:8080/keys?tenant=1\""),
        jwt("jwks_url = \"http://a.example/keys\"\njwks_allow_http = true"),
        callback("url = \"http://a.example/auth\"\nallow_http = true"),
        callback("url = \"http://127.0.0.1:1/auth\"\nform = \"get\"").replace("\"callback\"", "[\"jwt\", \"callback\"]")
            + "[jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"",
    ] {
        let loaded = load(&text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        // Nobody comes in unasked, so everybody may knock.
        let beyond = [("YHUB__SERVER__LISTEN", "0.0.0.0:4400")];
        assert!(load(&text, &beyond).is_ok(), "{text}");
        assert!(loaded.config.auth.in_words().contains("`auth.mode` is"), "{}", loaded.config.auth.in_words());
    }
    let open_too =
        jwt("secret = \"0123456789abcdef0123456789abcdef\"").replace("\"jwt\"", "[\"jwt\", \"open\"]\neveryone = \"may-read\"");
    let words = load(&open_too, &[("YHUB__SERVER__LISTEN", "0.0.0.0:4400")]).unwrap().config.auth.in_words();
    assert!(words.contains("signed token") && words.contains("nobody may write"), "{words}");
}

/// Both stores, for what is checked only with them.
const STORES: &str = "[redis]\nurl = \"redis://localhost\"\n[postgres]\nurl = \"postgres://localhost/yhub\"\n";

#[test]
fn the_hub_is_distributed_with_both_urls_and_embedded_without_both() {
    assert!(load(STORES, &[]).unwrap().config.is_distributed());
    assert!(!load("", &[]).unwrap().config.is_distributed());
    let of_environment =
        [("YHUB__REDIS__URL", "rediss://:a@r:1/2"), ("YHUB__POSTGRES__URL", "postgresql://u:b@p/c?sslmode=require")];
    let config = load("", &of_environment).unwrap().config;
    assert!(config.is_distributed());
    assert_eq!(config.redis.url.unwrap().expose(), "rediss://:a@r:1/2");
    assert_eq!(config.postgres.url.unwrap().expose(), "postgresql://u:b@p/c?sslmode=require");
    for (file, missing, there) in [
        ("[redis]\nurl = \"redis://localhost\"", "postgres.url", "redis.url"),
        ("[postgres]\nurl = \"postgres://localhost/yhub\"", "redis.url", "postgres.url"),
    ] {
        let error = refused(file, &[]);
        let expected = format!("`{missing}` is not set, but `{there}` is; set it as well to run on Redis and PostgreSQL");
        assert!(error.starts_with(&expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn what_says_where_data_lies_is_not_ignored_without_a_url() {
    for file in ["prefix = \"other\"", "shards = 2", "cluster = true\nprefix = \"{a}\"", "ca_file = \"ca.pem\""] {
        let error = refused(&format!("[redis]\n{file}"), &[]);
        assert!(error.contains("is set, but `redis.url` is not; set that as well, or remove it"), "{file}: {error}");
    }
    load("[redis]\nsweep_ms = 500", &[]).unwrap();
}

#[test]
fn an_empty_url_is_no_way_to_leave_it_out() {
    // A secret that was not filled in must not make an embedded hub of a distributed one.
    let error = refused("", &[("YHUB__REDIS__URL", ""), ("YHUB__POSTGRES__URL", "")]);
    for key in ["redis.url", "postgres.url"] {
        assert!(error.lines().any(|line| line.starts_with(&format!("`{key}` ")) && line.contains("has another form")), "{error}");
    }
}

#[test]
fn settings_of_the_distributed_stores_that_do_not_go_together_are_refused() {
    for (redis, rest, expected) in [
        ("url = \"http://localhost\"", "", "`redis.url` (from file DIR/yhub.toml) has another form; write redis://"),
        (
            "url = \"redis://localhost/0\"\nca_file = \"ca.pem\"",
            "",
            "`redis.ca_file` (from file DIR/yhub.toml) is set, but `redis.url` asks for no TLS",
        ),
        ("prefix = \"\"", "", "`redis.prefix` (from file DIR/yhub.toml) is \"\"; choose a word"),
        ("prefix = \"a b\"", "", "choose a word without spaces"),
        ("prefix = \"{a}\"\nshards = 2", "", "leave braces out: with more than one shard"),
        ("cluster = true", "", "choose more shards, or put the prefix into braces"),
        ("cluster = true\nprefix = \"{}a\"", "", "choose more shards, or put the prefix into braces"),
        ("url = \"redis://localhost/1\"\ncluster = true\nshards = 8", "", "names a database other than 0"),
        (
            "cluster = true\nshards = 8\nsentinels = [\"a:1\"]\nsentinel_master = \"m\"",
            "",
            "`redis.sentinels` (from file DIR/yhub.toml) is set, and `redis.cluster` as well",
        ),
        ("sentinels = [\"a:1\"]", "", "`redis.sentinel_master` is not set; name the master"),
        ("sentinel_master = \"m\"", "", "`redis.sentinels` is empty, but"),
        ("sentinels = [\"a\"]\nsentinel_master = \"m\"", "", "holds a text of another form; write host:port"),
        ("sentinels = [\"[::1]\"]\nsentinel_master = \"m\"", "", "write host:port"),
        ("sentinels = [\":pw@a:1\"]\nsentinel_master = \"m\"", "", "write host:port"),
        (
            "sweep_ms = 5000",
            "[stream]\nmin_message_lifetime_ms = 5000",
            "`redis.sweep_ms` (from file DIR/yhub.toml) is 5000 ms; choose less than `stream.min_message_lifetime_ms`, which is 5000 ms",
        ),
        ("", "[worker]\nlease_ms = 5000", "`redis.timeout_ms` is 5000 ms; choose less than `worker.lease_ms`"),
    ] {
        let url = if redis.contains("url") { "" } else { "url = \"redis://localhost\"\n" };
        let error = refused(&format!("[redis]\n{url}{redis}\n[postgres]\nurl = \"postgres://localhost/yhub\"\n{rest}"), &[]);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for redis in [
        "url = \"rediss://localhost/0\"\nca_file = \"ca.pem\"",
        "url = \"redis://localhost/0\"\ncluster = true\nshards = 8",
        "url = \"redis://localhost\"\ncluster = true\nprefix = \"a{b}\"",
        "url = \"redis://localhost/3\"\nsentinels = [\"a:1\", \"[::1]:26379\"]\nsentinel_master = \"m\"",
    ] {
        load(&format!("[redis]\n{redis}\n[postgres]\nurl = \"postgres://localhost/yhub\""), &[]).unwrap();
    }
    // Where they do not matter they are left alone.
    load("[redis]\nsweep_ms = 5000\n[stream]\nmin_message_lifetime_ms = 5000\n[worker]\nlease_ms = 500", &[]).unwrap();
}

#[test]
fn only_a_distributed_hub_has_roles() {
    for (role, serves, compacts) in [("all", true, true), ("server", true, false), ("worker", false, true)] {
        let config = load(STORES, &[("YHUB__ROLE", role)]).unwrap().config;
        assert_eq!((config.role.serves(), config.role.compacts()), (serves, compacts));
        assert_eq!((config.role.to_string(), role.parse()), (role.to_owned(), Ok(config.role)));
        assert!(Role::NAMES.contains(&role));
        if role != "all" {
            let error = refused("", &[("YHUB__ROLE", role)]);
            let words = format!(
                "`role` (from environment variable YHUB__ROLE) is \"{role}\", but the stores in `data_dir` belong to one"
            );
            assert!(error.starts_with(&words), "{error}");
        }
    }
    assert!(refused(STORES, &[("YHUB__ROLE", "boss")]).contains("is \"boss\"; expected is \"all\", \"server\" or \"worker\""));
    let flags = Flags { role: Some(Role::Worker), ..Flags::default() };
    let loaded = load_with(STORES, &[("YHUB__ROLE", "server")], flags).unwrap();
    assert_eq!((loaded.config.role, loaded.origin("role").as_deref()), (Role::Worker, Some("flag --role")));
    // A worker has no port, so nobody needs to say who may use it.
    let open = [("YHUB__SERVER__LISTEN", "0.0.0.0:4400"), ("YHUB__ROLE", "worker")];
    load(STORES, &open).unwrap();
}

#[test]
fn places_for_assets_have_what_they_need() {
    const S3: &str =
        "[assets]\nplugins = [\"s3\", \"files\"]\n[s3]\nbucket = \"assets\"\naccess_key = \"a\"\nsecret_key = \"s\"\n";
    let config = load(S3, &[]).unwrap().config;
    assert_eq!(config.s3.service(), "https://s3.us-east-1.amazonaws.com");
    assert_eq!(config.files_dir(), PathBuf::from("./data/assets"));
    load(S3, &[("YHUB__S3__ENDPOINT", "http://localhost:9000"), ("YHUB__S3__BRANCHES", "main, draft")]).unwrap();
    for (file, environment, expected) in [
        ("[assets]\nplugins = [\"s4\"]", &[][..], "`assets.plugins` (from file DIR/yhub.toml) holds \"s4\"; choose from"),
        ("[assets]\nplugins = [\"files\", \"files\"]", &[], "holds \"files\" twice"),
        ("[assets]\nplugins = [\"s3\"]", &[], "`s3.bucket` is not set, but `assets.plugins` names \"s3\""),
        ("[assets]\nplugins = [\"s3\"]", &[], "`s3.access_key` is not set"),
        ("[assets]\nplugins = [\"s3\"]", &[], "`s3.secret_key` is not set"),
        (S3, &[("YHUB__S3__SECRET_KEY", "…")], "`s3.secret_key` (from environment variable YHUB__S3__SECRET_KEY) is empty, or"),
        (S3, &[("YHUB__S3__BUCKET", "My_Bucket")], "is no name of a bucket"),
        (S3, &[("YHUB__S3__REGION", "")], "is no name of a region"),
        (S3, &[("YHUB__S3__ENDPOINT", "s3.example")], "write https://host"),
        (S3, &[("YHUB__S3__ENDPOINT", "https://s3.example/")], "write https://host"),
        (S3, &[("YHUB__S3__ENDPOINT", "http://h"), ("YHUB__S3__CA_FILE", "ca.pem")], "asks for no TLS"),
        (S3, &[("YHUB__S3__KEY_PREFIX", "a/../b")], "`s3.key_prefix` (from environment"),
        (S3, &[("YHUB__S3__BRANCHES", "")], "`s3.branches` (from environment variable YHUB__S3__BRANCHES) is empty"),
        (S3, &[("YHUB__S3__BRANCHES", "*, main")], "names all branches and some of them"),
        (S3, &[("YHUB__S3__CLIENT", "rusoto"), ("YHUB__S3__PATH_STYLE", "false")], "choose \"object-store\""),
        (S3, &[("YHUB__S3__CLIENT", "minio")], "expected is \"object-store\" or \"rusoto\""),
        (S3, &[("YHUB__ASSET_CACHE__SHARED", "true")], "`asset_cache.shared` (from environment"),
        ("[asset_cache]\nplugins = [\"memory\"]", &[], "`asset_cache.plugins`"),
    ] {
        let error = refused(file, environment);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
    // A directory of one node is no place for what all of them are to find.
    let shared = format!("{STORES}[assets]\nplugins = [\"files\"]");
    assert!(refused(&shared, &[]).contains("`files.dir` is not set, but many nodes share the document store"));
    load(&shared, &[("YHUB__FILES__DIR", "/mnt/assets")]).unwrap();
}

#[test]
fn nothing_that_is_printed_holds_a_password() {
    const PASSWORD: &str = "hunter2";
    let environment = |redis: &str, postgres: &str| {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            variable("YHUB__REDIS__URL", redis),
            variable("YHUB__POSTGRES__URL", postgres),
            variable("YHUB__S3__SECRET_KEY", PASSWORD),
        ]
    };
    let good = environment("redis://u:hunter2@r.example:6379/3", "postgres://u:hunter2@p.example/yhub?password=hunter2");
    let sources = Sources { environment: good, ..Sources::default() };
    let loaded = sources.load().unwrap();
    assert!(loaded.config.redis.url.as_ref().unwrap().expose().contains(PASSWORD), "it is there all the same");
    let shown = loaded.to_file();
    for line in [
        "url = \"redis://…@r.example:6379/3\" # environment",
        "url = \"postgres://…@p.example/yhub\" # environment",
        "secret_key = \"…\" # environment",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let printed = format!("{shown}\n{sources:?}\n{sources:#?}\n{loaded:?}\n{loaded:#?}\n{:?}", loaded.config);
    assert!(printed.contains("YHUB__REDIS__URL") && printed.contains("…@r.example"), "{printed}");
    assert!(!printed.contains(PASSWORD), "{printed}");
    let json = serde_json::to_string(&loaded.config).unwrap();
    assert!(!json.contains(PASSWORD), "{json}");

    for (file, environment) in [
        ("[redis]\nurl = \"redis://:hunter2@localhost\"", &[][..]),
        ("[postgres]\nurl = \"postgres://u:hunter2@localhost\"", &[]),
        ("", &[("YHUB__REDIS__URL", "redis://:hunter2@localhost")]),
        ("", &[("YHUB__REDIS__URL", "hunter2")]),
        ("", &[("YHUB__POSTGRES__URL", "host=localhost password=hunter2")]),
        ("", &[("YHUB__REDIS__URL__X", "hunter2")]),
        ("", &[("YHUB__REDIS__ULR", "redis://:hunter2@localhost")]),
        ("", &[("YHUB__REDIS__SENTINELS", "hunter2@localhost"), ("YHUB__REDIS__SENTINEL_MASTER", "m")]),
        ("[s3]\nsecret_key = { hunter2 = 1 }", &[]),
        ("[s3]\nsecret_key = 987654", &[]),
        ("[assets]\nplugins = [\"s3\"]\n[s3]\nsecret_key = \"hunter2\"", &[]),
        ("[s3]\nendpoint = \"https://u:hunter2@s3.example\"", &[]),
        ("", &[("YHUB__S3__SECRET_KEY__X", "hunter2")]),
        ("redis = \"hunter2\"", &[]),
        ("[redis]\nurl = [\"hunter2\"]", &[]),
        ("[redis]\nurl = { hunter2 = 1 }", &[]),
        ("[redis]\nurl = 987654", &[]),
        ("[redis]\nurl = \"redis://:hunter2@localhost", &[]),
        ("[redis]\nurl = redis://:hunter2@localhost\n", &[]),
        ("[redis]\nurl = 'redis://:hunter2@localhost' 'x'\n", &[]),
        ("[redis]\nurl = \"redis://:hunter2\\q@localhost\"\n", &[]),
    ] {
        let error = load(file, environment).map(|loaded| loaded.config).expect_err("it should be refused");
        assert!(!error.contains(PASSWORD) && !error.contains("987654"), "{file} {environment:?}: {error}");
    }
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
