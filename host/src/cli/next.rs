//! `quarterjack next`: when an expression or a job fires next. Computed, not run: no engine, no
//! host.

use std::io::{self, Write};
use std::sync::Arc;

use chrono::{NaiveDateTime, Timelike as _};
use clap::Args;
use serde::Serialize;

use super::options::{JobFile, find_job, find_quietly};
use super::output::{Paint, Screen, Tone, Viewer, ahead, harmless};
use super::{Exit, Refusal, remark};
use crate::clock::{Clock, SystemClock, Timestamp, format_instant, parse_instant};
use crate::job::{Diagnostic, SourceText};
use crate::trigger::{Trigger, TriggerError, Zone};

/// The arguments of `next`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack next '30 2 * * *' --timezone Europe/Berlin\n  \
quarterjack next '@every 90s' --count 3 --json\n  \
quarterjack next report --jobs jobs.json")]
pub(super) struct Next {
    /// A cron expression, a macro such as @daily or '@every 5s', or a job of the job file
    #[arg(value_name = "EXPR|JOB")]
    what: String,
    /// The zone that an expression is read in; for a job, the zone that is shown
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<Zone>,
    /// Instants after this one, such as 2026-01-01T00:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    after: Option<Timestamp>,
    /// How many
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value = "5",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    count: u32,
    #[command(flatten)]
    file: JobFile,
    /// Print {"next": […]}, instants in UTC
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct NextJson {
    next: Vec<String>,
}

impl Next {
    /// Prints the instants.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let answer = self.answer(&SystemClock, screen)?;
        if self.json {
            let next = answer
                .instants
                .iter()
                .copied()
                .map(format_instant)
                .collect();
            let json = serde_json::to_string(&NextJson { next });
            writeln!(out, "{}", json.map_err(io::Error::from)?)?;
        } else {
            answer.write(screen.out, &mut out)?;
        }
        out.flush()?;
        if let Some(end) = &answer.end {
            remark(end);
        }
        Ok(Exit::Ok)
    }

    fn answer(&self, clock: &dyn Clock, screen: Screen) -> Result<Answer, Refusal> {
        let subject = self.subject(screen)?;
        let now = clock.now();
        let after = self.after.unwrap_or(now);
        let trigger = subject.trigger;
        let instants: Vec<Timestamp> =
            std::iter::successors(trigger.next_after(after), |last| trigger.next_after(*last))
                .take(self.count as usize)
                .collect();
        // An expression is read in the zone that was asked for, unless it names its own.
        let asked = self
            .timezone
            .filter(|_| subject.is_job || trigger.zone().is_none());
        let shown = asked.or(trigger.zone()).unwrap_or_else(viewers_zone);
        Ok(Answer {
            end: end(&trigger, &instants, after, self.count),
            title: subject.title,
            trigger_zone: trigger.zone(),
            shown,
            // "in 11 h" counts from now, which says nothing beside another start.
            now: self.after.is_none().then_some(now),
            instants,
        })
    }

    /// What it is about: an expression, or a job of the job file.
    fn subject(&self, screen: Screen) -> Result<Subject, Refusal> {
        let what = self.what.as_str();
        let of_job = |job: &crate::job::Job| Subject {
            title: format!("{}   {}", harmless(job.id.as_str()), job.trigger),
            trigger: job.trigger.clone(),
            is_job: true,
        };
        let error = match Trigger::parse(what, self.timezone.unwrap_or(Zone::UTC)) {
            Ok(trigger) => {
                return Ok(Subject {
                    title: trigger.to_string(),
                    trigger,
                    is_job: false,
                });
            }
            Err(error) => error,
        };
        if !looks_like_an_expression(what) {
            return match find_job(what, &self.file.jobs, screen) {
                Ok(job) => {
                    if !job.enabled {
                        remark(&format!(
                            "job `{what}` is disabled; enabled, it would fire at these instants"
                        ));
                    }
                    Ok(of_job(&job))
                }
                Err(mut refusal) => {
                    refusal.message.push_str(
                        "\n  (an expression has five fields, '30 2 * * *', or is a macro, @daily)",
                    );
                    Err(refusal)
                }
            };
        }
        // The id of a job may look like an expression, too.
        match find_quietly(what, &self.file.jobs) {
            Some(job) => Ok(of_job(&job)),
            None => Err(wrong_expression(what, error, screen.err)),
        }
    }
}

struct Subject {
    title: String,
    trigger: Trigger,
    is_job: bool,
}

/// The instants, and what there is to say about them.
#[derive(Debug)]
struct Answer {
    /// The expression, or the job and its trigger.
    title: String,
    /// The zone whose wall clock the trigger follows, if it follows one.
    trigger_zone: Option<Zone>,
    /// The zone that the instants are shown in.
    shown: Zone,
    now: Option<Timestamp>,
    instants: Vec<Timestamp>,
    /// Why there are fewer instants than asked for.
    end: Option<String>,
}

impl Answer {
    fn write(&self, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        write!(to, "{}   ", paint.paint(Tone::Strong, &self.title))?;
        match self.trigger_zone {
            Some(zone) if zone != self.shown => {
                writeln!(to, "{}, shown in {}", zone.name(), self.shown.name())?;
            }
            _ => writeln!(to, "{}", self.shown.name())?,
        }
        let walls: Vec<(NaiveDateTime, i32)> = self
            .instants
            .iter()
            .map(|instant| self.shown.to_wall(*instant))
            .collect();
        let format = time_format(&walls);
        for (place, ((wall, offset), instant)) in walls.iter().zip(&self.instants).enumerate() {
            write!(to, "  {} {}", wall.format(format), offset_text(*offset))?;
            if let (0, Some(now)) = (place, self.now) {
                write!(to, "   {}", paint.paint(Tone::Dim, ahead(now, *instant)))?;
            }
            writeln!(to)?;
        }
        Ok(())
    }
}

/// As fine as the finest of the instants needs.
fn time_format(walls: &[(NaiveDateTime, i32)]) -> &'static str {
    if walls.iter().any(|(wall, _)| wall.nanosecond() != 0) {
        "%a %d %b %Y %H:%M:%S%.3f"
    } else if walls.iter().any(|(wall, _)| wall.second() != 0) {
        "%a %d %b %Y %H:%M:%S"
    } else {
        "%a %d %b %Y %H:%M"
    }
}

/// An offset from UTC, `+01:00`; with seconds in the rare place that once had such a one.
fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.unsigned_abs();
    let (hours, minutes, seconds) = (all / 3600, all % 3600 / 60, all % 60);
    if seconds == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// Why there are fewer instants than asked for.
fn end(trigger: &Trigger, found: &[Timestamp], after: Timestamp, count: u32) -> Option<String> {
    if found.len() >= count as usize {
        return None;
    }
    if matches!(trigger, Trigger::Manual) {
        return Some("it runs only when somebody asks: quarterjack run JOB".to_owned());
    }
    match (found.last(), trigger.never_fires()) {
        (_, Some(reason)) => Some(format!("it never fires: {reason}")),
        (Some(last), None) => Some(format!("it does not fire after {}", format_instant(*last))),
        (None, None) => Some(format!("it does not fire after {}", format_instant(after))),
    }
}

/// Whether somebody who typed this meant an expression, right or wrong, rather than a job's id.
fn looks_like_an_expression(text: &str) -> bool {
    text.contains(char::is_whitespace)
        || text.starts_with(['@', '*'])
        || text.starts_with("CRON_TZ=")
        || text.starts_with("TZ=")
}

/// Draws what is wrong with an expression under the place.
fn wrong_expression(text: &str, error: TriggerError, paint: Paint) -> Refusal {
    let source = Arc::new(SourceText::new("expression", text));
    let mut problem = Diagnostic::error(&source, error.span, error.message).with_label(error.label);
    if let Some(hint) = error.hint {
        problem = problem.with_hint(hint);
    }
    remark(problem.render(paint.on).trim_end());
    Refusal::said(Exit::Usage)
}

/// The zone that the machine is in, as far as it has a name.
fn viewers_zone() -> Zone {
    Viewer::here()
        .name()
        .and_then(|name| Zone::parse(name).ok())
        .unwrap_or(Zone::UTC)
}

fn zone(name: &str) -> Result<Zone, String> {
    Zone::parse(name).map_err(|unknown| unknown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
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

    fn ask(line: &[&str]) -> Result<Answer, Refusal> {
        let next = Line::try_parse_from([&["next"], line].concat())
            .unwrap()
            .next;
        next.answer(&ManualClock::at("2026-11-22T14:28:00Z"), SCREEN)
    }

    fn shown(line: &[&str]) -> String {
        let answer = ask(line).unwrap();
        let mut bytes = Vec::new();
        answer.write(Paint { on: false }, &mut bytes).unwrap();
        let mut text = String::from_utf8(bytes).unwrap();
        text.extend(answer.end);
        text
    }

    #[test]
    fn the_next_instants_of_an_expression_in_a_zone() {
        insta::assert_snapshot!(shown(&["30 2 * * *", "--timezone", "Europe/Berlin", "-n", "3"]), @r#"
        30 2 * * *   Europe/Berlin
          Mon 23 Nov 2026 02:30 +01:00   in 11 h 2 min
          Tue 24 Nov 2026 02:30 +01:00
          Wed 25 Nov 2026 02:30 +01:00
        "#);
    }

    #[test]
    fn seconds_are_shown_where_there_are_some() {
        insta::assert_snapshot!(shown(&["*/20 * * * * *", "-n", "3"]), @r#"
        */20 * * * * *   UTC
          Sun 22 Nov 2026 14:28:20 +00:00   in 20 s
          Sun 22 Nov 2026 14:28:40 +00:00
          Sun 22 Nov 2026 14:29:00 +00:00
        "#);
        insta::assert_snapshot!(shown(&["@every 250ms", "--timezone=UTC", "-n", "2"]), @r#"
        every 250 ms   UTC
          Sun 22 Nov 2026 14:28:00.250 +00:00   in 250 ms
          Sun 22 Nov 2026 14:28:00.500 +00:00
        "#);
    }

    #[test]
    fn across_a_clock_change_the_offset_tells() {
        let line = [
            "30 2 * * *",
            "--timezone=Europe/Berlin",
            "--after=2027-03-26T12:00:00Z",
            "-n3",
        ];
        insta::assert_snapshot!(shown(&line), @r#"
        30 2 * * *   Europe/Berlin
          Sat 27 Mar 2027 02:30 +01:00
          Sun 28 Mar 2027 03:00 +02:00
          Mon 29 Mar 2027 02:30 +02:00
        "#);
    }

    #[test]
    fn what_never_fires_says_why() {
        insta::assert_snapshot!(shown(&["0 0 30 2 *"]), @r#"
        0 0 30 2 *   UTC
        it never fires: 30 February does not exist
        "#);
        insta::assert_snapshot!(shown(&["0 0 0 1 1 * 2027", "-n", "2"]), @r#"
        0 0 0 1 1 * 2027   UTC
          Fri 01 Jan 2027 00:00 +00:00   in 39 d 9 h
        it does not fire after 2027-01-01T00:00:00Z
        "#);
        insta::assert_snapshot!(shown(&["@manually", "--timezone=UTC"]), @r#"
        @manually   UTC
        it runs only when somebody asks: quarterjack run JOB
        "#);
    }

    #[test]
    fn a_zone_in_the_expression_wins() {
        let answer = ask(&["CRON_TZ=Asia/Tokyo 0 9 * * *", "--timezone=UTC", "-n1"]).unwrap();
        assert_eq!(answer.shown.name(), "Asia/Tokyo");
        assert_eq!(
            answer.instants,
            [parse_instant("2026-11-23T00:00:00Z").unwrap()]
        );
    }

    #[test]
    fn a_job_is_looked_up_and_shown_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = r#"{"timezone": "Europe/Berlin", "jobs": [
            {"id": "report", "component": "a.wasm", "trigger": "0 9 * * *"},
            {"id": "a b c d e", "component": "a.wasm", "trigger": "0 10 * * *"}]}"#;
        std::fs::write(&path, text).unwrap();
        let jobs = path.to_str().unwrap();
        insta::assert_snapshot!(shown(&["report", "--jobs", jobs, "-n", "1"]), @r#"
        report   0 9 * * *   Europe/Berlin
          Mon 23 Nov 2026 09:00 +01:00   in 17 h 32 min
        "#);
        insta::assert_snapshot!(
            shown(&["report", "--jobs", jobs, "-n", "1", "--timezone=America/New_York"]), @r#"
        report   0 9 * * *   Europe/Berlin, shown in America/New_York
          Mon 23 Nov 2026 03:00 -05:00   in 17 h 32 min
        "#);
        // Its id looks like an expression.
        assert_eq!(
            ask(&["a b c d e", "--jobs", jobs]).unwrap().instants.len(),
            5
        );
        let refusal = ask(&["reprot", "--jobs", jobs]).unwrap_err();
        assert_eq!(refusal.exit, Exit::Failure);
        assert!(refusal.message.contains("did you mean `report`?"));
        assert!(refusal.message.contains("five fields"));
    }

    #[test]
    fn mistakes_are_usage() {
        for expression in [
            "61 * * * *",
            "* * * *",
            "@dayly",
            "CRON_TZ=Mars/Base 0 0 * * *",
        ] {
            assert_eq!(
                ask(&[expression]).unwrap_err().exit,
                Exit::Usage,
                "{expression}"
            );
        }
        let wrong = |flag: &str| Line::try_parse_from(["next", "@daily", flag]).unwrap_err();
        let zone = wrong("--timezone=Europe/Berln").to_string();
        assert!(zone.contains("Europe/Berlin"), "{zone}");
        assert!(
            wrong("--after=tomorrow")
                .to_string()
                .contains("2026-01-01T00:00:00Z")
        );
        wrong("--count=0");
    }

    #[test]
    fn the_json_form_is_a_list_of_instants_in_utc() {
        let answer = ask(&[
            "@every 12h",
            "-n",
            "2",
            "--after",
            "2025-12-31T23:00:00+00:00",
        ])
        .unwrap();
        let next: Vec<String> = answer
            .instants
            .iter()
            .copied()
            .map(format_instant)
            .collect();
        assert_eq!(
            serde_json::to_string(&NextJson { next }).unwrap(),
            r#"{"next":["2026-01-01T00:00:00Z","2026-01-01T12:00:00Z"]}"#
        );
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_text(0), "+00:00");
        assert_eq!(offset_text(-12_600), "-03:30");
        assert_eq!(offset_text(-2_670), "-00:44:30");
    }
}
