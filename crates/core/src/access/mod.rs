//! Who may do what: rights, grants of them, and who somebody is. Nothing here asks anybody: it is decided from values.
//!
//! A *right* is what one act takes: reading, writing, or a *purpose*, which is granted by name. An *access* is what somebody
//! has in one place. A *grant* gives an access in a *scope*; several grants add up. Nobody can hand on more than they have:
//! see [`Grants::within`].

mod grant;
mod identity;
#[cfg(test)]
mod laws;
mod right;
mod token_text;

pub use grant::{Docids, EVERY_ORG, Grant, GrantError, Grants, MAX_GRANTS, Scope, Target};
pub use identity::{Identity, MAX_USER_BYTES, Via};
pub use right::{Access, Level, Purpose, Purposes, Right};
pub use token_text::{TOKEN_RANDOM_BYTES, TokenText};
