//! What is asked, and under which key its answer is kept.

use reqwest::{RequestBuilder, Url};
use ring::digest;
use serde_json::json;
use yhub_core::{
    access::{Purpose, Target},
    encode_uri_component,
};

use super::{CallbackForm, CallbackOptions, Key, answer::Expected};
use crate::{Secret, http::Http};

/// About whom.
pub(crate) enum Asked<'a> {
    /// It is known who they are.
    User(&'a str),
    /// They hold this, and only the back end knows what it means.
    Token(&'a Secret),
}

/// A question that can be sent.
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) expected: Expected,
    url: Url,
    /// Of a POST.
    body: Option<String>,
    token: Option<Secret>,
}

impl Question {
    /// `None` if it cannot be asked in this form.
    pub(super) fn new(
        options: &CallbackOptions,
        base: &Url,
        asked: &Asked<'_>,
        place: Target<'_>,
        purpose: Option<Purpose>,
    ) -> Option<Self> {
        let (org, docid, branch) = match place {
            Target::Hub => (None, None, None),
            Target::Org(org) => (Some(org), None, None),
            Target::Room(room) => (Some(room.org()), Some(room.docid()), Some(room.branch())),
        };
        let (user, token) = match asked {
            Asked::User(user) => (Some(*user), None),
            Asked::Token(token) => (None, Some(*token)),
        };
        let purpose_name = purpose.map(Purpose::name);
        let (url, body) = match options.form {
            CallbackForm::Get => (get_url(base, org?, docid?, branch?, user?, purpose_name)?, None),
            CallbackForm::Post => {
                let body = json!({ "org": org, "docid": docid, "branch": branch, "userid": user, "purpose": purpose_name });
                (base.clone(), Some(body.to_string()))
            }
        };
        let key = key([org, docid, branch, user, token.map(Secret::expose), purpose_name]);
        let expected = Expected { form: options.form, user: user.map(str::to_owned), docid: docid.map(str::to_owned) };
        Some(Self { key, expected, url, body, token: token.cloned() })
    }

    /// As it is sent, with what the back end knows us by.
    pub(super) fn request(&self, options: &CallbackOptions, http: &Http) -> RequestBuilder {
        let secret = options.secret.as_ref().map(Secret::expose);
        match &self.body {
            None => {
                let request = http.get(self.url.clone());
                if let Some(secret) = secret { request.bearer_auth(secret) } else { request }
            }
            Some(body) => {
                let request = http.post_json(self.url.clone(), body.clone());
                let request = if let Some(secret) = secret { request.header("x-yhub-secret", secret) } else { request };
                if let Some(token) = &self.token { request.bearer_auth(token.expose()) } else { request }
            }
        }
    }
}

/// `{base}/{docid}/{user}?org=…&branch=…`, or `None` if a part of it cannot stand in a path: `.` and `..`, however they are
/// written, mean another path to whoever reads addresses.
fn get_url(base: &Url, org: &str, docid: &str, branch: &str, user: &str, purpose: Option<&str>) -> Option<Url> {
    if [docid, user].iter().any(|part| matches!(*part, "." | "..")) {
        return None;
    }
    let mut url = base.clone();
    let path = format!("{}/{}/{}", base.path().trim_end_matches('/'), encode_uri_component(docid), encode_uri_component(user));
    url.set_path(&path);
    let mut query = url.query_pairs_mut();
    query.append_pair("org", org).append_pair("branch", branch);
    if let Some(purpose) = purpose {
        query.append_pair("purpose", purpose);
    }
    drop(query);
    Some(url)
}

/// A hash of all parts, each with its length, so that no two questions have one key and no token is kept.
fn key(parts: [Option<&str>; 6]) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(&length.to_be_bytes());
        hash.update(part.unwrap_or_default().as_bytes());
    }
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use yhub_core::RoomId;

    use super::*;

    #[test]
    fn every_part_of_a_question_counts() {
        let none = [None; 6];
        let mut keys = vec![key(none)];
        for at in 0..6 {
            for text in ["", "a", "b"] {
                let mut parts = none;
                parts[at] = Some(text);
                keys.push(key(parts));
            }
        }
        keys.push(key([Some("ab"), Some("c"), None, None, None, None]));
        keys.push(key([Some("a"), Some("bc"), None, None, None, None]));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn documents_and_users_stand_in_the_path_as_one_part_each() {
        let base = Url::parse("https://app.example/auth/").unwrap();
        let url = |docid, user| get_url(&base, "a&b", docid, "main", user, Some("list")).map(String::from);
        let expected = "https://app.example/auth/a%2Fb%3F%23%25/%C3%A4%20x?org=a%26b&branch=main&purpose=list";
        assert_eq!(url("a/b?#%", "ä x").unwrap(), expected);
        assert_eq!(url("", "u").unwrap(), "https://app.example/auth//u?org=a%26b&branch=main&purpose=list");
        assert_eq!(url("%2e%2e", "u").unwrap(), "https://app.example/auth/%252e%252e/u?org=a%26b&branch=main&purpose=list");
        for part in [".", ".."] {
            assert!(url(part, "u").is_none() && url("d", part).is_none());
        }
    }

    #[test]
    fn a_get_asks_only_about_users_and_documents() {
        let options = CallbackOptions::new("https://app.example", CallbackForm::Get);
        let base = Url::parse(&options.url).unwrap();
        let room = RoomId::new("o", "d", "main");
        let token = Secret::new("t").unwrap();
        let can = |asked: &Asked<'_>, place| Question::new(&options, &base, asked, place, None).is_some();
        assert!(can(&Asked::User("u"), Target::Room(&room)));
        assert!(!can(&Asked::User("u"), Target::Org("o")) && !can(&Asked::User("u"), Target::Hub));
        assert!(!can(&Asked::Token(&token), Target::Room(&room)));
    }
}
