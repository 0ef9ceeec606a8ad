//! Options that cannot be used are refused with what to do, and no text holds a secret.

use yhub_store::AssetStoreError;
use yhub_store_s3::{S3Assets, S3ClientKind, S3Options};

use crate::{CLIENTS, options};

fn refused(options: S3Options) -> String {
    match S3Assets::new(options) {
        Err(error @ AssetStoreError::Refused { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the options are taken"),
    }
}

#[test]
fn what_cannot_be_used_is_refused_at_once() {
    for client in CLIENTS {
        for endpoint in ["", "localhost:9000", "ftp://h", "http://", "http://h/path", "http://user:hunter2@h"] {
            let text = refused(options(client, endpoint));
            assert!(text.contains("write https://host"), "{text}");
        }
        let small = S3Options { part_bytes: 1 << 20, ..options(client, "http://h") };
        assert!(refused(small).contains("choose larger parts"));
    }
    let virtual_host = S3Options { path_style: false, ..options(S3ClientKind::Rusoto, "http://h") };
    assert!(refused(virtual_host).contains("path style"));
    let ca_file = S3Options { ca_file: Some("/nowhere/ca.pem".into()), ..options(S3ClientKind::ObjectStore, "https://h") };
    assert!(refused(ca_file).contains("/nowhere/ca.pem"));
}

#[test]
fn secrets_are_in_no_text() {
    let options = S3Options::new("http://h", "bucket", "key", "hunter2".into());
    let shown = format!("{options:?}");
    assert!(shown.contains("bucket") && !shown.contains("hunter2"), "{shown}");
}
