//! What every store of logs must do.

use std::ops::ControlFlow;

use chrono::TimeDelta;

use super::LogStore;
use crate::clock::Timestamp;
use crate::log::{LogBatch, LogLine, LogQuery, LogStream, LogSummary};
use crate::run::{Level, RunId};

/// Runs the suite: each part with a store of its own.
pub async fn run(new: impl Fn() -> Box<dyn LogStore>) {
    lines_come_back_in_order(&*new());
    lines_are_chosen(&*new());
    a_line_is_kept_once(&*new());
    what_was_not_kept_adds_up(&*new());
    whoever_has_seen_enough_is_told_no_more(&*new());
    lines_go_with_their_runs(&*new()).await;
}

/// Lines of the first attempt of a run, a second apart.
pub fn batch(run: u128, job: &str, texts: &[&str]) -> LogBatch {
    let line = |(number, text): (u64, &&str)| LogLine {
        number,
        at: Timestamp::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(number).unwrap()),
        stream: LogStream::Stderr,
        level: None,
        text: (*text).to_owned(),
        cut: 0,
        fields: Vec::new(),
    };
    LogBatch {
        run: RunId::from_u128(run),
        job: job.into(),
        attempt: 1,
        lines: (1..).zip(texts).map(line).collect(),
        dropped: 0,
        ended: false,
    }
}

/// The lines that are found, as `run/attempt/number job text`.
pub fn read(logs: &dyn LogStore, query: &LogQuery) -> Vec<String> {
    let mut found = Vec::new();
    let mut each = |it: crate::log::LoggedLine| {
        let (run, number) = (it.run.to_u128(), it.line.number);
        found.push(format!(
            "{run}/{}/{number} {} {}",
            it.attempt, it.job, it.line
        ));
        ControlFlow::Continue(())
    };
    logs.lines(query, &mut each).unwrap();
    found
}

fn lines_come_back_in_order(logs: &dyn LogStore) {
    logs.append(batch(2, "b", &["b1"]));
    let mut again = batch(1, "a", &["again"]);
    again.attempt = 2;
    logs.append(again);
    logs.append(batch(1, "a", &["one", "", "\u{1b}[31mGrüße\0"]));
    let mut more = batch(1, "a", &["four"]);
    more.lines[0].number = 4;
    logs.append(more);
    assert_eq!(
        read(logs, &LogQuery::default()),
        [
            "1/1/1 a one",
            "1/1/2 a ",
            "1/1/3 a \u{1b}[31mGrüße\0",
            "1/1/4 a four",
            "1/2/1 a again",
            "2/1/1 b b1",
        ]
    );
    let of_run = LogQuery {
        after: Some((1, 3)),
        ..LogQuery::of(RunId::from_u128(1))
    };
    assert_eq!(read(logs, &of_run), ["1/1/4 a four", "1/2/1 a again"]);
}

fn lines_are_chosen(logs: &dyn LogStore) {
    let mut some = batch(1, "a", &["plain", "spoken", "odd"]);
    some.lines[1].stream = LogStream::Log;
    some.lines[1].level = Some(Level::Warn);
    some.lines[1].fields = vec![("rows".to_owned(), "3".to_owned())];
    some.lines[2].stream = LogStream::Stdout;
    some.lines[2].cut = 7;
    let sent = some.clone();
    logs.append(some);
    logs.append(batch(2, "b", &["plain"]));
    let chosen = |query: LogQuery| read(logs, &query).len();
    let all = LogQuery::default;
    assert_eq!(
        chosen(LogQuery {
            job: Some("a".into()),
            ..all()
        }),
        3
    );
    assert_eq!(
        chosen(LogQuery {
            streams: vec![LogStream::Stdout, LogStream::Log],
            ..all()
        }),
        2
    );
    let least = |level| {
        chosen(LogQuery {
            level: Some(level),
            ..all()
        })
    };
    assert_eq!((least(Level::Info), least(Level::Error)), (1, 0));
    let since = Some(Timestamp::UNIX_EPOCH + TimeDelta::seconds(2));
    assert_eq!(chosen(LogQuery { since, ..all() }), 2);
    for (text, count) in [("plain", 2), ("warn: spoken rows=3", 1), ("%", 0)] {
        let text = Some(text.to_owned());
        assert_eq!(chosen(LogQuery { text, ..all() }), count);
    }
    assert_eq!(
        chosen(LogQuery {
            attempt: Some(2),
            ..all()
        }),
        0
    );
    // With all that belongs to it.
    let mut whole = Vec::new();
    logs.lines(&LogQuery::of(RunId::from_u128(1)), &mut |it| {
        whole.push(it.line);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(whole, sent.lines);
}

fn a_line_is_kept_once(logs: &dyn LogStore) {
    logs.append(batch(1, "a", &["one", "two"]));
    logs.append(batch(1, "a", &["one", "two", "three"]));
    assert_eq!(read(logs, &LogQuery::default()).len(), 3);
}

fn what_was_not_kept_adds_up(logs: &dyn LogStore) {
    let run = RunId::from_u128(1);
    assert_eq!(logs.summaries(run).unwrap(), []);
    let mut some = batch(1, "a", &["one"]);
    some.dropped = 5;
    logs.append(some);
    let mut rest = batch(1, "a", &[]);
    rest.dropped = 7;
    let summary = |dropped, ended| LogSummary {
        attempt: 1,
        dropped,
        ended,
    };
    assert_eq!(read(logs, &LogQuery::default()).len(), 1);
    assert_eq!(logs.summaries(run).unwrap(), [summary(5, false)]);
    rest.ended = true;
    logs.append(rest);
    assert_eq!(read(logs, &LogQuery::default()).len(), 1);
    assert_eq!(logs.summaries(run).unwrap(), [summary(12, true)]);
}

fn whoever_has_seen_enough_is_told_no_more(logs: &dyn LogStore) {
    logs.append(batch(1, "a", &["one", "two", "three"]));
    let mut seen = 0;
    logs.lines(&LogQuery::default(), &mut |_| {
        seen += 1;
        if seen == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(seen, 2);
}

async fn lines_go_with_their_runs(logs: &dyn LogStore) {
    for run in 1..=5 {
        logs.append(batch(run, "a", &["one", "two"]));
    }
    let runs = [2, 4].map(RunId::from_u128).to_vec();
    logs.remove(runs).await.unwrap();
    assert_eq!(read(logs, &LogQuery::default()).len(), 6);
    assert_eq!(logs.summaries(RunId::from_u128(2)).unwrap(), []);
    logs.remove_before(RunId::from_u128(5)).await.unwrap();
    let left = read(logs, &LogQuery::default());
    assert_eq!(left, ["5/1/1 a one", "5/1/2 a two"]);
}
