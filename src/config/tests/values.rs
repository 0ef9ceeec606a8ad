//! Single values: their types, their bounds, and what does not go together.

use super::*;

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
