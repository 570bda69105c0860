//! What a firing costs, as ratios within one run: `cargo bench --bench firing`.
//!
//! Each comparison takes turns (A B A B …), and the ratio is the median of the turns' ratios,
//! so that a machine that changes its speed changes both alike. Absolute figures are printed
//! for orientation only. A word after `--` measures what has it in its name: `-- grants`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quarterjack::clock::{Clock, SystemClock};
use quarterjack::dispatcher::{Dispatcher, Ends, Parts};
use quarterjack::event::{Event, Events};
use quarterjack::firing::{fire, fire_due};
use quarterjack::job::manifest::Options;
use quarterjack::job::{Job, JobId, Manifest, SourceText};
use quarterjack::run::{Cause, Firing, Outcome};
use quarterjack::runtime::directory::Plugins;
use quarterjack::runtime::engine::{Capacity, Engine};
use quarterjack::runtime::plugin::Loader;
use quarterjack::runtime::{Runtime, Sandbox};
use quarterjack::scheduler::{Due, Scheduler};
use quarterjack::store::MemoryStore;
use tokio::runtime::Handle;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Counts the bytes that are allocated, to tell what a job costs.
struct Counting;
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)]
// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl std::alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        unsafe { std::alloc::System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: std::alloc::Layout) {
        ALLOCATED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        unsafe { std::alloc::System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let single = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = plugins_dir();
    println!(
        "{:<58} {:>10} {:>10} {:>8} {:>8}",
        "", "ours", "other", "ratio", "aim"
    );
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |name: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| name.contains(wanted.as_str()))
    };
    single.block_on(async {
        let host = Host::new(dir.path(), Handle::current());
        if is_wanted("typed") {
            typed_against_bare(&host).await;
        }
        if is_wanted("command") {
            command_against_bare(&host).await;
        }
        if is_wanted("grants") {
            grants_against_bare(&host).await;
        }
        if is_wanted("process") {
            against_a_process(&host).await;
        }
    });
    type Measure = fn(&std::path::Path);
    let others: [(&str, Measure); 5] = [
        ("due", due_in_the_same_second),
        ("spinning", end_of_a_spinning_guest),
        ("waiting", runs_that_wait),
        ("quick", a_quick_one_among_spinners),
        ("loading", |_| loading_many_jobs()),
    ];
    for (name, measure) in others {
        if is_wanted(name) {
            measure(dir.path());
        }
    }
}

/// Prints a comparison; `aim` is the highest ratio that the design allows.
fn report(what: &str, ours: Duration, other: Duration, ratio: f64, aim: f64) {
    println!(
        "{what:<58} {:>7.2} us {:>7.2} us {ratio:>7.2}x {:>7}{}",
        ours.as_secs_f64() * 1e6,
        other.as_secs_f64() * 1e6,
        format!("{aim}x"),
        if ratio > aim { "  OVER" } else { "" },
    );
}

/// Prints a figure; `aim` is the highest that the design allows.
fn figure(what: &str, value: f64, unit: &str, aim: f64) {
    println!(
        "{what:<58} {value:>10.1} {unit:<9} {:>18} {}",
        format!("at most {aim}"),
        if value > aim { "OVER" } else { "" }
    );
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// A directory with the guests: a typed one that returns at once, and the example command.
fn plugins_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["typed", "command", "spin", "granted", "command-sleeps"] {
        let wasm = wat::parse_file(format!("{ROOT}/tests/guests/{name}.wat")).unwrap();
        std::fs::write(dir.path().join(format!("{name}.wasm")), wasm).unwrap();
    }
    let command = "clock.wasm";
    std::fs::copy(
        format!("{ROOT}/plugins/{command}"),
        dir.path().join(command),
    )
    .unwrap();
    dir
}

struct Host {
    engine: Engine,
    dispatcher: Dispatcher<Runtime>,
    events: Events,
}

impl Host {
    fn new(dir: &std::path::Path, guests: Handle) -> Host {
        Host::with(dir, guests, 256)
    }

    fn with(dir: &std::path::Path, guests: Handle, running: usize) -> Host {
        let engine = Engine::new(Capacity {
            running,
            largest_memory: 4 << 30,
            memory: u64::MAX,
        })
        .unwrap();
        let plugins = Plugins::open(dir, Loader::new(engine.clone(), None)).unwrap();
        for name in plugins.scan_all().unwrap() {
            plugins.load(&name);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let events = Events::new();
        let runtime = Runtime::new(
            Sandbox::new(engine.clone(), clock.clone(), 2),
            Arc::new(plugins),
        );
        let dispatcher = Dispatcher::new(
            runtime,
            Parts {
                store: Arc::new(MemoryStore::default()),
                clock,
                events: events.clone(),
                ends: Ends::default(),
                runtime: guests,
                max_running: running,
            },
        );
        Host {
            engine,
            dispatcher,
            events,
        }
    }

    /// Fires a job so many times at once, through the dispatcher and the sandbox, and waits
    /// until all have their records. The time of one.
    async fn fire(&self, job: &Arc<Job>, times: u32) -> Duration {
        self.fire_all(&vec![job.clone(); times as usize]).await
    }

    /// Fires jobs at once, and waits until all have their records. The time of one.
    async fn fire_all(&self, jobs: &[Arc<Job>]) -> Duration {
        let now = SystemClock.now();
        let due: Vec<Due> = jobs
            .iter()
            .map(|job| {
                Due::Fire(Firing {
                    job: job.clone(),
                    cause: Cause::Manual,
                    scheduled_at: now,
                })
            })
            .collect();
        let started = Instant::now();
        fire(due, &self.dispatcher, now).await;
        while self.dispatcher.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        let elapsed = started.elapsed();
        let totals = self.dispatcher.store().totals().await.unwrap();
        assert_eq!(totals.finished(), totals.ended(Outcome::Succeeded));
        elapsed / u32::try_from(jobs.len()).unwrap()
    }
}

fn job(id: &str, rest: &str) -> Arc<Job> {
    let text =
        format!(r#"[{{"id": "{id}", "trigger": "@manually", "max_instances": 1000000, {rest}}}]"#);
    let source = Arc::new(SourceText::new("bench.json", text));
    let manifest = Manifest::parse(source, &Options::default()).unwrap();
    manifest.jobs().next().unwrap().clone()
}

const TURNS: usize = 21;

/// The typed guest, which returns a few words.
const TYPED: &str = r#""component": "typed.wasm", "params": "text""#;

async fn typed_against_bare(host: &Host) {
    let job = job("typed", TYPED);
    let wasm = wat::parse_file(format!("{ROOT}/tests/guests/typed.wat")).unwrap();
    let bare = BareTyped::new(&host.engine, &wasm);
    let what = "typed component: firing / bare wasmtime loop";
    take_turns(
        what,
        2.0,
        async || host.fire(&job, 2_000).await,
        async || bare.run(2_000).await,
    )
    .await;
}

async fn command_against_bare(host: &Host) {
    let grants =
        format!(r#""grants": {{"env": {{"A": "b"}}, "dirs": ["{ROOT}/examples::/data:ro"]}}"#);
    // One that only prints a line, and the example in Rust, which reads its parameters.
    for (name, file) in [
        ("command", "tests/guests/command.wat"),
        ("clock", "plugins/clock.wasm"),
    ] {
        let job = job(name, &format!(r#""component": "{name}.wasm", {grants}"#));
        let wasm = wat::parse_file(format!("{ROOT}/{file}")).unwrap();
        let bare = BareCommand::new(&host.engine, &wasm);
        take_turns(
            &format!("WASI command ({name}): firing / bare wasmtime loop"),
            1.3,
            async || host.fire(&job, 500).await,
            async || bare.run(500).await,
        )
        .await;
    }
}

/// A command that uses what it is granted, a variable, a directory, its state and its log, against
/// one without state and log, which are this host's own.
async fn grants_against_bare(host: &Host) {
    let rest = format!(
        r#""component": "granted.wasm", "grants": {{"env": {{"A": "b"}}, "dirs": ["{ROOT}/examples::/data:ro"], "state": true}}"#
    );
    // A job for each run: two that change the same state at once are in each other's way.
    let jobs: Vec<Arc<Job>> = (0..500)
        .map(|number| job(&format!("grants-{number}"), &rest))
        .collect();
    let wasm = wat::parse_file(format!("{ROOT}/tests/guests/asking.wat")).unwrap();
    let bare = BareCommand::new(&host.engine, &wasm);
    take_turns(
        "command: env, directory, state, log / bare: env, directory",
        2.0,
        async || host.fire_all(&jobs).await,
        async || bare.run(500).await,
    )
    .await;
}

/// What a run costs that waits in the host. The guest has no linear memory of its own.
fn runs_that_wait(dir: &std::path::Path) {
    const RUNS: u32 = 1_000;
    let guests = guests();
    guests.block_on(async {
        let host = Host::with(dir, guests.handle().clone(), RUNS as usize);
        let job = job(
            "sleeps",
            r#""component": "command-sleeps.wasm", "limits": {"timeout": "1h"}"#,
        );
        let before = resident_kib();
        let now = SystemClock.now();
        let due = |_| {
            Due::Fire(Firing {
                job: job.clone(),
                cause: Cause::Manual,
                scheduled_at: now,
            })
        };
        fire((0..RUNS).map(due).collect(), &host.dispatcher, now).await;
        while host.dispatcher.store().totals().await.unwrap().started < u64::from(RUNS) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The last to start have come to where they wait.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let each = (resident_kib() - before) / u64::from(RUNS);
        figure(
            "memory of a run that waits, beyond its own",
            each as f64,
            "KiB",
            64.0,
        );
        host.dispatcher.drain(Duration::ZERO).await;
    });
}

/// How long a quick run takes from being due to its record, with two hundred guests spinning.
fn a_quick_one_among_spinners(dir: &std::path::Path) {
    let guests = guests();
    guests.block_on(async {
        let host = Host::with(dir, guests.handle().clone(), 256);
        let spin = job(
            "spin",
            r#""component": "spin.wasm", "limits": {"timeout": "1h", "fuel": "unlimited"}"#,
        );
        let typed = job("typed", TYPED);
        let now = SystemClock.now();
        let due = |job: &Arc<Job>| {
            Due::Fire(Firing {
                job: job.clone(),
                cause: Cause::Manual,
                scheduled_at: SystemClock.now(),
            })
        };
        fire(
            (0..200).map(|_| due(&spin)).collect(),
            &host.dispatcher,
            now,
        )
        .await;
        // All have begun and had their first milliseconds.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut times = Vec::new();
        for _ in 0..50 {
            let started = Instant::now();
            fire(vec![due(&typed)], &host.dispatcher, SystemClock.now()).await;
            while host.dispatcher.in_flight() > 200 || host.dispatcher.queued() > 0 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let longest = times.iter().copied().fold(0.0, f64::max);
        figure(
            "a quick run among 200 spinners, median",
            median(times),
            "ms",
            20.0,
        );
        figure("  the longest of 50", longest, "ms", 100.0);
        host.dispatcher.drain(Duration::ZERO).await;
    });
}

fn guests() -> tokio::runtime::Runtime {
    quarterjack::app::guest_threads().build().unwrap()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

async fn against_a_process(host: &Host) {
    let job = job("typed", TYPED);
    let spawn = async || {
        let started = Instant::now();
        for _ in 0..20 {
            // Output captured: the standard library takes posix_spawn for this.
            let output = Command::new("/bin/true")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(output.status.success());
        }
        started.elapsed() / 20
    };
    let what = "typed component: firing / posix_spawn of /bin/true";
    take_turns(what, 0.04, async || host.fire(&job, 1_000).await, spawn).await;
}

/// Measures two things in turn, once each to warm up, and reports the ratio.
async fn take_turns(
    what: &str,
    aim: f64,
    ours: impl AsyncFn() -> Duration,
    other: impl AsyncFn() -> Duration,
) {
    ours().await;
    other().await;
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        a.push(ours().await);
        b.push(other().await);
        ratios.push(a[a.len() - 1].as_secs_f64() / b[b.len() - 1].as_secs_f64());
    }
    report(what, median(a), median(b), median(ratios), aim);
}

/// The bare loop that ours is measured against: the same engine, store, fuel and epochs, and
/// nothing else.
struct BareTyped {
    engine: wasmtime::Engine,
    pre: quarterjack::runtime::bindings::JobPre<()>,
}

impl BareTyped {
    fn new(engine: &Engine, wasm: &[u8]) -> Self {
        let engine = engine.wasmtime().clone();
        let component = Component::from_binary(&engine, wasm).unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
        BareTyped {
            engine,
            pre: quarterjack::runtime::bindings::JobPre::new(pre).unwrap(),
        }
    }

    async fn run(&self, times: u32) -> Duration {
        use quarterjack::runtime::bindings::quarterjack::job::types;
        let started = Instant::now();
        for _ in 0..times {
            let mut store = Store::new(&self.engine, ());
            store.set_fuel(1_000_000_000).unwrap();
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
            store.set_epoch_deadline(1);
            let instant = types::Instant {
                seconds: 0,
                nanoseconds: 0,
            };
            let context = types::RunContext {
                job_id: "typed".into(),
                run_id: "01M822SEFC5JGED48CHSWVEQK2".into(),
                attempt: 1,
                max_attempts: 1,
                cause: types::Cause::Manual,
                scheduled_at: instant,
                started_at: instant,
                deadline: instant,
                last_success: None,
                params: "\"text\"".into(),
            };
            let instance = self.pre.instantiate_async(&mut store).await.unwrap();
            let output = instance.call_run(&mut store, &context).await.unwrap();
            assert!(matches!(output, Ok(Some(types::Output::Text(_)))));
        }
        started.elapsed() / times
    }
}

struct BareState {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for BareState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

struct BareCommand {
    engine: wasmtime::Engine,
    pre: CommandPre<BareState>,
}

impl BareCommand {
    fn new(engine: &Engine, wasm: &[u8]) -> Self {
        let engine = engine.wasmtime().clone();
        let component = Component::from_binary(&engine, wasm).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        BareCommand {
            engine,
            pre: CommandPre::new(pre).unwrap(),
        }
    }

    async fn run(&self, times: u32) -> Duration {
        let started = Instant::now();
        for _ in 0..times {
            let output = MemoryOutputPipe::new(1 << 20);
            let mut wasi = WasiCtx::builder();
            wasi.stdin(MemoryInputPipe::new("null"))
                .stdout(output.clone())
                .stderr(MemoryOutputPipe::new(1 << 20))
                .arg("clock.wasm")
                .env("A", "b");
            for (name, value) in [
                ("QUARTERJACK_JOB_ID", "clock"),
                ("QUARTERJACK_RUN_ID", "01M822SEFC5JGED48CHSWVEQK2"),
                ("QUARTERJACK_ATTEMPT", "1"),
                ("QUARTERJACK_MAX_ATTEMPTS", "1"),
                ("QUARTERJACK_CAUSE", "manual"),
                ("QUARTERJACK_SCHEDULED_AT", "2026-11-22T16:52:51Z"),
                ("QUARTERJACK_STARTED_AT", "2026-11-22T16:52:51.001409Z"),
                ("QUARTERJACK_DEADLINE", "2026-11-22T16:53:51.001409Z"),
            ] {
                wasi.env(name, value);
            }
            wasi.preopened_dir(format!("{ROOT}/examples"), "/data", FsPerms::ReadOnly)
                .unwrap();
            let state = BareState {
                wasi: wasi.build(),
                table: ResourceTable::new(),
            };
            let mut store = Store::new(&self.engine, state);
            store.set_fuel(1_000_000_000).unwrap();
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
            store.set_epoch_deadline(1);
            let instance = self.pre.instantiate_async(&mut store).await.unwrap();
            let run = instance.wasi_cli_run();
            run.call_run(&mut store).await.unwrap().unwrap();
            drop(store);
            assert!(!output.contents().is_empty());
        }
        started.elapsed() / times
    }
}

fn many_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// 10 000 jobs due in one instant, on the host's own threads, with a listener: how long after
/// it the last one starts.
fn due_in_the_same_second(dir: &std::path::Path) {
    const JOBS: usize = 10_000;
    let guests = many_threads();
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let host = Host::new(dir, guests.handle().clone());
    let mut events = host.events.subscribe();
    let mut lateness = Vec::new();
    for _ in 0..3 {
        let mut scheduler = Scheduler::new();
        let template = job("many", TYPED);
        let trigger =
            quarterjack::trigger::Trigger::parse("* * * * * *", quarterjack::trigger::Zone::UTC)
                .unwrap();
        let now = SystemClock.now();
        for index in 0..JOBS {
            let job = Job {
                id: JobId::from(&*format!("job-{index}")),
                trigger: trigger.clone(),
                ..(*template).clone()
            };
            scheduler.upsert(Arc::new(job), now);
        }
        let due = scheduler.next_wake().unwrap();
        control.block_on(async {
            SystemClock.sleep_until(due).await;
            fire_due(&mut scheduler, &host.dispatcher, SystemClock.now()).await;
        });
        let (mut started, mut last) = (0, due);
        while started < JOBS {
            if let Event::RunStarted { attempt } = events.blocking_recv().unwrap().event {
                started += 1;
                last = last.max(attempt.started_at);
            }
        }
        lateness.push((last - due).num_microseconds().unwrap() as f64 / 1e3);
        while host.dispatcher.in_flight() + host.dispatcher.queued() > 0 {
            std::thread::yield_now();
        }
    }
    figure(
        "10 000 jobs due at once: the last one starts after",
        median(lateness),
        "ms",
        500.0,
    );
}

/// How long after its timeout a spinning guest is ended.
fn end_of_a_spinning_guest(dir: &std::path::Path) {
    let guests = many_threads();
    let host = Host::new(dir, guests.handle().clone());
    let mut events = host.events.subscribe();
    let timeout = Duration::from_millis(100);
    let spin = job(
        "spin",
        r#""component": "spin.wasm", "limits": {"timeout": "100ms", "fuel": "unlimited"}"#,
    );
    let mut late = Vec::new();
    for _ in 0..15 {
        guests.block_on(async {
            let now = SystemClock.now();
            let firing = Firing {
                job: spin.clone(),
                cause: Cause::Manual,
                scheduled_at: now,
            };
            fire(vec![Due::Fire(firing)], &host.dispatcher, now).await;
        });
        loop {
            if let Event::RunFinished { run } = events.blocking_recv().unwrap().event {
                assert_eq!(run.execution.outcome, Outcome::TimedOut);
                late.push((run.execution.elapsed - timeout).as_secs_f64() * 1e3);
                break;
            }
        }
    }
    figure(
        "a spinning guest: ended after its timeout by",
        median(late),
        "ms",
        20.0,
    );
}

/// 100 000 cron jobs: how long they take from text to schedule, and how much memory each costs
/// beyond its own text.
fn loading_many_jobs() {
    const JOBS: usize = 100_000;
    let mut text = String::from("[");
    for index in 0..JOBS {
        let (minute, hour, day) = (index % 60, index / 60 % 24, index / 1440 % 7);
        text.push_str(&format!(
            "{}{{\"id\": \"job-{index}\", \"component\": \"hello.wasm\", \"trigger\": \"{minute} {hour} * * {day}\"}}",
            if index == 0 { "" } else { ",\n" }
        ));
    }
    text.push(']');
    let before = ALLOCATED.load(Ordering::Relaxed);
    let started = Instant::now();
    let source = Arc::new(SourceText::new("many.json", text));
    let manifest = Manifest::parse(source, &Options::default()).unwrap();
    let mut scheduler = Scheduler::new();
    let now = SystemClock.now();
    for job in manifest.jobs() {
        scheduler.upsert(job.clone(), now);
    }
    let elapsed = started.elapsed();
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    assert_eq!(scheduler.len(), JOBS);
    figure(
        "100 000 cron jobs: loaded and scheduled in",
        elapsed.as_secs_f64() * 1e3,
        "ms",
        2_000.0,
    );
    figure(
        "100 000 cron jobs: memory of each beyond its text",
        // The text itself was counted before; it is still there.
        bytes as f64 / JOBS as f64,
        "bytes",
        1_024.0,
    );
}
