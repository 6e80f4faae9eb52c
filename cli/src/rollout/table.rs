//! Tables and times as kubectl prints them.

use jiff::{SignedDuration, Timestamp};

/// Spaces between two columns.
const GAP: usize = 3;

/// Columns under their heads, each as wide as its widest cell.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0) + GAP
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let heads = heads.map(str::to_owned);
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago something was, in one unit: `90s`, `5m`, `3h`, `2d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [
            ["web-0".to_owned(), "Soak".to_owned()],
            ["a-longer-name".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["POD", "PHASE"], &rows),
            "POD             PHASE\nweb-0           Soak\na-longer-name\n"
        );
    }

    #[test]
    fn an_age_has_one_unit() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            let now = Timestamp::from_second(seconds).unwrap();
            assert_eq!(age(then, now), expected);
        }
    }
}
