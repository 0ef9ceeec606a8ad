//! The configuration as a whole: what is taken, what is refused and in which words, who overrides whom.

mod access;
mod default_file;
mod secrets;
mod sources;
mod stores;
mod values;

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

/// Both stores, for what is checked only with them.
const STORES: &str = "[redis]\nurl = \"redis://localhost\"\n[postgres]\nurl = \"postgres://localhost/yhub\"\n";

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
