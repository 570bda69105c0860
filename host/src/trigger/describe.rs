//! Triggers in plain words: what a person reads who asks what an expression means.
//!
//! A sentence is made from what a trigger does, not from how it was written, and says nothing
//! that the trigger does not do. What changes of the clock make of it is left to
//! [`Trigger::clock_changes`].

use super::at::show;
use super::bounded::{show_end, show_start};
use super::{After, Bounded, Combined, Ending, Trigger};
use crate::units::format_duration_exact;

impl Trigger {
    /// When it fires, as a sentence without its final stop: `At 09:00 from Monday to Friday`.
    /// Times are those of [`zone`](Self::zone), which is not named; where there are several,
    /// each is named beside its times.
    ///
    /// ```
    /// use quarterjack::trigger::{Trigger, Zone};
    /// let trigger = Trigger::parse("15 10 L * *", Zone::UTC)?;
    /// assert_eq!(trigger.describe(), "At 10:15 on the last day of every month");
    /// # Ok::<(), quarterjack::trigger::TriggerError>(())
    /// ```
    pub fn describe(&self) -> String {
        match self {
            Trigger::Cron(cron) => cron.describe(),
            Trigger::Interval(interval) => {
                let period = format_duration_exact(interval.period());
                if interval.counts_from_epoch() {
                    format!("Every {period}, counted from 1970-01-01T00:00:00Z")
                } else {
                    format!("Every {period}") // from the start, which the bounds tell
                }
            }
            Trigger::Calendar(calendar) => calendar.describe(),
            Trigger::At(at) => format!("Once, at {}", show(at.instant(), at.zone())),
            Trigger::Any(any) => in_front(", or ", &parts(any, self)),
            Trigger::All(all) => {
                format!(
                    "Whenever these fall together: {}",
                    parts(all, self).join("; ")
                )
            }
            Trigger::Bounded(bounded) => bounds(bounded),
            Trigger::After(after) => after.describe(),
            Trigger::Reboot => "When the host starts".to_owned(),
            Trigger::Manual => "Only when somebody asks for it".to_owned(),
        }
    }
}

impl After {
    fn describe(&self) -> String {
        let job = &self.job;
        match self.on {
            Ending::Success => format!("When a run of `{job}` has succeeded"),
            Ending::Failure => format!("When a run of `{job}` has ended without success"),
            Ending::Always => format!("When a run of `{job}` has ended"),
        }
    }
}

/// Each part in words, as it stands inside of a sentence; with its zone where the whole has none.
fn parts(combined: &Combined, whole: &Trigger) -> Vec<String> {
    let common = whole.zone();
    combined
        .parts()
        .iter()
        .map(|part| {
            let words = uncapitalized(&part.describe());
            match (part, part.zone()) {
                (Trigger::Any(_) | Trigger::All(_), _) => format!("({words})"),
                (_, Some(zone)) if common.is_none() => format!("{words} ({zone})"),
                _ => words,
            }
        })
        .collect()
}

/// Parts with something between them, as a sentence.
fn in_front(between: &str, parts: &[String]) -> String {
    let mut sentence = parts.join(between);
    // Sentences of ours begin in ASCII.
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

fn uncapitalized(sentence: &str) -> String {
    let mut words = sentence.to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}

fn bounds(bounded: &Bounded) -> String {
    let bounds = bounded.bounds();
    let mut sentence = bounded.inner().describe();
    let in_zone = match bounds.zone {
        Some(zone) if bounded.zone() != Some(zone) => format!(" ({zone})"),
        _ => String::new(),
    };
    if let Some(start) = bounds.start {
        let start = show_start(start, bounds.zone);
        sentence.push_str(&format!(", not before {start}{in_zone}"));
    }
    if let Some(end) = bounds.end {
        let end = show_end(end, bounds.zone);
        sentence.push_str(&format!(", not after {end}{in_zone}"));
    }
    if let Some(not_on) = &bounds.not_on {
        sentence.push_str(&format!(", {not_on}"));
    }
    match bounds.max_runs {
        Some(1) => sentence.push_str(", only once"),
        Some(runs) => sentence.push_str(&format!(", at most {runs} times")),
        None => {}
    }
    if let Some(jitter) = bounds.jitter {
        let most = format_duration_exact(jitter);
        sentence.push_str(&format!(", each run up to {most} later"));
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::{AtTrigger, Bounds, Moment, Zone};
    use std::time::Duration;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn trigger(text: &str) -> Trigger {
        Trigger::parse(text, zone("Europe/Berlin")).unwrap()
    }

    fn at(text: &str) -> Trigger {
        Trigger::At(AtTrigger::new(
            Moment::parse(text, zone("Europe/Berlin")).unwrap(),
        ))
    }

    #[test]
    fn triggers_that_are_no_cron_expressions() {
        for (trigger, expected) in [
            (
                trigger("@every 90s"),
                "Every 1 min 30 s, counted from 1970-01-01T00:00:00Z",
            ),
            (trigger("@reboot"), "When the host starts"),
            (trigger("@manually"), "Only when somebody asks for it"),
            (at("2026-12-24T18:00"), "Once, at 2026-12-24 18:00"),
            (at("2026-12-24T18:00:30Z"), "Once, at 2026-12-24 18:00:30Z"),
        ] {
            assert_eq!(trigger.describe(), expected);
        }
        for (on, expected) in [
            (Ending::Success, "When a run of `report` has succeeded"),
            (
                Ending::Failure,
                "When a run of `report` has ended without success",
            ),
            (Ending::Always, "When a run of `report` has ended"),
        ] {
            let job = "report".into();
            assert_eq!(Trigger::After(After { job, on }).describe(), expected);
        }
    }

    #[test]
    fn several_triggers() {
        let any = Trigger::any(vec![
            trigger("0 9 * * *"),
            trigger("30 17 * * fri"),
            Trigger::Reboot,
        ])
        .unwrap();
        assert_eq!(
            any.describe(),
            "At 09:00 every day, or at 17:30 on every Friday, or when the host starts"
        );
        let zones = Trigger::any(vec![
            trigger("0 9 * * *"),
            trigger("TZ=Asia/Tokyo 0 9 * * *"),
            trigger("@every 1h"),
        ]);
        assert_eq!(
            zones.unwrap().describe(),
            "At 09:00 every day (Europe/Berlin), or at 09:00 every day (Asia/Tokyo), \
             or every 1 h, counted from 1970-01-01T00:00:00Z"
        );
        let all = Trigger::all(vec![trigger("0 9 * * *"), trigger("0 */3 1 * *")]).unwrap();
        assert_eq!(
            all.describe(),
            "Whenever these fall together: at 09:00 every day; \
             every 3 hours from 00:00 to 21:00 on the 1st of every month"
        );
        let nested = Trigger::any(vec![all, trigger("@weekly")]).unwrap();
        assert_eq!(
            nested.describe(),
            "(whenever these fall together: at 09:00 every day; \
             every 3 hours from 00:00 to 21:00 on the 1st of every month), \
             or at 00:00 on every Sunday"
        );
    }

    #[test]
    fn bounds_are_said() {
        let mut bounds = Bounds {
            start: Some("2026-02-03T09:00:00Z".parse().unwrap()),
            end: Some("2026-08-03T09:00:00Z".parse().unwrap()),
            not_on: None,
            max_runs: Some(5),
            jitter: Some(Duration::from_secs(90)),
            zone: Some(zone("Europe/Berlin")),
        };
        let say = |bounds: &Bounds| {
            let bounded = trigger("0 9 * * *").within(bounds.clone(), "job");
            bounded.unwrap().describe()
        };
        assert_eq!(
            say(&bounds),
            "At 09:00 every day, not before 2026-02-03 10:00, not after 2026-08-03 11:00, \
             at most 5 times, each run up to 1 min 30 s later"
        );
        bounds.zone = Some(zone("Asia/Tokyo"));
        bounds.max_runs = Some(1);
        bounds.jitter = None;
        bounds.end = None;
        assert_eq!(
            say(&bounds),
            "At 09:00 every day, not before 2026-02-03 18:00 (Asia/Tokyo), only once"
        );
    }
}
