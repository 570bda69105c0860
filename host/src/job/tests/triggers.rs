//! Triggers of every kind, their bounds and days off, good and bad.

use super::*;

#[test]
fn every_kind_of_trigger_is_read() {
    let job = |trigger: &str| {
        let text = format!(
            r#"{{"timezone": "Europe/Berlin", "jobs": [{{"id": "a", "component": "a.wasm", "trigger": {trigger}}}]}}"#
        );
        let source = Arc::new(SourceText::new("jobs.json", text));
        let manifest = Manifest::parse(source, &Options::default()).unwrap();
        let problems = manifest.problems();
        assert!(problems.is_empty(), "{trigger}: {problems:?}");
        manifest.jobs().next().unwrap().clone()
    };
    let after = "2026-11-22T12:00:00Z".parse().unwrap();
    let mut told = String::new();
    for trigger in [
        r#""@reboot""#,
        r#""H H * * *""#,
        r#"{"cron": "30 2 * * *", "dst": "skip"}"#,
        r#"{"cron": "0 9 * * *", "timezone": "Asia/Tokyo", "start": "2027-01-01", "end": "2027-01-31"}"#,
        r#"{"interval": "90m", "start": "2026-11-22T09:00", "max_runs": 5}"#,
        r#"{"interval": "1d", "jitter": "10m"}"#,
        r#"{"at": "2026-12-24T18:00:00Z"}"#,
        r#"{"at": "2026-12-24 18:00"}"#,
        r#"{"at": "2026-12-24 18:00", "timezone": "America/New_York"}"#,
        r#"{"any": ["0 9 * * *", {"interval": "7h"}, {"after": "b", "on": "failure"}, "@reboot"]}"#,
        r#"{"any": ["0 9 * * mon", "0 10 * * tue"], "timezone": "Asia/Tokyo", "jitter": "5m"}"#,
        r#"{"all": ["0 9 * * *", {"interval": "1d", "start": "2026-11-23T09:00"}], "max_runs": 3}"#,
        r#"{"calendar": {"every": "2 weeks", "on": ["mon", "thu"], "at": "09:00"}, "start": "2026-11-23"}"#,
        r#"{"calendar": {"every": "month", "on": 15, "at": ["09:00", "17:30"]}, "timezone": "Asia/Tokyo", "max_runs": 4}"#,
        r#"{"calendar": {"every": "3 months", "on": "last workday", "at": "18:00"}, "dst": "skip"}"#,
        r#"{"after": "b"}"#,
        r#"{"after": 7, "on": "always"}"#,
    ] {
        let job = job(trigger);
        let next = job.trigger.next_after(after);
        let next = next.map_or("-".to_owned(), crate::clock::format_instant);
        let zone = job.trigger.zone().map_or("-", |zone| zone.name());
        told.push_str(&format!(
            "{trigger}\n    {}   {zone}   {next}\n",
            job.trigger
        ));
    }
    insta::assert_snapshot!("kinds_of_triggers", told);
}

#[test]
fn mistakes_in_bounds_chains_and_combinations() {
    let mut texts = Vec::new();
    for trigger in [
        r#"{"cron": "0 9 * * *", "dst": "skipp"}"#,
        r#"{"cron": "0 9 * * *", "dst": true}"#,
        r#"{"interval": "5s", "dst": "skip"}"#,
        r#"{"cron": "0 9 * * *", "start": "tomorrow"}"#,
        r#"{"cron": "0 9 * * *", "start": "2027-02-01", "end": "2027-01-01"}"#,
        r#"{"cron": "0 9 * * *", "start": "2027-02-01T10:00", "end": "2027-02-01T11:00"}"#,
        r#"{"cron": "0 9 * * *", "max_runs": 0}"#,
        r#"{"cron": "0 9 * * *", "max_runs": 20000}"#,
        r#"{"cron": "0 9 * * *", "jitter": 5}"#,
        r#"{"cron": "0 9 * * *", "on": "success"}"#,
        r#"{"calendar": "2 weeks"}"#,
        r#"{"calendar": {"every": "2 weeks"}}"#,
        r#"{"calendar": {"at": "09:00"}}"#,
        r#"{"calendar": {"every": "2 moons", "at": "09:00"}}"#,
        r#"{"calendar": {"every": "2 weeks", "on": ["mon", "fryday"], "at": "09:00"}}"#,
        r#"{"calendar": {"every": "month", "on": 15, "at": ["09:00", "25:00"]}}"#,
        r#"{"calendar": {"every": "year", "on": "30 feb", "at": "09:00"}}"#,
        r#"{"calendar": {"evry": "2 weeks", "at": "09:00"}}"#,
        r#"{"calendar": {"every": 2, "at": 9}}"#,
        r#"{"at": "2026-12-24"}"#,
        r#"{"at": "24.12.2026"}"#,
        r#"{"at": "2026-12-24T18:00:00Z", "max_runs": 2}"#,
        r#"{"any": []}"#,
        r#"{"any": "0 9 * * *"}"#,
        r#"{"any": ["0 9 * * *", "61 * * * *", 5, {"cron": "0 10 * * *", "jitter": "5m"}]}"#,
        r#"{"any": ["0 9 * * *", "@manually"]}"#,
        r#"{"any": ["@reboot"], "max_runs": 2}"#,
        r#"{"all": ["0 9 * * *", "@reboot"]}"#,
        r#"{"all": ["0 9 * * *", {"any": ["0 9 * * *", {"all": ["@daily", "@hourly"]}]}]}"#,
        r#"{"all": ["0 9 * * *", "0 10 * * *"]}"#,
        r#"{"after": "b", "on": "succes"}"#,
        r#"{"after": "b", "jitter": "5s"}"#,
        r#"{"after": "b", "timezone": "UTC"}"#,
        r#"{"after": 1.5}"#,
        r#"{"after": "a"}"#,
        r#""H(9-5) * * * *""#,
    ] {
        texts.push(format!(
            r#"[{{"id": "a", "component": "a.wasm", "trigger": {trigger}}}]"#
        ));
    }
    texts.push(
        r#"[{"id": "a", "component": "a.wasm", "trigger": {"after": "b"}},
 {"id": "b", "component": "a.wasm", "trigger": {"any": ["@daily", {"after": "c"}]}},
 {"id": "c", "component": "a.wasm", "trigger": {"after": "a", "on": "always"}}]"#
            .to_owned(),
    );
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    insta::assert_snapshot!(drawn(&texts));
}

const FREE: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\n\
    DTSTART;VALUE=DATE:20201225\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:Christmas\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

/// With a calendar file `free.ics`, and a broken one beside it.
fn with_files() -> Options {
    Options {
        read: |path, _| match path.to_str() {
            Some("/srv/jobs/free.ics") => Ok(FREE.into()),
            Some("/srv/jobs/broken.ics") => Ok("BEGIN:VCALENDAR\nBEGIN:VEVENT\n".into()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        },
        ..options()
    }
}

#[test]
fn days_are_excluded_by_name_by_file_and_by_themselves() {
    let text = |trigger: &str| {
        format!(
            r#"{{"calendars": {{
            "holidays": ["2026-11-26", "12-24/01-01"],
            "weekend": "sat-sun",
            "free": {{"ics": "free.ics", "days": ["2026-11-25"]}} }},
            "jobs": [{{"id": "a", "component": "a.wasm", "trigger": {trigger}}}]}}"#
        )
    };
    let mut told = String::new();
    for trigger in [
        r#"{"cron": "0 9 * * *", "not_on": "holidays"}"#,
        r#"{"cron": "0 9 * * *", "not_on": ["holidays", "weekend", "free"]}"#,
        r#"{"cron": "0 9 25,29 * *", "not_on": ["free", "sun"], "instead": "next business day"}"#,
        r#"{"interval": "1d", "not_on": ["free", "2026-11-24"], "timezone": "Asia/Tokyo"}"#,
        r#"{"any": [{"cron": "0 9 * * *", "not_on": "holidays"}, "0 18 26 11 *"]}"#,
    ] {
        let manifest = Manifest::parse(source(&text(trigger)), &with_files()).unwrap();
        assert!(manifest.problems().is_empty(), "{:?}", manifest.problems());
        assert_eq!(manifest.files.len(), 1);
        let trigger_of = &manifest.jobs().next().unwrap().trigger;
        let first = trigger_of.next_after("2026-11-23T12:00:00Z".parse().unwrap());
        let days: Vec<String> = std::iter::successors(first, |last| trigger_of.next_after(*last))
            .take(5)
            .map(|instant| instant.format("%m-%d %H").to_string())
            .collect();
        told.push_str(&format!(
            "{trigger}\n    {trigger_of}\n    {}\n",
            days.join(", ")
        ));
    }
    insta::assert_snapshot!("excluded_days", told);
}

#[test]
fn mistakes_in_calendars() {
    let file = |calendars: &str, trigger: &str| {
        format!(
            "{{\"calendars\": {calendars},\n \"jobs\": [{{\"id\": \"a\", \"component\": \"a.wasm\", \"trigger\": {trigger}}}]}}"
        )
    };
    let daily = r#""@daily""#;
    let on = |not_on: &str| format!(r#"{{"cron": "0 9 * * *", "not_on": {not_on}}}"#);
    let texts = [
        file("[]", daily),
        file(r#"{"h": 5}"#, daily),
        file(r#"{"h": {}}"#, daily),
        file(r#"{"h": ["2026-12-25", "25.12.2026", 7]}"#, daily),
        file(r#"{"h": {"dayz": ["sat"]}}"#, daily),
        file(r#"{"h": {"ics": "gone.ics"}}"#, &on("\"h\"")),
        file(r#"{"h": {"ics": "broken.ics"}}"#, daily),
        file(r#"{"holidays": "sat"}"#, &on("\"holiday\"")),
        file(r#"{"holidays": "sat"}"#, &on("[\"xyzzy\", \"sun\"]")),
        file("{}", &on("\"holidays\"")),
        file("{}", &on("[]")),
        file("{}", &on("7")),
        file("{}", r#"{"cron": "0 9 * * *", "instead": "skip"}"#),
        file(
            "{}",
            r#"{"cron": "0 9 * * *", "not_on": "sat", "instead": "monday"}"#,
        ),
        file("{}", r#"{"cron": "0 9 * * sat", "not_on": "sat"}"#),
    ];
    let mut told = String::new();
    for text in &texts {
        let problems = match Manifest::parse(source(text), &with_files()) {
            Ok(manifest) => manifest.problems().into_iter().cloned().collect(),
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "{text}");
        for problem in problems {
            told.push_str(&problem.render(false));
            told.push('\n');
        }
    }
    insta::assert_snapshot!("mistakes_in_calendars", told);
}
