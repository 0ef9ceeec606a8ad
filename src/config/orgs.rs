//! `limits.orgs`: what differs for single orgs.
//!
//! One text an org, in the form of an address, `acme?connections_per_org=100&max_document_bytes=1000000`: it can be written in a file and
//! in the environment alike, and names an org as clients do in their paths, whatever characters it has.

use percent_encoding::percent_decode_str;

use super::{
    Limits,
    error::{Problem, nearest},
    section::Section,
};

/// The bounds that may differ.
const KEYS: [&str; 13] = [
    "connections_per_org",
    "connections_per_user",
    "connections_per_room",
    "messages_per_second",
    "message_bytes_per_second",
    "user_messages_per_second",
    "user_bytes_per_second",
    "room_messages_per_second",
    "room_bytes_per_second",
    "awareness_per_second",
    "awareness_bytes_per_second",
    "max_document_bytes",
    "rest_per_second_of_user",
];

/// May this bound differ by org?
pub(crate) fn differs_by_org(name: &str) -> bool {
    KEYS.contains(&name)
}

/// The bounds of each org of `limits.orgs`, or what is wrong with an entry.
pub(crate) fn org_limits(limits: &Limits) -> Vec<Result<(String, Limits), Problem>> {
    let mut seen: Vec<String> = Vec::new();
    let read = limits.orgs.iter().map(|entry| {
        let (org, own) = of_entry(limits, entry)?;
        if seen.contains(&org) {
            return Err(problem(&org, "has two entries", "write all of its bounds into one"));
        }
        seen.push(org.clone());
        Ok((org, own))
    });
    read.collect()
}

fn of_entry(limits: &Limits, entry: &str) -> Result<(String, Limits), Problem> {
    let (name, pairs) = entry.split_once('?').unwrap_or((entry, ""));
    let org = percent_decode_str(name).decode_utf8().unwrap_or_default().into_owned();
    if org.is_empty() || pairs.is_empty() {
        let what = format!("holds {entry:?}, which is no org with bounds");
        return Err(Problem::new(
            "limits.orgs",
            what,
            "write it like \"acme?connections_per_org=100&max_document_bytes=1000000\"",
        ));
    }
    let mut own = Limits { orgs: Vec::new(), ..limits.clone() };
    for pair in pairs.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(bound) = bound(&mut own, key) else {
            let what = format!("has a bound {key:?}, which is none that differs by org");
            let advice = match nearest(key, KEYS.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", KEYS.join(", ")),
            };
            return Err(problem(&org, &what, &advice));
        };
        let range = Limits::FIELDS.iter().find(|field| field.name == key).and_then(|field| field.range.clone());
        let range = range.unwrap_or(0..=u64::MAX);
        match value.parse::<usize>() {
            Ok(number) if range.contains(&(number as u64)) => *bound = number,
            _ => {
                let advice = format!("choose a number from {} to {}", range.start(), range.end());
                return Err(problem(&org, &format!("has `{key}` {value:?}"), &advice));
            }
        }
    }
    Ok((org, own))
}

fn bound<'a>(limits: &'a mut Limits, key: &str) -> Option<&'a mut usize> {
    Some(match key {
        "connections_per_org" => &mut limits.connections_per_org,
        "connections_per_user" => &mut limits.connections_per_user,
        "connections_per_room" => &mut limits.connections_per_room,
        "messages_per_second" => &mut limits.messages_per_second,
        "message_bytes_per_second" => &mut limits.message_bytes_per_second,
        "user_messages_per_second" => &mut limits.user_messages_per_second,
        "user_bytes_per_second" => &mut limits.user_bytes_per_second,
        "room_messages_per_second" => &mut limits.room_messages_per_second,
        "room_bytes_per_second" => &mut limits.room_bytes_per_second,
        "awareness_per_second" => &mut limits.awareness_per_second,
        "awareness_bytes_per_second" => &mut limits.awareness_bytes_per_second,
        "max_document_bytes" => &mut limits.max_document_bytes,
        "rest_per_second_of_user" => &mut limits.rest_per_second_of_user,
        _ => return None,
    })
}

fn problem(org: &str, what: &str, advice: &str) -> Problem {
    Problem::new("limits.orgs", format!("org {org:?} {what}"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[&str]) -> Vec<Result<(String, Limits), Problem>> {
        org_limits(&Limits { orgs: entries.iter().map(|entry| (*entry).to_owned()).collect(), ..Limits::default() })
    }

    #[test]
    fn an_org_has_its_own_bounds_and_the_others_beside() {
        let all = of(&["acme?connections_per_org=7&max_document_bytes=1000000", "a%2Fb%2C?awareness_per_second=3"]);
        let (org, limits) = all[0].as_ref().unwrap();
        assert_eq!((org.as_str(), limits.connections_per_org, limits.max_document_bytes), ("acme", 7, 1_000_000));
        assert_eq!(limits.messages_per_second, Limits::default().messages_per_second);
        let (org, limits) = all[1].as_ref().unwrap();
        assert_eq!((org.as_str(), limits.awareness_per_second), ("a/b,", 3));
        for key in KEYS {
            assert!(bound(&mut Limits::default(), key).is_some(), "{key}");
            assert!(Limits::FIELDS.iter().any(|field| field.name == key), "{key}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_org_and_the_key() {
        for (entries, expected) in [
            (&["acme?connections=1"][..], "org \"acme\" has a bound \"connections\""),
            (&["acme?max_document_byte=1"], "did you mean `max_document_bytes`?"),
            (&["acme?connections_per_user=many"], "org \"acme\" has `connections_per_user` \"many\"; choose a number from 0 to"),
            (&["acme?connections_per_user=9999999999"], "choose a number from 0 to 1000000"),
            (&["acme"], "holds \"acme\", which is no org with bounds"),
            (&["?connections_per_user=1"], "which is no org with bounds"),
            (&["a?connections_per_user=1", "a?connections_per_room=1"], "org \"a\" has two entries"),
        ] {
            let problem = of(entries).into_iter().find_map(Result::err).expect("it is wrong").to_string();
            assert!(problem.starts_with("`limits.orgs` ") && problem.contains(expected), "{problem}\nexpected: {expected}");
        }
    }
}
