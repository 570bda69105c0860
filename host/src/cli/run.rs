//! `quarterjack run`: one job, or one `.wasm` file, once, here and now.
//!
//! What the guest prints goes through as it comes, its output to standard output and its log to
//! standard error; a summary follows on standard error. With `--json` standard output holds the
//! run's record and nothing else.

mod flags;
mod grants;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

pub(super) use flags::JobFlags;

use super::definitions::LookedUp;
use super::foreground::{in_foreground, lowered, missing_file, print_record};
use super::options::{Cache, Config};
use super::output::Screen;
use super::{Exit, Refusal};
use crate::app::RunOnce;
use crate::event::EventJson;
use crate::job::{Job, JobId};
use crate::policy::Policy;
use crate::run::Outcome;

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
    definitions: LookedUp,
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
        let policy = self.config.policy(screen)?;
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
            let places = self.definitions.places();
            let job = places.read(policy).find(&self.target, screen)?.job;
            let plugin = places.plugins.join(&*job.component);
            if !plugin.exists() {
                let id = &self.target;
                return Err(Refusal::failure(format_args!(
                    "the plugin of job `{id}`: {}",
                    missing_file(&plugin)
                )));
            }
            return Ok((self.flags.under((*job).clone(), policy)?, plugin));
        }
        if !path.exists() {
            return Err(Refusal::failure(missing_file(path)));
        }
        let job = lowered(job_of_file(path), policy);
        Ok((self.flags.under(job, policy)?, path.to_owned()))
    }
}

/// A job of nothing but a file: default limits, no grants, no schedule.
fn job_of_file(path: &Path) -> Job {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map_or_else(String::new, |part| part.to_string_lossy().into_owned())
    };
    Job::by_hand(JobId::new(text(path.file_stem())), text(path.file_name()))
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
