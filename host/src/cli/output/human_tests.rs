//! What a person sees of each kind of event, at fixed times.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::cli::output::json::JsonLines;
use crate::clock::Jump;
use crate::clock::parse_instant;
use crate::event::LateSetting;
use crate::job::manifest::Options;
use crate::job::{Job, Manifest, SourceText};
use crate::policy::Policy;
use crate::run::{Execution, Output, Retry, Run, RunId, SkipReason};

const JOBS: &str = r#"{
  "timezone": "Europe/Berlin",
  "jobs": [
    { "id": "hello", "component": "hello.wasm", "trigger": "@every 5s" },
    { "id": "report", "component": "report.wasm", "trigger": "*/5 * * * *" },
    { "id": "spinner", "component": "spin.wasm", "trigger": "@every 10s",
      "description": "ended by its 1 s timeout, on purpose",
      "limits": { "timeout": "1s", "fuel": "10M" } },
    { "id": "leap", "component": "hello.wasm", "trigger": "0 0 30 2 *" },
    { "id": "off", "component": "hello.wasm", "trigger": "@daily", "enabled": false },
    { "id": "by-hand", "component": "hello.wasm", "trigger": "@manually" },
  ],
}"#;

fn manifest(text: &str) -> Manifest {
    let source = SourceText::new("examples/jobs.json", text.to_owned());
    Manifest::parse(Arc::new(source), &Options::default()).unwrap()
}

fn jobs() -> Vec<Arc<Job>> {
    manifest(JOBS).jobs().cloned().collect()
}

fn job(id: &str) -> Arc<Job> {
    let jobs = jobs();
    jobs.into_iter().find(|job| job.id.as_str() == id).unwrap()
}

/// So many seconds after the host has started.
fn at(seconds: f64) -> Timestamp {
    let start = parse_instant("2026-11-22T12:04:48Z").unwrap();
    start + Duration::from_secs_f64(seconds)
}

fn human(zone: &str, verbose: bool) -> Human {
    Human::new(HumanOptions {
        paint: Paint { on: false },
        width: 110,
        viewer: Viewer::in_zone(TimeZone::get(zone).unwrap()),
        verbose,
        tz_database: "2026f (system)".to_owned(),
        opening: true,
    })
}

fn render(renderer: &mut dyn Renderer, events: Vec<(f64, Event)>) -> String {
    let mut bytes = Vec::new();
    for (seconds, event) in events {
        let stamped = Stamped {
            at: at(seconds),
            event,
        };
        renderer.render(&stamped, &mut bytes).unwrap();
    }
    renderer.finish(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The lines of events in a host that runs already, without those of its start.
fn lines(events: Vec<(f64, Event)>) -> String {
    let mut human = human("UTC", false);
    render(&mut human, opening());
    render(&mut human, events)
}

fn opening() -> Vec<(f64, Event)> {
    let mut events: Vec<(f64, Event)> = jobs()
        .into_iter()
        .map(|job| {
            let next = job.trigger.next_after(at(0.0)).filter(|_| job.enabled);
            (0.0, Event::JobAdded { job, next })
        })
        .collect();
    events.push((0.0, loaded("hello.wasm", None, None)));
    events.push((
        0.0,
        Event::JobsReloaded {
            source: "examples/jobs.json".to_owned(),
            added: 8,
            updated: 0,
            removed: 0,
            rejected: 0,
            unchanged: 0,
        },
    ));
    events.push((
        0.0,
        Event::HostStarted {
            jobs: 6,
            plugins: 4,
            data: Some("/var/lib/quarterjack".into()),
        },
    ));
    events
}

fn loaded(name: &str, replaced: Option<&str>, compiled_in: Option<Duration>) -> Event {
    Event::PluginLoaded {
        name: name.into(),
        digest: "11ab".repeat(16),
        replaced: replaced.map(|digest| digest.repeat(16)),
        shape: "typed component (quarterjack:job)",
        compiled_in,
    }
}

fn attempt(id: &str) -> Attempt {
    Attempt {
        run: Arc::new(Run {
            id: RunId::new(at(0.0)),
            job: job(id),
            cause: Cause::Schedule,
            scheduled_at: at(0.0),
            max_attempts: 1,
            last_success: None,
        }),
        number: 1,
        started_at: at(0.0),
        run_started_at: at(0.0),
    }
}

fn ended(id: &str, outcome: Outcome, change: impl FnOnce(&mut Execution)) -> Event {
    let mut execution = Execution {
        outcome,
        error: None,
        retry: Retry::ByPolicy,
        output: None,
        output_dropped: 0,
        log: Vec::new(),
        log_dropped: 0,
        fuel_used: 31_000,
        memory_peak: 1_150_000,
        cpu_time: Duration::from_micros(500),
        elapsed: Duration::from_micros(600),
        ..Execution::without_guest(outcome, "", Retry::ByPolicy)
    };
    change(&mut execution);
    Event::RunFinished {
        run: Arc::new(FinishedRun {
            attempt: attempt(id),
            finished_at: at(1.0),
            execution,
        }),
    }
}

fn text(text: &str) -> Option<Output> {
    Some(Output::Text(text.to_owned()))
}

#[test]
fn the_header_and_the_table() {
    insta::assert_snapshot!(render(&mut human("UTC", false), opening()), @"
    quarterjack 0.1.0   6 jobs   4 plugins   tz database 2026f (system)
    data in /var/lib/quarterjack
      NEXT       JOB      WHEN                        COMPONENT
      in 2 s     hello    every 5 s                   hello.wasm
      in 2 s     spinner  every 10 s                  spin.wasm    ended by its 1 s timeout, on purpose
      in 12 s    report   */5 * * * *  Europe/Berlin  report.wasm  (13:05 there)
      never      leap     0 0 30 2 *  Europe/Berlin   hello.wasm   30 February does not exist
      disabled   off      @daily  Europe/Berlin       hello.wasm
      on demand  by-hand  @manually                   hello.wasm
    ");
}

#[test]
fn a_viewer_elsewhere_is_told_his_zone() {
    insta::assert_snapshot!(render(&mut human("Europe/Berlin", false), opening()), @"
    quarterjack 0.1.0   6 jobs   4 plugins   tz database 2026f (system)   times in Europe/Berlin
    data in /var/lib/quarterjack
      NEXT       JOB      WHEN         COMPONENT
      in 2 s     hello    every 5 s    hello.wasm
      in 2 s     spinner  every 10 s   spin.wasm    ended by its 1 s timeout, on purpose
      in 12 s    report   */5 * * * *  report.wasm
      never      leap     0 0 30 2 *   hello.wasm   30 February does not exist
      disabled   off      @daily       hello.wasm
      on demand  by-hand  @manually    hello.wasm
    ");
}

#[test]
fn many_jobs_are_counted() {
    let entries: Vec<String> = (0..51)
        .map(|id| {
            format!(r#"{{"id": "{id:02}", "component": "a.wasm", "trigger": "{id} 0 * * *"}}"#)
        })
        .collect();
    let manifest = manifest(&format!("[{}]", entries.join(",")));
    let mut events: Vec<(f64, Event)> = manifest
        .jobs()
        .map(|job| {
            let next = job.trigger.next_after(at(0.0));
            (
                0.0,
                Event::JobAdded {
                    job: job.clone(),
                    next,
                },
            )
        })
        .collect();
    events.reverse();
    events.push((
        0.0,
        Event::HostStarted {
            jobs: 51,
            plugins: 1,
            data: Some("/var/lib/quarterjack".into()),
        },
    ));
    let text = render(&mut human("UTC", false), events);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 1 + 20 + 1);
    assert!(
        lines[3].contains(" 00 ") && lines[22].contains(" 19 "),
        "{text}"
    );
    assert!(lines[23].contains("and 31 more jobs"), "{text}");
}

#[test]
fn a_host_that_keeps_nothing_says_so() {
    let started = Event::HostStarted {
        jobs: 0,
        plugins: 1,
        data: None,
    };
    let text = render(&mut human("UTC", false), vec![(0.0, started)]);
    insta::assert_snapshot!(text, @"
    quarterjack 0.1.0   0 jobs   1 plugin   tz database 2026f (system)
    nothing is kept (--ephemeral): history, schedules and the states of jobs end with this host
      no jobs yet: they appear here as soon as a job file has some
    ");
}

#[test]
fn a_host_without_jobs_says_so() {
    let text = render(
        &mut human("UTC", false),
        vec![(
            0.0,
            Event::HostStarted {
                jobs: 0,
                plugins: 1,
                data: Some("/var/lib/quarterjack".into()),
            },
        )],
    );
    insta::assert_snapshot!(text, @"
    quarterjack 0.1.0   0 jobs   1 plugin   tz database 2026f (system)
    data in /var/lib/quarterjack
      no jobs yet: they appear here as soon as a job file has some
    ");
}

#[test]
fn runs_that_went_well() {
    insta::assert_snapshot!(lines(vec![
        (0.001, ended("hello", Outcome::Succeeded, |it| it.output = text("hello, tower\n"))),
        (0.002, ended("hello", Outcome::Succeeded, |it| it.output = text("two\nlines"))),
        (0.003, ended("hello", Outcome::Succeeded, |_| {})),
        (0.004, ended("report", Outcome::Succeeded, |it| {
            let json = serde_json::value::RawValue::from_string("{\"rows\": 3}".to_owned());
            it.output = Some(Output::Json(json.unwrap()));
        })),
        (0.005, ended("report", Outcome::Succeeded, |it| {
            it.output = Some(Output::Bytes(vec![0; 5000]));
        })),
        (0.006, ended("hello", Outcome::Succeeded, |it| {
            it.output = text(&"long ".repeat(30));
            it.output_dropped = 1 << 20;
        })),
        (0.007, ended("hello", Outcome::Succeeded, |it| it.output = text("\x1b[2Jgone"))),
    ]), @r#"
    12:04:48.001  hello    ok         0.6 ms     31 k fuel    1.1 MiB   "hello, tower"
    12:04:48.002  hello    ok         0.6 ms     31 k fuel    1.1 MiB   "two"…
    12:04:48.003  hello    ok         0.6 ms     31 k fuel    1.1 MiB
    12:04:48.004  report   ok         0.6 ms     31 k fuel    1.1 MiB   {"rows": 3}
    12:04:48.005  report   ok         0.6 ms     31 k fuel    1.1 MiB   4.9 KiB of data
    12:04:48.006  hello    ok         0.6 ms     31 k fuel    1.1 MiB   "long long long long long long long long…"   (1 MiB of output dropped)
    12:04:48.007  hello    ok         0.6 ms     31 k fuel    1.1 MiB   "\u{1b}[2Jgone"
    "#);
}

#[test]
fn runs_that_did_not() {
    let error = |text: &str| Some(text.to_owned());
    insta::assert_snapshot!(lines(vec![
        (1.0, ended("spinner", Outcome::TimedOut, |it| {
            it.error = error("limit: timeout 1 s");
            it.elapsed = Duration::from_millis(1003);
        })),
        (2.0, ended("spinner", Outcome::OutOfFuel, |_| {})),
        (3.0, ended("hello", Outcome::OutOfMemory, |it| it.memory_peak = 64 << 20)),
        (4.0, ended("report", Outcome::Failed, |it| {
            it.error = error("it ended with exit code 3");
            it.log = b"one\ntwo\nthree\n\nfour \x1b[31mred\n".to_vec();
        })),
        (5.0, ended("report", Outcome::Trapped, |it| it.error = error("unreachable\nbacktrace"))),
        (6.0, ended("report", Outcome::Cancelled, |it| it.error = error("cancelled on request"))),
    ]), @r"
    12:04:49.000  spinner  TIMED OUT  1.0 s      31 k fuel    1.1 MiB   limit: timeout 1 s (examples/jobs.json:8)
    12:04:50.000  spinner  OUT OF FUEL  0.6 ms   31 k fuel    1.1 MiB   limit: fuel 10 M (examples/jobs.json:8)
    12:04:51.000  hello    OUT OF MEMORY  0.6 ms   31 k fuel     64 MiB   limit: memory 64 MiB (the default)
    12:04:52.000  report   FAILED     0.6 ms     31 k fuel    1.1 MiB   it ended with exit code 3
                  | two
                  | three
                  | four \u{1b}[31mred
    12:04:53.000  report   TRAPPED    0.6 ms     31 k fuel    1.1 MiB   unreachable
    12:04:54.000  report   cancelled  0.6 ms     31 k fuel    1.1 MiB   cancelled on request
    ");
}

#[test]
fn what_did_not_run() {
    let skip = |id: &str, reason| Event::RunSkipped {
        job: job(id),
        scheduled_at: at(10.0),
        reason,
    };
    insta::assert_snapshot!(lines(vec![
        (10.0, skip("spinner", SkipReason::MaxInstances(1))),
        (11.0, skip("hello", SkipReason::Missed(Some(41)))),
    ]), @"
    12:04:58.000  spinner  skipped    previous run still going (max_instances 1)
    12:04:59.000  hello    skipped    41 firings missed while the host was not running them; another run stands in
    ");
}

#[test]
fn attempts_that_are_followed_by_others() {
    let of_three = |number, event| {
        let Event::RunFinished { run } = event else {
            panic!("{event:?}")
        };
        let mut attempt = run.attempt.clone();
        attempt.number = number;
        Arc::make_mut(&mut attempt.run).max_attempts = 3;
        Arc::new(FinishedRun {
            attempt,
            finished_at: run.finished_at,
            execution: run.execution.clone(),
        })
    };
    let again = |number, event, next_at| Event::RunRetrying {
        run: of_three(number, event),
        next_at: at(next_at),
    };
    let failed = ended("report", Outcome::Failed, |it| {
        it.error = Some("exit code 3".to_owned());
        it.log = b"no answer\n".to_vec();
    });
    let timed_out = |what: &str| {
        ended("spinner", Outcome::TimedOut, |it| {
            it.error = Some(what.to_owned())
        })
    };
    let last = ended("report", Outcome::Succeeded, |it| it.output = text("done"));
    insta::assert_snapshot!(lines(vec![
        (1.0, again(1, failed, 11.0)),
        (2.0, again(2, timed_out("limit: timeout 1 s"), 22.5)),
        (3.0, Event::RunFinished { run: of_three(3, timed_out("limit: deadline 1 min of the run with all its attempts")) }),
        (4.0, Event::RunFinished { run: of_three(2, last) }),
    ]), @r#"
    12:04:49.000  report   retrying   attempt 1 of 3 failed: exit code 3; the next one at 12:04:59.000
                  | no answer
    12:04:50.000  spinner  retrying   attempt 2 of 3 timed out: limit: timeout 1 s (examples/jobs.json:8); the next one at 12:05:10.500
    12:04:51.000  spinner  TIMED OUT  0.6 ms     31 k fuel    1.1 MiB   limit: deadline 1 min of the run with all its attempts   (attempt 3 of 3)
    12:04:52.000  report   ok         0.6 ms     31 k fuel    1.1 MiB   "done"   (attempt 2 of 3)
    "#);
}

#[test]
fn starts_are_told_only_when_asked() {
    let started = || {
        vec![(
            1.0,
            Event::RunStarted {
                attempt: attempt("hello"),
            },
        )]
    };
    assert_eq!(lines(started()), "");
    let mut human = human("UTC", true);
    render(&mut human, opening());
    insta::assert_snapshot!(render(&mut human, started()), @"12:04:49.000  hello    started");
}

#[test]
fn an_edit_is_one_line() {
    let reloaded = |unchanged| Event::JobsReloaded {
        source: "examples/jobs.json".to_owned(),
        added: 0,
        updated: 0,
        removed: 0,
        rejected: 0,
        unchanged,
    };
    let added = |id: String| Event::JobAdded {
        job: Arc::new(Job {
            id: id.as_str().into(),
            ..(*job("hello")).clone()
        }),
        next: None,
    };
    let mut events = vec![
        (4.0, added("backup".to_owned())),
        (
            4.0,
            Event::JobUpdated {
                job: job("report"),
                fields: vec!["trigger", "limits"],
                next: None,
            },
        ),
        (4.0, Event::JobRemoved { job: job("leap") }),
        (4.0, reloaded(3)),
        (5.0, reloaded(6)), // nothing changed: no line
    ];
    events.extend((0..20).map(|number| (6.0, added(format!("job-{number}")))));
    events.push((6.0, reloaded(6)));
    insta::assert_snapshot!(lines(events), @"
    12:04:52.000  jobs     examples/jobs.json changed: + backup  ~ report (trigger, limits)  - leap  = 3 unchanged
    12:04:54.000  jobs     examples/jobs.json changed: + job-0, job-1, job-2, job-3, job-4, job-5, job-6, job-7 and 12 more  = 6 unchanged
    ");
}

#[test]
fn a_clock_that_jumps_is_told_with_its_size() {
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let jumped = |jump| Event::ClockJumped { jump };
    insta::assert_snapshot!(lines(vec![
        (1.0, jumped(Jump::Forward(hours(1)))),
        (2.0, jumped(Jump::Back(Duration::from_millis(1500)))),
        (3.0, jumped(Jump::Suspended(hours(9)))),
    ]), @"
    12:04:49.000  clock    set forward by 1 h; what was missed is told below
    12:04:50.000  clock    set back by 1.5 s; no instant runs twice, and frequent jobs go on at once
    12:04:51.000  clock    stood still: the machine was suspended for 9 h; what was missed is told below
    ");
}

#[test]
fn plugins_come_and_go() {
    let rejected = |in_service| Event::PluginRejected {
        name: "report.wasm".into(),
        error: "not a WebAssembly file".to_owned(),
        in_service,
    };
    let locked = |replaced: Option<&str>| Event::PluginLocked {
        name: "new.wasm".into(),
        digest: "11ab".repeat(16),
        replaced: replaced.map(|digest| digest.repeat(16)),
    };
    insta::assert_snapshot!(lines(vec![
        (1.0, loaded("new.wasm", None, None)),
        (2.0, loaded("report.wasm", Some("9f2c"), Some(Duration::from_millis(14)))),
        (3.0, rejected(true)),
        (4.0, rejected(false)),
        (5.0, locked(None)),
        (6.0, locked(Some("9f2c"))),
        (7.0, Event::PluginRemoved { name: "new.wasm".into() }),
    ]), @"
    12:04:49.000  plugins  new.wasm added (sha256 11ab11ab…), compiled before, in service
    12:04:50.000  plugins  report.wasm replaced (sha256 9f2c9f2c… -> 11ab11ab…), compiled in 14 ms, in service
    12:04:51.000  plugins  report.wasm REJECTED: not a WebAssembly file; the version before it stays in service
    12:04:52.000  plugins  report.wasm REJECTED: not a WebAssembly file; no version of it is in service
    12:04:53.000  plugins  new.wasm is new: accepted into the lock file (sha256 11ab11ab…)
    12:04:54.000  plugins  new.wasm changed in the lock file (sha256 9f2c9f2c… -> 11ab11ab…): it imports no more than before
    12:04:55.000  plugins  new.wasm removed
    ");
}

fn broken() -> Event {
    let text =
        "[\n  {\"id\": \"report\", \"component\": \"a.wasm\", \"trigger\": \"61 * * * *\"}\n]";
    let manifest = manifest(text);
    let problems = manifest.entries[0].result.clone().unwrap_err();
    Event::JobRejected {
        job: Some("report".into()),
        problems,
    }
}

#[test]
fn a_mistake_is_drawn() {
    insta::assert_snapshot!(lines(vec![
        (1.0, broken()),
    ]), @r#"
    12:04:49.000  report   REJECTED   1 error; what ran before goes on
    error: minute 61 is out of range
     --> examples/jobs.json:2:55
      |
    2 |   {"id": "report", "component": "a.wasm", "trigger": "61 * * * *"}
      |                                                       ^^ a minute is 0-59
    "#);
}

#[test]
fn the_configuration_has_lines_of_its_own() {
    let changed = |sections: &[&'static str], recovered, refused, restored| Event::ConfigChanged {
        file: "quarterjack.toml".into(),
        sections: sections.to_vec(),
        recovered,
        refused,
        restored,
        restart: match sections {
            [.., "[host]"] => vec![LateSetting {
                setting: "[host] max_memory",
                place: "quarterjack.toml:9".to_owned(),
            }],
            _ => Vec::new(),
        },
    };
    let source = Arc::new(SourceText::new(
        "quarterjack.toml",
        "[ceiling]\ntimout = \"5s\"\n",
    ));
    let rejected = Event::ConfigRejected {
        file: "quarterjack.toml".into(),
        problems: Policy::parse(&source, Path::new("")).unwrap_err(),
    };
    insta::assert_snapshot!(lines(vec![
        (1.0, changed(&["[ceiling]", "[host]"], false, 2, 1)),
        (2.0, rejected),
        (3.0, changed(&[], true, 0, 0)),
        (4.0, changed(&["[secrets]"], true, 0, 0)),
        (5.0, changed(&[], false, 0, 0)),
    ]), @r#"
    12:04:49.000  config   quarterjack.toml changed: [ceiling], [host]; 2 jobs refused; 1 job no longer refused
                           [host] max_memory (quarterjack.toml:9) counts when the host is started anew
    12:04:50.000  config   REJECTED   1 error; the last good configuration stays in force
    error: unknown key "timout" in [ceiling]
     --> quarterjack.toml:2:1
      |
    2 | timout = "5s"
      | ^^^^^^ did you mean `timeout`?
    12:04:51.000  config   quarterjack.toml can be used again, and says what is in force
    12:04:52.000  config   quarterjack.toml can be used again; changed: [secrets]
    12:04:53.000  config   quarterjack.toml changed, and says the same
    "#);
}

#[test]
fn a_mistake_at_the_start_stands_below_the_table() {
    let mut events = vec![(0.0, broken())];
    events.extend(opening());
    let text = render(&mut human("UTC", false), events);
    let place = |what: &str| text.find(what).unwrap();
    assert!(place("COMPONENT") < place("REJECTED"), "{text}");
    assert!(!text.contains("what ran before"), "nothing did: {text}");
    // And a host that does not come to start tells it nevertheless.
    let text = render(&mut human("UTC", false), vec![(0.0, broken())]);
    assert!(text.contains("REJECTED"));
}

#[test]
fn the_end() {
    insta::assert_snapshot!(lines(vec![
        (13.0, Event::HostStopping { in_flight: 1, grace: Duration::from_secs(10) }),
        (13.4, Event::HostStopped {
            runs: vec![(Outcome::Succeeded, 38), (Outcome::Failed, 0), (Outcome::TimedOut, 3)],
            skipped: 2,
        }),
    ]), @"
    12:05:01.000  stopping: 1 run in flight, waiting up to 10 s (^C again to stop now)
    12:05:01.400  stopped   41 runs: 38 ok, 3 timed out; 2 skipped
    ");
    insta::assert_snapshot!(lines(vec![
        (13.0, Event::HostStopping { in_flight: 0, grace: Duration::from_secs(10) }),
        (13.0, Event::HostStopped { runs: vec![(Outcome::Succeeded, 1)], skipped: 0 }),
    ]), @"
    12:05:01.000  stopping
    12:05:01.000  stopped   1 run: 1 ok
    ");
}

#[test]
fn a_new_day_is_told() {
    let day = 24.0 * 3600.0;
    insta::assert_snapshot!(lines(vec![
        (day, ended("hello", Outcome::Succeeded, |_| {})),
        (day + 5.0, ended("hello", Outcome::Succeeded, |_| {})),
    ]), @"
    Mon 23 Nov 2026
    12:04:48.000  hello    ok         0.6 ms     31 k fuel    1.1 MiB
    12:04:53.000  hello    ok         0.6 ms     31 k fuel    1.1 MiB
    ");
}

#[test]
fn colour_marks_the_outcome() {
    let mut colored = human("UTC", false);
    render(&mut colored, opening());
    colored.options.paint = Paint { on: true };
    let events = vec![
        (1.0, ended("hello", Outcome::Succeeded, |_| {})),
        (1.0, ended("hello", Outcome::OutOfFuel, |_| {})),
    ];
    let text = render(&mut colored, events);
    assert!(text.contains("\u{1b}[32mok       \u{1b}[0m"), "{text:?}");
    assert!(text.contains("\u{1b}[31mOUT OF FUEL\u{1b}[0m"), "{text:?}");
}

#[test]
fn every_event_that_programs_read_has_its_keys() {
    let events = opening()
        .into_iter()
        .chain([
            (
                1.0,
                Event::RunStarted {
                    attempt: attempt("hello"),
                },
            ),
            (
                1.0,
                ended("hello", Outcome::Succeeded, |it| it.output = text("hi")),
            ),
            (
                1.0,
                ended("hello", Outcome::Failed, |it| {
                    it.error = Some("why".to_owned())
                }),
            ),
            (
                1.0,
                Event::RunSkipped {
                    job: job("hello"),
                    scheduled_at: at(1.0),
                    reason: SkipReason::Stopping,
                },
            ),
            (
                1.0,
                Event::JobUpdated {
                    job: job("hello"),
                    fields: vec!["params"],
                    next: None,
                },
            ),
            (1.0, Event::JobRemoved { job: job("hello") }),
            (1.0, broken()),
            (
                1.0,
                Event::PluginRejected {
                    name: "a.wasm".into(),
                    error: "bad".to_owned(),
                    in_service: true,
                },
            ),
            (
                1.0,
                Event::HostStopping {
                    in_flight: 0,
                    grace: Duration::ZERO,
                },
            ),
            (
                1.0,
                Event::HostStopped {
                    runs: Vec::new(),
                    skipped: 0,
                },
            ),
        ])
        .collect();
    let text = render(&mut JsonLines, events);
    let keys: &[(&str, &[&str])] = &[
        ("host.started", &[]),
        ("host.stopped", &[]),
        ("job.added", &["job"]),
        ("job.updated", &["job"]),
        ("job.removed", &["job"]),
        ("job.rejected", &["job", "error"]),
        (
            "jobs.reloaded",
            &[
                "source",
                "added",
                "updated",
                "removed",
                "rejected",
                "unchanged",
            ],
        ),
        ("plugin.loaded", &["plugin"]),
        ("plugin.rejected", &["plugin", "error"]),
        (
            "run.started",
            &["job", "run", "attempt", "scheduled_at", "started_at"],
        ),
        (
            "run.finished",
            &[
                "job",
                "run",
                "attempt",
                "scheduled_at",
                "started_at",
                "finished_at",
                "outcome",
                "fuel_used",
                "memory_peak_bytes",
            ],
        ),
        ("run.skipped", &["job", "scheduled_at", "reason"]),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = json["event"].as_str().unwrap().to_owned();
        assert!(parse_instant(json["at"].as_str().unwrap()).is_ok());
        let (_, keys) = keys
            .iter()
            .find(|(event, _)| *event == name)
            .unwrap_or_else(|| panic!("{name} is not an event that programs know"));
        for key in *keys {
            assert!(!json[key].is_null(), "{name} has no {key}: {line}");
        }
        if name == "run.finished" {
            let good = json["outcome"] == "succeeded";
            assert_eq!(json["output"].is_null(), !good);
            assert_eq!(json["error"].is_null(), good);
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), keys.len(), "{seen:?}");
}
