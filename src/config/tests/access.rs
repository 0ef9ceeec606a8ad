//! Who may come in.

use super::*;

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
    let good = include_str!("../../../crates/auth/tests/keys/ed25519.pub.pem");
    let jwt = |keys: &str| format!("[auth]\nmode = \"jwt\"\n[jwt]\n{keys}\n");
    let callback = |keys: &str| format!("[auth]\nmode = \"callback\"\n[auth_callback]\n{keys}\n");
    let file = |name: &str, text: &str| format!("key_file = {:?}", key(name, text));
    for (text, expected) in [
        (jwt(""), "`jwt.jwks_url` is not set, nor is"),
        (jwt("secret = \"hunter2\""), "`jwt.secret` (from file DIR/yhub.toml) has 7 bytes"),
        (jwt("secret = \"\""), "`jwt.secret` (from file DIR/yhub.toml) is empty"),
        (jwt("key = \"hunter2\""), "`jwt.key` (from file DIR/yhub.toml) is no PEM"),
        (jwt("key_file = \"/nowhere/key.pem\""), "is /nowhere/key.pem, which cannot be read"),
        (jwt(&file("short", include_str!("../../../crates/auth/tests/keys/rsa-1024.pub.pem"))), "is an RSA key of 1024 bits"),
        (jwt(&file("private", include_str!("../../../crates/auth/tests/keys/rsa-2048.pem"))), "is a private key"),
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
