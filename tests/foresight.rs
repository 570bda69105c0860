//! What will happen, before it does: `next`, `explain` and `plan` of the real executable, at
//! instants that stand still.

use serde_json::{Value, json};

use super::support::{Project, repository};

/// That a command has succeeded and printed these words.
#[track_caller]
fn shows(project: &Project, line: &[&str], words: &[&str]) {
    let ended = project.run(line).exits(0);
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(printed.contains(word), "no `{word}` in {printed}");
    }
}

/// Of everything something: a chain, jitter, counted runs, days off from a file.
fn project() -> Project {
    let project = Project::with(&["hello"]);
    project.write(
        "free.ics",
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20270329\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n",
    );
    let job = |id: &str, trigger: Value| json!({ "id": id, "component": "hello.wasm", "trigger": trigger });
    project.jobs(&json!({
        "timezone": "Europe/Berlin",
        "calendars": { "free": { "ics": "free.ics" } },
        "jobs": [
            job("nightly", json!("30 2 * * *")),
            job("then", json!({ "after": "nightly" })),
            job("spread", json!("H 4 * * *")),
            job("late", json!({ "cron": "0 6 * * *", "jitter": "20m" })),
            job("thrice", json!({ "interval": "6h", "start": "2027-03-27T00:00", "max_runs": 3 })),
            job("weekdays", json!({ "cron": "0 9 * * *", "not_on": ["free", "sat-sun"] })),
            job("second", json!({ "calendar": { "every": "2 days", "at": "12:00" }, "start": "2027-03-27" })),
        ],
    }));
    project
}

const WINDOW: [&str; 4] = [
    "--from=2027-03-27",
    "--to=2027-03-31",
    "--timezone=Europe/Berlin",
    "--duration=10m",
];

#[test]
fn a_plan_has_the_instants_that_next_tells() {
    let project = project();
    let plan = project
        .run(&[&["plan", "--json"][..], &WINDOW].concat())
        .exits(0)
        .json();
    let firings = plan["firings"].as_array().unwrap();
    assert_eq!(
        plan["total"].as_u64().unwrap_or(firings.len() as u64),
        firings.len() as u64
    );
    let planned = |id: &str| -> Vec<&str> {
        let of_job = firings.iter().filter(|firing| firing["job"] == id);
        of_job
            .map(|firing| {
                let due = &firing["due_at"];
                let due = if due.is_null() {
                    &firing["scheduled_at"]
                } else {
                    due
                };
                due.as_str().unwrap()
            })
            .collect()
    };
    for (id, count) in [
        ("nightly", 4),
        ("spread", 4),
        ("late", 4),
        ("thrice", 3),
        ("weekdays", 1),
        ("second", 2),
    ] {
        let planned = planned(id);
        assert_eq!(planned.len(), count, "{id}: {planned:?}");
        let line = ["next", id, "--json", "--after=2027-03-26T22:59:59Z", "-n"];
        let next = project
            .run(&[&line[..], &[&count.to_string()]].concat())
            .exits(0)
            .json();
        let next: Vec<&str> = next["next"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        assert_eq!(planned, next, "{id}");
    }
    // What comes after another job begins when that one ends.
    assert_eq!(planned("nightly")[1], "2027-03-28T01:00:00Z");
    assert_eq!(planned("then")[1], "2027-03-28T01:10:00Z");
}

#[test]
fn a_plan_can_be_read_listed_and_imported() {
    let project = project();
    let run = |form: &[&str]| {
        project
            .run(&[&["plan"][..], &WINDOW, form].concat())
            .exits(0)
    };
    let plan = run(&[]).stdout;
    for words in [
        "22 firings of 7 jobs",
        "clock change: Sun 28 Mar 2027",
        "late x thrice",
    ] {
        assert!(plan.contains(words), "{plan}");
    }
    let list = run(&["--list"]).stdout;
    assert!(list.contains("Sun 28 Mar 2027 03:00"), "{list}");
    let calendar = run(&["--ics"]).stdout;
    assert!(calendar.starts_with("BEGIN:VCALENDAR\r\n") && calendar.ends_with("END:VCALENDAR\r\n"));
    for line in calendar.split_terminator("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line}");
    }
    let events = calendar.matches("BEGIN:VEVENT").count();
    assert_eq!(events, list.lines().count(), "{list}\n{calendar}");
}

#[test]
fn a_broken_job_does_not_hide_the_others() {
    let project = project();
    project.write(
        "jobs.json",
        r#"[{"id": "good", "component": "hello.wasm", "trigger": "0 9 * * *"},
            {"id": "bad", "component": "hello.wasm", "trigger": "61 * * * *"}]"#,
    );
    let ended = project.run(&[&["plan"][..], &WINDOW].concat()).exits(1);
    assert!(ended.stdout.contains("4 firings of 1 job"), "{ended:?}");
    assert!(
        ended.stderr.contains("minute 61 is out of range"),
        "{ended:?}"
    );
    project
        .run(&["plan", "--from=2027-03-31", "--to=2027-03-27"])
        .exits(2);
    project.run(&["plan", "none.json"]).exits(1);
}

#[test]
fn an_expression_is_explained() {
    let project = project();
    let after = "--after=2026-11-22T12:00:00Z";
    shows(
        &project,
        &["explain", "30 2 * * *", "--timezone=Europe/Berlin", after],
        &[
            "At 02:30 every day, Europe/Berlin.",
            "does not exist",
            "03:00 +02:00",
        ],
    );
    let json = project
        .run(&["explain", "nightly", "--json", after])
        .exits(0)
        .json();
    assert_eq!(json["next"][0], "2026-11-23T01:30:00Z");
    shows(
        &project,
        &["explain", "0 0 30 2 *"],
        &["30 February does not exist"],
    );
    project
        .run(&["explain", "H 4 * * *"])
        .exits(2)
        .says(&["--job-id"]);
    shows(
        &project,
        &["explain", "H 4 * * *", "--job-id", "spread"],
        &["At 04:"],
    );
    project
        .run(&["explain", "99 * * * *"])
        .exits(2)
        .says(&["minute 99 is out of range", "^^"]);
}

#[test]
fn next_of_a_file_is_that_of_all_its_jobs() {
    let project = project();
    let json = project
        .run(&[
            "next",
            "jobs.json",
            "--json",
            "--after=2027-03-27T00:00:00Z",
            "-n",
            "6",
        ])
        .exits(0)
        .json();
    let next = json["next"].as_array().unwrap();
    assert_eq!(next.len(), 6);
    assert_eq!(next[0]["job"], "nightly");
    // The file is the usual one where nothing is said.
    shows(&project, &["next", "-n", "2"], &["WHEN"]);
}

#[test]
fn what_a_clock_change_skips_is_warned_of() {
    let project = project();
    let ended = project.run(&["check"]).exits(0);
    assert!(
        ended
            .stderr
            .contains("`nightly` runs at 02:30 Europe/Berlin, which does not exist on"),
        "{ended:?}"
    );
    // The file of all kinds of triggers can be planned where it stands.
    let file = repository("examples/schedule.json").display().to_string();
    shows(
        &project,
        &[
            "plan",
            &file,
            "--from=2026-12-20",
            "--to=2027-01-05",
            "--timezone=Europe/Berlin",
        ],
        &["payroll    Mon 04 Jan 09:00"],
    );
}
