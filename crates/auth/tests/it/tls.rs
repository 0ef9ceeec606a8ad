//! Key servers and back ends that speak TLS: those that are vouched for are asked, and what others say is neither yes nor no.

use std::sync::Arc;

use serde_json::json;
use yhub_auth::{
    AuthError, Authenticator, Callback, CallbackForm, CallbackOptions, Caller, Jwks, JwksOptions, Jwt, JwtKeys, JwtOptions,
    Method, OptionsError, Secret,
};
use yhub_core::{
    Freshness, ManualTime, RoomId,
    access::{Access, Identity, Right, Target, Via},
};
use yhub_encoding::Object;
use yhub_testkit::servers::{Certificates, Web, WebReply};

use crate::sign::{NOW_MS, Signer, claims};

/// Somebody who speaks TLS, publishes the key of `signer`, and lets ann write.
struct Scene {
    signer: Signer,
    web: Web,
    dir: tempfile::TempDir,
    time: Arc<ManualTime>,
}

impl Scene {
    fn new(certificates: &Certificates) -> Self {
        let signer = Signer::es256("key");
        let keys = json!({ "keys": [signer.jwk()] }).to_string();
        let web = Web::start_tls(certificates, move |request| match request.path.as_str() {
            "/keys" => WebReply::ok(keys.clone()),
            _ => WebReply::ok(json!({ "yuserid": "ann", "yaccess": "rw" }).to_string()),
        });
        Self { signer, web, dir: tempfile::tempdir().unwrap(), time: Arc::new(ManualTime::new(NOW_MS)) }
    }

    fn ca_file(&self, certificates: &Certificates) -> std::path::PathBuf {
        let file = self.dir.path().join("ca.pem");
        std::fs::write(&file, certificates.ca()).unwrap();
        file
    }

    fn jwks(&self, ca_file: Option<std::path::PathBuf>) -> Result<Authenticator, OptionsError> {
        let jwks = Jwks::new(JwksOptions { ca_file, ..JwksOptions::new(&self.web.url("/keys")) }, self.time.clone())?;
        let jwt = Jwt::new(JwtKeys::Published(Arc::new(jwks)), JwtOptions::default(), self.time.clone());
        Authenticator::new(vec![Method::Jwt(Box::new(jwt))], self.time.clone())
    }

    fn callback(&self, ca_file: Option<std::path::PathBuf>) -> Result<Authenticator, OptionsError> {
        let options = CallbackOptions { ca_file, ..CallbackOptions::new(&self.web.url("/auth"), CallbackForm::Post) };
        let callback = Callback::new(options, self.time.clone())?;
        Authenticator::new(vec![Method::Callback(callback)], self.time.clone())
    }

    /// Whom a token stands for, by the keys of the server.
    async fn by_keys(&self, ca_file: Option<std::path::PathBuf>) -> Result<String, AuthError> {
        let token = Secret::new(&self.signer.token(&claims())).unwrap();
        let caller = self.jwks(ca_file).unwrap().authenticate(Some(&token), Target::Hub, Freshness::Cached).await;
        caller.map(|caller| caller.identity.user)
    }

    /// What ann may do, by the word of the server.
    async fn by_word(&self, ca_file: Option<std::path::PathBuf>) -> Result<Access, AuthError> {
        let ann = Identity { user: "ann".to_owned(), claims: Object::new(), via: Via::Jwt };
        let room = RoomId::new("acme", "doc", "main");
        let (ann, place) = (Caller::new(ann, None, None), Target::Room(&room));
        let allowed = self.callback(ca_file).unwrap().access(&ann, place, None, Freshness::Fresh).await;
        allowed.map(|allowed| allowed.access)
    }
}

#[tokio::test]
async fn who_is_vouched_for_is_asked() {
    let certificates = Certificates::new();
    let scene = Scene::new(&certificates);
    let ca_file = scene.ca_file(&certificates);
    assert_eq!(scene.by_keys(Some(ca_file.clone())).await, Ok("ann".to_owned()));
    assert!(scene.by_word(Some(ca_file)).await.unwrap().allows(Right::Write));
    assert_eq!(scene.web.requests().len(), 2);
}

/// Signed by somebody else, by nobody whom the system knows, for another host, too old: no question is sent to them.
#[tokio::test]
async fn who_is_not_vouched_for_says_neither_yes_nor_no() {
    let (good, other) = (Certificates::new(), Certificates::new());
    let (elsewhere, old) = (Certificates::of_another_host(), Certificates::expired());
    for (certificates, trusted) in [(&good, Some(&other)), (&good, None), (&elsewhere, Some(&elsewhere)), (&old, Some(&old))] {
        let scene = Scene::new(certificates);
        let ca_file = trusted.map(|trusted| scene.ca_file(trusted));
        let (keys, word) = (scene.by_keys(ca_file.clone()).await, scene.by_word(ca_file).await);
        assert!(matches!(keys, Err(AuthError::Unavailable { .. })), "{keys:?}");
        assert!(matches!(word, Err(AuthError::Unavailable { .. })), "{word:?}");
        assert_eq!(scene.web.requests().len(), 0);
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_told_at_the_start() {
    let scene = Scene::new(&Certificates::new());
    let file = scene.dir.path().join("empty.pem");
    std::fs::write(&file, "nothing of the kind").unwrap();
    for file in [file, scene.dir.path().join("missing.pem")] {
        for refused in [scene.jwks(Some(file.clone())), scene.callback(Some(file.clone()))] {
            let error = refused.expect_err("it is refused").to_string();
            assert!(error.contains(&file.display().to_string()) && error.contains("; install certificates"), "{error}");
        }
    }
}
