//! A million runs leave the host's memory where it was: `cargo bench --bench soak`, or with
//! fewer, `cargo bench --bench soak -- --runs 20000`.
//!
//! Good and bad guests take turns: one that returns, a command with files and a log, one that
//! traps, one that hoards, one that keeps a state. After a tenth of the runs the process's
//! resident memory and open files are noted; at the end they must be there again, up to a bound
//! that does not depend on how many runs there were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

use std::sync::Arc;
use std::time::Instant;

use quarterjack::clock::{Clock, SystemClock};
use quarterjack::dispatcher::{Dispatcher, Ends, Parts};
use quarterjack::event::Events;
use quarterjack::firing::fire;
use quarterjack::job::manifest::Options;
use quarterjack::job::{Job, Manifest, SourceText};
use quarterjack::run::{Cause, Firing, Outcome};
use quarterjack::runtime::directory::Plugins;
use quarterjack::runtime::engine::{Capacity, Engine};
use quarterjack::runtime::plugin::Loader;
use quarterjack::runtime::{Runtime, Sandbox};
use quarterjack::scheduler::Due;
use quarterjack::store::MemoryStore;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// How many runs are in flight at once.
const GROUP: usize = 500;

/// How much the memory may differ: what the allocator keeps for itself, and the records of the
/// last runs.
const SLACK_KIB: u64 = 24 << 10;

/// The guests, the files they are in, and the rest of their definitions.
const GUESTS: &[(&str, &str, &str)] = &[
    ("typed", "typed", r#""params": "text""#),
    (
        "command",
        "command",
        r#""grants": {"dirs": ["ROOT/examples::/data:ro"], "env": {"A": "b"}}"#,
    ),
    ("trap", "hostile/load-beyond-memory", r#""args": []"#),
    ("start", "hostile/trap-in-start", r#""args": []"#),
    ("recurse", "hostile/recurse", r#""args": []"#),
    (
        "hoard",
        "hostile/hoard-few-timers",
        r#""limits": {"handles": 16}"#,
    ),
    (
        "grow",
        "hostile/grow-by-pages",
        r#""limits": {"memory": "1MiB"}"#,
    ),
    ("log", "capabilities", r#""args": ["l"]"#),
    (
        "state",
        "capabilities",
        r#""args": ["v"], "grants": {"state": true}"#,
    ),
    ("denied", "capabilities", r#""args": ["g"]"#),
    ("lies", "hostile/return-from-nowhere", r#""args": []"#),
];

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--runs");
    let runs: usize = match arguments.nth(1) {
        Some(count) => count.parse().expect("--runs takes a number"),
        None => 1_000_000,
    };
    let guests = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let handle = guests.handle().clone();
    guests.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let dispatcher = host(dir.path(), handle);
        let jobs = jobs();
        let started = Instant::now();
        let early = runs / 10;
        let mut done = 0;
        let mut before = (0, 0);
        while done < runs {
            if done >= early && before == (0, 0) {
                before = footprint();
                println!("after {done} runs: {} KiB, {} files", before.0, before.1);
            }
            done += group(&dispatcher, &jobs, done).await;
        }
        let after = footprint();
        println!(
            "after {done} runs: {} KiB, {} files   ({:.1} s)",
            after.0,
            after.1,
            started.elapsed().as_secs_f64()
        );
        let totals = dispatcher.store().totals().await.unwrap();
        assert_eq!(totals.finished(), done as u64);
        for (outcome, count) in totals.by_outcome() {
            println!("{:>10} {}", count, outcome.as_str());
        }
        assert!(totals.ended(Outcome::Succeeded) > 0 && totals.ended(Outcome::Trapped) > 0);
        assert!(
            after.0 < before.0 + SLACK_KIB && after.1 <= before.1,
            "the host has grown: {before:?} became {after:?}"
        );
        println!("flat");
    });
}

fn host(dir: &std::path::Path, guests: tokio::runtime::Handle) -> Dispatcher<Runtime> {
    let engine = Engine::new(Capacity {
        running: GROUP,
        largest_memory: 4 << 30,
        memory: u64::MAX,
    })
    .unwrap();
    for (name, file, _) in GUESTS {
        let wasm = wat::parse_file(format!("{ROOT}/tests/guests/{file}.wat")).unwrap();
        std::fs::write(dir.join(format!("{name}.wasm")), wasm).unwrap();
    }
    let plugins = Plugins::open(dir, Loader::new(engine.clone(), None)).unwrap();
    for name in plugins.scan_all().unwrap() {
        plugins.load(&name);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let threads = guests.metrics().num_workers();
    let sandbox = Sandbox::new(engine, clock.clone(), threads);
    Dispatcher::new(
        Runtime::new(sandbox, Arc::new(plugins)),
        Parts {
            store: Arc::new(MemoryStore::default()),
            clock,
            events: Events::new(),
            ends: Ends::default(),
            runtime: guests,
            max_running: GROUP,
        },
    )
}

fn jobs() -> Vec<Arc<Job>> {
    let job = |(name, _, rest): &(&str, &str, &str)| {
        let rest = rest.replace("ROOT", ROOT);
        format!(
            r#"{{"id": "{name}", "component": "{name}.wasm", "trigger": "@manually", "max_instances": {GROUP}, {rest}}}"#
        )
    };
    let entries: Vec<String> = GUESTS.iter().map(job).collect();
    let text = format!("[{}]", entries.join(",\n"));
    let source = Arc::new(SourceText::new("soak.json", text));
    let manifest = Manifest::parse(source, &Options::default()).unwrap();
    assert!(manifest.problems().is_empty(), "{:?}", manifest.problems());
    manifest.jobs().cloned().collect()
}

/// Fires a group of runs, each job in turn, and waits for their ends.
async fn group(dispatcher: &Dispatcher<Runtime>, jobs: &[Arc<Job>], from: usize) -> usize {
    let now = SystemClock.now();
    let due = (from..from + GROUP).map(|number| {
        Due::Fire(Firing {
            job: jobs[number % jobs.len()].clone(),
            cause: Cause::Manual,
            scheduled_at: now,
        })
    });
    fire(due.collect(), dispatcher, now).await;
    while dispatcher.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    GROUP
}

/// Resident memory in KiB, and how many files are open.
fn footprint() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.unwrap().trim().trim_end_matches(" kB");
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (digits.parse().unwrap(), files)
}
