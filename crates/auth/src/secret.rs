//! A credential as it arrived, and any other text that no text shows.

use std::{fmt, sync::Arc};

use crate::AuthError;

/// Bytes of a credential.
pub const MAX_SECRET_BYTES: usize = 8 << 10;

/// A credential as it arrived, without the scheme before it. Nothing of it is ever shown.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes it.
    ///
    /// # Errors
    /// [`AuthError::Refused`] if it is empty or longer than [`MAX_SECRET_BYTES`].
    pub fn new(text: &str) -> Result<Self, AuthError> {
        match text.len() {
            0 => Err(AuthError::refused("it is empty")),
            1..=MAX_SECRET_BYTES => Ok(Self(text.into())),
            _ => Err(AuthError::refused("it is longer than 8192 bytes")),
        }
    }

    /// For those who check it or hand it on, not for texts.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Three parts of base64url with dots between them: then nobody but the check of signatures is to see it, also if its last
    /// part, the signature, is missing.
    pub(crate) fn is_jwt_like(&self) -> bool {
        let is_part = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let mut parts = self.0.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(payload), Some(signature), None) => {
                !header.is_empty() && !payload.is_empty() && [header, payload, signature].into_iter().all(is_part)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_and_the_length_is_bounded() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "… Some(…)");
        assert!(Secret::new(&"a".repeat(MAX_SECRET_BYTES)).is_ok());
        for text in [String::new(), "a".repeat(MAX_SECRET_BYTES + 1)] {
            assert!(matches!(Secret::new(&text), Err(AuthError::Refused { .. })));
        }
    }

    #[test]
    fn tokens_that_are_signed_are_told_by_their_form() {
        let is_jwt_like = |text| Secret::new(text).unwrap().is_jwt_like();
        for text in ["a.b.c", "eyJ.e30.-_09", "a.b."] {
            assert!(is_jwt_like(text), "{text}");
        }
        for text in ["a", "a.b", "a.b.c.d", ".b.c", "a..c", "a.b.c=", "a.b.c ", "ä.b.c", "a.b.c.d.e"] {
            assert!(!is_jwt_like(text), "{text}");
        }
    }
}
