//! Who is let in, and to what: the one door of WebSocket connections and of requests over HTTP.

use std::sync::Arc;

use actix_http::RequestHead;
use yhub_actors::{OpenPass, Pass};
use yhub_core::{
    RoomId,
    access::{Access, Identity, Level, Purpose, Purposes, Right, Target, Via},
};

use crate::{Config, author::ANONYMOUS, http::HttpError};

/// Lets callers in, or says why not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doorkeeper(Arc<Rules>);

struct Rules {
    /// What everybody may do who has nothing to show; `None`: they may not come in.
    everyone: Option<Access>,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who they are.
    pub(crate) who: Arc<Identity>,
    /// When that is over, in milliseconds since 1970.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Doorkeeper {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(Rules { everyone: Some(everyone(config)) }))
    }

    /// Who sends this request for something at `place`. `user` is who they say they are where nobody has to show it.
    ///
    /// # Errors
    /// 401 if they show nothing or something that is not valid, 503 if that cannot be found out.
    pub(crate) async fn identify(
        &self,
        _head: &RequestHead,
        user: Option<&str>,
        _place: Target<'_>,
    ) -> Result<Caller, HttpError> {
        Ok(Caller { who: Arc::new(Identity::anonymous(user.unwrap_or(ANONYMOUS))), expires_at_ms: None })
    }

    /// What a caller may do at `place`, who must have `right` there.
    ///
    /// # Errors
    /// 403 if they have not, 503 if that cannot be found out.
    pub(crate) async fn access(&self, _caller: &Caller, _place: Target<'_>, right: Right) -> Result<Access, HttpError> {
        let access = self.0.everyone.unwrap_or_default();
        if access.allows(right) { Ok(access) } else { Err(HttpError::NoAccess { needs: right.name() }) }
    }

    /// In whose name a caller with `access` writes who asks to write in that of `user`.
    ///
    /// # Errors
    /// 403 if it is another's, and they may not.
    pub(crate) fn author(&self, caller: &Caller, access: Access, user: Option<String>) -> Result<String, HttpError> {
        let own = &caller.who.user;
        match user {
            Some(user) if user != *own && caller.who.via != Via::Open => {
                let needs = Right::Purpose(Purpose::ActAs);
                if access.allows(needs) { Ok(user) } else { Err(HttpError::NoAccess { needs: needs.name() }) }
            }
            _ => Ok(own.clone()),
        }
    }

    /// What lets a caller stay in a room.
    pub(crate) fn pass(&self, _caller: &Caller, _room: &RoomId, level: Level) -> Arc<dyn Pass> {
        Arc::new(OpenPass(level))
    }
}

/// What everybody may do while nobody has to show who they are.
fn everyone(config: &Config) -> Access {
    let named = config.auth.purposes.iter().filter_map(|name| Purpose::of_name(name));
    if config.auth.may_write() {
        Access { level: Level::Write, purposes: named.collect() }
    } else {
        let purposes: Purposes = named.filter(|purpose| !Right::Purpose(*purpose).changes()).collect();
        Access { level: Level::Read, purposes }
    }
}
