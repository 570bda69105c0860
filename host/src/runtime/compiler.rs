//! Compiling plugins, apart from the host: a file made to be slow or large to compile takes a
//! process of its own down, and nothing else.
//!
//! ```text
//! host ── the file, on stdin ──▶ quarterjack compile-plugin (limits itself: memory, CPU, no core)
//!      ◀─ greeting; an answer in JSON, a line; the code ─┘
//! ```
//!
//! The child does all that reads the file: it validates, inspects and compiles. It has an empty
//! environment and is killed when it takes too long, when the host stops, and when the host dies.
//!
//! A file that a person asks about is inspected in such a process first ([`inspect_apart`]), too.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::Module;
use wasmtime::component::Component;

use super::cache::Code;
use super::engine::{self, Engine, Kind};
use super::plugin::PluginError;
use super::shape::{self, Inspection, Shape, brief, listed};
use crate::clock;
use crate::policy::PluginSettings;
use crate::units::{format_duration_exact, format_size};

/// The verb of the executable that compiles a plugin for a host.
pub const VERB: &str = "compile-plugin";

/// What a child writes first, so that no other program is taken for one.
const GREETING: &[u8] = b"quarterjack-code-1\n";

/// The most code that is taken from a child, in bytes: a host holds it in memory, twice for a
/// moment, and keeps it on disk. Whole language engines have a fifth of it.
const MAX_CODE: u64 = 256 << 20;

/// The longest first line of a child's answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// How much of what a child complains of is kept, in bytes.
const MAX_COMPLAINT: u64 = 4 << 10;

/// The stack on which a child inspects a file, in bytes. How deep a file nests decides how much of
/// it a parse takes, and no parse may take more: the process ends.
const STACK: usize = 8 << 20;

/// What inspecting a file may take that a person asks about; compiling it is not asked for.
const INSPECTION: PluginSettings = PluginSettings {
    max_size: PluginSettings::MAX_SIZE,
    compile_timeout: Duration::from_secs(30),
    compile_memory: 4 << 30,
};

/// How often a host that waits for a child sees whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How much the scheduler of the system prefers others to a child.
const NICE: i32 = 10;

/// What compiles plugins. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// The process itself, without limits: for tests and benchmarks.
    InProcess,
    /// A process for each plugin. Only for the executable `quarterjack`, which starts itself.
    Child(Arc<Children>),
}

/// The processes that compile for one host.
#[derive(Debug)]
pub struct Children {
    state: Mutex<State>,
    changed: Condvar,
    /// How many there may be at once.
    most: usize,
    /// Whether it has been said that none can be started.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    stopped: bool,
}

/// What a child is to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Inspect it, and no more.
    Inspect,
    /// Inspect and compile it.
    Compile,
}

/// What the host must know of a plugin besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Face {
    /// The [`Shape`], by its id.
    shape: String,
    /// What it imports, in the file's order.
    pub(super) imports: Vec<String>,
}

impl Face {
    /// Which kind of guest it is; nothing if it comes from a version that knows others.
    pub(super) fn shape(&self) -> Option<Shape> {
        Shape::ALL
            .into_iter()
            .find(|shape| shape.id() == self.shape)
    }
}

/// What compiling a plugin gave.
pub(super) struct Compiled {
    pub(super) face: Face,
    pub(super) code: Artifact,
}

/// Code in either form.
pub(super) enum Artifact {
    /// For this process.
    Ready(Code),
    /// As the cache keeps it.
    Serialized(Vec<u8>),
}

/// The first line of what a child writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// So many bytes of code follow.
    Compiled { face: Face, bytes: u64 },
    /// The file is no job.
    NotAJob(String),
    /// It imports what the host does not have.
    Imports(String),
    /// It does not compile.
    Compile(String),
    /// It declares more than a job may have.
    TooMuch(String),
    /// The memory was not enough.
    OutOfMemory,
}

impl Compiler {
    /// One that starts this executable again for each plugin, as many at once as there are cores.
    pub fn child() -> Compiler {
        Compiler::Child(Arc::new(Children::new()))
    }

    /// Kills the children, and starts no more.
    pub fn stop(&self) {
        if let Compiler::Child(children) = self {
            children.state.lock().stopped = true;
            children.changed.notify_all();
        }
    }

    /// Inspects and compiles the content of a file. May take as long as the limits allow, and
    /// before that as long as others compile.
    ///
    /// # Errors
    /// Why it is not a plugin, or what of the limits it exceeds.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        limits: &PluginSettings,
    ) -> Result<Compiled, PluginError> {
        let here = |shape| Ok(engine.for_shape(shape)?.wasmtime().clone());
        let Compiler::Child(children) = self else {
            return compile_here(here, bytes);
        };
        let _place = children.enter()?;
        match children.ask(Task::Compile, bytes, limits) {
            Ok(answer) => answer,
            // Nothing was heard that could come from a child: there is none to be had.
            Err(error) => {
                if !children.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %error,
                        "cannot start a process to compile plugins in: they are compiled inside the host, without limits on time and memory"
                    );
                }
                compile_here(here, bytes)
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Inspects and compiles in this process, with the engine for what it is.
fn compile_here(
    engine: impl FnOnce(Shape) -> Result<wasmtime::Engine, PluginError>,
    bytes: &[u8],
) -> Result<Compiled, PluginError> {
    let inspection = shape::inspect(bytes)?;
    let unknown: Vec<String> = inspection
        .unknown_imports()
        .map(|import| import.name.clone())
        .collect();
    if !unknown.is_empty() {
        return Err(PluginError::Imports {
            imports: listed(&unknown),
        });
    }
    let engine = engine(inspection.shape)?;
    let code = if inspection.shape == Shape::CoreCommand {
        Module::from_binary(&engine, bytes).map(Code::Module)
    } else {
        Component::from_binary(&engine, bytes).map(Code::Component)
    };
    let face = Face {
        shape: inspection.shape.id().to_owned(),
        imports: inspection
            .imports
            .into_iter()
            .map(|import| import.name)
            .collect(),
    };
    Ok(Compiled {
        face,
        code: Artifact::Ready(code.map_err(|error| does_not_compile(&error))?),
    })
}

/// Why code could not be made of a sound file.
pub(super) fn does_not_compile(error: &wasmtime::Error) -> PluginError {
    let whole = format!("{error:#}");
    if whole.contains("pooling allocator") {
        // Sound, and too large for the engine's pool; the innermost reason says in what.
        // What comes after is a table, over several lines.
        let why = error.root_cause().to_string();
        let why = why.split("; breakdown").next().unwrap_or(&why);
        PluginError::TooMuch(format!("it declares more than a job may have: {why}"))
    } else {
        PluginError::Compile(brief(&whole))
    }
}

/// Reads what a file is, after a process of its own has done it and come to no harm: one made to be
/// slow, large or endlessly deep to read is refused. For a verb that a person runs, of the
/// executable `quarterjack`, which starts itself.
///
/// # Errors
/// Why it is no job, or what of the limits it exceeds.
pub fn inspect_apart(bytes: &[u8]) -> Result<Inspection, PluginError> {
    // Where no process is to be had, it is read here, as ever.
    if let Ok(answer) = Children::new().ask(Task::Inspect, bytes, &INSPECTION) {
        answer?;
    }
    // Twice the stack: what was deep enough there is so here.
    let seen = on_stack(2 * STACK, || shape::inspect(bytes)).map_err(PluginError::Read)?;
    Ok(seen?)
}

// --- the host's side

/// A place among the children; given back when dropped.
struct Place<'c>(&'c Children);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().running -= 1;
        self.0.changed.notify_one();
    }
}

/// A child that is killed and reaped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; without `wait` it would stay as a zombie.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Children {
    fn new() -> Children {
        Children {
            state: Mutex::default(),
            changed: Condvar::new(),
            most: cores(),
            told: AtomicBool::new(false),
        }
    }

    /// Waits until another child may be started.
    fn enter(&self) -> Result<Place<'_>, PluginError> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            !state.stopped && state.running >= self.most
        });
        if state.stopped {
            return Err(PluginError::Stopping);
        }
        state.running += 1;
        Ok(Place(self))
    }

    /// Has a child do something with a file.
    ///
    /// # Errors
    /// If there is no child to be had.
    fn ask(
        &self,
        task: Task,
        bytes: &[u8],
        limits: &PluginSettings,
    ) -> io::Result<Result<Compiled, PluginError>> {
        let cpu = cpu_seconds(limits.compile_timeout);
        let child = Command::new(own_executable()?)
            .arg0("quarterjack")
            .arg(VERB)
            .args((task == Task::Inspect).then_some("--inspect"))
            .arg(format!("--memory={}", limits.compile_memory))
            .arg(format!("--cpu={cpu}"))
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.wait(task, Running(child), bytes, limits)
    }

    /// Hands the file to a child, and takes what it makes of it.
    ///
    /// # Errors
    /// If it is no child of this program: it does not greet.
    fn wait(
        &self,
        task: Task,
        mut child: Running,
        bytes: &[u8],
        limits: &PluginSettings,
    ) -> io::Result<Result<Compiled, PluginError>> {
        let broken = || io::Error::other("it has no pipes");
        let deadline = clock::monotonic().checked_add(limits.compile_timeout);
        let mut stdin = child.0.stdin.take().ok_or_else(broken)?;
        let stdout = child.0.stdout.take().ok_or_else(broken)?;
        let stderr = child.0.stderr.take().ok_or_else(broken)?;
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            scope.spawn(move || {
                // A child that dies early is told of by its end.
                let _ = stdin.write_all(bytes);
            });
            let complaint = scope.spawn(move || complaint(stderr));
            scope.spawn(move || {
                // Nobody takes the answer of a child that was killed.
                let _ = tell.send(read_answer(stdout));
            });
            let ended = loop {
                match told.recv_timeout(LOOK) {
                    Ok(answer) => break Ok(answer),
                    Err(RecvTimeoutError::Disconnected) => {
                        break Ok(Err(Silence::Broken(broken())));
                    }
                    Err(RecvTimeoutError::Timeout) if self.state.lock().stopped => {
                        break Err(PluginError::Stopping);
                    }
                    Err(RecvTimeoutError::Timeout) if passed(deadline) => {
                        break Err(too_slow(task, limits));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            };
            // With its answer out, or none to come, it has nothing more to do. The pipes close
            // with it, and the threads end.
            let status = match &ended {
                Ok(Ok(_)) => None,
                Ok(Err(_)) => reap(&mut child.0, deadline),
                Err(_) => None,
            };
            drop(child);
            let complaint = complaint.join().unwrap_or_default();
            match ended {
                Err(error) => Ok(Err(error)),
                Ok(Ok((answer, code))) => Ok(taken(task, answer, code, limits)),
                // One that was killed before it could greet is a child all the same.
                Ok(Err(Silence::NoGreeting))
                    if status.is_none_or(|status| status.signal().is_some()) =>
                {
                    let error = io::ErrorKind::UnexpectedEof.into();
                    Ok(Err(failed(task, status, &complaint, &error, limits)))
                }
                Ok(Err(Silence::Broken(error))) => {
                    Ok(Err(failed(task, status, &complaint, &error, limits)))
                }
                Ok(Err(Silence::NoGreeting)) => Err(io::Error::other(format!(
                    "this program does not compile plugins: {}",
                    complaint.trim()
                ))),
            }
        })
    }
}

/// CPU time for a child, in seconds: all cores for as long as it may take.
fn cpu_seconds(timeout: Duration) -> u64 {
    let seconds = timeout.as_secs().saturating_add(1);
    seconds.saturating_mul(u64::try_from(cores()).unwrap_or(1))
}

fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| clock::monotonic() >= deadline)
}

/// The executable of this process, also if another has taken its name since.
fn own_executable() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() {
        Ok(own)
    } else {
        std::env::current_exe()
    }
}

/// Waits for the end of a child that has closed its output.
fn reap(child: &mut Child, deadline: Option<Instant>) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(None) if !passed(deadline) => std::thread::sleep(Duration::from_millis(1)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

/// The beginning of what a child complains of; all of it is read, so that it can end.
fn complaint(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    // What cannot be read is not known.
    let _ = stderr.by_ref().take(MAX_COMPLAINT).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// Why there is no answer.
#[derive(Debug)]
enum Silence {
    /// It has not even greeted.
    NoGreeting,
    /// It ended before its time, or said something strange.
    Broken(io::Error),
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Silence {
        Silence::Broken(error)
    }
}

fn read_answer(stdout: impl Read) -> Result<(Answer, Vec<u8>), Silence> {
    let mut stdout = BufReader::new(stdout);
    let mut greeting = Vec::new();
    let length = GREETING.len() as u64;
    stdout.by_ref().take(length).read_to_end(&mut greeting)?;
    if greeting != GREETING {
        return Err(Silence::NoGreeting);
    }
    let mut line = Vec::new();
    stdout
        .by_ref()
        .take(MAX_ANSWER)
        .read_until(b'\n', &mut line)?;
    let answer: Answer = serde_json::from_slice(&line).map_err(io::Error::from)?;
    let mut code = Vec::new();
    if let Answer::Compiled { bytes, .. } = &answer {
        if *bytes > MAX_CODE {
            let size = format_size(MAX_CODE);
            return Ok((
                Answer::TooMuch(format!("its compiled code is larger than {size}")),
                code,
            ));
        }
        stdout.take(*bytes).read_to_end(&mut code)?;
        if code.len() as u64 != *bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok((answer, code))
}

/// What an answer means.
fn taken(
    task: Task,
    answer: Answer,
    code: Vec<u8>,
    limits: &PluginSettings,
) -> Result<Compiled, PluginError> {
    Err(match answer {
        Answer::Compiled { face, .. } => {
            return Ok(Compiled {
                face,
                code: Artifact::Serialized(code),
            });
        }
        Answer::NotAJob(why) => PluginError::NotAJob(why),
        Answer::Imports(imports) => PluginError::Imports { imports },
        Answer::Compile(why) => PluginError::Compile(why),
        Answer::TooMuch(why) => PluginError::TooMuch(why),
        Answer::OutOfMemory => too_large(task, limits),
    })
}

fn too_slow(task: Task, limits: &PluginSettings) -> PluginError {
    if task == Task::Inspect {
        let timeout = format_duration_exact(limits.compile_timeout);
        return PluginError::NotAJob(format!("it takes longer than {timeout} to read"));
    }
    PluginError::Compile(format!(
        "it takes longer than {} to compile; allow more with `compile_timeout` under [plugins] in quarterjack.toml, or build it smaller",
        format_duration_exact(limits.compile_timeout)
    ))
}

fn too_large(task: Task, limits: &PluginSettings) -> PluginError {
    if task == Task::Inspect {
        let size = format_size(limits.compile_memory);
        return PluginError::NotAJob(format!("it needs more than {size} of memory to read"));
    }
    PluginError::Compile(format!(
        "it needs more than {} of memory to compile; allow more with `compile_memory` under [plugins] in quarterjack.toml, or build it smaller",
        format_size(limits.compile_memory)
    ))
}

/// Why a child ended without an answer.
fn failed(
    task: Task,
    status: Option<ExitStatus>,
    complaint: &str,
    error: &io::Error,
    limits: &PluginSettings,
) -> PluginError {
    if is_out_of_memory(complaint) {
        return too_large(task, limits);
    }
    let signal = status.and_then(|status| status.signal());
    let is = |of: Signal| signal == Some(of.as_raw());
    if is(Signal::XCPU) {
        return too_slow(task, limits);
    }
    let refused = match task {
        Task::Inspect => PluginError::NotAJob,
        Task::Compile => PluginError::Compile,
    };
    refused(if complaint.contains("overflowed its stack") {
        "it is nested too deeply for the compiler".into()
    } else if is(Signal::KILL) {
        let again = match task {
            Task::Inspect => "try again",
            Task::Compile => "touch the file to try again",
        };
        format!(
            "the compiler was killed from outside, perhaps because the machine has too little memory; {again}"
        )
    } else {
        let ended = match status {
            Some(status) => status.to_string(),
            None => error.to_string(),
        };
        match complaint.trim() {
            "" => format!("the compiler failed ({ended})"),
            complaint => format!("the compiler failed ({ended}): {complaint}"),
        }
    })
}

/// Whether somebody complains of a want of memory: the allocator, the compiler, the system.
fn is_out_of_memory(complaint: &str) -> bool {
    [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
    ]
    .iter()
    .any(|words| complaint.contains(words))
}

// --- the child's side

/// Compiles the file on standard input for a host, or only inspects it, and answers on standard
/// output. `memory` is in bytes, `cpu` in seconds; both are limits of this process from now on.
///
/// # Errors
/// If the answer cannot be written, or the limits cannot be set.
pub fn compile_for_host(task: Task, memory: u64, cpu: u64) -> io::Result<()> {
    limit_myself(memory, cpu)?;
    let mut out = io::stdout().lock();
    out.write_all(GREETING)?;
    out.flush()?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let made = match task {
        Task::Inspect => on_stack(STACK, || look(&bytes))?,
        Task::Compile => compile_and_serialize(&bytes),
    };
    let (answer, mut code) = match made {
        Ok((face, code)) => {
            let bytes = code.len() as u64;
            (Answer::Compiled { face, bytes }, code)
        }
        Err(PluginError::Compile(why)) if is_out_of_memory(&why) => {
            (Answer::OutOfMemory, Vec::new())
        }
        Err(error) => (refusal(error), Vec::new()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    if line.len() as u64 >= MAX_ANSWER {
        let size = format_size(MAX_ANSWER);
        let why = format!("the names of what it imports have more than {size}");
        line = serde_json::to_vec(&Answer::TooMuch(why))?;
        code.clear();
    }
    out.write_all(&line)?;
    out.write_all(b"\n")?;
    out.write_all(&code)?;
    out.flush()
}

/// Inspects a file for its own sake.
fn look(bytes: &[u8]) -> Result<(Face, Vec<u8>), PluginError> {
    let shape = shape::inspect(bytes)?.shape.id().to_owned();
    let imports = Vec::new(); // whoever asked reads them
    Ok((Face { shape, imports }, Vec::new()))
}

/// Runs something on a stack of its own.
///
/// # Errors
/// If there is no thread to be had.
fn on_stack<T: Send>(size: usize, run: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size);
        let done = thread.spawn_scoped(scope, run)?.join();
        done.map_err(|_| io::Error::other("it panicked"))
    })
}

fn compile_and_serialize(bytes: &[u8]) -> Result<(Face, Vec<u8>), PluginError> {
    let wrong = |error: wasmtime::Error| PluginError::Compile(format!("{error:#}"));
    let engine = |shape| engine::compile_only(Kind::of(shape)).map_err(wrong);
    let compiled = compile_here(engine, bytes)?;
    let code = match compiled.code {
        Artifact::Ready(code) => code.serialize().map_err(wrong)?,
        Artifact::Serialized(code) => code,
    };
    Ok((compiled.face, code))
}

fn refusal(error: PluginError) -> Answer {
    match error {
        PluginError::Imports { imports } => Answer::Imports(imports),
        PluginError::Compile(why) => Answer::Compile(why),
        PluginError::TooMuch(why) => Answer::TooMuch(why),
        other => Answer::NotAJob(other.to_string()),
    }
}

/// Bounds this process, and ties it to the life of its parent.
fn limit_myself(memory: u64, cpu: u64) -> io::Result<()> {
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    // Of the data alone: reserved addresses cost nothing, and the compiler reserves many.
    lower(Resource::Data, memory)?;
    lower(Resource::Cpu, cpu)?;
    setrlimit(Resource::Core, limit(0))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Runs go first. That it cannot be so is no reason to compile nothing.
    let _ = rustix::process::nice(NICE);
    Ok(())
}

/// Sets a limit, unless a lower one holds already.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let held = rustix::process::getrlimit(resource);
    let bounded = |value: Option<u64>| Some(value.map_or(most, |value| value.min(most)));
    setrlimit(
        resource,
        Rlimit {
            current: bounded(held.current),
            maximum: held.maximum,
        },
    )?;
    Ok(())
}

#[cfg(test)]
#[path = "compiler_tests.rs"]
mod tests;
