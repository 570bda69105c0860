//! A look ahead: what jobs will do between two instants, worked out on a simulated clock.
//!
//! ```text
//!   jobs ──► Outlook ──firings──► Firing, Firing, …  ──► counts, busiest minutes,
//!  from..until,  durations       in the order they       hours, overlaps: Plan
//!                                are due
//! ```
//!
//! Pure: no clock, no engine, no store. The firings are a stream; what is kept of them is a
//! [`Plan`] whose size goes with the number of jobs and hours, not of firings.
//!
//! What is assumed: nothing runs at the beginning, and `max_runs` that do not say from when they
//! count do so from there. A run takes as long as [`Durations`] say, and succeeds: so jobs that
//! come `after` another one fire at its end if they wait for a success or for any end, and never
//! if they wait for a failure. A job with `max_instances` runs in flight skips a firing, unless
//! its `overlap` says otherwise; one that waits or takes another's place is taken to run from when it
//! is due. Where
//! nothing is known of how long a job takes, nothing is told that depends on it.

mod hours;
mod overlaps;
mod stream;
mod tally;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};

use crate::clock::Timestamp;
use crate::job::{Job, JobId};
use crate::trigger::{After, Ending, Trigger, Zone};

pub use hours::{ClockChange, Hour, Quiet};
pub use overlaps::{Overlaps, Pair, Peak};
pub use stream::Firings;
pub use tally::Minute;

/// The most firings that a [`Plan`] looks at; one of more ends early and says so.
pub const MOST_FIRINGS: u64 = 30_000_000;

/// How long runs take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// That of a job which is not named below; None: not known.
    pub usual: Option<Duration>,
    /// Those of some jobs.
    pub of_jobs: HashMap<JobId, Duration>,
}

impl Durations {
    /// How long a run of a job takes, if that is known.
    pub fn of(&self, id: &JobId) -> Option<Duration> {
        self.of_jobs.get(id).copied().or(self.usual)
    }

    /// Whether nothing is known of any job.
    pub fn is_empty(&self) -> bool {
        self.usual.is_none() && self.of_jobs.is_empty()
    }
}

/// Jobs, and the stretch of time that is looked at.
#[derive(Debug)]
pub struct Outlook {
    from: Timestamp,
    until: Timestamp,
    jobs: Vec<Prospect>,
    has_durations: bool,
}

/// A job in an [`Outlook`].
#[derive(Debug)]
struct Prospect {
    job: Arc<Job>,
    /// With its runs counted.
    trigger: Trigger,
    /// In nanoseconds.
    duration: Option<i64>,
    notes: Vec<Note>,
    /// The jobs, by place, that fire when a run of this one ends.
    downstream: Vec<u32>,
}

/// Why a job has no firings in a plan, or not all that it will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is disabled.
    Disabled,
    /// It runs only when somebody asks.
    OnDemand,
    /// It also runs when the host starts.
    AtStart,
    /// It comes after another job, and when that is cannot be told.
    After {
        /// What it waits for.
        after: After,
        /// Why that cannot be told.
        unknown: Unknown,
    },
}

/// Why it cannot be told when a job fires that comes after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It waits for a failure, and runs are taken to succeed.
    Failure,
    /// How long the other one takes is not known.
    Duration,
    /// The other one is disabled or not in the plan.
    Absent,
    /// The jobs wait for each other in a circle.
    Circle,
}

/// One firing of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The job, by its place in [`Outlook::jobs`].
    pub job: usize,
    /// The instant of its trigger.
    pub scheduled_at: Timestamp,
    /// When it starts: the same, or later by its jitter.
    pub due_at: Timestamp,
    /// The job, by its place, whose end makes it fire; None: its time has come.
    pub after: Option<usize>,
    /// Nothing runs: `max_instances` runs of the job are in flight.
    pub skipped: bool,
    /// When the run ends, if it runs and how long it takes is known.
    pub ends_at: Option<Timestamp>,
}

/// What jobs will do between two instants.
#[derive(Debug)]
pub struct Plan {
    /// The first instant that is looked at.
    pub from: Timestamp,
    /// The end, exclusive.
    pub until: Timestamp,
    /// There were [`MOST_FIRINGS`] before the end that was asked for: `until` is as far as they
    /// came.
    pub cut: bool,
    /// All jobs that were given, in their order.
    pub jobs: Vec<JobPlan>,
    /// How many firings there are.
    pub firings: u64,
    /// How many of them are skipped.
    pub skipped: u64,
    /// The minutes with the most firings, at most ten, the busiest first.
    pub busiest: Vec<Minute>,
    /// Every hour of the wall clock that was asked for, in order.
    pub hours: Vec<Hour>,
    /// Which runs meet; None where no duration is known.
    pub overlaps: Option<Overlaps>,
}

/// One job in a [`Plan`].
#[derive(Debug)]
pub struct JobPlan {
    /// The job.
    pub job: Arc<Job>,
    /// How often it fires.
    pub firings: u64,
    /// How many of its firings are skipped, as too many runs are in flight.
    pub skipped: u64,
    /// When it first starts.
    pub first: Option<Timestamp>,
    /// When it last starts.
    pub last: Option<Timestamp>,
    /// Why it does not fire, or not at all times at which it will.
    pub notes: Vec<Note>,
    /// If it does not fire by the end of the plan: when it does next.
    pub next: Option<Timestamp>,
    /// If it never fires at all although it was meant to: why.
    pub never: Option<String>,
}

/// Where triggers end: a few days into 2101.
const END_OF_TIME: i64 = 4_133_980_800 + 3 * 86_400;

impl Outlook {
    /// Looks at jobs from `from` until `until` (exclusive). Instants outside of the years 1970
    /// to 2100 are left out. Of jobs with the same id the first counts.
    pub fn new(
        jobs: impl IntoIterator<Item = Arc<Job>>,
        from: Timestamp,
        until: Timestamp,
        durations: &Durations,
    ) -> Outlook {
        let days = TimeDelta::days(3);
        let from = from.max(Timestamp::UNIX_EPOCH - days);
        let until =
            until.min(chrono::DateTime::<Utc>::from_timestamp(END_OF_TIME, 0).unwrap_or(until));
        let mut places: HashMap<JobId, usize> = HashMap::new();
        let mut prospects: Vec<Prospect> = Vec::new();
        for job in jobs {
            if places.contains_key(&job.id) {
                continue;
            }
            places.insert(job.id.clone(), prospects.len());
            // An instant at the very beginning is the first to count.
            let counted = job.trigger.counted_from(from - TimeDelta::nanoseconds(1));
            prospects.push(Prospect {
                trigger: counted.unwrap_or_else(|| job.trigger.clone()),
                duration: durations.of(&job.id).map(nanos),
                notes: notes(&job),
                downstream: Vec::new(),
                job,
            });
        }
        let mut outlook = Outlook {
            from,
            until: until.max(from),
            jobs: prospects,
            has_durations: !durations.is_empty(),
        };
        outlook.link(&places);
        outlook
    }

    /// The jobs, in the order in which they were given.
    pub fn jobs(&self) -> impl ExactSizeIterator<Item = &Arc<Job>> {
        self.jobs.iter().map(|prospect| &prospect.job)
    }

    /// A job by its place, as in [`Firing::job`].
    pub fn job(&self, place: usize) -> Option<&Arc<Job>> {
        self.jobs.get(place).map(|prospect| &prospect.job)
    }

    /// The first instant that is looked at.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The end, exclusive.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Every firing that is due from the beginning on and before the end, in the order in which
    /// they are due; those at the same instant in the order of their jobs.
    pub fn firings(&self) -> Firings<'_> {
        Firings::new(self)
    }

    /// The plan, with the hours of the wall clock of `zone`. `each` sees every firing on the way;
    /// its error ends the work.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn plan<E>(
        &self,
        zone: Zone,
        each: impl FnMut(&Firing) -> Result<(), E>,
    ) -> Result<Plan, E> {
        tally::plan(self, zone, MOST_FIRINGS, each)
    }

    /// The same plan where nobody needs to see the firings; faster where no durations are known.
    pub fn counted(&self, zone: Zone) -> Plan {
        tally::counted(self, zone, MOST_FIRINGS)
    }

    /// Connects jobs with those that come after them.
    fn link(&mut self, places: &HashMap<JobId, usize>) {
        let mut edges: Vec<(usize, usize, After)> = Vec::new();
        let mut unknown: Vec<(usize, After, Unknown)> = Vec::new();
        for (place, prospect) in self.jobs.iter().enumerate() {
            if !prospect.job.enabled {
                continue;
            }
            for after in prospect.trigger.upstreams() {
                let upstream = places.get(&*after.job).copied();
                let found =
                    upstream.and_then(|upstream| Some((upstream, self.jobs.get(upstream)?)));
                let why = match found {
                    _ if after.on == Ending::Failure => Unknown::Failure,
                    None => Unknown::Absent,
                    Some((_, upstream)) if !upstream.job.enabled => Unknown::Absent,
                    Some((_, upstream)) if upstream.duration.is_none() => Unknown::Duration,
                    Some((upstream, _)) => {
                        edges.push((upstream, place, after.clone()));
                        continue;
                    }
                };
                unknown.push((place, after.clone(), why));
            }
        }
        // Nothing that waits for itself, however far around, is followed.
        let order = in_order(self.jobs.len(), &edges);
        for (upstream, place, after) in edges {
            if order.get(upstream) < order.get(place) {
                if let (Some(prospect), Ok(place)) =
                    (self.jobs.get_mut(upstream), u32::try_from(place))
                    && !prospect.downstream.contains(&place)
                {
                    prospect.downstream.push(place);
                }
            } else {
                unknown.push((place, after, Unknown::Circle));
            }
        }
        for (place, after, unknown) in unknown {
            if let Some(prospect) = self.jobs.get_mut(place) {
                prospect.notes.push(Note::After { after, unknown });
            }
        }
    }
}

/// A rank for each job such that all that it waits for have lower ones; jobs in a circle, and
/// those behind it, all have the highest.
fn in_order(jobs: usize, edges: &[(usize, usize, After)]) -> Vec<usize> {
    let mut rank = vec![usize::MAX; jobs];
    let mut waits = vec![0_usize; jobs];
    let mut downstream: Vec<Vec<usize>> = vec![Vec::new(); jobs];
    for (upstream, place, _) in edges {
        if let (Some(waits), Some(list)) = (waits.get_mut(*place), downstream.get_mut(*upstream)) {
            *waits += 1;
            list.push(*place);
        }
    }
    let free = |(place, waits): (usize, &usize)| (*waits == 0).then_some(place);
    let mut ready: Vec<usize> = waits.iter().enumerate().filter_map(free).collect();
    let mut next = 0;
    while let Some(place) = ready.pop() {
        if let Some(rank) = rank.get_mut(place) {
            *rank = next;
            next += 1;
        }
        for below in downstream.get(place).into_iter().flatten() {
            if let Some(waits) = waits.get_mut(*below) {
                *waits -= 1;
                if *waits == 0 {
                    ready.push(*below);
                }
            }
        }
    }
    rank
}

/// What there is to say of a job by itself.
fn notes(job: &Job) -> Vec<Note> {
    if !job.enabled {
        return vec![Note::Disabled];
    }
    let mut notes = Vec::new();
    if matches!(job.trigger, Trigger::Manual) {
        notes.push(Note::OnDemand);
    }
    if job.run_on_start || job.trigger.fires_at_start() {
        notes.push(Note::AtStart);
    }
    notes
}

/// A length of time in nanoseconds; at most 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
