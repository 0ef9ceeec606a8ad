//! Secrets, and URLs that may hold one: what is shown of them, and what form they must have.

use std::{fmt, marker::PhantomData, net::Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::section::{Kind, Setting};

/// What stands in the place of a user and a password.
const HIDDEN: &str = "…";

/// A secret. Nothing of it is shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// For those who use it, not for texts.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is there anything, and not what is shown in its place?
    pub(crate) fn is_usable(&self) -> bool {
        !self.0.is_empty() && self.0 != HIDDEN
    }
}

impl From<&str> for SecretText {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for SecretText {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl Setting for Option<SecretText> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = "a text";
    const EXAMPLE: Option<&'static str> = Some("\"a secret\"");
    const IS_SECRET: bool = true;
}

/// What kind of server a URL leads to.
pub trait Service: Clone + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The schemes it may have.
    const SCHEMES: &'static [&'static str];
    /// Must the path be empty or a number?
    const NUMBERED: bool;
    /// What is expected, for error texts.
    const FORM: &'static str;
    /// A value for the default file, as TOML.
    const EXAMPLE: &'static str;
}

/// Redis, or what speaks like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServer {}

impl Service for RedisServer {
    const SCHEMES: &'static [&'static str] = &["redis", "rediss"];
    const NUMBERED: bool = true;
    const FORM: &'static str = "a URL of the form redis://user:password@host:6379/0, or rediss:// for TLS";
    const EXAMPLE: &'static str = "\"rediss://:password@redis.example:6379/0\"";
}

/// PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresServer {}

impl Service for PostgresServer {
    const SCHEMES: &'static [&'static str] = &["postgres", "postgresql"];
    const NUMBERED: bool = false;
    const FORM: &'static str = "a URL of the form postgres://user:password@host:5432/database";
    const EXAMPLE: &'static str = "\"postgres://yhub:password@postgres.example:5432/yhub\"";
}

/// The URL of a server. Shown, also for debugging, without whatever may be secret in it: only scheme, host, port and path.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl<S>(String, PhantomData<S>);

impl<S: Service> SecretUrl<S> {
    /// Everything, the password too. For those who connect, not for texts.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Has it the form that it must have?
    pub(crate) fn is_well_formed(&self) -> bool {
        self.parts().is_some()
    }

    /// The scheme, if the form is right.
    pub(crate) fn scheme(&self) -> Option<&str> {
        Some(self.parts()?.scheme)
    }

    /// The path without its slash: the name or number of the database, empty if none is given.
    pub(crate) fn database(&self) -> Option<&str> {
        Some(self.parts()?.path)
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let parts = Parts::of(&self.0)?;
        let numbered = !S::NUMBERED || parts.path.bytes().all(|digit| digit.is_ascii_digit());
        (S::SCHEMES.contains(&parts.scheme) && numbered).then_some(parts)
    }
}

impl<S> From<&str> for SecretUrl<S> {
    fn from(url: &str) -> Self {
        Self(url.to_owned(), PhantomData)
    }
}

impl<S> From<String> for SecretUrl<S> {
    fn from(url: String) -> Self {
        Self(url, PhantomData)
    }
}

impl<S: Service> fmt::Display for SecretUrl<S> {
    /// `redis://…@host:6379/0`. Of a text that has another form nothing is shown: what it holds where is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Parts { scheme, has_user, host, path }) = self.parts() else { return f.write_str(HIDDEN) };
        write!(f, "{scheme}://")?;
        if has_user {
            write!(f, "{HIDDEN}@")?;
        }
        f.write_str(host)?;
        if path.is_empty() { Ok(()) } else { write!(f, "/{path}") }
    }
}

impl<S: Service> fmt::Debug for SecretUrl<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S: Service> Serialize for SecretUrl<S> {
    /// As it is shown: what is written down is for people.
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, S> Deserialize<'de> for SecretUrl<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl<S: Service> Setting for Option<SecretUrl<S>> {
    const KIND: Kind = Kind::Text;
    const EXPECTS: &'static str = S::FORM;
    const EXAMPLE: Option<&'static str> = Some(S::EXAMPLE);
    const IS_SECRET: bool = true;
}

/// The parts of a URL that may be shown.
struct Parts<'a> {
    scheme: &'a str,
    has_user: bool,
    /// With the port, if there is one.
    host: &'a str,
    path: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` where it is not certain which part is what. Everything before the last `@` is taken for user and password,
    /// although a password with `/`, `?` or `#` in it should have been escaped: who forgot that shall not see it in a log.
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (has_user, rest) = match rest.rsplit_once('@') {
            Some((_, rest)) => (true, rest),
            None => (false, rest),
        };
        // A query may hold a password too.
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        (is_host(host) && !path.contains('/')).then_some(Self { scheme, has_user, host, path })
    }
}

/// Is it a host with or without a port: `name`, `name:1`, `[::1]:1`?
fn is_host(text: &str) -> bool {
    split_port(text).is_some()
}

/// Is it a host, with or without a port?
pub(crate) fn is_host_with_optional_port(text: &str) -> bool {
    is_host(text)
}

/// Is it a host with a port?
pub(crate) fn is_host_with_port(text: &str) -> bool {
    split_port(text).is_some_and(|(_, port)| port.is_some())
}

fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match text.rsplit_once(':') {
        // The colons in brackets belong to an address.
        Some((name, port)) if !port.contains(']') => (name, Some(port.parse().ok().filter(|&port| port > 0)?)),
        _ => (text, None),
    };
    let name_fits = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')),
    };
    name_fits.then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(url: &str) -> SecretUrl<RedisServer> {
        url.into()
    }

    fn postgres(url: &str) -> SecretUrl<PostgresServer> {
        url.into()
    }

    #[test]
    fn scheme_host_port_and_database_are_shown() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost"),
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            ("rediss://:hunter2@10.0.0.1:6380/15", "rediss://…@10.0.0.1:6380/15"),
            ("redis://ann:hunter2@[::1]:6379/", "redis://…@[::1]:6379"),
            ("redis://ann@localhost", "redis://…@localhost"),
        ] {
            assert_eq!((redis(url).to_string(), redis(url).is_well_formed()), (shown.to_owned(), true));
            assert_eq!(format!("{:?}", redis(url)), shown);
        }
        assert_eq!(postgres("postgresql://u:hunter2@db/yhub?sslmode=require").to_string(), "postgresql://…@db/yhub");
    }

    #[test]
    fn no_part_of_a_password_is_shown_wherever_it_stands_and_however_wrong_the_url_is() {
        for url in [
            "hunter2",
            "redis:hunter2",
            "redis://:hunter2",
            "redis://:hunter2@",
            "redis://:hunter2@localhost",
            "redis://:hunter2/x@localhost",
            "redis://:hunter2?x@localhost",
            "redis://:hunter2#x@localhost",
            "redis://:a@hunter2@localhost",
            "redis://:a/hunter2@localhost",
            "redis://localhost:hunter2",
            "redis://localhost/hunter2",
            "redis://localhost/0?password=hunter2",
            "redis://localhost/0#hunter2",
            "https://:hunter2@localhost",
            "postgres://u:hunter2@db/yhub",
            "postgres://db/yhub?user=u&password=hunter2",
            "postgres://db/a/hunter2",
            "postgres://u:a@hunter2/x@localhost",
            "postgres://u:hunter2@db:1:2/yhub",
            "host=db password=hunter2",
            "hunter2://localhost",
            "",
        ] {
            for shown in [
                redis(url).to_string(),
                postgres(url).to_string(),
                format!("{:?} {:?}", redis(url), postgres(url)),
                serde_json::to_string(&(redis(url), postgres(url))).unwrap(),
            ] {
                assert!(!shown.contains("hunter2"), "{url}: {shown}");
            }
        }
    }

    #[test]
    fn nothing_is_shown_of_a_secret() {
        let secret = SecretText::from("hunter2");
        assert_eq!(format!("{secret:?} {}", serde_json::to_string(&secret).unwrap()), "… \"…\"");
        assert_eq!(serde_json::from_str::<SecretText>("\"hunter2\"").unwrap().expose(), "hunter2");
        assert!(secret.is_usable() && !SecretText::from("").is_usable() && !SecretText::from("…").is_usable());
    }

    #[test]
    fn other_forms_are_told_apart() {
        for url in ["", "localhost", "redis://", "redis://h:0", "redis://h:99999", "redis://h/x", "http://h", "redis://h o"] {
            assert!(!redis(url).is_well_formed(), "{url}");
        }
        assert!(!postgres("postgres:///yhub").is_well_formed());
        assert_eq!(redis("rediss://h/3").scheme(), Some("rediss"));
        assert_eq!(redis("rediss://h/3").database(), Some("3"));
        assert_eq!(postgres("postgres://h").database(), Some(""));
    }
}
