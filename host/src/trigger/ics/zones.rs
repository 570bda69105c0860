//! Time zones that a file defines for itself, under names that no database has: what Outlook
//! calls `W. Europe Standard Time`.

use std::collections::HashMap;

use super::line::{At, shorten};
use super::recurrence::Rule;
use super::value::Moment;
use super::{Budget, IcsError};

/// The zones of a file, by name.
#[derive(Debug, Default)]
pub(super) struct Zones {
    /// From when on (in seconds since 1970) the clock is so many seconds ahead of UTC, ascending.
    zones: HashMap<String, Vec<(i64, i64)>>,
}

/// A part of a zone: from when on its clock is told from UTC by which offset.
#[derive(Debug, Default)]
pub(super) struct Observance {
    pub(super) start: Option<Moment>,
    /// The offset before it and in it, in seconds, east positive.
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) rules: Vec<Rule>,
    pub(super) dates: Vec<Moment>,
}

impl Zones {
    /// Adds a zone. A part that lacks something is left out: an error comes with the event that
    /// needs the zone.
    pub(super) fn add(
        &mut self,
        name: &str,
        observances: &[Observance],
        budget: &mut Budget,
    ) -> Result<(), IcsError> {
        let mut changes = Vec::new();
        for part in observances {
            let (Some(start), Some(from), Some(to)) = (&part.start, part.from, part.to) else {
                continue;
            };
            let none = Zones::default();
            let mut onset = |wall: i64| changes.push((wall - from, to));
            onset(start.wall());
            part.dates.iter().map(Moment::wall).for_each(&mut onset);
            for rule in &part.rules {
                rule.expand(start, true, &none, budget, &mut onset)?;
            }
        }
        changes.sort_unstable();
        changes.dedup();
        self.zones.insert(name.to_owned(), changes);
        Ok(())
    }

    fn offset_at(&self, name: &str, utc: i64, at: &At) -> Result<i64, IcsError> {
        let changes = self.zones.get(name).map(Vec::as_slice).unwrap_or_default();
        let index = changes.partition_point(|(start, _)| *start <= utc);
        let (_, offset) = changes.get(index.saturating_sub(1)).ok_or_else(|| {
            at.refuse(format!(
                "it needs the rules of the time zone \"{}\", which is neither in the IANA \
                 database nor defined in the file",
                shorten(name)
            ))
        })?;
        Ok(*offset)
    }

    /// What the clock of a zone shows, in seconds, at an instant.
    pub(super) fn to_wall(&self, name: &str, utc: i64, at: &At) -> Result<i64, IcsError> {
        Ok(utc + self.offset_at(name, utc, at)?)
    }

    /// When the clock of a zone shows a time, give or take a change of the clock.
    pub(super) fn to_utc(&self, name: &str, wall: i64, at: &At) -> Result<i64, IcsError> {
        let near = wall - self.offset_at(name, wall, at)?;
        Ok(wall - self.offset_at(name, near, at)?)
    }
}
