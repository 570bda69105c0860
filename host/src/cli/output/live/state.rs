//! What the live view knows of the host, from its events alone.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use crate::cli::output::grid::{Cell, Column, Grid};
use crate::cli::output::human::{Human, progress_words};
use crate::cli::output::printer::Renderer as _;
use crate::cli::output::table::NAME_WIDTH;
use crate::cli::output::{Paint, Tone, Viewer, ahead, cut, harmless, plural};
use crate::clock::Timestamp;
use crate::event::{Event, Stamped};
use crate::job::{Job, JobId};
use crate::record::is_failure;
use crate::run::{Attempt, Progress, RunId};
use crate::units::format_duration;

/// How many of the last lines are kept: more than a screen has.
const KEPT: usize = 300;

/// How many of them stay on the screen that was there before.
const LEFT: usize = 12;

/// Cells of a bar of progress.
const BAR: u64 = 20;

/// What is known.
pub(super) struct State {
    human: Human,
    viewer: Viewer,
    paint: Paint,
    /// The last lines, as `serve` prints them.
    told: VecDeque<String>,
    /// The jobs in service, and when each is due next.
    jobs: HashMap<JobId, (Arc<Job>, Option<Timestamp>)>,
    /// The same, by that time.
    due: BTreeSet<(Timestamp, JobId)>,
    /// What runs, the oldest first.
    running: Vec<(RunId, Running)>,
    started_at: Option<Timestamp>,
    ended: u64,
    failed: u64,
    skipped: u64,
    lost: u64,
    /// What hinders the host.
    trouble: Option<String>,
}

struct Running {
    attempt: Attempt,
    progress: Option<Progress>,
    /// When the next attempt comes, between two of them.
    next_at: Option<Timestamp>,
}

impl State {
    /// Nothing has happened yet. Lines are written by `human`.
    pub(super) fn new(human: Human, viewer: Viewer, paint: Paint) -> State {
        State {
            human,
            viewer,
            paint,
            told: VecDeque::new(),
            jobs: HashMap::new(),
            due: BTreeSet::new(),
            running: Vec::new(),
            started_at: None,
            ended: 0,
            failed: 0,
            skipped: 0,
            lost: 0,
            trouble: None,
        }
    }

    /// Takes note of an event.
    pub(super) fn hear(&mut self, stamped: &Stamped) -> io::Result<()> {
        let mut text = Vec::new();
        self.human.render(stamped, &mut text)?;
        self.tell(&text);
        match &stamped.event {
            Event::HostStarted { .. } => self.started_at = Some(stamped.at),
            Event::JobAdded { job, next } | Event::JobUpdated { job, next, .. } => {
                self.remove(&job.id);
                self.due.extend(next.map(|next| (next, job.id.clone())));
                self.jobs.insert(job.id.clone(), (job.clone(), *next));
            }
            Event::JobRemoved { job } => self.remove(&job.id),
            Event::RunStarted { attempt } => {
                self.end(attempt.run.id);
                let running = Running {
                    attempt: attempt.clone(),
                    progress: None,
                    next_at: None,
                };
                self.running.push((attempt.run.id, running));
            }
            Event::RunProgress { attempt, progress } => {
                if let Some(running) = self.find(attempt.run.id) {
                    running.progress = Some(progress.clone());
                }
            }
            Event::RunRetrying { run, next_at } => {
                if let Some(running) = self.find(run.attempt.run.id) {
                    running.next_at = Some(*next_at);
                }
            }
            Event::RunFinished { run } => {
                self.end(run.attempt.run.id);
                self.ended += 1;
                self.failed += u64::from(is_failure(run.execution.outcome));
            }
            Event::RunSkipped { .. } => self.skipped += 1,
            Event::StoreFailing { error } => self.trouble = Some(error.clone()),
            Event::StoreRecovered => self.trouble = None,
            Event::HostStopping { .. } => {
                self.trouble = Some("stopping (^C again to stop now)".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes note that so many events could not be heard.
    pub(super) fn lost(&mut self, lost: u64) {
        self.lost += lost;
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        self.human.finish(&mut text)?;
        self.tell(&text);
        Ok(())
    }

    /// What is left to be read when the view is gone.
    pub(super) fn last_lines(&self) -> impl Iterator<Item = &str> {
        let from = self.told.len().saturating_sub(LEFT);
        self.told.range(from..).map(String::as_str)
    }

    fn tell(&mut self, text: &[u8]) {
        let lines = String::from_utf8_lossy(text);
        self.told.extend(lines.lines().map(str::to_owned));
        let surplus = self.told.len().saturating_sub(KEPT);
        self.told.drain(..surplus);
    }

    fn remove(&mut self, id: &JobId) {
        if let Some((_, Some(next))) = self.jobs.remove(id) {
            self.due.remove(&(next, id.clone()));
        }
    }

    fn find(&mut self, run: RunId) -> Option<&mut Running> {
        let mut running = self.running.iter_mut();
        running
            .find(|(id, _)| *id == run)
            .map(|(_, running)| running)
    }

    fn end(&mut self, run: RunId) {
        self.running.retain(|(id, _)| *id != run);
    }

    /// Moves on what was due before now.
    fn pass(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.due.first().cloned()
            && due <= now
        {
            self.due.pop_first();
            if let Some((job, next)) = self.jobs.get_mut(&id) {
                *next = job.trigger.next_after(now);
                self.due.extend(next.map(|next| (next, id)));
            }
        }
    }

    /// The screen as it is at `now`, in so many columns: at most so many lines.
    pub(super) fn draw(&mut self, now: Timestamp, columns: usize, lines: usize) -> Vec<String> {
        self.pass(now);
        let mut drawn = vec![self.headline(now)];
        // A third for each, and what one does not need goes to the last.
        let third = (lines.saturating_sub(4) / 3).saturating_sub(2).max(1);
        self.section(
            "RUNNING",
            self.running.len(),
            self.running_now(now, columns, third),
            &mut drawn,
        );
        self.section(
            "DUE NEXT",
            self.due.len(),
            self.due_next(now, columns, third),
            &mut drawn,
        );
        drawn.push(String::new());
        drawn.push(self.paint.paint(Tone::Dim, "WHAT HAPPENED").to_string());
        let room = lines.saturating_sub(drawn.len());
        let from = self.told.len().saturating_sub(room);
        drawn.extend(self.told.range(from..).cloned());
        drawn.truncate(lines);
        drawn
    }

    fn headline(&self, now: Timestamp) -> String {
        let mut parts = vec![
            self.paint.paint(Tone::Strong, "quarterjack").to_string(),
            self.viewer.clock(now).chars().take(8).collect(),
            plural(self.jobs.len(), "job"),
            format!("{} running", self.running.len()),
            plural(usize::try_from(self.ended).unwrap_or(usize::MAX), "run"),
        ];
        let mut toned = |tone, count: u64, word: &str| {
            if count > 0 {
                let words = format!("{count} {word}");
                parts.push(self.paint.paint(tone, words).to_string());
            }
        };
        toned(Tone::Bad, self.failed, "failed");
        toned(Tone::Warn, self.skipped, "skipped");
        toned(Tone::Warn, self.lost, "events not seen");
        if let Some(since) = self.started_at
            && let Ok(up) = (now - since).to_std()
        {
            let up = std::time::Duration::from_secs(up.as_secs());
            parts.push(format!("up {}", format_duration(up).replace(".0 s", " s")));
        }
        if let Some(trouble) = &self.trouble {
            parts.push(self.paint.paint(Tone::Bad, harmless(trouble)).to_string());
        }
        parts.join("   ")
    }

    /// A title and the lines of what is in it.
    fn section(&self, title: &str, count: usize, lines: Vec<String>, to: &mut Vec<String>) {
        to.push(String::new());
        let hidden = count.saturating_sub(lines.len());
        let title = match hidden {
            0 => title.to_owned(),
            hidden => format!("{title} and {hidden} more"),
        };
        to.push(self.paint.paint(Tone::Dim, title).to_string());
        if lines.is_empty() {
            to.push("  nothing".to_owned());
        }
        to.extend(lines);
    }

    fn running_now(&self, now: Timestamp, columns: usize, most: usize) -> Vec<String> {
        let mut grid = Grid::new([
            Column::left("").at_most(NAME_WIDTH),
            Column::left(""),
            Column::right(""),
            Column::left(""),
        ]);
        for (_, running) in self.running.iter().take(most) {
            let attempt = &running.attempt;
            let run = &attempt.run;
            let number = match run.max_attempts {
                1 => String::new(),
                most => format!("attempt {} of {most}", attempt.number),
            };
            let (time, how) = match (running.next_at, &running.progress) {
                (Some(next), _) => (String::new(), format!("next attempt {}", ahead(now, next))),
                (None, progress) => {
                    let took = (now - attempt.started_at).to_std().unwrap_or_default();
                    let how = progress.as_ref().map(bar).unwrap_or_default();
                    (format_duration(took), how)
                }
            };
            grid.row([
                cut(&harmless(run.job.id.as_str()), NAME_WIDTH).into(),
                number.into(),
                time.into(),
                Cell::from(how),
            ]);
        }
        self.lines_of(grid, columns)
    }

    fn due_next(&self, now: Timestamp, columns: usize, most: usize) -> Vec<String> {
        let mut grid = Grid::new([
            Column::left("").at_most(NAME_WIDTH),
            Column::left(""),
            Column::right(""),
        ]);
        for (due, id) in self.due.iter().take(most) {
            grid.row([
                cut(&harmless(id.as_str()), NAME_WIDTH).into(),
                self.viewer.when(now, *due).into(),
                ahead(now, *due).into(),
            ]);
        }
        self.lines_of(grid, columns)
    }

    fn lines_of(&self, grid: Grid, columns: usize) -> Vec<String> {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = grid.write(self.paint, columns, &mut text);
        let text = String::from_utf8_lossy(&text);
        // The titles of its columns say nothing.
        text.lines().skip(1).map(str::to_owned).collect()
    }
}

/// How far a run has come: `█████░░░░░  50 %   5 of 10   note`.
fn bar(progress: &Progress) -> String {
    let words = progress_words(progress);
    match progress.percent() {
        Some(percent) => {
            let full = u64::from(percent).min(100) * BAR / 100;
            let cells = (0..BAR).map(|cell| if cell < full { '█' } else { '░' });
            format!("{}  {words}", cells.collect::<String>())
        }
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::cli::output::columns;
    use crate::cli::output::human::HumanOptions;
    use crate::clock::parse_instant;
    use crate::job::manifest::Options;
    use crate::job::{Manifest, SourceText};
    use crate::run::{Cause, Execution, FinishedRun, Outcome, Retry, Run, SkipReason};

    const JOBS: &str = r#"[
        { "id": "hello", "component": "hello.wasm", "trigger": "@every 5s" },
        { "id": "import", "component": "import.wasm", "trigger": "@hourly", "retry": { "attempts": 3 } },
        { "id": "rare", "component": "hello.wasm", "trigger": "@yearly" },
        { "id": "off", "component": "hello.wasm", "trigger": "@daily", "enabled": false }
    ]"#;

    /// So many seconds after the start.
    fn at(seconds: u64) -> Timestamp {
        parse_instant("2026-11-22T11:59:48Z").unwrap() + Duration::from_secs(seconds)
    }

    struct Watched {
        state: State,
        jobs: Vec<Arc<Job>>,
    }

    impl Watched {
        fn new() -> Watched {
            let viewer = Viewer::in_zone(TimeZone::UTC);
            let paint = Paint { on: false };
            let human = Human::new(HumanOptions {
                paint,
                width: 80,
                viewer: viewer.clone(),
                verbose: false,
                tz_database: "2026f".to_owned(),
                opening: false,
            });
            let source = SourceText::new("jobs.json", JOBS.to_owned());
            let manifest = Manifest::parse(Arc::new(source), &Options::default()).unwrap();
            let mut watched = Watched {
                state: State::new(human, viewer, paint),
                jobs: manifest.jobs().cloned().collect(),
            };
            for job in watched.jobs.clone() {
                let next = job.enabled.then(|| job.trigger.next_after(at(0)).unwrap());
                watched.hear(0, Event::JobAdded { job, next });
            }
            let (jobs, plugins) = (4, 2);
            let started = Event::HostStarted {
                jobs,
                plugins,
                data: Some("data".into()),
            };
            watched.hear(0, started);
            watched
        }

        fn hear(&mut self, seconds: u64, event: Event) {
            let at = at(seconds);
            self.state.hear(&Stamped { at, event }).unwrap();
        }

        fn attempt(&self, job: usize, id: u128, number: u32, seconds: u64) -> Attempt {
            let job = self.jobs[job].clone();
            Attempt {
                run: Arc::new(Run {
                    id: RunId::from_u128(id),
                    max_attempts: job.policies.retry.attempts,
                    job,
                    cause: Cause::Schedule,
                    scheduled_at: at(seconds),
                    last_success: None,
                }),
                number,
                started_at: at(seconds),
                run_started_at: at(seconds),
            }
        }

        fn ended(&self, attempt: Attempt, seconds: u64, outcome: Outcome) -> Arc<FinishedRun> {
            let why = "exit code 3";
            Arc::new(FinishedRun {
                attempt,
                finished_at: at(seconds),
                execution: Execution::without_guest(outcome, why, Retry::ByPolicy),
            })
        }

        fn drawn(&mut self, seconds: u64, columns: usize, lines: usize) -> String {
            self.state.draw(at(seconds), columns, lines).join("\n")
        }
    }

    #[test]
    fn what_is_due_what_runs_and_what_happened() {
        let mut watched = Watched::new();
        insta::assert_snapshot!(watched.drawn(1, 80, 24), @"
        quarterjack   11:59:49   4 jobs   0 running   0 runs   up 1 s

        RUNNING
          nothing

        DUE NEXT
          hello   today 11:59:50              in 1 s
          import  today 12:00:00             in 11 s
          rare    01 Jan 2027 00:00:00  in 39 d 12 h

        WHAT HAPPENED
        ");
        let import = watched.attempt(1, 1, 1, 12);
        watched.hear(
            12,
            Event::RunStarted {
                attempt: import.clone(),
            },
        );
        let progress = Progress {
            done: 5,
            total: Some(8),
            note: "rows".to_owned(),
        };
        watched.hear(
            20,
            Event::RunProgress {
                attempt: import.clone(),
                progress,
            },
        );
        let hello = watched.attempt(0, 2, 1, 17);
        watched.hear(
            17,
            Event::RunStarted {
                attempt: hello.clone(),
            },
        );
        insta::assert_snapshot!(watched.drawn(21, 80, 24), @"
        quarterjack   12:00:09   4 jobs   2 running   0 runs   up 21 s

        RUNNING
          import  attempt 1 of 3  9.0 s  ████████████░░░░░░░░  62 %   5 of 8   rows
          hello                   4.0 s

        DUE NEXT
          hello   today 12:00:10                in 1 s
          import  today 13:00:00        in 59 min 51 s
          rare    01 Jan 2027 00:00:00    in 39 d 11 h

        WHAT HAPPENED
        12:00:08.000  import   progress   62 %   5 of 8   rows
        ");
        let run = watched.ended(hello, 22, Outcome::Failed);
        watched.hear(22, Event::RunFinished { run });
        let run = watched.ended(import, 23, Outcome::TimedOut);
        watched.hear(
            23,
            Event::RunRetrying {
                run,
                next_at: at(33),
            },
        );
        watched.hear(
            24,
            Event::RunSkipped {
                job: watched.jobs[0].clone(),
                scheduled_at: at(24),
                reason: SkipReason::MaxInstances(1),
            },
        );
        watched.hear(
            24,
            Event::StoreFailing {
                error: "the disk is full".to_owned(),
            },
        );
        watched.state.lost(7);
        insta::assert_snapshot!(watched.drawn(25, 80, 24), @"
        quarterjack   12:00:13   4 jobs   1 running   1 run   1 failed   1 skipped   7 events not seen   up 25 s   the disk is full

        RUNNING
          import  attempt 1 of 3  next attempt in 8 s

        DUE NEXT
          hello   today 12:00:15                in 2 s
          import  today 13:00:00        in 59 min 47 s
          rare    01 Jan 2027 00:00:00    in 39 d 11 h

        WHAT HAPPENED
        12:00:08.000  import   progress   62 %   5 of 8   rows
        12:00:10.000  hello    FAILED     0 ms          0 fuel        0 B   exit code 3
        12:00:11.000  import   retrying   attempt 1 of 3 timed out: limit: timeout 1 min (the default); exit code 3; the next one at 12:00:21.000
        12:00:12.000  hello    skipped    previous run still going (max_instances 1)
        12:00:12.000  store    FAILING  the disk is full; nothing starts until it is
        ");
        watched.hear(26, Event::StoreRecovered);
        watched.hear(
            26,
            Event::JobRemoved {
                job: watched.jobs[0].clone(),
            },
        );
        let again = watched.attempt(1, 1, 2, 33);
        watched.hear(33, Event::RunStarted { attempt: again });
        insta::assert_snapshot!(watched.drawn(34, 80, 12), @"
        quarterjack   12:00:22   3 jobs   1 running   1 run   1 failed   1 skipped   7 events not seen   up 34 s

        RUNNING
          import  attempt 2 of 3  1.0 s

        DUE NEXT and 1 more
          import  today 13:00:00  in 59 min 38 s

        WHAT HAPPENED
        12:00:12.000  hello    skipped    previous run still going (max_instances 1)
        12:00:12.000  store    FAILING  the disk is full; nothing starts until it is
        12:00:14.000  store    records runs again; what fell due meanwhile is late
        ");
        insta::assert_snapshot!(watched.state.last_lines().collect::<Vec<_>>().join("\n"), @"
        12:00:08.000  import   progress   62 %   5 of 8   rows
        12:00:10.000  hello    FAILED     0 ms          0 fuel        0 B   exit code 3
        12:00:11.000  import   retrying   attempt 1 of 3 timed out: limit: timeout 1 min (the default); exit code 3; the next one at 12:00:21.000
        12:00:12.000  hello    skipped    previous run still going (max_instances 1)
        12:00:12.000  store    FAILING  the disk is full; nothing starts until it is
        12:00:14.000  store    records runs again; what fell due meanwhile is late
        ");
    }

    #[test]
    fn it_never_has_more_lines_than_the_screen() {
        let mut watched = Watched::new();
        for id in 0..40 {
            let attempt = watched.attempt(0, id, 1, 5);
            watched.hear(5, Event::RunStarted { attempt });
        }
        for lines in 0..40 {
            for width in [20, 80, 200] {
                let drawn = watched.state.draw(at(6), width, lines);
                assert!(drawn.len() <= lines, "{lines}: {}", drawn.len());
                let own = drawn.iter().filter(|line| line.starts_with("  "));
                for line in own {
                    assert!(columns(line) <= width.max(60), "{width}: {line}");
                }
            }
        }
    }
}
