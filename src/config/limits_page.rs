//! The page about all bounds, made of [`Bound`] and of the defaults, so that it cannot tell another story.
//!
//! `docs/LIMITS.md` is the output of [`limits_page`]; a test compares them.

use yhub_core::limiting::{Answer, Bound};

use super::{Config, orgs::differs_by_org};

const HEAD: &str = "\
# Limits

What one client may take, what happens at the bound, and where one sees that it was reached. This page is made of the code (`yhub config
limits`). What the hub itself holds and waits for is bounded, too: see *Queues and bounds* in [ARCHITECTURE.md](ARCHITECTURE.md).

Of what is bounded by a rate or by how much is open, 0 is no bound. `YHUB__LIMITS__MESSAGES_PER_SECOND` sets `limits.messages_per_second`.

| what | key | default | at the bound | `yhub_limited_total{bound=…}` |
|---|---|---|---|---|
";

const TAIL: &str = "
Keys with a star may differ by org, in `limits.orgs`: `acme?connections_per_org=100&max_document_bytes=1000000`, one text an org, the
org as it stands in paths; in the environment `YHUB__LIMITS__ORGS`, with commas between them.

- **Addresses.** An address is the peer's, or, behind a proxy that `server.trusted_proxies` names, what that says in
  `server.trusted_header`. Of IPv6 a network /64 is one address. Behind a proxy that is not named everybody is one address.
- **Users** are told apart within an org. Who is anonymous is not, and has no bound as a user.
- **Rates** are kept by a bucket: what is not used of `limits.burst_seconds` is there at once. 429 says in `Retry-After` after how many
  seconds there is room again. Bytes that an address or a user has saved up are read at four times the rate, so that others notice
  little of them.
- **Not read** means that the socket is left alone: the client's own network holds back what it sends, nothing is lost, and no other
  client notices. A message that is longer than the rate is taken, and waited for afterwards. Those who share a rate and have something
  to say are read in turn, a message or 64 KiB each, however many and however loud the others are.
- **Answers have a price**: one to a sync counts as much as a message of a 16th of the document's length, one about who is there as a
  16th of what is said.
- **Presence** beyond its rate waits in the connection. Of each client id the newest state takes the place of the older one.
- **Client ids** beyond the bound are ignored in a connection; a request that tells of more at once is refused with 400.
- **Addresses, users and rooms** are told apart 65,536 at a time; their rates outlive their connections, and who is as if they had never
  asked is forgotten. When all are in use, newcomers share one rate.
- **Many behind one address** (an office, a school) share what one address may send. Where nobody has to say who they are, it is all that
  holds one of them off the others; so give users names, or raise it.
- **The size of a document** is what the last load or fold has found. Updates since then count when they are folded, which is
  asked for when they might matter; so a document may exceed its bound by what is on its way, and by a 64th. What only deletes is taken.
- **Records** of requests with an `Idempotency-Key` are kept for a day, and take about 512 bytes each. Half of what they may take is there
  at once, the other half comes in evenly within a day, so that no node ever has more kept than is said, by default those of half a
  million requests; of one user 65,536 at once, and then three every four seconds. Who asks again under a key is answered all the same.
  An embedded hub has 64 MiB for them, and lets those go that end first.
- **Answers about histories** are kept for a few seconds, for who asks the same, unless they are longer than 1 MiB. Of a node 2 MiB a
  second are kept, of one user 512 KiB, of both those of ten seconds at once. What is beyond is answered, and not kept.
- **Loads and histories** wait in turn, for at most `room.load_timeout_ms`; `limits.concurrent_loads` and
  `limits.concurrent_histories` say how many are worked on. Those of documents of 8 MiB and more wait in a line of their own, of the
  same length, for one of two turns at long documents, in the same time; they hold none of the others meanwhile. Behind that, `compute.queue` and `compute.threads` bound the computing itself.
- **Mounted** in somebody's actix-web server, `server.head_timeout_ms` is not looked at: that server has `client_request_timeout` and
  `keep_alive`, and `max_connections` of its own. `limits.http_connections_per_address`, `limits.http_connections_per_second` and
  `server.write_timeout_ms` hold there if it is given `yhub::on_connect`, the last for answers of the hub. The documentation of `yhub::scope` has all of it.
- **Failed attempts** are made with what never was good. Neither who shows nothing nor who comes with what has expired has guessed.
- **Metrics** are told where `server.metrics` says, and nowhere else: on the public port they would say to everybody which bound to push at.
";

/// The page.
pub fn limits_page() -> String {
    let defaults = serde_json::to_value(Config::default()).expect("a configuration is a map of plain values");
    let mut page = HEAD.to_owned();
    for bound in Bound::ALL {
        let (section, name) = bound.key().split_once('.').expect("a bound is set by a key of a section");
        let value = &defaults[section][name];
        let value = match value.as_u64() {
            Some(0) => "none".to_owned(),
            Some(number) if name.ends_with("_ms") => format!("{} s", number / 1_000),
            Some(number) if name.contains("bytes") && number % 1_024 == 0 => bytes(number),
            _ => value.to_string(),
        };
        let star = if differs_by_org(name) { " *" } else { "" };
        let answer = match bound.answer() {
            Answer::Status(status @ (429 | 503)) => format!("{status}, `Retry-After`"),
            answer => answer.to_string(),
        };
        page.push_str(&format!("| {} | `{}`{star} | {value} | {answer} | `{}` |\n", bound.about(), bound.key(), bound.name()));
    }
    page + TAIL
}

fn bytes(number: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| number.is_multiple_of(1 << shift));
    unit.map_or_else(|| number.to_string(), |(shift, unit)| format!("{} {unit}", number >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SCHEMA;

    #[test]
    fn the_committed_page_is_the_generated_one() {
        let committed = include_str!("../../docs/LIMITS.md");
        assert_eq!(committed, limits_page(), "run `cargo run -- config limits > docs/LIMITS.md`");
    }

    #[test]
    fn every_bound_is_set_by_a_key_that_exists() {
        for bound in Bound::ALL {
            let (section, name) = bound.key().split_once('.').unwrap();
            let fields = SCHEMA.iter().find(|info| info.key == section).unwrap().fields;
            assert!(fields.iter().any(|field| field.name == name), "{}", bound.key());
        }
    }
}
