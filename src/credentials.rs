//! What somebody shows to be let in, as it stands in a request.
//!
//! In this order: the header `Authorization: Bearer …`, the WebSocket subprotocol `yauth-…`, the parameter `yauth` of the query. The
//! last two are for browsers, whose WebSocket can send no header. What was shown never stands in a log, an error or an answer;
//! of the subprotocols one must be answered, see [`answered_protocol`].

use actix_http::{
    RequestHead,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL},
};

use crate::{http::HttpError, names::query_pair};

/// The parameter of the query.
pub(crate) const PARAMETER: &str = "yauth";
/// What a subprotocol begins with that is a credential.
const PROTOCOL: &str = "yauth-";

/// Where something was shown. What stands in an address is kept by browsers, proxies and logs, so less is taken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a header.
    Header,
    /// In the address.
    Address,
}

/// The credential of a request, if it has one.
///
/// # Errors
/// If there are several, of which nobody could tell which one counts, or one that cannot be read.
pub(crate) fn of_request(head: &RequestHead) -> Result<Option<(String, Place)>, HttpError> {
    let mut found: Option<(String, Place)> = None;
    let in_headers = bearer(head.headers())?.into_iter().chain(in_protocols(head.headers()));
    for (text, shown) in in_headers.map(|text| (text, Place::Header)).chain(in_query(head.uri.query().unwrap_or(""))?) {
        match &found {
            Some((known, _)) if *known != text => {
                return Err(HttpError::BadRequest { what: "several different credentials; send one".into() });
            }
            Some(_) => {}
            None => found = Some((text, shown)),
        }
    }
    Ok(found)
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let unreadable = || HttpError::BadRequest { what: "the header Authorization is not `Bearer` and a token".into() };
    let mut values = headers.get_all(AUTHORIZATION);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unreadable());
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(unreadable)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(unreadable());
    }
    Ok(Some(token.trim().to_owned()))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty())
}

fn in_protocols(headers: &HeaderMap) -> impl Iterator<Item = String> {
    protocols(headers).filter_map(|protocol| protocol.strip_prefix(PROTOCOL)).map(str::to_owned)
}

fn in_query(query: &str) -> Result<Option<(String, Place)>, HttpError> {
    for pair in query.split('&').filter(|pair| pair.split_once('=').map_or(*pair, |(name, _)| name) == PARAMETER) {
        let (_, value) = query_pair(pair)?;
        if !value.is_empty() {
            return Ok(Some((value, Place::Address)));
        }
    }
    Ok(None)
}

/// The subprotocol to answer with: a client that offers some must be given one of its own. A credential only if it offers nothing
/// else; it is what the client has sent itself.
pub(crate) fn answered_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = protocols(headers).find(|protocol| !protocol.starts_with(PROTOCOL));
    let answered = named.or_else(|| protocols(headers).next())?;
    HeaderValue::from_str(answered).ok()
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderName;

    use super::*;

    fn head(query: &str, headers: &[(HeaderName, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.uri = format!("/api/ws/v1/org/doc{query}").parse().unwrap();
        for (name, value) in headers {
            head.headers_mut().append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        head
    }

    fn shown(query: &str, headers: &[(HeaderName, &str)]) -> Option<(String, Place)> {
        of_request(&head(query, headers)).unwrap()
    }

    #[test]
    fn a_credential_is_found_wherever_it_stands() {
        let header = |text: &str| Some((text.to_owned(), Place::Header));
        assert_eq!(shown("", &[]), None);
        assert_eq!(shown("", &[(AUTHORIZATION, "Bearer a.b.c")]), header("a.b.c"));
        assert_eq!(shown("", &[(AUTHORIZATION, "bearer  a.b.c ")]), header("a.b.c"));
        assert_eq!(shown("", &[(SEC_WEBSOCKET_PROTOCOL, "y, yauth-a.b.c")]), header("a.b.c"));
        assert_eq!(shown("?gc=false&yauth=a%2Eb", &[]), Some(("a.b".into(), Place::Address)));
        assert_eq!(shown("?yauth=", &[]), None);
        // The same one twice is one.
        assert_eq!(shown("?yauth=a", &[(AUTHORIZATION, "Bearer a"), (SEC_WEBSOCKET_PROTOCOL, "yauth-a")]), header("a"));
    }

    #[test]
    fn nobody_has_to_guess_which_credential_counts() {
        let refused = |query: &str, headers: &[(HeaderName, &str)]| of_request(&head(query, headers)).unwrap_err().to_string();
        let secret = "shh.shh.shh";
        let bearer = format!("Bearer {secret}");
        for error in [
            refused("?yauth=a", &[(AUTHORIZATION, &bearer)]),
            refused("?yauth=shh.shh.shh", &[(SEC_WEBSOCKET_PROTOCOL, "yauth-b")]),
            refused("", &[(SEC_WEBSOCKET_PROTOCOL, "yauth-shh.shh.shh, yauth-b")]),
            refused("", &[(AUTHORIZATION, secret)]),
            refused("", &[(AUTHORIZATION, "Basic shh.shh.shh")]),
            refused("", &[(AUTHORIZATION, "Bearer ")]),
            refused("", &[(AUTHORIZATION, &bearer), (AUTHORIZATION, &bearer)]),
            refused("?yauth=shh.shh.shh%", &[]),
        ] {
            assert!(!error.contains("shh"), "{error}");
        }
    }

    #[test]
    fn a_credential_is_answered_only_if_nothing_else_is_offered() {
        let answered = |offered: &str| {
            answered_protocol(head("", &[(SEC_WEBSOCKET_PROTOCOL, offered)]).headers())
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(answered("yauth-a, y").as_deref(), Some("y"));
        assert_eq!(answered("yauth-a").as_deref(), Some("yauth-a"));
        assert_eq!(answered(" , "), None);
        assert_eq!(answered_protocol(head("", &[]).headers()), None);
    }
}
