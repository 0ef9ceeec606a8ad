//! Requests as a back end sends them: any method, any headers, any body.

use std::net::SocketAddr;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use yhub_encoding::Any;

use crate::within;

/// A back end that talks to one hub.
#[derive(Clone, Debug)]
pub struct BackEnd {
    root: String,
    client: Client,
}

/// What a hub answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl BackEnd {
    /// One for the hub that listens at `addr`.
    pub fn of(addr: SocketAddr) -> Self {
        // Where something else has TLS built into the client, that wants to be told whose cryptography it is to use. Whoever
        // comes second leaves it as it is.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { root: format!("http://{addr}"), client: Client::new() }
    }

    /// A request to be sent with [`send`]. `path` begins with a slash.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.root))
    }

    /// Reads as JSON.
    pub async fn get(&self, path: &str) -> Answered {
        send(self.ask(Method::GET, path).header("accept", "application/json")).await
    }

    /// Sends JSON, and reads JSON.
    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answered {
        let request = self.ask(method, path).header("accept", "application/json").header("content-type", "application/json");
        send(request.body(body.to_string())).await
    }
}

/// Sends a request, and reads the whole answer.
pub async fn send(request: RequestBuilder) -> Answered {
    let answered = async {
        let response = request.send().await.expect("the hub answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answered { status, headers, body: response.bytes().await.expect("the answer is whole").to_vec() }
    };
    within("the hub to answer", answered).await
}

impl Answered {
    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The body as a lib0-any value.
    pub fn any(&self) -> Any {
        Any::from_bytes(&self.body).unwrap_or_else(|error| panic!("no lib0-any ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }
}
