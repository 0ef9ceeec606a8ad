//! What is asked of a client: single requests, each tried once. Who asks decides what to do about failures.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use yhub_store::BoxError;

/// Why a request failed, as far as it matters to who asks.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such object.
    NotFound,
    /// There is no such bucket.
    NoBucket,
    /// There is no such upload; perhaps it has been completed.
    NoUpload,
    /// The object is another one than the one that was asked for.
    Changed,
    /// The object ends before the range that was asked for begins.
    OutOfRange,
    /// We may not.
    Denied(String),
    /// The service understands and does not do it.
    Rejected(String),
    /// The object has so many bytes, which are more than wanted.
    TooLarge(u64),
    /// No answer, half an answer, or one that says that it may work later.
    Transient(BoxError),
}

impl Failure {
    /// From what a service answered: the status, and the code that the body names, if there is one.
    pub(crate) fn of_answer(status: u16, code: &str) -> Self {
        let said = if code.is_empty() { format!("status {status}") } else { format!("{code} (status {status})") };
        match (status, code) {
            (404, "NoSuchBucket") => Self::NoBucket,
            (404, "NoSuchUpload") => Self::NoUpload,
            (404, _) => Self::NotFound,
            (412, _) => Self::Changed,
            (416, _) => Self::OutOfRange,
            (501, _) => Self::Rejected(said),
            (408 | 429 | 500.., _) | (_, "RequestTimeout" | "SlowDown" | "InternalError" | "OperationAborted") => {
                Self::Transient(said.into())
            }
            (401 | 403, _) | (_, "NotSignedUp" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AccessDenied") => {
                Self::Denied(said)
            }
            _ => Self::Rejected(said),
        }
    }

    /// The same, with the code still in its body.
    pub(crate) fn of_body(status: u16, body: &str) -> Self {
        Self::of_answer(status, code_in(body))
    }
}

/// What stands between `<Code>` and its end, if it is a word.
pub(crate) fn code_in(body: &str) -> &str {
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { code } else { "" }
}

/// One object of a listing.
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    pub(crate) modified_ms: u64,
}

/// One page of a listing.
pub(crate) struct ListPage {
    pub(crate) objects: Vec<Listed>,
    pub(crate) next: Option<String>,
}

/// A part of an upload that has arrived: what the service calls it.
#[derive(Clone)]
pub(crate) struct Part(pub(crate) String);

/// A range of an object.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) from: u64,
    /// Not included. The object may end before.
    pub(crate) upto: u64,
    /// Of which object; if it is another one by now, that is [`Failure::Changed`].
    pub(crate) e_tag: Option<&'a str>,
}

/// A range of an object, of which the body is not read yet.
pub(crate) struct Opened {
    /// How many bytes the whole object has.
    pub(crate) size_bytes: u64,
    pub(crate) e_tag: Option<String>,
    /// How many bytes the body has. More than were asked for if the service knows no ranges: then it is the whole object.
    pub(crate) following_bytes: u64,
    pub(crate) body: BoxStream<'static, Result<Bytes, Failure>>,
}

/// Sends single requests to one bucket. Keys are sent as they are, whatever stands in them; see `keys` for those that are
/// never asked for.
#[async_trait]
pub(crate) trait Client: Send + Sync {
    async fn head_bucket(&self) -> Result<(), Failure>;
    async fn create_bucket(&self) -> Result<(), Failure>;
    async fn get(&self, key: &str, range: Range<'_>) -> Result<Opened, Failure>;
    async fn put(&self, key: &str, content: Bytes) -> Result<(), Failure>;
    async fn delete(&self, key: &str) -> Result<(), Failure>;
    async fn list(&self, prefix: &str, token: Option<&str>, max: usize) -> Result<ListPage, Failure>;
    async fn begin_upload(&self, key: &str) -> Result<String, Failure>;
    /// Parts are counted from 0.
    async fn put_part(&self, key: &str, upload: &str, part: usize, content: Bytes) -> Result<Part, Failure>;
    async fn complete_upload(&self, key: &str, upload: &str, parts: Vec<Part>) -> Result<(), Failure>;
    async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Failure>;
}

/// Nothing was answered in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct NoAnswer(pub(crate) Duration);

/// The body of a request that makes a bucket: where it is to be, unless that is where it is anyway.
pub(crate) fn bucket_place(region: &str) -> Option<String> {
    (region != "us-east-1").then(|| {
        format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
             </LocationConstraint></CreateBucketConfiguration>"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_one_can_do_about_them() {
        let of = |status, code: &str| Failure::of_body(status, &format!("<Error><Code>{code}</Code></Error>"));
        assert!(matches!(of(404, "NoSuchKey"), Failure::NotFound));
        assert!(matches!(of(404, ""), Failure::NotFound));
        assert!(matches!(of(404, "NoSuchBucket"), Failure::NoBucket));
        assert!(matches!(of(404, "NoSuchUpload"), Failure::NoUpload));
        assert!(matches!(of(412, "PreconditionFailed"), Failure::Changed));
        assert!(matches!(of(416, "InvalidRange"), Failure::OutOfRange));
        for (status, code) in [(500, "InternalError"), (503, "SlowDown"), (429, ""), (400, "RequestTimeout"), (200, "SlowDown")] {
            assert!(matches!(of(status, code), Failure::Transient(_)), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (403, ""), (401, ""), (400, "InvalidAccessKeyId")] {
            assert!(matches!(of(status, code), Failure::Denied(_)), "{status} {code}");
        }
        for (status, code) in [(400, "EntityTooLarge"), (301, "PermanentRedirect"), (501, "NotImplemented"), (409, "")] {
            assert!(matches!(of(status, code), Failure::Rejected(_)), "{status} {code}");
        }
        assert!(
            matches!(Failure::of_body(400, "<Code>a <secret> thing</Code>"), Failure::Rejected(said) if said == "status 400")
        );
    }
}
