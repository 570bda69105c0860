//! Files as calendar programs write them, rules against the calendar read day by day, and files
//! that mean harm.

use chrono::{Datelike, NaiveDate};
use proptest::prelude::*;

use super::*;
use crate::trigger::exclusion::date;

/// A file with these events; each line of `body` ends with CR LF.
fn calendar(body: &str) -> String {
    let body: Vec<&str> = body.lines().map(str::trim_start).collect();
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\n{}\r\nEND:VCALENDAR\r\n",
        body.join("\r\n")
    )
}

fn event(body: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\n{}\nEND:VEVENT", body.trim()))
}

fn parse(text: &str) -> Days {
    parse_ics(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The days in the text form of `Debug`, without the count.
fn days(text: &str) -> String {
    let debug = format!("{:?}", parse(text));
    let (_, days) = debug.split_once(": ").unwrap_or(("", ""));
    days.trim_end_matches(')').to_owned()
}

fn refused(text: &str) -> String {
    parse_ics(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn an_export_of_public_holidays() {
    // As Google writes it: a day each, in any order, CR LF, folded lines.
    let text = "BEGIN:VCALENDAR\r
PRODID:-//Google Inc//Google Calendar 70.9054//EN\r
VERSION:2.0\r
CALSCALE:GREGORIAN\r
METHOD:PUBLISH\r
X-WR-CALNAME:Feiertage in Deutschland\r
X-WR-TIMEZONE:UTC\r
BEGIN:VEVENT\r
DTSTART;VALUE=DATE:20261225\r
DTEND;VALUE=DATE:20261226\r
DTSTAMP:20260101T120000Z\r
UID:20261225_first@google.com\r
CLASS:PUBLIC\r
DESCRIPTION:Gesetzlicher Feiertag\\n\\nWer Feiertage ausblenden m\u{f6}chte\\, ru\r
 ft die Einstellungen auf: DTSTART;VALUE=DATE:20200101\r
STATUS:CONFIRMED\r
SUMMARY:1. Weihnachtstag\r
TRANSP:TRANSPARENT\r
END:VEVENT\r
BEGIN:VEVENT\r
DTSTART;VALUE=DATE:20261003\r
DTEND;VALUE=DATE:20261004\r
UID:20261003_unity@google.com\r
SUMMARY:Tag der Deutschen Einheit\r
END:VEVENT\r
END:VCALENDAR\r
";
    assert_eq!(days(text), "2026-10-03, 2026-12-25");
    // With a byte order mark, with LF alone, with CR alone, folded anywhere.
    assert_eq!(parse(&format!("\u{feff}{text}")), parse(text));
    assert_eq!(parse(&text.replace('\r', "")), parse(text));
    assert_eq!(parse(&text.replace('\n', "")), parse(text));
    assert_eq!(
        parse(&text.replace("VALUE=DATE", "VAL\r\n UE\r\n\t=DATE")),
        parse(text)
    );
    // A fold inside the two bytes of a letter.
    let bytes = text.replace('\u{f6}', "\u{1}").into_bytes();
    let split: Vec<u8> = bytes
        .split(|byte| *byte == 1)
        .collect::<Vec<_>>()
        .join(&b"\xC3\r\n \xB6"[..]);
    assert_eq!(parse_ics(&split), parse_ics(text.as_bytes()));
}

#[test]
fn outlook_and_apple() {
    // Outlook: all day by midnight and midnight of a zone of its own.
    let text = calendar(
        "BEGIN:VTIMEZONE
        TZID:W. Europe Standard Time
        BEGIN:STANDARD
        DTSTART:16010101T030000
        TZOFFSETFROM:+0200
        TZOFFSETTO:+0100
        RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
        END:STANDARD
        BEGIN:DAYLIGHT
        DTSTART:16010101T020000
        TZOFFSETFROM:+0100
        TZOFFSETTO:+0200
        RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
        END:DAYLIGHT
        END:VTIMEZONE
        BEGIN:VEVENT
        DTSTART;TZID=\"W. Europe Standard Time\":20260501T000000
        DTEND;TZID=\"W. Europe Standard Time\":20260502T000000
        RRULE:FREQ=YEARLY;UNTIL=20280430T220000Z;INTERVAL=1;BYMONTHDAY=1;BYMONTH=5
        X-MICROSOFT-CDO-ALLDAYEVENT:TRUE
        BEGIN:VALARM
        TRIGGER:-PT15M
        DURATION:P400D
        ACTION:DISPLAY
        END:VALARM
        END:VEVENT",
    );
    // In summer the zone is two hours ahead: the third May begins at the very last moment.
    assert_eq!(days(&text), "2026-05-01, 2027-05-01, 2028-05-01");
    assert_eq!(
        days(&text.replace("T220000Z", "T215959Z")),
        "2026-05-01, 2027-05-01"
    );
    let error = refused(&text.replace("TZID:W.", "TZID:E."));
    assert_eq!(
        error,
        "line 22: RRULE: it needs the rules of the time zone \"W. Europe Standard Time\", which \
         is neither in the IANA database nor defined in the file"
    );
    // Apple: by duration, and a rule without end.
    let text = event(
        "DTSTART;VALUE=DATE:20991224
        DURATION:P1DT48H
        RRULE:FREQ=YEARLY",
    );
    assert_eq!(days(&text), "2099-12-24/2099-12-26, 2100-12-24/2100-12-26");
    // A path of an older program, with UNTIL in UTC.
    let text = event(
        "DTSTART;TZID=/freeassociation.sourceforge.net/Europe/Berlin:20260101T003000
        RRULE:FREQ=DAILY;UNTIL=20260102T233000Z",
    );
    assert_eq!(days(&text), "2026-01-01/2026-01-03");
}

#[test]
fn an_event_takes_place_on_the_days_that_it_touches() {
    for (body, expected) in [
        ("DTSTART;VALUE=DATE:20260704", "2026-07-04"),
        ("DTSTART:20260704", "2026-07-04"),
        (
            "DTSTART;VALUE=DATE:20260704\nDTEND;VALUE=DATE:20260704",
            "2026-07-04",
        ),
        (
            "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20270102",
            "2026-12-24/2027-01-01",
        ),
        ("DTSTART:20260704T120000", "2026-07-04"),
        (
            "DTSTART:20260704T230000Z\nDTEND:20260705T000000Z",
            "2026-07-04",
        ),
        (
            "DTSTART:20260704T230000Z\nDTEND:20260705T000001Z",
            "2026-07-04/2026-07-05",
        ),
        (
            "DTSTART;TZID=America/New_York:20260704T230000\nDURATION:PT1H",
            "2026-07-04",
        ),
        (
            "DTSTART;TZID=America/New_York:20260704T230000\nDURATION:PT1H1S",
            "2026-07-04/2026-07-05",
        ),
        // A flight: the end is told by another clock.
        (
            "DTSTART;TZID=America/New_York:20260704T200000\nDTEND;TZID=Europe/Berlin:20260705T060000",
            "2026-07-04",
        ),
        ("DTSTART:20260704T235960Z", "2026-07-04"),
        ("DTSTART;VALUE=DATE:20260704\nSTATUS:CANCELLED", ""),
        (
            "DTSTART;VALUE=DATE:19691231\nDTEND;VALUE=DATE:19700102",
            "1970-01-01",
        ),
        ("DTSTART;VALUE=DATE:21010101", ""),
        (
            "DTSTART;VALUE=DATE:20991231\nDURATION:P5000W",
            "2099-12-31/2100-12-31",
        ),
    ] {
        assert_eq!(days(&event(body)), expected, "{body}");
    }
    // What is no event does not count.
    assert_eq!(
        days(&calendar(
            "BEGIN:VTODO\nDTSTART:20260101\nEND:VTODO\nBEGIN:VJOURNAL\nDTSTART:20260101\nEND:VJOURNAL"
        )),
        ""
    );
    assert!(parse("BEGIN:VCALENDAR\nEND:VCALENDAR").is_empty());
}

#[test]
fn recurrences() {
    for (start, rule, expected) in [
        (
            "20260101",
            "FREQ=YEARLY;COUNT=3",
            "2026-01-01, 2027-01-01, 2028-01-01",
        ),
        ("20240229", "FREQ=YEARLY;COUNT=2", "2024-02-29, 2028-02-29"),
        (
            "20240131",
            "FREQ=MONTHLY;COUNT=3",
            "2024-01-31, 2024-03-31, 2024-05-31",
        ),
        (
            "20260526",
            "FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=3",
            "2026-05-26, 2027-05-31, 2028-05-29",
        ),
        (
            "20261126",
            "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;UNTIL=20281123",
            "2026-11-26, 2027-11-25, 2028-11-23",
        ),
        (
            "20260102",
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,FR;COUNT=4",
            "2026-01-02, 2026-01-11, 2026-01-16, 2026-01-25",
        ),
        (
            "20260102",
            "FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=SU,FR;COUNT=4",
            "2026-01-02, 2026-01-04, 2026-01-16, 2026-01-18",
        ),
        (
            "20260213",
            "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR;COUNT=3",
            "2026-02-13, 2026-03-13, 2026-11-13",
        ),
        (
            "20260130",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3",
            "2026-01-30, 2026-02-27, 2026-03-31",
        ),
        (
            "20260228",
            "FREQ=MONTHLY;BYMONTHDAY=-1;INTERVAL=12;COUNT=3",
            "2026-02-28, 2027-02-28, 2028-02-29",
        ),
        (
            "20261231",
            "FREQ=YEARLY;BYYEARDAY=-1,1;COUNT=3",
            "2026-12-31/2027-01-01, 2027-12-31",
        ),
        (
            "20260511",
            "FREQ=YEARLY;BYWEEKNO=20;COUNT=3",
            "2026-05-11, 2027-05-17, 2028-05-15",
        ),
        (
            "20260101",
            "FREQ=DAILY;INTERVAL=10;COUNT=3",
            "2026-01-01, 2026-01-11, 2026-01-21",
        ),
        (
            "20260101",
            "FREQ=DAILY;BYMONTH=1;UNTIL=20270102",
            "2026-01-01/2026-01-31, 2027-01-01/2027-01-02",
        ),
        // The first is the first, whether it matches or not.
        (
            "20260101",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "2026-01-01",
        ),
        (
            "20260101",
            "FREQ=WEEKLY;BYDAY=SA;COUNT=2;X-EVOLUTION-ENDDATE=20270101;",
            "2026-01-01, 2026-01-03",
        ),
        // Times of the day count, days are what is left.
        (
            "20260101T080000",
            "FREQ=DAILY;BYHOUR=8,20;COUNT=5",
            "2026-01-01/2026-01-03",
        ),
        (
            "20260101T080000Z",
            "FREQ=DAILY;UNTIL=20260103T075959Z",
            "2026-01-01/2026-01-02",
        ),
        (
            "20260101T080000Z",
            "FREQ=DAILY;UNTIL=20260103",
            "2026-01-01/2026-01-03",
        ),
    ] {
        let text = event(&format!("DTSTART:{start}\nRRULE:{rule}"));
        assert_eq!(days(&text), expected, "{rule}");
    }
}

#[test]
fn occurrences_added_taken_away_and_replaced() {
    assert_eq!(
        days(&event(
            "DTSTART;VALUE=DATE:20260101
            RRULE:FREQ=DAILY;COUNT=10
            EXRULE:FREQ=DAILY;INTERVAL=3;COUNT=2
            EXDATE;VALUE=DATE:20260105,20260106
            RDATE;VALUE=DATE:20260201,20260105"
        )),
        "2026-01-02/2026-01-03, 2026-01-07/2026-01-10, 2026-02-01"
    );
    assert_eq!(
        days(&event(
            "DTSTART;TZID=Europe/Berlin:20260101T003000
            RRULE:FREQ=DAILY;COUNT=4
            EXDATE:20260101T233000Z
            EXDATE;TZID=Europe/Berlin:20260104T120000
            RDATE;VALUE=PERIOD;TZID=Europe/Berlin:20260301T120000/PT36H,20260401T120000/20260402T120000"
        )),
        "2026-01-01, 2026-01-03/2026-01-04, 2026-03-01/2026-03-02, 2026-04-01/2026-04-02"
    );
    // The second is moved, and the third called off.
    let series = "BEGIN:VEVENT
        UID:series
        DTSTART;VALUE=DATE:20260101
        RRULE:FREQ=DAILY;COUNT=3
        END:VEVENT
        BEGIN:VEVENT
        UID:series
        RECURRENCE-ID;VALUE=DATE:20260102
        DTSTART;VALUE=DATE:20260115
        END:VEVENT
        BEGIN:VEVENT
        UID:series
        RECURRENCE-ID;VALUE=DATE:20260103
        DTSTART;VALUE=DATE:20260103
        STATUS:CANCELLED
        END:VEVENT";
    assert_eq!(days(&calendar(series)), "2026-01-01, 2026-01-15");
}

#[test]
fn errors_say_which_line_and_what() {
    for (body, expected) in [
        (
            "SUMMARY:a\nDTSTART:2026-01-01",
            "line 6: DTSTART: `2026-01-01` is neither a date such as 20261225 nor a time such as 20261225T090000Z",
        ),
        (
            "DTSTART:20260230",
            "line 5: DTSTART: there is no day 2026-02-30",
        ),
        (
            "DTSTART:20260228T240000",
            "line 5: DTSTART: there is no time 24:00:00",
        ),
        (
            "SUMMARY:a\n no\n fold\nDTSTART:19",
            "line 8: DTSTART: `19` is neither a date such as 20261225 nor a time such as 20261225T090000Z",
        ),
        ("SUMMARY:nothing", "line 4: the event has no DTSTART"),
        (
            "DTSTART:20260102\nDTEND:20260101",
            "line 6: DTEND: the event ends before it begins",
        ),
        (
            "DTSTART:20260102\nDURATION:1D",
            "line 6: DURATION: `1D` is not a duration such as P1D or PT12H",
        ),
        (
            "DTSTART:20260102\nDURATION:-P1D",
            "line 6: DURATION: the duration is negative",
        ),
        (
            "DTSTART:20260102\nRRULE:COUNT=3",
            "line 6: RRULE: FREQ is missing",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=OFTEN",
            "line 6: RRULE: FREQ is YEARLY, MONTHLY, WEEKLY or DAILY, not `OFTEN`",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=DAILY;COUNT=0",
            "line 6: RRULE: COUNT is a number from 1 on, not `0`",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=YEARLY;BYMONTH=13",
            "line 6: RRULE: BYMONTH is a list of numbers from 1 to 12, not `13`",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=YEARLY;BYMONTHDAY=0",
            "line 6: RRULE: BYMONTHDAY is a list of numbers from 1 to 31, or as much before the end, not `0`",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=YEARLY;BYDAY=XX",
            "line 6: RRULE: `XX` is not a weekday such as MO, 2MO or -1FR",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=WEEKLY;BYDAY=2MO",
            "line 6: RRULE: a numbered weekday such as 2MO needs FREQ=MONTHLY or YEARLY",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=YEARLY;RSCALE=HEBREW",
            "line 6: RRULE: `RSCALE=HEBREW` is no part of a rule that is known here",
        ),
        (
            "DTSTART:20260102\nRRULE:FREQ=HOURLY",
            "line 6: RRULE: FREQ=HOURLY repeats within a day, and here a calendar is a set of days; FREQ=DAILY is the most there is",
        ),
        (
            "DTSTART:20260102\njust text",
            "line 6: `just text` is not a property: a line is `NAME:value`",
        ),
        (
            "DTSTART:20260102\nEND:VTODO",
            "line 6: END: VTODO ends where VEVENT has to, which began in line 4",
        ),
        (
            "DTSTART:20260102\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260102",
            "line 6: RECURRENCE-ID: a change of all that follows (RANGE) is not supported",
        ),
    ] {
        let error = refused(
            &calendar(&format!("BEGIN:VEVENT\n{body}\nEND:VEVENT"))
                .replace("\r\nno", "\r\n no")
                .replace("\r\nfold", "\r\n fold"),
        );
        assert_eq!(error, expected, "{body}");
    }
    for text in [
        "",
        "\n\n",
        "<!DOCTYPE html>\n<html>",
        "{\"a\": 1}",
        "BEGIN:VCARD\nEND:VCARD",
        "VERSION:2.0",
    ] {
        let error = refused(text);
        assert!(
            error.ends_with("this is no calendar file: one begins with BEGIN:VCALENDAR"),
            "{text}: {error}"
        );
    }
    assert_eq!(
        refused("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\n"),
        "line 3: the file ends before END:VEVENT, which began in line 2"
    );
    assert_eq!(
        parse_ics(b"\xFF\xFEB\0").unwrap_err().message,
        "the file is in UTF-16: a calendar file is in UTF-8"
    );
}

#[test]
fn a_file_that_means_harm_is_soon_refused() {
    let nested = "BEGIN:VCALENDAR\n".repeat(100_000);
    assert!(refused(&nested).contains("nested too deep"));
    assert!(refused(&" ".repeat(MAX_ICS_BYTES + 1)).contains("larger than 8 MiB"));
    assert!(refused(&format!("BEGIN:VCALENDAR\nX{}:", ";A".repeat(1000))).contains("parameters"));
    let zone = format!("DTSTART;TZID={}:20260101T000000", "/".repeat(100_000));
    assert!(refused(&event(&zone)).contains("too long"));
    // A rule that never comes true ends with the calendar, and very many of them before it.
    let never = "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30";
    assert_eq!(
        days(&event(&format!("DTSTART:20260101\n{never}"))),
        "2026-01-01"
    );
    let few_steps = |text: &str| parse_within(text.as_bytes(), 1_000_000).unwrap_err();
    let many = [never; 2_000].join("\n");
    let error = few_steps(&event(&format!("DTSTART:19700101\n{many}")));
    assert_eq!(
        error.to_string(),
        "line 16: RRULE: up to here the events of the file recur too often to follow all of them"
    );
    let long = ["RRULE:FREQ=DAILY"; 5].join("\n");
    let long = event(&format!("DTSTART:19700101\nDURATION:P5000W\n{long}"));
    assert!(few_steps(&long).message.contains("too often"));
    let often = "RRULE:FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24";
    assert!(
        refused(&event(&format!("DTSTART:19700101T000000\n{often}")))
            .contains("more than 96 times a day")
    );
    // The beginning of our era, and the end of the four digits.
    assert_eq!(
        parse(&event("DTSTART:00010101\nRRULE:FREQ=DAILY")).len(),
        47_847
    );
    assert!(
        parse(&event(
            "DTSTART:99991231\nDURATION:P4000000000W\nRRULE:FREQ=DAILY;INTERVAL=4294967295"
        ))
        .is_empty()
    );
    assert_eq!(
        parse(&event(
            "DTSTART:19700101\nRRULE:FREQ=MONTHLY;INTERVAL=4294967295"
        ))
        .len(),
        1
    );
    // A thousand birthdays are none of those.
    let holidays: String = (0..1_000)
        .map(|_| "BEGIN:VEVENT\nDTSTART;VALUE=DATE:19700704\nRRULE:FREQ=YEARLY\nEND:VEVENT\n")
        .collect();
    assert_eq!(parse(&calendar(holidays.trim_end())).len(), 131);
}

/// A list of a rule, from a pool of values.
fn list(name: &'static str, values: &'static [i64]) -> impl Strategy<Value = (String, Vec<i64>)> {
    prop_oneof![
        2 => Just((String::new(), Vec::new())),
        1 => prop::collection::vec(prop::sample::select(values), 1..4).prop_map(move |list| {
            let texts: Vec<String> = list.iter().map(i64::to_string).collect();
            (format!(";{name}={}", texts.join(",")), list)
        }),
    ]
}

proptest! {
    /// Monthly and yearly rules, read day by day: a day is one if all of the rule's parts hold.
    #[test]
    fn rules_agree_with_the_calendar_read_day_by_day(
        start in 0_i64..20_000,
        monthly in any::<bool>(),
        interval in 1_i32..4,
        months in list("BYMONTH", &[1, 2, 5, 9, 12]),
        month_days in list("BYMONTHDAY", &[1, 13, 29, 31, -1, -30]),
        weekdays in prop::collection::vec((prop::sample::select(vec![0_i64, 1, 2, 5, -1, -4]), 0_u32..7), 0..3),
    ) {
        let names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
        let by_day: Vec<String> = weekdays.iter().map(|(which, day)| {
            let which = if *which == 0 { String::new() } else { which.to_string() };
            format!("{which}{}", names[*day as usize])
        }).collect();
        let by_day = if by_day.is_empty() { String::new() } else { format!(";BYDAY={}", by_day.join(",")) };
        let frequency = if monthly { "MONTHLY" } else { "YEARLY" };
        let rule = format!("FREQ={frequency};INTERVAL={interval}{}{}{by_day}", months.0, month_days.0);
        let first = date(start).unwrap();
        let text = event(&format!("DTSTART:{}\nRRULE:{rule}", first.format("%Y%m%d")));

        let plain = weekdays.is_empty() && month_days.1.is_empty();
        let holds = |day: NaiveDate| {
            let length = i64::from(day.num_days_in_month());
            let (of_month, of_year) = (i64::from(day.day()), i64::from(day.ordinal()));
            let year = if day.leap_year() { 366 } else { 365 };
            let (place, whole) = if monthly || !months.1.is_empty() { (of_month, length) } else { (of_year, year) };
            let periods = if monthly {
                (day.year() - first.year()) * 12 + day.month0() as i32 - first.month0() as i32
            } else {
                day.year() - first.year()
            };
            periods % interval == 0
                && if months.1.is_empty() {
                    monthly || !plain || day.month() == first.month()
                } else {
                    months.1.contains(&i64::from(day.month()))
                }
                && if month_days.1.is_empty() {
                    !plain || day.day() == first.day()
                } else {
                    month_days.1.iter().any(|which| of_month == *which || of_month == length + 1 + which)
                }
                && (weekdays.is_empty() || weekdays.iter().any(|(which, weekday)| {
                    // The which-th from the beginning or the end: as many of its kind lie before.
                    day.weekday().num_days_from_monday() == *weekday
                        && (*which == 0
                            || *which > 0 && (0..60).filter(|back| 7 * back < place).count() as i64 == *which
                            || *which < 0 && (0..60).filter(|on| place + 7 * on <= whole).count() as i64 == -which)
                }))
        };
        let found = parse(&text);
        for day in 0..=LAST_DAY {
            let expected = day == start || day > start && holds(date(day).unwrap());
            prop_assert_eq!(found.has(day), expected, "{} on {}", rule, date(day).unwrap());
        }
    }

    #[test]
    fn no_file_is_too_strange(
        lines in prop::collection::vec(prop_oneof![
            Just("BEGIN:VEVENT".to_owned()), Just("END:VEVENT".to_owned()), Just("BEGIN:VTIMEZONE".to_owned()),
            Just("BEGIN:STANDARD".to_owned()), Just("END:STANDARD".to_owned()), Just("END:VTIMEZONE".to_owned()),
            Just("TZID:Own".to_owned()),
            "(DTSTART|DTEND|RDATE|EXDATE|RECURRENCE-ID)(;TZID=(Own|Europe/Berlin)|;VALUE=DATE)?:[0-9]{8}(T[0-2][0-9]{5}Z?)?",
            "(DURATION|TZOFFSETTO|TZOFFSETFROM):[+-]?P?T?[0-9]{1,12}[WDHMS]?",
            "(RRULE|EXRULE):FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY);(INTERVAL|COUNT|BYDAY|BYMONTH|BYSETPOS|BYWEEKNO|UNTIL)=-?[0-9]{1,8}(MO|Z)?",
            "(?s).{0,20}",
        ], 0..25),
        bytes in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let _ = parse_ics(format!("BEGIN:VCALENDAR\n{}\nEND:VCALENDAR", lines.join("\n")).as_bytes());
        let _ = parse_ics(&bytes);
    }
}
