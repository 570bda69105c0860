//! A whole host under load: how late runs start, with a durable history and without one.
//!
//! ```text
//! cargo bench --bench load                                    # all of it, some minutes
//! cargo bench --bench load -- steady --rate 5000 --seconds 60
//! cargo bench --bench load -- burst --jobs 10000
//! cargo bench --bench load -- idle --jobs 100000
//! ```
//!
//! With `--ephemeral` or `--durable` only that one. `--data DIR` puts the history on another disk.
//! Nothing is asserted of times: they are the machine's. What is asserted is that nothing that
//! was due is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quarterjack::app::{CachePlace, DataPlace, ServeOptions, Stop, serve};
use quarterjack::clock::Timestamp;
use quarterjack::event::{Event, Events, Subscription};
use quarterjack::policy::{Choice, Flags, Policy, PolicyFile};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/typed.wat");

/// What happens at the start of a load does not count: everything is cold.
const WARM_UP: Duration = Duration::from_secs(2);

/// What is asked for on the command line.
struct Asked {
    what: Vec<String>,
    rate: Option<usize>,
    seconds: u64,
    jobs: Option<usize>,
    stores: Vec<Kept>,
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Durable,
    Ephemeral,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Kept::Durable => "durable",
            Kept::Ephemeral => "ephemeral",
        }
    }
}

fn main() {
    let asked = asked();
    let all = asked.what.is_empty();
    let wants = |what: &str| all || asked.what.iter().any(|it| it == what);
    if wants("steady") {
        let rates = asked.rate.map_or(vec![1_000, 5_000], |rate| vec![rate]);
        for rate in rates {
            for kept in &asked.stores {
                steady(&asked, *kept, rate);
            }
        }
    }
    if wants("burst") {
        for kept in &asked.stores {
            burst(&asked, *kept, asked.jobs.unwrap_or(10_000));
        }
    }
    if wants("idle") {
        for kept in &asked.stores {
            idle(&asked, *kept, asked.jobs.unwrap_or(100_000));
        }
    }
}

fn asked() -> Asked {
    let mut asked = Asked {
        what: Vec::new(),
        rate: None,
        seconds: 10,
        jobs: None,
        stores: vec![Kept::Ephemeral, Kept::Durable],
        data: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> usize {
            let number = arguments.next().and_then(|number| number.parse().ok());
            number.unwrap_or_else(|| panic!("{argument} takes a number"))
        };
        match argument.as_str() {
            "--rate" => asked.rate = Some(number()),
            "--seconds" => asked.seconds = number() as u64,
            "--jobs" => asked.jobs = Some(number()),
            "--durable" => asked.stores = vec![Kept::Durable],
            "--ephemeral" => asked.stores = vec![Kept::Ephemeral],
            "--data" => {
                asked.data = Some(arguments.next().expect("--data takes a directory").into())
            }
            "--bench" => {} // cargo's own
            what => asked.what.push(what.to_owned()),
        }
    }
    asked
}

/// A host of its own, with its jobs and its data.
struct Host {
    stop: Stop,
    heard: Subscription,
    served: std::thread::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Host {
    /// Starts one with a job for each trigger, and waits until it fires.
    fn start(
        asked: &Asked,
        kept: Kept,
        triggers: impl Iterator<Item = String>,
    ) -> (Host, Duration) {
        let dir = match &asked.data {
            Some(data) => tempfile::tempdir_in(data).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::write(plugins.join("typed.wasm"), wat::parse_file(GUEST).unwrap()).unwrap();
        let jobs = write_jobs(dir.path(), triggers);
        let options = ServeOptions {
            listen: None,
            jobs: vec![jobs],
            plugins,
            refresh: Duration::from_secs(5),
            allow_mass_removal: false,
            grace: Duration::from_secs(10),
            policy: Policy::default(),
            config: PolicyFile::new(Choice::Nowhere, Flags::default()),
            max_running: 256,
            max_memory: None,
            data: match kept {
                Kept::Durable => DataPlace::At(dir.path().join("data")),
                Kept::Ephemeral => DataPlace::Nowhere,
            },
            cache: CachePlace::Nowhere,
            lock: None,
        };
        let (events, stop) = (Events::new(), Stop::new());
        let mut heard = events.subscribe();
        let started = Instant::now();
        let served = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(serve(options, events, stop)).unwrap();
            }
        });
        loop {
            let stamped = heard.blocking_recv().expect("the host to start");
            if matches!(stamped.event, Event::HostStarted { .. }) {
                break;
            }
        }
        let host = Host {
            stop,
            heard,
            served,
            _dir: dir,
        };
        (host, started.elapsed())
    }

    /// The next event, without what is told of jobs.
    fn next(&mut self) -> (Timestamp, Event) {
        let stamped = self.heard.blocking_recv().expect("the host to go on");
        assert_eq!(
            self.heard.take_lost(),
            0,
            "events came too fast to be heard"
        );
        (stamped.at, stamped.event)
    }

    fn stop(mut self) {
        self.stop.request();
        while self.heard.blocking_recv().is_some() {}
        self.served.join().unwrap();
    }
}

fn write_jobs(dir: &Path, triggers: impl Iterator<Item = String>) -> PathBuf {
    let jobs: Vec<String> = triggers
        .enumerate()
        .map(|(number, trigger)| {
            format!(
                r#"{{"id": "job-{number}", "component": "typed.wasm", "trigger": "{trigger}"}}"#
            )
        })
        .collect();
    let path = dir.join("jobs.json");
    std::fs::write(&path, format!("[{}]", jobs.join(",\n"))).unwrap();
    path
}

/// So many firings a second, spread evenly.
fn steady(asked: &Asked, kept: Kept, rate: usize) {
    // Periods of one to two seconds, a logarithm of two firings a second on average.
    let jobs = (rate as f64 / std::f64::consts::LN_2).round() as usize;
    let triggers = (0..jobs).map(|number| format!("@every {}ms", 1_000 + number * 1_000 / jobs));
    let (mut host, _) = Host::start(asked, kept, triggers);
    let begin = Instant::now();
    let cpu = cpu_time();
    let mut delays = Vec::new();
    let mut skipped = 0;
    while begin.elapsed() < WARM_UP + Duration::from_secs(asked.seconds) {
        match host.next().1 {
            Event::RunStarted { attempt } if begin.elapsed() > WARM_UP => {
                let delay = attempt.started_at - attempt.run.scheduled_at;
                delays.push(delay.num_microseconds().unwrap_or(0));
            }
            Event::RunSkipped { .. } => skipped += 1,
            _ => {}
        }
    }
    let used = (cpu_time() - cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    host.stop();
    delays.sort_unstable();
    let of_hundred = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    println!(
        "steady  {:<9}  {:>6.0} firings/s   start delay p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms   {:.2} cores{}",
        kept.name(),
        delays.len() as f64 / asked.seconds as f64,
        of_hundred(0.5),
        of_hundred(0.99),
        of_hundred(1.0),
        used,
        if skipped > 0 {
            format!("   {skipped} skipped")
        } else {
            String::new()
        },
    );
}

/// All jobs due in the same second.
fn burst(asked: &Asked, kept: Kept, jobs: usize) {
    let (mut host, _) = Host::start(asked, kept, (0..jobs).map(|_| "*/10 * * * * *".to_owned()));
    let mut worst = [0.0_f64; 2];
    // The first time it is cold.
    for round in 0..2 {
        let (mut started, mut finished) = (0, 0);
        let (mut last_start, mut last_end) = (0.0_f64, 0.0_f64);
        while finished < jobs {
            match host.next().1 {
                Event::RunStarted { attempt } => {
                    started += 1;
                    let delay = attempt.started_at - attempt.run.scheduled_at;
                    last_start = last_start.max(delay.as_seconds_f64());
                }
                Event::RunFinished { run } => {
                    finished += 1;
                    let after = run.finished_at - run.attempt.run.scheduled_at;
                    last_end = last_end.max(after.as_seconds_f64());
                }
                Event::RunSkipped { job, reason, .. } => panic!("{} skipped: {reason}", job.id),
                _ => {}
            }
        }
        assert_eq!(started, jobs);
        if round == 1 {
            worst = [last_start, last_end];
        }
    }
    host.stop();
    println!(
        "burst   {:<9}  {jobs} jobs due at once   the last one started after {:.2} s, ended after {:.2} s",
        kept.name(),
        worst[0],
        worst[1],
    );
}

/// Many jobs of which none is due.
fn idle(asked: &Asked, kept: Kept, jobs: usize) {
    let triggers = (0..jobs).map(|number| format!("{} {} 1 1 *", number % 60, number / 60 % 24));
    let (host, start) = Host::start(asked, kept, triggers);
    std::thread::sleep(Duration::from_secs(3));
    let (cpu, begin) = (cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(asked.seconds.min(10)));
    let used = (cpu_time() - cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!(
        "idle    {:<9}  {jobs} jobs   started in {:.1} s, {} MiB, {:.2} % of a core",
        kept.name(),
        start.as_secs_f64(),
        resident_mib(),
        used * 100.0,
    );
    host.stop();
}

/// The CPU time of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // utime and stime, in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024
}
