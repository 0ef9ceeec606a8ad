//! `[auth]`: who may do what.

use serde::{Deserialize, Serialize};
use yhub_core::access::Purpose;

use super::{
    error::Problem,
    section::{Kind, Setting, section, words},
    server::Server,
};

/// How clients say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuthMode {
    /// Nobody has to say who they are.
    Open,
}

words!(AuthMode: "\"open\", the only mode so far");

/// What everyone may do who reaches a hub at which nobody has to say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Everyone {
    /// Read and write every document.
    MayWrite,
    /// Read every document and write none.
    MayRead,
}

impl Setting for Option<Everyone> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "\"may-write\" or \"may-read\"";
    const EXAMPLE: Option<&'static str> = Some("\"may-write\"");
}

section! {
    /// Who may do what.
    Auth = "auth" {
        /// How clients say who they are. "open": they do not.
        mode: AuthMode = AuthMode::Open;
        /// With mode "open": what everyone may do who reaches the hub. "may-write": everyone may read and write every
        /// document. "may-read": everyone may read every document, and nobody may write. Unset, the hub listens on
        /// loopback addresses only, and everyone on this machine may read and write every document.
        everyone: Option<Everyone> = None;
        /// With mode "open": what everyone who may write may do besides, of "audit", "delete", "hard-delete", "hold", "list",
        /// "presence", "prune", "recheck", "restore", "rollback", "ticket" and "token". What cannot be undone is not among it by
        /// default: "hard-delete" erases a document for good, and "hold" keeps documents from being erased. "audit" and "list" are
        /// for readers, too.
        purposes: Vec<String> = ["delete", "list", "presence", "prune", "restore", "rollback"].map(String::from).to_vec();
    }
    rules: rules
}

fn rules(auth: &Auth, problems: &mut Vec<Problem>) {
    for purpose in &auth.purposes {
        if Purpose::of_name(purpose).is_none() {
            let names: Vec<_> = Purpose::ALL.iter().map(|purpose| format!("\"{}\"", purpose.name())).collect();
            let advice = format!("choose among {}", names.join(", "));
            problems.push(Problem::new("auth.purposes", format!("holds {purpose:?}"), advice));
        }
    }
}

impl Auth {
    /// May clients write at all? If not, every session is read-only.
    pub fn may_write(&self) -> bool {
        self.everyone != Some(Everyone::MayRead)
    }

    /// In words for whoever starts the hub: who may do what.
    pub fn in_words(&self) -> &'static str {
        match (self.mode, self.everyone) {
            (AuthMode::Open, None) => {
                "everyone on this machine may read and write every document (loopback only, no authentication)"
            }
            (AuthMode::Open, Some(Everyone::MayWrite)) => {
                "EVERYONE who reaches this address may read and write every document (`auth.everyone` is \"may-write\")"
            }
            (AuthMode::Open, Some(Everyone::MayRead)) => {
                "everyone who reaches this address may read every document, nobody may write (`auth.everyone` is \"may-read\")"
            }
        }
    }

    /// Open doors are for loopback, unless somebody said in so many words who may come in.
    pub(super) fn check_listen(&self, server: &Server, problems: &mut Vec<Problem>) {
        let AuthMode::Open = self.mode;
        if self.everyone.is_none() && !server.listen.ip().is_loopback() {
            problems.push(Problem::new(
                "server.listen",
                format!(
                    "is {}, which other machines may reach, while nobody has to say who they are (`auth.mode` is \"open\")",
                    server.listen
                ),
                "listen on a loopback address such as 127.0.0.1:4400, or set `auth.everyone` to \"may-write\" if everyone who \
                 reaches this address may read and write every document, or to \"may-read\" if everyone may read every document \
                 and nobody may write",
            ));
        }
    }
}
