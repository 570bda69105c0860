//! The command line: what people type, and the exit code they get.
//!
//! One file a verb; `output` renders. A verb is a function from its parsed arguments and the
//! `Screen` to an [`Exit`] or a `Refusal`; only [`main`] turns those into the
//! end of the process. Verbs that need no WebAssembly (`next`, `explain`, `plan`, `schema`, and those about what is past)
//! start no engine and no async runtime.

mod accept;
mod backfill;
mod backup;
mod cancel;
mod check;
mod client;
mod compile;
mod definitions;
mod explain;
mod foreground;
mod history;
mod hooks;
mod inspect;
mod jobs;
mod logs;
mod next;
mod options;
mod output;
mod pause;
mod plan;
mod rerun;
mod run;
mod runs;
mod schema;
mod serve;
mod show;
mod signals;
mod sources;
mod stats;
mod subject;
mod token;
mod trigger;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand, ValueEnum};

use output::{ColorChoice, Screen};

/// How a process of Quarterjack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what it was asked to, and what it was asked about is well.
    Ok,
    /// 1: something went wrong, or what was asked about is not well: a run that did not
    /// succeed, a definition with a mistake, a file that cannot be read.
    Failure,
    /// 2: the command line itself cannot be understood.
    Usage,
    /// 130: a second interrupt (^C) ended it at once.
    Interrupted,
    /// 143: a second signal, asking it to terminate, ended it at once.
    Terminated,
}

impl Exit {
    /// The code that the caller sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a verb did not do its work: a sentence for the person who typed it, and the exit code.
#[derive(Debug)]
struct Refusal {
    exit: Exit,
    /// Empty where nothing is left to be said.
    message: String,
}

impl Refusal {
    /// What was typed cannot be right, whatever the machine holds.
    fn usage(message: impl fmt::Display) -> Refusal {
        Refusal {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    /// Everything has been said already.
    fn said(exit: Exit) -> Refusal {
        Refusal {
            exit,
            message: String::new(),
        }
    }

    /// What was typed may be right, but it did not work.
    fn failure(message: impl fmt::Display) -> Refusal {
        Refusal {
            exit: Exit::Failure,
            message: message.to_string(),
        }
    }
}

impl From<io::Error> for Refusal {
    /// Writing failed. A reader that has seen enough (`| head`) is no mistake.
    fn from(error: io::Error) -> Refusal {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Refusal::said(Exit::Ok)
        } else {
            Refusal::failure(format_args!("cannot write the output: {error}"))
        }
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "quarterjack",
    version,
    about = "Runs sandboxed WebAssembly jobs on time, inside their limits (try: serve examples/jobs.json)",
    after_help = "What happened: runs, show, logs, jobs, stats, rerun, backup, restore (`quarterjack help VERB`).\n\
        On a running host: trigger, cancel, pause, resume, backfill. Exit codes: 0 ok, 1 failure, 2 usage.",
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// When to colour (also NO_COLOR)
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 900
    )]
    color: ColorChoice,

    /// What to log on stderr: error, warn, info or debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "QUARTERJACK_LOG",
        hide_env = true,
        default_value = "warn",
        hide_possible_values = true,
        display_order = 901
    )]
    log: LogLevel,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the jobs of a job file on time, until you stop it
    Serve(serve::Serve),
    /// Run one job or one .wasm file once, here and now
    Run(Box<run::Run>),
    /// List what has run and what has not, the newest first
    #[command(hide = true)]
    // named below the list, which has to fit a screen, like those that follow
    Runs(runs::Runs),
    /// Show all that is known of one run
    #[command(hide = true)]
    Show(show::Show),
    /// Print what a run logged
    #[command(hide = true)]
    Logs(logs::Logs),
    /// Show how each job stands: when it ran, how that ended, when it is due
    #[command(hide = true)]
    Jobs(jobs::Jobs),
    /// Show what could not be sent to hooks yet, and what was given up
    #[command(hide = true)]
    Hooks(hooks::Hooks),
    /// Show where the running host has its definitions from, and how that stands
    #[command(hide = true)]
    Sources(sources::Sources),
    /// Show how the runs of each job have been: outcomes, times, fuel
    #[command(hide = true)]
    Stats(stats::Stats),
    /// Repeat a past run as its record says it was, and compare
    #[command(hide = true)]
    Rerun(Box<rerun::Rerun>),
    /// Run a job of the running host now
    #[command(hide = true)]
    Trigger(trigger::Trigger),
    /// End a run of the running host
    #[command(hide = true)]
    Cancel(cancel::Cancel),
    /// Hold a job, a group or all jobs back, until they are resumed
    #[command(hide = true)]
    Pause(pause::Pause),
    /// Let go on what is paused
    #[command(hide = true)]
    Resume(pause::Resume),
    /// Run a job for the instants of some time past that have no run
    #[command(hide = true)]
    Backfill(backfill::Backfill),
    /// Make, list and take back tokens for the HTTP API
    #[command(hide = true)]
    Token(token::Token),
    /// Copy the history to a file, while a host runs or not
    #[command(hide = true)]
    Backup(backup::Backup),
    /// Put a backup in the place of the history
    #[command(hide = true)]
    Restore(backup::Restore),
    /// Find every mistake in job files, plugins and grants
    Check(check::Check),
    /// Show when an expression or a job fires next
    Next(next::Next),
    /// Say in plain words when it runs, and what clock changes do to it
    Explain(explain::Explain),
    /// Show all that the jobs will do, before it happens
    Plan(plan::Plan),
    /// Show what a .wasm file is and what it needs
    Inspect(inspect::Inspect),
    /// Accept a replaced plugin that a host with a lock file holds back
    Accept(accept::Accept),
    /// Print the JSON Schema of job files, for editors
    Schema(schema::Schema),
    /// What the host runs to have a plugin compiled apart from itself
    #[command(hide = true)]
    CompilePlugin(compile::CompilePlugin),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Parses the process's arguments, does what they say, and tells the exit code.
pub fn main() -> ExitCode {
    run_with(std::env::args_os().collect()).into()
}

fn run_with(arguments: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return explain(error, Screen::new(color_in(&arguments))),
    };
    let screen = Screen::new(cli.color);
    start_log(cli.log, screen);
    let result = match cli.verb {
        Verb::Serve(verb) => verb.execute(screen),
        Verb::Run(verb) => verb.execute(screen),
        Verb::Runs(verb) => verb.execute(screen),
        Verb::Show(verb) => verb.execute(screen),
        Verb::Logs(verb) => verb.execute(screen),
        Verb::Jobs(verb) => verb.execute(screen),
        Verb::Hooks(verb) => verb.execute(screen),
        Verb::Sources(verb) => verb.execute(screen),
        Verb::Stats(verb) => verb.execute(screen),
        Verb::Rerun(verb) => verb.execute(screen),
        Verb::Trigger(verb) => verb.execute(screen),
        Verb::Cancel(verb) => verb.execute(screen),
        Verb::Pause(verb) => verb.execute(),
        Verb::Resume(verb) => verb.execute(),
        Verb::Backfill(verb) => verb.execute(screen),
        Verb::Token(verb) => verb.execute(screen),
        Verb::Backup(verb) => verb.execute(),
        Verb::Restore(verb) => verb.execute(),
        Verb::Check(verb) => verb.execute(screen),
        Verb::Next(verb) => verb.execute(screen),
        Verb::Explain(verb) => verb.execute(screen),
        Verb::Plan(verb) => verb.execute(screen),
        Verb::Inspect(verb) => verb.execute(screen),
        Verb::Accept(verb) => verb.execute(screen),
        Verb::Schema(verb) => verb.execute(),
        Verb::CompilePlugin(verb) => verb.execute(),
    };
    result.unwrap_or_else(|refusal| {
        if !refusal.message.is_empty() {
            complain(screen, &refusal.message);
        }
        refusal.exit
    })
}

/// Writes an error to standard error. Nothing is left to do if that cannot be written either.
fn complain(screen: Screen, message: &str) {
    let _ = writeln!(io::stderr(), "{} {message}", screen.err.error());
}

/// Writes a remark to standard error.
fn remark(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Sends the host's own diagnostics to standard error.
fn start_log(level: LogLevel, screen: Screen) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // What libraries have to say is set off by guests, who must not write to the operator's
    // screen: it is for whoever looks for a mistake.
    let others = if level >= LevelFilter::DEBUG {
        LevelFilter::WARN
    } else {
        LevelFilter::OFF
    };
    let filter = Targets::new()
        .with_target("quarterjack", level)
        .with_default(others);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(screen.err.on)
        .with_target(false)
        .with_writer(io::stderr);
    // Fails only if there is a subscriber already: an embedder's, which then is the one to use.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// `--color` as it was typed, for messages about a command line that does not parse.
fn color_in(arguments: &[OsString]) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        let value = match argument.strip_prefix("--color") {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('='),
            None if argument == "--" => break,
            None => None,
        };
        if let Some(value) = value.and_then(|value| ColorChoice::from_str(value, false).ok()) {
            choice = value;
        }
    }
    choice
}

/// Answers `--help` and `--version`, and says what is wrong with a command line.
fn explain(mut error: clap::Error, screen: Screen) -> Exit {
    if error.kind() == ErrorKind::DisplayVersion {
        let text = format!(
            "quarterjack {}\ntz database {}\n",
            env!("CARGO_PKG_VERSION"),
            crate::trigger::tz_database()
        );
        let _ = io::stdout().write_all(text.as_bytes());
        return Exit::Ok;
    }
    let tip = meant(&error);
    if tip.is_some() {
        // A word that is known is no slip of the fingers.
        error.remove(ContextKind::SuggestedSubcommand);
    }
    let rendered = error.render();
    let text = |color: bool| {
        if color {
            rendered.ansi().to_string()
        } else {
            rendered.to_string()
        }
    };
    // Nothing is left to do if this cannot be written.
    match error.kind() {
        ErrorKind::DisplayHelp => {
            let _ = io::stdout().write_all(text(screen.out.on).as_bytes());
            Exit::Ok
        }
        _ => {
            let mut text = text(screen.err.on);
            if let Some(tip) = tip {
                // Above the usage, where clap's own tips stand.
                let tip = format!("\n\n  tip: {tip}\n");
                let place = text.find("\n\n").unwrap_or(text.len());
                text.replace_range(place..(place + 1).min(text.len()), &tip);
            }
            let _ = io::stderr().write_all(text.as_bytes());
            Exit::Usage
        }
    }
}

/// What somebody meant who typed a word that is no verb, and no verb mistyped, but another word
/// for one.
fn meant(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    if word.ends_with(".wasm") {
        return Some(format!("to run the file: quarterjack run {word}"));
    }
    if word.ends_with(".json") || word.ends_with(".jsonc") {
        return Some(format!("to run its jobs on time: quarterjack serve {word}"));
    }
    let verb = match word.to_lowercase().as_str() {
        "start" | "up" | "daemon" | "watch" | "server" => "serve",
        "dump" | "export" | "save" => "backup",
        "load" | "recover" => "restore",
        "replay" | "repeat" | "again" | "redo" => "rerun",
        "exec" | "execute" | "once" => "run",
        "fire" | "kick" | "start-job" => "trigger",
        "kill" | "abort" | "terminate" | "end" => "cancel",
        "hold" | "suspend" | "disable" | "freeze" => "pause",
        "unpause" | "continue" | "release" | "enable" | "unfreeze" => "resume",
        "catch-up" | "catchup" | "makeup" => "backfill",
        "validate" | "lint" | "test" | "verify" => "check",
        "when" | "cron" => "next",
        "words" | "translate" | "dst" | "why" => "explain",
        "preview" | "calendar" | "agenda" | "simulate" | "forecast" | "heatmap" => "plan",
        "approve" | "trust" | "lock" => "accept",
        "info" | "describe" | "wit" => "inspect",
        "history" | "list" | "ls" | "ps" | "past" => "runs",
        "status" | "state" | "top" => "jobs",
        "tail" | "output" => "logs",
        "summary" | "statistics" | "report" => "stats",
        "version" => "--version",
        _ => return None,
    };
    Some(format!("you may be looking for: quarterjack {verb}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_screen_and_starts_with_what_a_newcomer_needs() {
        let help = Cli::command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
        let place = |verb: &str| help.find(&format!("\n  {verb} ")).unwrap();
        assert!(place("serve") < place("run"));
        assert!(place("run") < place("check"));
        for later in [
            "next", "explain", "plan", "inspect", "accept", "schema", "help",
        ] {
            assert!(place("check") < place(later), "{help}");
        }
        assert!(
            help.contains("runs, show, logs, jobs, stats, rerun, backup, restore"),
            "{help}"
        );
    }

    fn tip_of(word: &str) -> String {
        let error = Cli::try_parse_from(["quarterjack", word]).unwrap_err();
        let tip = meant(&error).unwrap_or_default();
        format!("{error}{tip}")
    }

    #[test]
    fn a_wrong_verb_suggests_the_right_one() {
        assert!(tip_of("srve").contains("'serve'"));
        assert!(tip_of("chekc").contains("'check'"));
        assert!(tip_of("start").ends_with("quarterjack serve"));
        assert!(tip_of("dst").ends_with("quarterjack explain"));
        assert!(tip_of("history").ends_with("quarterjack runs"));
        assert!(tip_of("sttas").contains("'stats'"), "{}", tip_of("sttas"));
        assert!(tip_of("hello.wasm").ends_with("quarterjack run hello.wasm"));
        assert!(tip_of("jobs.json").ends_with("quarterjack serve jobs.json"));
        let unknown = Cli::try_parse_from(["quarterjack", "xyzzy"]).unwrap_err();
        assert_eq!(meant(&unknown), None);
    }

    #[test]
    fn colour_is_known_even_where_the_rest_is_not() {
        let color = |line: &str| color_in(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(color("q --color=never srve"), ColorChoice::Never);
        assert_eq!(color("q srve --color always"), ColorChoice::Always);
        assert_eq!(color("q run x -- --color always"), ColorChoice::Auto);
        assert_eq!(color("q --color"), ColorChoice::Auto);
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let refusal = Refusal::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(refusal.exit, Exit::Ok);
        assert!(refusal.message.is_empty());
        let refusal = Refusal::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(refusal.exit, Exit::Failure);
        assert!(!refusal.message.is_empty());
    }

    #[test]
    fn exit_codes_are_what_is_documented() {
        let codes = [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::Interrupted,
            Exit::Terminated,
        ]
        .map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 130, 143]);
    }
}
