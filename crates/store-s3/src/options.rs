//! Which service, which bucket, and how patient one is with it.

use std::{fmt, path::PathBuf, time::Duration};

use yhub_store::{AssetStoreError, Branches};

/// A key that no text shows.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Secret(String);

impl S3Secret {
    /// For those who sign with it, not for texts.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for S3Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for S3Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3ClientKind {
    /// The client of the feature `object-store`.
    ObjectStore,
    /// The client of the feature `rusoto`. It knows no `path_style: false` and no `ca_file`.
    Rusoto,
}

/// Where assets lie, and how patient one is.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Who sends.
    pub client: S3ClientKind,
    /// The service: `https://host` or `http://host:9000`, without a path.
    pub endpoint: String,
    /// Its region; services that have none take any.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whose requests these are.
    pub access_key: String,
    /// What they are signed with.
    pub secret_key: S3Secret,
    /// The bucket stands in the path (true) or before the host (false).
    pub path_style: bool,
    /// Certificates, in PEM, of who may vouch for the service, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What the names of all objects begin with. With an empty one they are those of y/hub.
    pub key_prefix: String,
    /// The rooms whose assets are stored here; those of others are passed on.
    pub branches: Branches,
    /// Make the bucket if it is missing?
    pub create_bucket: bool,
    /// An asset of more bytes is sent in parts.
    pub multipart_from_bytes: usize,
    /// So many bytes a part has, of an upload or of an asset that is brought; at least 5 MiB, but for the last.
    pub part_bytes: usize,
    /// The most bytes that an asset may have.
    pub max_asset_bytes: u64,
    /// A connection that is not there after so long has failed.
    pub connect_timeout: Duration,
    /// A request that is not answered wholly after so long has failed; of what is brought in parts, each is one.
    pub request_timeout: Duration,
    /// What fails for a while is tried so often, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt. It doubles, to at most 32 of itself.
    pub first_backoff: Duration,
    /// So many assets are on their way at once, at most. The others wait.
    pub at_once: usize,
}

impl S3Options {
    /// The assets of `main` in a bucket of a service, path style, with the client that is built.
    pub fn new(endpoint: &str, bucket: &str, access_key: &str, secret_key: S3Secret) -> Self {
        Self {
            client: if cfg!(feature = "object-store") { S3ClientKind::ObjectStore } else { S3ClientKind::Rusoto },
            endpoint: endpoint.to_owned(),
            region: "us-east-1".to_owned(),
            bucket: bucket.to_owned(),
            access_key: access_key.to_owned(),
            secret_key,
            path_style: true,
            ca_file: None,
            key_prefix: String::new(),
            branches: Branches::main(),
            create_bucket: false,
            multipart_from_bytes: 16 << 20,
            part_bytes: 8 << 20,
            max_asset_bytes: 1 << 30,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            attempts: 5,
            first_backoff: Duration::from_millis(100),
            at_once: 32,
        }
    }

    /// Where the assets are, for texts.
    pub(crate) fn at(&self) -> String {
        format!("{}/{}", self.endpoint, self.bucket)
    }

    /// These options cannot be used.
    pub(crate) fn unusable(&self, what: impl Into<String>, advice: &str) -> AssetStoreError {
        AssetStoreError::Refused { at: self.at(), what: what.into(), advice: advice.to_owned() }
    }

    /// Scheme and host, in which a mistake would only show as requests that cannot be sent.
    pub(crate) fn host(&self) -> Result<(&str, &str), AssetStoreError> {
        let wrong = || self.unusable("the endpoint has another form", "write https://host or http://host:port");
        let (scheme, host) = self.endpoint.split_once("://").ok_or_else(wrong)?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
        if is_host && matches!(scheme, "http" | "https") { Ok((scheme, host)) } else { Err(wrong()) }
    }
}
