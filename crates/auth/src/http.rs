//! Questions over HTTP to one other party, each bounded in time and size, and whom one asks at all.

use std::{path::Path, time::Duration};

use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, Url};
use yhub_tls::{RootCertStore, TrustError};

use crate::OptionsError;

/// Why an address is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is none, or of another scheme.
    #[error("is no URL of the form https://host/path")]
    Form,
    /// A user or a password stands in it.
    #[error("holds a user or a password, which logs would show")]
    Credentials,
    /// A part of it that is not wanted.
    #[error("holds a query or a fragment")]
    Query,
    /// What goes there could be read and changed on its way.
    #[error("asks for no TLS, and the host is not this machine")]
    NoTls,
}

/// Is this an address that may be asked? Over HTTP without TLS only this machine is, unless `allow_http`.
///
/// # Errors
/// If not.
pub fn check_url(url: &str, allow_http: bool, allow_query: bool) -> Result<(), UrlFault> {
    parsed(url, allow_http, allow_query).map(drop)
}

pub(crate) fn parsed(text: &str, allow_http: bool, allow_query: bool) -> Result<Url, UrlFault> {
    let url = Url::parse(text).map_err(|_| UrlFault::Form)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlFault::Form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::Credentials);
    }
    if url.fragment().is_some() || (url.query().is_some() && !allow_query) {
        return Err(UrlFault::Query);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_this_machine(host) => Ok(url),
        "http" => Err(UrlFault::NoTls),
        _ => Err(UrlFault::Form),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpFault {
    /// None came, or only a part of it. Without the address, which may tell who was asked about.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It is too long.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
}

/// Asks one other party.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    most_bytes: usize,
}

impl Http {
    /// For an address that was checked. An answer that is not there wholly after `timeout` does not come, one of more than
    /// `most_bytes` is not taken, and where it sends one is not gone to.
    pub(crate) fn new(url: &Url, ca_file: Option<&Path>, timeout: Duration, most_bytes: usize) -> Result<Self, OptionsError> {
        let is_tls = url.scheme() == "https";
        // Where there is no TLS nobody has to be there to be trusted.
        let roots = if is_tls { yhub_tls::roots(ca_file) } else { Ok(RootCertStore::empty()) };
        let roots = roots.map_err(|error| OptionsError::new(error.to_string(), TrustError::ADVICE))?;
        let builder = Client::builder()
            .tls_backend_preconfigured(yhub_tls::client(roots))
            .http1_only()
            .connect_timeout(timeout)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("yhub");
        // What is not encrypted is for this machine or a network of ours, and no business of a proxy.
        let builder = if is_tls { builder } else { ClientBuilder::no_proxy(builder) };
        let client = builder
            .build()
            .map_err(|error| OptionsError::new(format!("there is no HTTP client: {error}"), "look at what the system says"))?;
        Ok(Self { client, most_bytes })
    }

    pub(crate) fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url).header("accept", "application/json")
    }

    pub(crate) fn post_json(&self, url: Url, body: String) -> RequestBuilder {
        self.client.post(url).header("accept", "application/json").header("content-type", "application/json").body(body)
    }

    /// Sends, and reads the whole answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), HttpFault> {
        // Neither the address nor what it was made of: the docid and the user are in it.
        let no_answer = |error: reqwest::Error| HttpFault::NoAnswer(chain(&error.without_url()));
        let mut response = request.send().await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(no_answer)? {
            if body.len() + piece.len() > self.most_bytes {
                return Err(HttpFault::TooLong(self.most_bytes));
            }
            body.extend_from_slice(&piece);
        }
        Ok((response.status(), body))
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    yhub_core::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_machine_is_asked() {
        for url in ["https://a.example/x", "http://127.0.0.1:1/x", "http://127.9.9.9", "http://[::1]:1", "http://localhost:8080/"]
        {
            assert_eq!(check_url(url, false, false), Ok(()), "{url}");
        }
        for url in ["http://a.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://[::2]"]
        {
            assert_eq!(check_url(url, false, false), Err(UrlFault::NoTls), "{url}");
            assert_eq!(check_url(url, true, false), Ok(()), "{url}");
        }
        for url in ["", "a.example", "file:///etc/passwd", "ftp://a.example", "https://", "data:,x"] {
            assert_eq!(check_url(url, true, true), Err(UrlFault::Form), "{url}");
        }
        assert_eq!(check_url("https://u:p@a.example", true, true), Err(UrlFault::Credentials));
        assert_eq!(check_url("https://u@a.example", true, true), Err(UrlFault::Credentials));
        assert_eq!(check_url("https://a.example?x", true, false), Err(UrlFault::Query));
        assert_eq!(check_url("https://a.example?x", true, true), Ok(()));
        assert_eq!(check_url("https://a.example#x", true, true), Err(UrlFault::Query));
    }
}
