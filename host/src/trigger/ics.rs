//! Calendar files: the days on which the events of an iCalendar file (RFC 5545, `.ics`) take
//! place, such as the public holidays that a government or a calendar program exports.
//!
//! ```text
//!   bytes ──line──► properties ──► events, zones ──recurrence──► starts ──► Days
//! ```
//!
//! An all-day event takes place on its days, and a timed one on each day that it touches by the
//! clock of its own zone. Recurrences are followed up to 2100; cancelled events, to-dos, alarms
//! and the like do not count. A file is another's work, so all that it can ask for is bounded:
//! its size, the steps that its recurrences take, and nothing goes deeper for deeper nesting.

mod line;
mod recurrence;
mod value;
mod zones;

use std::collections::{HashMap, HashSet};

use self::line::{At, Line, lines, shorten};
use self::recurrence::Rule;
use self::value::{Clock, DAY, Moment};
use self::zones::{Observance, Zones};
use super::exclusion::{Days, LAST_DAY};

/// The largest file that is read, in bytes.
pub const MAX_ICS_BYTES: usize = 8 << 20;

/// How many steps the recurrences of a file may take together: some seventy daily ones up to the
/// year 2100, or thirty thousand yearly ones.
const MAX_STEPS: usize = 10_000_000;

/// How deep components are nested; four is what there is a use for.
const DEEPEST: usize = 16;

/// Why a file is no calendar, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct IcsError {
    /// The line, the first of the file being 1. Of a line that was folded into several, the
    /// first.
    pub line: usize,
    /// What is wrong, with the property it is about, e.g. `RRULE: FREQ is missing`.
    pub message: String,
}

impl IcsError {
    fn new(line: usize, message: impl Into<String>) -> IcsError {
        IcsError {
            line,
            message: message.into(),
        }
    }
}

/// The days of the events of a calendar file.
///
/// ```
/// use quarterjack::trigger::parse_ics;
/// let days = parse_ics(
///     b"BEGIN:VCALENDAR\n\
///       BEGIN:VEVENT\n\
///       SUMMARY:Thanksgiving\n\
///       DTSTART;VALUE=DATE:20261126\n\
///       RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\n\
///       END:VEVENT\n\
///       END:VCALENDAR\n",
/// )?;
/// assert!(days.contains("2027-11-25".parse().unwrap()));
/// # Ok::<(), quarterjack::trigger::IcsError>(())
/// ```
///
/// # Errors
/// What is wrong, and in which line: no calendar, a property that cannot be read, a file of more
/// than [`MAX_ICS_BYTES`], recurrences without measure.
pub fn parse_ics(content: &[u8]) -> Result<Days, IcsError> {
    parse_within(content, MAX_STEPS)
}

fn parse_within(content: &[u8], steps: usize) -> Result<Days, IcsError> {
    if content.len() > MAX_ICS_BYTES {
        let most = MAX_ICS_BYTES >> 20;
        return Err(IcsError::new(
            1,
            format!("the file is larger than {most} MiB"),
        ));
    }
    if content.starts_with(b"\xFF\xFE") || content.starts_with(b"\xFE\xFF") {
        return Err(IcsError::new(
            1,
            "the file is in UTF-16: a calendar file is in UTF-8",
        ));
    }
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let mut budget = Budget(steps);
    let file = File::read(content, &mut budget)?;
    file.days(&mut budget)
}

/// The steps that are left to the recurrences of a file.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, steps: usize, at: &At) -> Result<(), IcsError> {
        self.0 = self.0.checked_sub(steps).ok_or_else(|| {
            at.refuse("up to here the events of the file recur too often to follow all of them")
        })?;
        Ok(())
    }
}

/// What a file holds that matters.
#[derive(Default)]
struct File {
    events: Vec<Event>,
    zones: Zones,
}

/// A VEVENT. Each property with its line, for errors.
#[derive(Default)]
struct Event {
    /// The line that it begins in.
    begin: usize,
    uid: Option<String>,
    start: Option<(Moment, At)>,
    end: Option<(Moment, At)>,
    /// In seconds.
    duration: Option<i64>,
    rules: Vec<Rule>,
    excluded_rules: Vec<Rule>,
    dates: Vec<(Moment, Option<End>, At)>,
    excluded_dates: Vec<(Moment, At)>,
    /// Which occurrence of the event with the same UID this one replaces.
    replaces: Option<(Moment, At)>,
    cancelled: bool,
}

/// The end of a period.
enum End {
    At(Moment),
    After(i64),
}

impl File {
    fn read(content: &[u8], budget: &mut Budget) -> Result<File, IcsError> {
        let mut file = File::default();
        // The components around a line, with the lines that they begin in.
        let mut open: Vec<(String, usize)> = Vec::new();
        let mut event = Event::default();
        let mut zone_name = None;
        let mut observances = Vec::new();
        let mut last = 1;
        let mut any = false;
        for line in lines(content) {
            let line = match line {
                Err(error) if !any => return Err(no_calendar(error.line)),
                line => line?,
            };
            last = line.at.number;
            match &*line.at.name {
                "BEGIN" => {
                    let name = line.value.to_ascii_uppercase();
                    if open.is_empty() && name != "VCALENDAR" {
                        return Err(no_calendar(line.at.number));
                    }
                    any = true;
                    match name.as_str() {
                        "VEVENT" if within(&open, &["VCALENDAR"]) => {
                            event = Event {
                                begin: line.at.number,
                                ..Event::default()
                            };
                        }
                        "VTIMEZONE" => {
                            zone_name = None;
                            observances.clear();
                        }
                        "STANDARD" | "DAYLIGHT" => observances.push(Observance::default()),
                        _ => {}
                    }
                    if open.len() == DEEPEST {
                        return Err(line.at.refuse("components are nested too deep"));
                    }
                    open.push((name, line.at.number));
                }
                "END" => {
                    let name = line.value.to_ascii_uppercase();
                    match open.pop() {
                        Some((begun, _)) if begun == name => {}
                        Some((begun, begin)) => {
                            return Err(line.at.refuse(format!(
                                "{} ends where {} has to, which began in line {begin}",
                                shorten(&name),
                                shorten(&begun)
                            )));
                        }
                        None => {
                            return Err(line
                                .at
                                .refuse(format!("{} has not begun", shorten(&name))));
                        }
                    }
                    if name == "VEVENT" && within(&open, &["VCALENDAR"]) {
                        file.events.push(std::mem::take(&mut event));
                    } else if name == "VTIMEZONE"
                        && let Some(name) = zone_name.take()
                    {
                        let name: String = name;
                        file.zones.add(&name, &observances, budget)?;
                    }
                }
                _ if open.is_empty() => return Err(no_calendar(line.at.number)),
                "TZID" if within(&open, &["VCALENDAR", "VTIMEZONE"]) => {
                    zone_name = Some(line.value);
                }
                _ if within(&open, &["VCALENDAR", "VEVENT"]) => event.set(line)?,
                _ if within(&open, &["VCALENDAR", "VTIMEZONE", "STANDARD"])
                    || within(&open, &["VCALENDAR", "VTIMEZONE", "DAYLIGHT"]) =>
                {
                    if let Some(observance) = observances.last_mut() {
                        observance.set(&line)?;
                    }
                }
                _ => {}
            }
        }
        match open.last() {
            Some((name, begin)) => Err(IcsError::new(
                last,
                format!(
                    "the file ends before END:{}, which began in line {begin}",
                    shorten(name)
                ),
            )),
            None if !any => Err(no_calendar(1)),
            None => Ok(file),
        }
    }

    fn days(&self, budget: &mut Budget) -> Result<Days, IcsError> {
        let mut replaced: HashMap<&str, Vec<&(Moment, At)>> = HashMap::new();
        for event in &self.events {
            if let (Some(uid), Some(moment)) = (&event.uid, &event.replaces) {
                replaced.entry(uid).or_default().push(moment);
            }
        }
        let mut days = Days::none();
        for event in self.events.iter().filter(|event| !event.cancelled) {
            let replaced = match (&event.uid, &event.replaces) {
                (Some(uid), None) => replaced.get(uid.as_str()).map(Vec::as_slice),
                _ => None,
            };
            event.add_to(&mut days, replaced.unwrap_or_default(), &self.zones, budget)?;
        }
        Ok(days)
    }
}

/// Whether the open components are those.
fn within(open: &[(String, usize)], names: &[&str]) -> bool {
    open.len() == names.len() && open.iter().zip(names).all(|((open, _), name)| open == name)
}

fn no_calendar(line: usize) -> IcsError {
    IcsError::new(
        line,
        "this is no calendar file: one begins with BEGIN:VCALENDAR",
    )
}

impl Observance {
    fn set(&mut self, line: &Line) -> Result<(), IcsError> {
        match &*line.at.name {
            "DTSTART" => self.start = Some(Moment::parse(line, &line.value)?),
            "TZOFFSETFROM" => self.from = Some(value::offset(line)?),
            "TZOFFSETTO" => self.to = Some(value::offset(line)?),
            "RRULE" => self.rules.push(Rule::parse(line)?),
            "RDATE" => {
                for date in line.value.split(',') {
                    self.dates.push(Moment::parse(line, date)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Event {
    fn set(&mut self, line: Line) -> Result<(), IcsError> {
        let moment = || Moment::parse(&line, &line.value);
        match &*line.at.name {
            "UID" => self.uid = Some(line.value),
            "STATUS" => self.cancelled = line.value.eq_ignore_ascii_case("CANCELLED"),
            "DTSTART" => self.start = Some((moment()?, line.at)),
            "DTEND" => self.end = Some((moment()?, line.at)),
            "DURATION" => self.duration = Some(value::duration(&line, &line.value)?),
            "RRULE" => self.rules.push(Rule::parse(&line)?),
            "EXRULE" => self.excluded_rules.push(Rule::parse(&line)?),
            "RDATE" => {
                for date in line.value.split(',') {
                    let (start, end) = match date.split_once('/') {
                        None => (date, None),
                        Some((start, end)) if end.trim_start().starts_with(['P', 'p', '+']) => {
                            (start, Some(End::After(value::duration(&line, end)?)))
                        }
                        Some((start, end)) => (start, Some(End::At(Moment::parse(&line, end)?))),
                    };
                    let start = Moment::parse(&line, start)?;
                    self.dates.push((start, end, line.at.clone()));
                }
            }
            "EXDATE" => {
                for date in line.value.split(',').filter(|date| !date.is_empty()) {
                    let date = Moment::parse(&line, date)?;
                    self.excluded_dates.push((date, line.at.clone()));
                }
            }
            "RECURRENCE-ID" => {
                if line.parameter("RANGE").is_some() {
                    return Err(line
                        .at
                        .refuse("a change of all that follows (RANGE) is not supported"));
                }
                self.replaces = Some((moment()?, line.at));
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds the days on which it takes place, but for the occurrences that others replace.
    fn add_to(
        &self,
        days: &mut Days,
        replaced: &[&(Moment, At)],
        zones: &Zones,
        budget: &mut Budget,
    ) -> Result<(), IcsError> {
        let Some((start, start_at)) = &self.start else {
            return Err(IcsError::new(self.begin, "the event has no DTSTART"));
        };
        let length = self.length(start, zones)?;

        let mut excluded_walls = Vec::new();
        let mut excluded_days = HashSet::new();
        let excluded = self.excluded_dates.iter().chain(replaced.iter().copied());
        for (moment, at) in excluded {
            // A date takes away all that begins on it.
            if moment.time.is_none() || start.time.is_none() {
                excluded_days.insert(moment.day);
            } else {
                excluded_walls.push(moment.wall_on(&start.clock, zones, at)?);
            }
        }
        // Many events with one UID and many changes of it.
        budget.spend(replaced.len(), start_at)?;
        for rule in &self.excluded_rules {
            rule.expand(start, false, zones, budget, &mut |wall| {
                excluded_walls.push(wall);
            })?;
        }
        excluded_walls.sort_unstable();
        let kept = |wall: i64| {
            excluded_walls.binary_search(&wall).is_err()
                && !excluded_days.contains(&wall.div_euclid(DAY))
        };

        // A long event costs more than a short one.
        let cost = usize::try_from(length.clamp(0, LAST_DAY * DAY) / DAY / 64).unwrap_or(0);
        let mut added = 0;
        let mut add = |wall: i64| {
            added += 1;
            if kept(wall) {
                insert(days, wall, length);
            }
        };
        if self.rules.is_empty() {
            add(start.wall());
        }
        for rule in &self.rules {
            rule.expand(start, true, zones, budget, &mut add)?;
        }
        budget.spend(cost * added, start_at)?;
        for (moment, end, at) in &self.dates {
            let wall = moment.wall_on(&start.clock, zones, at)?;
            let length = match end {
                None => length,
                Some(End::After(seconds)) => *seconds,
                Some(End::At(end)) => end.wall_on(&start.clock, zones, at)? - wall,
            };
            budget.spend(cost + 1, at)?;
            if kept(wall) {
                insert(days, wall, length);
            }
        }
        Ok(())
    }

    /// How long it takes by its own clock, in seconds.
    fn length(&self, start: &Moment, zones: &Zones) -> Result<i64, IcsError> {
        let of_start = if start.time.is_none() { DAY } else { 0 };
        let Some((end, at)) = &self.end else {
            return Ok(self.duration.unwrap_or(of_start));
        };
        let end = match &start.clock {
            Clock::Floating => end.wall(),
            clock => end.wall_on(clock, zones, at)?,
        };
        let length = end - start.wall();
        if length < 0 {
            return Err(at.refuse("the event ends before it begins"));
        }
        // Some programs write the last day of an all-day event instead of the one after it, if
        // both are the same.
        Ok(length.max(of_start))
    }
}

/// Adds the days that a stretch of a wall clock touches. One that ends at midnight does not touch
/// the day that begins then.
fn insert(days: &mut Days, wall: i64, length: i64) {
    let last = wall.saturating_add(length.max(1) - 1);
    days.insert(wall.div_euclid(DAY), last.div_euclid(DAY));
}

#[cfg(test)]
mod tests;
