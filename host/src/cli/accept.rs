//! `quarterjack accept`: takes a plugin into the lock file, after showing what is new about it. A
//! host that holds it back takes it within moments.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::options::Plugins;
use super::output::{Screen, harmless};
use super::{Exit, Refusal};
use crate::clock::SystemClock;
use crate::policy::PluginSettings;
use crate::runtime::compiler::inspect_apart;
use crate::runtime::lock::{DEFAULT_LOCK, LockFile, Verdict};
use crate::runtime::plugin::read_file;
use crate::runtime::shape::{Inspection, listed};
use crate::suggest::nearest;

/// The arguments of `accept`.
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// Plugins, by the names of their files
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// The lock file
    #[arg(
        long,
        value_name = "FILE",
        env = "QUARTERJACK_LOCK",
        hide_env_values = true,
        default_value = DEFAULT_LOCK
    )]
    lock: PathBuf,
    #[command(flatten)]
    plugins: Plugins,
    /// Show what would change, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print one JSON object a line for each plugin, and nothing else
    #[arg(long)]
    json: bool,
}

/// What is new about a plugin.
#[derive(Debug, Serialize)]
struct ChangeJson<'a> {
    plugin: &'a str,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_sha256: Option<&'a str>,
    added: Vec<AddedJson<'a>>,
    removed: &'a [String],
    /// Whether the lock file says so now.
    accepted: bool,
}

#[derive(Debug, Serialize)]
struct AddedJson<'a> {
    import: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'static str>,
}

impl Accept {
    /// Shows and accepts each, unless one of them cannot be.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let plugins = self.plugins.plugins;
        let file = LockFile::new(self.lock, false, plugins.clone(), Arc::new(SystemClock));
        let lock = file.read().map_err(Refusal::failure)?;
        let mut seen = Vec::with_capacity(self.names.len());
        for name in &self.names {
            seen.push(look(&plugins, name)?);
        }
        let mut out = io::stdout().lock();
        for (name, inspection) in &seen {
            let imports = names_of(inspection);
            let verdict = lock.judge(name, inspection.digest, &imports);
            let accept = !self.dry_run && verdict != Verdict::Known;
            if accept {
                file.accept(name, inspection.digest, &imports)
                    .map_err(Refusal::failure)?;
            }
            if self.json {
                let json = to_json(name, inspection, &verdict, accept);
                writeln!(
                    out,
                    "{}",
                    serde_json::to_string(&json).map_err(io::Error::from)?
                )?;
            } else {
                let title = screen
                    .out
                    .paint(super::output::Tone::Strong, harmless(name));
                write!(out, "{title}\n{}", describe(inspection, &verdict))?;
                writeln!(out, "{}", conclusion(&verdict, accept, file.path()))?;
            }
        }
        out.flush()?;
        Ok(Exit::Ok)
    }
}

fn names_of(inspection: &Inspection) -> Vec<String> {
    let imports = inspection.imports.iter();
    imports.map(|import| import.name.clone()).collect()
}

/// Finds and inspects a plugin. Its ending may be left out.
fn look(plugins: &Path, typed: &str) -> Result<(String, Inspection), Refusal> {
    if typed.contains('/') || typed == ".." || typed == "." {
        return Err(Refusal::usage(format_args!(
            "`{typed}` is not the name of a plugin: name a file of the plugins directory, such as report.wasm"
        )));
    }
    let name = if typed.ends_with(".wasm") {
        typed.to_owned()
    } else {
        format!("{typed}.wasm")
    };
    let path = plugins.join(&name);
    if !path.exists() {
        let others = names_in(plugins);
        let hint = match nearest(&name, others.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name another directory with --plugins".to_owned(),
        };
        return Err(Refusal::failure(format_args!(
            "no plugin `{name}` in {}: {hint}",
            plugins.display()
        )));
    }
    let failure = |why: String| Refusal::failure(format_args!("{}: {why}", path.display()));
    let bytes =
        read_file(&path, PluginSettings::MAX_SIZE).map_err(|error| failure(error.to_string()))?;
    let inspection = inspect_apart(&bytes).map_err(|error| failure(error.to_string()))?;
    let unknown: Vec<String> = inspection
        .unknown_imports()
        .map(|import| harmless(&import.name))
        .collect();
    if !unknown.is_empty() {
        return Err(failure(format!(
            "it imports {}, which this host does not offer to any job: to accept it would be of no use",
            listed(&unknown)
        )));
    }
    Ok((name, inspection))
}

fn names_in(plugins: &Path) -> Vec<String> {
    // Only for a hint.
    let entries = std::fs::read_dir(plugins).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect()
}

/// What it imports that was not accepted before.
fn added<'a>(inspection: &'a Inspection, verdict: &'a Verdict) -> Vec<AddedJson<'a>> {
    let imports = inspection.imports.iter().filter(|import| match verdict {
        Verdict::Known => false,
        Verdict::New => true,
        Verdict::Changed { added, .. } => added.contains(&import.name),
    });
    imports
        .map(|import| AddedJson {
            import: &import.name,
            grant: import.needs,
        })
        .collect()
}

fn to_json<'a>(
    name: &'a str,
    inspection: &'a Inspection,
    verdict: &'a Verdict,
    accepted: bool,
) -> ChangeJson<'a> {
    let sha256 = inspection.digest.to_string();
    let (accepted_sha256, removed) = match verdict {
        Verdict::Changed {
            accepted, removed, ..
        } => (Some(accepted.as_str()), removed.as_slice()),
        Verdict::Known | Verdict::New => (None, [].as_slice()),
    };
    ChangeJson {
        plugin: name,
        sha256,
        accepted_sha256,
        added: added(inspection, verdict),
        removed,
        accepted,
    }
}

fn describe(inspection: &Inspection, verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:8} {value}");
    };
    if let Verdict::Changed { accepted, .. } = verdict {
        line("before", &format!("sha256 {accepted}"));
    }
    line("now", &format!("sha256 {}", inspection.digest));
    let title = match verdict {
        Verdict::New => "imports",
        _ => "adds",
    };
    for (place, new) in added(inspection, verdict).iter().enumerate() {
        let grant = match new.grant {
            Some(key) => format!(" (needs \"{key}\")"),
            None => String::new(),
        };
        let title = if place == 0 { title } else { "" };
        line(title, &format!("{}{grant}", harmless(new.import)));
    }
    if let Verdict::Changed { removed, .. } = verdict {
        for (place, name) in removed.iter().enumerate() {
            line(if place == 0 { "drops" } else { "" }, &harmless(name));
        }
    }
    text
}

fn conclusion(verdict: &Verdict, accept: bool, lock: &Path) -> String {
    let lock = lock.display();
    match (verdict, accept) {
        (Verdict::Known, _) => format!("It is accepted in {lock} already."),
        (_, false) => format!("It would be accepted into {lock}."),
        (_, true) => {
            format!("Accepted into {lock}: a host that holds it back takes it within moments.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lock::Lock;
    use crate::runtime::shape::inspect;

    fn judged(lock: &Lock, name: &str, inspection: &Inspection) -> Verdict {
        lock.judge(name, inspection.digest, &names_of(inspection))
    }

    fn inspection(imports: &str) -> Inspection {
        let text = format!(r#"(module {imports} (func (export "_start")))"#);
        inspect(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn what_is_new_is_shown_with_the_grant_that_it_needs() {
        let import = |name: &str| format!(r#"(import "wasi_snapshot_preview1" "{name}" (func))"#);
        let old = inspection(&(import("fd_write") + &import("fd_read")));
        let new = inspection(&(import("fd_write") + &import("path_open") + &import("random_get")));
        let mut lock = Lock::default();
        let name = "report.wasm";
        assert_eq!(judged(&lock, name, &old), Verdict::New);
        insta::assert_snapshot!(describe(&old, &Verdict::New), @"
          now      sha256 dc12579b37d21b3e9887df1be012c01252252add137c6b128861f6167b3989dd
          imports  wasi_snapshot_preview1.fd_write
                   wasi_snapshot_preview1.fd_read
        ");
        lock.accept(name, old.digest, &names_of(&old), "then".into());
        assert_eq!(judged(&lock, name, &old), Verdict::Known);
        let changed = judged(&lock, name, &new);
        insta::assert_snapshot!(describe(&new, &changed), @r#"
        before   sha256 dc12579b37d21b3e9887df1be012c01252252add137c6b128861f6167b3989dd
        now      sha256 ee210b150c08c26bfcd6c803b23db5b956a324896a87d11c71241dcc6134c424
        adds     wasi_snapshot_preview1.path_open (needs "grants.dirs")
                 wasi_snapshot_preview1.random_get
        drops    wasi_snapshot_preview1.fd_read
        "#);
        let json = serde_json::to_value(to_json(name, &new, &changed, true)).unwrap();
        assert_eq!(json["added"][0]["grant"], "grants.dirs");
        assert_eq!(
            json["added"][1]["import"],
            "wasi_snapshot_preview1.random_get"
        );
        assert_eq!(json["removed"][0], "wasi_snapshot_preview1.fd_read");
        assert_eq!(json["accepted_sha256"], old.digest.to_string());
    }

    #[test]
    fn a_name_is_a_name_and_a_near_one_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str| look(dir.path(), name).unwrap_err().message;
        assert!(said("../x.wasm").contains("not the name of a plugin"));
        std::fs::write(dir.path().join("report.wasm"), b"no wasm").unwrap();
        assert!(said("reprot").contains("did you mean `report.wasm`?"));
        assert!(said("report").contains("not a WebAssembly file"));
        let wasm = wat::parse_str(r#"(module (import "env" "f" (func)) (func (export "_start")))"#);
        std::fs::write(dir.path().join("report.wasm"), wasm.unwrap()).unwrap();
        assert!(said("report").contains("env.f"));
    }
}
