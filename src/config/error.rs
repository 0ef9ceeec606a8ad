//! What is wrong with a configuration, so that whoever wrote it can put it right.

use std::{fmt, io, path::PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    key: String,
    what: String,
    advice: String,
    origin: Option<String>,
}

impl Problem {
    /// `what` goes on after the key: "is 5"; `advice` says what to do.
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), advice: advice.into(), origin: None }
    }

    /// With the place that the value came from.
    pub(crate) fn from(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// The full name of the key: `server.listen`.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Problem {
    /// One line: key, value, where it came from, what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.key)?;
        if let Some(origin) = &self.origin {
            write!(f, "(from {origin}) ")?;
        }
        write!(f, "{}; {}", self.what, self.advice)
    }
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read the configuration file {}; name a file that exists, or leave it out to start with the defaults", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML at line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser said, in one line.
        message: String,
    },
    /// Keys or values that cannot be used; never empty. Displays one per line.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The known name that somebody probably meant, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let leaf = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |candidate: &str| {
        // The right word in the wrong section is nearly right; one further than a slip of the same size in the full name.
        let by_leaf = strsim::damerau_levenshtein(&leaf(name), &leaf(candidate)).saturating_add(1);
        strsim::damerau_levenshtein(name, candidate).min(by_leaf)
    };
    let allowed = (leaf(name).chars().count() / 3).clamp(1, 4);
    known.map(|candidate| (distance(candidate), candidate)).filter(|&(d, _)| d <= allowed).min_by_key(|&(d, _)| d).map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_despite_slips_and_wrong_sections() {
        let known = ["data_dir", "server.listen", "server.keepalive_ms", "worker.lease_ms"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("server.lisen"), Some("server.listen"));
        assert_eq!(near("sever.listen"), Some("server.listen"));
        assert_eq!(near("listen"), Some("server.listen"));
        assert_eq!(near("server.keep_alive_ms"), Some("server.keepalive_ms"));
        assert_eq!(near("server.data_dir"), Some("data_dir"));
        assert_eq!(near("server.colour"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn a_problem_is_one_line_with_everything_in_it() {
        let problem = Problem::new("worker.lease_ms", "is 5", "choose a number from 200 to 3600000").from("file yhub.toml");
        assert_eq!(problem.to_string(), "`worker.lease_ms` (from file yhub.toml) is 5; choose a number from 200 to 3600000");
    }
}
