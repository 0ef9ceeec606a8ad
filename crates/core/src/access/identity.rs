//! Who somebody is.

use yhub_encoding::Object;

/// Bytes of a user id.
pub const MAX_USER_BYTES: usize = 256;

/// By what somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By nothing: nobody has to.
    Open,
    /// By a signed token.
    Jwt,
    /// The application's back end says so.
    Callback,
    /// By an access token of this hub.
    Token,
    /// By a ticket of this hub.
    Ticket,
}

impl Via {
    /// Its name in records and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Jwt => "jwt",
            Self::Callback => "callback",
            Self::Token => "token",
            Self::Ticket => "ticket",
        }
    }
}

/// Who somebody is: what is recorded with what they do, and what checks of open connections are matched with.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The user id, 1 to [`MAX_USER_BYTES`] bytes.
    pub user: String,
    /// All that is known of them: the claims of a token, the answer of a back end. Holds `userid`, and of who came by an
    /// access token, or a ticket that was made by one, the id of that under `token`.
    pub claims: Object,
    /// How they have shown it.
    pub via: Via,
}

impl Identity {
    /// Somebody who does not have to show who they are, and calls themselves so.
    pub fn anonymous(user: &str) -> Self {
        let mut claims = Object::default();
        claims.insert("userid", user.into());
        Self { user: user.to_owned(), claims, via: Via::Open }
    }
}
