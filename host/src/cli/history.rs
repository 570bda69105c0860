//! What the verbs about the past share: where the history is, which run is meant, and since when.

use std::path::PathBuf;

use chrono::SubsecRound as _;
use clap::Args;

use super::Refusal;
use super::output::{Paint, Screen, Viewer, cut, harmless, status_word};
use super::plan::when;
use super::subject::viewers_zone;
use crate::app;
use crate::app::history::{self, History};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::job::JobId;
use crate::record::{Detail, Kind, RunPattern, RunQuery, RunRecord};
use crate::run::{Cause, RunId};
use crate::suggest::nearest;
use crate::trigger::Zone;

#[cfg(test)]
pub(super) mod fixtures;

/// How many runs are listed where one has to be chosen.
const LISTED: usize = 6;

/// Where the history is.
#[derive(Debug, Clone, Args)]
pub(super) struct Data {
    /// Where the host keeps its history [default: quarterjack in $XDG_STATE_HOME or
    /// ~/.local/state]
    #[arg(
        long,
        value_name = "DIR",
        env = "QUARTERJACK_DATA",
        hide_env_values = true
    )]
    data: Option<PathBuf>,
}

impl Data {
    /// Opens it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(super) fn open(&self) -> Result<Past, Refusal> {
        let place = self.place()?;
        let history = history::open_history(&place).map_err(Refusal::failure)?;
        Ok(Past {
            history,
            place: place.display().to_string(),
        })
    }

    /// The directory, be there a history in it or not.
    ///
    /// # Errors
    /// There is no home directory.
    pub(super) fn place(&self) -> Result<PathBuf, Refusal> {
        let place = self.data.clone().or_else(app::usual_data);
        place.ok_or_else(|| {
            Refusal::failure("no home directory to look for a history in: name one with --data DIR")
        })
    }
}

/// A history, and where it is.
pub(super) struct Past {
    pub(super) history: Box<dyn History>,
    /// The directory, as messages name it.
    pub(super) place: String,
}

/// The person who looks, and when.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) now: Timestamp,
    pub(super) viewer: Viewer,
    /// The zone in which times are read.
    zone: Zone,
    pub(super) paint: Paint,
    /// Columns of a line at most.
    pub(super) width: usize,
}

impl View {
    /// The person in front of this screen, now.
    pub(super) fn of(screen: Screen) -> View {
        View {
            now: SystemClock.now(),
            viewer: Viewer::here(),
            zone: viewers_zone(),
            paint: screen.out,
            width: screen.width,
        }
    }

    /// A day and a time of day, to the second.
    pub(super) fn when(&self, at: Timestamp) -> String {
        self.viewer.when(self.now, at.trunc_subsecs(0))
    }

    /// The same, to the millisecond.
    pub(super) fn when_exactly(&self, at: Timestamp) -> String {
        self.viewer.when(self.now, at)
    }

    /// The instant under which a record is listed: the one that it is for, unless it makes up for
    /// one long past.
    pub(super) fn shown(&self, record: &RunRecord) -> String {
        match record.cause {
            Cause::Schedule => self.when_exactly(record.scheduled_at),
            Cause::Manual | Cause::Api | Cause::Upstream => self.when(record.scheduled_at),
            Cause::CatchUp => self.when(record.started_at().unwrap_or(record.recorded_at)),
        }
    }

    /// Reads since when: `1d` or `2h` for so long ago, `today`, a day, a time, an instant.
    ///
    /// # Errors
    /// It is none of these.
    pub(super) fn since(&self, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = text.map(str::trim) else {
            return Ok(None);
        };
        let read = |text: &str| when::read(text, self.now, self.now, self.zone);
        // A length of time, and no date.
        let length =
            text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(['-', ':']);
        let found = if length {
            read(&format!("-{text}"))
        } else {
            read(text)
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) => Err(Refusal::usage(if error.contains("is no time") {
                format!(
                    "--since: `{}` is no time: write 1d, 2h, today, yesterday, 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:00Z",
                    harmless(text)
                )
            } else {
                format!("--since: {error}")
            })),
        }
    }
}

impl Past {
    /// The record of the run that is meant: by its id, by the beginning or the end of it, or by
    /// its job, whose newest record of one of these kinds is taken.
    ///
    /// # Errors
    /// There is no such run, or there are several; near names and candidates are told.
    pub(super) fn find(
        &self,
        typed: &str,
        view: &View,
        kinds: Option<&[Kind]>,
        detail: Detail,
    ) -> Result<RunRecord, Refusal> {
        let history = &*self.history;
        let job = JobId::new(typed);
        let mut newest = RunQuery::newest(1).of(&job);
        newest.kind = kinds.map(<[Kind]>::to_vec);
        let newest = history.runs(newest).map_err(Refusal::failure)?.pop();
        // A list may leave out what is asked for here.
        let id = match newest {
            Some(record) => Some(record.id),
            None => self.by_id(typed, view)?,
        };
        let record = match id {
            Some(id) => history.run(id, detail).map_err(Refusal::failure)?,
            None => None,
        };
        match record {
            Some(record) => Ok(record),
            None => Err(self.unknown(typed, &job)),
        }
    }

    /// The run whose id begins or ends so; nothing if there is none.
    fn by_id(&self, typed: &str, view: &View) -> Result<Option<RunId>, Refusal> {
        let Some(pattern) = RunPattern::parse(typed) else {
            return Ok(None);
        };
        let found = self.history.find_run(&pattern).map_err(Refusal::failure)?;
        match *found {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.ambiguous(typed, &found, view)),
        }
    }

    fn ambiguous(&self, typed: &str, found: &[RunId], view: &View) -> Refusal {
        let many = if found.len() >= history::CANDIDATES {
            format!("{} runs or more", found.len())
        } else {
            format!("{} runs", found.len())
        };
        let mut message = format!(
            "`{}` is the beginning or the end of the ids of {many}; give more of the id:",
            harmless(typed)
        );
        for id in found.iter().take(LISTED) {
            message.push_str(&format!("\n  {id}"));
            // What is said of it only helps to choose.
            if let Ok(Some(record)) = self.history.run(*id, Detail::Outline) {
                message.push_str(&format!(
                    "   {}   {}   {}",
                    view.shown(&record),
                    cut(&harmless(record.job.as_str()), NAME_WIDTH),
                    status_word(&record.status).0
                ));
            }
        }
        if found.len() > LISTED {
            message.push_str("\n  …");
        }
        Refusal::failure(message)
    }

    fn unknown(&self, typed: &str, job: &JobId) -> Refusal {
        let shown = cut(&harmless(typed), 64);
        let place = &self.place;
        let jobs = self.history.jobs().unwrap_or_default();
        if jobs.iter().any(|known| known.id == *job) {
            return Refusal::failure(format_args!(
                "job `{shown}` has no such run in the history in {place}: `quarterjack runs {shown}` lists what it has"
            ));
        }
        let names = jobs.iter().map(|known| known.id.as_str());
        if let Some(near) = nearest(typed, names) {
            return Refusal::failure(format_args!(
                "no run and no job `{shown}` in the history in {place}: did you mean `{}`?",
                harmless(near)
            ));
        }
        Refusal::failure(format_args!(
            "no run and no job `{shown}` in the history in {place}; `quarterjack runs` lists the newest runs, and `quarterjack jobs` the jobs"
        ))
    }

    /// Refuses a job that the history does not know.
    ///
    /// # Errors
    /// It does not; near names are told.
    pub(super) fn knows(&self, job: &JobId) -> Result<(), Refusal> {
        let jobs = self.history.jobs().map_err(Refusal::failure)?;
        if jobs.iter().any(|known| known.id == *job) {
            return Ok(());
        }
        let (shown, place) = (cut(&harmless(job.as_str()), 64), &self.place);
        let names = || jobs.iter().map(|known| known.id.as_str());
        let hint = match nearest(job.as_str(), names()) {
            Some(near) => format!(": did you mean `{}`?", harmless(near)),
            None if jobs.is_empty() => ", which is empty".to_owned(),
            None => {
                let first: Vec<String> = names().take(LISTED).map(harmless).collect();
                let more = if jobs.len() > LISTED { ", …" } else { "" };
                format!("; it has {}{more}", first.join(", "))
            }
        };
        Err(Refusal::failure(format_args!(
            "no job `{shown}` in the history in {place}{hint}"
        )))
    }
}

/// Columns that a job's id takes at most.
pub(super) const NAME_WIDTH: usize = 24;

/// An id as short as it is still worth copying: by its last letters alone a run is found.
pub(super) fn short(id: RunId) -> String {
    let id = id.to_string();
    match (id.get(..5), id.get(22..)) {
        (Some(first), Some(last)) => format!("{first}…{last}"),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{past, view};
    use super::*;
    use crate::cli::Exit;
    use crate::clock::parse_instant;

    fn found(typed: &str) -> String {
        match past().find(typed, &view(100), None, Detail::Outline) {
            Ok(record) => record.id.to_string(),
            Err(refusal) => {
                assert_eq!(refusal.exit, Exit::Failure);
                refusal.message
            }
        }
    }

    #[test]
    fn a_run_is_found_by_any_part_of_its_id_or_by_its_job() {
        let whole = found("C5EH");
        assert_eq!(whole.len(), 26, "{whole}");
        let id: RunId = whole.parse().unwrap();
        for typed in [
            &whole,
            &whole[..12],
            &whole.to_lowercase()[..9],
            &whole[20..],
            &short(id),
            &short(id).replace('…', "..."),
            "report",
        ] {
            assert_eq!(found(typed), whole, "{typed}");
        }
        assert!(found(fixtures::STRANGE).ends_with("C5E5"));
    }

    #[test]
    fn what_is_not_found_says_what_is_near() {
        insta::assert_snapshot!(found("reprot"), @"no run and no job `reprot` in the history in DIR: did you mean `report`?");
        insta::assert_snapshot!(found("01KZ"), @"no run and no job `01KZ` in the history in DIR; `quarterjack runs` lists the newest runs, and `quarterjack jobs` the jobs");
        insta::assert_snapshot!(found("01M…5F"), @"no run and no job `01M…5F` in the history in DIR; `quarterjack runs` lists the newest runs, and `quarterjack jobs` the jobs");
        insta::assert_snapshot!(found("01M84"), @"
        `01M84` is the beginning or the end of the ids of 5 runs; give more of the id:
          01M844R1R6R3D9T6B4RX2VC5E7   today 13:05:30   tidy   waiting
          01M844Q4EPR3D9T6B4RX2VC5EH   today 13:05:00   report   ok
          01M844N9VPR3D9T6B4RX2VC5E2   today 13:04:00   backup   running
          01M844DZFPR3D9T6B4RX2VC5E4   today 13:00:00   report   skipped
          01M8444TGPR3D9T6B4RX2VC5E3   today 12:55:00   report   TIMED OUT
        ");
        insta::assert_snapshot!(found("01m"), @"
        `01m` is the beginning or the end of the ids of 8 runs; give more of the id:
          01M844R1R6R3D9T6B4RX2VC5E7   today 13:05:30   tidy   waiting
          01M844Q4EPR3D9T6B4RX2VC5EH   today 13:05:00   report   ok
          01M844N9VPR3D9T6B4RX2VC5E2   today 13:04:00   backup   running
          01M844DZFPR3D9T6B4RX2VC5E4   today 13:00:00   report   skipped
          01M8444TGPR3D9T6B4RX2VC5E3   today 12:55:00   report   TIMED OUT
          01M82QSQW2R3D9T6B4RX2VC5E5   yesterday 23:59:59.500   Grüße 你好 �evil and so…   OUT OF MEMORY
          …
        ");
        insta::assert_snapshot!(found("\u{1b}[2J"), @r"no run and no job `\u{1b}[2J` in the history in DIR; `quarterjack runs` lists the newest runs, and `quarterjack jobs` the jobs");
    }

    #[test]
    fn a_job_that_is_not_known_is_refused() {
        let said = |job: &str| past().knows(&job.into()).map_err(|refusal| refusal.message);
        assert_eq!(said("report"), Ok(()));
        insta::assert_snapshot!(said("repport").unwrap_err(), @"no job `repport` in the history in DIR: did you mean `report`?");
        insta::assert_snapshot!(said("xyzzy").unwrap_err(), @"no job `xyzzy` in the history in DIR; it has Grüße 你好 �evil and so on for a while, backup, new, report, tidy");
    }

    #[test]
    fn since_when_is_read_as_people_write_it() {
        let since = |text: &str| view(100).since(Some(text));
        let at = |text: &str| Some(parse_instant(text).unwrap());
        for (text, expected) in [
            ("1d", "2026-11-22T12:05:30Z"),
            ("90m", "2026-11-23T10:35:30Z"),
            ("-2h", "2026-11-23T10:05:30Z"),
            ("today", "2026-11-22T23:00:00Z"),
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
        ] {
            assert_eq!(since(text).unwrap(), at(expected), "{text}");
        }
        assert_eq!(view(100).since(None).unwrap(), None);
        for text in ["soon", "", "1x", "99999999999999d", "1.5.2"] {
            let refusal = since(text).unwrap_err();
            assert_eq!(refusal.exit, Exit::Usage);
            assert!(
                refusal.message.starts_with("--since: "),
                "{}",
                refusal.message
            );
        }
    }
}
