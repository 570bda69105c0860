//! What the tests share: a project in a temporary directory, guests compiled from text, the
//! executable run to its end, and a host whose events can be waited for.

mod event;
mod host;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) use event::{Event, Record};
pub(crate) use host::Host;

/// A directory of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of a guest.
pub(crate) fn guest_text(name: &str) -> String {
    let path = repository("tests/guests").join(format!("{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A guest, compiled from its text.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    compile(&guest_text(name))
}

/// The guest `hello` with another place in what it says, which has the length of `tower`.
pub(crate) fn hello_from(place: &str) -> Vec<u8> {
    assert_eq!(place.len(), "tower".len());
    compile(&guest_text("hello").replace("tower", place))
}

fn compile(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A directory with a `plugins` directory and a `jobs.json`, as an operator has one.
pub(crate) struct Project {
    dir: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Project {
    /// A project with these guests as plugins, and no jobs.
    pub(crate) fn with(guests: &[&str]) -> Project {
        let project = Project {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        };
        std::fs::create_dir(project.path("plugins")).unwrap();
        for name in guests {
            project.write(&plugin(name), guest(name));
        }
        project
    }

    /// Sets a variable of the executable's environment.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// A path inside the project.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file in place, as an editor without care does.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Puts a file in the place of another at once, as a careful editor does.
    pub(crate) fn replace(&self, path: &str, content: impl AsRef<[u8]>) {
        let (path, temporary) = (self.path(path), self.path("temporary~"));
        std::fs::write(&temporary, content).unwrap();
        std::fs::rename(temporary, path).unwrap();
    }

    /// Writes `jobs.json`.
    pub(crate) fn jobs(&self, jobs: &Value) {
        self.write("jobs.json", format!("{jobs:#}"));
    }

    /// The executable, started in the project, in an environment with nothing of the machine's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_quarterjack"));
        command.args(arguments);
        command
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(self.variables.iter().cloned())
            // One for all tests, so that each guest is compiled once.
            .env(
                "QUARTERJACK_CACHE",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/code"),
            )
            .stdin(Stdio::null());
        command
    }

    /// Runs the executable to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// Runs a guest once with `run --json`; the arguments are flags, and after `--` the guest's.
    pub(crate) fn record(&self, name: &str, arguments: &[&str]) -> Record {
        let plugin = plugin(name);
        if !self.path(&plugin).exists() {
            self.write(&plugin, guest(name));
        }
        let mut all = vec!["run", &plugin, "--json"];
        all.extend(arguments);
        Record::of(self.run(&all))
    }

    /// Serves `jobs.json` and waits until the host has started.
    #[track_caller]
    pub(crate) fn serve(&self, arguments: &[&str]) -> Host {
        let mut all = vec!["serve", "--json"];
        all.extend(arguments);
        Host::start(self.command(&all))
    }

    /// The same, with a host that may have so many files open.
    #[track_caller]
    pub(crate) fn serve_with_open_files(&self, most: u32) -> Host {
        Host::start(self.limited(&format!("ulimit -n {most}"), &["serve", "--json"]))
    }

    /// Runs the executable to its end under a limit that a shell sets.
    pub(crate) fn run_limited(&self, limit: &str, arguments: &[&str]) -> Ended {
        Ended::of(self.limited(limit, arguments))
    }

    fn limited(&self, limit: &str, arguments: &[&str]) -> Command {
        let mut command = self.program("/bin/sh");
        command
            .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_quarterjack"))
            .args(arguments);
        command
    }
}

fn plugin(name: &str) -> String {
    format!("plugins/{name}.wasm")
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(mut command: Command) -> Ended {
        let output = command.output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Checks what standard error holds.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in {self:#?}");
        }
        self
    }

    /// Standard output, read as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value: {error}: {self:#?}"))
    }
}
