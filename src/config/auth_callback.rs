//! `[auth_callback]`: the application's back end, which is asked what somebody may do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use yhub_auth::{CallbackForm, MAX_SECRET_BYTES, check_url};

use super::{
    error::Problem,
    secret::SecretText,
    section::{Millis, section, words},
};

/// How the back end is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallbackKind {
    /// `POST {url}` with everything in the body.
    Post,
    /// `GET {url}/{docid}/{userid}`, as y/hub asks.
    Get,
}

words!(CallbackKind: "\"post\" or \"get\"");

impl From<CallbackKind> for CallbackForm {
    fn from(kind: CallbackKind) -> Self {
        match kind {
            CallbackKind::Post => Self::Post,
            CallbackKind::Get => Self::Get,
        }
    }
}

section! {
    /// The application's back end, for `auth.mode` "callback": it is asked what somebody may do, and who they are if they come with
    /// a token that only it understands.
    AuthCallback = "auth_callback" {
        /// Where it is asked, such as "https://app.example/yhub/auth".
        url: String = String::new();
        /// How it is asked. "post": with a POST that says org, docid, branch, userid and purpose in its body. "get": as y/hub asks,
        /// `GET {url}/{docid}/{userid}`; then who somebody is must be known by a signed token (`auth.mode` "jwt").
        form: CallbackKind = CallbackKind::Post;
        /// By which the back end knows that it is the hub who asks: sent as `X-Yhub-Secret`, in the form "get" as `Authorization:
        /// Bearer`. Better given in the environment, as YHUB__AUTH_CALLBACK__SECRET.
        secret: Option<SecretText> = None;
        /// May it be asked without TLS, although it is not this machine? Whoever is between can then let anybody in.
        allow_http: bool = false;
        /// Certificates, in PEM, of who may vouch for it, in place of those that the system trusts.
        ca_file: Option<PathBuf> = None;
        /// An answer must be there after so long; so long a question waits for its turn, too.
        timeout_ms: Millis = Millis::new(5_000), 50..=60_000;
        /// Answers are kept for so long, so that not every request asks anew. 0: not at all.
        ttl_ms: Millis = Millis::new(10_000), 0..=3_600_000;
        /// So many answers are kept, at most; of a kilobyte each as a rule, and never more than eight.
        most_kept: usize = 10_000, 2..=1_000_000;
        /// So many questions are under way at once, at most.
        at_once: usize = 64, 1..=10_000;
        /// After so many failures in a row it is left alone for `breaker_pause_ms`: no connection, no answer in time, or 502 to 504.
        /// Another answer that says nothing, such as 429 or 500, is one about who was asked about.
        breaker_failures: usize = 5, 1..=1_000;
        /// See `breaker_failures`. Then one question goes through, and if it is answered all do.
        breaker_pause_ms: Millis = Millis::new(5_000), 10..=600_000;
    }
    rules: rules
}

impl AuthCallback {
    /// What is missing when it is to be asked.
    pub(super) fn check_used(&self, has_jwt: bool, problems: &mut Vec<Problem>) {
        if self.url.is_empty() {
            let advice = "set it to where the application says what somebody may do, such as \"https://app.example/yhub/auth\"";
            problems.push(Problem::new("auth_callback.url", "is not set, but `auth.mode` names \"callback\"", advice));
        }
        if self.form == CallbackKind::Get && !has_jwt {
            let what = "is \"get\", which asks about a user who is known, and nothing says who that is";
            problems.push(Problem::new("auth_callback.form", what, "add \"jwt\" to `auth.mode`, or choose \"post\""));
        }
    }
}

fn rules(callback: &AuthCallback, problems: &mut Vec<Problem>) {
    let mut wrong =
        |key: &str, what: String, advice: &str| problems.push(Problem::new(format!("auth_callback.{key}"), what, advice));
    if !callback.url.is_empty()
        && let Err(fault) = check_url(&callback.url, callback.allow_http, false)
    {
        let advice =
            "write https://host/path; over http:// only this machine is asked, unless `auth_callback.allow_http` is true";
        wrong("url", fault.to_string(), advice);
    }
    if callback.ca_file.is_some() && callback.url.starts_with("http://") {
        wrong("ca_file", "is set, but `auth_callback.url` asks for no TLS".into(), "write https:// there, or remove it");
    }
    if let Some(secret) = &callback.secret {
        // It is sent in a header.
        let is_sent =
            secret.expose().len() <= MAX_SECRET_BYTES && secret.expose().bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !secret.is_usable() || !is_sent {
            wrong(
                "secret",
                "is empty, no text that a header can hold, or what is shown in place of a secret".into(),
                "set letters, digits and signs of ASCII, or leave it out",
            );
        }
    }
}
