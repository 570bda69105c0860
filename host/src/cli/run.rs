//! `quarterjack run`: one job, or one `.wasm` file, once, here and now.
//!
//! What the guest prints goes through as it comes, its output to standard output and its log to
//! standard error; a summary follows on standard error. With `--json` standard output holds the
//! run's record and nothing else.

mod flags;
mod grants;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde::Serialize;

pub(super) use flags::JobFlags;

use super::options::{Cache, Config, JobFile, Plugins, block_on, find_job, read_config};
use super::output::Screen;
use super::output::summary::{LimitFlags, closing};
use super::{Exit, Refusal, remark, signals};
use crate::app::{self, RunOnce};
use crate::dispatcher::{Cancel, CancelReason};
use crate::event::EventJson;
use crate::job::{Job, JobId};
use crate::policy::{Flags, Policy};
use crate::run::{FinishedRun, Outcome, Output};
use crate::runtime::guest::Stream;
use crate::suggest::nearest;

/// The arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code: 0 if the run succeeded, 1 if it ended in any other way, 2 for a mistake on the command line.\n\
A file has no grants but those of the flags. Flags override what a job's definition says.\n\n  \
  quarterjack run plugins/hello.wasm --params '{\"name\": \"tower\"}'\n  \
  quarterjack run digest.wasm --dir ./data::/data:ro --timeout 5s -- /data\n  \
  quarterjack run report --jobs jobs.json")]
pub(super) struct Run {
    /// A .wasm file, or a job of the job file
    #[arg(value_name = "JOB|FILE.wasm")]
    target: String,
    #[command(flatten)]
    file: JobFile,
    #[command(flatten)]
    plugins: Plugins,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    cache: Cache,
    /// Print the run's record as one JSON object, and nothing else
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: JobFlags,
}

impl Run {
    /// Runs it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let mut config = self.config.clone().file(Flags::default());
        let policy = Arc::new(read_config(&mut config, screen)?);
        let (job, plugin) = self.target(&policy, screen)?;
        let request = RunOnce {
            job: Arc::new(job),
            plugin,
            digest: None,
            identity: None,
            policy,
            cache: self.cache.place(),
            echo: None,
        };
        let (run, through) = in_foreground(request, self.json)?;
        if self.json {
            print_record(&EventJson::of_run(&run))?;
        } else {
            through.finish(&run, self.flags.limits(), screen)?;
        }
        Ok(match run.execution.outcome {
            Outcome::Succeeded => Exit::Ok,
            _ => Exit::Failure,
        })
    }

    /// What to run: as the job file has it, or a file by itself; the flags on top.
    fn target(&self, policy: &Arc<Policy>, screen: Screen) -> Result<(Job, PathBuf), Refusal> {
        let path = Path::new(&self.target);
        let named_like_a_file = path.extension().is_some_and(|end| end == "wasm");
        if !named_like_a_file && !path.is_file() {
            let job = find_job(&self.target, &self.file.jobs, policy.clone(), screen)?;
            let plugin = self.plugins.plugins.join(&*job.component);
            if !plugin.exists() {
                let id = &self.target;
                return Err(Refusal::failure(format_args!(
                    "the plugin of job `{id}`: {}",
                    missing_file(&plugin)
                )));
            }
            let job = under(self.flags.on_top_of((*job).clone())?, policy)?;
            return Ok((job, plugin));
        }
        if !path.exists() {
            return Err(Refusal::failure(missing_file(path)));
        }
        Ok((
            under(
                self.flags.on_top_of(lowered(job_of_file(path), policy))?,
                policy,
            )?,
            path.to_owned(),
        ))
    }
}

/// The job, unless the flags ask for more than the operator allows.
pub(super) fn under(job: Job, policy: &Policy) -> Result<Job, Refusal> {
    match &*policy.ceiling_for(&job.id).refusals(&job) {
        [] => Ok(job),
        refusals => {
            let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            Err(Refusal::failure(lines.join("\n")))
        }
    }
}

/// A job's default limits, where they are above the ceiling lowered to it.
pub(super) fn lowered(mut job: Job, policy: &Policy) -> Job {
    if let Some(limits) = policy.ceiling_for(&job.id).lowered(&job) {
        job.limits = limits;
    }
    job
}

/// Carries out a run: ^C ends it, and unless all is to be `quiet`, what it prints goes through as
/// it comes.
pub(super) fn in_foreground(
    mut request: RunOnce,
    quiet: bool,
) -> Result<(FinishedRun, Arc<Through>), Refusal> {
    let cancel = Cancel::new();
    signals::listen({
        let cancel = cancel.clone();
        move |count, exit| match count {
            1 => cancel.cancel(CancelReason::Requested),
            _ => std::process::exit(exit.code().into()),
        }
    })?;
    let through = Arc::new(Through::default());
    if !quiet {
        let (through, cancel) = (through.clone(), cancel.clone());
        request.echo = Some(Arc::new(move |stream, bytes: &[u8]| {
            if through.write(stream, bytes).is_err() && stream == Stream::Output {
                // Nobody reads what it writes: the run has no purpose any more.
                cancel.cancel(CancelReason::Requested);
            }
        }));
    }
    let run = block_on(app::run_once(request, cancel))?.map_err(Refusal::failure)?;
    Ok((run, through))
}

/// A job of nothing but a file: default limits, no grants, no schedule.
pub(super) fn job_of_file(path: &Path) -> Job {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map_or_else(String::new, |part| part.to_string_lossy().into_owned())
    };
    Job::by_hand(JobId::new(text(path.file_stem())), text(path.file_name()))
}

/// Says that a file is not there, and which one may be meant.
pub(super) fn missing_file(path: &Path) -> String {
    let shown = path.display();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let beside: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.as_deref().unwrap_or_default();
    if let Some(near) = nearest(name, beside.iter().map(String::as_str)) {
        let near = path.with_file_name(near);
        return format!("no such file: {shown}; did you mean {}?", near.display());
    }
    let plugin = Path::new("plugins").join(name);
    if plugin.is_file() {
        return format!("no such file: {shown}; did you mean {}?", plugin.display());
    }
    if beside.is_empty() {
        return format!(
            "no such file: {shown}; there is no .wasm file in {}",
            parent.display()
        );
    }
    format!("no such file: {shown}")
}

/// Prints a run's record as one line of JSON.
pub(super) fn print_record(record: &impl Serialize) -> Result<(), Refusal> {
    let json = serde_json::to_string(record)
        .map_err(|error| Refusal::failure(format_args!("cannot write the record: {error}")))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()?;
    Ok(())
}

/// What the guest prints, on its way through.
#[derive(Debug, Default)]
pub(super) struct Through {
    /// Whether it has printed any output.
    printed: AtomicBool,
    /// Whether its last piece of output, or of log, left a line open.
    open_output: AtomicBool,
    open_log: AtomicBool,
}

impl Through {
    fn write(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else {
            return Ok(());
        };
        let open = *last != b'\n';
        match stream {
            Stream::Output => {
                self.printed.store(true, Ordering::Relaxed);
                self.open_output.store(open, Ordering::Relaxed);
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Stream::Log => {
                self.open_log.store(open, Ordering::Relaxed);
                io::stderr().lock().write_all(bytes)
            }
        }
    }

    /// Prints an output that was returned rather than printed, and the summary.
    pub(super) fn finish(
        &self,
        run: &FinishedRun,
        flags: LimitFlags,
        screen: Screen,
    ) -> Result<(), Refusal> {
        if self.open_log.load(Ordering::Relaxed) {
            remark("");
        }
        if !self.printed.load(Ordering::Relaxed)
            && let Some(output) = &run.execution.output
        {
            let mut out = io::stdout().lock();
            out.write_all(output.as_bytes())?;
            // Text that was returned is a line; bytes are what they are.
            if !matches!(output, Output::Bytes(_)) && !output.as_bytes().ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            out.flush()?;
        } else if self.open_output.load(Ordering::Relaxed) && io::stdout().is_terminal() {
            // On a terminal the summary would stick to the output. Not on standard output
            // itself, whose bytes are the guest's alone.
            remark("");
        }
        remark(&closing(run, flags, screen.err));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{Access, EnvValue, Grants, Limits};
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn parse(line: &[&str]) -> Result<Run, clap::Error> {
        Line::try_parse_from([&["run"], line].concat()).map(|line| line.run)
    }

    const SCREEN: Screen = Screen {
        out: super::super::output::Paint { on: false },
        err: super::super::output::Paint { on: false },
        width: 100,
    };

    #[test]
    fn flags_make_the_job_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hello.wasm");
        std::fs::write(&file, b"\0asm").unwrap();
        let run = parse(&[
            file.to_str().unwrap(),
            "--params",
            " {\"b\": 1.0, \"a\": 2} ",
            "--timeout=5s",
            "--fuel=10M",
            "--memory=1MiB",
            "--output=1KiB",
            "--env=A=b=c",
            "--env=A=d",
            "--dir=data::/data",
            "--dir=/tmp::/tmp:rw",
            "--",
            "-x",
            "y",
        ])
        .unwrap();
        let (job, plugin) = run.target(&Arc::default(), SCREEN).unwrap();
        assert_eq!(plugin, file);
        assert_eq!(job.id.as_str(), "hello");
        assert_eq!(&*job.component, "hello.wasm");
        assert_eq!(job.params.as_deref(), Some("{\"b\": 1.0, \"a\": 2}"));
        assert_eq!(
            job.limits,
            Limits {
                timeout: Duration::from_secs(5),
                fuel: 10_000_000,
                memory: 1 << 20,
                output: 1 << 10,
                ..Limits::DEFAULT
            }
        );
        assert_eq!(
            job.grants.env,
            [("A".to_owned(), EnvValue::Text("d".to_owned()))]
        );
        assert_eq!(job.grants.dirs.len(), 2);
        assert_eq!(job.grants.dirs[0].access, Access::ReadOnly);
        assert_eq!(job.grants.dirs[1].access, Access::ReadWrite);
        assert_eq!(*job.args, ["-x", "y"]);
        assert_eq!(run.flags.limits(), [true, true, true]);
    }

    #[test]
    fn without_flags_a_file_gets_the_defaults_and_nothing_else() {
        let job = job_of_file(Path::new("plugins/hello.wasm"));
        let job = parse(&["x.wasm"]).unwrap().flags.on_top_of(job).unwrap();
        assert_eq!(job.limits, Limits::DEFAULT);
        assert_eq!(*job.grants, Grants::default());
        assert_eq!(job.params, None);
    }

    #[test]
    fn flags_come_on_top_of_a_jobs_definition() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = dir.path().join("jobs.json");
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        let text = r#"[{"id": "report", "component": "report.wasm", "trigger": "@daily",
            "params": {"a": 1}, "args": ["x"], "limits": {"timeout": "1s", "fuel": "1M"},
            "grants": {"env": {"A": "1", "B": "2"}}}]"#;
        std::fs::write(&jobs, text).unwrap();
        let jobs = jobs.to_str().unwrap();
        let run = parse(&[
            "report",
            "--jobs",
            jobs,
            "--plugins",
            plugins.to_str().unwrap(),
            "--timeout=2s",
            "--env=B=3",
        ])
        .unwrap();
        std::fs::write(plugins.join("reports.wasm"), b"").unwrap();
        let refusal = run.target(&Arc::default(), SCREEN).unwrap_err();
        assert!(refusal.message.starts_with("the plugin of job `report`"));
        assert!(refusal.message.ends_with("/reports.wasm?"), "{refusal:?}");
        std::fs::write(plugins.join("report.wasm"), b"").unwrap();
        let (job, plugin) = run.target(&Arc::default(), SCREEN).unwrap();
        assert_eq!(plugin, plugins.join("report.wasm"));
        assert_eq!(job.limits.timeout, Duration::from_secs(2));
        assert_eq!(job.limits.fuel, 1_000_000);
        assert_eq!(*job.args, ["x"]);
        let env = |name: &str, value: &str| (name.to_owned(), EnvValue::Text(value.to_owned()));
        assert_eq!(job.grants.env, [env("A", "1"), env("B", "3")]);
    }

    #[test]
    fn mistakes_are_usage() {
        let said = |line: &[&str]| parse(line).unwrap_err().to_string();
        assert!(said(&["a.wasm", "--params", "{x"]).contains("not JSON"));
        assert!(said(&["a.wasm", "--timeout", "5"]).contains("5s"));
        assert!(said(&["a.wasm", "--env", "A"]).contains("NAME=VALUE"));
        assert!(said(&["a.wasm", "--dir", "data"]).contains("HOST::GUEST"));
        assert!(said(&["a.wasm", "--dir", "data::/data:rx"]).contains("rw"));
        let run = parse(&["a.wasm", "--dir=a::/d", "--dir=b::/d"]).unwrap();
        let refusal = run
            .flags
            .on_top_of(job_of_file(Path::new("a.wasm")))
            .unwrap_err();
        assert_eq!(refusal.exit, Exit::Usage);
    }

    #[test]
    fn a_missing_file_has_a_near_name() {
        let dir = tempfile::tempdir().unwrap();
        let typed = dir.path().join("helo.wasm");
        assert!(missing_file(&typed).contains("no .wasm file in"));
        std::fs::write(dir.path().join("hello.wasm"), b"").unwrap();
        let said = missing_file(&typed);
        assert!(said.ends_with("/hello.wasm?"), "{said}");
        let run = parse(&[typed.to_str().unwrap()]).unwrap();
        assert_eq!(
            run.target(&Arc::default(), SCREEN).unwrap_err().exit,
            Exit::Failure
        );
    }
}
