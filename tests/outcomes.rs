//! How runs end: each outcome, each way to it, and what is said of it. All through `run`, whose
//! record has the keys of the event `run.finished`.

use super::support::Project;

#[test]
fn a_guest_that_returns_has_succeeded() {
    let record = Project::with(&[]).record("hello", &[]).succeeded();
    assert_eq!(record.text("output"), "hello from the tower\n");
    assert_eq!(record.text("output_type"), "text");
    assert_eq!(record.text("log"), "one line of log\n");
    assert_eq!(record.text("job"), "hello");
    assert_eq!(record.text("cause"), "manual");
    assert_eq!(record.number("memory_peak_bytes"), 65536);
    assert!(record.number("fuel_used") > 0);
}

#[test]
fn what_a_guest_prints_that_is_no_text_is_kept_as_bytes() {
    let record = Project::with(&[]).record("bytes", &[]).succeeded();
    assert_eq!(record.text("output_type"), "bytes");
    assert_eq!(record.text("output"), "//4AAQ==");
}

#[test]
fn spinning_ends_with_the_time() {
    let record = Project::with(&[]).record("spin", &["--timeout", "200ms"]);
    let record = record.ended("timed_out", &["timeout", "200"]);
    assert!(record.number("fuel_used") > 0);
}

#[test]
fn spinning_ends_with_the_fuel() {
    let record = Project::with(&[]).record("spin", &["--fuel", "1M"]);
    let record = record.ended("out_of_fuel", &["fuel", "1"]);
    // All of it, and nothing beyond it.
    assert!(
        (990_000..=1_000_000).contains(&record.number("fuel_used")),
        "{}",
        record
    );
}

#[test]
fn spinning_in_the_start_function_ends_with_the_time_and_with_the_fuel() {
    let project = Project::with(&[]);
    let record = project.record("spin-at-start", &["--timeout", "200ms"]);
    record.ended("timed_out", &["timeout"]);
    let record = project.record("spin-at-start", &["--fuel", "1M"]);
    record.ended("out_of_fuel", &["fuel"]);
}

#[test]
fn sleeping_for_an_hour_in_the_host_ends_with_the_time() {
    let project = Project::with(&[]);
    let record = project.record("sleep", &["--timeout", "200ms"]);
    let record = record.ended("timed_out", &["timeout", "200"]);
    assert_eq!(
        record.text("output"),
        "good night\n",
        "what it printed before is kept"
    );
    let record = project.record("command-sleeps", &["--timeout", "200ms"]);
    record.ended("timed_out", &["timeout", "200"]);
}

#[test]
fn recursion_without_end_is_a_trap() {
    let record = Project::with(&[]).record("recurse", &[]);
    record.ended("trapped", &["stack", "deeper"]);
}

#[test]
fn a_trap_is_told_by_its_kind_and_its_place() {
    let project = Project::with(&[]);
    project
        .record("unreachable", &[])
        .ended("trapped", &["unreachable", "give_up"]);
    project
        .record("divide", &[])
        .ended("trapped", &["divide by zero", "quotient"]);
    project
        .record("out-of-bounds", &[])
        .ended("trapped", &["out of bounds", "peek"]);
    project
        .record("trap-at-start", &[])
        .ended("trapped", &["unreachable", "begin"]);
}

#[test]
fn an_exit_code_is_the_outcome() {
    let project = Project::with(&[]);
    project.record("exit", &["--", "0"]).succeeded();
    project
        .record("exit", &["--", "3"])
        .ended("failed", &["exit code 3"]);
    project.record("command", &[]).succeeded();
    project
        .record("command-fails", &[])
        .ended("failed", &["exit code 1"]);
    project.record("exit-255", &[]).ended("failed", &["exit"]);
}

#[test]
fn few_long_instructions_end_with_the_time_too() {
    let record = Project::with(&[]).record("fill", &["--timeout", "200ms"]);
    record.ended("timed_out", &["timeout", "200"]);
}

#[test]
fn a_host_function_that_cannot_be_served_ends_the_run() {
    let record = Project::with(&[]).record("no-memory", &[]);
    record.ended("failed", &["memory"]);
}

#[test]
fn giving_up_after_a_refused_growth_is_out_of_memory() {
    let project = Project::with(&[]);
    for way in ["trap", "exit"] {
        let record = project.record("grow", &["--memory", "4MiB", "--", way]);
        let record = record.ended("out_of_memory", &["memory", "4", "MiB"]);
        assert_eq!(record.number("memory_peak_bytes"), 4 << 20);
    }
}

#[test]
fn going_on_after_a_refused_growth_is_a_success() {
    let record = Project::with(&[])
        .record("grow", &["--memory", "4MiB", "--", "on"])
        .succeeded();
    assert_eq!(record.text("output"), "went on\n");
    assert_eq!(record.number("memory_peak_bytes"), 4 << 20);
}

#[test]
fn a_failure_without_a_refused_growth_is_not_for_want_of_memory() {
    let project = Project::with(&[]);
    project
        .record("exit", &["--memory", "64KiB", "--", "1"])
        .ended("failed", &["exit code 1"]);
    project
        .record("unreachable", &["--memory", "64KiB"])
        .ended("trapped", &["unreachable"]);
}

#[test]
fn a_memory_that_is_too_large_from_the_start_is_out_of_memory() {
    let project = Project::with(&[]);
    let record = project.record("large", &["--memory", "16MiB"]);
    record.ended("out_of_memory", &["memory", "16", "MiB"]);
    let record = project.record("large", &["--memory", "128MiB"]).succeeded();
    assert_eq!(record.number("memory_peak_bytes"), 128 << 20);
}

#[test]
fn every_kind_of_guest_can_be_ended() {
    let project = Project::with(&[]);
    let typed = |params: &str, flags: &[&str]| {
        let mut arguments = vec!["--params", params];
        arguments.extend(flags);
        project.record("typed", &arguments)
    };
    typed("\"spin\"", &["--timeout", "200ms"]).ended("timed_out", &["timeout"]);
    typed("\"spin\"", &["--fuel", "1M"]).ended("out_of_fuel", &["fuel"]);
    typed("\"unreachable\"", &[]).ended("trapped", &["unreachable"]);
    typed("\"deep\"", &[]).ended("trapped", &["stack"]);
    // A job that says itself that it failed, after it was refused memory.
    let record = typed("\"grow\"", &["--memory", "2MiB"]);
    record.ended("out_of_memory", &["memory", "the bell rope is missing"]);
}
