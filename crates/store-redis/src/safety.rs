//! Would this server lose what it is given? Decided from what INFO says of it.

use std::collections::HashMap;

/// The oldest version that has what the scripts and pushes need: shard channels, and time that stands still in a script.
const OLDEST: (u64, u64) = (7, 0);
/// From so full on, it is said.
const FULL_PERCENT: u64 = 90;

/// What the server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    fields: HashMap<String, String>,
}

/// What to think of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// It must not be used.
    pub(crate) refusals: Vec<String>,
    /// It may be used, and somebody should act.
    pub(crate) warnings: Vec<String>,
}

impl ServerInfo {
    /// Reads the text of INFO.
    pub(crate) fn parse(text: &str) -> Self {
        let field = |line: &str| line.trim_end().split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { fields: text.lines().filter_map(field).collect() }
    }

    fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Changes with every start of the server.
    pub(crate) fn run_id(&self) -> &str {
        self.get("run_id")
    }

    /// Is it still reading its data?
    pub(crate) fn is_loading(&self) -> bool {
        self.get("loading") == "1"
    }

    /// Judges it.
    pub(crate) fn findings(&self) -> Findings {
        let mut found = Findings::default();
        let version = self.get("redis_version");
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if (major, minor) < OLDEST {
            found.refusals.push(format!("its version is {version:?}; use Redis 7.0 or newer, or Valkey"));
        }
        match self.get("maxmemory_policy") {
            policy if policy.starts_with("allkeys-") => found
                .refusals
                .push(format!("`maxmemory-policy` is {policy}, with which it drops edits when it is full; set it to noeviction")),
            "noeviction" => {}
            policy if policy.starts_with("volatile-") => {}
            policy => found.warnings.push(format!("`maxmemory-policy` is {policy:?}, which is not known; noeviction is safe")),
        }
        if self.get("aof_enabled") != "1" {
            found.warnings.push(
                "`appendonly` is off: edits that are not compacted yet are lost when it is killed; set it to yes".to_owned(),
            );
        } else if self.get("aof_last_write_status") != "ok" {
            found.warnings.push("it could not write its append-only file; look at its disk".to_owned());
        }
        let (used, most) = (self.number("used_memory"), self.number("maxmemory"));
        if most > 0 && used.saturating_mul(100) >= most.saturating_mul(FULL_PERCENT) {
            found.warnings.push(format!(
                "{used} of `maxmemory` {most} bytes are used; at the bound it refuses edits: give it more memory or compact faster"
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(changes: &[(&str, &str)]) -> ServerInfo {
        let mut info = ServerInfo::parse(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nmaxmemory_policy:noeviction\r\nmaxmemory:0\r\nused_memory:100\r\n\
             aof_enabled:1\r\naof_last_write_status:ok\r\nloading:0\r\n",
        );
        for (name, value) in changes {
            info.fields.insert((*name).to_owned(), (*value).to_owned());
        }
        info
    }

    #[test]
    fn a_safe_server_passes() {
        assert_eq!(info(&[]).findings(), Findings::default());
        assert_eq!(info(&[("redis_version", "8.2.1"), ("maxmemory_policy", "volatile-lru")]).findings(), Findings::default());
        assert_eq!(info(&[("maxmemory", "1000")]).findings(), Findings::default());
        assert_eq!(info(&[]).run_id(), "abc");
    }

    #[test]
    fn what_loses_edits_is_refused() {
        for bad in [("maxmemory_policy", "allkeys-lru"), ("maxmemory_policy", "allkeys-random"), ("redis_version", "6.2.14")] {
            assert_eq!(info(&[bad]).findings().refusals.len(), 1, "{bad:?}");
        }
        assert_eq!(ServerInfo::parse("garbage").findings().refusals.len(), 1, "no version is no version");
    }

    #[test]
    fn what_somebody_should_see_to_is_said() {
        for odd in [
            &[("maxmemory_policy", "sometimes")][..],
            &[("aof_enabled", "0")],
            &[("aof_last_write_status", "err")],
            &[("maxmemory", "111")],
        ] {
            let found = info(odd).findings();
            assert_eq!((found.refusals.len(), found.warnings.len()), (0, 1), "{odd:?}: {found:?}");
        }
    }
}
