//! The buckets of the server, in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use s3s::{
    S3, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
        CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
        DeleteObjectOutput, ETag, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, ListObjectsV2Input,
        ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput,
        UploadPartOutput,
    },
    s3_error,
};

/// All parts of an upload but the last have at least so many bytes.
const LEAST_PART_BYTES: usize = 5 << 20;

/// The buckets. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Objects(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    uploads: BTreeMap<String, Upload>,
    changes: u64,
}

#[derive(Clone)]
struct Stored {
    content: Bytes,
    /// Of two, the later one has the higher number.
    change: u64,
    modified_ms: u64,
}

struct Upload {
    bucket: String,
    key: String,
    parts: BTreeMap<i32, Stored>,
}

impl Stored {
    fn e_tag(&self) -> ETag {
        ETag::Strong(format!("{:032x}", self.change))
    }

    fn modified(&self) -> Timestamp {
        (UNIX_EPOCH + Duration::from_millis(self.modified_ms)).into()
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> S3Result<&mut BTreeMap<String, Stored>> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    fn upload(&mut self, id: &str, bucket: &str, key: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn stored(&mut self, content: Bytes) -> Stored {
        self.changes += 1;
        // A second for each change, so that nobody has to wait for time to go on.
        Stored { content, change: self.changes, modified_ms: (1_700_000_000 + self.changes) * 1_000 }
    }
}

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keys(&self, bucket: &str) -> Option<Vec<String>> {
        self.state().buckets.get(bucket).map(|objects| objects.keys().cloned().collect())
    }

    pub(super) fn put(&self, bucket: &str, key: &str, content: Bytes) {
        let mut state = self.state();
        let stored = state.stored(content);
        state.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), stored);
    }

    pub(super) fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        Some(self.state().buckets.get(bucket)?.get(key)?.content.clone())
    }

    /// Is it there?
    pub(super) fn set_modified(&self, bucket: &str, key: &str, at_ms: u64) -> bool {
        let mut state = self.state();
        let stored = state.buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key));
        stored.map(|stored| stored.modified_ms = at_ms).is_some()
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) -> Option<Bytes> {
        Some(self.state().buckets.get_mut(bucket)?.remove(key)?.content)
    }

    pub(super) fn unfinished_uploads(&self) -> usize {
        self.state().uploads.len()
    }
}

/// Everything that the client sends. A connection that breaks meanwhile leaves nothing behind.
async fn whole(body: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Bytes> {
    let mut content = BytesMut::new();
    if let Some(mut pieces) = body {
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
        }
    }
    match length {
        Some(length) if length != content.len() as i64 => Err(s3_error!(IncompleteBody)),
        _ => Ok(content.freeze()),
    }
}

#[async_trait]
impl S3 for Objects {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let mut state = self.state();
        if state.buckets.contains_key(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        state.buckets.insert(request.input.bucket, BTreeMap::new());
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.state().bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, content_length, .. } = request.input;
        let content = whole(body, content_length).await?;
        let mut state = self.state();
        let stored = state.stored(content);
        let e_tag = Some(stored.e_tag());
        state.bucket(&bucket)?.insert(key, stored);
        Ok(S3Response::new(PutObjectOutput { e_tag, ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, if_match, .. } = request.input;
        let found = self.state().bucket(&bucket)?.get(&key).cloned();
        let stored = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        if if_match.and_then(|wanted| wanted.into_etag()).is_some_and(|wanted| wanted != stored.e_tag()) {
            return Err(s3_error!(PreconditionFailed));
        }
        let (mut content, mut content_range) = (stored.content.clone(), None);
        if let Some(range) = range {
            let size = content.len();
            let range = range.check(size as u64).map_err(|_| s3_error!(InvalidRange))?;
            content_range = Some(format!("bytes {}-{}/{size}", range.start, range.end - 1));
            content = content.slice(range.start as usize..range.end as usize);
        }
        let length = i64::try_from(content.len()).expect("a content in memory has no such length");
        let body = StreamingBlob::wrap(stream::once(async move { Ok::<_, std::io::Error>(content) }));
        Ok(S3Response::new(GetObjectOutput {
            body: Some(body),
            content_length: Some(length),
            content_range,
            e_tag: Some(stored.e_tag()),
            last_modified: Some(stored.modified()),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.state().bucket(&request.input.bucket)?.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, continuation_token, start_after, max_keys, .. } = request.input;
        let (prefix, max) = (prefix.unwrap_or_default(), max_keys.unwrap_or(1_000).clamp(0, 1_000) as usize);
        let after = continuation_token.or(start_after).unwrap_or_default();
        let mut state = self.state();
        let mut objects = state.bucket(&bucket)?.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: Vec<Object> = (&mut objects)
            .take(max)
            .map(|(key, stored)| Object {
                key: Some(key.clone()),
                size: i64::try_from(stored.content.len()).ok(),
                e_tag: Some(stored.e_tag()),
                last_modified: Some(stored.modified()),
                ..Default::default()
            })
            .collect();
        let is_truncated = objects.next().is_some();
        let last = contents.last().and_then(|object| object.key.clone());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix: Some(prefix),
            max_keys: i32::try_from(max).ok(),
            key_count: i32::try_from(contents.len()).ok(),
            is_truncated: Some(is_truncated),
            next_continuation_token: last.filter(|_| is_truncated),
            contents: Some(contents),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        let mut state = self.state();
        state.bucket(&bucket)?;
        state.changes += 1;
        let id = format!("upload-{}", state.changes);
        state.uploads.insert(id.clone(), Upload { bucket: bucket.clone(), key: key.clone(), parts: BTreeMap::new() });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number, body, content_length, .. } = request.input;
        let content = whole(body, content_length).await?;
        let mut state = self.state();
        let stored = state.stored(content);
        let e_tag = Some(stored.e_tag());
        state.upload(&upload_id, &bucket, &key)?.parts.insert(part_number, stored);
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = request.input;
        let mut state = self.state();
        let upload = state.upload(&upload_id, &bucket, &key)?;
        let wanted = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut content = BytesMut::new();
        for (n, part) in wanted.iter().enumerate() {
            let stored = part.part_number.and_then(|number| upload.parts.get(&number));
            let stored = stored.filter(|stored| part.e_tag.as_ref() == Some(&stored.e_tag()));
            let stored = stored.ok_or_else(|| s3_error!(InvalidPart))?;
            if stored.content.len() < LEAST_PART_BYTES && n + 1 < wanted.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            content.extend_from_slice(&stored.content);
        }
        if wanted.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        state.uploads.remove(&upload_id);
        let stored = state.stored(content.freeze());
        let e_tag = Some(stored.e_tag());
        state.bucket(&bucket)?.insert(key.clone(), stored);
        Ok(S3Response::new(CompleteMultipartUploadOutput { bucket: Some(bucket), key: Some(key), e_tag, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        let mut state = self.state();
        state.upload(&upload_id, &bucket, &key)?;
        state.uploads.remove(&upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
