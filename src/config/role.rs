//! `role`: what one process of a hub does.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::section::words;

/// What this process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Serve clients and compact.
    #[default]
    All,
    /// Serve clients; others compact.
    Server,
    /// Compact, without a port.
    Worker,
}

words!(Role: "\"all\", \"server\" or \"worker\"");

impl Role {
    /// Every role, as the command line has it.
    pub const NAMES: [&str; 3] = ["all", "server", "worker"];

    /// Does it take clients?
    pub const fn serves(self) -> bool {
        matches!(self, Self::All | Self::Server)
    }

    /// Does it fold streams into stored versions?
    pub const fn compacts(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Server => "server",
            Self::Worker => "worker",
        })
    }
}

/// A word that is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no role; choose all, server or worker")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::All, Self::Server, Self::Worker].into_iter().find(|role| role.to_string() == text).ok_or(UnknownRole)
    }
}
