//! What becomes of who is not let in, and of options that cannot be used.

use std::borrow::Cow;

/// Why somebody is not let in, by what they can do about it.
///
/// A back end that says no and a back end that says nothing are never the same: [`Self::Denied`] ends what somebody has open,
/// [`Self::Unavailable`] does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no credential where one is needed. Status 401.
    #[error("nobody said who they are; send a token")]
    Missing,
    /// The credential is bad. Status 401.
    #[error("the credential is refused: {why}; get a new one")]
    Refused {
        /// What is wrong with it. Says nothing of its content nor of keys, so that it may be told to whoever sent it.
        why: Cow<'static, str>,
    },
    /// The credential was good, and is over. Status 401. Whoever shows it has not guessed.
    #[error("the credential is refused: it has expired; get a new one")]
    Expired,
    /// It is known who they are, and they may not. Status 403.
    #[error("it is known who this is, and they may not do this here")]
    Denied,
    /// Who knows could not be asked. Status 503, close code 1013.
    #[error("who may do what cannot be found out now: {what}; try again later")]
    Unavailable {
        /// Who could not be asked, in words that may be told.
        what: Cow<'static, str>,
        /// They could, and what they said was no answer: that may lie with the credential.
        answered: bool,
    },
}

impl AuthError {
    pub(crate) fn refused(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub(crate) fn unavailable(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable { what: what.into(), answered: false }
    }
}

/// Options with which nothing can be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {advice}")]
pub struct OptionsError {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl OptionsError {
    pub(crate) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}
