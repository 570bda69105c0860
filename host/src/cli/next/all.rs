//! When the jobs of a whole job file fire next, all together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::definitions::{Definitions, warn_of_ceiling};
use crate::cli::output::{Paint, Screen, Tone, ahead, cut, harmless};
use crate::cli::subject::{About, offset_text, time_format, viewers_zone};
use crate::cli::{Exit, Refusal};
use crate::clock::{Timestamp, format_instant};
use crate::job::{Job, JobId};
use crate::trigger::{Trigger, Zone};

/// The next firings of all jobs of a file.
#[derive(Debug)]
pub(super) struct AllJobs {
    /// The sources.
    title: String,
    /// Failure if jobs are missing because they are wrong.
    pub(super) exit: Exit,
    /// In order.
    firings: Vec<(Timestamp, Arc<Job>)>,
    /// What there is to say about jobs that are not among them.
    pub(super) others: Vec<String>,
    /// The zone that is shown.
    shown: Zone,
    /// The time now, where they are counted from it.
    now: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct AllJson<'a> {
    next: Vec<FiringJson<'a>>,
}

#[derive(Debug, Serialize)]
struct FiringJson<'a> {
    at: String,
    job: &'a JobId,
    trigger: String,
}

impl AllJobs {
    /// Looks at the job file that is meant, if it is one: nothing was asked about, or a file that
    /// exists and is no expression.
    ///
    /// # Errors
    /// The file cannot be used; what is wrong has been drawn.
    pub(super) fn asked_for(
        about: &About,
        now: Timestamp,
        screen: Screen,
    ) -> Result<Option<AllJobs>, Refusal> {
        let under = Default::default();
        let definitions = match about.what.as_str() {
            "" => about.definitions.places().read(&under),
            what if Trigger::parse(what, Zone::UTC).is_err() && Path::new(what).exists() => {
                Definitions::of_place(Path::new(what), &under)
            }
            _ => return Ok(None),
        };
        let title = definitions.names().to_owned();
        let policy = about.config.policy(screen)?;
        // Above the ceiling or not: those that are, are warned of.
        let found = definitions.all(screen)?;
        for manifest in &found.manifests {
            warn_of_ceiling(manifest, &policy, screen, |job| job.enabled);
        }
        let after = about.after.unwrap_or(now);
        let mut others = Vec::new();
        let mut triggers: Vec<(Arc<Job>, Trigger)> = Vec::new();
        for job in found.jobs {
            let id = harmless(job.id.as_str());
            if !job.enabled {
                others.push(format!("{id} (disabled)"));
            } else if !job.trigger.has_instants() {
                others.push(format!("{id} ({})", job.trigger));
            } else {
                let counted = job.trigger.counted_from(after);
                let trigger = counted.unwrap_or_else(|| job.trigger.clone());
                triggers.push((job, trigger));
            }
        }
        let mut next = BinaryHeap::new();
        for (place, (job, trigger)) in triggers.iter().enumerate() {
            match trigger.due_after(after).next() {
                Some(instant) => next.push(Reverse((trigger.due(instant), place, instant))),
                None => {
                    let why = trigger.never_fires();
                    let why = why.unwrap_or_else(|| "fires no more".to_owned());
                    others.push(format!("{} ({why})", harmless(job.id.as_str())));
                }
            }
        }
        let mut firings = Vec::new();
        while firings.len() < about.count as usize
            && let Some(Reverse((due, place, instant))) = next.pop()
            && let Some((job, trigger)) = triggers.get(place)
        {
            firings.push((due, job.clone()));
            let following = trigger.next_after(instant);
            next.extend(following.map(|next| Reverse((trigger.due(next), place, next))));
        }
        Ok(Some(AllJobs {
            title,
            exit: found.exit,
            firings,
            others,
            shown: about.timezone.unwrap_or_else(viewers_zone),
            now: about.after.is_none().then_some(now),
        }))
    }

    /// Writes `{"next": […]}`.
    pub(super) fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        let next = self.firings.iter().map(|(instant, job)| FiringJson {
            at: format_instant(*instant),
            job: &job.id,
            trigger: job.trigger.to_string(),
        });
        let json = AllJson {
            next: next.collect(),
        };
        writeln!(to, "{}", serde_json::to_string(&json)?)
    }

    /// Writes a line for each firing.
    pub(super) fn write(&self, paint: Paint, width: usize, to: &mut dyn Write) -> io::Result<()> {
        let title = paint.paint(Tone::Strong, harmless(&self.title));
        writeln!(to, "{title}   {}", self.shown.name())?;
        let walls: Vec<_> = self
            .firings
            .iter()
            .map(|(at, _)| self.shown.to_wall(*at))
            .collect();
        let format = time_format(&walls);
        let lines: Vec<[String; 3]> = walls
            .iter()
            .zip(&self.firings)
            .map(|((wall, offset), (_, job))| {
                let zone = job.trigger.zone().filter(|zone| *zone != self.shown);
                let zone = zone.map_or_else(String::new, |zone| format!("  {}", zone.name()));
                [
                    format!("{} {}", wall.format(format), offset_text(*offset)),
                    cut(&harmless(job.id.as_str()), 32),
                    format!("{}{zone}", job.trigger),
                ]
            })
            .collect();
        let header = ["WHEN", "JOB", "TRIGGER"].map(str::to_owned);
        let mut widths = [0; 3];
        for line in lines.iter().chain([&header]) {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let row = |[when, job, trigger]: &[String; 3]| {
            let [a, b, _] = widths;
            cut(&format!("  {when:a$}   {job:b$}   {trigger}"), width)
        };
        if !lines.is_empty() {
            writeln!(to, "{}", paint.paint(Tone::Dim, row(&header)))?;
        }
        for (place, line) in lines.iter().enumerate() {
            write!(to, "{}", row(line))?;
            if let (0, Some(now), Some((first, _))) = (place, self.now, self.firings.first()) {
                write!(to, "   {}", paint.paint(Tone::Dim, ahead(now, *first)))?;
            }
            writeln!(to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Next;
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        next: Next,
    }

    const SCREEN: Screen = Screen {
        out: Paint { on: false },
        err: Paint { on: false },
        width: 100,
    };

    const JOBS: &str = r#"{"timezone": "Europe/Berlin", "jobs": [
        {"id": "backup", "component": "a.wasm", "trigger": "0 2 * * *"},
        {"id": "tokyo", "component": "a.wasm", "trigger": {"cron": "0 6 * * *", "timezone": "Asia/Tokyo"}},
        {"id": "quick", "component": "a.wasm", "trigger": "@every 6h"},
        {"id": "leap", "component": "a.wasm", "trigger": "0 0 30 2 *"},
        {"id": "off", "component": "a.wasm", "trigger": "* * * * *", "enabled": false},
        {"id": "hand", "component": "a.wasm", "trigger": "@manually"},
        {"id": "bad", "component": "a.wasm", "trigger": "61 * * * *"}]}"#;

    /// What is asked with the path of a file of jobs for `FILE`.
    fn ask(line: &[&str]) -> (AllJobs, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        std::fs::write(&path, JOBS).unwrap();
        let path = path.to_str().unwrap();
        let words = line.iter().map(|word| word.replace("FILE", path));
        let words = ["next".to_owned(), "--timezone=Europe/Berlin".to_owned()]
            .into_iter()
            .chain(words);
        let next = Line::try_parse_from(words).unwrap().next;
        let now = "2026-11-22T14:28:00Z".parse().unwrap();
        let all = AllJobs::asked_for(&next.about, now, SCREEN)
            .unwrap()
            .unwrap();
        let mut bytes = Vec::new();
        all.write(SCREEN.out, SCREEN.width, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap().replace(path, "jobs.json");
        (all, text)
    }

    #[test]
    fn the_next_firings_of_a_file() {
        let (all, text) = ask(&["FILE"]);
        insta::assert_snapshot!(text, @"
        jobs.json   Europe/Berlin
          WHEN                           JOB      TRIGGER
          Sun 22 Nov 2026 19:00 +01:00   quick    every 6 h   in 3 h 32 min
          Sun 22 Nov 2026 22:00 +01:00   tokyo    0 6 * * *  Asia/Tokyo
          Mon 23 Nov 2026 01:00 +01:00   quick    every 6 h
          Mon 23 Nov 2026 02:00 +01:00   backup   0 2 * * *
          Mon 23 Nov 2026 07:00 +01:00   quick    every 6 h
        ");
        assert_eq!(all.exit, Exit::Failure); // of the bad one
        assert_eq!(
            all.others,
            [
                "off (disabled)",
                "hand (@manually)",
                "leap (30 February does not exist)"
            ]
        );
    }

    #[test]
    fn without_a_word_the_usual_file_is_meant() {
        let (all, _) = ask(&["--jobs", "FILE", "-n", "2", "--after=2027-01-01T00:00:00Z"]);
        let found: Vec<_> = all
            .firings
            .iter()
            .map(|(at, job)| (*at, job.id.as_str()))
            .collect();
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        assert_eq!(
            found,
            [
                (at("2027-01-01T01:00:00Z"), "backup"),
                (at("2027-01-01T06:00:00Z"), "quick")
            ]
        );
        let mut bytes = Vec::new();
        all.write_json(&mut bytes).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"next\":[{\"at\":\"2027-01-01T01:00:00Z\",\"job\":\"backup\",\"trigger\":\"0 2 * * *\"},\
             {\"at\":\"2027-01-01T06:00:00Z\",\"job\":\"quick\",\"trigger\":\"every 6 h\"}]}\n"
        );
    }

    #[test]
    fn an_expression_or_a_job_is_no_file() {
        for word in ["@daily", "report", "no/such.json"] {
            let next = Line::try_parse_from(["next", word]).unwrap().next;
            let now = "2026-11-22T14:28:00Z".parse().unwrap();
            assert!(
                AllJobs::asked_for(&next.about, now, SCREEN)
                    .unwrap()
                    .is_none(),
                "{word}"
            );
        }
    }
}
