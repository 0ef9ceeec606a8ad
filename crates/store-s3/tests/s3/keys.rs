//! Objects have exactly the names that y/hub gives them, whoever writes.

use yhub_core::{AssetId, AssetIdKind, RoomId};
use yhub_store::{AssetStore, Stored, StoredName};

use crate::{BUCKET, CLIENTS, asset, connect, open, options, server};

/// Ids that make odd keys.
fn odd() -> Vec<AssetId> {
    let parts =
        ["", "a b", "a/b", "%2F", "%252F", "a+b", "a=b&c", "?#", "!*'()~", "é", "文档🦀", "\n\0", "<&>\"", "...", ":", "\\"];
    let id = |kind, org, docid, t| AssetId { kind, room: RoomId::new(org, docid, RoomId::MAIN), t: String::from(t) };
    parts
        .into_iter()
        .flat_map(|part| {
            [
                id(AssetIdKind::YDoc { gc: true }, part, "d", "1-0"),
                id(AssetIdKind::ContentMap, "o", part, "1-0"),
                id(AssetIdKind::ContentIds, "o", "d", part),
                id(AssetIdKind::YDoc { gc: false }, part, part, part),
            ]
        })
        .collect()
}

#[tokio::test]
async fn the_name_of_an_object_is_its_id_and_nothing_else() {
    for client in CLIENTS {
        for key_prefix in ["", "of/a hub//%/"] {
            let server = server().await;
            let mut options = options(client, &server.endpoint());
            options.key_prefix = key_prefix.to_owned();
            let assets = open(options).await;
            let mut expected: Vec<String> = odd().iter().map(|id| format!("{key_prefix}{id}")).collect();
            for id in odd() {
                assert_eq!(assets.store(&id, &asset(9)).await.unwrap(), Stored::Here, "{id}");
                assert_eq!(server.get(BUCKET, &format!("{key_prefix}{id}")), Some(asset(9)), "{id} by {client:?}");
            }
            expected.sort();
            expected.dedup();
            assert_eq!(server.keys(BUCKET).unwrap(), expected, "{client:?}");
        }
    }
}

#[tokio::test]
async fn each_client_reads_lists_and_deletes_what_the_other_wrote() {
    let server = server().await;
    let [one, other] = CLIENTS;
    for (writer, reader) in [(one, other), (other, one)] {
        let (writer, reader) = (connect(writer, &server).await, connect(reader, &server).await);
        for (n, id) in odd().iter().enumerate() {
            writer.store(id, &asset(n)).await.unwrap();
            assert_eq!(reader.retrieve(id).await.unwrap(), Some(asset(n)), "{id}");
        }
        let big = asset(20 << 20);
        writer.store(&odd()[0], &big).await.unwrap();
        assert!(reader.retrieve(&odd()[0]).await.unwrap() == Some(big));
        let listed = reader.list(None, None, 1_000).await.unwrap().items;
        assert!(odd().iter().all(|id| listed.iter().any(|object| object.name == StoredName::Asset(id.clone()))));
        for id in odd() {
            reader.delete(&id).await.unwrap();
            assert_eq!(writer.retrieve(&id).await.unwrap(), None, "{id}");
        }
        assert_eq!(server.keys(BUCKET).unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn what_others_keep_in_the_bucket_is_not_listed_and_not_taken_for_ours() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        for key in ["backup.tar", "id", "idx:1"] {
            server.put(BUCKET, key, "x");
        }
        assert!(assets.list(None, None, 10).await.unwrap().items.is_empty());
        // What begins as ours and is not is shown, so that somebody looks.
        server.put(BUCKET, "id:ydoc:v9/o/d/main/1/1-0", "x");
        let listed = assets.list(None, None, 10).await.unwrap().items;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].name, StoredName::Other("id:ydoc:v9/o/d/main/1/1-0".into()));
        assert_eq!(listed[0].size_bytes, 1);
    }
}
