//! What changes of the clock make of a trigger, told before they come: which of its times a
//! change skips or repeats, and what becomes of them.
//!
//! Only changes that concern the trigger are told: one whose times lie elsewhere notices
//! nothing. The rules are those of `wall`; what is told here is what `next_after` answers.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::bounded::moves;
use super::civil::listed;
use super::exclusion::MovedTimes;
use super::wall::{self, Pace, WallTimes, is_caught_up};
use super::zone::Transitions;
use super::{AtTrigger, Bounded, Combined, Dst, Trigger, Zone};

/// A change of a clock that a trigger goes by, and what becomes of the times it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockChange {
    /// The zone whose clock changes.
    pub zone: Zone,
    /// The instant of the change.
    pub at: DateTime<Utc>,
    /// Forward or back.
    pub kind: ChangeKind,
    /// The first time on the wall that is skipped or comes twice.
    pub from: NaiveDateTime,
    /// The first one after them.
    pub to: NaiveDateTime,
    /// The offset from UTC before the change, in seconds, east positive.
    pub offset_before: i32,
    /// The offset after it.
    pub offset_after: i32,
    /// Times of the trigger between the two, in order: all of them, or the first
    /// [`MOST_TIMES`](Self::MOST_TIMES).
    pub times: Vec<NaiveDateTime>,
    /// The last of its times between the two.
    pub last: NaiveDateTime,
    /// How many there are.
    pub count: u32,
    /// What becomes of them.
    pub effect: Effect,
}

/// What a change does to times on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The clock jumps over them.
    Skipped,
    /// The clock is set back over them: they come twice.
    Repeated,
}

/// What becomes of the times that a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// One run for all skipped times, at the first instant after them.
    RunsOnceAt(DateTime<Utc>),
    /// No run for skipped times, as the trigger asks (`"dst": "skip"`).
    DoesNotRun,
    /// No run for skipped times, because so long a jump is not caught up with.
    NotCaughtUp,
    /// The run for each repeated time comes when it is first shown, and not again.
    RunsFirstTimeOnly,
    /// It goes by elapsed time: so many runs fewer, for skipped times.
    Fewer {
        /// How many.
        runs: u32,
        /// The runs before and after the change are as far apart as ever.
        steady: bool,
    },
    /// It goes by elapsed time: so many runs more, for repeated times.
    More {
        /// How many.
        runs: u32,
        /// The runs before and after the change are as far apart as ever.
        steady: bool,
    },
}

impl ClockChange {
    /// So many times are listed one by one.
    pub const MOST_TIMES: usize = 4;

    /// The times that it concerns: `02:30`, `02:00 and 02:30`, `02:00 to 02:55`.
    pub fn times_listed(&self) -> String {
        let seconds = |time: &NaiveDateTime| chrono::Timelike::second(time) != 0;
        let format = if self.times.iter().any(seconds) || seconds(&self.last) {
            "%H:%M:%S"
        } else {
            "%H:%M"
        };
        let times: Vec<String> = self
            .times
            .iter()
            .map(|time| time.format(format).to_string())
            .collect();
        match times.first() {
            Some(first) if self.count > 3 => format!("{first} to {}", self.last.format(format)),
            _ => listed(&times, "and"),
        }
    }

    /// What happens to which times: `02:30 does not exist`, `02:00 to 02:55 happen twice`.
    pub fn times_in_words(&self) -> String {
        let verb = match (self.kind, self.count) {
            (ChangeKind::Skipped, 1) => "does not exist",
            (ChangeKind::Skipped, _) => "do not exist",
            (ChangeKind::Repeated, 1) => "happens twice",
            (ChangeKind::Repeated, _) => "happen twice",
        };
        format!("{} {verb}", self.times_listed())
    }

    /// What becomes of the times: `runs once, at 03:00 +02:00`.
    pub fn effect_in_words(&self) -> String {
        let pace = |steady: bool| if steady { ", at an even pace" } else { "" };
        let runs_of = |runs: u32| if runs == 1 { "run" } else { "runs" };
        match self.effect {
            Effect::RunsOnceAt(instant) => {
                let (wall, offset) = self.zone.to_wall(instant);
                format!("runs once, at {} {}", wall.format("%H:%M"), east(offset))
            }
            Effect::DoesNotRun => "does not run".to_owned(),
            Effect::NotCaughtUp => {
                "does not run: a jump of more than 3 h is not caught up with".to_owned()
            }
            Effect::RunsFirstTimeOnly if self.count == 1 => {
                format!("runs once, the first time ({})", east(self.offset_before))
            }
            Effect::RunsFirstTimeOnly => {
                format!("runs the first time only ({})", east(self.offset_before))
            }
            Effect::Fewer { runs, steady } => {
                format!("{runs} {} fewer that day{}", runs_of(runs), pace(steady))
            }
            Effect::More { runs, steady } => {
                format!(
                    "runs both times: {runs} {} more that day{}",
                    runs_of(runs),
                    pace(steady)
                )
            }
        }
    }
}

/// An offset from UTC, `+01:00`.
fn east(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.unsigned_abs();
    let text = format!("{sign}{:02}:{:02}", all / 3600, all % 3600 / 60);
    match all % 60 {
        0 => text,
        seconds => format!("{text}:{seconds:02}"),
    }
}

impl Trigger {
    /// Whether elapsed time and a clock on a wall have both to agree: where they do shifts with
    /// each change of the clock, for which [`clock_changes`](Self::clock_changes) has no words.
    pub fn mixes_elapsed_time(&self) -> bool {
        match self {
            Trigger::Any(any) => any.parts().iter().any(Trigger::mixes_elapsed_time),
            Trigger::All(all) => {
                let clocked = all.parts().iter().filter_map(clocked_inside).count();
                clocked > 0 && clocked < all.parts().len()
            }
            Trigger::Bounded(bounded) => bounded.inner().mixes_elapsed_time(),
            _ => false,
        }
    }

    /// What changes of the clock after `from` and not after `until` make of the trigger, in the
    /// order in which they come. Those that concern none of its times are left out.
    ///
    /// ```
    /// use quarterjack::trigger::{Trigger, Zone};
    /// let nightly = Trigger::parse("30 2 * * *", Zone::parse("Europe/Berlin").unwrap())?;
    /// let changes = nightly.clock_changes(
    ///     "2026-11-22T00:00:00Z".parse().unwrap(),
    ///     "2027-11-22T00:00:00Z".parse().unwrap(),
    /// );
    /// assert_eq!(changes[0].times_in_words(), "02:30 does not exist");
    /// assert_eq!(changes[0].effect_in_words(), "runs once, at 03:00 +02:00");
    /// assert_eq!(changes[1].times_in_words(), "02:30 happens twice");
    /// # Ok::<(), quarterjack::trigger::TriggerError>(())
    /// ```
    pub fn clock_changes(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<ClockChange> {
        let mut changes = match self {
            Trigger::Cron(cron) => of_wall_times(cron, cron.zone(), cron.pace(), from, until),
            Trigger::Calendar(calendar) => {
                let pace = calendar.pace();
                of_wall_times(calendar.times(), calendar.zone(), pace, from, until)
            }
            Trigger::At(at) => of_moment(at, from, until).into_iter().collect(),
            Trigger::Any(any) => {
                let parts = any.parts().iter();
                parts
                    .flat_map(|part| part.clock_changes(from, until))
                    .collect()
            }
            Trigger::All(all) => of_all(self, all, from, until),
            Trigger::Bounded(bounded) => of_bounded(self, bounded, from, until),
            Trigger::Interval(_) | Trigger::After(_) | Trigger::Reboot | Trigger::Manual => {
                Vec::new()
            }
        };
        changes
            .sort_by_key(|change| (change.at, change.zone.name(), change.times.first().copied()));
        changes.dedup();
        changes
    }

    /// Whether an instant is one of the trigger's.
    pub(super) fn fires_at(&self, instant: DateTime<Utc>) -> bool {
        self.next_after(instant - TimeDelta::nanoseconds(1)) == Some(instant)
    }
}

/// A time on the wall from its seconds.
fn civil(wall: i64) -> NaiveDateTime {
    DateTime::from_timestamp(wall, 0)
        .unwrap_or_default()
        .naive_utc()
}

/// A change and the times on the wall, in seconds, that it skips or repeats for a pace.
struct Change {
    at: i64,
    kind: ChangeKind,
    begin: i64,
    end: i64,
    before: i32,
    after: i32,
}

/// The changes of a zone in from+1..=until.
fn changes_of(zone: &Transitions, pace: Pace, from: i64, until: i64) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut index = zone.index_at(from);
    while let Some(segment) = zone.get(index + 1).filter(|next| next.start <= until) {
        let last = zone.segment(index);
        index += 1;
        let (old, new) = (last.wall(segment.start), segment.start_wall());
        // By the clock, what any clock has shown before is neither skipped nor due again.
        let reached = if pace == Pace::Elapsed {
            old
        } else {
            segment.reach
        };
        let (kind, begin, end) = if new > old {
            (ChangeKind::Skipped, reached, new)
        } else {
            // Unless the clock is changed again meanwhile.
            let shown = zone
                .get(index + 1)
                .map_or(i64::MAX, |next| segment.wall(next.start));
            (ChangeKind::Repeated, new, reached.min(shown))
        };
        if begin < end {
            changes.push(Change {
                at: segment.start,
                kind,
                begin,
                end,
                before: last.offset,
                after: segment.offset,
            });
        }
    }
    changes
}

/// What the changes make of times on the wall.
fn of_wall_times(
    times: &impl WallTimes,
    zone: Zone,
    pace: Pace,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<ClockChange> {
    let table = zone.transitions();
    changes_of(table, pace, from.timestamp(), until.timestamp())
        .into_iter()
        .filter_map(|change| {
            let steady = pace == Pace::Elapsed && is_steady(times, zone, change.at);
            tell(times, zone, pace, &change, steady)
        })
        .collect()
}

/// What a change makes of times on the wall; None if it concerns none of them.
fn tell(
    times: &impl WallTimes,
    zone: Zone,
    pace: Pace,
    change: &Change,
    steady: bool,
) -> Option<ClockChange> {
    let concerned = |from: i64| times.next_wall(from).filter(|wall| *wall < change.end);
    let first = concerned(change.begin)?;
    let (mut listed, mut last, mut count) = (Vec::new(), first, 0_u32);
    // At most one for each second that is skipped or repeated.
    for wall in std::iter::successors(Some(first), |wall| concerned(wall + 1)) {
        if listed.len() < ClockChange::MOST_TIMES {
            listed.push(civil(wall));
        }
        last = wall;
        count += 1;
    }
    let at = DateTime::from_timestamp(change.at, 0)?;
    let effect = match (change.kind, pace) {
        (ChangeKind::Skipped, Pace::Elapsed) => Effect::Fewer {
            runs: count,
            steady,
        },
        (ChangeKind::Repeated, Pace::Elapsed) => Effect::More {
            runs: count,
            steady,
        },
        (ChangeKind::Repeated, Pace::Clock(_)) => Effect::RunsFirstTimeOnly,
        (ChangeKind::Skipped, Pace::Clock(dst)) if is_caught_up(dst, change.end - change.begin) => {
            Effect::RunsOnceAt(at)
        }
        (ChangeKind::Skipped, Pace::Clock(Dst::Skip)) => Effect::DoesNotRun,
        (ChangeKind::Skipped, Pace::Clock(Dst::RunAfter)) => Effect::NotCaughtUp,
    };
    Some(ClockChange {
        zone,
        at,
        kind: change.kind,
        from: civil(change.begin),
        to: civil(change.end),
        offset_before: change.before,
        offset_after: change.after,
        times: listed,
        last: civil(last),
        count,
        effect,
    })
}

/// Whether the last instants before a change, the first ones after it, and those on either side
/// of it are equally far apart.
fn is_steady(times: &impl WallTimes, zone: Zone, at: i64) -> bool {
    let pace = Pace::Elapsed;
    let apart = || {
        let at = DateTime::from_timestamp(at, 0)?;
        let second = TimeDelta::seconds(1);
        let latest = |until| wall::latest_in(times, zone, pace, until - TimeDelta::days(2), until);
        let before = latest(at - second)?;
        let after = wall::next_after(times, zone, pace, at - second)?;
        Some([
            before - latest(before - second)?,
            after - before,
            wall::next_after(times, zone, pace, after)? - after,
        ])
    };
    apart().is_some_and(|[a, b, c]| a == b && b == c)
}

/// A moment in the time of a zone that does not exist or comes twice.
fn of_moment(at: &AtTrigger, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<ClockChange> {
    let (wall, zone) = at.written()?;
    let pace = Pace::Clock(Dst::RunAfter);
    let only = Moment(wall.and_utc().timestamp());
    changes_of(
        zone.transitions(),
        pace,
        from.timestamp(),
        until.timestamp(),
    )
    .iter()
    // A time before the clock is set back to it is the first one; one that is skipped runs then.
    .filter(|change| change.kind == ChangeKind::Skipped || at.instant().timestamp() < change.at)
    .find_map(|change| tell(&only, zone, pace, change, false))
}

/// A single time on the wall.
struct Moment(i64);

impl WallTimes for Moment {
    fn next_wall(&self, wall: i64) -> Option<i64> {
        (wall <= self.0).then_some(self.0)
    }

    fn latest_wall(&self, wall: i64) -> Option<i64> {
        (wall >= self.0).then_some(self.0)
    }
}

/// Whether a bounded trigger takes part in what a change makes of the trigger inside.
fn of_bounded(
    whole: &Trigger,
    bounded: &Bounded,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<ClockChange> {
    let not_on = bounded.bounds().not_on.as_ref();
    let mut changes = match (bounded.inner(), not_on.filter(|not_on| moves(not_on))) {
        // What is moved meets the changes of the days that it is moved to.
        (Trigger::Cron(cron), Some(not_on)) if cron.is_fixed_time() => {
            let times = MovedTimes::new(cron, not_on, cron.zone());
            of_wall_times(&times, cron.zone(), cron.pace(), from, until)
        }
        (Trigger::Calendar(calendar), Some(not_on)) => {
            let times = MovedTimes::new(calendar.times(), not_on, calendar.zone());
            of_wall_times(&times, calendar.zone(), calendar.pace(), from, until)
        }
        (inner, _) => inner.clock_changes(from, until),
    };
    changes.retain(|change| match change.effect {
        Effect::RunsOnceAt(instant) => whole.fires_at(instant),
        Effect::RunsFirstTimeOnly => first_pass(change).any(|instant| whole.fires_at(instant)),
        // What does not happen leaves no instant to ask for: it must have instants on both sides.
        Effect::DoesNotRun | Effect::NotCaughtUp | Effect::Fewer { .. } | Effect::More { .. } => {
            let before = DateTime::<Utc>::MIN_UTC;
            whole.latest_in(before, change.at).is_some() && whole.next_after(change.at).is_some()
        }
    });
    changes
}

/// When the repeated times that are listed are first shown.
fn first_pass(change: &ClockChange) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    let before = TimeDelta::seconds(i64::from(change.offset_before));
    change.times.iter().map(move |time| time.and_utc() - before)
}

/// Where all of several triggers meet: a change concerns the times that all of them have which
/// go by its clock, and what becomes of these is what the whole does.
fn of_all(
    whole: &Trigger,
    all: &Combined,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<ClockChange> {
    let clocked: Vec<Clocked<'_>> = all.parts().iter().filter_map(clocked_inside).collect();
    let Some(zone) = clocked.first().map(|part| part.zone) else {
        return Vec::new();
    };
    // Clocks of several zones agree on no time of the wall.
    if clocked.iter().any(|part| part.zone != zone) {
        return Vec::new();
    }
    let fixed = clocked.iter().find(|part| part.pace != Pace::Elapsed);
    let pace = fixed.map_or(Pace::Elapsed, |part| part.pace);
    let mut changes = of_wall_times(&Meeting(&clocked), zone, pace, from, until);
    changes.retain_mut(|change| {
        if let Effect::RunsOnceAt(instant) = change.effect
            && !whole.fires_at(instant)
        {
            change.effect = Effect::DoesNotRun;
        }
        match change.effect {
            Effect::RunsFirstTimeOnly => first_pass(change).any(|instant| whole.fires_at(instant)),
            Effect::RunsOnceAt(_) => true,
            // Intervals among the parts may keep it from firing then at all.
            _ => all.parts().len() == clocked.len(),
        }
    });
    changes
}

/// A part that goes by a clock on a wall.
struct Clocked<'t> {
    times: &'t dyn WallTimes,
    zone: Zone,
    pace: Pace,
}

fn clocked_inside(trigger: &Trigger) -> Option<Clocked<'_>> {
    match trigger {
        Trigger::Cron(cron) => Some(Clocked {
            times: cron,
            zone: cron.zone(),
            pace: cron.pace(),
        }),
        Trigger::Calendar(calendar) => Some(Clocked {
            times: calendar.times(),
            zone: calendar.zone(),
            pace: calendar.pace(),
        }),
        Trigger::Bounded(bounded) => clocked_inside(bounded.inner()),
        _ => None,
    }
}

/// The times on the wall that several parts have in common.
struct Meeting<'a>(&'a [Clocked<'a>]);

/// After so many steps of the search there is no further one.
const MOST_STEPS: usize = 4_000;

/// How far the search goes, in seconds: no change is longer than a day, and what lies a week
/// beside it has nothing to do with it.
const HORIZON: u64 = 8 * 86_400;

impl Meeting<'_> {
    fn search(
        &self,
        mut wall: i64,
        step: impl Fn(&dyn WallTimes, i64) -> Option<i64>,
    ) -> Option<i64> {
        let begin = wall;
        for _ in 0..MOST_STEPS {
            let start = wall;
            for part in self.0 {
                wall = step(part.times, wall)?;
            }
            if wall == start {
                return Some(wall);
            }
            if wall.abs_diff(begin) > HORIZON {
                return None;
            }
        }
        None
    }
}

impl WallTimes for Meeting<'_> {
    fn next_wall(&self, wall: i64) -> Option<i64> {
        self.search(wall, |times, wall| times.next_wall(wall))
    }

    fn latest_wall(&self, wall: i64) -> Option<i64> {
        self.search(wall, |times, wall| times.latest_wall(wall))
    }
}

#[cfg(test)]
mod tests;
