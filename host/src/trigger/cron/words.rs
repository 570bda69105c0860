//! Expressions in plain words: `At 09:00 from Monday to Friday`.
//!
//! Made from the sets of times and days that match, so that however an expression was written,
//! `H` and all, what is said is what it does.

mod days;

use super::{CronTrigger, Times};
use crate::trigger::civil::{bits, listed};

impl CronTrigger {
    /// When it fires, as a sentence without its zone and its final stop.
    pub(in crate::trigger) fn describe(&self) -> String {
        let times = self.times.in_words();
        let mut sentence = times.words;
        if times.by_elapsed && self.is_fixed_time() && self.zone.transitions().get(1).is_some() {
            // A repeated hour it runs through once only.
            sentence.push_str(" of the wall clock");
        }
        let never = self.never_fires().is_some();
        for phrase in self.dates.rule().in_words(!times.is_every, never) {
            // Two ranges beside each other would read as one.
            let is_range = phrase.starts_with("from ");
            if is_range && sentence.contains(" from ") {
                sentence.push(',');
            }
            sentence.push(' ');
            sentence.push_str(&phrase);
        }
        if never {
            sentence.push_str(", which never comes");
        }
        sentence
    }
}

/// What is said of times of the day.
struct TimeWords {
    words: String,
    /// `Every …`: needs no `every day` behind it.
    is_every: bool,
    /// `Every …` without an end: seems to go by elapsed time.
    by_elapsed: bool,
}

/// Up to so many times are given one by one.
const FEW: usize = 3;
/// The same where there is no shorter way to say them.
const SOME: usize = 8;
/// Up to so many stretches of a day are given one by one.
const FEW_STRETCHES: usize = 3;

impl Times {
    fn in_words(&self) -> TimeWords {
        let every = |words: String, by_elapsed: bool| TimeWords {
            words,
            is_every: true,
            by_elapsed,
        };
        let all_hours = self.hours == ALL_HOURS;
        if all_hours && let Some(words) = self.all_day() {
            return every(words, true);
        }
        let times = self.of_day();
        if times.len() <= FEW {
            return self.one_by_one(&times);
        }
        if !all_hours && let Some(words) = self.stretches(&times) {
            return every(words, false);
        }
        if times.len() <= SOME {
            return self.one_by_one(&times);
        }
        every(self.by_fields(), false)
    }

    /// What is the same in every hour and can be said in a word or two.
    fn all_day(&self) -> Option<String> {
        let (seconds, minutes) = (cycle(self.seconds), cycle(self.minutes));
        Some(match (seconds, minutes) {
            (Some(60), Some(60)) => "Every hour on the hour".to_owned(),
            (Some(60), Some(step)) => every(step, "minute"),
            (Some(step), Some(1)) => every(step, "second"),
            _ => return None,
        })
    }

    /// All matching times of a day, in seconds.
    fn of_day(&self) -> Vec<u32> {
        let mut times = Vec::new();
        for hour in bits(u64::from(self.hours)) {
            for minute in bits(self.minutes) {
                times.extend(bits(self.seconds).map(|second| hour * 3600 + minute * 60 + second));
            }
        }
        times
    }

    fn one_by_one(&self, times: &[u32]) -> TimeWords {
        let times: Vec<String> = times.iter().map(|time| self.clock(*time)).collect();
        TimeWords {
            words: format!("At {}", listed(&times, "and")),
            is_every: false,
            by_elapsed: false,
        }
    }

    /// A time as a clock shows it; with seconds where the expression has some.
    fn clock(&self, time: u32) -> String {
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        if self.seconds == 1 {
            format!("{hour:02}:{minute:02}")
        } else {
            format!("{hour:02}:{minute:02}:{second:02}")
        }
    }

    /// `Every 10 minutes from 09:00 to 11:50 and from 14:00 to 17:50`: few stretches of the day,
    /// all with the same time between their instants.
    fn stretches(&self, times: &[u32]) -> Option<String> {
        let step = times
            .windows(2)
            .map(|pair| pair.iter().rev().copied().reduce(|a, b| a - b).unwrap_or(0))
            .min()?;
        let unit = match step {
            1..60 => every(step, "second"),
            60..3600 if step % 60 == 0 => every(step / 60, "minute"),
            3600.. if step % 3600 == 0 => every(step / 3600, "hour"),
            _ => return None,
        };
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        for time in times {
            match stretches.last_mut() {
                Some((_, end)) if *time - *end == step => *end = *time,
                _ => stretches.push((*time, *time)),
            }
            if stretches.len() > FEW_STRETCHES {
                return None;
            }
        }
        // A few times beside each other are no stretch.
        if stretches.iter().any(|(from, to)| to - from < 2 * step) {
            return None;
        }
        let stretches: Vec<String> = stretches
            .iter()
            .map(|(from, to)| format!("from {} to {}", self.clock(*from), self.clock(*to)))
            .collect();
        Some(format!("{unit} {}", listed(&stretches, "and")))
    }

    /// `At minutes 0, 7, 14, … 56 of every hour`.
    fn by_fields(&self) -> String {
        let mut words = Vec::new();
        let minutes = cycle(self.minutes);
        let hours = u64::from(self.hours);
        if self.seconds == 1 {
            words.push(match minutes {
                Some(1) => "Every minute".to_owned(),
                _ => format!("At {}", numbered("minute", self.minutes)),
            });
        } else {
            words.push(match cycle(self.seconds) {
                Some(step @ 1..60) => every(step, "second"),
                _ => format!("At {}", numbered("second", self.seconds)),
            });
            match minutes {
                Some(1) if self.hours == ALL_HOURS => {
                    return format!("{} of every minute", words.concat());
                }
                Some(1) if cycle(self.seconds) == Some(1) => {}
                Some(1) => words.push("every minute".to_owned()),
                _ => words.push(numbered("minute", self.minutes)),
            }
        }
        words.push(if self.hours == ALL_HOURS {
            "every hour".to_owned()
        } else {
            numbered("hour", hours)
        });
        words.join(" of ")
    }
}

const ALL_HOURS: u32 = 0xff_ffff;

/// The step of a set of minutes or seconds that repeats itself without a break from 0 on: 5 for
/// 0, 5, … 55; 60 for 0 alone.
fn cycle(set: u64) -> Option<u32> {
    let step = match set & set.wrapping_sub(1) {
        0 => 60,
        rest => rest.trailing_zeros(),
    };
    let whole = (0..60)
        .step_by(step as usize)
        .fold(0, |whole, bit| whole | 1_u64 << bit);
    (set == whole && 60 % step == 0).then_some(step)
}

/// `Every minute`, `Every 5 minutes`.
fn every(count: u32, unit: &str) -> String {
    match count {
        1 => format!("Every {unit}"),
        _ => format!("Every {count} {unit}s"),
    }
}

/// `minute 5`, `minutes 0 to 29`, `minutes 0, 7, 14, … 56`.
fn numbered(unit: &str, set: u64) -> String {
    let plural = if set.count_ones() == 1 { "" } else { "s" };
    let numbers = ranges(set, |number| number.to_string());
    format!("{unit}{plural} {}", listed(&numbers, "and"))
}

/// The numbers of a set: three and more without a gap as a range, many with the same step
/// between them as the first three and the last.
fn ranges(set: u64, show: impl Fn(u32) -> String) -> Vec<String> {
    let numbers: Vec<u32> = bits(set).collect();
    if let [first, second, third, .., last] = numbers.as_slice()
        && second - first > 1
        && numbers.len() > 6
    {
        let step = second - first;
        let even = (*first..=*last).step_by(step as usize);
        if even.clone().count() == numbers.len() && even.eq(numbers.iter().copied()) {
            let start = [*first, *second, *third].map(&show).join(", ");
            return vec![format!("{start}, … {}", show(*last))];
        }
    }
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => runs.push((number, number)),
        }
    }
    runs.iter()
        .flat_map(|(from, to)| match to - from {
            0 => vec![show(*from)],
            1 => vec![show(*from), show(*to)],
            _ => vec![format!("{} to {}", show(*from), show(*to))],
        })
        .collect()
}

#[cfg(test)]
mod tests;
