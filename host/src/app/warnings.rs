//! What is perhaps not meant so about triggers that are sound: times that a change of the clock
//! skips in the coming year, rules of time zones that other programs may not have yet, and
//! triggers whose time has passed. Each is told at the place of the trigger in the file.

use chrono::Months;

use crate::clock::Timestamp;
use crate::job::manifest::Entry;
use crate::job::{Diagnostic, Job, Manifest};
use crate::trigger::{ChangeKind, ClockChange, Effect, OlderRules};

/// What is known of the year that begins now.
#[derive(Debug)]
pub(super) struct Foresight {
    now: Timestamp,
    until: Timestamp,
    older: OlderRules,
}

impl Foresight {
    /// The year from an instant on.
    pub(super) fn from(now: Timestamp) -> Foresight {
        let until = now.checked_add_months(Months::new(12)).unwrap_or(now);
        Foresight {
            now,
            until,
            older: OlderRules::between(now, until),
        }
    }

    /// What is to be said of the trigger of an entry; nothing of a job that is disabled.
    pub(super) fn warnings(&mut self, manifest: &Manifest, entry: &Entry) -> Vec<Diagnostic> {
        let Some(job) = entry.result.as_ref().ok().filter(|job| job.enabled) else {
            return Vec::new();
        };
        if let Some(label) = self.is_over(job) {
            let message = format!("`{}` never fires again", job.id);
            let warning = manifest.trigger_warning(entry, message);
            return vec![warning.with_label(label)];
        }
        [self.skipped(job), self.disagreement(job)]
            .into_iter()
            .flatten()
            .map(|message| manifest.trigger_warning(entry, message))
            .collect()
    }

    /// When a trigger's last time was, if none is left.
    fn is_over(&self, job: &Job) -> Option<String> {
        let trigger = &job.trigger;
        let waits = trigger.fires_at_start() || !trigger.upstreams().is_empty();
        if waits || trigger.next_after(self.now).is_some() {
            return None;
        }
        // A trigger that never fired is another mistake, and told as such.
        let last = trigger.latest_in(Timestamp::MIN_UTC, self.now)?;
        let (wall, suffix) = match trigger.zone() {
            Some(zone) => (zone.to_wall(last).0, format!(" {zone}")),
            None => (last.naive_utc(), "Z".to_owned()),
        };
        Some(format!(
            "its last time was {}{suffix}",
            wall.format("%Y-%m-%d %H:%M")
        ))
    }

    /// The first time of a fixed-time job that a change of the clock skips.
    fn skipped(&self, job: &Job) -> Option<String> {
        let changes = job.trigger.clock_changes(self.now, self.until);
        let change = changes.iter().find(|change| {
            // Who wrote `"dst": "skip"` knows that it does not run.
            change.kind == ChangeKind::Skipped
                && matches!(change.effect, Effect::RunsOnceAt(_) | Effect::NotCaughtUp)
        })?;
        let day = change.times.first()?.date();
        let verb = if change.count == 1 { "does" } else { "do" };
        Some(format!(
            "`{}` runs at {} {}, which {verb} not exist on {day}: {}",
            job.id,
            change.times_listed(),
            change.zone,
            consequence(change, day)
        ))
    }

    /// An older time-zone database that would run a job at another time.
    fn disagreement(&mut self, job: &Job) -> Option<String> {
        let found = self.older.disagreement(&job.trigger)?;
        let (since, _) = found.zone.to_wall(found.from);
        Some(format!(
            "with the tz database {} `{}` would run {} from {} on ({}): other programs on this \
             host may disagree",
            found.version,
            job.id,
            found.shift_in_words(),
            since.date(),
            found.zone
        ))
    }
}

/// What becomes of the skipped times of a day.
fn consequence(change: &ClockChange, day: chrono::NaiveDate) -> String {
    match change.effect {
        Effect::RunsOnceAt(instant) => {
            let (wall, _) = change.zone.to_wall(instant);
            let once = if change.count == 1 { "" } else { " once" };
            let on = if wall.date() == day {
                "that day".to_owned()
            } else {
                format!("on {}", wall.date())
            };
            format!("it will run{once} at {} {on}", wall.format("%H:%M"))
        }
        _ => "it will not run then, for a jump of more than 3 h is not caught up with".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_instant;
    use crate::job::manifest::Options;
    use crate::job::{JobId, SourceText};
    use crate::trigger::{Dst, Reading, Trigger, Zone};
    use std::sync::Arc;

    fn at(text: &str) -> Timestamp {
        parse_instant(text).unwrap()
    }

    /// The warnings of a file, as they are drawn.
    fn drawn(jobs: &str, now: &str) -> String {
        let text = format!("{{\"timezone\": \"Europe/Berlin\", \"jobs\": [\n{jobs}\n]}}");
        let source = Arc::new(SourceText::new("jobs.json", text));
        let manifest = Manifest::parse(source, &Options::default()).unwrap();
        let mut foresight = Foresight::from(at(now));
        let warnings: Vec<String> = manifest
            .entries
            .iter()
            .flat_map(|entry| foresight.warnings(&manifest, entry))
            .map(|warning| warning.render(false).trim_end().to_owned())
            .collect();
        warnings.join("\n")
    }

    #[test]
    fn a_time_that_a_change_of_the_clock_skips() {
        let jobs = r#"{"id": "nightly", "component": "a.wasm", "trigger": "30 2 * * *"},
{"id": "twice", "component": "a.wasm", "trigger": {"cron": "0,30 2 * * *"}},
{"id": "off", "component": "a.wasm", "trigger": "30 2 * * *", "enabled": false},
{"id": "often", "component": "a.wasm", "trigger": "*/5 * * * *"},
{"id": "day", "component": "a.wasm", "trigger": "0 9 * * *"}"#;
        insta::assert_snapshot!(drawn(jobs, "2026-11-22T00:00:00Z"), @r#"
        warning: `nightly` runs at 02:30 Europe/Berlin, which does not exist on 2027-03-28: it will run at 03:00 that day
         --> jobs.json:2:53
          |
        2 | {"id": "nightly", "component": "a.wasm", "trigger": "30 2 * * *"},
          |                                                     ^^^^^^^^^^^^
        warning: `twice` runs at 02:00 and 02:30 Europe/Berlin, which do not exist on 2027-03-28: it will run once at 03:00 that day
         --> jobs.json:3:60
          |
        3 | {"id": "twice", "component": "a.wasm", "trigger": {"cron": "0,30 2 * * *"}},
          |                                                            ^^^^^^^^^^^^^^
        "#);
        // Beside the day on which it is.
        assert_eq!(
            drawn(
                r#"{"id": "a", "component": "a.wasm", "trigger": "30 2 * * 1-5"}"#,
                "2026-11-22T00:00:00Z"
            ),
            ""
        );
    }

    #[test]
    fn rules_that_other_programs_lack() {
        let jobs = r#"{"id": "report", "component": "a.wasm",
    "trigger": {"cron": "0 9 * * *", "timezone": "America/Vancouver"}},
{"id": "ticks", "component": "a.wasm", "trigger": {"cron": "*/5 * * * *", "timezone": "America/Vancouver"}}"#;
        insta::assert_snapshot!(drawn(jobs, "2026-06-01T00:00:00Z"), @r#"
        warning: with the tz database 2025b `report` would run an hour later from 2026-11-01 on (America/Vancouver): other programs on this host may disagree
         --> jobs.json:3:25
          |
        3 |     "trigger": {"cron": "0 9 * * *", "timezone": "America/Vancouver"}},
          |                         ^^^^^^^^^^^
        "#);
    }

    #[test]
    fn a_trigger_that_is_over() {
        let jobs = r#"{"id": "once", "component": "a.wasm", "trigger": "0 0 9 1 1 * 2024"},
{"id": "never", "component": "a.wasm", "trigger": "0 0 30 2 *"},
{"id": "asked", "component": "a.wasm", "trigger": "@manually"},
{"id": "start", "component": "a.wasm", "trigger": "@reboot"}"#;
        insta::assert_snapshot!(drawn(jobs, "2026-06-01T00:00:00Z"), @r#"
        warning: `once` never fires again
         --> jobs.json:2:50
          |
        2 | {"id": "once", "component": "a.wasm", "trigger": "0 0 9 1 1 * 2024"},
          |                                                  ^^^^^^^^^^^^^^^^^^ its last time was 2024-01-01 09:00 Europe/Berlin
        "#);
    }

    fn said(zone: &str, text: &str, dst: Dst, now: &str) -> String {
        let reading = Reading {
            dst,
            ..Zone::parse(zone).unwrap().into()
        };
        let mut job = Job::by_hand(JobId::new("j"), "a.wasm");
        job.trigger = Trigger::parse(text, reading).unwrap();
        Foresight::from(at(now)).skipped(&job).unwrap_or_default()
    }

    #[test]
    fn other_ways_out_of_a_gap() {
        let now = "2026-11-22T00:00:00Z";
        assert_eq!(said("Europe/Berlin", "30 2 * * *", Dst::Skip, now), "");
        assert!(
            said("Pacific/Apia", "0 9 * * *", Dst::RunAfter, "2011-12-01T00:00:00Z")
                .ends_with("2011-12-30: it will not run then, for a jump of more than 3 h is not caught up with")
        );
        assert_eq!(said("Europe/Berlin", "*/5 2 * * *", Dst::RunAfter, now), "");
    }
}
