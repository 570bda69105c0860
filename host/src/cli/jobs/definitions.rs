//! `quarterjack jobs put`, `get`, `edit` and `rm`: definitions that the running host keeps itself.

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::history::JobHistory;
use crate::cli::client::{Client, NoAnswer};
use crate::cli::history::Data;
use crate::cli::options::draw;
use crate::cli::output::json::json_line;
use crate::cli::output::{Screen, ahead, harmless};
use crate::cli::{Exit, Refusal, remark};
use crate::clock::{Clock as _, SystemClock};
use crate::control::{JobPut, JobRemoved, OwnJob, Put};
use crate::job::manifest::{Options, definitions_of};
use crate::job::{JobId, MAX_SOURCE_BYTES, SourceText};

/// What is done with definitions, and what is known of them.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Change {
    /// Give the running host the definitions of a file to keep
    Put(PutJobs),
    /// Print a definition that the host keeps
    Get(GetJob),
    /// Change a definition that the host keeps in your editor ($VISUAL, $EDITOR)
    Edit(EditJob),
    /// Have the host give definitions up
    Rm(RemoveJobs),
    /// Show what has become of the definition of a job, wherever it stands
    History(JobHistory),
}

impl Change {
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        match self {
            Change::Put(verb) => verb.execute(screen),
            Change::Get(verb) => verb.execute(),
            Change::Edit(verb) => verb.execute(screen),
            Change::Rm(verb) => verb.execute(),
            Change::History(verb) => verb.execute(screen),
        }
    }
}

/// The arguments of `jobs put`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file holds one job, or a list of jobs in brackets, written as in a job file. The host keeps them in its data\n\
directory, beside what its job files define, until `jobs rm`.\n\n  \
  quarterjack jobs put report.json\n  \
  echo '{\"component\": \"hello.wasm\", \"trigger\": \"@hourly\"}' | quarterjack jobs put - --id hello")]
pub(in crate::cli) struct PutJobs {
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The id of the one job, if the file does not say it
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Only if the host has no definition of the job yet
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
}

/// The arguments of `jobs get`.
#[derive(Debug, Args)]
pub(in crate::cli) struct GetJob {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object with the text and its tag
    #[arg(long)]
    json: bool,
}

/// The arguments of `jobs edit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct EditJob {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    data: Data,
}

/// The arguments of `jobs rm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Runs in flight go on. The history of the jobs stays, and so does their state."
)]
pub(in crate::cli) struct RemoveJobs {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
    #[command(flatten)]
    data: Data,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
}

impl PutJobs {
    fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let (name, bytes) = read(&self.file)?;
        let source = SourceText::from_bytes(name.clone(), bytes).map_err(|problem| {
            draw(&[*problem], screen);
            Refusal::said(Exit::Failure)
        })?;
        // What is wrong with them is told at its place in the file, and before any is sent.
        let definitions =
            definitions_of(&Arc::new(source), self.id.as_deref(), &Options::default()).map_err(
                |problems| {
                    draw(&problems, screen);
                    Refusal::said(Exit::Failure)
                },
            )?;
        if definitions.is_empty() {
            remark(&format!("there is no job in {name}"));
        }
        let client = Client::of(&self.data.place()?);
        let condition = self.new.then_some(("if-none-match", "*".to_owned()));
        let mut out = io::stdout().lock();
        let mut exit = Exit::Ok;
        for (id, text) in definitions {
            let put = put(&client, &id, text, condition.clone());
            let put = put.map_err(|why| client.explain(why, INSTEAD))?;
            tell(&put, self.json, &mut out)?;
            if !put.in_service {
                exit = Exit::Failure;
            }
        }
        out.flush()?;
        Ok(exit)
    }
}

/// What else may be done where no host runs.
const INSTEAD: &str = ", or write the definition into a job file";

fn read(file: &Path) -> Result<(String, Vec<u8>), Refusal> {
    let limit = MAX_SOURCE_BYTES as u64 + 1;
    let (name, read) = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
        ("standard input".to_owned(), read.map(|_| bytes))
    } else {
        (file.display().to_string(), std::fs::read(file))
    };
    let bytes =
        read.map_err(|error| Refusal::failure(format_args!("cannot read {name}: {error}")))?;
    Ok((name, bytes))
}

fn put(
    client: &Client,
    id: &JobId,
    text: String,
    condition: Option<(&'static str, String)>,
) -> Result<JobPut, NoAnswer> {
    client.put(&["jobs", id.as_str()], text, condition)
}

/// Says what has become of a definition.
fn tell(put: &JobPut, json: bool, to: &mut dyn Write) -> io::Result<()> {
    if json {
        return json_line(put, to);
    }
    let was = match put.was {
        Put::Created => "added",
        Put::Updated => "updated",
        Put::Unchanged => "unchanged",
    };
    let job = harmless(put.job.as_str());
    let now = SystemClock.now();
    let next = put
        .next_at
        .map(|next| format!("; next {}", ahead(now, next)));
    let waits = put.waits_for.as_deref().map(|why| {
        let first = why.lines().next().unwrap_or_default();
        format!("; not in service yet: {}", harmless(first))
    });
    let rest = waits.or(next).unwrap_or_default();
    writeln!(to, "{job} {was}{rest}")
}

fn get(client: &Client, job: &str) -> Result<OwnJob, Refusal> {
    client
        .get(&["jobs", job])
        .map_err(|why| client.explain(why, ""))
}

impl GetJob {
    fn execute(self) -> Result<Exit, Refusal> {
        let own = get(&Client::of(&self.data.place()?), &self.job)?;
        let mut out = io::stdout().lock();
        if self.json {
            json_line(&own, &mut out)?;
        } else {
            writeln!(out, "{}", own.text.trim_end())?;
        }
        out.flush()?;
        Ok(Exit::Ok)
    }
}

impl RemoveJobs {
    fn execute(self) -> Result<Exit, Refusal> {
        let client = Client::of(&self.data.place()?);
        let mut out = io::stdout().lock();
        for job in &self.jobs {
            let removed: JobRemoved = client
                .delete(&["jobs", job])
                .map_err(|why| client.explain(why, ""))?;
            if self.json {
                json_line(&removed, &mut out)?;
            } else {
                writeln!(out, "{} removed", harmless(removed.job.as_str()))?;
            }
        }
        out.flush()?;
        Ok(Exit::Ok)
    }
}

impl EditJob {
    fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let client = Client::of(&self.data.place()?);
        let own = get(&client, &self.job)?;
        let failed = |error: io::Error| {
            Refusal::failure(format_args!("cannot make a file to edit: {error}"))
        };
        let mut file = tempfile::Builder::new()
            .prefix("quarterjack-")
            .suffix(".jsonc")
            .tempfile()
            .map_err(failed)?;
        writeln!(file, "{}", own.text.trim_end()).map_err(failed)?;
        file.flush().map_err(failed)?;
        loop {
            edit(file.path())?;
            let text = std::fs::read_to_string(file.path()).map_err(failed)?;
            if text.trim_end() == own.text.trim_end() {
                remark(&format!("{} is as it was", harmless(&self.job)));
                return Ok(Exit::Ok);
            }
            match self.send(&client, &own, text, screen) {
                Ok(put) => {
                    let mut out = io::stdout().lock();
                    tell(&put, false, &mut out)?;
                    out.flush()?;
                    return Ok(Exit::Ok);
                }
                Err(refusal) if io::stdin().is_terminal() => {
                    remark(&refusal.message);
                    remark("Press Enter to edit it again, or ^C to give it up");
                    let mut line = String::new();
                    io::stdin().read_line(&mut line)?;
                }
                Err(mut refusal) => {
                    // What was written is not to be lost.
                    if let Ok((_, path)) = file.keep() {
                        let kept = format!("\n  (what you wrote is in {})", path.display());
                        refusal.message.push_str(&kept);
                    }
                    return Err(refusal);
                }
            }
        }
    }

    fn send(
        &self,
        client: &Client,
        own: &OwnJob,
        text: String,
        screen: Screen,
    ) -> Result<JobPut, Refusal> {
        let wrong = |problems: &[crate::job::Diagnostic]| {
            draw(problems, screen);
            Refusal::failure(format_args!(
                "the definition of `{}` is wrong, as shown above",
                self.job
            ))
        };
        let source = SourceText::from_bytes(&*self.job, text.into_bytes())
            .map_err(|problem| wrong(&[*problem]))?;
        let definitions = definitions_of(&Arc::new(source), Some(&self.job), &Options::default())
            .map_err(|problems| wrong(&problems))?;
        let [(id, text)] = <[(JobId, String); 1]>::try_from(definitions)
            .map_err(|_| Refusal::failure("this is not one job: write one, without brackets"))?;
        let condition = Some(("if-match", format!("\"{}\"", own.etag)));
        put(client, &id, text, condition).map_err(|why| client.explain(why, ""))
    }
}

/// Has a person edit a file.
fn edit(file: &Path) -> Result<(), Refusal> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|editor| !editor.is_empty())
        .unwrap_or_else(|| "vi".into());
    // It may have arguments: as everywhere, it is for the shell to read.
    let mut command = editor.clone();
    command.push(" \"$@\"");
    let status = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(&command)
        .arg(&editor)
        .arg(file)
        .status();
    let editor = editor.to_string_lossy();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Refusal::failure(format_args!(
            "the editor `{}` ended with {status}: nothing was changed",
            harmless(&editor)
        ))),
        Err(error) => Err(Refusal::failure(format_args!(
            "cannot start the editor `{}`: {error}; name one with $EDITOR",
            harmless(&editor)
        ))),
    }
}
