//! `[auth]`: who may do what.

use serde::{Deserialize, Serialize, Serializer};
use yhub_core::access::Purpose;

use super::{
    error::Problem,
    section::{Kind, Millis, Setting, section},
    server::Server,
};

/// A way for clients to say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuthMode {
    /// Nobody has to say who they are.
    Open,
    /// A token that is signed says it; see [`Jwt`](super::Jwt).
    Jwt,
    /// The application's back end says it; see [`AuthCallback`](super::AuthCallback).
    Callback,
    /// An access token of this hub says it.
    Token,
}

impl AuthMode {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Jwt => "jwt",
            Self::Callback => "callback",
            Self::Token => "token",
        }
    }
}

/// One or several ways, in order. Written as one word or as a list of words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct AuthModes(Vec<AuthMode>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(AuthMode),
    Many(Vec<AuthMode>),
}

impl From<OneOrMany> for AuthModes {
    fn from(modes: OneOrMany) -> Self {
        match modes {
            OneOrMany::One(mode) => Self(vec![mode]),
            OneOrMany::Many(modes) => Self(modes),
        }
    }
}

impl From<AuthMode> for AuthModes {
    fn from(mode: AuthMode) -> Self {
        Self(vec![mode])
    }
}

impl From<Vec<AuthMode>> for AuthModes {
    fn from(modes: Vec<AuthMode>) -> Self {
        Self(modes)
    }
}

impl Serialize for AuthModes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0[..] {
            [mode] => mode.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}

impl Setting for AuthModes {
    const KIND: Kind = Kind::List;
    const EXPECTS: &'static str = "\"open\", \"jwt\", \"callback\", \"token\", or a list of several of them";
}

impl AuthModes {
    /// Is this one of them?
    pub fn contains(&self, mode: AuthMode) -> bool {
        self.0.contains(&mode)
    }

    /// Each, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AuthMode> {
        self.0.iter().copied()
    }

    /// Does nobody have to say who they are, whatever they bring?
    pub fn is_open_only(&self) -> bool {
        self.0 == [AuthMode::Open]
    }

    fn in_words(&self) -> String {
        self.0.iter().map(|mode| format!("\"{}\"", mode.name())).collect::<Vec<_>>().join(", ")
    }
}

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
        /// How clients say who they are. "open": they do not. "jwt": by a signed token, see `[jwt]`. "callback": the application's
        /// back end says it and what they may do, see `[auth_callback]`. "token": by an access token of this hub, which `yhub token create` makes. Or several of them as a list, in order: with ["jwt",
        /// "callback"] the token says who they are and the back end what they may do, unless the token says that too. With "open"
        /// among others, who brings no credential is anonymous and may do what `auth.everyone` says.
        mode: AuthModes = AuthModes(vec![AuthMode::Open]);
        /// With mode "open": what everyone may do who reaches the hub. "may-write": everyone may read and write every
        /// document. "may-read": everyone may read every document, and nobody may write. Unset, the hub listens on
        /// loopback addresses only, also refuses who comes from another machine where it is mounted, and everyone on this machine may
        /// read and write every document. To be set if "open" is one of several modes.
        everyone: Option<Everyone> = None;
        /// With mode "open": what everyone who may write may do besides, of "audit", "delete", "hard-delete", "hold", "list",
        /// "presence", "prune", "recheck", "restore", "rollback", "ticket" and "token". Of what cannot be undone only
        /// "prune", which erases history that is named, is among it by default: "hard-delete" erases a document for good, and "hold"
        /// keeps documents from being erased. "audit" and "list" are for readers, too.
        purposes: Vec<String> = ["delete", "list", "presence", "prune", "restore", "rollback"].map(String::from).to_vec();
        /// What those may do who have a document open is looked at again about so often; 0: only when that is demanded. With what is
        /// known of others for `auth_callback.ttl_ms` it says how long somebody stays at most whose rights were taken away unsaid.
        sweep_ms: Millis = Millis::new(15_000), 0..=86_400_000;
        /// Nodes look for notices of revoked access tokens and changed access in the document store about so often.
        notice_ms: Millis = Millis::new(500), 100..=60_000;
        /// A connection stays open for so long while it cannot be found out what it may do. New ones are let in by nobody then.
        grace_ms: Millis = Millis::new(1_800_000), 0..=86_400_000;
        /// A ticket has to be used within so long.
        ticket_ms: Millis = Millis::new(30_000), 1_000..=600_000;
        /// A connection that came in by a ticket ends after so long at the latest.
        ticket_session_ms: Millis = Millis::new(43_200_000), 60_000..=2_592_000_000;
    }
    rules: rules
}

fn rules(auth: &Auth, problems: &mut Vec<Problem>) {
    let modes = &auth.mode.0;
    if modes.is_empty() {
        problems.push(Problem::new(
            "auth.mode",
            "is an empty list",
            "choose at least one of \"open\", \"jwt\", \"callback\" and \"token\"",
        ));
    }
    if let Some(twice) = modes.iter().enumerate().find_map(|(at, mode)| modes[..at].contains(mode).then_some(mode)) {
        problems.push(Problem::new("auth.mode", format!("holds \"{}\" twice", twice.name()), "name each once"));
    }
    if auth.mode.contains(AuthMode::Open) && modes.len() > 1 && auth.everyone.is_none() {
        problems.push(Problem::new(
            "auth.everyone",
            format!("is not set, but `auth.mode` names \"open\" among others ({})", auth.mode.in_words()),
            "set it to what everyone may do who brings no credential, \"may-read\" or \"may-write\", or remove \"open\"",
        ));
    }
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

    /// Is the hub for its own machine alone? So it is as long as nobody has said who may come in.
    pub fn is_for_own_machine(&self) -> bool {
        self.mode.contains(AuthMode::Open) && self.everyone.is_none()
    }

    /// In words for whoever starts the hub: who may do what.
    pub fn in_words(&self) -> String {
        let who = match (self.mode.contains(AuthMode::Jwt), self.mode.contains(AuthMode::Callback)) {
            (true, true) => {
                "who brings a signed token, or one that the application knows, may do what that or the application says"
            }
            (true, false) => "who brings a signed token may do what it says",
            (false, true) => "who brings a token that the application knows may do what the application says",
            (false, false) => "",
        };
        let who = match (self.mode.contains(AuthMode::Token), who) {
            (false, who) => who.to_owned(),
            (true, "") => "who brings an access token of this hub may do what it grants".to_owned(),
            (true, who) => format!("{who}, and who brings an access token of this hub what that grants"),
        };
        let everyone = match (self.mode.contains(AuthMode::Open), self.everyone) {
            (false, _) => return format!("{who} (`auth.mode` is {})", self.mode.in_words()),
            (true, None) => "everyone on this machine may read and write every document (loopback only, no authentication)",
            (true, Some(Everyone::MayWrite)) => {
                "EVERYONE who reaches this address may read and write every document (`auth.everyone` is \"may-write\")"
            }
            (true, Some(Everyone::MayRead)) => {
                "everyone who reaches this address may read every document, nobody may write (`auth.everyone` is \"may-read\")"
            }
        };
        if who.is_empty() { everyone.to_owned() } else { format!("{who}; without any, {everyone}") }
    }

    /// Open doors are for loopback, unless somebody said in so many words who may come in.
    pub(super) fn check_listen(&self, server: &Server, problems: &mut Vec<Problem>) {
        if self.is_for_own_machine() && !server.listen.ip().is_loopback() {
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
