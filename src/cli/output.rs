//! What commands print: plain tables for people, JSON for programs.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

/// How a listing is printed, and how much of it.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Listing {
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) form: Form,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Form {
    /// Prints one of both.
    pub(super) fn print(self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json { format!("{:#}\n", json()) } else { text() };
        Ok(io::stdout().lock().write_all(text.as_bytes())?)
    }
}

/// Rows under a head, in columns.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }

    /// The table; if it has no row, `nothing` instead.
    pub(super) fn or(self, nothing: &str) -> String {
        if self.rows.len() == 1 { format!("{nothing}\n") } else { self.text() }
    }

    /// The table, one line a row.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                line.push_str(&format!("{cell:<0$}  ", width(column).unwrap_or(0)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What may have been written by anybody, made fit for a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A time span for people, in its largest whole unit.
pub(super) fn span(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

/// Milliseconds since 1970 as a date and time in UTC: `2026-03-01T12:00:00Z`.
pub(super) fn utc(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Years that begin in March, so that the day of a leap year is the last one: 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_columns_and_no_surprises() {
        let mut table = Table::new(&["ROOM", "N"]);
        table.row(["acme/größe@main".into(), "1".into()]);
        table.row(["a\u{1b}[2J\nb".into(), String::new()]);
        assert_eq!(table.text(), "ROOM             N\nacme/größe@main  1\na\\u{1b}[2J\\nb\n");
        assert_eq!(Table::new(&["ROOM"]).or("no rooms"), "no rooms\n");
    }

    #[test]
    fn times_are_told() {
        for (ms, text) in
            [(0, "0 ms"), (999, "999 ms"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 days")]
        {
            assert_eq!(span(ms), text);
        }
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
        // Far beyond any time that there will be, and no panic.
        assert!(utc(u64::MAX).ends_with('Z'));
    }
}
