//! Where data lies: one process or many, roles, assets.

use super::*;

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
