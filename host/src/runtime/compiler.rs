//! Compiles plugins, in a process of their own: a file that takes all memory or all day to compile
//! ends that process, and not the host.
//!
//! ```text
//! host ──spawn──▶ quarterjack compile-plugin     limits on itself: memory, CPU time, no core
//!      ──stdin──▶ the file                       engine with the host's settings
//!      ◀─stdout── GREETING, then the code        or a reason on stderr and an exit code
//! ```
//!
//! The other process is this very program, so that its code fits the host's engine, which checks
//! that again when it takes it.

use std::io::{self, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use wasmtime::Module;
use wasmtime::component::Component;

use super::cache::Code;
use super::engine::{Capacity, Engine};
use super::plugin::PluginError;
use crate::units::{format_duration_exact, format_size};

/// What the other process says first, so that no other program is taken for it.
const GREETING: &[u8] = b"quarterjack-code-1\n";

/// Its exit code for a file that does not compile.
pub const DOES_NOT_COMPILE: u8 = 10;

/// Its exit code for a file that declares more than a job may have.
pub const DECLARES_TOO_MUCH: u8 = 11;

/// How much of its last words is kept.
const LAST_WORDS: u64 = 4 << 10;

/// The most bytes of code that are taken.
const LARGEST_CODE: u64 = 4 << 30;

/// How much compiling one plugin may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of memory it may take.
    pub memory: u64,
}

/// What compiles plugins.
#[derive(Clone, Default)]
pub enum Compiler {
    /// The host itself.
    #[default]
    InProcess,
    /// Processes of this program, a few at once.
    Apart(Arc<Apart>),
}

/// Compiles in other processes.
pub struct Apart {
    limits: CompileLimits,
    /// How many more may be started.
    places: Mutex<usize>,
    freed: Condvar,
    /// Whether it has been told that there is no other process.
    told: AtomicBool,
}

/// What compiling gave.
pub(super) enum Compiled {
    /// Code in the engine.
    Here(Code),
    /// Code as another process made it, to be taken over.
    Apart(Vec<u8>),
}

impl Compiler {
    /// One that compiles in other processes of this program, within limits.
    pub fn apart(limits: CompileLimits) -> Self {
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        Compiler::Apart(Arc::new(Apart {
            limits,
            places: Mutex::new(places),
            freed: Condvar::new(),
            told: AtomicBool::new(false),
        }))
    }

    /// Compiles a sound file.
    pub(super) fn compile(
        &self,
        engine: &wasmtime::Engine,
        bytes: &[u8],
        component: bool,
    ) -> Result<Compiled, PluginError> {
        if let Compiler::Apart(apart) = self {
            match apart.compile(bytes, component) {
                Ok(code) => return code.map(Compiled::Apart),
                Err(error) => {
                    if !apart.told.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            %error,
                            "plugins are compiled by the host itself: a hostile one could take all its memory"
                        );
                    }
                }
            }
        }
        let code = if component {
            Component::from_binary(engine, bytes).map(Code::Component)
        } else {
            Module::from_binary(engine, bytes).map(Code::Module)
        };
        code.map(Compiled::Here)
            .map_err(|error| does_not_compile(&error))
    }
}

/// Why code could not be made of a sound file.
pub(super) fn does_not_compile(error: &wasmtime::Error) -> PluginError {
    let whole = format!("{error:#}");
    if whole.contains("pooling allocator") {
        // Sound, and too large for the engine's pool; the innermost reason says in what.
        declares_too_much(&error.root_cause().to_string())
    } else {
        PluginError::Compile(whole)
    }
}

fn declares_too_much(why: &str) -> PluginError {
    PluginError::TooMuch(format!("it declares more than a job may have: {why}"))
}

impl Apart {
    /// Compiles in another process; an error if there is none to be had.
    fn compile(&self, bytes: &[u8], component: bool) -> io::Result<Result<Vec<u8>, PluginError>> {
        let mut places = self.places.lock();
        while *places == 0 {
            self.freed.wait(&mut places);
        }
        *places -= 1;
        drop(places);
        let result = self.compile_now(bytes, component);
        *self.places.lock() += 1;
        self.freed.notify_one();
        result
    }

    fn compile_now(
        &self,
        bytes: &[u8],
        component: bool,
    ) -> io::Result<Result<Vec<u8>, PluginError>> {
        let mut child = Command::new(this_program()?)
            .arg("compile-plugin")
            .arg(if component { "component" } else { "module" })
            .arg(format!("--memory={}", self.limits.memory))
            .arg(format!("--seconds={}", self.limits.timeout.as_secs() + 1))
            .env_clear()
            // Signals of the terminal are the host's to answer.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let talk = self.talk(&mut child, bytes);
        if talk.is_none() {
            // It may have ended by itself in this moment.
            let _ = child.kill();
        }
        let status = child.wait()?;
        let Some((code, words)) = talk else {
            return Ok(Err(PluginError::Compile(self.too_slow())));
        };
        self.judge(status, code, &words)
    }

    /// Gives the other process its file, and takes what it says; nothing if it is too slow.
    fn talk(&self, child: &mut Child, bytes: &[u8]) -> Option<(Vec<u8>, String)> {
        let (mut stdin, stdout, stderr) = (
            child.stdin.take()?,
            child.stdout.take()?,
            child.stderr.take()?,
        );
        std::thread::scope(|scope| {
            // It may end before it has read everything: its exit code tells why.
            scope.spawn(move || drop(stdin.write_all(bytes)));
            let (tell, told) = mpsc::channel();
            let tell_words = tell.clone();
            scope.spawn(move || tell.send((true, read_all(stdout, LARGEST_CODE))));
            scope.spawn(move || tell_words.send((false, read_all(stderr, LAST_WORDS))));
            let (mut code, mut words) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                match told.recv_timeout(self.limits.timeout) {
                    Ok((true, bytes)) => code = bytes,
                    Ok((false, bytes)) => words = bytes,
                    Err(_) => {
                        // Ends the threads, which wait for it.
                        let _ = child.kill();
                        return None;
                    }
                }
            }
            Some((code, String::from_utf8_lossy(&words).trim().to_owned()))
        })
    }

    fn judge(
        &self,
        status: ExitStatus,
        mut code: Vec<u8>,
        words: &str,
    ) -> io::Result<Result<Vec<u8>, PluginError>> {
        if !code.starts_with(GREETING) {
            return Err(io::Error::other(format!(
                "this program does not compile plugins ({status}): {words}"
            )));
        }
        code.drain(..GREETING.len());
        let failed = |why: String| Ok(Err(PluginError::Compile(why)));
        match status.code() {
            Some(0) => Ok(Ok(code)),
            Some(exit) if exit == i32::from(DOES_NOT_COMPILE) => failed(words.to_owned()),
            Some(exit) if exit == i32::from(DECLARES_TOO_MUCH) => Ok(Err(declares_too_much(words))),
            _ if status.signal() == Some(Signal::XCPU.as_raw()) => failed(self.too_slow()),
            _ if words.contains("memory allocation of") => failed(format!(
                "it needs more than {} of memory to compile; the operator can allow more (compile_memory)",
                format_size(self.limits.memory)
            )),
            _ => failed(format!("the compiler broke down ({status}): {words}")),
        }
    }

    fn too_slow(&self) -> String {
        format!(
            "it takes longer than {} to compile; the operator can allow more (compile_timeout)",
            format_duration_exact(self.limits.timeout)
        )
    }
}

fn read_all(from: impl Read, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut from = from;
    // What came before an error counts.
    let _ = from.by_ref().take(most).read_to_end(&mut bytes);
    // The rest is taken, so that the other end does not wait for it.
    let _ = io::copy(&mut from, &mut io::sink());
    bytes
}

/// This program's file, also when another one has taken its name since.
fn this_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        std::env::current_exe()
    }
}

/// What the other process does: limits itself, reads a file and writes its code.
///
/// # Errors
/// Its exit code and last words.
pub fn compile_as_child(component: bool, memory: u64, seconds: u64) -> Result<(), (u8, String)> {
    let broke = |error: io::Error| (1, error.to_string());
    // The host may be gone before this is done.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| broke(error.into()))?;
    for (resource, most) in [
        // Not the address space, of which the engine reserves a lot and uses little.
        (Resource::Data, memory),
        (Resource::Cpu, seconds.saturating_mul(cores())),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| broke(error.into()))?;
    }
    let mut out = io::stdout().lock();
    out.write_all(GREETING).map_err(broke)?;
    out.flush().map_err(broke)?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(broke)?;
    // As large as a memory may be: code for one size of pool does not fit another.
    let engine = Engine::new(Capacity {
        running: 1,
        largest_memory: super::engine::WHOLE_MEMORY,
        memory: u64::MAX,
    })
    .map_err(|error| (1, error.to_string()))?;
    let engine = engine.wasmtime();
    let code = if component {
        engine.precompile_component(&bytes)
    } else {
        engine.precompile_module(&bytes)
    };
    let code = code.map_err(|error| match does_not_compile(&error) {
        PluginError::Compile(why) => (DOES_NOT_COMPILE, why),
        _ => (DECLARES_TOO_MUCH, error.root_cause().to_string()),
    })?;
    out.write_all(&code).map_err(broke)?;
    out.flush().map_err(broke)
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}
