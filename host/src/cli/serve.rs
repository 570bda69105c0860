//! `quarterjack serve`: the jobs of job files, on time, until somebody stops it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;

use super::definitions::{JobFiles, Places};
use super::options::{
    Cache, Ceiling, Config, Data, block_on, duration, duration_or_zero, read_config, total_memory,
};
use super::output::human::{Human, HumanOptions};
use super::output::json::JsonLines;
use super::output::live::draw_all;
use super::output::printer::{Renderer, print_all};
use super::output::{Screen, Terminal, Viewer};
use super::{Exit, Refusal, remark, signals};
use crate::app::{self, LockOptions, ServeOptions, Stop};
use crate::event::Events;
use crate::trigger::tz_database;

/// The arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Job files, plugins and the configuration may change at any time; the host follows within\n\
moments.\n\
The first ^C (or SIGTERM) stops it gracefully, with exit code 0; the second at once, with 130 (143).")]
pub(super) struct Serve {
    #[command(flatten)]
    files: JobFiles,
    /// How often job files and plugins are re-read even if nothing tells of a change
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    refresh: Duration,
    /// Remove jobs as soon as they are not defined any more, even most of them at once
    #[arg(long)]
    allow_mass_removal: bool,
    /// How long runs in flight may go on when the host stops
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration_or_zero)]
    grace: Duration,
    /// How many runs may be in flight at once; more wait
    #[arg(long, value_name = "N", default_value = "256")]
    max_running: NonZeroUsize,
    /// How much memory all runs in flight may have together; three quarters of the machine's if
    /// not given
    #[arg(long, value_name = "SIZE", value_parser = total_memory)]
    total_memory: Option<u64>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    cache: Cache,
    /// Hold plugins to what this file says was accepted; made if it is not there
    #[arg(
        long,
        value_name = "FILE",
        env = "QUARTERJACK_LOCK",
        hide_env_values = true
    )]
    lock: Option<PathBuf>,
    /// Take no plugin that is not in the lock file as it is
    #[arg(long, requires = "lock")]
    locked: bool,
    /// Answer requests over HTTP, too, at an address such as 127.0.0.1:7171 [default: none]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "QUARTERJACK_LISTEN",
        hide_env_values = true,
        value_parser = address
    )]
    listen: Option<SocketAddr>,
    /// Print one JSON object a line for each event, and nothing else
    #[arg(long)]
    json: bool,
    /// Show what is due, what runs and what happened on a screen of its own
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print a line when a run starts, too
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    ceiling: Ceiling,
}

impl Serve {
    /// Serves until it is stopped.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let mut config = self.config.clone().file(self.ceiling.flags());
        let policy = read_config(&mut config, screen)?;
        let stop = Stop::new();
        let at_once = listen(&stop)?;
        let events = Events::new();
        let printer = self.start_printer(screen, &events, &stop)?;
        let Places { jobs, plugins } = self.files.places();
        let options = ServeOptions {
            jobs,
            plugins,
            refresh: self.refresh,
            allow_mass_removal: self.allow_mass_removal,
            grace: self.grace,
            max_memory: self.total_memory.or(policy.host.max_memory),
            policy,
            config,
            max_running: self.max_running.get(),
            data: self.data.place(),
            cache: self.cache.place(),
            lock: self.lock.map(|path| LockOptions {
                path,
                strict: self.locked,
            }),
            listen: self.listen,
        };
        let served = block_on(app::serve(options, events.clone(), stop));
        // Whatever has been told is printed before anything is said about the end.
        events.close();
        let printed = printer.join();
        served?.map_err(Refusal::failure)?;
        match printed {
            Ok(result) => result?,
            Err(_) => return Err(Refusal::failure("the printing of events failed (a bug)")),
        }
        Ok(at_once.lock().unwrap_or(Exit::Ok))
    }

    fn start_printer(
        &self,
        screen: Screen,
        events: &Events,
        stop: &Stop,
    ) -> Result<std::thread::JoinHandle<io::Result<()>>, Refusal> {
        let options = HumanOptions {
            paint: screen.out,
            width: screen.width,
            viewer: Viewer::here(),
            verbose: self.verbose,
            tz_database: tz_database().to_string(),
            opening: !self.watch,
        };
        let terminal = match self.watch {
            true => Some(Terminal::here().ok_or_else(|| {
                Refusal::usage("--watch draws on a terminal, and standard output is none")
            })?),
            false => None,
        };
        let json = self.json;
        let subscription = events.subscribe();
        let stop = stop.clone();
        std::thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || {
                let print = |mut renderer: Box<dyn Renderer>, subscription| {
                    print_all(subscription, &mut *renderer, io::stdout(), |lost| {
                        remark(&format!(
                            "{lost} events were not printed: they came faster than they could be written"
                        ));
                    })
                };
                let printed = match terminal {
                    Some(terminal) => draw_all(subscription, options, &terminal, io::stdout()),
                    None if json => print(Box::new(JsonLines), subscription),
                    None => print(Box::new(Human::new(options)), subscription),
                };
                if printed.is_err() {
                    // Nobody sees what the host does any more (`| head`): it ends in order.
                    stop.request();
                }
                printed
            })
            .map_err(|error| Refusal::failure(format_args!("cannot start: {error}")))
    }
}

/// Reads an address with its port. Names are not looked up: what a name stands for may change.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:7171, [::1]:7171 or 0.0.0.0:7171".to_owned()
    })
}

/// Stops the host on signals; the result is the exit code once it is to end at once.
fn listen(stop: &Stop) -> Result<Arc<Mutex<Option<Exit>>>, Refusal> {
    let at_once = Arc::new(Mutex::new(None));
    let stop = stop.clone();
    let code = at_once.clone();
    signals::listen(move |count, exit| match count {
        1 => stop.request(),
        2 => {
            *code.lock() = Some(exit);
            stop.force();
        }
        // Somebody insists: nothing is waited for, not even what is left to print.
        _ => std::process::exit(exit.code().into()),
    })?;
    Ok(at_once)
}
