//! A host as a process of its own: what it says is read as it comes and can be waited for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::event::{Event, Record, read_event};

/// How long anything is waited for. Only a broken host takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A host that runs as a process of its own, and all that it has said. Killed when dropped.
pub(crate) struct Host {
    child: Child,
    seen: Arc<Seen>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    stderr: String,
    /// What standard output should never have held.
    strange: Option<String>,
    ended: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics with the lock held must not hide its own message.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Host {
    /// Starts a process that serves, and waits until the host has started.
    #[track_caller]
    pub(super) fn start(mut command: Command) -> Host {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = Arc::new(Seen::default());
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![
            std::thread::spawn({
                let seen = seen.clone();
                move || {
                    for line in BufReader::new(stdout).lines() {
                        let line = line.unwrap();
                        seen.update(|state| match read_event(&line) {
                            Ok(event) => state.events.push(event),
                            Err(why) => state.strange = Some(format!("{why}: {line}")),
                        });
                    }
                    seen.update(|state| state.ended = true);
                }
            }),
            std::thread::spawn({
                let seen = seen.clone();
                move || {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = stderr.read(&mut piece) {
                        let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                        seen.update(|state| state.stderr.push_str(&text));
                    }
                }
            }),
        ];
        let host = Host {
            child,
            seen,
            readers,
        };
        host.wait("the host to start", 0, |event| event.is("host.started"));
        host
    }

    /// How many events there have been: where to wait from for what comes now.
    pub(crate) fn mark(&self) -> usize {
        self.seen.lock().events.len()
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen.lock().events.clone()
    }

    /// Waits for the first event from a mark on that fits.
    #[track_caller]
    pub(crate) fn wait(
        &self,
        what: &str,
        from: usize,
        mut fits: impl FnMut(&Event) -> bool,
    ) -> Event {
        self.wait_for(what, |events| {
            events.iter().skip(from).find(|event| fits(event)).cloned()
        })
    }

    /// Waits for the first event of this name about this job.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, job: &str) -> Event {
        self.event_from(0, name, job)
    }

    /// Waits for the first event of this name about this job from a mark on.
    #[track_caller]
    pub(crate) fn event_from(&self, from: usize, name: &str, job: &str) -> Event {
        self.wait(&format!("{name} of {job}"), from, |event| {
            event.of(name, job)
        })
    }

    /// Waits for the first event of this name about this plugin from a mark on.
    #[track_caller]
    pub(crate) fn plugin_from(&self, from: usize, name: &str, plugin: &str) -> Event {
        self.wait(&format!("{name} of {plugin}"), from, |event| {
            event.of_plugin(name, plugin)
        })
    }

    /// Waits for the first finished run of a job.
    #[track_caller]
    pub(crate) fn record(&self, job: &str) -> Record {
        Record::from(self.event("run.finished", job))
    }

    /// Waits for the first run of a job that *starts* after a mark, and finishes.
    #[track_caller]
    pub(crate) fn fresh_record(&self, from: usize, job: &str) -> Record {
        let started = self.event_from(from, "run.started", job);
        let run = started.text("run");
        let what = format!("the end of run {run} of {job}");
        Record::from(self.wait(&what, from, |event| {
            event.is("run.finished") && event.0["run"] == run
        }))
    }

    /// Waits for so many finished runs of a job.
    #[track_caller]
    pub(crate) fn records(&self, job: &str, count: usize) -> Vec<Record> {
        let found = self.wait_for(&format!("{count} runs of {job}"), |events| {
            let runs = events.iter().filter(|event| event.of("run.finished", job));
            let runs: Vec<Event> = runs.take(count).cloned().collect();
            (runs.len() == count).then_some(runs)
        });
        found.into_iter().map(Record::from).collect()
    }

    /// Waits until the events so far give what is looked for.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&[Event]) -> Option<T>) -> T {
        let mut found = None;
        let state = self.seen.lock();
        let (state, _) = self
            .seen
            .changed
            .wait_timeout_while(state, DEADLINE, |state| {
                found = look(&state.events);
                found.is_none() && !state.ended && state.strange.is_none()
            })
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match (&state.strange, found) {
            (None, Some(found)) => found,
            (strange, _) => {
                let problem = match strange {
                    Some(strange) => format!("standard output held what it must not: {strange}"),
                    None if state.ended => format!("the host ended before {what}"),
                    None => format!("waited in vain for {what}"),
                };
                let message = format!("{problem}\n{}", transcript(&state));
                drop(state);
                panic!("{message}")
            }
        }
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had so far.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let digits = line.unwrap().trim().trim_end_matches(" kB");
        digits.parse().unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks the host to stop, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn end(mut self) -> Stopped {
        let state = self.seen.lock();
        let (state, _) = self
            .seen
            .changed
            .wait_timeout_while(state, DEADLINE, |state| !state.ended)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let (ended, transcript) = (state.ended, transcript(&state));
        drop(state);
        assert!(ended, "the host does not end\n{transcript}");
        let code = self.child.wait().unwrap().code();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let mut state = self.seen.lock();
        assert_eq!(state.strange, None, "standard output held what it must not");
        Stopped {
            code,
            events: std::mem::take(&mut state.events),
            stderr: std::mem::take(&mut state.stderr),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn transcript(state: &State) -> String {
    let lines: Vec<String> = state.events.iter().map(ToString::to_string).collect();
    format!(
        "--- events so far\n{}\n--- standard error\n{}",
        lines.join("\n"),
        state.stderr
    )
}

/// A host that has ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Event>,
    pub(crate) stderr: String,
}

impl Stopped {
    /// Checks the exit code, and that the last word was that the host has stopped.
    #[track_caller]
    pub(crate) fn in_order(self) -> Stopped {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.told_its_end()
    }

    /// Checks that the last word was that the host has stopped, and that it was said once.
    #[track_caller]
    pub(crate) fn told_its_end(self) -> Stopped {
        let ends = self
            .events
            .iter()
            .filter(|event| event.is("host.stopped"))
            .count();
        assert_eq!(ends, 1, "{self:#?}");
        assert!(self.events.last().unwrap().is("host.stopped"), "{self:#?}");
        self
    }

    /// The finished runs of a job.
    #[track_caller]
    pub(crate) fn records(&self, job: &str) -> Vec<Record> {
        let runs = self
            .events
            .iter()
            .filter(|event| event.of("run.finished", job));
        runs.cloned().map(Record::from).collect()
    }
}
