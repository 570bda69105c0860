//! A small history with one of each kind of record, for the tests of the verbs about the past.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use jiff::tz::TimeZone;

use super::{Past, View};
use crate::app::history::tests::MemoryHistory;
use crate::cli::Refusal;
use crate::cli::output::{Paint, Viewer};
use crate::clock::{Timestamp, parse_instant};
use crate::job::DefinitionDigest;
use crate::record::{AttemptEnd, AttemptRecord, RunRecord, Status};
use crate::run::{
    Cause, Denial, Execution, Outcome, Output, PluginDigest, Progress, Retry, RunId, SkipReason,
};
use crate::trigger::Zone;

/// The id of a job that no terminal should be shown as it is.
pub(in crate::cli) const STRANGE: &str = "Grüße 你好 \u{202e}evil and so on for a while";

/// Somebody in Berlin, at 13:05:30.
pub(in crate::cli) fn view(width: usize) -> View {
    View {
        now: at("2026-11-23T12:05:30Z"),
        viewer: Viewer::in_zone(TimeZone::get("Europe/Berlin").unwrap()),
        zone: Zone::parse("Europe/Berlin").unwrap(),
        paint: Paint { on: false },
        width,
    }
}

pub(in crate::cli) fn at(text: &str) -> Timestamp {
    parse_instant(text).unwrap()
}

fn after(at: Timestamp, millis: i64) -> Timestamp {
    at + TimeDelta::milliseconds(millis)
}

/// What somebody sees of a verb: what it wrote, and the message if it refused.
pub(in crate::cli) fn seen(
    tell: impl FnOnce(&mut Vec<u8>) -> Result<Vec<String>, Refusal>,
) -> String {
    let mut bytes = Vec::new();
    let told = tell(&mut bytes);
    let mut text = String::from_utf8(bytes).unwrap();
    match told {
        Ok(remarks) => text.extend(remarks.iter().map(|remark| format!("({remark})\n"))),
        Err(refusal) => text.push_str(&format!("error: {}\n", refusal.message)),
    }
    text
}

/// A record of a run that is due at an instant, recorded ten milliseconds before it. `tail` is
/// the end of its id, of four letters.
fn record(job: &str, due: &str, tail: &str) -> RunRecord {
    let due = at(due);
    let recorded_at = after(due, -10);
    let millis = u128::try_from(recorded_at.timestamp_millis()).unwrap();
    let time = RunId::from_u128(millis << 80).to_string();
    RunRecord {
        id: format!("{}R3D9T6B4RX2V{tail}", &time[..10])
            .parse()
            .unwrap(),
        job: job.into(),
        component: format!("{job}.wasm").into(),
        definition: Some(DefinitionDigest(0x9f0c_5e1b_0000_beef)),
        cause: Cause::Schedule,
        scheduled_at: due,
        recorded_at,
        max_attempts: 1,
        last_success: None,
        deterministic: false,
        params: None,
        status: Status::Recorded,
        attempts: Vec::new(),
    }
}

fn execution(outcome: Outcome, millis: u64, fuel: u64, memory: u64) -> Execution {
    Execution {
        plugin: Some(PluginDigest([0x9f; 32])),
        error: None,
        fuel_used: fuel,
        memory_peak: memory,
        cpu_time: Duration::from_millis(millis * 9 / 10),
        elapsed: Duration::from_millis(millis),
        ..Execution::without_guest(outcome, "", Retry::ByPolicy)
    }
}

fn failed(outcome: Outcome, millis: u64, error: &str) -> Execution {
    Execution {
        error: Some(error.to_owned()),
        ..execution(outcome, millis, 1_900_000_000, 64 << 20)
    }
}

/// The same record with another attempt, which begins a millisecond after the run is due or after
/// the one before it ended.
fn tried(mut record: RunRecord, execution: Execution) -> RunRecord {
    let before = record.attempts.last().and_then(|it| it.end.as_ref());
    let started_at = after(before.map_or(record.scheduled_at, |end| end.at), 1);
    record.status = Status::Finished(execution.outcome);
    record.attempts.push(AttemptRecord {
        number: record.attempts.last().map_or(1, |it| it.number + 1),
        started_at,
        end: Some(AttemptEnd {
            at: started_at + execution.elapsed,
            execution: Arc::new(execution),
        }),
    });
    record
}

fn skipped(record: RunRecord, reason: SkipReason) -> RunRecord {
    RunRecord {
        recorded_at: after(record.scheduled_at, 2),
        status: Status::Skipped(reason),
        ..record
    }
}

/// A run that went well, with everything that one can leave behind.
fn good() -> RunRecord {
    let mut how = execution(Outcome::Succeeded, 41, 2_100_000, 3 << 20);
    how.output = Some(Output::Json(
        serde_json::value::RawValue::from_string(
            r#"{"rows":[1,2.50,3],"title":"Zahlen \u001b[2J"}"#.to_owned(),
        )
        .unwrap(),
    ));
    let lines = (1..=14).map(|line| format!("line {line} of the log\n"));
    how.log = lines.collect::<String>().into_bytes();
    how.log_dropped = 2048;
    how.progress = Some(Progress {
        done: 400,
        total: Some(1000),
        note: "reading".to_owned(),
    });
    for _ in 0..3 {
        how.denials.add(&Denial {
            what: "GET https://api.example.com/v1/sales".to_owned(),
            grant: Some("\"grants\": { \"http\": [\"https://api.example.com\"] }".to_owned()),
            ceiling: Some("the operator's ceiling permits it".to_owned()),
        });
    }
    let mut record = record("report", "2026-11-23T12:05:00Z", "C5EH");
    record.last_success = Some(at("2026-11-23T11:50:00.25Z"));
    tried(record, how)
}

/// A run that failed at first and then ran out of time.
fn twice() -> RunRecord {
    let mut first = failed(Outcome::Failed, 80, "exit code 3\nand more of it");
    first.log = b"no such table\n\x1b[31mgiving up".to_vec();
    let mut second = failed(Outcome::TimedOut, 60_000, "limit: timeout 1 min");
    second.log = b"waiting for a lock".to_vec();
    let run = RunRecord {
        max_attempts: 3,
        deterministic: true,
        ..record("report", "2026-11-23T11:55:00Z", "C5E3")
    };
    tried(tried(run, first), second)
}

fn strange() -> RunRecord {
    let error = "trap: unreachable \u{1b}[2J\nat main";
    tried(
        record(STRANGE, "2026-11-22T22:59:59.5Z", "C5E5"),
        failed(Outcome::OutOfMemory, 1_500, error),
    )
}

fn running() -> RunRecord {
    let mut run = record("backup", "2026-11-23T12:04:00Z", "C5E2");
    run.status = Status::Running;
    run.attempts.push(AttemptRecord {
        number: 1,
        started_at: after(run.scheduled_at, 1),
        end: None,
    });
    run
}

fn late() -> RunRecord {
    let mut how = execution(Outcome::Succeeded, 5_200, 12_000, 200 << 10);
    how.output = Some(Output::Bytes(vec![0xff; 2048]));
    let mut run = record("backup", "2026-11-21T02:00:00Z", "C5E6");
    run.cause = Cause::CatchUp;
    run = tried(run, how);
    let begun = at("2026-11-21T09:30:00Z");
    run.attempts[0].started_at = begun;
    run.attempts[0].end.as_mut().unwrap().at = after(begun, 5_200);
    run
}

fn lost() -> RunRecord {
    let how = Execution::without_guest(
        Outcome::Lost,
        "the host ended while it ran",
        Retry::ByPolicy,
    );
    tried(record("report", "2025-12-24T17:00:00Z", "C5E8"), how)
}

/// One of each kind.
pub(in crate::cli) fn history() -> MemoryHistory {
    let mut history = MemoryHistory::of(vec![
        good(),
        running(),
        skipped(
            record("report", "2026-11-23T12:00:00Z", "C5E4"),
            SkipReason::MaxInstances(1),
        ),
        twice(),
        record("tidy", "2026-11-23T12:05:30Z", "C5E7"),
        strange(),
        late(),
        skipped(
            record("report", "2026-11-20T08:00:00Z", "D25E"),
            SkipReason::Missed(Some(3)),
        ),
        lost(),
    ]);
    history.in_service = vec![
        ("report".into(), Some(at("2026-11-23T12:10:00Z"))),
        ("tidy".into(), None),
        ("backup".into(), Some(at("2026-11-24T02:00:00Z"))),
        ("new".into(), Some(at("2026-11-23T12:05:31Z"))),
    ];
    history.paused = vec!["tidy".into()];
    history
}

/// The history in a directory `DIR`.
pub(in crate::cli) fn past() -> Past {
    Past {
        history: Box::new(history()),
        place: "DIR".to_owned(),
    }
}

/// A history in which nothing is.
pub(in crate::cli) fn nothing() -> Past {
    Past {
        history: Box::new(MemoryHistory::default()),
        place: "DIR".to_owned(),
    }
}
