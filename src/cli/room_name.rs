//! How a room is written on the command line, and in what commands print: `ORG/DOCID@BRANCH`.
//!
//! The branch may be left out with its `@`; it is then `main`. What is printed can be given back. Logs write rooms in the same
//! way, but without escapes.

use std::{fmt::Write, str::FromStr};

use serde_json::{Value, json};
use yhub_core::{RoomId, decode_component};

/// What `--help` says about rooms.
pub(super) const HELP: &str = "\
A room is written ORG/DOCID or ORG/DOCID@BRANCH; without a branch it is `main`. The branch stands behind the last `@`, so a \
docid with an `@` in it needs its branch: acme/ann@example.org@main. Escapes as in a URL can stand for every character, and \
must for `/` and `%` in a name: acme/a%2Fb.";

/// A room as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoomName(pub(super) RoomId);

impl FromStr for RoomName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what| format!("{text:?} is no room: {what}");
        let (org, rest) = text.split_once('/').ok_or_else(|| wrong("write ORG/DOCID or ORG/DOCID@BRANCH"))?;
        let (docid, branch) = rest.rsplit_once('@').unwrap_or((rest, RoomId::MAIN));
        if rest.contains('/') {
            return Err(wrong("it has more than one `/`; write %2F for one that belongs to a name"));
        }
        let decode =
            |part| decode_component(part).ok_or_else(|| wrong("a `%` in it is no escape; write %25 for one that is meant"));
        Ok(Self(RoomId::new(&decode(org)?, &decode(docid)?, &decode(branch)?)))
    }
}

/// The room as [`RoomName`] reads it, on one line, with nothing in it that a shell would take for its own.
pub(super) fn written(room: &RoomId) -> String {
    format!("{}/{}@{}", escape(room.org()), escape(room.docid()), escape(room.branch()))
}

/// The room in JSON: as it is written, and in its parts.
pub(super) fn in_json(room: &RoomId) -> Value {
    json!({ "name": written(room), "org": room.org(), "docid": room.docid(), "branch": room.branch() })
}

/// Letters and digits of every script stay, and `-`, `_` and `.`; but for a `-` at the start, which would look like a flag.
fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for (at, char) in part.char_indices() {
        if char.is_alphanumeric() || matches!(char, '_' | '.') || (char == '-' && at > 0) {
            escaped.push(char);
            continue;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            write!(escaped, "%{byte:02X}").expect("a String takes everything");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use yhub_testkit::Random;

    use super::*;

    fn read(text: &str) -> Result<RoomId, String> {
        text.parse::<RoomName>().map(|name| name.0)
    }

    #[test]
    fn rooms_are_read_with_and_without_a_branch() {
        for (text, org, docid, branch) in [
            ("acme/notes", "acme", "notes", "main"),
            ("acme/notes@draft", "acme", "notes", "draft"),
            ("acme/ann@example.org@main", "acme", "ann@example.org", "main"),
            ("acme/ann%40example.org", "acme", "ann@example.org", "main"),
            ("a%2Fb/c%2fd@e%2Ff", "a/b", "c/d", "e/f"),
            ("größe/文書", "größe", "文書", "main"),
            ("100%25/ @", "100%", " ", ""),
            ("/", "", "", "main"),
        ] {
            assert_eq!(read(text), Ok(RoomId::new(org, docid, branch)), "{text}");
        }
        for (text, words) in [
            ("", "write ORG/DOCID"),
            ("notes", "write ORG/DOCID"),
            ("acme/a/b", "more than one `/`"),
            ("acme/a@b/c", "more than one `/`"),
            ("acme/100%", "write %25"),
            ("acme/%FF", "write %25"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("{text:?} is no room: ")) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_plain_and_reads_as_the_same_room() {
        assert_eq!(written(&RoomId::new("acme", "notes", "main")), "acme/notes@main");
        assert_eq!(written(&RoomId::new("-a-", "größe/文書", "a b\n$(x)")), "%2Da-/größe%2F文書@a%20b%0A%24%28x%29");
        let alphabet: Vec<char> = "ab-_.~%/@ ?*'\"$\\\n\0\u{7f}ü文\u{202e}\u{1f600}".chars().collect();
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let mut part = || -> String { (0..random.below(6)).map(|_| alphabet[random.below(alphabet.len())]).collect() };
            let room = RoomId::new(&part(), &part(), &part());
            let text = written(&room);
            assert_eq!(read(&text), Ok(room), "{text:?} with seed {seed}");
            assert!(text.chars().all(|c| c.is_alphanumeric() || "-_.%/@".contains(c)), "{text:?} with seed {seed}");
            assert!(!text.starts_with('-'), "{text:?} with seed {seed}");
        }
    }
}
