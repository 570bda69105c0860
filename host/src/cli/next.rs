//! `quarterjack next`: when an expression, a job or the jobs of a whole file fire next. Computed, not run: no engine, no
//! host.

mod all;

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::output::{Paint, Screen, Tone};
use super::subject::{About, Upcoming};
use super::{Exit, Refusal, remark};
use crate::clock::{Clock, SystemClock, format_instant};

/// The arguments of `next`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack next '30 2 * * *' --timezone Europe/Berlin\n  \
quarterjack next '@every 90s' --count 3 --json\n  \
quarterjack next report --jobs jobs.json\n  \
quarterjack next jobs.json\n\
Without an argument, or with that of a job file, all its jobs together.")]
#[command(mut_arg("what", |what| what.required(false).default_value("").hide_default_value(true)))]
pub(super) struct Next {
    #[command(flatten)]
    about: About,
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
        if let Some(all) = all::AllJobs::asked_for(&self.about, SystemClock.now(), screen)? {
            if self.json {
                all.write_json(&mut out)?;
            } else {
                all.write(screen.out, screen.width, &mut out)?;
            }
            out.flush()?;
            if !all.others.is_empty() {
                remark(&format!("not listed: {}", all.others.join(", ")));
            }
            return Ok(all.exit);
        }
        let answer = self.answer(&SystemClock, screen)?;
        if self.json {
            let next = answer
                .upcoming
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
        if let Some(end) = &answer.upcoming.end {
            remark(end);
        }
        Ok(Exit::Ok)
    }

    fn answer(&self, clock: &dyn Clock, screen: Screen) -> Result<Answer, Refusal> {
        let subject = self.about.subject(screen)?;
        Ok(Answer {
            upcoming: self.about.upcoming(&subject, clock.now()),
            title: subject.title,
        })
    }
}

/// The instants, and what there is to say about them.
#[derive(Debug)]
struct Answer {
    /// The expression, or the job and its trigger.
    title: String,
    upcoming: Upcoming,
}

impl Answer {
    fn write(&self, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let title = paint.paint(Tone::Strong, &self.title);
        writeln!(to, "{title}   {}", self.upcoming.zones())?;
        self.upcoming.write(paint, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, parse_instant};
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
        text.extend(answer.upcoming.end);
        text
    }

    #[test]
    fn the_next_instants_of_an_expression_in_a_zone() {
        insta::assert_snapshot!(shown(&["30 2 * * *", "--timezone", "Europe/Berlin", "-n", "3"]), @"
        30 2 * * *   Europe/Berlin
          Mon 23 Nov 2026 02:30 +01:00   in 11 h 2 min
          Tue 24 Nov 2026 02:30 +01:00
          Wed 25 Nov 2026 02:30 +01:00
        ");
    }

    #[test]
    fn seconds_are_shown_where_there_are_some() {
        insta::assert_snapshot!(shown(&["*/20 * * * * *", "-n", "3"]), @"
        */20 * * * * *   UTC
          Sun 22 Nov 2026 14:28:20 +00:00   in 20 s
          Sun 22 Nov 2026 14:28:40 +00:00
          Sun 22 Nov 2026 14:29:00 +00:00
        ");
        insta::assert_snapshot!(shown(&["@every 250ms", "--timezone=UTC", "-n", "2"]), @"
        every 250 ms   UTC
          Sun 22 Nov 2026 14:28:00.250 +00:00   in 250 ms
          Sun 22 Nov 2026 14:28:00.500 +00:00
        ");
    }

    #[test]
    fn across_a_clock_change_the_offset_tells() {
        let line = [
            "30 2 * * *",
            "--timezone=Europe/Berlin",
            "--after=2027-03-26T12:00:00Z",
            "-n3",
        ];
        insta::assert_snapshot!(shown(&line), @"
        30 2 * * *   Europe/Berlin
          Sat 27 Mar 2027 02:30 +01:00
          Sun 28 Mar 2027 03:00 +02:00
          Mon 29 Mar 2027 02:30 +02:00
        ");
    }

    #[test]
    fn what_never_fires_says_why() {
        insta::assert_snapshot!(shown(&["0 0 30 2 *"]), @"
        0 0 30 2 *   UTC
        it never fires: 30 February does not exist
        ");
        insta::assert_snapshot!(shown(&["0 0 0 1 1 * 2027", "-n", "2"]), @"
        0 0 0 1 1 * 2027   UTC
          Fri 01 Jan 2027 00:00 +00:00   in 39 d 9 h
        it does not fire after 2027-01-01T00:00:00Z
        ");
        insta::assert_snapshot!(shown(&["@manually", "--timezone=UTC"]), @"
        @manually   UTC
        it runs only when somebody asks: quarterjack run JOB
        ");
    }

    #[test]
    fn a_zone_in_the_expression_wins() {
        let answer = ask(&["CRON_TZ=Asia/Tokyo 0 9 * * *", "--timezone=UTC", "-n1"]).unwrap();
        assert_eq!(answer.upcoming.shown.name(), "Asia/Tokyo");
        assert_eq!(
            answer.upcoming.instants,
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
        insta::assert_snapshot!(shown(&["report", "--jobs", jobs, "-n", "1"]), @"
        report   0 9 * * *   Europe/Berlin
          Mon 23 Nov 2026 09:00 +01:00   in 17 h 32 min
        ");
        insta::assert_snapshot!(
            shown(&["report", "--jobs", jobs, "-n", "1", "--timezone=America/New_York"]), @"
        report   0 9 * * *   Europe/Berlin, shown in America/New_York
          Mon 23 Nov 2026 03:00 -05:00   in 17 h 32 min
        ");
        // Its id looks like an expression.
        assert_eq!(
            ask(&["a b c d e", "--jobs", jobs])
                .unwrap()
                .upcoming
                .instants
                .len(),
            5
        );
        let refusal = ask(&["reprot", "--jobs", jobs]).unwrap_err();
        assert_eq!(refusal.exit, Exit::Failure);
        assert!(refusal.message.contains("did you mean `report`?"));
        assert!(refusal.message.contains("five fields"));
    }

    #[test]
    fn the_id_of_a_job_spreads_it() {
        insta::assert_snapshot!(shown(&["H H * * *", "--job-id", "nightly", "-n", "1"]), @"
        H H * * *   UTC
          Sun 22 Nov 2026 18:42 +00:00   in 4 h 14 min
        ");
        let refusal = ask(&["H H * * *"]).unwrap_err();
        assert_eq!(refusal.exit, Exit::Usage);
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
            .upcoming
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
}
