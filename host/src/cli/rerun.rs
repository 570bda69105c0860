//! `quarterjack rerun`: a past run once more, told what its record says that it was told, and
//! whether it comes to the same.

mod record;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use record::Record;

use super::definitions::LookedUp;
use super::foreground::{in_foreground, lowered, missing_file, print_record};
use super::history::{Data, View};
use super::options::{Cache, Config};
use super::output::{Paint, Screen, Tone, cut, harmless};
use super::run::JobFlags;
use super::{Exit, Refusal, remark};
use crate::app::RunOnce;
use crate::event::EventJson;
use crate::job::{EnvValue, Grants, Job, JobId};
use crate::policy::Policy;
use crate::run::FinishedRun;
use crate::units::format_count;

/// The arguments of `rerun`.
#[derive(Debug, Args)]
#[command(after_help = "\
A deterministic job (`\"deterministic\": true`, or `run --deterministic`) comes to the same outcome,\n\
output, log and fuel, if what it reads from outside is the same. What it does outside, it does again.\n\
Exit code: 0 if the rerun came to the same, 1 if not, 2 for a mistake on the command line.\n\n  \
  quarterjack rerun 01KJMZ7Q\n  \
  quarterjack serve jobs.json --json > events.jsonl\n  \
  quarterjack rerun 01KJMZ7Q --from events.jsonl\n  \
  quarterjack run draw.wasm --deterministic --json | quarterjack rerun --from - --plugin draw.wasm")]
pub(super) struct Rerun {
    /// The beginning or the end of the run's id; from the history also a job: its newest run that
    /// has ended [default: the last run in the file]
    #[arg(value_name = "RUN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: Option<String>,
    /// What `serve --json` or `run --json` printed, instead of the history; `-` for standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
    /// Which defines the job; with --plugin only if given.
    #[command(flatten)]
    definitions: LookedUp,
    /// The .wasm file that ran, for a run of a file or where it is no longer in its place
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,
    /// Run the plugin even if it is not the one that ran
    #[arg(long)]
    any_plugin: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    cache: Cache,
    /// Print the new record as one JSON object, with whether it is the same
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: JobFlags,
}

impl Rerun {
    /// Runs it again.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let (before, place) = self.before(screen)?;
        let identity = before.identity().map_err(|problem| {
            Refusal::failure(format_args!(
                "the record of run `{}` in {place} cannot be used: {problem}",
                harmless(before.run()),
            ))
        })?;
        let policy = self.config.policy(screen)?;
        let (job, plugin) = self.target(&before, &policy, screen)?;
        for caveat in caveats(&before, &job) {
            let warning = screen.err.paint(Tone::Warn, "warning:");
            remark(&format!("{warning} {caveat}"));
        }
        let digest = before.digest.clone().filter(|_| !self.any_plugin);
        let request = RunOnce {
            job: Arc::new(job),
            plugin,
            digest,
            identity: Some(identity),
            policy,
            cache: self.cache.place(),
            echo: None,
        };
        let (run, through) = in_foreground(request, self.json)?;
        let differences = differences(&before, &record_of(&run)?);
        if self.json {
            print_record(&Rerecord {
                record: EventJson::of_run(&run),
                same: differences.is_empty(),
                differs: differences.iter().map(|found| found.key).collect(),
            })?;
        } else {
            through.finish(&run, self.flags.limits(), screen)?;
            remark(&verdict(&run, &differences, screen.err));
        }
        Ok(if differences.is_empty() {
            Exit::Ok
        } else {
            Exit::Failure
        })
    }

    /// The record of the run, from a file or from the history, and where it was.
    fn before(&self, screen: Screen) -> Result<(Record, String), Refusal> {
        if let Some(from) = &self.from {
            let before = record::find(from, self.run.as_deref())?;
            return Ok((before, from.display().to_string()));
        }
        let Some(wanted) = &self.run else {
            return Err(Refusal::usage(
                "name a run of the history (`quarterjack runs` lists them), or a file of records with --from FILE",
            ));
        };
        let past = self.data.open().map_err(|mut refusal| {
            refusal.message.push_str(
                "\n  (if the record is among what `serve --json` or `run --json` printed, name the file with --from FILE)",
            );
            refusal
        })?;
        let before = record::find_past(&past, wanted, &View::of(screen))?;
        Ok((before, past.place))
    }

    /// What to run: as the job file defines it now, or a file by itself; the flags on top.
    fn target(
        &self,
        before: &Record,
        policy: &Arc<Policy>,
        screen: Screen,
    ) -> Result<(Job, PathBuf), Refusal> {
        let id = before.job.as_deref().unwrap_or_default();
        let places = self.definitions.places();
        let defined = match &self.plugin {
            Some(_) if !self.definitions.is_given() => None,
            _ => {
                let found = places.read(policy).find(id, screen).map_err(|mut refusal| {
                    refusal.message.push_str(
                        "\n  (if it was a run of a file by itself, name the file with --plugin FILE.wasm)",
                    );
                    refusal
                })?;
                Some((*found.job).clone())
            }
        };
        let name = self.plugin.as_deref().and_then(Path::file_name);
        let mut job = defined.unwrap_or_else(|| {
            let name = name.map(OsStr::to_string_lossy).unwrap_or_default();
            let name = before.plugin.as_deref().unwrap_or(&name);
            lowered(Job::by_hand(JobId::new(id), name), policy)
        });
        if let Some(params) = &before.params {
            job = job.with_params(params.get());
        }
        // As it was then, whatever the definition says now.
        job.deterministic = before.deterministic;
        let plugin = match &self.plugin {
            Some(plugin) => plugin.clone(),
            None => places.plugins.join(&*job.component),
        };
        if !plugin.exists() {
            return Err(Refusal::failure(missing_file(&plugin)));
        }
        Ok((self.flags.under(job, policy)?, plugin))
    }
}

/// What may make a rerun differ, as far as it can be told in advance.
fn caveats(before: &Record, job: &Job) -> Vec<String> {
    let mut caveats = Vec::new();
    if !job.deterministic {
        caveats.push(format!(
            "the run was not deterministic: its times and random numbers will be others, and so may be its outcome, output, log and fuel (`\"deterministic\": true` in the definition of `{}` makes its runs repeatable)",
            harmless(job.id.as_str())
        ));
    }
    if before.digest.is_none() {
        caveats.push("the record does not say which plugin ran".to_owned());
    }
    if let (Some(then), Some(now)) = (&before.definition, job.origin.definition)
        && *then != now.to_string()
    {
        caveats.push(format!(
            "the definition of `{}` has changed since: it was {}, and is {now}",
            harmless(job.id.as_str()),
            harmless(then)
        ));
    }
    let outside = outside(&job.grants);
    if !outside.is_empty() {
        caveats.push(format!(
            "not part of the record, and as now rather than as then: {}",
            outside.join(", ")
        ));
    }
    caveats
}

/// What grants let a run see that no record holds.
fn outside(grants: &Grants) -> Vec<&'static str> {
    let secret = |(_, value): &(String, EnvValue)| matches!(value, EnvValue::Secret(_));
    [
        (!grants.dirs.is_empty(), "its directories"),
        (
            grants.http.is_some() || grants.sockets.is_some(),
            "the network",
        ),
        (
            !grants.secrets.is_empty() || grants.env.iter().any(secret),
            "its secrets",
        ),
        (grants.state.is_some(), "its state, which starts out empty"),
    ]
    .into_iter()
    .filter_map(|(granted, what)| granted.then_some(what))
    .collect()
}

/// The record of a rerun.
#[derive(Serialize)]
struct Rerecord<'a> {
    #[serde(flatten)]
    record: EventJson<'a>,
    /// Whether it came to the same.
    same: bool,
    /// The keys of what did not.
    differs: Vec<&'static str>,
}

/// The record of a run, as it would be read.
fn record_of(run: &FinishedRun) -> Result<Record, Refusal> {
    let told = serde_json::to_string(&EventJson::of_run(run));
    told.and_then(|told| serde_json::from_str(&told))
        .map_err(|error| Refusal::failure(format_args!("cannot compare the records: {error}")))
}

/// Something in which two runs differ.
#[derive(Debug)]
struct Difference {
    /// Its key in a record.
    key: &'static str,
    before: Option<String>,
    now: Option<String>,
}

/// All in which two runs differ, of what a run comes to.
fn differences(before: &Record, now: &Record) -> Vec<Difference> {
    let count = |count: Option<u64>| count.map(|count| count.to_string());
    let text = |text: &Option<String>| text.clone();
    let compared = [
        ("outcome", text(&before.outcome), text(&now.outcome)),
        ("error", text(&before.error), text(&now.error)),
        (
            "output_type",
            text(&before.output_type),
            text(&now.output_type),
        ),
        ("output", output(before), output(now)),
        (
            "output_dropped_bytes",
            count(before.output_dropped_bytes),
            count(now.output_dropped_bytes),
        ),
        ("log", text(&before.log), text(&now.log)),
        (
            "log_dropped_bytes",
            count(before.log_dropped_bytes),
            count(now.log_dropped_bytes),
        ),
        ("fuel_used", count(before.fuel_used), count(now.fuel_used)),
    ];
    compared
        .into_iter()
        .filter(|(_, before, now)| before != now)
        .map(|(key, before, now)| Difference { key, before, now })
        .collect()
}

/// An output as text: that of a string itself, and JSON without the spaces between its parts, which
/// tools that pick records from a file do not keep.
fn output(record: &Record) -> Option<String> {
    let json = record.output.as_ref()?.get();
    if let (Some("text" | "bytes"), Ok(text)) =
        (record.output_type.as_deref(), serde_json::from_str(json))
    {
        return Some(text);
    }
    let mut compact = String::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for letter in json.chars() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            in_text = letter == '"';
        }
        compact.push(letter);
    }
    Some(compact)
}

/// Whether a rerun came to the same, and if not, what is different.
fn verdict(run: &FinishedRun, differences: &[Difference], paint: Paint) -> String {
    let execution = &run.execution;
    if differences.is_empty() {
        let same = paint.paint(Tone::Good, "the same:");
        let [error, output, log] = [
            (execution.error.is_some(), "error, "),
            (execution.output.is_some(), "output, "),
            (!execution.log.is_empty(), "log, "),
        ]
        .map(|(there, word)| if there { word } else { "" });
        let fuel = format_count(execution.fuel_used);
        return format!("{same} outcome, {error}{output}{log}{fuel} fuel");
    }
    let mut text = paint.paint(Tone::Bad, "NOT the same:").to_string();
    for Difference { key, before, now } in differences {
        let key = key.replace('_', " ");
        text.push_str(&match (before, now) {
            (Some(before), Some(now)) => {
                let (before, now) = apart(before, now);
                format!("\n  {key}: it was {before}, and is {now}")
            }
            (Some(before), None) => {
                format!("\n  {key}: it was {}, and is gone", excerpt(before, 0))
            }
            (None, Some(now)) => {
                format!("\n  {key}: there was none, and it is {}", excerpt(now, 0))
            }
            (None, None) => continue,
        });
    }
    text
}

/// Two texts from shortly before the place where they part.
fn apart(one: &str, other: &str) -> (String, String) {
    const BEFORE: usize = 12;
    let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    let from = common.count().saturating_sub(BEFORE);
    (excerpt(one, from), excerpt(other, from))
}

/// A few letters of a text.
fn excerpt(text: &str, from: usize) -> String {
    const SHOWN: usize = 40;
    let part: String = text.chars().skip(from).take(SHOWN + 1).collect();
    let dots = if from > 0 { "…" } else { "" };
    format!("`{dots}{}`", cut(&harmless(&part), SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(output: &str) -> Record {
        let line = format!(
            r#"{{"outcome":"succeeded","output":{output},"output_type":"json","log":"a\n","fuel_used":7}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    fn keys(before: &Record, now: &Record) -> Vec<&'static str> {
        let found = differences(before, now);
        found.into_iter().map(|found| found.key).collect()
    }

    #[test]
    fn outputs_are_compared_by_what_they_say() {
        let one = record(r#"{ "a": [1.0, "b \" c\\" , 2] }"#);
        assert!(keys(&one, &record(r#"{"a":[1.0,"b \" c\\",2]}"#)).is_empty());
        assert_eq!(
            keys(&one, &record(r#"{"a":[1.0,"b \"c\\",2]}"#)),
            ["output"]
        );
        assert_eq!(
            keys(&one, &record(r#"{"a":[1.00,"b \" c\\",2]}"#)),
            ["output"]
        );
    }

    #[test]
    fn everything_that_a_run_comes_to_is_compared() {
        let mut now = record("1");
        now.outcome = Some("failed".to_owned());
        now.error = Some("exit code 3".to_owned());
        now.log = None;
        now.log_dropped_bytes = Some(5);
        now.fuel_used = Some(8);
        let before = record("2");
        assert_eq!(
            keys(&before, &now),
            [
                "outcome",
                "error",
                "output",
                "log",
                "log_dropped_bytes",
                "fuel_used"
            ]
        );
    }

    #[test]
    fn what_differs_is_shown_where_the_texts_part() {
        let (one, other) = apart(
            "at the tower, at 12:00:01 sharp",
            "at the tower, at 12:00:02 sharp",
        );
        assert_eq!(
            (&*one, &*other),
            ("`…, at 12:00:01 sharp`", "`…, at 12:00:02 sharp`")
        );
        assert_eq!(apart("a", "b"), ("`a`".to_owned(), "`b`".to_owned()));
        let long = "x".repeat(100);
        assert_eq!(excerpt(&long, 0).chars().count(), 42);
    }
}
