//! The ends of a plan as people write them: `now`, `today`, `+1d`, a day, a time, an instant.

use chrono::{DateTime, NaiveTime, TimeDelta};

use crate::clock::Timestamp;
use crate::trigger::{Moment, WallInstant, Zone};
use crate::units::parse_duration;

/// What may stand there.
const FORM: &str =
    "write now, today, tomorrow, +1d, -2h, 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:00Z";

/// Reads one end of a plan. `+1d` and `-2h` count from `base`, in days of the calendar where they
/// are whole days or weeks; `today` and the like are seen from `now`; both, and times without an
/// offset, by the clock of `zone`.
///
/// # Errors
/// It is none of these: a sentence that says what it could be.
pub(in crate::cli) fn read(
    text: &str,
    base: Timestamp,
    now: Timestamp,
    zone: Zone,
) -> Result<Timestamp, String> {
    let trimmed = text.trim();
    match trimmed.to_lowercase().as_str() {
        "now" => return Ok(now),
        "today" => return midnight(now, 0, zone).ok_or_else(|| out_of_range(trimmed)),
        "tomorrow" => return midnight(now, 1, zone).ok_or_else(|| out_of_range(trimmed)),
        "yesterday" => return midnight(now, -1, zone).ok_or_else(|| out_of_range(trimmed)),
        _ => {}
    }
    let signed = [("+", 1), ("-", -1)]
        .into_iter()
        .find_map(|(mark, sign)| Some((trimmed.strip_prefix(mark)?, sign)));
    if let Some((length, sign)) = signed {
        let length = length.trim();
        let found = match whole_days(length) {
            Some(days) => later_day(base, sign * days, zone),
            None => {
                let length = parse_duration(length)
                    .map_err(|error| format!("{}: {}", error.message, error.label))?;
                TimeDelta::from_std(length)
                    .ok()
                    .and_then(|length| base.checked_add_signed(length * i32::from(sign as i8)))
            }
        };
        return found.ok_or_else(|| out_of_range(trimmed));
    }
    match Moment::parse(trimmed, zone) {
        Ok(moment) => Ok(moment.instant),
        Err(error) if error.message.ends_with("out of range") => {
            Err(format!("{}: {}", error.message, error.label))
        }
        Err(_) => Err(format!("`{trimmed}` is no time: {FORM}")),
    }
}

fn out_of_range(text: &str) -> String {
    format!("`{text}` is out of range: the years are 1970 to 2100")
}

/// `1d`, `2w` in days; None for anything finer.
fn whole_days(text: &str) -> Option<i64> {
    let (number, days) = if let Some(number) = text.strip_suffix(['d', 'D']) {
        (number, 1)
    } else {
        (text.strip_suffix(['w', 'W'])?, 7)
    };
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(days)
}

/// The first instant of the day so many days after that of `instant`.
fn midnight(instant: Timestamp, days: i64, zone: Zone) -> Option<Timestamp> {
    let (wall, _) = zone.to_wall(instant);
    let date = wall.date().checked_add_signed(TimeDelta::try_days(days)?)?;
    Some(first(zone.from_wall(date.and_time(NaiveTime::MIN))))
}

/// The same time of the day so many days later.
fn later_day(instant: Timestamp, days: i64, zone: Zone) -> Option<Timestamp> {
    let (wall, offset) = zone.to_wall(instant);
    let wall = wall.checked_add_signed(TimeDelta::try_days(days)?)?;
    let found = zone.from_wall(wall);
    // Of two, the one that keeps the offset.
    if let WallInstant::Fold { second, .. } = found
        && zone.to_wall(second).1 == offset
    {
        return Some(second);
    }
    in_range(first(found))
}

fn in_range(instant: Timestamp) -> Option<Timestamp> {
    // A few days beyond the years of triggers, so that they can be seen to the last.
    let last = DateTime::from_timestamp(4_133_980_800 + 2 * 86_400, 0)?;
    (instant <= last && instant >= Timestamp::UNIX_EPOCH - TimeDelta::days(2)).then_some(instant)
}

fn first(found: WallInstant) -> Timestamp {
    match found {
        WallInstant::One(one) => one,
        WallInstant::Gap { end, .. } => end,
        WallInstant::Fold { first, .. } => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn berlin() -> Zone {
        Zone::parse("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ends_are_read_as_people_write_them() {
        let (now, base) = (at("2026-11-22T14:28:00Z"), at("2027-03-27T11:00:00Z"));
        for (text, expected) in [
            ("now", "2026-11-22T14:28:00Z"),
            ("Today", "2026-11-21T23:00:00Z"),
            ("tomorrow", "2026-11-22T23:00:00Z"),
            ("yesterday", "2026-11-20T23:00:00Z"),
            // A day of 23 hours, and 24 hours.
            ("+1d", "2027-03-28T10:00:00Z"),
            ("+24h", "2027-03-28T11:00:00Z"),
            ("+1w", "2027-04-03T10:00:00Z"),
            ("+1d12h", "2027-03-28T23:00:00Z"),
            ("-2h", "2027-03-27T09:00:00Z"),
            ("- 1d", "2027-03-26T11:00:00Z"),
            ("2026-12-24", "2026-12-23T23:00:00Z"),
            ("2026-12-24T18:00", "2026-12-24T17:00:00Z"),
            ("2026-12-24 18:00", "2026-12-24T17:00:00Z"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
        ] {
            assert_eq!(read(text, base, now, berlin()), Ok(at(expected)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let now = at("2026-11-22T14:28:00Z");
        for (text, part) in [
            ("", "write now"),
            ("soon", "2026-12-24T18:00"),
            ("+1x", "not a unit"),
            ("+", "duration"),
            ("+99999999999999999999d", "1000 years"),
            ("+900000d", "out of range"),
            ("2101-05-01", "1970 to 2100"),
        ] {
            let error = read(text, now, now, berlin()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[+-]?[0-9]{0,12}[ a-z:TZ-]{0,6}[0-9]{0,4}[dwh]?", base in 0_i64..4_133_980_800) {
            let base = DateTime::from_timestamp(base, 0).unwrap();
            let _ = read(&text, base, base, berlin());
        }
    }
}
