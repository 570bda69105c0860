//! What people write, and what they read.

use super::*;
use proptest::prelude::*;

fn ms(text: &str) -> u128 {
    parse_duration(text).unwrap().as_millis()
}

#[test]
fn durations_as_people_write_them() {
    for (text, expected) in [
        ("250ms", 250),
        ("90s", 90_000),
        ("5m", 300_000),
        ("5min", 300_000),
        ("5 Minutes", 300_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("0.25s", 250),
        (" 2 days ", 172_800_000),
        ("1w", 604_800_000),
        ("1D", 86_400_000),
        ("0s", 0),
        ("1_000ms", 1_000),
    ] {
        assert_eq!(ms(text), expected, "{text}");
    }
}

#[test]
fn a_bare_number_is_no_duration() {
    let error = parse_duration("90").unwrap_err();
    assert_eq!(error.message, "a unit is missing: did you mean `90s`?");
    assert_eq!(
        parse_duration("1h30").unwrap_err().message,
        "a unit is missing: did you mean `30s`?"
    );
}

#[test]
fn other_texts_are_refused_with_their_reason() {
    for (text, part) in [
        ("", "empty"),
        ("-5s", "negative"),
        ("five seconds", "not a duration"),
        ("5 secnods", "did you mean `seconds`?"),
        ("5M", "write `m` for minutes"),
        ("1.s", "not a duration"),
        ("1..5s", "not a duration"),
        (".5s", "not a duration"),
        ("5s!", "not a duration"),
        ("99999999999999w", "longer than 1000 years"),
        (
            "99999999999999999999999999999999999999999999s",
            "not a duration",
        ),
        ("5µs", "not a unit"),
    ] {
        let error = parse_duration(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {}", error.message);
        assert!(!error.label.is_empty());
    }
}

#[test]
fn sizes_follow_kubernetes() {
    for (text, expected) in [
        ("512", 512),
        ("512B", 512),
        ("64KiB", 64 << 10),
        ("64MiB", 64 << 20),
        ("64Mi", 64 << 20),
        ("64 mib", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("10MB", 10_000_000),
        ("10M", 10_000_000),
        ("1k", 1_000),
        ("1K", 1_000),
        ("2TiB", 2 << 40),
    ] {
        assert_eq!(parse_size(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        "MiB",
        "64m",
        "64XiB",
        "0.3B",
        "-1",
        "64MiB!",
        "99999999TiB",
    ] {
        assert!(parse_size(text).is_err(), "{text}");
    }
    assert!(parse_size("64m").unwrap_err().message.contains("MiB"));
}

#[test]
fn counts_are_whole() {
    for (text, expected) in [
        ("10M", 10_000_000),
        ("10_000_000", 10_000_000),
        ("2.5k", 2_500),
        ("3G", 3_000_000_000),
        ("1T", 1_000_000_000_000),
        ("0", 0),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_count(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        "k",
        "1.5",
        "10m",
        "10 apples",
        "18446744073709551616",
        "1e6",
        "-1",
    ] {
        assert!(parse_count(text).is_err(), "{text}");
    }
}

#[test]
fn durations_for_people() {
    for (micros, expected) in [
        (0, "0 ms"),
        (3, "3 us"),
        (600, "0.6 ms"),
        (9_949, "9.9 ms"),
        (9_950, "10 ms"),
        (41_200, "41 ms"),
        (999_499, "999 ms"),
        (999_500, "1.0 s"),
        (1_000_000, "1.0 s"),
        (59_949_999, "59.9 s"),
        (59_950_000, "1 min"),
        (90_000_000, "1 min 30 s"),
        (7_500_000_000, "2 h 5 min"),
        (86_400_000_000, "1 d"),
        (100_000_000_000, "1 d 3 h"),
    ] {
        assert_eq!(format_duration(Duration::from_micros(micros)), expected);
    }
    assert_eq!(format_duration(Duration::from_nanos(40)), "40 ns");
    assert_eq!(format_duration_exact(Duration::from_secs(5)), "5 s");
    assert_eq!(
        format_duration_exact(Duration::from_millis(5_401_250)),
        "1 h 30 min 1 s 250 ms"
    );
}

#[test]
fn sizes_and_counts_for_people() {
    for (bytes, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_153_434, "1.1 MiB"),
        (64 << 20, "64 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(format_size(bytes), expected);
    }
    for (count, expected) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1 k"),
        (1_234, "1.2 k"),
        (31_234, "31 k"),
        (9_960, "10 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (10_000_000, "10 M"),
        (u64::MAX, "18 E"),
    ] {
        assert_eq!(format_count(count), expected);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = parse_duration(&text);
        let _ = parse_size(&text);
        let _ = parse_count(&text);
    }

    #[test]
    fn what_is_written_exactly_reads_back(millis in 0_u64..10_000_000_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&format_duration_exact(duration)), Ok(duration));
    }

    #[test]
    fn no_number_panics(number: u64) {
        prop_assert!(format_size(number).len() < 12);
        prop_assert!(format_count(number).len() < 8);
        prop_assert!(!format_duration(Duration::from_nanos(number)).is_empty());
    }
}
