//! The heat map: how much is due in each hour of the day, as characters.

use std::io::{self, Write};

use chrono::{Datelike as _, NaiveDate, TimeDelta, Timelike as _};

use crate::cli::output::{Paint, Tone};
use crate::plan::Plan;

/// How many rows of days, weeks and months there may be: more are put together.
const DAYS: i64 = 21;
const WEEKS: i64 = 26;
const MONTHS: i64 = 36;

/// Shades by their weight, after the one for nothing.
const SHADES: [char; 4] = [':', '+', '*', '#'];
const NOTHING: char = '.';
/// An hour that a change of the clock skips.
const SKIPPED: char = '-';

/// One row: a day, or several put together.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    label: String,
    /// For each hour of the day: what is due in it; None: it is not in the plan.
    hours: [Option<u64>; 24],
}

/// What is drawn for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Firings(u64),
    /// The plan begins later or has ended.
    Outside,
    /// The clock skips it.
    Skipped,
}

impl Row {
    fn cell(&self, hour: usize) -> Cell {
        let is_in = |hours: Option<&[Option<u64>]>| {
            hours.is_some_and(|hours| hours.iter().any(Option::is_some))
        };
        match self.hours.get(hour).copied().flatten() {
            Some(firings) => Cell::Firings(firings),
            None if is_in(self.hours.get(..hour)) && is_in(self.hours.get(hour..)) => Cell::Skipped,
            None => Cell::Outside,
        }
    }
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// One that gives few rows for a stretch of so many days.
    fn for_days(days: i64) -> Period {
        if days <= DAYS {
            Period::Day
        } else if days <= WEEKS * 7 {
            Period::Week
        } else if days <= MONTHS * 31 {
            Period::Month
        } else {
            Period::Year
        }
    }

    /// The first day of the period that a day is in.
    fn begin(self, date: NaiveDate) -> NaiveDate {
        match self {
            Period::Day => Some(date),
            Period::Week => {
                let into = i64::from(date.weekday().num_days_from_monday());
                date.checked_sub_signed(TimeDelta::days(into))
            }
            Period::Month => date.with_day(1),
            Period::Year => date.with_ordinal(1),
        }
        .unwrap_or(date)
    }

    fn label(self, begin: NaiveDate) -> String {
        let format = match self {
            Period::Day => "%a %d", // the plan says of which month
            Period::Week => "week of %d %b",
            Period::Month => "%b %Y",
            Period::Year => "%Y",
        };
        begin.format(format).to_string()
    }
}

/// The period of a row of a plan's map; None for an empty plan.
fn period(plan: &Plan) -> Option<Period> {
    let (first, last) = (plan.hours.first()?, plan.hours.last()?);
    let days = (last.wall.date() - first.wall.date()).num_days() + 1;
    Some(Period::for_days(days))
}

fn rows(plan: &Plan) -> Vec<Row> {
    let date = |wall: chrono::NaiveDateTime| wall.date();
    let Some(period) = period(plan) else {
        return Vec::new();
    };
    let mut rows: Vec<(NaiveDate, Row)> = Vec::new();
    for hour in &plan.hours {
        let begin = period.begin(date(hour.wall));
        if rows.last().is_none_or(|(last, _)| *last != begin) {
            let row = Row {
                label: period.label(begin),
                hours: [None; 24],
            };
            rows.push((begin, row));
        }
        if let Some((_, row)) = rows.last_mut()
            && let Some(cell) = row.hours.get_mut(hour.wall.hour() as usize)
        {
            *cell = Some(cell.unwrap_or(0) + hour.firings);
        }
    }
    let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    if let ([row], Period::Day) = (rows.as_mut_slice(), period) {
        row.label.clear(); // the plan says which day it is
    }
    rows
}

/// How cells are drawn.
#[derive(Debug, Clone, Copy)]
struct Style {
    /// Columns of a cell, the space before it included.
    cell: usize,
    /// Whether the number stands beside the shade.
    counts: bool,
    /// How many hours stand in a line.
    hours: usize,
}

/// Draws the map of a plan, in at most `width` columns where that is possible at all.
pub(super) fn write(plan: &Plan, width: usize, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    let rows = rows(plan);
    let most = rows.iter().flat_map(|row| row.hours).flatten().max();
    let Some(most) = most.filter(|most| *most > 0) else {
        return Ok(());
    };
    let label = rows.iter().map(|row| row.label.chars().count()).max();
    let label = label.unwrap_or(0) + 1;
    let style = style(&rows, most, width.saturating_sub(label));
    let mut first = 0;
    while first < 24 {
        header(label, first, style, paint, to)?;
        for row in &rows {
            write!(to, "{:label$}", row.label)?;
            for hour in first..first + style.hours {
                draw(row.cell(hour), most, style, paint, to)?;
            }
            writeln!(to)?;
        }
        first += style.hours;
    }
    if !style.counts {
        let mut scale = Vec::new();
        let mut below = 0;
        for (shade, level) in SHADES.iter().zip(1_u64..) {
            let highest = most.saturating_mul(level) / 4;
            // Of few firings not every shade has a number.
            if highest > below {
                scale.push(format!("{shade} to {}", short(highest)));
            }
            below = highest;
        }
        let scale = scale.join("  ");
        let indent = if label + scale.len() > width {
            0
        } else {
            label
        };
        writeln!(to, "{:indent$}{}", "", paint.paint(Tone::Dim, scale))?;
    }
    Ok(())
}

/// The most telling way to draw the rows that has room.
fn style(rows: &[Row], most: u64, room: usize) -> Style {
    let counts = |count: u64| short(count).len();
    let digits = rows.iter().flat_map(|row| row.hours).flatten().map(counts);
    let digits = digits.max().unwrap_or(0).max(counts(most));
    let wide = |gap: usize, hours: usize| Style {
        cell: digits + 1 + gap,
        counts: true,
        hours,
    };
    let shades = |cell: usize| Style {
        cell,
        counts: false,
        hours: 24,
    };
    let mut ways = vec![wide(2, 24), wide(1, 24)];
    if rows.len() == 1 {
        // A single row may take several lines.
        ways.extend([wide(2, 12), wide(1, 12), wide(1, 6)]);
    }
    ways.push(shades(2));
    let fits = |style: &Style| style.cell * style.hours <= room;
    ways.into_iter().find(fits).unwrap_or(shades(1))
}

/// Writes the hours above their columns, as many as have room.
fn header(
    label: usize,
    first: usize,
    style: Style,
    paint: Paint,
    to: &mut dyn Write,
) -> io::Result<()> {
    // Two digits and a space, in columns of whole cells.
    let every = 3_usize.div_ceil(style.cell);
    let mut line = " ".repeat(label);
    for hour in (first..first + style.hours).step_by(every) {
        if every == 1 {
            line.push_str(&format!(
                "{hour:>width$}",
                hour = format!("{hour:02}"),
                width = style.cell
            ));
        } else {
            // Above the shade, which is at the end of its cell.
            let skip = " ".repeat(style.cell - 1);
            line.push_str(&format!("{skip}{hour:02}"));
            line.push_str(&" ".repeat((style.cell * every).saturating_sub(style.cell + 1)));
        }
    }
    writeln!(to, "{}", paint.paint(Tone::Dim, line.trim_end()))
}

/// Draws one hour.
fn draw(cell: Cell, most: u64, style: Style, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
    let count = match cell {
        Cell::Firings(count) => count,
        Cell::Outside => return write!(to, "{:>width$}", "", width = style.cell),
        Cell::Skipped => return write!(to, "{:>width$}", SKIPPED, width = style.cell),
    };
    let level = level(count, most);
    let shade = level.and_then(|level| SHADES.get(level)).copied();
    let mut text = shade.unwrap_or(NOTHING).to_string();
    if style.counts && count > 0 {
        text.push_str(&short(count));
    }
    let text = format!("{text:>width$}", width = style.cell);
    match level {
        None => write!(to, "{}", paint.paint(Tone::Dim, text)),
        Some(0 | 1) => write!(to, "{text}"),
        Some(2) => write!(to, "{}", paint.paint(Tone::Strong, text)),
        Some(_) => write!(to, "{}", paint.paint(Tone::Warn, text)),
    }
}

/// Which quarter of the most a number is in; None for nothing.
fn level(count: u64, most: u64) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let quarters = (u128::from(count) * 4).div_ceil(u128::from(most.max(1)));
    Some(usize::try_from(quarters).unwrap_or(4).clamp(1, 4) - 1)
}

/// A number in at most four characters, `999`, `12k`, `3M`.
fn short(count: u64) -> String {
    match count {
        0..=9_999 => count.to_string(),
        10_000..=999_999 => format!("{}k", count / 1_000),
        1_000_000..=999_999_999 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, JobId};
    use crate::plan::{Durations, Outlook};
    use crate::trigger::{Trigger, Zone};
    use std::sync::Arc;

    const PLAIN: Paint = Paint { on: false };

    fn drawn(expressions: &[&str], from: &str, until: &str, width: usize) -> String {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let jobs = expressions.iter().enumerate().map(|(place, text)| {
            let mut job = Job::by_hand(JobId::new(format!("job-{place}")), "a.wasm");
            job.trigger = Trigger::parse(text, berlin).unwrap();
            Arc::new(job)
        });
        let [from, until] = [from, until].map(|text| text.parse().unwrap());
        let plan = Outlook::new(jobs, from, until, &Durations::default()).counted(berlin);
        let mut bytes = Vec::new();
        write(&plan, width, PLAIN, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        // Nothing ends in white space that a snapshot would keep.
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{text}"
        );
        format!("\n{}\n", lines.join("\n"))
    }

    const JOBS: [&str; 4] = [
        "0 0 * * *",
        "*/30 0 * * *",
        "*/15 6-9 * * *",
        "0 1,7,23 * * *",
    ];

    #[test]
    fn a_day_is_a_row() {
        let day = ["2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z"];
        insta::assert_snapshot!(drawn(&JOBS, day[0], day[1], 120), @"

        00  01  02  03  04  05  06  07  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23
        *3  :1   .   .   .   .  #4  #5  #4  #4   .   .   .   .   .   .   .   .   .   .   .   .   .  :1
        ");
        insta::assert_snapshot!(drawn(&JOBS, day[0], day[1], 78), @"

        00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23
        *3 :1  .  .  .  . #4 #5 #4 #4  .  .  .  .  .  .  .  .  .  .  .  .  . :1
        ");
        insta::assert_snapshot!(drawn(&JOBS, day[0], day[1], 40), @"

        00 01 02 03 04 05 06 07 08 09 10 11
        *3 :1  .  .  .  . #4 #5 #4 #4  .  .
        12 13 14 15 16 17 18 19 20 21 22 23
         .  .  .  .  .  .  .  .  .  .  . :1
        ");
    }

    #[test]
    fn days_are_rows_and_a_skipped_hour_is_marked() {
        let days = ["2027-03-27T15:20:00Z", "2027-03-28T23:00:00Z"];
        insta::assert_snapshot!(drawn(&["0 * * * *", "5 2 * * *"], days[0], days[1], 120), @"

                 00  01  02  03  04  05  06  07  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23
        Sat 27                                                                    .  +1  +1  +1  +1  +1  +1  +1
        Sun 28   +1  +1   -  #2  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1  +1
        Mon 29   +1
        ");
        let days = ["2027-10-29T22:00:00Z", "2027-10-31T23:00:00Z"];
        insta::assert_snapshot!(drawn(&["0 * * * *", "5 2 * * *"], days[0], days[1], 80), @"

                00 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23
        Sat 30  +1 +1 *2 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1
        Sun 31  +1 +1 #3 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1 +1
        ");
        insta::assert_snapshot!(drawn(&["0 * * * *", "5 2 * * *"], days[0], days[1], 60), @"

                00  02  04  06  08  10  12  14  16  18  20  22
        Sat 30  + + * + + + + + + + + + + + + + + + + + + + + +
        Sun 31  + + # + + + + + + + + + + + + + + + + + + + + +
               + to 1  * to 2  # to 3
        ");
        insta::assert_snapshot!(drawn(&["0 * * * *", "*/5 2 * * *"], days[0], days[1], 40), @"

               00 03 06 09 12 15 18 21
        Sat 30 ::+:::::::::::::::::::::
        Sun 31 ::#:::::::::::::::::::::
               : to 6  + to 13  * to 19  # to 26
        ");
    }

    #[test]
    fn long_times_are_put_together() {
        let year = ["2026-12-31T23:00:00Z", "2027-12-31T23:00:00Z"];
        insta::assert_snapshot!(drawn(&JOBS, year[0], year[1], 140), @"

                    00   01   02   03   04   05   06   07   08   09   10   11   12   13   14   15   16   17   18   19   20   21   22   23
        Jan 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Feb 2027   *84  :28    .    .    .    . *112 #140 *112 *112    .    .    .    .    .    .    .    .    .    .    .    .    .  :28
        Mar 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Apr 2027   *90  :30    .    .    .    . #120 #150 #120 #120    .    .    .    .    .    .    .    .    .    .    .    .    .  :30
        May 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Jun 2027   *90  :30    .    .    .    . #120 #150 #120 #120    .    .    .    .    .    .    .    .    .    .    .    .    .  :30
        Jul 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Aug 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Sep 2027   *90  :30    .    .    .    . #120 #150 #120 #120    .    .    .    .    .    .    .    .    .    .    .    .    .  :30
        Oct 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        Nov 2027   *90  :30    .    .    .    . #120 #150 #120 #120    .    .    .    .    .    .    .    .    .    .    .    .    .  :30
        Dec 2027   *93  :31    .    .    .    . #124 #155 #124 #124    .    .    .    .    .    .    .    .    .    .    .    .    .  :31
        ");
        let weeks = drawn(&JOBS, year[0], "2027-02-10T12:00:00Z", 140);
        assert!(weeks.contains("week of 28 Dec"), "{weeks}");
        let years = drawn(&["0 0 1 1 *"], year[0], "2047-02-10T12:00:00Z", 140);
        assert_eq!(
            years.lines().filter(|line| line.contains(" #1")).count(),
            21
        );
    }

    #[test]
    fn nothing_has_no_map() {
        assert_eq!(
            drawn(
                &["0 0 30 2 *"],
                "2026-11-22T23:00:00Z",
                "2026-11-23T23:00:00Z",
                80
            ),
            "\n\n"
        );
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0, 9_999, 10_000, 999_999, 1_000_000, 5_000_000_000].map(short);
        assert_eq!(shown, ["0", "9999", "10k", "999k", "1M", "5G"]);
        assert_eq!(
            [0, 1, 25, 26, 75, 100].map(|count| level(count, 100)),
            [None, Some(0), Some(0), Some(1), Some(2), Some(3)]
        );
    }
}
