//! The text of a trigger: a zone in front, macros, `@every`, or else a cron expression.

use std::ops::Range;

use super::{CronTrigger, IntervalTrigger, Reading, TriggerError, Zone};
use crate::units;

/// The macros of crontab(5) and the expressions they stand for.
const MACROS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A trigger's text, its zone prefix taken off.
pub(super) struct Source<'a> {
    reading: Reading<'a>,
    /// What is left: begins with something visible, or is empty.
    pub(super) body: &'a str,
    /// Where `body` begins in the given text.
    offset: usize,
    /// Where the zone in front of it stands, if there is one.
    prefix: Option<Range<usize>>,
}

impl<'a> Source<'a> {
    pub(super) fn read(text: &'a str, reading: Reading<'a>) -> Result<Source<'a>, TriggerError> {
        let mut source = Source {
            reading,
            body: text.trim_ascii_start(),
            offset: 0,
            prefix: None,
        };
        source.offset = text.len() - source.body.len();
        let prefix = ["CRON_TZ=", "TZ="]
            .into_iter()
            .find(|prefix| source.body.starts_with(prefix));
        if let Some(prefix) = prefix {
            let (assignment, rest) = source
                .body
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((source.body, ""));
            let name = assignment.strip_prefix(prefix).unwrap_or_default();
            let start = source.offset + prefix.len();
            source.reading.zone = Zone::parse(name).map_err(|unknown| TriggerError {
                message: format!("no such time zone: \"{name}\""),
                label: "an IANA name such as Europe/Berlin stands here".to_owned(),
                hint: unknown.hint(),
                span: start..start + name.len(),
            })?;
            source.prefix = Some(source.offset..source.offset + assignment.len());
            source.body = rest.trim_ascii_start();
            source.offset = text.len() - source.body.len();
        }
        Ok(source)
    }

    /// That no zone stands in front of what has no use for one.
    pub(super) fn no_zone_in_vain(&self) -> Result<(), TriggerError> {
        match (&self.prefix, self.keyword()) {
            (Some(prefix), Some(_)) => Err(TriggerError {
                message: format!("`{}` has no use for a time zone", self.split().0),
                label: "leave this out: only cron expressions have a time zone".to_owned(),
                hint: None,
                span: prefix.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The text's bytes from its first to its last visible one.
    pub(super) fn span(&self) -> Range<usize> {
        self.offset..self.offset + self.body.trim_ascii_end().len()
    }

    /// The first word and what follows it.
    fn split(&self) -> (&'a str, &'a str) {
        let end = self
            .body
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(self.body.len());
        self.body.split_at(end)
    }

    /// The macro that the text begins with, if it is one that is no cron expression.
    pub(super) fn keyword(&self) -> Option<&'static str> {
        let word = self.split().0.strip_prefix('@')?;
        ["every", "manually", "reboot"]
            .into_iter()
            .find(|keyword| word.eq_ignore_ascii_case(keyword))
    }

    /// That nothing follows the first word.
    pub(super) fn alone(&self) -> Result<(), TriggerError> {
        let (word, rest) = self.split();
        if rest.trim_ascii().is_empty() {
            return Ok(());
        }
        let start = self.offset + self.body.len() - rest.trim_ascii_start().len();
        Err(TriggerError {
            message: format!("nothing may follow `{word}`"),
            label: "remove this".to_owned(),
            hint: None,
            span: start..self.span().end,
        })
    }

    pub(super) fn interval(&self) -> Result<IntervalTrigger, TriggerError> {
        let (word, rest) = self.split();
        let duration = rest.trim_ascii();
        let start = self.offset + self.body.len() - rest.trim_ascii_start().len();
        let span = if duration.is_empty() {
            self.span()
        } else {
            start..start + duration.len()
        };
        if duration.is_empty() {
            return Err(TriggerError {
                message: format!("`{word}` says not how often"),
                label: "a duration is missing after this".to_owned(),
                hint: Some("write for example `@every 90s`".to_owned()),
                span,
            });
        }
        let period = units::parse_duration(duration).map_err(|error| TriggerError {
            message: error.message,
            label: error.label,
            hint: None,
            span: span.clone(),
        })?;
        IntervalTrigger::with_span(period, span)
    }

    pub(super) fn cron(&self) -> Result<CronTrigger, TriggerError> {
        if !self.body.starts_with('@') {
            return CronTrigger::parse(self.body, self.body, self.offset, self.reading);
        }
        let (word, _) = self.split();
        let refuse = |message: String, hint: String| {
            TriggerError {
            message,
            label: "a macro is @yearly, @monthly, @weekly, @daily, @hourly, @every, @reboot or @manually"
                .to_owned(),
            hint: Some(hint),
            span: self.offset..self.offset + word.len(),
        }
        };
        if let Some((_, expression)) = MACROS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
        {
            self.alone()?;
            return CronTrigger::parse(expression, word, self.offset, self.reading);
        }
        let lower = word.to_lowercase();
        let near = MACROS
            .iter()
            .map(|(name, _)| *name)
            .chain(["@every", "@manually", "@reboot"])
            .map(|name| (strsim::damerau_levenshtein(name, &lower), name))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        Err(refuse(
            format!("no such macro: `{word}`"),
            match near {
                Some((_, name)) => format!("did you mean `{name}`?"),
                None => "write a cron expression of five fields, such as `0 4 * * *`".to_owned(),
            },
        ))
    }
}
