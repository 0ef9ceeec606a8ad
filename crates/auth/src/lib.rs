//! Who somebody is and what they may do: asked of signed tokens and of the application's back end.
//!
//! An [`Authenticator`] has one or several methods. It is asked twice: [`Authenticator::authenticate`] says who sent a
//! credential, [`Authenticator::access`] what they may do in a place, now and later again. What was not answered is never taken
//! for an answer: [`AuthError::Unavailable`] is neither yes nor no.
//!
//! | method | who somebody is | what they may do |
//! |---|---|---|
//! | [`Jwt`] | a token that is signed with a key of the application's | the grants in the token, else what the callback says |
//! | [`Callback`] | what the back end says of a token that only it understands | what the back end says |
//! | [`Open`] | nobody says | the same for everyone |
//!
//! Knows no server and no engine. Cryptography is `ring` alone.

mod authenticator;
mod callback;
mod claims;
mod error;
mod http;
mod jwks;
mod jwt;
mod key;
mod key_form;
mod secret;

pub use authenticator::{Allowed, Authenticator, Caller, Method, Open};
pub use callback::{Callback, CallbackForm, CallbackOptions};
pub use error::{AuthError, OptionsError};
pub use http::{UrlFault, check_url};
pub use jwks::{Jwks, JwksOptions};
pub use jwt::{Jwt, JwtKeys, JwtOptions};
pub use key::KeySet;
pub use key_form::KeyFault;
pub use secret::{MAX_SECRET_BYTES, Secret};
