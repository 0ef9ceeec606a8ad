//! `[s3]`: assets as objects of an S3 service.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    assets::check_branches,
    error::Problem,
    secret::{SecretText, is_host_with_optional_port},
    section::{Millis, section, words},
};

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum S3Client {
    /// The usual one.
    ObjectStore,
    /// One that is not maintained any more, and is there for those who know it.
    Rusoto,
}

words!(S3Client: "\"object-store\" or \"rusoto\"");

/// The client that is built; the usual one where both are.
const BUILT: S3Client =
    if cfg!(feature = "s3-rusoto") && !cfg!(feature = "s3") { S3Client::Rusoto } else { S3Client::ObjectStore };

section! {
    /// Assets as objects of an S3 service, with "s3" in `assets.plugins`. Names and contents are those of y/hub.
    S3 = "s3" {
        /// The service: `https://host` or `http://host:9000`. Empty: that of AWS in the region.
        endpoint: String = String::new();
        /// The region. Services that have none take any.
        region: String = "us-east-1".to_owned();
        /// The bucket.
        bucket: String = String::new();
        /// The access key.
        access_key: String = String::new();
        /// The secret that belongs to it. Never shown, and better given in the environment, as YHUB__S3__SECRET_KEY.
        secret_key: Option<SecretText> = None;
        /// Does the bucket stand in the path, as `https://host/bucket`? Otherwise it stands before the host, which some
        /// services ask for.
        path_style: bool = true;
        /// Certificates, in PEM, of who may vouch for the service, in place of those that the system trusts.
        ca_file: Option<PathBuf> = None;
        /// What the names of all objects begin with. Empty, they are those of y/hub.
        key_prefix: String = String::new();
        /// The branches whose assets are taken; ["*"] stands for all. Of others y/hub reads none.
        branches: Vec<String> = vec!["main".to_owned()];
        /// Make the bucket at the start if it is missing?
        create_bucket: bool = false;
        /// An asset of more bytes is sent in parts.
        multipart_from_bytes: usize = 16 << 20, 5_242_880..=5_000_000_000;
        /// So many bytes a part has, also of an asset that is brought. Of one that is sent four parts are on their way at once.
        part_bytes: usize = 8 << 20, 5_242_880..=1_073_741_824;
        /// The most bytes that an asset may have.
        max_asset_bytes: usize = 1 << 30, 1_048_576..=17_179_869_184;
        /// A connection that is not there after so long has failed.
        connect_timeout_ms: Millis = Millis::new(5_000), 50..=60_000;
        /// A request that is not answered wholly after so long has failed. Each part is a request: so fast the network must be.
        request_timeout_ms: Millis = Millis::new(30_000), 100..=600_000;
        /// What fails for a while is tried so often.
        attempts: usize = 5, 1..=20;
        /// The pause before the second attempt; it doubles.
        backoff_ms: Millis = Millis::new(100), 1..=10_000;
        /// So many assets are on their way at once.
        at_once: usize = 32, 1..=1_000;
        /// Who sends the requests: "object-store", or "rusoto", which is not maintained any more and has to be built in
        /// (feature `s3-rusoto`).
        client: S3Client = BUILT;
    }
    rules: rules
}

impl S3 {
    /// The service, also that of AWS.
    pub(crate) fn service(&self) -> String {
        if self.endpoint.is_empty() { format!("https://s3.{}.amazonaws.com", self.region) } else { self.endpoint.clone() }
    }

    /// What is missing when assets are to go there.
    pub(super) fn check_used(&self, problems: &mut Vec<Problem>) {
        let mut is_missing = |key: &str, advice: &str| {
            let what = "is not set, but `assets.plugins` names \"s3\"";
            problems.push(Problem::new(format!("s3.{key}"), what, advice));
        };
        if self.bucket.is_empty() {
            is_missing("bucket", "name the bucket for the assets");
        }
        if self.access_key.is_empty() {
            is_missing("access_key", "set the access key that may read and write there");
        }
        if self.secret_key.is_none() {
            is_missing("secret_key", "set it in the environment, as YHUB__S3__SECRET_KEY");
        }
        let is_built = match self.client {
            S3Client::ObjectStore => cfg!(feature = "s3"),
            S3Client::Rusoto => cfg!(feature = "s3-rusoto"),
        };
        if !is_built {
            let advice =
                "choose another, or build the hub with the feature `s3` for \"object-store\", `s3-rusoto` for \"rusoto\"";
            problems.push(Problem::new("s3.client", "names a client that is not built in", advice));
        }
    }
}

fn rules(s3: &S3, problems: &mut Vec<Problem>) {
    check_branches("s3.branches", &s3.branches, problems);
    let mut wrong = |key: &str, what: &str, advice: &str| problems.push(Problem::new(format!("s3.{key}"), what, advice));
    let host = s3.endpoint.strip_prefix("https://").or_else(|| s3.endpoint.strip_prefix("http://"));
    // What it is, is not shown: somebody may have put a password into it.
    if !s3.endpoint.is_empty() && !host.is_some_and(is_host_with_optional_port) {
        wrong("endpoint", "has another form", "write https://host or http://host:port, without user, path and slash at its end");
    }
    if s3.ca_file.is_some() && s3.endpoint.starts_with("http://") {
        wrong("ca_file", "is set, but `s3.endpoint` asks for no TLS", "write https:// in `s3.endpoint`, or remove it");
    }
    if s3.region.is_empty() || !is_plain(&s3.region) {
        wrong("region", "is no name of a region", "write a word such as \"us-east-1\"");
    }
    let is_bucket = (3..=63).contains(&s3.bucket.len()) && is_plain(&s3.bucket);
    if !s3.bucket.is_empty() && !is_bucket {
        wrong("bucket", "is no name of a bucket", "choose 3 to 63 small letters, digits, dots and hyphens");
    }
    if s3.secret_key.as_ref().is_some_and(|secret| !secret.is_usable()) {
        wrong("secret_key", "is empty, or what is shown in place of a secret", "set the secret itself, or leave it out");
    }
    let parts_fit = !s3.key_prefix.split('/').any(|part| matches!(part, "." | ".."));
    let prefix_fits =
        s3.key_prefix.len() <= 256 && !s3.key_prefix.starts_with('/') && !s3.key_prefix.chars().any(char::is_control);
    if !parts_fit || !prefix_fits {
        wrong(
            "key_prefix",
            "cannot begin a name",
            "choose up to 256 bytes such as \"hub/\", without a slash first and without \"..\"",
        );
    }
    if s3.client == S3Client::Rusoto && (!s3.path_style || s3.ca_file.is_some()) {
        wrong("client", "is \"rusoto\", which knows neither `path_style = false` nor `ca_file`", "choose \"object-store\"");
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}
