//! What a `.wasm` file is, read from the file itself: which of the three shapes of a job, what
//! it imports and what it exports. A parse, without an engine.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use sha2::{Digest as _, Sha256};
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, ExternalKind, Parser, Payload, Validator,
    WasmFeatures,
};

use super::imports::{component_import, component_import_03, core_import, is_03};
use super::nesting::{MAX_NESTING, too_deep};
use crate::run::PluginDigest;

pub use super::imports::Import;

/// SHA-256 of a plugin's file: its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a file's content.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }
}

impl From<Digest> for PluginDigest {
    fn from(digest: Digest) -> Self {
        PluginDigest(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

/// The kinds of guest that the host can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A component that exports `run` as the package `quarterjack:job` has it.
    Typed,
    /// A WASI 0.2 command: a component that exports `wasi:cli/run`.
    Command,
    /// A WASI 0.3 command: a component that exports `wasi:cli/run@0.3`. Only of a host that is
    /// built with the feature `wasi-03`.
    Command03,
    /// A WASI 0.1 command: a core module that exports `_start`.
    CoreCommand,
}

/// Whether this host runs WASI 0.3.
const WASI_03: bool = cfg!(feature = "wasi-03");

impl Shape {
    /// Every shape.
    pub(super) const ALL: [Shape; 4] = [
        Shape::Typed,
        Shape::Command,
        Shape::Command03,
        Shape::CoreCommand,
    ];

    /// The shape in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Shape::Typed => "typed component (quarterjack:job)",
            Shape::Command => "WASI 0.2 command",
            Shape::Command03 => "WASI 0.3 command",
            Shape::CoreCommand => "WASI 0.1 command (core module)",
        }
    }

    /// The shape as programs read it.
    pub fn id(self) -> &'static str {
        match self {
            Shape::Typed => "typed",
            Shape::Command => "command",
            Shape::Command03 => "command-0.3",
            Shape::CoreCommand => "core-command",
        }
    }
}

/// What a file that is a job says of itself.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Which kind of guest it is.
    pub shape: Shape,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// What it imports, in the file's order, each once.
    pub imports: Vec<Import>,
    /// What it exports, in the file's order.
    pub exports: Vec<String>,
}

impl Inspection {
    /// The imports that this host cannot provide.
    pub fn unknown_imports(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| !import.known)
    }
}

/// Why a file is not a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Not WebAssembly at all.
    #[error(
        "not a WebAssembly file: it starts with {start}, where a .wasm file has `\\0asm`{hint}"
    )]
    NotWasm {
        /// How the file starts.
        start: String,
        /// What it may be instead.
        hint: &'static str,
    },
    /// WebAssembly that breaks the rules.
    #[error("not valid WebAssembly: {message} (at byte {offset} of {size}){hint}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where.
        offset: usize,
        /// Bytes of the file.
        size: usize,
        /// What may have happened.
        hint: &'static str,
    },
    /// Nothing that any tool makes.
    #[error(
        "its components, or their types, are nested too deeply: more than {MAX_NESTING} levels (at byte {offset})"
    )]
    TooDeep {
        /// Where it is.
        offset: usize,
    },
    /// A WASI 0.3 command that this host does not run: it runs none, or not this draft.
    #[error("it exports {export}, {}", of_03())]
    Wasi03 {
        /// Its export.
        export: String,
    },
    /// WebAssembly that is none of the three shapes.
    #[error(
        "it is a {encoding}, but no job: it exports {exports}; a job is a component that exports `run` (quarterjack:job) or `wasi:cli/run@0.2`, or a core module that exports `_start`"
    )]
    NoEntry {
        /// `component` or `core module`.
        encoding: &'static str,
        /// What it does export.
        exports: String,
    },
}

/// Why a WASI 0.3 command does not run here, and what to do.
fn of_03() -> &'static str {
    if WASI_03 {
        "a command of a draft of WASI 0.3, and this host runs WASI 0.3.0 and 0.2: build it with newer tools"
    } else {
        "a WASI 0.3 command, and this host runs WASI 0.2: build it for WASI 0.2 (in Rust the target wasm32-wasip2), or build the host with `cargo build --release --features wasi-03`"
    }
}

/// Reads what a file is.
///
/// # Errors
/// Why it is not a job, with what it does export.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ShapeError> {
    check_magic(bytes)?;
    if let Some(offset) = too_deep(bytes) {
        return Err(ShapeError::TooDeep { offset });
    }
    validate(bytes)?;
    let mut surface = Surface::read(bytes).map_err(|error| invalid(&error, bytes.len()))?;
    let shape = surface.shape()?;
    if shape == Shape::Command03 {
        // Only its linker has these.
        for import in surface.imports.iter_mut().filter(|import| !import.known) {
            if let Some(known) = component_import_03(&import.name) {
                *import = known;
            }
        }
    }
    Ok(Inspection {
        shape,
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        imports: surface.imports,
        exports: surface.exports.into_iter().map(|(name, _)| name).collect(),
    })
}

fn check_magic(bytes: &[u8]) -> Result<(), ShapeError> {
    if bytes.is_empty() {
        return Err(ShapeError::Empty);
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(());
    }
    let start = bytes.get(..8).unwrap_or(bytes).escape_ascii().to_string();
    let hint = if bytes.starts_with(b"\x7fELF") || bytes.starts_with(b"MZ") {
        " (a native program: build it for a wasm32 target)"
    } else if bytes.trim_ascii_start().starts_with(b"(") {
        " (WebAssembly text: turn it into a binary with `wasm-tools parse`)"
    } else if bytes.starts_with(b"version https://git-lfs") {
        " (a Git LFS pointer: fetch the file itself with `git lfs pull`)"
    } else {
        ""
    };
    Err(ShapeError::NotWasm {
        start: format!("`{start}`"),
        hint,
    })
}

fn validate(bytes: &[u8]) -> Result<(), ShapeError> {
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(bytes)
        .map(drop)
        .map_err(|error| invalid(&error, bytes.len()))
}

fn invalid(error: &wasmparser::BinaryReaderError, size: usize) -> ShapeError {
    let offset = error.offset();
    ShapeError::Invalid {
        message: brief(error.message()),
        offset,
        size,
        hint: if offset >= size || error.message().contains("unexpected end") {
            "; the file may be cut short"
        } else {
            ""
        },
    }
}

/// Names of a file in a list: as many, and as much of each, as a person reads. A file may have a
/// million, of 100 000 bytes each.
pub fn listed(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN);
    let shown = shown.map(|name| format!("`{}`", brief_name(name.as_ref())));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A name of a file, as much of it as a person reads.
pub(super) fn brief_name(name: &str) -> Cow<'_, str> {
    const LONGEST: usize = 200;
    match name.get(..name.floor_char_boundary(LONGEST)) {
        Some(start) if start.len() < name.len() => format!("{start}...").into(),
        _ => name.into(),
    }
}

/// What a parser, compiler or linker says of a file, without the rest of a text that quotes names
/// of the file at length.
pub(super) fn brief(message: &str) -> String {
    const LONGEST: usize = 2 << 10;
    match message.get(..message.floor_char_boundary(LONGEST)) {
        Some(start) if start.len() < message.len() => format!("{start}..."),
        _ => message.to_owned(),
    }
}

/// The outer face of a file.
struct Surface {
    encoding: Encoding,
    imports: Vec<Import>,
    exports: Vec<(String, bool)>, // and whether it is a function
}

impl Surface {
    fn read(bytes: &[u8]) -> Result<Surface, wasmparser::BinaryReaderError> {
        let mut surface = Surface {
            encoding: Encoding::Module,
            imports: Vec::new(),
            exports: Vec::new(),
        };
        // Modules and components inside a component come in line, between their own
        // version and end; only what is at the outermost level is the file's face.
        let mut depth = 0_usize;
        // A core module may import the same as often as it likes.
        let mut imported = HashSet::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    if depth == 0 {
                        surface.encoding = encoding;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ImportSection(section) if depth == 1 => {
                    for import in section.into_imports() {
                        let import = import?;
                        let (module, name) = (import.module, import.name);
                        let import = core_import(module, name, import.ty);
                        if imported.insert((module, name, import.known)) {
                            surface.imports.push(import);
                        }
                    }
                }
                Payload::ExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export?;
                        let function = export.kind == ExternalKind::Func;
                        surface.exports.push((export.name.to_owned(), function));
                    }
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import = import?;
                        // A type carries nothing at run time.
                        if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                            surface.imports.push(component_import(import.name.name));
                        }
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export?;
                        let function = export.kind == ComponentExternalKind::Func;
                        surface
                            .exports
                            .push((export.name.name.to_owned(), function));
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    fn shape(&self) -> Result<Shape, ShapeError> {
        let has = |name: &str| {
            self.exports
                .iter()
                .any(|(export, function)| *function && export == name)
        };
        let with_prefix = |prefix: &str| {
            self.exports
                .iter()
                .find(|(export, _)| export.starts_with(prefix))
        };
        match self.encoding {
            Encoding::Component if has("run") => Ok(Shape::Typed),
            Encoding::Component if with_prefix("wasi:cli/run@0.2.").is_some() => Ok(Shape::Command),
            Encoding::Component => match with_prefix("wasi:cli/run@0.3.") {
                Some((export, _)) if WASI_03 && is_03(export) => Ok(Shape::Command03),
                Some((export, _)) => Err(ShapeError::Wasi03 {
                    export: export.clone(),
                }),
                None => Err(self.no_entry("component")),
            },
            Encoding::Module if has("_start") => Ok(Shape::CoreCommand),
            Encoding::Module => Err(self.no_entry("core module")),
        }
    }

    fn no_entry(&self, encoding: &'static str) -> ShapeError {
        let names: Vec<&str> = self.exports.iter().map(|(name, _)| &**name).collect();
        let exports = match names.as_slice() {
            [] => "nothing".to_owned(),
            names => listed(names),
        };
        ShapeError::NoEntry { encoding, exports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect_text(text: &str) -> Result<Inspection, ShapeError> {
        inspect(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn a_core_module_with_start_is_a_command() {
        let seen = inspect_text(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (import "wasi_snapshot_preview1" "path_open" (func))
                (import "env" "emscripten_thing" (func))
                (memory (export "memory") 1)
                (func (export "_start")))"#,
        )
        .unwrap();
        assert_eq!(seen.shape, Shape::CoreCommand);
        assert_eq!(seen.exports, ["memory", "_start"]);
        let unknown: Vec<_> = seen.unknown_imports().map(|import| &import.name).collect();
        assert_eq!(unknown, ["env.emscripten_thing"]);
        assert_eq!(seen.imports[1].needs, Some("grants.dirs"));
    }

    #[test]
    fn what_is_imported_often_is_told_once() {
        let import = |name| format!(r#"(import "wasi_snapshot_preview1" "{name}" (func))"#);
        let other = r#"(import "wasi_snapshot_preview1" "b" (global i32))"#;
        let imports = [import("b"), import("a"), import("b"), other.into()].concat();
        let seen = inspect_text(&format!(r#"(module {imports} (func (export "_start")))"#));
        let seen = seen.unwrap().imports;
        let told: Vec<_> = seen.iter().map(|it| (&*it.name, it.known)).collect();
        let module = "wasi_snapshot_preview1";
        let (a, b) = (format!("{module}.a"), format!("{module}.b"));
        assert_eq!(told, [(&*b, true), (&*a, true), (&*b, false)]);
    }

    #[test]
    fn what_is_inside_a_component_is_not_its_face() {
        let error = inspect_text(
            r#"(component
                (core module $m (func (export "_start")) (func (export "run")))
                (core instance $i (instantiate $m))
                (func (export "other") (canon lift (core func $i "run"))))"#,
        )
        .unwrap_err();
        assert_eq!(
            error,
            ShapeError::NoEntry {
                encoding: "component",
                exports: "`other`".to_owned()
            }
        );
    }

    fn exporting(version: &str) -> String {
        format!(
            r#"(component
                (core module $m (func (export "run")))
                (core instance $i (instantiate $m))
                (func $run (canon lift (core func $i "run")))
                (instance $exported (export "run" (func $run)))
                (export "wasi:cli/run@{version}" (instance $exported)))"#
        )
    }

    #[test]
    fn a_wasi_0_3_command_runs_where_the_host_is_built_for_it() {
        let seen = inspect_text(&exporting("0.3.1"));
        if WASI_03 {
            assert_eq!(seen.unwrap().shape, Shape::Command03);
        } else {
            let error = seen.unwrap_err().to_string();
            assert!(error.starts_with("it exports wasi:cli/run@0.3.1, a WASI 0.3 command"));
            assert!(error.contains("--features wasi-03"), "{error}");
        }
        let draft = inspect_text(&exporting("0.3.0-rc-2025-09-16")).unwrap_err();
        assert_eq!(draft.to_string().contains("draft"), WASI_03, "{draft}");
    }

    #[test]
    fn names_without_number_and_end_are_told_in_short() {
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        assert_eq!(
            listed(&["n"; 14]),
            format!("{} and 2 more", ["`n`"; 12].join(", "))
        );
        let long = "\u{e9}".repeat(50_000);
        let shown = listed(&[&long]);
        assert_eq!(shown, format!("`{}...`", "\u{e9}".repeat(100)));
        let twice = format!(
            r#"(module (func $f) (export "{long}" (func $f)) (export "{long}" (func $f)))"#
        );
        let error = inspect_text(&twice).unwrap_err().to_string();
        assert!(
            error.contains("duplicate export name") && error.len() < 3_000,
            "{error}"
        );
    }

    #[test]
    fn files_that_are_no_jobs_are_named_for_what_they_are() {
        let said = |bytes: &[u8]| inspect(bytes).unwrap_err().to_string();
        assert_eq!(said(b""), "the file is empty");
        assert!(said(b"\x7fELF\x02\x01\x01\0\0").contains("native program"));
        assert!(said(b"  (module)").contains("WebAssembly text"));
        assert!(said(b"#!/bin/sh\n").contains("not a WebAssembly file"));
        assert!(said(b"\0asm").contains("not valid WebAssembly"));
        let whole = wat::parse_str("(module (func (export \"_start\") nop nop nop nop))").unwrap();
        assert!(said(&whole[..whole.len() - 3]).contains("cut short"));
        assert!(
            inspect_text("(module (func (export \"main\")) (memory (export \"memory\") 1))")
                .unwrap_err()
                .to_string()
                .contains("it exports `main`, `memory`;")
        );
        assert!(
            inspect_text("(module)")
                .unwrap_err()
                .to_string()
                .contains("exports nothing")
        );
    }
}
