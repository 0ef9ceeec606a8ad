//! Who writes, as a request says it itself: the name of its user, and what else is to be recorded.

use yhub_core::parse_custom_attributions;

use crate::http::HttpError;

/// Bytes of the custom attributions of a request, all together.
const MAX_CUSTOM_BYTES: usize = 4096;
/// Bytes of the name that a user gives themselves.
const MAX_USER_BYTES: usize = 256;

/// The name that a user gives themselves.
pub(crate) fn user(name: String) -> Result<String, HttpError> {
    if name.is_empty() || name.len() > MAX_USER_BYTES {
        return Err(HttpError::BadRequest { what: format!("the user has not 1 to {MAX_USER_BYTES} bytes") });
    }
    Ok(name)
}

/// The custom attributions in a query.
pub(crate) fn custom(text: &str) -> Result<Vec<(String, String)>, HttpError> {
    if text.len() > MAX_CUSTOM_BYTES { Err(too_long()) } else { Ok(parse_custom_attributions(Some(text))) }
}

/// The same from a body.
pub(crate) fn custom_pairs(pairs: Vec<(String, String)>) -> Result<Vec<(String, String)>, HttpError> {
    let size: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if size > MAX_CUSTOM_BYTES { Err(too_long()) } else { Ok(pairs) }
}

fn too_long() -> HttpError {
    HttpError::BadRequest { what: format!("customAttributions has more than {MAX_CUSTOM_BYTES} bytes") }
}
