use super::super::history::fixtures::{at, history, past, view};
use super::super::output::Paint;
use super::*;
use crate::app::history::History;
use crate::app::history::tests::MemoryHistory;
use crate::log::{LogBatch, LogLine, LogSink as _, LogSummary};
use crate::record::{Detail, JobStats, JobSummary, RunPattern, RunQuery};
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    logs: Logs,
}

/// How somebody looks at it: on a terminal, in colours.
#[derive(Clone, Copy, Default)]
struct Eyes {
    terminal: bool,
    colours: bool,
}

/// What goes to stdout, and what to stderr, of a history of which more becomes known with each
/// pause.
fn told(
    past: &Past,
    line: &[&str],
    eyes: Eyes,
    pause: &mut dyn FnMut() -> ControlFlow<()>,
) -> (String, String) {
    let logs = Line::try_parse_from([&["logs"], line].concat())
        .unwrap()
        .logs;
    let (mut to, mut said) = (Vec::new(), String::new());
    let mut view = view(80);
    view.paint = Paint { on: eyes.colours };
    let mut out = Out {
        view: &view,
        on_terminal: eyes.terminal,
        to: &mut to,
        say: &mut |remark| {
            said.push_str(remark);
            said.push('\n');
        },
    };
    if let Err(refusal) = logs.tell(past, &mut out, pause) {
        said.push_str(&refusal.message);
    }
    (String::from_utf8(to).unwrap(), said)
}

/// The same of one that stays as it is.
fn logged(past: &Past, line: &[&str]) -> (String, String) {
    told(past, line, Eyes::default(), &mut || ControlFlow::Break(()))
}

/// A line of a log, so many milliseconds after five past one in Berlin.
fn line(number: u64, millis: i64, stream: LogStream, text: &str) -> LogLine {
    LogLine {
        number,
        at: at("2026-11-23T12:05:00Z") + chrono::TimeDelta::milliseconds(millis),
        stream,
        level: None,
        text: text.to_owned(),
        cut: 0,
        fields: Vec::new(),
    }
}

fn entry(number: u64, millis: i64, level: Level, text: &str) -> LogLine {
    LogLine {
        level: Some(level),
        fields: vec![("rows".to_owned(), "3".to_owned())],
        ..line(number, millis, LogStream::Log, text)
    }
}

fn batch(past: &MemoryHistory, tail: &str, attempt: u32, lines: Vec<LogLine>) -> LogBatch {
    let is_it = |record: &&RunRecord| record.id.to_string().ends_with(tail);
    let record = past.records.iter().find(is_it).unwrap();
    LogBatch {
        run: record.id,
        job: record.job.clone(),
        attempt,
        lines,
        dropped: 0,
        ended: false,
    }
}

/// The usual history, with the lines of some of its runs.
fn with_lines() -> MemoryHistory {
    let history = history();
    let mut cut = line(4, 9, LogStream::Stdout, "a long");
    cut.cut = 70_000;
    let mut good = batch(
        &history,
        "C5EH",
        1,
        vec![
            line(1, 1, LogStream::Stdout, "reading"),
            entry(2, 3, Level::Warn, "odd\nrow"),
            line(3, 5, LogStream::Stderr, "\u{1b}[31mforged\u{202e}"),
            cut,
            entry(5, 12, Level::Error, "gave up"),
        ],
    );
    good.dropped = 73_000;
    good.ended = true;
    history.lines.append(good);
    for (attempt, text) in [(1, "no such table"), (2, "waiting for a lock")] {
        let lines = vec![line(1, 0, LogStream::Stderr, text)];
        history
            .lines
            .append(batch(&history, "C5E3", attempt, lines));
    }
    let live = vec![line(1, -59_000, LogStream::Stdout, "copying")];
    history.lines.append(batch(&history, "C5E2", 1, live));
    history
}

fn whole() -> Past {
    Past {
        history: Box::new(with_lines()),
        place: "DIR".to_owned(),
    }
}

#[test]
fn elsewhere_than_on_a_terminal_it_is_as_the_job_wrote_it() {
    let (out, said) = logged(&whole(), &["C5EH"]);
    assert_eq!(
        out,
        "reading\nwarn: odd row rows=3\n\u{1b}[31mforged\u{202e}\na long … 68.4 KiB of this line not kept\nerror: gave up rows=3\n"
    );
    assert_eq!(
        said,
        "71.3 KiB of the log did not fit its limit and were not kept\n"
    );
    // The newest of the job that has started: the same.
    assert_eq!(logged(&whole(), &["report"]).0, out);
    insta::assert_snapshot!(logged(&whole(), &["C5EH", "-t", "--stream", "stdout"]).0, @"
    2026-11-23T12:05:00.001Z stdout reading
    2026-11-23T12:05:00.009Z stdout a long … 68.4 KiB of this line not kept
    ");
}

#[test]
fn on_a_terminal_lines_have_their_times_and_nothing_drives_it() {
    let eyes = Eyes {
        terminal: true,
        colours: false,
    };
    let mut stay = || ControlFlow::Break(());
    let (out, _) = told(&whole(), &["C5EH"], eyes, &mut stay);
    insta::assert_snapshot!(out, @r"
    13:05:00.001 stdout reading
    13:05:00.003 log    warn: odd row rows=3
    13:05:00.005 stderr \u{1b}[31mforged�
    13:05:00.009 stdout a long … 68.4 KiB of this line not kept
    13:05:00.012 log    error: gave up rows=3
    ");
    let eyes = Eyes {
        terminal: true,
        colours: true,
    };
    let (out, _) = told(&whole(), &["C5EH", "--level", "error"], eyes, &mut stay);
    assert!(
        out.contains("\u{1b}[1m\u{1b}[31merror\u{1b}[0m: gave up rows=3\n"),
        "{out:?}"
    );
}

#[test]
fn lines_are_chosen() {
    let of = |more: &[&str]| logged(&whole(), &[&["C5EH"], more].concat());
    assert_eq!(of(&["--tail", "1"]).0, "error: gave up rows=3\n");
    assert_eq!(of(&["--level", "warn"]).0.lines().count(), 2);
    let of_two = of(&["--stream", "stdout", "--stream", "stderr"]).0;
    assert_eq!(of_two.lines().count(), 3);
    assert_eq!(of(&["--grep", "gave up rows"]).0, "error: gave up rows=3\n");
    let (out, said) = of(&["--grep", "[a-z]"]);
    assert_eq!(out, "");
    assert!(said.ends_with("no line is so\n"), "{said}");
    let refused = Line::try_parse_from(["logs", "x", "--level", "loud"]).unwrap_err();
    assert!(refused.to_string().contains("'loud'"), "{refused}");
    for wrong in [&["logs"][..], &["logs", "x", "--follow", "--since", "1d"]] {
        assert!(Line::try_parse_from(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn all_runs_are_searched() {
    insta::assert_snapshot!(logged(&whole(), &["--grep", "ing"]).0, @"
    01M8444TGPR3D9T6B4RX2VC5E3 report 2026-11-23T12:05:00.000Z stderr waiting for a lock
    01M844N9VPR3D9T6B4RX2VC5E2 backup 2026-11-23T12:04:01.000Z stdout copying
    01M844Q4EPR3D9T6B4RX2VC5EH report 2026-11-23T12:05:00.001Z stdout reading
    ");
    let (out, said) = logged(&whole(), &["report", "--grep", "ing"]);
    assert_eq!(out.lines().count(), 2);
    assert_eq!(said, "2 lines of 2 runs\n");
    let (out, said) = logged(&whole(), &["report", "--since", "2026-11-23T13:04"]);
    assert_eq!((out.lines().count(), &*said), (7, "7 lines of 2 runs\n"));
    let (_, said) = logged(&whole(), &["reprot", "--since", "1d"]);
    assert!(said.contains("did you mean `report`?"), "{said}");
    let (out, said) = logged(&whole(), &["--grep", "nowhere"]);
    assert_eq!((&*out, &*said), ("", "no line is so\n"));
    let eyes = Eyes {
        terminal: true,
        colours: false,
    };
    let (out, _) = told(&whole(), &["--grep", "forged"], eyes, &mut || {
        ControlFlow::Break(())
    });
    assert_eq!(
        out,
        "01M84…C5EH report today 13:05:00.005 stderr \\u{1b}[31mforged\u{fffd}\n"
    );
}

#[test]
fn attempts_are_told_apart() {
    let (out, said) = logged(&whole(), &["C5E3"]);
    assert_eq!(out, "no such table\nwaiting for a lock\n");
    insta::assert_snapshot!(said, @"
    attempt 1, today 12:55:00.001:
    attempt 2, today 12:55:00.082:
    ");
    let (out, said) = logged(&whole(), &["C5E3", "--attempt", "3"]);
    assert_eq!(out, "");
    assert!(said.ends_with(": it has 1, 2"), "{said}");
}

#[test]
fn a_log_of_which_only_the_record_is_left_is_told_as_that_has_it() {
    let (out, said) = logged(&past(), &["C5EH"]);
    assert_eq!(out.lines().count(), 14);
    assert!(out.starts_with("line 1 of the log\nline 2"), "{out}");
    assert_eq!(
        said,
        "2 KiB of the log did not fit its limit and were not kept\n"
    );
    let out = logged(&past(), &["C5E3", "--attempt", "1"]).0;
    assert_eq!(out, "no such table\n\u{1b}[31mgiving up\n");
    let mut wait = || ControlFlow::Continue(());
    let follow = ["C5EH", "-f", "--tail", "2"];
    let (out, said) = told(&past(), &follow, Eyes::default(), &mut wait);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(said.ends_with("C5EH: ok after 41 ms\n"), "{said}");
}

#[test]
fn where_there_is_no_log_it_is_said_why() {
    let said: Vec<String> = ["C5E4", "C5E7", "C5E2", "C5E8", "C5E6", "new"]
        .into_iter()
        .map(|run| logged(&past(), &[run]))
        .map(|(out, said)| {
            assert_eq!(out, "");
            said.trim_end().to_owned()
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    run 01M844DZFPR3D9T6B4RX2VC5E4 did not start: previous run still going (max_instances 1)
    run 01M844R1R6R3D9T6B4RX2VC5E7 has not started yet
    run 01M844N9VPR3D9T6B4RX2VC5E2 has not ended: this is what it has logged so far, --follow shows the rest
    nothing was logged
    nothing was logged
    job `new` has no such run in the history in DIR: `quarterjack runs new` lists what it has
    ");
}

#[test]
fn programs_get_an_object_for_each_line() {
    let line = ["C5EH", "--json", "--stream", "stdout", "--stream", "log"];
    insta::assert_snapshot!(logged(&whole(), &line).0, @r#"
    {"event":"run.log","at":"2026-11-23T12:05:00.001Z","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"stream":"stdout","text":"reading"}
    {"event":"run.log","at":"2026-11-23T12:05:00.003Z","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"stream":"log","level":"warn","text":"odd\nrow","fields":[["rows","3"]]}
    {"event":"run.log","at":"2026-11-23T12:05:00.009Z","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"stream":"stdout","text":"a long","dropped_bytes":70000}
    {"event":"run.log","at":"2026-11-23T12:05:00.012Z","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"stream":"log","level":"error","text":"gave up","fields":[["rows","3"]]}
    {"event":"run.log_dropped","job":"report","run":"01M844Q4EPR3D9T6B4RX2VC5EH","attempt":1,"dropped_bytes":73000}
    "#);
}

/// A history that others write while it is read.
struct Shared(std::sync::Arc<parking_lot::Mutex<MemoryHistory>>);

use crate::record::Delivery;

type Read<T> = Result<T, crate::store::StoreError>;

impl History for Shared {
    fn is_written(&self) -> bool {
        true
    }

    fn changes(&self, job: &JobId) -> Read<Vec<crate::record::JobChange>> {
        self.0.lock().changes(job)
    }

    fn deliveries(&self) -> Read<(Vec<Delivery>, Vec<Delivery>)> {
        self.0.lock().deliveries()
    }

    fn runs(&self, query: RunQuery) -> Read<Vec<RunRecord>> {
        self.0.lock().runs(query)
    }

    fn run(&self, id: RunId, detail: Detail) -> Read<Option<RunRecord>> {
        self.0.lock().run(id, detail)
    }

    fn find_run(&self, pattern: &RunPattern) -> Read<Vec<RunId>> {
        self.0.lock().find_run(pattern)
    }

    fn jobs(&self) -> Read<Vec<JobSummary>> {
        self.0.lock().jobs()
    }

    fn pauses(&self) -> Read<Vec<crate::record::Pause>> {
        self.0.lock().pauses()
    }

    fn stats(&self, since: Option<crate::clock::Timestamp>) -> Read<Vec<JobStats>> {
        self.0.lock().stats(since)
    }

    fn lines(
        &self,
        query: &LogQuery,
        each: &mut dyn FnMut(LoggedLine) -> ControlFlow<()>,
    ) -> Read<()> {
        History::lines(&*self.0.lock(), query, each)
    }

    fn logs(&self, run: RunId) -> Read<Vec<LogSummary>> {
        self.0.lock().logs(run)
    }
}

#[test]
fn a_live_log_is_followed_until_its_run_has_ended() {
    let shared = std::sync::Arc::new(parking_lot::Mutex::new(with_lines()));
    let past = Past {
        history: Box::new(Shared(shared.clone())),
        place: "DIR".to_owned(),
    };
    let mut step = 0;
    let mut pause = || {
        step += 1;
        let mut history = shared.lock();
        let at_end = |history: &mut MemoryHistory| {
            let ends = history
                .records
                .iter()
                .find_map(|it| it.attempts.last()?.end.clone());
            let live = history.records.iter_mut();
            let live = live
                .filter(|it| it.status == Status::Running)
                .last()
                .unwrap();
            live.status = Status::Finished(crate::run::Outcome::Failed);
            let attempt = live.attempts.last_mut().unwrap();
            let mut end = ends.unwrap();
            let mut how = (*end.execution).clone();
            how.error = Some("exit code 3\u{1b}".to_owned());
            end.execution = how.into();
            end.at = attempt.started_at + chrono::TimeDelta::seconds(90);
            attempt.end = Some(end);
        };
        let mut more = batch(&history, "C5E2", 1, Vec::new());
        match step {
            1 => more.lines = vec![line(2, 0, LogStream::Stdout, "half")],
            // The record comes first, and the last of the log after it.
            3 => at_end(&mut history),
            4 => {
                more.lines = vec![line(3, 0, LogStream::Stdout, "done")];
                more.dropped = 2048;
                more.ended = true;
            }
            _ => {}
        }
        history.lines.append(more);
        assert!(step < 20, "it never ends");
        ControlFlow::Continue(())
    };
    let (out, said) = told(&past, &["C5E2", "-f"], Eyes::default(), &mut pause);
    assert_eq!(out, "copying\nhalf\ndone\n");
    insta::assert_snapshot!(said, @r"
    2 KiB of the log of attempt 1 did not fit its limit and were not kept
    run 01M844N9VPR3D9T6B4RX2VC5E2: FAILED after 1 min 30 s: exit code 3\u{1b}
    ");
    assert_eq!(step, 4);
}

#[test]
fn a_run_that_waits_is_waited_for() {
    let mut step = 0;
    let mut pause = || {
        step += 1;
        if step == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut history = with_lines();
    history
        .records
        .retain(|it| it.job.as_str() == "tidy" && it.status == Status::Recorded);
    let shared = Shared(std::sync::Arc::new(parking_lot::Mutex::new(history)));
    let past = Past {
        history: Box::new(shared),
        place: "DIR".to_owned(),
    };
    let (out, said) = told(&past, &["tidy", "-f"], Eyes::default(), &mut pause);
    assert_eq!(out, "");
    assert!(
        said.starts_with("run 01M844R1R6R3D9T6B4RX2VC5E7, "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(step, 3);
    let mut pause = || ControlFlow::Break(());
    let (_, said) = told(&past, &["tidy"], Eyes::default(), &mut pause);
    assert!(said.contains("has no such run"), "{said}");
    let (_, said) = told(&past, &["tiny", "-f"], Eyes::default(), &mut pause);
    assert!(said.contains("did you mean `tidy`?"), "{said}");
}

#[test]
fn the_runs_of_a_job_are_followed_one_after_the_other() {
    let mut left = 4;
    let mut pause = || {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let line = ["report", "--follow", "--tail", "1"];
    let (out, said) = told(&whole(), &line, Eyes::default(), &mut pause);
    assert_eq!(out, "error: gave up rows=3\n");
    assert!(
        said.contains("run 01M844Q4EPR3D9T6B4RX2VC5EH: ok after 41 ms\n"),
        "{said}"
    );
}
