//! What will happen, before it does: `next`, `explain` and `plan` of the real executable, at
//! instants that stand still.

use std::collections::BTreeSet;

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

/// Longer than a line of an iCalendar may be, with an umlaut about where it has to be folded.
const DESCRIPTION: &str =
    "every day on which there is work to do, at nine, for Jürgen und für Käthe";

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
            {
                "id": "weekdays",
                "description": DESCRIPTION,
                "component": "hello.wasm",
                "trigger": { "cron": "0 9 * * *", "not_on": ["free", "sat-sun"] },
            },
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
    assert_eq!(plan["total"], 22);
    assert_eq!(firings.len(), 22);
    let planned = |id: &str| -> Vec<&str> {
        let of_job = firings.iter().filter(|firing| firing["job"] == id);
        of_job
            .map(|firing| firing["due_at"].as_str().unwrap())
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
    assert_eq!(
        planned("then"),
        [
            "2027-03-27T01:40:00Z",
            "2027-03-28T01:10:00Z",
            "2027-03-29T00:40:00Z",
            "2027-03-30T00:40:00Z",
        ]
    );
}

#[test]
fn a_plan_can_be_read_and_listed() {
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
    assert_eq!(list.lines().count(), 22, "{list}");
}

#[test]
fn a_plan_can_be_imported_and_imported_again() {
    let project = project();
    let run = |window: &[&str], form: &str| {
        project
            .run(&[&["plan"][..], window, &[form]].concat())
            .exits(0)
    };
    let calendar = run(&WINDOW, "--ics").stdout;
    assert!(calendar.starts_with("BEGIN:VCALENDAR\r\n") && calendar.ends_with("END:VCALENDAR\r\n"));
    for line in calendar.split_terminator("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line}");
    }
    assert!(calendar.contains("\r\n "), "nothing is folded: {calendar}");
    let unfolded = |calendar: &str| calendar.replace("\r\n ", "");
    let described = unfolded(&calendar).replace("\\,", ",");
    assert!(described.contains(DESCRIPTION), "{calendar}");
    assert_eq!(calendar.matches("BEGIN:VEVENT\r\n").count(), 22);
    assert_eq!(calendar.matches("\r\nDURATION:PT600S\r\n").count(), 22);

    // The instants are those of the JSON, to the second.
    let values = |calendar: &str, name: &str| -> Vec<String> {
        let text = unfolded(calendar);
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::to_owned).collect()
    };
    let plan = run(&WINDOW, "--json").json();
    let firings = plan["firings"].as_array().unwrap().iter();
    let starts: Vec<String> = firings
        .map(|firing| {
            let due = firing["due_at"].as_str().unwrap();
            let seconds = due.trim_end_matches('Z').split('.').next().unwrap();
            seconds.replace(['-', ':'], "") + "Z"
        })
        .collect();
    assert_eq!(values(&calendar, "DTSTART:"), starts);

    // A later plan names the same firings alike, and no two the same.
    let ids = values(&calendar, "UID:");
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), 22, "{ids:?}");
    let later = [&["--from=2027-03-29"], &WINDOW[1..]].concat();
    let of_later = values(&run(&later, "--ics").stdout, "UID:");
    assert_eq!(of_later, ids[12..]);
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
    let ended = project.run(&[&["plan", "--json"][..], &WINDOW].concat());
    assert_eq!(ended.exits(1).json()["total"], 4);
    project
        .run(&["plan", "--from=2027-03-31", "--to=2027-03-27"])
        .exits(2)
        .says(&["is not after the beginning"]);
    project
        .run(&["plan", "none.json"])
        .exits(1)
        .says(&["none.json"]);
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
    shows(
        &project,
        &["explain", "0 0 30 2 *", after],
        &["30 February does not exist"],
    );
    project
        .run(&["explain", "H 4 * * *"])
        .exits(2)
        .says(&["--job-id"]);
    project
        .run(&["explain", "99 * * * *"])
        .exits(2)
        .says(&["minute 99 is out of range", "^^"]);
}

#[test]
fn an_expression_and_a_job_are_explained_alike() {
    let project = project();
    let explained = |line: &[&str]| {
        let fixed = ["--json", "--after=2026-11-22T12:00:00Z"];
        let line = [&["explain"], line, &fixed].concat();
        project.run(&line).exits(0).json()
    };
    let zone = "--timezone=Europe/Berlin";
    let nightly = explained(&["nightly"]);
    assert_eq!(nightly["sentence"], "At 02:30 every day");
    assert_eq!(nightly["next"][0], "2026-11-23T01:30:00Z");
    let [skipped, repeated] = &nightly["clock_changes"].as_array().unwrap()[..] else {
        panic!("not two changes of the clock: {nightly}");
    };
    assert_eq!(skipped["kind"], "skipped");
    assert_eq!(skipped["runs_at"], "2027-03-28T01:00:00Z");
    assert_eq!(repeated["kind"], "repeated");
    assert_eq!(repeated["effect"], "runs_first_time_only");
    // `H` needs the id of a job, and says the minute that came of it.
    let spread = explained(&["spread"]);
    assert!(
        spread["sentence"].as_str().unwrap().starts_with("At 04:"),
        "{spread}"
    );
    for (mut job, expression) in [
        (nightly, explained(&["30 2 * * *", zone])),
        (spread, explained(&["H 4 * * *", zone, "--job-id=spread"])),
    ] {
        assert!(job.as_object_mut().unwrap().remove("job").is_some());
        assert_eq!(job, expression);
    }
}

#[test]
fn next_of_a_file_is_that_of_all_its_jobs() {
    let project = project();
    let options = ["--json", "--after=2027-03-26T22:59:59Z", "-n", "18"];
    let next = project
        .run(&[&["next", "jobs.json"][..], &options].concat())
        .exits(0);
    let told: Vec<[Value; 2]> = next.json()["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|firing| [firing["job"].clone(), firing["at"].clone()])
        .collect();
    // All that the plan tells, but for what only the length of runs tells.
    let plan = project
        .run(&[&["plan", "--json"][..], &WINDOW].concat())
        .exits(0)
        .json();
    let planned: Vec<[Value; 2]> = plan["firings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|firing| firing["job"] != "then")
        .map(|firing| [firing["job"].clone(), firing["due_at"].clone()])
        .collect();
    assert_eq!(told.len(), 18);
    assert_eq!(told, planned);
    assert!(next.stderr.contains("then (after nightly)"), "{next:?}");
    // The file is the usual one where nothing is said.
    let usual = project.run(&[&["next"][..], &options].concat()).exits(0);
    assert_eq!(usual.stdout, next.stdout);
}

#[test]
fn what_a_clock_change_skips_is_warned_of() {
    let project = Project::with(&["hello"]);
    // From one change to the next it may be more than a year, but not in both at once.
    let job = |id: &str, zone: &str| {
        json!({
            "id": id,
            "component": "hello.wasm",
            "trigger": { "cron": "30 2 * * *", "timezone": zone },
        })
    };
    project.jobs(&json!([
        job("here", "Europe/Berlin"),
        job("there", "America/New_York"),
    ]));
    let ended = project.run(&["check"]).exits(0);
    let warns = |id: &str, zone: &str| {
        let warning = format!("warning: `{id}` runs at 02:30 {zone}, which does not exist on");
        ended.stderr.contains(&warning)
    };
    assert!(
        warns("here", "Europe/Berlin") || warns("there", "America/New_York"),
        "{ended:?}"
    );
    let summary = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        summary.contains("all 2 jobs are good and would run"),
        "{ended:?}"
    );
}

#[test]
fn the_example_of_all_triggers_can_be_planned() {
    let project = Project::with(&[]);
    let file = repository("examples/schedule.json").display().to_string();
    shows(
        &project,
        &[
            "plan",
            &file,
            "--from=2026-12-20",
            "--to=2027-01-05",
            "--timezone=Europe/Berlin",
            "--duration=10m",
        ],
        // The 25th is Christmas; closed days, New Year and a weekend follow.
        &[
            "payroll    Mon 04 Jan 09:00",
            "after backup",
            "also at the start of the host: greet",
        ],
    );
}
