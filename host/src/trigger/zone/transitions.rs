//! A zone's offsets from 1970 to 2100, laid out as a table.

use super::database::load_rules;

/// A stretch of time with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trigger) struct Segment {
    /// The first second of it, in seconds since the epoch; `i64::MIN` for the first segment.
    pub(in crate::trigger) start: i64,
    /// The offset from UTC in seconds, east positive.
    pub(in crate::trigger) offset: i32,
    /// One past the latest wall time, in seconds, that any clock has shown before `start`.
    /// Never falls from one segment to the next.
    pub(in crate::trigger) reach: i64,
}

impl Segment {
    /// The wall time at the segment's first second.
    pub(in crate::trigger) fn start_wall(&self) -> i64 {
        self.start.saturating_add(i64::from(self.offset))
    }

    /// The wall time at an instant inside the segment; both in seconds.
    pub(in crate::trigger) fn wall(&self, utc: i64) -> i64 {
        utc.saturating_add(i64::from(self.offset))
    }

    /// The instant at which a wall time inside the segment is shown; both in seconds.
    pub(in crate::trigger) fn utc(&self, wall: i64) -> i64 {
        wall.saturating_sub(i64::from(self.offset))
    }
}

/// When a clock that only ever shows later times first reaches a given wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trigger) enum Reach {
    /// It shows it, for the first time, at `utc`, in segment number `index`.
    At { utc: i64, index: usize },
    /// It jumps over it at `start`, from `begin_wall` to `end_wall`.
    Gap {
        start: i64,
        begin_wall: i64,
        end_wall: i64,
    },
}

/// A zone's offsets from 1970 to 2100: consecutive segments, never none.
#[derive(Debug)]
pub(in crate::trigger) struct Transitions {
    first: Segment,
    segments: Box<[Segment]>,
}

/// The table begins before 1970 and ends after 2100 in every zone.
const TABLE_START: i64 = -3 * 86_400;
const TABLE_END: i64 = 4_133_980_800 + 3 * 86_400; // 2101-01-01

impl Transitions {
    pub(super) fn fixed(offset: i32) -> Transitions {
        Transitions::from_changes(offset, std::iter::empty())
    }

    pub(super) fn load(name: &str) -> Transitions {
        // A test loads every zone that chrono-tz names, so None does not occur.
        load_rules(name).map_or_else(|| Transitions::fixed(0), |rules| Transitions::of(&rules))
    }

    fn of(rules: &jiff::tz::TimeZone) -> Transitions {
        let Ok(start) = jiff::Timestamp::from_second(TABLE_START) else {
            return Transitions::fixed(0);
        };
        Transitions::from_changes(
            rules.to_offset(start).seconds(),
            rules
                .following(start)
                .map(|change| (change.timestamp().as_second(), change.offset().seconds()))
                .take_while(|(at, _)| *at < TABLE_END),
        )
    }

    fn from_changes(offset: i32, changes: impl Iterator<Item = (i64, i32)>) -> Transitions {
        let first = Segment {
            start: i64::MIN,
            offset,
            reach: i64::MIN,
        };
        let mut last = first;
        let mut segments = vec![first];
        for (start, offset) in changes {
            // Many a transition changes only the abbreviation.
            if offset == last.offset {
                continue;
            }
            last = Segment {
                start,
                offset,
                reach: last.reach.max(last.wall(start)),
            };
            segments.push(last);
        }
        Transitions {
            first,
            segments: segments.into_boxed_slice(),
        }
    }

    /// The number of the segment that an instant (in seconds) lies in.
    pub(in crate::trigger) fn index_at(&self, utc: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.start <= utc)
            .saturating_sub(1)
    }

    /// A segment by its number; the first for a number that none has.
    pub(in crate::trigger) fn segment(&self, index: usize) -> Segment {
        self.get(index).unwrap_or(self.first)
    }

    /// A segment by its number.
    pub(in crate::trigger) fn get(&self, index: usize) -> Option<Segment> {
        self.segments.get(index).copied()
    }

    /// When the clock first reaches a wall time.
    pub(in crate::trigger) fn first_reach(&self, wall: i64) -> Reach {
        let index = self
            .segments
            .partition_point(|segment| segment.reach <= wall)
            .saturating_sub(1);
        let segment = self.segment(index);
        if wall >= segment.start_wall() || index == 0 {
            Reach::At {
                utc: segment.utc(wall),
                index,
            }
        } else {
            Reach::Gap {
                start: segment.start,
                begin_wall: segment.reach,
                end_wall: segment.start_wall(),
            }
        }
    }

    /// The next instant after segment `index` at which the clock shows a wall time again.
    pub(super) fn again_after(&self, index: usize, wall: i64) -> Option<i64> {
        // No clock has been set so often in a day or two that a time came back later than that.
        (index + 1..=index + 4).find_map(|index| {
            let segment = self.get(index)?;
            let end = self.get(index + 1).map(|next| segment.wall(next.start));
            (segment.start_wall() <= wall && end.is_none_or(|end| wall < end))
                .then(|| segment.utc(wall))
        })
    }
}
