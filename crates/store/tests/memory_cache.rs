//! Responses in memory run every case of the suite.

use std::sync::Arc;

use yhub_core::ManualTime;
use yhub_store::{MemoryCache, testsuite::ResponseCacheRig};

async fn rig() -> ResponseCacheRig {
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    let cache = Arc::new(MemoryCache::new(256 << 20, time.clone()));
    ResponseCacheRig { cache, control: time, keep: Box::new(()) }
}

yhub_store::response_cache_conformance!(rig());
