//! `quarterjack cancel`: the end of a run of the running host.

use std::io::{self, Write as _};

use clap::Args;

use super::client::{Client, NoAnswer};
use super::history::{Data, Past, View};
use super::output::json::json_line;
use super::output::{Screen, harmless, outcome_word, status_word};
use super::{Exit, Refusal};
use crate::control::{Cancelled, Was};
use crate::job::JobId;
use crate::record::{Detail, Kind, RunQuery, RunRecord};
use crate::run::Outcome;

/// The arguments of `cancel`.
#[derive(Debug, Args)]
#[command(after_help = "  \
quarterjack cancel C5EH\n  \
quarterjack cancel report\n\
A run that runs is asked to end: it has a moment to put things in order, and is then stopped. One\n\
that waits does not start. The exit code is 1 if it had ended already.")]
pub(super) struct Cancel {
    /// The beginning or the end of a run's id, or a job that has one run that has not ended
    #[arg(value_name = "RUN|JOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: String,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object that says what has become of it
    #[arg(long)]
    json: bool,
}

impl Cancel {
    /// Ends it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let past = self.data.open()?;
        let record = find(&self.run, &past, &View::of(screen))?;
        let client = Client::of(&self.data.place()?);
        let id = record.id.to_string();
        let asked = client.post(&["runs", &id, "cancel"], &serde_json::Map::new());
        let told = match asked {
            Ok(told) => told,
            Err(NoAnswer::NoHost) if record.status.is_final() => Cancelled {
                run: record.id,
                job: record.job.clone(),
                was: Was::Ended,
                outcome: Some(Kind::of(&record.status).as_str().to_owned()),
            },
            Err(why) => {
                return Err(client.explain(why, ", which then decides what becomes of the run"));
            }
        };
        let mut out = io::stdout().lock();
        if self.json {
            json_line(&told, &mut out)?;
        } else {
            writeln!(out, "{}", words(&told))?;
        }
        out.flush()?;
        Ok(match told.was {
            Was::Running | Was::Waiting => Exit::Ok,
            Was::Ended => Exit::Failure,
        })
    }
}

/// The run that is meant.
fn find(typed: &str, past: &Past, view: &View) -> Result<RunRecord, Refusal> {
    let open = [Kind::Running, Kind::Recorded];
    let of_job = RunQuery::newest(20).of(&JobId::new(typed)).only(open);
    let of_job = past.history.runs(of_job).map_err(Refusal::failure)?;
    if of_job.len() < 2 {
        let kinds = of_job.first().map(|_| &open[..]);
        return past.find(typed, view, kinds, Detail::Outline);
    }
    let mut message = format!(
        "job `{}` has several runs that have not ended; name one of them:",
        harmless(typed)
    );
    for record in of_job {
        message.push_str(&format!(
            "\n  {}   {}   {}",
            record.id,
            view.shown(&record),
            status_word(&record.status).0
        ));
    }
    Err(Refusal::failure(message))
}

fn words(told: &Cancelled) -> String {
    let (run, job) = (told.run, harmless(told.job.as_str()));
    match (told.was, told.outcome.as_deref()) {
        (Was::Running, _) => format!("run {run} of {job} was running, and is asked to end"),
        (Was::Waiting, _) => format!("run {run} of {job} was waiting, and does not start"),
        (Was::Ended, Some(outcome)) => {
            let known = Outcome::from_name(outcome).map(|it| outcome_word(it).0.to_owned());
            let word = known.unwrap_or_else(|| harmless(outcome));
            format!("run {run} of {job} has ended already: {word}")
        }
        (Was::Ended, None) => format!("run {run} of {job} is not this host's: it is not running"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::fixtures::{past, view};
    use super::*;

    #[test]
    fn a_job_stands_for_its_run_that_has_not_ended() {
        let found = |typed: &str| match find(typed, &past(), &view(100)) {
            Ok(record) => record.id.to_string(),
            Err(refusal) => refusal.message,
        };
        assert!(found("backup").ends_with("C5E2"));
        assert!(found("C5E3").ends_with("C5E3"));
        // Of those that have, the newest: it can be said how it ended.
        assert!(found("report").ends_with("C5EH"));
        assert!(found("reprot").contains("did you mean `report`?"));
        let mut several = past();
        let mut records = several.history.runs(RunQuery::newest(99)).unwrap();
        records.iter_mut().for_each(|record| {
            if record.job.as_str() == "tidy" {
                record.job = "backup".into();
            }
        });
        several.history = Box::new(crate::app::history::tests::MemoryHistory::of(records));
        let Err(refusal) = find("backup", &several, &view(100)) else {
            panic!("two are meant");
        };
        insta::assert_snapshot!(refusal.message, @"
        job `backup` has several runs that have not ended; name one of them:
          01M844R1R6R3D9T6B4RX2VC5E7   today 13:05:30   waiting
          01M844N9VPR3D9T6B4RX2VC5E2   today 13:04:00   running
        ");
    }

    #[test]
    fn what_became_of_it_is_a_sentence() {
        let told = |was, outcome: Option<&str>| {
            words(&Cancelled {
                run: "01M844Q4EPR3D9T6B4RX2VC5EH".parse().unwrap(),
                job: "report".into(),
                was,
                outcome: outcome.map(str::to_owned),
            })
        };
        let all = [
            told(Was::Running, None),
            told(Was::Waiting, None),
            told(Was::Ended, Some("timed_out")),
            told(Was::Ended, None),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        run 01M844Q4EPR3D9T6B4RX2VC5EH of report was running, and is asked to end
        run 01M844Q4EPR3D9T6B4RX2VC5EH of report was waiting, and does not start
        run 01M844Q4EPR3D9T6B4RX2VC5EH of report has ended already: TIMED OUT
        run 01M844Q4EPR3D9T6B4RX2VC5EH of report is not this host's: it is not running
        ");
    }
}
