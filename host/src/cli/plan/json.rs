//! The plan for programs: one object, its firings first, written as they come.

use std::io::{self, Write};

use serde::Serialize;

use super::Query;
use crate::clock::{Timestamp, format_instant, rfc3339_option};
use crate::job::JobId;
use crate::plan::{Firing, JobPlan, Note, Outlook, Plan, Unknown};

#[derive(Serialize)]
struct HeadJson<'a> {
    from: String,
    to: String,
    timezone: &'a str,
    /// What is assumed of the length of runs, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
}

#[derive(Serialize)]
struct FiringJson<'a> {
    job: &'a JobId,
    scheduled_at: String,
    due_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a JobId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skipped: bool,
}

#[derive(Serialize)]
struct TailJson<'a> {
    /// Where the plan ended early.
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    cut_at: Option<Timestamp>,
    total: u64,
    skipped: u64,
    jobs: Vec<JobJson<'a>>,
    busiest_minutes: Vec<CountJson>,
    hours: Vec<CountJson>,
    nothing: Vec<StretchJson>,
    clock_changes: Vec<ChangeJson>,
    overlaps: Option<OverlapsJson<'a>>,
}

#[derive(Serialize)]
struct JobJson<'a> {
    job: &'a JobId,
    trigger: String,
    timezone: Option<&'static str>,
    firings: u64,
    skipped: u64,
    #[serde(with = "rfc3339_option")]
    first: Option<Timestamp>,
    #[serde(with = "rfc3339_option")]
    last: Option<Timestamp>,
    /// When it fires next, if it does not in the plan.
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    never: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<NoteJson<'a>>,
}

#[derive(Serialize)]
struct NoteJson<'a> {
    note: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'static str>,
}

#[derive(Serialize)]
struct CountJson {
    start: String,
    firings: u64,
}

#[derive(Serialize)]
struct StretchJson {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct ChangeJson {
    at: String,
    seconds: i64,
}

#[derive(Serialize)]
struct OverlapsJson<'a> {
    pairs: Vec<PairJson<'a>>,
    /// If there were too many to look at all: those before it were.
    #[serde(with = "rfc3339_option", skip_serializing_if = "Option::is_none")]
    counted_until: Option<Timestamp>,
    most_at_once: usize,
    #[serde(with = "rfc3339_option")]
    most_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct PairJson<'a> {
    jobs: [&'a JobId; 2],
    times: u64,
    first: String,
}

/// Writes the plan of an outlook.
pub(super) fn write(outlook: &Outlook, query: &Query, to: &mut dyn Write) -> io::Result<()> {
    let head = HeadJson {
        from: format_instant(outlook.from()),
        to: format_instant(outlook.until()),
        timezone: query.zone.name(),
        duration_seconds: query.durations.usual.map(|usual| usual.as_secs_f64()),
    };
    // The object stays open for what follows.
    let head = serde_json::to_string(&head)?;
    write!(to, "{},\"firings\":[", head.trim_end_matches('}'))?;
    let mut between = "";
    let plan = outlook.plan(query.zone, |firing| {
        write!(to, "{between}")?;
        between = ",";
        serde_json::to_writer(&mut *to, &of_firing(firing, outlook)).map_err(io::Error::from)
    })?;
    let tail = serde_json::to_string(&tail(&plan))?;
    writeln!(to, "],{}", tail.trim_start_matches('{'))
}

fn of_firing<'a>(firing: &Firing, outlook: &'a Outlook) -> Option<FiringJson<'a>> {
    let id = |place: usize| outlook.job(place).map(|job| &job.id);
    Some(FiringJson {
        job: id(firing.job)?,
        scheduled_at: format_instant(firing.scheduled_at),
        due_at: format_instant(firing.due_at),
        ends_at: firing.ends_at.map(format_instant),
        after: firing.after.and_then(id),
        skipped: firing.skipped,
    })
}

fn tail(plan: &Plan) -> TailJson<'_> {
    let count = |start, firings| CountJson {
        start: format_instant(start),
        firings,
    };
    let id = |place: usize| plan.jobs.get(place).map(|it| &it.job.id);
    TailJson {
        cut_at: plan.cut.then_some(plan.until),
        total: plan.firings,
        skipped: plan.skipped,
        jobs: plan.jobs.iter().map(of_job).collect(),
        busiest_minutes: plan
            .busiest
            .iter()
            .map(|it| count(it.start, it.firings))
            .collect(),
        hours: plan
            .hours
            .iter()
            .map(|it| count(it.start, it.firings))
            .collect(),
        nothing: plan
            .quiet()
            .iter()
            .map(|quiet| StretchJson {
                from: format_instant(quiet.from),
                to: format_instant(quiet.until),
            })
            .collect(),
        clock_changes: plan
            .clock_changes()
            .iter()
            .map(|change| ChangeJson {
                at: format_instant(change.at),
                seconds: change.seconds(),
            })
            .collect(),
        overlaps: plan.overlaps.as_ref().map(|overlaps| OverlapsJson {
            pairs: overlaps
                .pairs
                .iter()
                .filter_map(|pair| {
                    Some(PairJson {
                        jobs: [id(pair.jobs.0)?, id(pair.jobs.1)?],
                        times: pair.times,
                        first: format_instant(pair.first),
                    })
                })
                .collect(),
            counted_until: overlaps.counted_until,
            most_at_once: overlaps.peak.map_or(0, |peak| peak.runs),
            most_at: overlaps.peak.map(|peak| peak.at),
        }),
    }
}

fn of_job(plan: &JobPlan) -> JobJson<'_> {
    JobJson {
        job: &plan.job.id,
        trigger: plan.job.trigger.to_string(),
        timezone: plan.job.trigger.zone().map(|zone| zone.name()),
        firings: plan.firings,
        skipped: plan.skipped,
        first: plan.first,
        last: plan.last,
        next: plan.next,
        never: plan.never.as_deref(),
        notes: plan.notes.iter().map(of_note).collect(),
    }
}

fn of_note(note: &Note) -> NoteJson<'_> {
    let plain = |note| NoteJson {
        note,
        after: None,
        unknown: None,
    };
    match note {
        Note::Disabled => plain("disabled"),
        Note::OnDemand => plain("on_demand"),
        Note::AtStart => plain("at_start"),
        Note::After { after, unknown } => NoteJson {
            note: "after",
            after: Some(&after.job),
            unknown: Some(match unknown {
                Unknown::Failure => "failure",
                Unknown::Duration => "duration",
                Unknown::Absent => "absent",
                Unknown::Circle => "circle",
            }),
        },
    }
}
