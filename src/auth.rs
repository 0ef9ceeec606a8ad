//! The ways to show who one is, as the configuration names them.

use std::sync::Arc;

use yhub_auth::{Authenticator, Method, Open, OptionsError};
use yhub_core::TimeSource;

use crate::{Config, doorkeeper::everyone};

/// What the configuration says.
pub(crate) fn authenticator(config: &Config, time: Arc<dyn TimeSource>) -> Result<Authenticator, OptionsError> {
    Authenticator::new(vec![Method::Open(Open { access: everyone(config) })], time)
}
