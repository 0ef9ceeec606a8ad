//! What has let a session in, and is asked again while the session is open.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use yhub_core::{
    Checked, Freshness,
    access::{Identity, Level},
};

/// An answer that does not come within so long does not come.
pub(crate) const CHECK_WITHIN: Duration = Duration::from_secs(20);

/// What somebody has shown to be let in to one room. Times in what it answers are milliseconds since 1970.
pub trait Pass: Send + Sync + 'static {
    /// What they may do now.
    fn check(self: Arc<Self>, freshness: Freshness) -> BoxFuture<'static, Checked>;

    /// They show another token: what they may do with it, if it is theirs. From then on it counts instead.
    fn renew(self: Arc<Self>, token: String) -> BoxFuture<'static, Checked>;

    /// Who they are now, if that may be otherwise than when they came in: another token may bring other claims.
    fn who(&self) -> Option<Arc<Identity>> {
        None
    }
}

/// Where nobody has to show anything.
#[derive(Clone, Copy, Debug)]
pub struct OpenPass(pub Level);

impl Pass for OpenPass {
    fn check(self: Arc<Self>, _: Freshness) -> BoxFuture<'static, Checked> {
        Box::pin(std::future::ready(Checked::May { level: self.0, expires_ms: None }))
    }

    fn renew(self: Arc<Self>, _: String) -> BoxFuture<'static, Checked> {
        self.check(Freshness::Fresh)
    }
}
