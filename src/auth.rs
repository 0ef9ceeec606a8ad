//! Configuration → who is asked who somebody is and what they may do.

use std::sync::Arc;

use yhub_auth::{
    Authenticator, Callback, CallbackOptions, Jwks, JwksOptions, Jwt, JwtKeys, JwtOptions, Method, Open, OptionsError, Secret,
};
use yhub_core::{TimeSource, access::Access};

use crate::{
    Config,
    config::{self, AuthMode, KeySource},
};

/// The methods of `auth.mode`, in order. `everyone` is what somebody may do who does not have to say who they are.
///
/// [`Authenticator::keep_fresh`] is to be run beside the server.
///
/// # Errors
/// What [`Config::validate`] finds in keys and addresses, and TLS for which the system or a CA file trusts nobody.
pub(crate) fn authenticator(config: &Config, everyone: Access, time: &Arc<dyn TimeSource>) -> anyhow::Result<Authenticator> {
    let method = |mode| {
        Ok(match mode {
            AuthMode::Open => Some(Method::Open(Open { access: everyone })),
            AuthMode::Jwt => Some(Method::Jwt(Box::new(jwt(&config.jwt, time)?))),
            AuthMode::Callback => Some(Method::Callback(callback(&config.auth_callback, time)?)),
            // Looked at before these are asked.
            AuthMode::Token => None,
        })
    };
    let methods = config.auth.mode.iter().filter_map(|mode| method(mode).transpose()).collect::<anyhow::Result<_>>()?;
    Ok(Authenticator::new(methods, time.clone())?)
}

fn jwt(section: &config::Jwt, time: &Arc<dyn TimeSource>) -> anyhow::Result<Jwt> {
    let keys = match section.keys().map_err(|problem| anyhow::anyhow!("{problem}"))? {
        KeySource::Keys(keys) => JwtKeys::Fixed(keys),
        KeySource::Url => JwtKeys::Published(Arc::new(jwks(section, time)?)),
    };
    let options = JwtOptions {
        issuers: section.issuers.clone(),
        audiences: section.audiences.clone(),
        leeway: section.leeway_ms.duration(),
        max_lifetime: Some(section.max_lifetime_ms.duration()).filter(|most| !most.is_zero()),
        user_claim: Some(section.user_claim.clone()).filter(|name| !name.is_empty()),
        grants_claim: section.grants_claim.clone(),
    };
    Ok(Jwt::new(keys, options, time.clone()))
}

fn jwks(section: &config::Jwt, time: &Arc<dyn TimeSource>) -> Result<Jwks, OptionsError> {
    let options = JwksOptions {
        url: section.jwks_url.clone(),
        allow_http: section.jwks_allow_http,
        ca_file: section.jwks_ca_file.clone(),
        timeout: section.jwks_timeout_ms.duration(),
        refresh: section.jwks_refresh_ms.duration(),
        min_interval: section.jwks_min_interval_ms.duration(),
        max_stale: section.jwks_max_stale_ms.duration(),
    };
    Jwks::new(options, time.clone())
}

fn callback(section: &config::AuthCallback, time: &Arc<dyn TimeSource>) -> anyhow::Result<Callback> {
    let options = CallbackOptions {
        url: section.url.clone(),
        form: section.form.into(),
        secret: section.secret.as_ref().map(|secret| Secret::new(secret.expose())).transpose()?,
        allow_http: section.allow_http,
        ca_file: section.ca_file.clone(),
        timeout: section.timeout_ms.duration(),
        ttl: section.ttl_ms.duration(),
        most_kept: section.most_kept,
        at_once: section.at_once,
        // At most a thousand: a bound of the key.
        failures: u32::try_from(section.breaker_failures).unwrap_or(u32::MAX),
        pause: section.breaker_pause_ms.duration(),
    };
    Ok(Callback::new(options, time.clone())?)
}

#[cfg(test)]
mod tests {
    use yhub_auth::AuthError;
    use yhub_core::{Freshness, SystemClock, access::Target};

    use super::*;

    fn hub(change: impl FnOnce(&mut Config)) -> anyhow::Result<Authenticator> {
        let mut config = Config::default();
        change(&mut config);
        config.validate()?;
        let time: Arc<dyn TimeSource> = Arc::new(SystemClock);
        authenticator(&config, Access::ADMIN, &time)
    }

    #[tokio::test]
    async fn the_methods_are_those_of_the_configuration_in_their_order() {
        let all = hub(|config| {
            config.auth.mode = vec![AuthMode::Callback, AuthMode::Jwt, AuthMode::Open].into();
            config.auth.everyone = Some(config::Everyone::MayRead);
            config.jwt.secret = Some("0123456789abcdef0123456789abcdef".into());
            config.auth_callback.url = "http://127.0.0.1:1/auth".into();
            config.auth_callback.secret = Some("hunter2".into());
        });
        assert_eq!(format!("{:?}", all.unwrap()), r#"Authenticator { methods: ["callback", "jwt", "open"], .. }"#);
        let open = hub(|_| {}).unwrap();
        let caller = open.authenticate(None, Target::Hub, Freshness::Cached).await.unwrap();
        let allowed = open.access(&caller, Target::Hub, None, Freshness::Cached).await.unwrap();
        assert_eq!(allowed.access, Access::ADMIN);
        let published = hub(|config| {
            config.auth.mode = AuthMode::Jwt.into();
            config.jwt.jwks_url = "http://127.0.0.1:1/keys".into();
        });
        let missing = published.unwrap().authenticate(None, Target::Hub, Freshness::Cached).await;
        assert_eq!(missing.unwrap_err(), AuthError::Missing);
    }
}
