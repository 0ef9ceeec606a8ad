//! The text of an access token: `yhub_`, its id, `_`, its secret.
//!
//! Both parts are of digits and letters alone, so that the text splits in one way, is marked whole by a double click, and needs
//! no escaping anywhere. The secret is 256 bits, so its hash can be stored as it is: there is nothing to guess it from.

use std::fmt;

use sha2::{Digest, Sha256};

/// What every token begins with: what scanners for leaked secrets look for.
const START: &str = "yhub_";
/// The digits of both parts, by value.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of an id: 88 bits.
const ID_DIGITS: usize = 16;
/// Digits of a secret: the least that hold 256 bits.
const SECRET_DIGITS: usize = 43;
/// Random bytes that an id is made of.
const ID_BYTES: usize = 11;

/// Random bytes that a token is made of.
pub const TOKEN_RANDOM_BYTES: usize = ID_BYTES + 32;

/// An access token as its holder has it. Nothing shows its secret but [`Self::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    id: String,
    secret: String,
}

impl TokenText {
    /// The token that these bytes make. They have to come from the system's randomness.
    pub fn new(random: &[u8; TOKEN_RANDOM_BYTES]) -> Self {
        let (id, secret) = random.split_at(ID_BYTES);
        Self { id: digits(id, ID_DIGITS), secret: digits(secret, SECRET_DIGITS) }
    }

    /// The token of this text; `None` if it is none, whatever it is.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(START)?.split_once('_')?;
        let is_part = |part: &str, len| part.len() == len && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_part(id, ID_DIGITS) && is_part(secret, SECRET_DIGITS)).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// Does a text look like one of ours, be it whole or not? For telling apart what else a client may send as its token.
    pub fn is_alike(text: &str) -> bool {
        text.starts_with(START)
    }

    /// Which token it is. No secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole text: what lets its holder in.
    pub fn reveal(&self) -> String {
        format!("{START}{}_{}", self.id, self.secret)
    }

    /// What is stored of the secret: the SHA-256 of its digits.
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Is this what is stored of its secret? Takes as long, whatever differs.
    pub fn matches(&self, secret_hash: &[u8; 32]) -> bool {
        let own = self.secret_hash();
        own.iter().zip(secret_hash).fold(0, |differs, (own, other)| differs | (own ^ other)) == 0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{}_…", self.id)
    }
}

/// The number that `bytes` are, highest first, in so many digits.
fn digits(bytes: &[u8], len: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![0; len];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            // Less than 256: `rest` is less than 62.
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    debug_assert!(number.iter().all(|byte| *byte == 0), "the digits hold the whole number");
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn random() -> impl Strategy<Value = [u8; TOKEN_RANDOM_BYTES]> {
        prop::collection::vec(any::<u8>(), TOKEN_RANDOM_BYTES).prop_map(|bytes| bytes.try_into().expect("so many"))
    }

    /// The bytes that digits were made of.
    fn number(digits: &str, len: usize) -> Vec<u8> {
        let mut number = vec![0u8; len];
        for digit in digits.bytes() {
            let mut carry = DIGITS.iter().position(|known| *known == digit).expect("a digit") as u32;
            for byte in number.iter_mut().rev() {
                carry += u32::from(*byte) * 62;
                *byte = carry as u8;
                carry >>= 8;
            }
            assert_eq!(carry, 0);
        }
        number
    }

    proptest! {
        #[test]
        fn every_random_bit_is_in_the_text(random in random()) {
            let token = TokenText::new(&random);
            prop_assert_eq!(number(&token.id, ID_BYTES), &random[..ID_BYTES]);
            prop_assert_eq!(number(&token.secret, 32), &random[ID_BYTES..]);
            let text = token.reveal();
            prop_assert_eq!(text.len(), 65);
            prop_assert_eq!(TokenText::parse(&text), Some(token.clone()));
            prop_assert!(token.matches(&token.secret_hash()));
        }

        #[test]
        fn whatever_is_changed_is_another_token_or_none(random in random(), at in 0usize..65, other in "[ -~é]") {
            let token = TokenText::new(&random);
            let mut chars: Vec<char> = token.reveal().chars().collect();
            let other = other.chars().next().expect("one");
            prop_assume!(chars[at] != other);
            chars[at] = other;
            match TokenText::parse(&chars.into_iter().collect::<String>()) {
                None => prop_assert!(at < 5 || at == 21 || !other.is_ascii_alphanumeric()),
                Some(changed) => prop_assert!(changed.id() != token.id() || !changed.matches(&token.secret_hash())),
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_fit() {
        let (low, high) = (TokenText::new(&[0; TOKEN_RANDOM_BYTES]), TokenText::new(&[255; TOKEN_RANDOM_BYTES]));
        assert_eq!(low.reveal(), format!("yhub_{}_{}", "0".repeat(16), "0".repeat(43)));
        // Golden: tokens that are out there have to stay valid.
        assert_eq!(high.reveal(), "yhub_0OxCfCxAVrGN2P67_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
    }

    #[test]
    fn what_is_no_token_is_none() {
        let text = TokenText::new(&[7; TOKEN_RANDOM_BYTES]).reveal();
        let cut = &text[..text.len() - 1];
        let (longer, spaced, upper, split) =
            (format!("{text}0"), format!(" {text}"), text.to_uppercase(), text.replacen("yhub_", "yhub__", 1));
        for wrong in ["", "yhub_", "yhub__", "_", cut, &longer, &spaced, &upper, &split] {
            assert_eq!(TokenText::parse(wrong), None, "{wrong:?}");
        }
        assert!(TokenText::is_alike("yhub_x") && !TokenText::is_alike("eyJ"));
    }

    #[test]
    fn no_debug_text_shows_the_secret() {
        let token = TokenText::new(&[9; TOKEN_RANDOM_BYTES]);
        let shown = format!("{token:?} {:?}", Some(&token));
        assert!(shown.contains(token.id()) && !shown.contains(&token.secret), "{shown}");
    }
}
