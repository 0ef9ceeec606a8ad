//! The client on rusoto.

use std::{panic, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper_of_rusoto::client::HttpConnector;
use hyper_rustls::HttpsConnectorBuilder;
use rusoto_core::{ByteStream, Client as Sender, HttpClient, Region, RusotoError, request::BufferedHttpResponse};
use rusoto_credential::StaticProvider;
use rusoto_s3::{
    AbortMultipartUploadError, AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CompletedMultipartUpload,
    CompletedPart, CreateBucketConfiguration, CreateBucketError, CreateBucketRequest, CreateMultipartUploadRequest,
    DeleteObjectRequest, GetObjectError, GetObjectRequest, HeadBucketError, HeadBucketRequest, ListObjectsV2Error,
    ListObjectsV2Request, PutObjectRequest, S3, S3Client, UploadPartRequest,
};
use yhub_store::AssetStoreError;

use crate::{
    S3Options,
    client::{Client, Failure, ListPage, Listed, Opened, Part, Range, bucket_place},
    time::parse_ms,
};

pub(crate) struct RusotoClient {
    client: S3Client,
    bucket: String,
    region: String,
}

impl RusotoClient {
    pub(crate) fn new(options: &S3Options) -> Result<Self, AssetStoreError> {
        let (scheme, _) = options.host()?;
        if !options.path_style || options.ca_file.is_some() {
            let what = "this client takes the bucket in the path only, and no CA file";
            return Err(options.unusable(what, "choose path style without a CA file, or the other client"));
        }
        let credentials = StaticProvider::new_minimal(options.access_key.clone(), options.secret_key.expose().to_owned());
        let connector = connector(options.connect_timeout);
        let sender = if scheme == "http" {
            Sender::new_with(credentials, HttpClient::from_connector(connector))
        } else {
            // It panics if the system trusts nobody.
            let trusting = panic::catch_unwind(|| HttpsConnectorBuilder::new().with_native_roots());
            let trusting = trusting.map_err(|_| options.unusable("the system trusts no certificates", "install some"))?;
            Sender::new_with(
                credentials,
                HttpClient::from_connector(trusting.https_only().enable_http1().wrap_connector(connector)),
            )
        };
        let region = Region::Custom { name: options.region.clone(), endpoint: options.endpoint.clone() };
        Ok(Self {
            client: S3Client::new_with_client(sender, region),
            bucket: options.bucket.clone(),
            region: options.region.clone(),
        })
    }
}

fn connector(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    connector
}

/// Content that is sent without being copied.
fn body(content: Bytes) -> ByteStream {
    let len = content.len();
    ByteStream::new_with_size(stream::once(async move { Ok(content) }), len)
}

/// What a failure means. What a service has said is in `Unknown`, unless rusoto knows the code; then in `known`.
fn failure<E: std::error::Error + 'static>(error: RusotoError<E>, known: impl FnOnce(&E) -> Failure) -> Failure {
    match error {
        RusotoError::Unknown(BufferedHttpResponse { status, body, .. }) => {
            Failure::of_body(status.as_u16(), &String::from_utf8_lossy(&body))
        }
        RusotoError::Service(said) => known(&said),
        RusotoError::HttpDispatch(error) => Failure::Transient(error.into()),
        other => Failure::Transient(other.to_string().into()),
    }
}

/// The same for a request of which rusoto knows no code, or none that matters.
fn other<E: std::error::Error + 'static>(error: RusotoError<E>) -> Failure {
    failure(error, |said| Failure::Rejected(said.to_string()))
}

#[async_trait]
impl Client for RusotoClient {
    async fn head_bucket(&self) -> Result<(), Failure> {
        let request = HeadBucketRequest { bucket: self.bucket.clone(), ..Default::default() };
        let looked = self.client.head_bucket(request).await;
        looked.map_err(|error| match failure(error, |HeadBucketError::NoSuchBucket(_)| Failure::NoBucket) {
            // What else could not be there?
            Failure::NotFound => Failure::NoBucket,
            failure => failure,
        })
    }

    async fn create_bucket(&self) -> Result<(), Failure> {
        let place =
            bucket_place(&self.region).map(|_| CreateBucketConfiguration { location_constraint: Some(self.region.clone()) });
        let request =
            CreateBucketRequest { bucket: self.bucket.clone(), create_bucket_configuration: place, ..Default::default() };
        let made = self.client.create_bucket(request).await.map(drop);
        made.map_err(|error| {
            failure(error, |error| match error {
                CreateBucketError::BucketAlreadyExists(_) => Failure::Rejected("BucketAlreadyExists".to_owned()),
                CreateBucketError::BucketAlreadyOwnedByYou(_) => Failure::Rejected("BucketAlreadyOwnedByYou".to_owned()),
            })
        })
    }

    async fn get(&self, key: &str, range: Range<'_>) -> Result<Opened, Failure> {
        let request = GetObjectRequest {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            range: Some(format!("bytes={}-{}", range.from, range.upto.saturating_sub(1))),
            if_match: range.e_tag.map(str::to_owned),
            ..Default::default()
        };
        let found = self.client.get_object(request).await.map_err(|error| {
            failure(error, |error| match error {
                GetObjectError::NoSuchKey(_) => Failure::NotFound,
                other => Failure::Rejected(other.to_string()),
            })
        })?;
        let following_bytes = found.content_length.and_then(|length| u64::try_from(length).ok());
        let following_bytes = following_bytes.ok_or_else(|| Failure::Rejected("an object without a length".to_owned()))?;
        let size_bytes = match &found.content_range {
            None => following_bytes,
            Some(range) => range
                .rsplit_once('/')
                .and_then(|(_, size)| size.parse().ok())
                .ok_or_else(|| Failure::Rejected(format!("a range of an object without a length: {range:?}")))?,
        };
        let pieces = found.body.unwrap_or_else(|| body(Bytes::new()));
        let body = pieces.map(|piece| piece.map_err(|error| Failure::Transient(error.into()))).boxed();
        Ok(Opened { size_bytes, e_tag: found.e_tag, following_bytes, body })
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), Failure> {
        let request = PutObjectRequest {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            content_length: i64::try_from(content.len()).ok(),
            body: Some(body(content)),
            ..Default::default()
        };
        self.client.put_object(request).await.map(drop).map_err(other)
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        let request = DeleteObjectRequest { bucket: self.bucket.clone(), key: key.to_owned(), ..Default::default() };
        self.client.delete_object(request).await.map(drop).map_err(other)
    }

    async fn list(&self, prefix: &str, token: Option<&str>, max: usize) -> Result<ListPage, Failure> {
        let request = ListObjectsV2Request {
            bucket: self.bucket.clone(),
            prefix: Some(prefix.to_owned()),
            continuation_token: token.map(str::to_owned),
            max_keys: i64::try_from(max).ok(),
            ..Default::default()
        };
        let page = self.client.list_objects_v2(request).await;
        let page = page.map_err(|error| failure(error, |ListObjectsV2Error::NoSuchBucket(_)| Failure::NoBucket))?;
        let listed = |object: rusoto_s3::Object| {
            Some(Listed {
                key: object.key?,
                size_bytes: u64::try_from(object.size?).ok()?,
                modified_ms: parse_ms(object.last_modified.as_deref().unwrap_or_default()),
            })
        };
        let objects: Option<Vec<Listed>> = page.contents.unwrap_or_default().into_iter().map(listed).collect();
        Ok(ListPage {
            objects: objects.ok_or_else(|| Failure::Rejected("a listing that cannot be read".to_owned()))?,
            next: page.next_continuation_token.filter(|_| page.is_truncated == Some(true)),
        })
    }

    async fn begin_upload(&self, key: &str) -> Result<String, Failure> {
        let request = CreateMultipartUploadRequest { bucket: self.bucket.clone(), key: key.to_owned(), ..Default::default() };
        let begun = self.client.create_multipart_upload(request).await.map_err(other)?;
        begun.upload_id.ok_or_else(|| Failure::Transient("an upload without a name".into()))
    }

    async fn put_part(&self, key: &str, upload: &str, part: usize, content: Bytes) -> Result<Part, Failure> {
        let request = UploadPartRequest {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            upload_id: upload.to_owned(),
            part_number: part as i64 + 1,
            content_length: i64::try_from(content.len()).ok(),
            body: Some(body(content)),
            ..Default::default()
        };
        let sent = self.client.upload_part(request).await.map_err(other)?;
        sent.e_tag.map(Part).ok_or_else(|| Failure::Transient("a part without a name".into()))
    }

    async fn complete_upload(&self, key: &str, upload: &str, parts: Vec<Part>) -> Result<(), Failure> {
        let parts = (1..).zip(parts).map(|(number, Part(name))| CompletedPart { e_tag: Some(name), part_number: Some(number) });
        let request = CompleteMultipartUploadRequest {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            upload_id: upload.to_owned(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts.collect()) }),
            ..Default::default()
        };
        let done = self.client.complete_multipart_upload(request).await.map_err(other)?;
        // It may be an answer that began well and ended as an error, of which rusoto reads what it understands.
        if done.e_tag.is_some() { Ok(()) } else { Err(Failure::Transient("an upload that is not said to be complete".into())) }
    }

    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let request = AbortMultipartUploadRequest {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            upload_id: upload.to_owned(),
            ..Default::default()
        };
        let aborted = self.client.abort_multipart_upload(request).await.map(drop);
        aborted.map_err(|error| failure(error, |AbortMultipartUploadError::NoSuchUpload(_)| Failure::NoUpload))
    }
}
