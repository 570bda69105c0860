//! `quarterjack explain`: what an expression or a job's trigger means in plain words, when it
//! fires next, and what changes of the clock make of it. Computed, not run: no engine, no host.

use std::io::{self, Write};

use chrono::{Datelike as _, Months, NaiveDateTime};
use clap::Args;
use serde::Serialize;

use super::output::{Paint, Screen, Tone, harmless};
use super::subject::{About, Upcoming, offset_text};
use super::{Exit, Refusal};
use crate::clock::{Clock, SystemClock, Timestamp, format_instant};
use crate::job::Job;
use crate::trigger::{ChangeKind, ClockChange, Effect};

/// The arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack explain '30 2 * * *' --timezone Europe/Berlin\n  \
quarterjack explain 'H H * * *' --job-id nightly\n  \
quarterjack explain report --jobs jobs.json")]
pub(super) struct Explain {
    #[command(flatten)]
    about: About,
    /// Print the same facts as one JSON object, instants in UTC
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ExplanationJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    trigger: &'a str,
    sentence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    next: Vec<String>,
    /// Why there are fewer instants than asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
    clock_changes: Vec<ChangeJson<'a>>,
    /// The job's policies that are not the usual ones, in words.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    policies: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct ChangeJson<'a> {
    timezone: &'a str,
    at: String,
    /// `skipped` or `repeated`.
    kind: &'static str,
    /// The times on the wall that are: from the first one to before the other.
    from: String,
    to: String,
    offset_before: String,
    offset_after: String,
    /// The first few of the trigger's times among them, and how many there are.
    times: Vec<String>,
    count: u32,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_at: Option<String>,
    words: String,
}

impl Explain {
    /// Prints the explanation.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let answer = self.answer(&SystemClock, screen)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            let json = serde_json::to_string(&answer.to_json());
            writeln!(out, "{}", json.map_err(io::Error::from)?)?;
        } else {
            answer.write(screen.out, &mut out)?;
        }
        out.flush()?;
        Ok(Exit::Ok)
    }

    fn answer(&self, clock: &dyn Clock, screen: Screen) -> Result<Answer, Refusal> {
        let subject = self.about.subject(screen)?;
        let now = clock.now();
        let from = self.about.after.unwrap_or(now);
        // A year, where there are that many years left.
        let until = from.checked_add_months(Months::new(12)).unwrap_or(from);
        let trigger = &subject.trigger;
        Ok(Answer {
            job: subject.job.as_ref().map(|job| job.id.to_string()),
            policies: subject
                .job
                .as_ref()
                .map(|job| policies_of(job))
                .unwrap_or_default(),
            trigger: trigger.to_string(),
            sentence: trigger.describe(),
            mixes_elapsed_time: trigger.mixes_elapsed_time(),
            changes: trigger
                .has_instants()
                .then(|| trigger.clock_changes(from, until)),
            after: self.about.after,
            upcoming: self.about.upcoming(&subject, now),
        })
    }
}

/// What there is to say about a trigger.
#[derive(Debug)]
struct Answer {
    job: Option<String>,
    /// The job's policies that are not the usual ones.
    policies: Vec<(&'static str, String)>,
    trigger: String,
    sentence: String,
    upcoming: Upcoming,
    /// Changes of the clock in a year; None for a trigger without times.
    changes: Option<Vec<ClockChange>>,
    /// Elapsed time has a say in it, beside the clock on the wall.
    mixes_elapsed_time: bool,
    /// Where the year begins, if not now.
    after: Option<Timestamp>,
}

impl Answer {
    fn write(&self, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        if let Some(job) = &self.job {
            write!(to, "{}   ", paint.paint(Tone::Strong, harmless(job)))?;
        }
        let upcoming = &self.upcoming;
        write!(
            to,
            "{}",
            paint.paint(Tone::Strong, harmless(&self.sentence))
        )?;
        if let Some(zone) = upcoming.zone {
            write!(to, ", {zone}")?;
        }
        if upcoming.zone != Some(upcoming.shown) && !upcoming.instants.is_empty() {
            write!(to, " (shown in {})", upcoming.shown)?;
        }
        writeln!(to, ".")?;
        upcoming.write(paint, to)?;
        if let Some(end) = &upcoming.end {
            writeln!(to, "  {end}")?;
        }
        if let Some(changes) = &self.changes
            && !upcoming.instants.is_empty()
        {
            self.write_changes(changes, paint, to)?;
        }
        self.write_policies(to)
    }

    fn write_policies(&self, to: &mut dyn Write) -> io::Result<()> {
        if self.policies.is_empty() {
            return Ok(());
        }
        writeln!(to, "Policies:")?;
        let keys = self.policies.iter().map(|(key, _)| key.len());
        let width = keys.max().unwrap_or(0);
        for (key, words) in &self.policies {
            writeln!(to, "  {key:width$}   {}", harmless(words))?;
        }
        Ok(())
    }

    fn write_changes(
        &self,
        changes: &[ClockChange],
        paint: Paint,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let year = match self.after {
            None => "in the coming year".to_owned(),
            Some(after) => {
                let (wall, _) = self.upcoming.shown.to_wall(after);
                format!("in the year from {} on", date(wall))
            }
        };
        if changes.is_empty() && self.mixes_elapsed_time {
            return writeln!(
                to,
                "Clock changes {year}: an interval takes part, which keeps to elapsed time; with each \
                 change it meets the clock on the wall at other times."
            );
        }
        if changes.is_empty() {
            return writeln!(to, "Clock changes {year}: none concerns it.");
        }
        writeln!(to, "Clock changes {year}:")?;
        let several_zones = changes
            .iter()
            .any(|change| Some(change.zone) != self.upcoming.zone);
        let rows: Vec<[String; 3]> = changes
            .iter()
            .map(|change| {
                let mut date = date(first_time(change));
                if several_zones {
                    date.push_str(&format!("  {}", change.zone));
                }
                [date, change.times_in_words(), change.effect_in_words()]
            })
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let (dates, times) = (width(0), width(1));
        for [date, what, effect] in &rows {
            let effect = paint.paint(Tone::Warn, effect);
            writeln!(to, "  {date:dates$}   {what:times$}   {effect}")?;
        }
        Ok(())
    }

    fn to_json(&self) -> ExplanationJson<'_> {
        let changes = self.changes.iter().flatten();
        ExplanationJson {
            job: self.job.as_deref(),
            trigger: &self.trigger,
            sentence: &self.sentence,
            timezone: self.upcoming.zone.map(|zone| zone.name()),
            next: self
                .upcoming
                .instants
                .iter()
                .copied()
                .map(format_instant)
                .collect(),
            end: self.upcoming.end.as_deref(),
            clock_changes: changes.map(change_json).collect(),
            policies: self
                .policies
                .iter()
                .map(|(key, words)| ((*key).to_owned(), words.as_str().into()))
                .collect(),
        }
    }
}

/// How many runs of a job may be in flight, if more than one, and its policies where they are not
/// the usual ones.
fn policies_of(job: &Job) -> Vec<(&'static str, String)> {
    let instances =
        (job.max_instances > 1).then(|| ("max_instances", job.max_instances.to_string()));
    instances
        .into_iter()
        .chain(job.policies.in_words())
        .collect()
}

/// The first of the trigger's times that a change concerns.
fn first_time(change: &ClockChange) -> NaiveDateTime {
    change.times.first().copied().unwrap_or(change.from)
}

/// `28 Mar 2027`.
fn date(time: NaiveDateTime) -> String {
    format!("{} {}", time.day(), time.format("%b %Y"))
}

fn change_json(change: &ClockChange) -> ChangeJson<'_> {
    let wall = |time: &NaiveDateTime| time.format("%Y-%m-%dT%H:%M:%S").to_string();
    let (effect, runs_at) = match change.effect {
        Effect::RunsOnceAt(instant) => ("runs_once", Some(format_instant(instant))),
        Effect::DoesNotRun => ("does_not_run", None),
        Effect::NotCaughtUp => ("not_caught_up", None),
        Effect::RunsFirstTimeOnly => ("runs_first_time_only", None),
        Effect::Fewer { .. } => ("fewer_runs", None),
        Effect::More { .. } => ("more_runs", None),
    };
    ChangeJson {
        timezone: change.zone.name(),
        at: format_instant(change.at),
        kind: match change.kind {
            ChangeKind::Skipped => "skipped",
            ChangeKind::Repeated => "repeated",
        },
        from: wall(&change.from),
        to: wall(&change.to),
        offset_before: offset_text(change.offset_before),
        offset_after: offset_text(change.offset_after),
        times: change.times.iter().map(wall).collect(),
        count: change.count,
        effect,
        runs_at,
        words: format!("{}: {}", change.times_in_words(), change.effect_in_words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        explain: Explain,
    }

    const SCREEN: Screen = Screen {
        out: Paint { on: false },
        err: Paint { on: false },
        width: 100,
    };

    fn ask(line: &[&str]) -> Result<Answer, Refusal> {
        let line = Line::try_parse_from([&["explain"], line].concat()).unwrap();
        let clock = ManualClock::at("2026-11-22T14:28:00Z");
        line.explain.answer(&clock, SCREEN)
    }

    fn shown(line: &[&str]) -> String {
        let mut bytes = Vec::new();
        ask(line)
            .unwrap()
            .write(Paint { on: false }, &mut bytes)
            .unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_expression_with_clock_changes() {
        insta::assert_snapshot!(shown(&["30 2 * * *", "--timezone", "Europe/Berlin"]), @"
        At 02:30 every day, Europe/Berlin.
          Mon 23 Nov 2026 02:30 +01:00   in 11 h 2 min
          Tue 24 Nov 2026 02:30 +01:00
          Wed 25 Nov 2026 02:30 +01:00
          Thu 26 Nov 2026 02:30 +01:00
          Fri 27 Nov 2026 02:30 +01:00
        Clock changes in the coming year:
          28 Mar 2027   02:30 does not exist   runs once, at 03:00 +02:00
          31 Oct 2027   02:30 happens twice    runs once, the first time (+02:00)
        ");
        insta::assert_snapshot!(shown(&["0 */2 * * *", "--timezone=Europe/Berlin", "-n1"]), @"
        Every 2 hours from 00:00 to 22:00, Europe/Berlin.
          Sun 22 Nov 2026 16:00 +01:00   in 32 min
        Clock changes in the coming year:
          28 Mar 2027   02:00 does not exist   1 run fewer that day
          31 Oct 2027   02:00 happens twice    runs both times: 1 run more that day
        ");
        let later = [
            "45 1 * * *",
            "--timezone=Australia/Lord_Howe",
            "-n1",
            "--after=2030-01-01T00:00:00Z",
        ];
        insta::assert_snapshot!(shown(&later), @"
        At 01:45 every day, Australia/Lord_Howe.
          Wed 02 Jan 2030 01:45 +11:00
        Clock changes in the year from 1 Jan 2030 on:
          7 Apr 2030   01:45 happens twice   runs once, the first time (+11:00)
        ");
    }

    #[test]
    fn the_policies_of_a_job_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = r#"[{"id": "sync", "component": "a.wasm", "trigger": "0 9 * * *", "max_instances": 2,
            "overlap": {"queue": 4}, "retry": {"attempts": 5, "backoff": "30s"}, "misfire_grace_time": "unlimited"}]"#;
        std::fs::write(&path, text).unwrap();
        let line = ["sync", "--jobs", path.to_str().unwrap(), "-n1"];
        insta::assert_snapshot!(shown(&line), @"
        sync   At 09:00 every day, UTC.
          Mon 23 Nov 2026 09:00 +00:00   in 18 h 32 min
        Clock changes in the coming year: none concerns it.
        Policies:
          max_instances        2
          misfire_grace_time   unlimited
          overlap              queue, at most 4
          retry                5 attempts, 30 s apart, then 2 times as long each, at most 1 h
        ");
        let answer = ask(&line).unwrap();
        let json = serde_json::to_value(answer.to_json()).unwrap();
        assert_eq!(json["policies"]["overlap"], "queue, at most 4");
    }

    #[test]
    fn an_interval_that_takes_part_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = r#"[{"id": "both", "component": "a.wasm", "trigger":
            {"all": ["0 9 * * *", {"interval": "7h"}], "timezone": "Europe/Berlin"}}]"#;
        std::fs::write(&path, text).unwrap();
        let told = shown(&["both", "--jobs", path.to_str().unwrap(), "-n1"]);
        assert!(told.contains("keeps to elapsed time"), "{told}");
    }

    #[test]
    fn what_no_change_concerns() {
        insta::assert_snapshot!(shown(&["0 9 * * 1-5", "--timezone=Europe/Berlin", "-n2"]), @"
        At 09:00 from Monday to Friday, Europe/Berlin.
          Mon 23 Nov 2026 09:00 +01:00   in 17 h 32 min
          Tue 24 Nov 2026 09:00 +01:00
        Clock changes in the coming year: none concerns it.
        ");
        insta::assert_snapshot!(shown(&["@every 90s", "--timezone=UTC", "-n1"]), @"
        Every 1 min 30 s, counted from 1970-01-01T00:00:00Z (shown in UTC).
          Sun 22 Nov 2026 14:28:30 +00:00   in 30 s
        Clock changes in the coming year: none concerns it.
        ");
    }

    #[test]
    fn what_has_no_times() {
        insta::assert_snapshot!(shown(&["0 0 30 2 *"]), @"
        At 00:00 on the 30th of February, which never comes, UTC.
          it never fires: 30 February does not exist
        ");
        insta::assert_snapshot!(shown(&["@manually"]), @"
        Only when somebody asks for it.
          it runs only when somebody asks: quarterjack run JOB
        ");
        insta::assert_snapshot!(shown(&["@reboot"]), @"
        When the host starts.
          it has no times that could be told in advance
        ");
        insta::assert_snapshot!(shown(&["0 0 0 1 1 * 2027", "-n2"]), @"
        At 00:00 on the 1st of January in 2027, UTC.
          Fri 01 Jan 2027 00:00 +00:00   in 39 d 9 h
          it does not fire after 2027-01-01T00:00:00Z
        Clock changes in the coming year: none concerns it.
        ");
    }

    #[test]
    fn a_job_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = r#"{"timezone": "Europe/Berlin", "jobs": [
            {"id": "report", "component": "a.wasm", "trigger": "30 2 * * sun"}]}"#;
        std::fs::write(&path, text).unwrap();
        let jobs = path.to_str().unwrap();
        insta::assert_snapshot!(shown(&["report", "--jobs", jobs, "-n1", "--timezone=Asia/Tokyo"]), @"
        report   At 02:30 on every Sunday, Europe/Berlin (shown in Asia/Tokyo).
          Sun 29 Nov 2026 10:30 +09:00   in 6 d 11 h
        Clock changes in the coming year:
          28 Mar 2027   02:30 does not exist   runs once, at 03:00 +02:00
          31 Oct 2027   02:30 happens twice    runs once, the first time (+02:00)
        ");
        assert!(
            ask(&["reprot", "--jobs", jobs])
                .unwrap_err()
                .message
                .contains("`report`")
        );
        insta::assert_snapshot!(shown(&["H H * * *", "--job-id=nightly", "-n1"]), @"
        At 18:42 every day, UTC.
          Sun 22 Nov 2026 18:42 +00:00   in 4 h 14 min
        Clock changes in the coming year: none concerns it.
        ");
        assert_eq!(ask(&["61 * * * *"]).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn the_json_form_has_the_same_facts() {
        let answer = ask(&["30 2 * * *", "--timezone=Europe/Berlin", "-n1"]).unwrap();
        let json = serde_json::to_string_pretty(&answer.to_json()).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "trigger": "30 2 * * *",
          "sentence": "At 02:30 every day",
          "timezone": "Europe/Berlin",
          "next": [
            "2026-11-23T01:30:00Z"
          ],
          "clock_changes": [
            {
              "timezone": "Europe/Berlin",
              "at": "2027-03-28T01:00:00Z",
              "kind": "skipped",
              "from": "2027-03-28T02:00:00",
              "to": "2027-03-28T03:00:00",
              "offset_before": "+01:00",
              "offset_after": "+02:00",
              "times": [
                "2027-03-28T02:30:00"
              ],
              "count": 1,
              "effect": "runs_once",
              "runs_at": "2027-03-28T01:00:00Z",
              "words": "02:30 does not exist: runs once, at 03:00 +02:00"
            },
            {
              "timezone": "Europe/Berlin",
              "at": "2027-10-31T01:00:00Z",
              "kind": "repeated",
              "from": "2027-10-31T02:00:00",
              "to": "2027-10-31T03:00:00",
              "offset_before": "+02:00",
              "offset_after": "+01:00",
              "times": [
                "2027-10-31T02:30:00"
              ],
              "count": 1,
              "effect": "runs_first_time_only",
              "words": "02:30 happens twice: runs once, the first time (+02:00)"
            }
          ]
        }
        "#);
        let never = ask(&["0 0 30 2 *"]).unwrap();
        let json = serde_json::to_value(never.to_json()).unwrap();
        assert_eq!(json["end"], "it never fires: 30 February does not exist");
        assert_eq!(json["next"], serde_json::json!([]));
    }
}
