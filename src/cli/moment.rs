//! Times and time spans as they are written on the command line.

use std::str::FromStr;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400 * SECOND_MS;

/// A time span: a whole number and its unit, such as `30d`, `12h`, `90m`, `20s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) ms: u64,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time span; write a whole number and d, h, m or s, such as 30d");
        let unit_ms = match text.chars().last() {
            Some('d') => DAY_MS,
            Some('h') => 3_600 * SECOND_MS,
            Some('m') => 60 * SECOND_MS,
            Some('s') => SECOND_MS,
            _ => return Err(wrong()),
        };
        let count = &text[..text.len() - 1];
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let ms = count.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)).filter(|ms| *ms <= 100_000 * DAY_MS);
        ms.map(|ms| Self { ms }).ok_or_else(|| format!("{text:?} is longer than 100000 days"))
    }
}

/// A point in time: so long ago, or a date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long before now.
    Ago(Span),
    /// In milliseconds since 1970.
    At(u64),
}

impl Moment {
    /// In milliseconds since 1970.
    pub(super) fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(span) => now_ms.saturating_sub(span.ms),
            Self::At(at_ms) => at_ms,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        date_ms(text).map(Self::At).ok_or_else(|| {
            format!("{text:?} is no time; write how long ago, such as 7d, or a date in UTC: 2026-03-01 or 2026-03-01T12:00:00Z")
        })
    }
}

/// `2026-03-01`, or that with `T12:00:00Z`, in milliseconds since 1970.
fn date_ms(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March, so that the day of a leap year is the last one, as where times are written.
    let from_march = year - u64::from(month < 3);
    let month_from_march = (month + 9) % 12;
    let days =
        from_march * 365 + from_march / 4 - from_march / 100 + from_march / 400 + (153 * month_from_march + 2) / 5 + day - 1;
    Some((days - 719_468) * DAY_MS + (hour * 3_600 + minute * 60 + second) * SECOND_MS)
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::utc;

    #[test]
    fn spans_are_read() {
        for (text, ms) in
            [("30d", 2_592_000_000), ("12h", 43_200_000), ("90m", 5_400_000), ("0s", 0), ("100000d", 8_640_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Span { ms }), "{text}");
        }
        for wrong in ["", "d", "30", "-1d", "+1d", "1.5d", "30 d", "1w", "1é", "100001d", "99999999999999999999d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        let mut random = yhub_testkit::Random::new(7);
        for _ in 0..2_000 {
            let ms = random.below(253_402_300_799) as u64 * 1_000;
            assert_eq!(utc(ms).parse::<Moment>(), Ok(Moment::At(ms)), "{}", utc(ms));
        }
        assert_eq!("2024-02-29".parse(), Ok(Moment::At(1_709_164_800_000)));
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(Moment::At(0)));
        for wrong in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-04-31",
            "2024-4-1",
            "1969-12-31",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00Z",
            "2024-01-01-01",
            "yesterday",
            "",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
        assert_eq!("7d".parse::<Moment>().map(|moment| moment.at_ms(700_000_000)), Ok(95_200_000));
        assert_eq!("7d".parse::<Moment>().map(|moment| moment.at_ms(1)), Ok(0));
    }
}
