//! The names of rooms as they stand in paths, and the parts of a query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use yhub_core::{RoomId, access::EVERY_ORG};

use crate::{Config, http::HttpError};

/// How names are read.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Are segments of the path taken as they stand there, without decoding?
    raw: bool,
    max_bytes: usize,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        Self { raw: config.server.raw_room_names, max_bytes: config.limits.max_room_name_bytes }
    }

    /// The room of two segments of the path and of a branch that was decoded.
    pub(crate) fn room(&self, org: &str, docid: &str, branch: Option<&str>) -> Result<RoomId, HttpError> {
        let branch = branch.unwrap_or(RoomId::MAIN);
        let (org, docid) = (self.segment("org", org)?, self.segment("docid", docid)?);
        if org == EVERY_ORG {
            return Err(HttpError::BadRequest {
                what: format!("the org is `{EVERY_ORG}`, which stands for every org; name one"),
            });
        }
        Ok(RoomId::new(&org, &docid, self.part("branch", branch)?))
    }

    /// A segment of the path, decoded once unless names are taken raw.
    pub(crate) fn segment<'a>(&self, name: &str, raw: &'a str) -> Result<Cow<'a, str>, HttpError> {
        let decoded = if self.raw { Cow::Borrowed(raw) } else { decode(name, raw)? };
        self.part(name, &decoded)?;
        Ok(decoded)
    }

    fn part<'a>(&self, name: &str, part: &'a str) -> Result<&'a str, HttpError> {
        let max = self.max_bytes;
        let wrong = match part {
            "" => format!("the {name} is empty"),
            part if part.len() > max => format!("the {name} is longer than {max} bytes"),
            part if part.contains('\0') => format!("the {name} holds U+0000"),
            part => return Ok(part),
        };
        Err(HttpError::BadRequest { what: wrong })
    }
}

/// A pair `a=b` of a query, decoded; `+` is a space, as `URLSearchParams` writes it.
pub(crate) fn query_pair(pair: &str) -> Result<(Cow<'_, str>, String), HttpError> {
    let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
    // A name that cannot be read is none of ours, and is told as it stands there.
    let name = percent_decode_str(name).decode_utf8().unwrap_or(Cow::Borrowed(name));
    let value = decode(&name, &raw.replace('+', " "))?.into_owned();
    Ok((name, value))
}

/// Percent-decodes once. Escapes that are none, and bytes that are no UTF-8, are refused.
fn decode<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, HttpError> {
    let wrong = |what| HttpError::BadRequest { what: format!("the {name} {what}") };
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        let is_escape = rest.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if !is_escape {
            return Err(wrong("holds a `%` that is no escape; write it as `%25`"));
        }
        rest = &rest[at + 3..];
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| wrong("is no UTF-8 after decoding"))
}
