//! What makes two failures alike, whatever the room.

/// A signature is at most so long, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 200;

/// More of a message is not looked at: it may quote a whole document.
const MAX_MESSAGE_BYTES: usize = 4096;

/// What failures of `class` that say `message` have in common: the class, and the message without what is one room's own.
///
/// Left out are quoted texts, words with a digit (numbers, clocks, UUIDs, hex), paths (rooms are written as `org/docid@branch`,
/// keys with colons inside), and long words of hexadecimal letters. Names of rooms that stand there bare and look like words
/// cannot be told apart from words: callers leave them out.
pub fn signature(class: &str, message: &str) -> String {
    let mut out = String::from(class);
    out.push(':');
    for word in without_quotes(cut(message, MAX_MESSAGE_BYTES)).split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric() && c != GAP);
        let kept = if is_own(core) { word.replacen(core, GAP_TEXT, 1) } else { word.to_owned() };
        // One gap stands for any number of them.
        if kept == GAP_TEXT && out.ends_with(GAP) {
            continue;
        }
        if out.len() + 1 + kept.len() > MAX_SIGNATURE_BYTES {
            break;
        }
        out.push(' ');
        out.push_str(&kept);
    }
    // A class of ours is one short word; this is for whatever else comes.
    cut(&out, MAX_SIGNATURE_BYTES).to_owned()
}

/// Stands for what was left out.
const GAP: char = '#';
const GAP_TEXT: &str = "#";

/// Is this word one room's own?
fn is_own(word: &str) -> bool {
    let is_hex = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_path = word.contains(['/', '@', '\\', '%']) || word.contains(':');
    !word.is_empty() && (is_hex || is_path || word.chars().any(char::is_numeric))
}

/// The text with every quoted part as a gap. A quote that is not closed takes the rest; an apostrophe within a word is none.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let opens = match c {
            '"' | '`' | '“' | '«' => true,
            '\'' | '‘' => !before.is_alphanumeric(),
            _ => false,
        };
        if opens {
            let closing = match c {
                '“' => '”',
                '«' => '»',
                '‘' => '’',
                same => same,
            };
            let mut escaped = false;
            for inside in chars.by_ref() {
                if inside == closing && !escaped {
                    break;
                }
                escaped = inside == '\\' && !escaped;
            }
            out.push(GAP);
        } else {
            out.push(c);
        }
        before = c;
    }
    out
}

/// At most so many bytes of `text`, whole characters.
fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_one_rooms_own_is_left_out() {
        let of = |message: &str| signature("entry", message);
        let alike = [
            ("the struct at byte 17 is empty", "the struct at byte 4711 is empty"),
            ("stream of acme/report@main, entry 1700000000000-5: damaged", "stream of b/c@x, entry 9-0: damaged"),
            ("key yhub:room:acme:report:main is damaged", "key yhub:room:b:c:main is damaged"),
            ("kept by the plugin \"S3\", which", "kept by the plugin \"a \\\"b\\\" c\", which"),
            ("id 6f1f3c1e-0b59-4b6f-8c0e-7f8a9f3d2c11 is gone", "id aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa is gone"),
            ("bytes deadbeef", "bytes cafebabe"),
            ("`x` and 'y z' differ", "`q` and 'r' differ"),
            ("at 1 2 3 it ended", "at 1 it ended"),
        ];
        for (one, other) in alike {
            assert_eq!(of(one), of(other), "{one:?}, {other:?}");
        }
        let different = [("the struct is empty", "the clock passes the end"), ("it's damaged", "it's empty")];
        for (one, other) in different {
            assert_ne!(of(one), of(other));
        }
        assert_ne!(signature("entry", "damaged"), signature("row", "damaged"));
        assert_eq!(of("the struct at byte 17 (of 20) is empty"), "entry: the struct at byte # (of #) is empty");
    }

    proptest! {
        #[test]
        fn a_signature_is_bounded(class in "[a-z]{1,12}", message in any::<String>(), times in 1usize..2_000) {
            let signature = signature(&class, &message.repeat(times));
            let is_right = signature.len() <= MAX_SIGNATURE_BYTES && signature.starts_with(&format!("{class}:"));
            prop_assert!(is_right, "{}", signature);
        }

        /// Whatever numbers, clocks, names and quoted texts stand in a message of a fixed form.
        #[test]
        fn equal_causes_compare_equal(one in own(), other in own()) {
            prop_assert_eq!(signature("entry", &one), signature("entry", &other));
        }
    }

    fn own() -> impl Strategy<Value = String> {
        (any::<u64>(), any::<u64>(), any::<[u8; 16]>(), "[^\\s]*", any::<String>()).prop_map(|(ms, seq, bytes, name, quoted)| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let room = crate::RoomId::new("acme", &format!("n{}", name.escape_debug()), "main");
            let room = room.to_string().replace(['"', '\'', '`', '“', '«', '‘'], "");
            format!("stream of {room} , entry {ms}-{seq}: update {hex} of {quoted:?} holds {seq} structs")
        })
    }
}
