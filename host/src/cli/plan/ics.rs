//! Firings as an iCalendar (RFC 5545), to be laid beside one's own appointments.
//!
//! Written line by line as the firings come, however many there are: libraries hold a whole
//! calendar in memory, and all that is needed of one is the folding of lines.

use std::io::{self, Write};

use chrono::Timelike as _;

use crate::clock::Timestamp;
use crate::job::Job;
use crate::plan::Firing;

/// The most octets of a line.
const LINE: usize = 75;

/// Writes what comes before the first event.
pub(super) fn begin(to: &mut dyn Write) -> io::Result<()> {
    line(to, "BEGIN:VCALENDAR")?;
    line(to, "VERSION:2.0")?;
    line(to, "PRODID:-//Quarterjack//plan//EN")?;
    line(to, "CALSCALE:GREGORIAN")?;
    line(to, "X-WR-CALNAME:Quarterjack")
}

/// Writes a firing as an event that was made at `now`. Its UID is that of its job and instant, so
/// that the next plan replaces it.
pub(super) fn event(
    to: &mut dyn Write,
    firing: &Firing,
    job: &Job,
    now: Timestamp,
) -> io::Result<()> {
    line(to, "BEGIN:VEVENT")?;
    let id = job.id.as_str();
    // An id is made of harmless characters, but for the comma and its like.
    let uid = format!(
        "{}-{}@quarterjack",
        escaped(id),
        stamp(firing.scheduled_at, true)
    );
    line(to, &format!("UID:{uid}"))?;
    line(to, &format!("DTSTAMP:{}", stamp(now, false)))?;
    line(to, &format!("DTSTART:{}", stamp(firing.due_at, false)))?;
    if let Some(end) = firing.ends_at {
        // To the second, as calendars go; at least one.
        let seconds = (end - firing.due_at)
            .num_milliseconds()
            .max(1)
            .saturating_add(999)
            / 1000;
        line(to, &format!("DURATION:PT{seconds}S"))?;
    }
    let skipped = if firing.skipped { " (skipped)" } else { "" };
    line(to, &format!("SUMMARY:{}{skipped}", escaped(id)))?;
    let description = match &job.description {
        Some(text) => format!("{text}\n{}", job.trigger),
        None => job.trigger.to_string(),
    };
    line(to, &format!("DESCRIPTION:{}", escaped(&description)))?;
    if firing.skipped {
        line(to, "STATUS:CANCELLED")?;
    }
    // A job keeps nobody from an appointment.
    line(to, "TRANSP:TRANSPARENT")?;
    line(to, "END:VEVENT")
}

/// Writes what comes after the last event.
pub(super) fn end(to: &mut dyn Write) -> io::Result<()> {
    line(to, "END:VCALENDAR")
}

/// `20261122T142800Z`; `fine`, with what is below a second.
fn stamp(instant: Timestamp, fine: bool) -> String {
    let stamp = instant.format("%Y%m%dT%H%M%S");
    match instant.nanosecond() {
        nanos if fine && nanos > 0 => format!("{stamp}.{nanos:09}Z"),
        _ => format!("{stamp}Z"),
    }
}

/// Text as a value: separators and line ends are written out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | ';' | ',' => safe.extend(['\\', character]),
            '\n' => safe.push_str("\\n"),
            _ if character.is_control() => {}
            _ => safe.push(character),
        }
    }
    safe
}

/// Writes a line, folded where it is too long: on with the next one after a space.
fn line(to: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut room = LINE;
    let mut start = 0;
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        if end - start > room {
            write!(to, "{}\r\n ", text.get(start..at).unwrap_or_default())?;
            start = at;
            room = LINE - 1; // the space counts
        }
    }
    write!(to, "{}\r\n", text.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use proptest::prelude::*;

    fn firing(skipped: bool) -> Firing {
        let due_at: Timestamp = "2026-11-22T14:30:00Z".parse().unwrap();
        Firing {
            job: 0,
            scheduled_at: due_at,
            due_at: due_at + std::time::Duration::from_secs(30),
            after: None,
            skipped,
            ends_at: (!skipped).then(|| due_at + std::time::Duration::from_secs(630)),
        }
    }

    #[test]
    fn an_event_for_each_firing() {
        let mut job = Job::by_hand(JobId::from("report"), "report.wasm");
        job.description = Some(
            "Sums up all sales, costs; and what is left of them at the end of the day\nfor the Küche"
                .into(),
        );
        let now = "2026-11-22T14:28:00Z".parse().unwrap();
        let mut bytes = Vec::new();
        begin(&mut bytes).unwrap();
        event(&mut bytes, &firing(false), &job, now).unwrap();
        event(&mut bytes, &firing(true), &job, now).unwrap();
        end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        insta::assert_snapshot!(text.replace("\r\n", "\n"), @r"
        BEGIN:VCALENDAR
        VERSION:2.0
        PRODID:-//Quarterjack//plan//EN
        CALSCALE:GREGORIAN
        X-WR-CALNAME:Quarterjack
        BEGIN:VEVENT
        UID:report-20261122T143000Z@quarterjack
        DTSTAMP:20261122T142800Z
        DTSTART:20261122T143030Z
        DURATION:PT600S
        SUMMARY:report
        DESCRIPTION:Sums up all sales\, costs\; and what is left of them at the end
          of the day\nfor the Küche\n@manually
        TRANSP:TRANSPARENT
        END:VEVENT
        BEGIN:VEVENT
        UID:report-20261122T143000Z@quarterjack
        DTSTAMP:20261122T142800Z
        DTSTART:20261122T143030Z
        SUMMARY:report (skipped)
        DESCRIPTION:Sums up all sales\, costs\; and what is left of them at the end
          of the day\nfor the Küche\n@manually
        STATUS:CANCELLED
        TRANSP:TRANSPARENT
        END:VEVENT
        END:VCALENDAR
        ");
    }

    proptest! {
        /// However it is folded, it reads the same, and no line is too long.
        #[test]
        fn lines_are_folded(text in "\\PC{0,400}") {
            let mut bytes = Vec::new();
            line(&mut bytes, &text).unwrap();
            let folded = String::from_utf8(bytes).unwrap();
            prop_assert!(folded.split("\r\n").all(|line| line.len() <= LINE));
            prop_assert_eq!(folded.replace("\r\n ", ""), format!("{text}\r\n"));
        }
    }
}
