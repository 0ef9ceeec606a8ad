//! No password is printed.

use super::*;

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
