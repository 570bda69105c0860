use super::*;
use crate::clock::ManualClock;
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    plan: Plan,
}

const SCREEN: Screen = Screen {
    out: Paint { on: false },
    err: Paint { on: false },
    width: 110,
};

const JOBS: &str = r#"{"timezone": "Europe/Berlin", "jobs": [
    {"id": "backup", "component": "a.wasm", "trigger": "0 2 * * *"},
    {"id": "report", "component": "a.wasm", "trigger": "5 2,9-17 * * *", "description": "Sums up sales, costs; and more"},
    {"id": "busy", "component": "a.wasm", "trigger": "*/10 6 * * *"},
    {"id": "tokyo", "component": "a.wasm", "trigger": {"cron": "0 11 * * *", "timezone": "Asia/Tokyo"}},
    {"id": "weekly", "component": "a.wasm", "trigger": "0 0 * * sun"},
    {"id": "leap", "component": "a.wasm", "trigger": "0 0 30 2 *"},
    {"id": "off", "component": "a.wasm", "trigger": "* * * * *", "enabled": false},
    {"id": "boot", "component": "a.wasm", "trigger": "@reboot"},
    {"id": "hand", "component": "a.wasm", "trigger": "@manually"}]}"#;

fn ask_of(jobs: &str, line: &[&str]) -> (Result<Exit, Refusal>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    std::fs::write(&path, jobs).unwrap();
    let file = path.to_str().unwrap();
    let words = [&["plan", file, "--timezone=Europe/Berlin"], line].concat();
    let plan = Line::try_parse_from(words).unwrap().plan;
    let mut bytes = Vec::new();
    let clock = ManualClock::at("2026-11-22T14:28:00Z");
    let result = plan.answer(&clock, SCREEN, &mut bytes);
    (result, String::from_utf8(bytes).unwrap())
}

fn shown(line: &[&str]) -> String {
    let (result, text) = ask_of(JOBS, line);
    assert_eq!(result.unwrap(), Exit::Ok);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("\n{}\n", lines.join("\n"))
}

#[test]
fn a_day() {
    insta::assert_snapshot!(shown(&["--from", "tomorrow"]), @"

    18 firings of 4 jobs, never two in a minute
    Mon 23 Nov 2026 00:00 to Tue 24 Nov 2026 00:00, Europe/Berlin
       00  01  02  03  04  05  06  07  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23
        .   .  +2  :1   .   .  #6   .   .  :1  :1  :1  :1  :1  :1  :1  :1  :1   .   .   .   .   .   .
    nothing from 00:00 to 01:59, from 04:00 to 05:59, from 07:00 to 08:59, from 18:00 to 23:59
      FIRINGS  JOB     FIRST  WHEN
           10  report  02:05  5 2,9-17 * * *
            6  busy    06:00  */10 6 * * *
            1  backup  02:00  0 2 * * *
            1  tokyo   03:00  0 11 * * *  Asia/Tokyo
    does not fire in this time: weekly (next Sun 29 Nov 2026 00:00), leap (never: 30 February does not exist)
    also at the start of the host: boot
    only on demand: hand
    disabled: off
    ");
}

#[test]
fn a_day_of_runs_of_ten_minutes() {
    let line = ["--from=tomorrow", "--duration=10m", "--duration=busy=25m"];
    insta::assert_snapshot!(shown(&line), @"

    18 firings of 4 jobs, never two in a minute
    Mon 23 Nov 2026 00:00 to Tue 24 Nov 2026 00:00, Europe/Berlin
       00  01  02  03  04  05  06  07  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23
        .   .  +2  :1   .   .  #6   .   .  :1  :1  :1  :1  :1  :1  :1  :1  :1   .   .   .   .   .   .
    nothing from 00:00 to 01:59, from 04:00 to 05:59, from 07:00 to 08:59, from 18:00 to 23:59
    overlaps if a run takes 10 min where nothing else is said: backup x report at 02:05
    at most 2 runs at once, first at 02:05
    busy would overlap itself: 4 of 6 firings skipped (max_instances 1)
      FIRINGS  JOB     FIRST  WHEN
           10  report  02:05  5 2,9-17 * * *
            6  busy    06:00  */10 6 * * *
            1  backup  02:00  0 2 * * *
            1  tokyo   03:00  0 11 * * *  Asia/Tokyo
    does not fire in this time: weekly (next Sun 29 Nov 2026 00:00), leap (never: 30 February does not exist)
    also at the start of the host: boot
    only on demand: hand
    disabled: off
    ");
}

#[test]
fn several_days_over_a_clock_change() {
    let line = [
        "--from=2027-03-27",
        "--to=+3d",
        "--job=backup",
        "--job=report",
    ];
    insta::assert_snapshot!(shown(&line), @"

    33 firings of 2 jobs, busiest minute Sun 28 Mar 03:00 (2 firings)
    Sat 27 Mar 2027 00:00 to Tue 30 Mar 2027 00:00, Europe/Berlin
             00  01  02  03  04  05  06  07  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23
    Sat 27    .   .  #2   .   .   .   .   .   .  +1  +1  +1  +1  +1  +1  +1  +1  +1   .   .   .   .   .   .
    Sun 28    .   .   -  #2   .   .   .   .   .  +1  +1  +1  +1  +1  +1  +1  +1  +1   .   .   .   .   .   .
    Mon 29    .   .  #2   .   .   .   .   .   .  +1  +1  +1  +1  +1  +1  +1  +1  +1   .   .   .   .   .   .
    clock change: Sun 28 Mar 2027, 02:00 becomes 03:00
    nothing on any day from 00:00 to 01:59, from 04:00 to 08:59, from 18:00 to 23:59
    longest time with nothing: from Sat 27 Mar 18:00 to Sun 28 Mar 01:59 (8 h)
      FIRINGS  JOB     FIRST             WHEN
           30  report  Sat 27 Mar 02:05  5 2,9-17 * * *
            3  backup  Sat 27 Mar 02:00  0 2 * * *
    ");
}

#[test]
fn a_year() {
    insta::assert_snapshot!(shown(&["--from=2027-01-01", "--to=2028-01-01"]), @"

    6622 firings of 5 jobs, busiest minute Sun 28 Mar 2027 03:00 (2 firings)
    Fri 01 Jan 2027 00:00 to Sat 01 Jan 2028 00:00, Europe/Berlin
              00  02  04  06  08  10  12  14  16  18  20  22
    Jan 2027  : . + : . . # . . : : : : : : : : : . . . . . .
    Feb 2027  : . + : . . # . . : : : : : : : : : . . . . . .
    Mar 2027  : . + : : . # . . : : : : : : : : : . . . . . .
    Apr 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    May 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    Jun 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    Jul 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    Aug 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    Sep 2027  : . + . : . # . . : : : : : : : : : . . . . . .
    Oct 2027  : . + : : . # . . : : : : : : : : : . . . . . .
    Nov 2027  : . + : . . # . . : : : : : : : : : . . . . . .
    Dec 2027  : . + : . . # . . : : : : : : : : : . . . . . .
             : to 46  + to 93  * to 139  # to 186
    clock change: Sun 28 Mar 2027, 02:00 becomes 03:00
    clock change: Sun 31 Oct 2027, 03:00 becomes 02:00
    nothing on any day from 01:00 to 01:59, from 05:00 to 05:59, from 07:00 to 08:59, from 18:00 to 23:59
    longest time with nothing: from Fri 01 Jan 2027 18:00 to Sat 02 Jan 2027 01:59 (8 h)
      FIRINGS  JOB     FIRST                  WHEN
         3650  report  Fri 01 Jan 2027 02:05  5 2,9-17 * * *
         2190  busy    Fri 01 Jan 2027 06:00  */10 6 * * *
          365  backup  Fri 01 Jan 2027 02:00  0 2 * * *
          365  tokyo   Fri 01 Jan 2027 03:00  0 11 * * *  Asia/Tokyo
           52  weekly  Sun 03 Jan 2027 00:00  0 0 * * sun
    does not fire in this time: leap (never: 30 February does not exist)
    also at the start of the host: boot
    only on demand: hand
    disabled: off
    ");
}

#[test]
fn nothing_at_all() {
    insta::assert_snapshot!(shown(&["--to=+1h", "--job=weekly"]), @"

    no firing of 1 job
    Sun 22 Nov 2026 15:28 to Sun 22 Nov 2026 16:28, Europe/Berlin
    does not fire in this time: weekly (next Sun 29 Nov 2026 00:00)
    ");
}

#[test]
fn a_list() {
    let line = [
        "--from=2027-03-28",
        "--job=backup",
        "--job=busy",
        "--duration=15m",
        "--list",
    ];
    insta::assert_snapshot!(shown(&line), @"

    Sun 28 Mar 2027 03:00:00 +02:00  backup
    Sun 28 Mar 2027 06:00:00 +02:00  busy
    Sun 28 Mar 2027 06:10:00 +02:00  busy  skipped: previous run still going
    Sun 28 Mar 2027 06:20:00 +02:00  busy
    Sun 28 Mar 2027 06:30:00 +02:00  busy  skipped: previous run still going
    Sun 28 Mar 2027 06:40:00 +02:00  busy
    Sun 28 Mar 2027 06:50:00 +02:00  busy  skipped: previous run still going
    ");
}

#[test]
fn the_json_form_has_the_same_facts() {
    let line = ["--from=2027-03-28", "--to=+1d", "--duration=10m", "--json"];
    let (_, text) = ask_of(JOBS, &line);
    assert_eq!(text.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["from"], "2027-03-27T23:00:00Z");
    assert_eq!(json["to"], "2027-03-28T22:00:00Z");
    assert_eq!(json["timezone"], "Europe/Berlin");
    let firings = json["firings"].as_array().unwrap();
    assert_eq!(json["total"], firings.len());
    assert_eq!(firings[0]["job"], "weekly");
    let backup = firings.iter().find(|it| it["job"] == "backup").unwrap();
    assert_eq!(backup["scheduled_at"], "2027-03-28T01:00:00Z");
    assert_eq!(backup["ends_at"], "2027-03-28T01:10:00Z");
    assert_eq!(json["hours"].as_array().unwrap().len(), 23);
    assert_eq!(json["clock_changes"][0]["seconds"], 3600);
    let pair = &json["overlaps"]["pairs"][0];
    assert_eq!(pair["jobs"], serde_json::json!(["backup", "report"]));
    assert_eq!(pair["times"], 1);
    assert_eq!(json["jobs"].as_array().unwrap().len(), 9);
    assert_eq!(json["jobs"][5]["never"], "30 February does not exist");
    assert_eq!(json["jobs"][6]["notes"][0]["note"], "disabled");
    assert_eq!(json["nothing"][0]["from"], "2027-03-28T00:00:00Z");
}

#[test]
fn the_calendar_form() {
    let line = ["--from=tomorrow", "--job=backup", "--duration=90s", "--ics"];
    insta::assert_snapshot!(shown(&line), @"

    BEGIN:VCALENDAR
    VERSION:2.0
    PRODID:-//Quarterjack//plan//EN
    CALSCALE:GREGORIAN
    X-WR-CALNAME:Quarterjack
    BEGIN:VEVENT
    UID:backup-20261123T010000Z@quarterjack
    DTSTAMP:20261122T142800Z
    DTSTART:20261123T010000Z
    DURATION:PT90S
    SUMMARY:backup
    DESCRIPTION:0 2 * * *
    TRANSP:TRANSPARENT
    END:VEVENT
    END:VCALENDAR
    ");
}

#[test]
fn good_jobs_are_planned_beside_bad_ones() {
    let jobs = r#"[{"id": "good", "component": "a.wasm", "trigger": "@hourly"},
        {"id": "bad", "component": "a.wasm", "trigger": "61 * * * *"}]"#;
    let (result, text) = ask_of(jobs, &["--to=+1d"]);
    assert_eq!(result.unwrap(), Exit::Failure);
    assert!(text.starts_with("24 firings of 1 job,"), "{text}");
    // It is there, if not good.
    let (result, _) = ask_of(jobs, &["--duration=bad=1m"]);
    assert_eq!(result.unwrap(), Exit::Failure);
    let (result, text) = ask_of("{", &[]);
    assert_eq!(
        (result.unwrap_err().exit, text.as_str()),
        (Exit::Failure, "")
    );
}

#[test]
fn mistakes_say_what_would_be_right() {
    for (line, exit, part) in [
        (["--from=soon"], Exit::Usage, "--from: `soon` is no time"),
        (["--to=-1h"], Exit::Usage, "--to +1d is a day later"),
        (["--job=reprot"], Exit::Failure, "did you mean `report`?"),
        (["--duration=xyzzy=1m"], Exit::Failure, "no job `xyzzy`"),
    ] {
        let refusal = ask_of(JOBS, &line).0.unwrap_err();
        assert_eq!(refusal.exit, exit);
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
    for wrong in [
        "--duration=0s",
        "--duration==1m",
        "--duration=10",
        "--timezone=Berln",
    ] {
        Line::try_parse_from(["plan", wrong]).unwrap_err();
    }
    Line::try_parse_from(["plan", "--json", "--ics"]).unwrap_err();
}
