//! What is past, on the command line: where it is looked for, and what is said where there is
//! nothing.

use super::support::Project;

const VERBS: [&[&str]; 6] = [
    &["runs"],
    &["show", "C5EH"],
    &["logs", "C5EH"],
    &["jobs"],
    &["stats"],
    &["rerun", "C5EH"],
];

#[test]
fn where_there_is_no_history_the_command_that_makes_one_is_told() {
    let project = Project::with(&[]);
    for verb in VERBS {
        let ended = project.run(&[verb, &["--data", "data"]].concat()).exits(1);
        assert_eq!(
            ended.stderr.lines().next(),
            Some(
                "error: there is no history in data: a host makes one with `quarterjack serve --data data`"
            ),
            "{verb:?}"
        );
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn the_place_is_named_by_a_flag_or_the_environment_or_is_the_usual_one() {
    let mut project = Project::with(&[]);
    let home = project.path("").display().to_string();
    let usual = format!("there is no history in {home}.local/state/quarterjack: ");
    project.run(&["jobs"]).exits(1).says(&[&usual]);
    project.set("XDG_STATE_HOME", "relative, which does not count");
    project.run(&["jobs"]).exits(1).says(&[&usual]);
    let state = project.path("state").display().to_string();
    project.set("XDG_STATE_HOME", &state);
    let state = format!("there is no history in {state}/quarterjack: ");
    project.run(&["runs"]).exits(1).says(&[&state]);
    project.set("QUARTERJACK_DATA", "elsewhere");
    let elsewhere = "there is no history in elsewhere: ";
    project.run(&["stats"]).exits(1).says(&[elsewhere]);
    let flag = "there is no history in here: ";
    project
        .run(&["logs", "x", "--data", "here"])
        .exits(1)
        .says(&[flag]);
    project.write("here/quarterjack.db", b"");
    project
        .run(&["runs", "--data", "here/quarterjack.db"])
        .exits(1)
        .says(&["here/quarterjack.db is a file", "--data here"]);
}

#[test]
fn mistakes_on_the_command_line_are_usage() {
    let project = Project::with(&[]);
    let wrong = |arguments: &[&str], words: &[&str]| {
        project.run(arguments).exits(2).says(words);
    };
    wrong(&["runs", "--outcome", "faild"], &["did you mean `failed`?"]);
    wrong(&["runs", "--limit", "0"], &["--limit"]);
    wrong(&["show"], &["<RUN|JOB>"]);
    wrong(
        &["show", "x", "--json", "--output"],
        &["cannot be used with"],
    );
    wrong(&["logs", "x", "--attempt", "0"], &["--attempt"]);
    wrong(&["rerun"], &["`quarterjack runs`", "--from FILE"]);
    wrong(&["history"], &["quarterjack runs"]);
    wrong(&["start"], &["quarterjack serve"]);
}

#[test]
fn the_verbs_are_in_the_help_and_have_their_own() {
    let project = Project::with(&[]);
    let help = project.run(&["--help"]).exits(0).stdout;
    for verb in VERBS {
        assert!(help.contains(verb[0]), "{help}");
        let own = project.run(&["help", verb[0]]).exits(0).stdout;
        assert!(own.contains("--data <DIR>"), "{own}");
        assert!(own.contains("--json"), "{own}");
    }
}
