//! What a section of the configuration is made of: its keys with their texts, defaults and bounds, each written once.
//!
//! The macro `section!` makes of one list the struct, its `Default`, its reading and writing, the check of its bounds and
//! its part of the default file, so that these cannot tell different stories.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use figment::value::Value;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::Problem;

/// A time in the configuration: a whole number of milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// So many milliseconds.
    pub const fn new(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// The same as a `Duration`.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Millis> for Duration {
    fn from(time: Millis) -> Self {
        time.duration()
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// How a text from the environment becomes a value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The text itself, even if it looks like a number.
    Text,
    /// A list in brackets, or texts with commas between them.
    List,
    /// A number or a truth value.
    Plain,
}

/// A type that a key of the configuration may have.
pub(crate) trait Setting: Serialize + DeserializeOwned {
    /// How it is read from the environment.
    const KIND: Kind;
    /// What is expected, for error texts: "a whole number".
    const EXPECTS: &'static str;
    /// For a key that may be unset: a value to show in the default file, as TOML.
    const EXAMPLE: Option<&'static str> = None;
    /// Must no text ever hold the value?
    const IS_SECRET: bool = false;
}

impl Setting for bool {
    const KIND: Kind = Kind::Plain;
    const EXPECTS: &'static str = "true or false";
}

impl Setting for usize {
    const KIND: Kind = Kind::Plain;
    const EXPECTS: &'static str = "a whole number";
}

impl Setting for Millis {
    const KIND: Kind = Kind::Plain;
    const EXPECTS: &'static str = "a whole number of milliseconds";
}

impl Setting for String {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "a text";
}

impl Setting for PathBuf {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "the path of a directory";
}

impl Setting for Option<PathBuf> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "the path of a file";
    const EXAMPLE: Option<&'static str> = Some("\"/etc/yhub/ca.pem\"");
}

impl Setting for SocketAddr {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "an IP address and a port, such as 127.0.0.1:4400 or [::1]:4400";
}

impl Setting for Option<SocketAddr> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "an IP address and a port, such as 127.0.0.1:4401 or [::1]:4401";
    const EXAMPLE: Option<&'static str> = Some("\"127.0.0.1:4401\"");
}

impl Setting for Vec<String> {
    const KIND: Kind = Kind::List;
    const EXPECTS: &'static str = "a list of texts, such as [\"https://editor.example\"]";
}

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Field {
    /// The last part of its name.
    pub(crate) name: &'static str,
    /// Its documentation, line by line.
    pub(crate) doc: &'static [&'static str],
    /// What is expected of its value.
    pub(crate) expects: &'static str,
    /// How it is read from the environment.
    pub(crate) kind: Kind,
    /// The bounds of a number, both included.
    pub(crate) range: Option<RangeInclusive<u64>>,
    /// Something to show for a key that is unset by default, as TOML.
    pub(crate) example: Option<&'static str>,
    /// Must no text ever hold the value?
    pub(crate) is_secret: bool,
    /// Has this value the key's type?
    pub(crate) fits: fn(&Value) -> bool,
}

impl Field {
    /// A key of type `T`.
    pub(crate) const fn of<T: Setting>(
        name: &'static str,
        doc: &'static [&'static str],
        range: Option<RangeInclusive<u64>>,
    ) -> Self {
        Self {
            name,
            doc,
            expects: T::EXPECTS,
            kind: T::KIND,
            range,
            example: T::EXAMPLE,
            is_secret: T::IS_SECRET,
            fits: |value| value.deserialize::<T>().is_ok(),
        }
    }
}

/// A table of the configuration file.
pub(crate) trait Section: Serialize {
    /// Its name; empty for the keys that stand in no table.
    const KEY: &'static str;
    /// Its documentation, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the default file.
    const FIELDS: &'static [Field];

    /// Adds what is wrong beyond the bounds of single numbers.
    fn rules(&self, problems: &mut Vec<Problem>);
}

/// The full name of a key.
pub(crate) fn full_key(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// Everything that is wrong with the values of one section.
pub(crate) fn problems_of<S: Section>(section: &S) -> Vec<Problem> {
    let mut problems = Vec::new();
    let values = serde_json::to_value(section).expect("a section is a map of plain values");
    for field in S::FIELDS {
        let Some(range) = &field.range else { continue };
        let Some(number) = values[field.name].as_u64() else { continue };
        if !range.contains(&number) {
            let (low, high) = (range.start(), range.end());
            problems.push(Problem::new(
                full_key(S::KEY, field.name),
                format!("is {number}"),
                format!("choose a number from {low} to {high}"),
            ));
        }
    }
    section.rules(&mut problems);
    problems
}

/// Makes a section: `Name = "key" { /// text  name: Type = default, low..=high; … } rules: function`.
/// Bounds and rules are optional; a rule function adds what is wrong beyond the bounds of single numbers.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident = $key:literal {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(, $range:expr)?; )+
        }
        $( rules: $rules:path )?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[doc = concat!("\n\nBounds: `", stringify!($range), "`.")])?
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::section::Section for $name {
            const KEY: &'static str = $key;
            const ABOUT: &'static [&'static str] = &[$($about),+];
            const FIELDS: &'static [$crate::config::section::Field] = &[
                $( $crate::config::section::Field::of::<$type>(
                    stringify!($field),
                    &[$($doc),+],
                    $crate::config::section::range!($($range)?),
                ), )+
            ];

            fn rules(&self, problems: &mut Vec<$crate::config::error::Problem>) {
                let _ = &problems;
                $( $rules(self, problems); )?
            }
        }
    };
}

/// `None` without an expression, else `Some` of it.
macro_rules! range {
    () => {
        None
    };
    ($range:expr) => {
        Some($range)
    };
}

/// Makes a type of the configuration that is one of a few words.
macro_rules! words {
    ($type:ty: $expects:literal) => {
        impl $crate::config::section::Setting for $type {
            const KIND: $crate::config::section::Kind = $crate::config::section::Kind::Text;
            const EXPECTS: &'static str = $expects;
        }
    };
}

pub(crate) use {range, section, words};
