//! Records of the history as JSON: the keys of the events that told of them when they were new.

use super::{EventJson, raw};
use crate::record::{AttemptRecord, RunRecord, Status};

impl<'a> EventJson<'a> {
    /// The JSON form of a record: `run.finished` with its last attempt, `run.skipped`,
    /// `run.started` while it runs, and `run.recorded` before that. `at` is when it came to be so;
    /// for a skipped one, when it was recorded.
    pub fn of_record(record: &'a RunRecord) -> EventJson<'a> {
        let mut json = EventJson {
            at: Some(record.recorded_at),
            ..EventJson::of_identity(record)
        };
        if let Some(attempt) = record.attempt() {
            json.attempt = Some(attempt.number);
            json.started_at = Some(attempt.started_at);
            if attempt.number > 1 {
                json.run_started_at = record.started_at();
            }
        }
        if !matches!(record.status, Status::Skipped(_)) {
            json.max_attempts = (record.max_attempts > 1).then_some(record.max_attempts);
        }
        match &record.status {
            Status::Recorded => json.event = "run.recorded",
            Status::Running => {
                json.event = "run.started";
                json.at = json.started_at.or(json.at);
            }
            Status::Skipped(reason) => {
                json.event = "run.skipped";
                json.kind = Some(reason.to_parts().0);
                json.reason = Some(reason);
            }
            Status::Finished(outcome) => {
                json.event = "run.finished";
                json.last_success_at = record.last_success;
                json.deterministic = record.deterministic.then_some(true);
                if let Some(end) = record.attempt().and_then(|it| it.end.as_ref()) {
                    json.end(end.at, &end.execution);
                }
                json.outcome = Some(*outcome);
            }
        }
        json
    }

    /// The JSON form of one attempt of a record, as far as it is an attempt's own: `run.attempt`.
    pub fn of_attempt_record(attempt: &'a AttemptRecord) -> EventJson<'a> {
        let mut json = EventJson {
            event: "run.attempt",
            at: Some(attempt.started_at),
            attempt: Some(attempt.number),
            started_at: Some(attempt.started_at),
            ..EventJson::default()
        };
        if let Some(end) = &attempt.end {
            json.end(end.at, &end.execution);
        }
        json
    }

    fn of_identity(record: &'a RunRecord) -> EventJson<'a> {
        EventJson {
            job: Some(&record.job),
            plugin: Some(&record.component),
            definition: record.definition,
            run: Some(record.id),
            cause: Some(record.cause),
            scheduled_at: Some(record.scheduled_at),
            params: raw(record.params.as_ref()),
            ..EventJson::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::parse_instant;
    use crate::event::{Event, Stamped};
    use crate::job::Job;
    use crate::run::{
        Attempt, Cause, Denial, Execution, FinishedRun, Level, LogEntry, Outcome, Output,
        PluginDigest, Progress, Retry, Run, RunId, SkipReason,
    };

    fn finished() -> FinishedRun {
        let at = |text: &str| parse_instant(text).unwrap();
        let job = Job {
            deterministic: true,
            ..Job::by_hand("report".into(), "report.wasm")
        };
        let mut execution = Execution {
            plugin: Some(PluginDigest([7; 32])),
            output: Some(Output::Text("done".to_owned())),
            output_dropped: 5,
            log: b"one\ntwo\n".to_vec(),
            log_dropped: 6,
            fuel_used: 7,
            memory_peak: 8,
            cpu_time: Duration::from_micros(9),
            elapsed: Duration::from_millis(10),
            entries: vec![LogEntry {
                level: Level::Warn,
                message: "one".to_owned(),
                fields: vec![("a".to_owned(), "b".to_owned())],
                after: Duration::from_millis(1),
            }],
            progress: Some(Progress {
                done: 1,
                total: Some(2),
                note: String::new(),
            }),
            ..Execution::without_guest(Outcome::Failed, "exit code 3", Retry::ByPolicy)
        };
        execution.denials.add(&Denial {
            what: "GET http://x".to_owned(),
            grant: None,
            ceiling: None,
        });
        FinishedRun {
            attempt: Attempt {
                run: Arc::new(Run {
                    id: RunId::from_u128(1),
                    job: Arc::new(job),
                    cause: Cause::Schedule,
                    scheduled_at: at("2026-01-01T00:00:00Z"),
                    max_attempts: 3,
                    last_success: Some(at("2025-12-31T00:00:00Z")),
                }),
                number: 2,
                started_at: at("2026-01-01T00:00:01Z"),
                run_started_at: at("2026-01-01T00:00:01Z"),
            },
            finished_at: at("2026-01-01T00:00:02Z"),
            execution,
        }
    }

    #[test]
    fn what_is_past_is_told_as_it_was_when_it_was_new() {
        let run = finished();
        let mut record = RunRecord::of(&run.attempt.run, run.attempt.started_at);
        record.status = Status::Finished(run.execution.outcome);
        record.attempts.push(AttemptRecord::of(&run));
        let json = |json: &EventJson<'_>| serde_json::to_value(json).unwrap();
        let live = json(&EventJson::of_run(&run));
        assert_eq!(json(&EventJson::of_record(&record)), live);
    }

    #[test]
    fn what_was_skipped_has_the_keys_of_its_event_and_an_id() {
        let run = finished().attempt.run;
        let at = run.scheduled_at;
        let reason = SkipReason::MaxInstances(1);
        let mut record = RunRecord::of(&run, at);
        record.status = Status::Skipped(reason.clone());
        let stamped = Stamped {
            at,
            event: Event::RunSkipped {
                job: run.job.clone(),
                scheduled_at: at,
                reason,
            },
        };
        let live = serde_json::to_value(EventJson::of(&stamped).unwrap()).unwrap();
        let past = serde_json::to_value(EventJson::of_record(&record)).unwrap();
        for (key, value) in live.as_object().unwrap() {
            assert_eq!(past[key], *value, "{key}");
        }
        let more: Vec<&String> = past.as_object().unwrap().keys().collect();
        let more: Vec<&str> = (more.iter())
            .filter(|key| live.get(key.as_str()).is_none())
            .map(|key| key.as_str())
            .collect();
        assert_eq!(more, ["run", "cause", "plugin"]);
    }

    #[test]
    fn what_has_not_ended_says_how_far_it_has_come() {
        let run = finished();
        let mut record = RunRecord::of(&run.attempt.run, run.attempt.run.scheduled_at);
        let event = |record: &RunRecord| EventJson::of_record(record).event;
        assert_eq!(event(&record), "run.recorded");
        record.status = Status::Running;
        record.attempts.push(AttemptRecord {
            number: 1,
            started_at: run.attempt.started_at,
            end: None,
        });
        assert_eq!(event(&record), "run.started");
        // A host that ended with it says how it ended, but knows no more.
        record.status = Status::Finished(Outcome::Lost);
        let lost = serde_json::to_value(EventJson::of_record(&record)).unwrap();
        assert_eq!(lost["outcome"], "lost");
        assert_eq!(lost.get("finished_at"), None);
    }
}
