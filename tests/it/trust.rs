//! Key servers and back ends that speak TLS, told to the hub by its configuration: whose word counts, and what becomes of who is
//! let in by it.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use yhub_testkit::{
    Answered, BackEnd, Connect,
    http::send,
    servers::{Certificates, Web, WebReply},
};

use crate::{
    access::now_s,
    support::{ORG, binary, path},
};

/// An application that publishes its key, and says what its users may do.
struct Application {
    certificates: Certificates,
    key: Ed25519KeyPair,
    web: Web,
}

impl Application {
    fn start() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "one", "x": public }] });
        let certificates = Certificates::new();
        let web = Web::start_tls(&certificates, move |request| match request.path.as_str() {
            "/keys" => WebReply::ok(keys.to_string()),
            _ => {
                let asked: Value = serde_json::from_str(&request.body).unwrap();
                WebReply::ok(json!({ "yuserid": asked["userid"], "yaccess": "rw" }).to_string())
            }
        });
        Self { certificates, key, web }
    }

    fn token(&self, user: &str) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "one" });
        let message = format!("{}.{}", part(&header), part(&json!({ "sub": user, "exp": now_s() + 3600 })));
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes())))
    }
}

fn file(dir: &Path, name: &str, certificates: &Certificates) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, certificates.ca()).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_vouched_for_lets_nobody_in_and_refuses_nobody() {
    let (application, dir) = (Application::start(), tempfile::tempdir().unwrap());
    let own = file(dir.path(), "own.pem", &application.certificates);
    let other = file(dir.path(), "other.pem", &Certificates::new());
    let token = application.token("ann");
    let keys = "cannot fetch the keys of tokens: ";
    let word = "the application's back end does not say who may do what: ";
    for (name, of_keys, of_word, expected) in
        [("both", &own, &own, None), ("keys", &other, &own, Some(keys)), ("word", &own, &other, Some(word))]
    {
        let launch = binary(&dir.path().join(name))
            .set("auth.mode", "jwt,callback")
            .set("jwt.jwks_url", application.web.url("/keys"))
            .set("jwt.jwks_ca_file", of_keys.display())
            .set("auth_callback.url", application.web.url("/may"))
            .set("auth_callback.ca_file", of_word.display());
        let hub = launch.start();
        let ask = BackEnd::of(hub.addr()).ask(Method::GET, &format!("/api/ydoc/v1/{ORG}/doc"));
        let ask = ask.header("authorization", format!("Bearer {token}")).header("accept", "application/json");
        let answered: Answered = send(ask).await;
        let entered = Connect::to(hub.addr(), &path("doc")).header("authorization", &format!("Bearer {token}")).open().await;
        let log = launch.log();
        match expected {
            None => {
                assert_eq!(answered.code(), 200, "{answered:?} {log}");
                entered.unwrap().sync().await;
            }
            Some(what) => {
                assert_eq!(
                    (answered.code(), answered.json()["code"].as_str()),
                    (503, Some("unavailable")),
                    "{name}: {answered:?}"
                );
                assert_eq!(entered.err().map(|refused| refused.status), Some(503), "{name}");
                let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{name}: {log}"));
                assert!(line.contains("invalid peer certificate: "), "{line}");
            }
        }
        hub.terminate();
        tokio::task::spawn_blocking(|| hub.wait()).await.unwrap();
    }
}
