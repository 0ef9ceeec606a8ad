//! New access tokens.

use anyhow::Context;
use yhub_core::access::{TOKEN_RANDOM_BYTES, TokenText};

/// The text of a token that nobody has, from the system's randomness.
///
/// # Errors
/// If the system has none.
pub fn new_token() -> anyhow::Result<TokenText> {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    getrandom::fill(&mut random).context("the system gives no random bytes, without which no token can be made")?;
    Ok(TokenText::new(&random))
}
