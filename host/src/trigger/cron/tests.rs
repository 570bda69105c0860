//! The facts in `tests/cron`, to the last case.

use serde_json::Value;

use super::*;
use crate::trigger::Trigger;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn lines(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/cron/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn upcoming(trigger: &Trigger, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    std::iter::successors(trigger.next_after(after), |last| trigger.next_after(*last))
        .take(count)
        .collect()
}

#[test]
fn every_sample_holds() {
    let mut wrong = Vec::new();
    let cases = lines("sample.jsonl");
    assert!(cases.len() >= 396);
    for case in &cases {
        let expression = case["expr"].as_str().unwrap();
        let zone = Zone::parse(case["tz"].as_str().unwrap()).unwrap();
        let after = at(case["after"].as_str().unwrap());
        let expected: Vec<DateTime<Utc>> = case["expect"]
            .as_array()
            .unwrap()
            .iter()
            .map(|instant| at(instant.as_str().unwrap()))
            .collect();
        let count = case["count"].as_u64().unwrap() as usize;
        match Trigger::parse(expression, zone) {
            Ok(trigger) => {
                let found = upcoming(&trigger, after, count);
                if found != expected {
                    wrong.push(format!("{case}\n  found {found:?}"));
                }
                // And back: each is the latest up to itself, and up to just before the next.
                let mut last = after;
                for instant in &expected {
                    let before = *instant - chrono::TimeDelta::nanoseconds(1);
                    assert_eq!(trigger.latest_in(last, before), None, "{case}");
                    assert_eq!(trigger.latest_in(last, *instant), Some(*instant), "{case}");
                    assert_eq!(trigger.latest_in(after, *instant), Some(*instant), "{case}");
                    last = *instant;
                }
            }
            Err(_) if expected.is_empty() => {}
            Err(error) => wrong.push(format!("{case}\n  refused: {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_invalid_sample_is_refused_where_it_is_wrong() {
    let cases = lines("invalid_sample.jsonl");
    assert!(cases.len() >= 60);
    for case in &cases {
        let expression = case["expr"].as_str().unwrap();
        let Err(error) = Trigger::parse(expression, Zone::UTC) else {
            panic!("accepted: {expression}");
        };
        assert!(
            expression.get(error.span.clone()).is_some(),
            "{expression}: {error:?}"
        );
        assert!(
            !error.message.is_empty() && !error.label.is_empty(),
            "{expression}"
        );
    }
}
