//! Listings, as services write them.

use serde::Deserialize;

use crate::{
    client::{Failure, ListPage, Listed},
    time::parse_ms,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(default)]
    last_modified: String,
}

/// Reads one page of a listing.
pub(super) fn list_page(answer: &[u8]) -> Result<ListPage, Failure> {
    let unreadable = |why: String| Failure::Rejected(format!("a listing that cannot be read ({why})"));
    let text = std::str::from_utf8(answer).map_err(|error| unreadable(error.to_string()))?;
    let page: ListBucketResult = quick_xml::de::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let listed = |Contents { key, size, last_modified }| Listed { key, size_bytes: size, modified_ms: parse_ms(&last_modified) };
    Ok(ListPage {
        objects: page.contents.into_iter().map(listed).collect(),
        next: page.next_continuation_token.filter(|_| page.is_truncated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_as_they_are() {
        let page = list_page(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
              <Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>id:x/a&apos;b&amp;%20//</Key><LastModified>\
              2026-11-26T08:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size><Owner><ID>o</ID></Owner></Contents>\
              <KeyCount>2</KeyCount><Contents><Key>y</Key><Size>0</Size></Contents>\
              <NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
        );
        let page = page.unwrap();
        assert_eq!(page.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["id:x/a'b&%20//", "y"]);
        assert_eq!((page.objects[0].size_bytes, page.objects[0].modified_ms), (7, 1_795_680_000_000));
        assert_eq!(page.next.as_deref(), Some("t"));
        assert!(list_page(b"<ListBucketResult/>").unwrap().objects.is_empty());
        for bad in ["", "<ListBucketResult>", "<ListBucketResult><Contents/></ListBucketResult>", "no xml"] {
            assert!(matches!(list_page(bad.as_bytes()), Err(Failure::Rejected(_))), "{bad}");
        }
    }
}
