//! When an object was stored, as services write it: `2026-11-26T08:00:00.000Z`.

/// Milliseconds since 1970; 0 for a text of another form, which is then older than anything.
pub(crate) fn parse_ms(text: &str) -> u64 {
    parse(text).unwrap_or(0)
}

fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}")[..3].parse::<u64>().ok()?;
    Some((((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + thousandths)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = text.split(between).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Years begin with March here, so that the day that some have more is their last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    of_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2000-02-29T12:34:56.7Z", 951_827_696_700),
            ("2026-11-26T08:00:00.123456Z", 1_795_680_000_123),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(parse_ms(text), ms, "{text}");
        }
        for text in
            ["", "Z", "T", "yesterday", "2026-11-26", "2026-13-01T00:00:00Z", "1969-12-31T00:00:00Z", "2026-11-26T08:00:00.éZ"]
        {
            assert_eq!(parse_ms(text), 0, "{text}");
        }
    }
}
