//! The suite: each client, with all branches and with one.

use yhub_core::AssetId;
use yhub_store::{Branches, testsuite::AssetStoreRig};
use yhub_store_s3::S3ClientKind;

use crate::{open, options, server};

async fn rig(client: S3ClientKind, branches: Branches, key_prefix: &str) -> AssetStoreRig {
    let server = server().await;
    let mut options = options(client, &server.endpoint());
    (options.branches, options.key_prefix) = (branches.clone(), key_prefix.to_owned());
    let assets = std::sync::Arc::new(open(options).await);
    let prefix = key_prefix.len();
    let takes = move |id: &AssetId| {
        let key = id.to_string();
        branches.have(&id.room) && key.len() + prefix <= 1_024 && !key.split('/').any(|part| matches!(part, "." | ".."))
    };
    AssetStoreRig { assets, takes: Box::new(takes), keep: Box::new(server) }
}

mod object_store {
    use super::*;

    yhub_store::asset_store_conformance!(rig(S3ClientKind::ObjectStore, Branches::All, ""));
}

mod rusoto {
    use super::*;

    yhub_store::asset_store_conformance!(rig(S3ClientKind::Rusoto, Branches::All, ""));
}

mod object_store_of_main {
    use super::*;

    yhub_store::asset_store_conformance!(rig(S3ClientKind::ObjectStore, Branches::main(), "a//prefix%/"));
}

mod rusoto_of_main {
    use super::*;

    yhub_store::asset_store_conformance!(rig(S3ClientKind::Rusoto, Branches::main(), "a//prefix%/"));
}
