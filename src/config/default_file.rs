//! The configuration as a file: the commented default one, and the one in force.
//!
//! `config/default.toml` is the output of [`default_file`]; a test compares them.

use super::{
    Config, Loaded, SCHEMA, SectionInfo,
    section::{Field, full_key},
};

const HEAD: &str = "\
# The configuration of yhub. Everything that is commented out is the default.
#
# Read from the file that `--config` or YHUB_CONFIG names, else from ./yhub.toml if it exists. Over it goes the
# environment, YHUB__SERVER__LISTEN for `listen` in [server]; over that go the flags of the command line.
";

/// The default configuration file: every key with its text, its bounds and its default, commented out.
pub fn default_file() -> String {
    let defaults = values(&Config::default());
    let mut file = HEAD.to_owned();
    for section in SCHEMA {
        open(&mut file, section, true);
        for field in section.fields {
            file.push('\n');
            for line in field.doc {
                comment(&mut file, line);
            }
            if let Some(range) = &field.range {
                comment(&mut file, &format!(" From {} to {}.", range.start(), range.end()));
            }
            match value(&defaults, section, field) {
                Some(value) => file.push_str(&format!("#{} = {value}\n", field.name)),
                None => {
                    file.push_str("# Unset. For example:\n");
                    file.push_str(&format!("#{} = {}\n", field.name, field.example.unwrap_or("\"\"")));
                }
            }
        }
    }
    file
}

impl Loaded {
    /// The configuration in force as a file, with where each value came from that is no default.
    pub fn to_file(&self) -> String {
        let values = values(&self.config);
        let mut file = String::new();
        for section in SCHEMA {
            open(&mut file, section, false);
            for field in section.fields {
                let Some(value) = value(&values, section, field) else { continue };
                file.push_str(&format!("{} = {value}", field.name));
                if let Some(origin) = self.origin(&full_key(section.key, field.name)) {
                    file.push_str(&format!(" # {}", origin.escape_debug()));
                }
                file.push('\n');
            }
        }
        file
    }
}

fn open(file: &mut String, section: &SectionInfo, with_text: bool) {
    if section.key.is_empty() {
        return;
    }
    file.push('\n');
    if with_text {
        section.about.iter().for_each(|line| comment(file, line));
    }
    file.push_str(&format!("[{}]\n", section.key));
}

/// A line of documentation begins with the space that stands after `///`.
fn comment(file: &mut String, line: &str) {
    file.push_str(format!("#{line}").trim_end());
    file.push('\n');
}

fn values(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).expect("a configuration is a map of plain values")
}

/// The value as TOML, or `None` if it is unset. Numbers, truth values, texts and lists of texts are written alike in JSON
/// and in TOML, but for the character DEL.
fn value(values: &serde_json::Value, section: &SectionInfo, field: &Field) -> Option<String> {
    let table = if section.key.is_empty() { values } else { &values[section.key] };
    let value = &table[field.name];
    (!value.is_null()).then(|| value.to_string().replace('\u{7f}', "\\u007F"))
}
