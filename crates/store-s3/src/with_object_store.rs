//! The client on `object_store`.
//!
//! It knows neither buckets to be made nor listings of names such as ours (with empty parts): these requests are signed by it
//! and sent by ourselves. All go through one HTTP client, which turns what the service refuses into an [`Answer`]: so
//! `object_store` hands on status and code instead of a text. It tries nothing again; that is decided elsewhere.

mod xml;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
    multipart::{MultipartStore, PartId},
    path::{Path, PathPart},
    signer::{Method, SignedUrlOptions, Signer},
};
use yhub_store::AssetStoreError;
use yhub_tls::{RootCertStore, TrustError};

use crate::{
    S3Options,
    client::{Client, Failure, ListPage, Opened, Part, Range, bucket_place, code_in},
};

/// How long a request that was signed may be sent.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// The longest answer that is no asset: a listing of a thousand names of a kilobyte, each with some words around it.
const MOST_ANSWER_BYTES: usize = 8 << 20;

/// What the service said in place of doing it.
#[derive(Debug, thiserror::Error)]
#[error("the service answered with status {status} {code}")]
struct Answer {
    status: u16,
    code: String,
}

pub(crate) struct ObjectStoreClient {
    store: AmazonS3,
    http: reqwest::Client,
    region: String,
}

impl ObjectStoreClient {
    pub(crate) fn new(options: &S3Options) -> Result<Self, AssetStoreError> {
        let (scheme, host) = options.host()?;
        let unusable = |what: String| options.unusable(what, "check the section `s3` of the configuration");
        // Where there is no TLS nobody has to be there to be trusted.
        let roots = if scheme == "https" { yhub_tls::roots(options.ca_file.as_deref()) } else { Ok(RootCertStore::empty()) };
        let roots = roots.map_err(|error| options.unusable(error.to_string(), TrustError::ADVICE))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(yhub_tls::client(roots))
            .http1_only()
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let bucket = &options.bucket;
        let endpoint = if options.path_style { options.endpoint.clone() } else { format!("{scheme}://{bucket}.{host}") };
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_region(&options.region)
            .with_bucket_name(bucket)
            .with_access_key_id(&options.access_key)
            .with_secret_access_key(options.secret_key.expose())
            .with_virtual_hosted_style_request(!options.path_style)
            .with_allow_http(true)
            // One request about one object: not every service knows those about many.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(OneClient(http.clone()))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { store, http, region: options.region.clone() })
    }

    /// Sends a request about the bucket, and takes the answer if it is none of refusal.
    async fn about_bucket(&self, method: Method, query: &[(&str, &str)], body: Option<String>) -> Result<Bytes, Failure> {
        let options = SignedUrlOptions::default().with_query(query.iter().copied());
        let url = self.store.signed_url_opts(method.clone(), &Path::ROOT, SIGNED_FOR, &options).await.map_err(failure)?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.body(body);
        }
        // The address holds a signature, which is no one else's business.
        let transient = |error: reqwest::Error| Failure::Transient(error.without_url().into());
        let mut response = request.send().await.map_err(transient)?;
        let mut answer = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(transient)? {
            if answer.len() + piece.len() > MOST_ANSWER_BYTES {
                return Err(Failure::TooLarge(answer.len() as u64 + piece.len() as u64));
            }
            answer.extend_from_slice(&piece);
        }
        if response.status().is_success() {
            return Ok(answer.freeze());
        }
        Err(match Failure::of_body(response.status().as_u16(), &String::from_utf8_lossy(&answer)) {
            // What else could not be there?
            Failure::NotFound => Failure::NoBucket,
            failure => failure,
        })
    }
}

#[async_trait]
impl Client for ObjectStoreClient {
    async fn head_bucket(&self) -> Result<(), Failure> {
        self.about_bucket(Method::HEAD, &[], None).await.map(drop)
    }

    async fn create_bucket(&self) -> Result<(), Failure> {
        self.about_bucket(Method::PUT, &[], bucket_place(&self.region)).await.map(drop)
    }

    async fn get(&self, key: &str, range: Range<'_>) -> Result<Opened, Failure> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.from..range.upto)),
            if_match: range.e_tag.map(str::to_owned),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&path(key), options).await.map_err(failure)?;
        Ok(Opened {
            size_bytes: found.meta.size,
            e_tag: found.meta.e_tag.clone(),
            following_bytes: found.range.end.saturating_sub(found.range.start),
            body: found.into_stream().map(|piece| piece.map_err(failure)).boxed(),
        })
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), Failure> {
        self.store.put(&path(key), PutPayload::from_bytes(content)).await.map(drop).map_err(failure)
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.store.delete(&path(key)).await.map_err(failure)
    }

    async fn list(&self, prefix: &str, token: Option<&str>, max: usize) -> Result<ListPage, Failure> {
        let max = max.to_string();
        let mut query = vec![("list-type", "2"), ("prefix", prefix), ("max-keys", max.as_str())];
        query.extend(token.map(|token| ("continuation-token", token)));
        xml::list_page(&self.about_bucket(Method::GET, &query, None).await?)
    }

    async fn begin_upload(&self, key: &str) -> Result<String, Failure> {
        self.store.create_multipart(&path(key)).await.map_err(failure)
    }

    async fn put_part(&self, key: &str, upload: &str, part: usize, content: Bytes) -> Result<Part, Failure> {
        let sent = self.store.put_part(&path(key), &upload.to_owned(), part, PutPayload::from_bytes(content)).await;
        sent.map(|part| Part(part.content_id)).map_err(failure)
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: Vec<Part>) -> Result<(), Failure> {
        let parts = parts.into_iter().map(|Part(content_id)| PartId { content_id }).collect();
        self.store.complete_multipart(&path(key), &upload.to_owned(), parts).await.map(drop).map_err(failure)
    }

    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Failure> {
        self.store.abort_multipart(&path(key), &upload.to_owned()).await.map_err(failure)
    }
}

/// The path of a key, byte by byte. Made part by part: `Path::parse` refuses empty parts, and the others encode once more
/// what is encoded already.
fn path(key: &str) -> Path {
    key.split('/').fold(Path::ROOT, |path, part| match PathPart::parse(part) {
        Ok(part) => path.join(part),
        // Of the keys that are asked for none has such a part.
        Err(_) => path.join(part),
    })
}

/// What a failure of `object_store` means: for what the service said, an [`Answer`] is somewhere below it.
fn failure(error: object_store::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(Answer { status, code }) = error.downcast_ref() {
            return Failure::of_answer(*status, code);
        }
        cause = error.source();
    }
    Failure::Transient(error.into())
}

/// The HTTP client that `object_store` is to use.
struct OneClient(reqwest::Client);

impl fmt::Debug for OneClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneClient")
    }
}

impl HttpConnector for OneClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Refusing(self.0.clone())))
    }
}

/// Sends requests; an answer of refusal is an error.
#[derive(Debug)]
struct Refusing(reqwest::Client);

#[async_trait]
impl HttpService for Refusing {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // An upload is completed with an answer that begins before it is known whether it can be.
        let may_change_its_mind = *request.method() == Method::POST;
        let response = self.0.call(request).await?;
        let status = response.status();
        if status.is_success() && !may_change_its_mind {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = beginning(body.bytes_stream()).await?;
        let text = String::from_utf8_lossy(&body);
        if status.is_success() && !text.contains("<Error>") {
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        let answer = Answer { status: status.as_u16(), code: code_in(&text).to_owned() };
        Err(HttpError::new(HttpErrorKind::Unknown, answer))
    }
}

/// What an answer says, as far as it is not too long for one that is no asset.
async fn beginning(mut pieces: impl Stream<Item = Result<Bytes, HttpError>> + Unpin) -> Result<Bytes, HttpError> {
    let mut text = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        text.extend_from_slice(&piece[..piece.len().min(MOST_ANSWER_BYTES - text.len())]);
        if text.len() == MOST_ANSWER_BYTES {
            break;
        }
    }
    Ok(text.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bucket_stands_in_the_path_or_before_the_host() {
        let url = async |path_style: bool, region: &str| {
            let options = S3Options::new("http://s3.example:9000", "bucket", "a", "s".into());
            let options = S3Options { path_style, region: region.to_owned(), ..options };
            let client = ObjectStoreClient::new(&options).unwrap();
            client.store.signed_url(Method::GET, &path("id:x//a%2F"), SIGNED_FOR).await.unwrap()
        };
        let (in_path, in_host) = (url(true, "us-east-1").await, url(false, "eu-central-1").await);
        assert_eq!((in_path.host_str(), in_path.port()), (Some("s3.example"), Some(9_000)));
        assert_eq!(in_path.path(), "/bucket/id%3Ax//a%252F");
        assert_eq!((in_host.host_str(), in_host.port()), (Some("bucket.s3.example"), Some(9_000)));
        assert_eq!(in_host.path(), "/id%3Ax//a%252F");
        assert!(in_host.query().unwrap().contains("eu-central-1"), "{in_host}");
    }

    #[test]
    fn a_path_has_the_bytes_of_its_key() {
        for key in ["id:ydoc:v1//d/main/1/", "id:a/%2F/%252F/b%20c/!*'()/~", "p/id:x//", "a", "p//id"] {
            assert_eq!(path(key).as_ref(), key);
        }
    }
}
