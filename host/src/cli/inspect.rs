//! `quarterjack inspect`: what a `.wasm` file is, what it exports and imports, and the job entry
//! that it would need. Reads the file; compiles nothing.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::output::{Paint, Screen, Tone, harmless};
use super::{Exit, Refusal};
use crate::policy::PluginSettings;
use crate::runtime::compiler::inspect_apart;
use crate::runtime::plugin::read_file;
use crate::runtime::shape::{Inspection, Shape};
use crate::units::format_size;

/// The arguments of `inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The file
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Print the same facts as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct InspectionJson<'a> {
    file: String,
    shape: &'static str,
    sha256: String,
    size_bytes: u64,
    /// Whether the host has all that it imports.
    runnable: bool,
    exports: &'a [String],
    imports: Vec<ImportJson<'a>>,
    /// The keys of a definition that may be needed.
    grants: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct ImportJson<'a> {
    name: &'a str,
    provided: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'static str>,
}

impl Inspect {
    /// Reads the file and prints what it is.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let shown = self.file.display();
        let failure = |why: String| Refusal::failure(format_args!("{shown}: {why}"));
        let bytes = read_file(&self.file, PluginSettings::MAX_SIZE)
            .map_err(|error| failure(error.to_string()))?;
        let seen = inspect_apart(&bytes).map_err(|error| failure(error.to_string()))?;
        let text = if self.json {
            let json = serde_json::to_string(&to_json(&self.file, &seen));
            json.map_err(io::Error::from)?
        } else {
            describe(&self.file, &seen, screen.out)
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.trim_end())?;
        out.flush()?;
        Ok(Exit::Ok)
    }
}

fn to_json<'a>(file: &Path, seen: &'a Inspection) -> InspectionJson<'a> {
    InspectionJson {
        file: file.display().to_string(),
        shape: seen.shape.id(),
        sha256: seen.digest.to_string(),
        size_bytes: seen.size,
        runnable: seen.unknown_imports().next().is_none(),
        exports: &seen.exports,
        imports: seen
            .imports
            .iter()
            .map(|import| ImportJson {
                name: &import.name,
                provided: import.known && !import.refused,
                grant: import.needs,
            })
            .collect(),
        grants: grants(seen),
    }
}

/// The keys of a definition that open something for the file's imports, each once.
fn grants(seen: &Inspection) -> Vec<&'static str> {
    let mut keys: Vec<&'static str> = Vec::new();
    for key in seen.imports.iter().filter_map(|import| import.needs) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn describe(file: &Path, seen: &Inspection, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:8} {value}");
    };
    line("shape", seen.shape.as_str());
    line("size", &format_size(seen.size));
    line("sha256", &seen.digest.to_string());
    for (place, export) in seen.exports.iter().enumerate() {
        line(if place == 0 { "exports" } else { "" }, &harmless(export));
    }
    if seen.imports.is_empty() {
        line("imports", "nothing");
    }
    let open = |key: Option<&'static str>| {
        seen.imports
            .iter()
            .filter(move |import| import.known && !import.refused && import.needs == key)
            .map(|import| harmless(&import.name))
    };
    let missing = seen.unknown_imports().map(|import| harmless(&import.name));
    let mut group = |title: &str, names: &mut dyn Iterator<Item = String>| {
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            let _ = writeln!(text, "  {title}");
            for name in names {
                let _ = writeln!(text, "    {name}");
            }
        }
    };
    group("imports that every job has", &mut open(None));
    for key in grants(seen) {
        let title = format!("imports with nothing behind them unless \"{key}\" grants it");
        group(&title, &mut open(Some(key)));
    }
    let refused = seen.imports.iter().filter(|import| import.refused);
    group(
        "imports that are refused when it uses them: the host has only those of WASI 0.2",
        &mut refused.map(|import| harmless(&import.name)),
    );
    let title = paint
        .paint(Tone::Bad, "imports that this host does not have")
        .to_string();
    group(&title, &mut missing.into_iter());
    let name = paint.paint(Tone::Strong, file.display());
    let mut text = format!("{name}\n{text}\n");
    if seen.unknown_imports().next().is_some() {
        text.push_str("It cannot run here: build it without what this host does not have.\n");
    } else {
        let _ = writeln!(text, "A job that runs it, to paste into a job file:\n");
        text.push_str(&entry(file, seen));
    }
    text
}

/// A job entry for the file, in the order of keys that examples have.
fn entry(file: &Path, seen: &Inspection) -> String {
    let part = |part: Option<&std::ffi::OsStr>| {
        let text = part.map(|part| part.to_string_lossy()).unwrap_or_default();
        serde_json::Value::from(text).to_string()
    };
    let mut lines = vec![
        format!("\"id\": {}", part(file.file_stem())),
        format!("\"component\": {}", part(file.file_name())),
        "\"trigger\": \"@every 1m\"".to_owned(),
    ];
    if seen.shape != Shape::Typed {
        lines.push("\"args\": []".to_owned());
    }
    // Most toolchains import more than the program uses, files and sockets above all.
    let examples: Vec<String> = grants(seen)
        .into_iter()
        .filter_map(|key| {
            let (example, purpose) = example(key)?;
            Some(format!("    {example} // only if it {purpose}"))
        })
        .collect();
    if !examples.is_empty() {
        lines.push(format!("\"grants\": {{\n{}\n  }}", examples.join("\n")));
    }
    format!("{{\n  {}\n}}\n", lines.join(",\n  "))
}

/// A grant to paste, and what a program does that needs it.
fn example(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "grants.config" => (r#""config": { "greeting": "hello" },"#, "reads settings"),
        "grants.dirs" => (
            r#""dirs": [{ "host": "data", "guest": "/data", "mode": "ro" }],"#,
            "opens files",
        ),
        "grants.http" => (r#""http": ["https://api.example.com"],"#, "sends requests"),
        "grants.schedule" => (
            r#""schedule": { "prefix": "sync/" },"#,
            "defines other jobs",
        ),
        "grants.secrets" => (r#""secrets": ["api-key"],"#, "asks for secrets"),
        "grants.sockets" => (
            r#""sockets": ["tcp://db.example.com:5432"],"#,
            "opens sockets",
        ),
        "grants.state" => (r#""state": true,"#, "keeps something between its runs"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::shape::inspect;

    fn command() -> Inspection {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open" (func))
            (memory (export "memory") 1)
            (func (export "_start")))"#;
        inspect(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_command_with_files() {
        let text = describe(
            Path::new("plugins/a b.wasm"),
            &command(),
            Paint { on: false },
        );
        insta::assert_snapshot!(text, @r#"
        plugins/a b.wasm
          shape    WASI 0.1 command (core module)
          size     130 B
          sha256   19d322d98105a26d6736e3d101497da3e11eed6594da1a2a40e065982e6c935c
          exports  memory
                   _start
          imports that every job has
            wasi_snapshot_preview1.fd_write
          imports with nothing behind them unless "grants.dirs" grants it
            wasi_snapshot_preview1.path_open

        A job that runs it, to paste into a job file:

        {
          "id": "a b",
          "component": "a b.wasm",
          "trigger": "@every 1m",
          "args": [],
          "grants": {
            "dirs": [{ "host": "data", "guest": "/data", "mode": "ro" }], // only if it opens files
          }
        }
        "#);
    }

    #[test]
    fn a_file_that_cannot_run_here() {
        let text = r#"(module (import "env" "gl_clear" (func)) (func (export "_start")))"#;
        let seen = inspect(&wat::parse_str(text).unwrap()).unwrap();
        insta::assert_snapshot!(describe(Path::new("game.wasm"), &seen, Paint { on: false }), @"
        game.wasm
          shape    WASI 0.1 command (core module)
          size     54 B
          sha256   d0ebd6d35b5acb4af79a2899550b61b7c675c6354b96166409251e0d50c57c46
          exports  _start
          imports that this host does not have
            env.gl_clear

        It cannot run here: build it without what this host does not have.
        ");
    }

    #[test]
    fn what_is_to_be_pasted_is_a_good_job() {
        use crate::job::manifest::Options;
        use crate::job::{Manifest, SourceText};
        let text = format!("[{}]", entry(Path::new("plugins/digest.wasm"), &command()));
        let source = std::sync::Arc::new(SourceText::new("jobs.json", text));
        let manifest = Manifest::parse(source, &Options::default()).unwrap();
        let job = manifest.jobs().next().expect("a good job");
        assert_eq!(job.id.as_str(), "digest");
        assert_eq!(job.grants.dirs.len(), 1);
    }

    #[test]
    fn the_json_form_has_the_same_facts() {
        let seen = command();
        let json = serde_json::to_value(to_json(Path::new("a.wasm"), &seen)).unwrap();
        assert_eq!(json["shape"], "core-command");
        assert_eq!(json["runnable"], true);
        assert_eq!(json["exports"][1], "_start");
        assert_eq!(
            json["imports"][1]["name"],
            "wasi_snapshot_preview1.path_open"
        );
        assert_eq!(json["imports"][1]["grant"], "grants.dirs");
        assert_eq!(json["grants"][0], "grants.dirs");
        assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(json["size_bytes"], seen.size);
    }
}
