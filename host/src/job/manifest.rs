//! A job file: its format, and the jobs that come out of it.
//!
//! Two forms are read. The object form has file-wide settings beside its jobs:
//!
//! ```json
//! {
//!   "timezone": "Europe/Berlin",
//!   "defaults": { "limits": { "timeout": "90s" } },
//!   "jobs": [{ "id": "report", "component": "report.wasm", "trigger": "*/5 * * * *" }]
//! }
//! ```
//!
//! The short form is the list of jobs alone. In either, a job's trigger may be written as
//! `"cron_expression": "* * * * *"`.
//!
//! A mistake inside a job spoils that job alone. One outside of all jobs (the text is no JSON, a
//! file-wide setting is wrong) spoils the file, because what each job means depends on it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::calendars::Calendars;
use super::decode::Decoder;
use super::definition::{Reader, Settings, max_instances};
use super::diagnostic::{Diagnostic, SourceText};
use super::digest::Digester;
use super::document::{self, Member, Node, Repeated, Value};
use super::execution::decode as policies;
use super::grants::GrantPlaces;
use super::keys::{DEFAULTS, FILE, JOB};
use super::limits::PlacedLimits;
use super::{Circles, Grants, Job, JobId, Limits, ReadFile};
use crate::trigger::Zone;

/// What a job file is read with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that relative host directories are relative to: the job file's.
    pub base: PathBuf,
    /// The most that a job may ask for.
    pub maximum: Limits,
    /// What the text is.
    pub form: Form,
    /// Reads a file that the job file names, of so many bytes at most.
    pub read: fn(&Path, usize) -> io::Result<Vec<u8>>,
    /// The job that made the text, if it was not a person.
    pub creator: Option<JobId>,
}

impl Default for Options {
    /// The working directory, [`Limits::MAXIMUM`], and no other files.
    fn default() -> Self {
        Options {
            base: PathBuf::new(),
            maximum: Limits::MAXIMUM,
            form: Form::File,
            read: |_, _| Err(io::ErrorKind::Unsupported.into()),
            creator: None,
        }
    }
}

/// What a text of definitions is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Form {
    /// A job file: a list of jobs, or an object that has one.
    #[default]
    File,
    /// One job, which says everything itself.
    Alone,
    /// One job.
    One {
        /// Its id, unless it says otherwise.
        id: Arc<str>,
        /// Its component, unless it says otherwise; it has to where there is none.
        component: Option<Arc<str>>,
    },
}

/// What a job file holds, in its order.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The text it was read from.
    pub source: Arc<SourceText>,
    /// One for each job, good or not.
    pub entries: Vec<Entry>,
    /// What is perhaps not meant so, such as a trigger that never fires.
    pub warnings: Vec<Diagnostic>,
    /// The other files that its meaning depends on.
    pub files: Vec<ReadFile>,
}

/// One job of a job file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// Its id, if that could be read. Two entries have the same where the file uses one twice.
    pub id: Option<JobId>,
    /// The job, or everything wrong with it.
    pub result: Result<Arc<Job>, Vec<Diagnostic>>,
    /// Its component, if that could be read, also where something else is wrong with the job.
    pub component: Option<Arc<str>>,
    /// Where its component is named, in bytes: the place for whatever the plugins directory has
    /// to say. The whole entry if it names none.
    pub component_span: Range<usize>,
    /// Where its `sha256` is pinned, in bytes; nothing if it pins none.
    pub sha256_span: Option<Range<usize>>,
    /// Where its trigger says when, in bytes: the place for what is perhaps not meant so. The
    /// whole entry if it has none.
    pub trigger_span: Range<usize>,
    /// Its grants, as far as they could be read, also where something else is wrong with the job.
    pub grants: Arc<Grants>,
    /// Where each of its grants stands; nothing where nothing is granted.
    pub places: Option<Box<GrantPlaces>>,
    /// Where the value of each of its limits begins, in bytes, in the order of
    /// [`Origin::limit_lines`](super::Origin::limit_lines); its own or the file's defaults.
    pub limit_places: [Option<u32>; 6],
    /// The jobs that it comes after, and where each is named.
    pub upstreams: Box<[(Arc<str>, Range<usize>)]>,
}

impl Entry {
    /// What is wrong with the job if it is in one of these circles, whose jobs come after each
    /// other; `source` is the text of the entry.
    pub fn circle_problem(
        &self,
        source: &Arc<SourceText>,
        circles: &Circles<'_>,
    ) -> Option<Diagnostic> {
        let id = self.id.as_ref()?;
        let circle = circles.of(id.as_str())?;
        let span = self.upstreams.first().map(|(_, span)| span.clone());
        Some(
            Diagnostic::error(
                source,
                span.unwrap_or_else(|| self.component_span.clone()),
                format!("job `{id}` comes after itself"),
            )
            .with_label(circle)
            .with_hint("one of them needs another trigger")
            .with_job(Some(id.clone())),
        )
    }
}

impl Manifest {
    /// Reads a job file.
    ///
    /// # Errors
    /// If nothing in the file can be used: everything wrong with it, in its order.
    pub fn parse(source: Arc<SourceText>, options: &Options) -> Result<Manifest, Vec<Diagnostic>> {
        let mut document = document::parse(&source).map_err(|problem| vec![*problem])?;
        document
            .repeated
            .sort_by_key(|repeated| repeated.span.start);
        let mut file = Decoder::new(&source);
        let mut settings = settings(options);
        let mut digester = Digester::default();
        let jobs = match options.form {
            Form::File => {
                digester.add_settings(&document.root);
                read_file(&mut file, &document.root, options, &mut settings)
            }
            Form::Alone | Form::One { .. } => std::slice::from_ref(&document.root),
        };
        let files = std::mem::take(&mut settings.calendars.files);
        files.iter().for_each(|file| digester.add_file(file.digest));
        let mut reader = Reader::new(&source, options, settings, digester, jobs.len());
        let mut repeated = document.repeated.iter().peekable();
        for node in jobs {
            while let Some(outside) = repeated.next_if(|it| it.span.start < node.span.start) {
                note_repeated(&mut file, outside);
            }
            let mut job = Decoder::new(&source);
            while let Some(inside) = repeated.next_if(|it| it.span.end <= node.span.end) {
                note_repeated(&mut job, inside);
            }
            reader.read(job, node);
        }
        for outside in repeated {
            note_repeated(&mut file, outside);
        }
        let (mut entries, warnings) = reader.finish();
        refuse_circles(&source, &mut entries);
        if file.problems.is_empty() {
            return Ok(Manifest {
                source,
                entries,
                warnings,
                files,
            });
        }
        let mut problems = file.problems;
        problems.extend(
            entries
                .into_iter()
                .filter_map(|entry| entry.result.err())
                .flatten(),
        );
        problems.sort_by_key(|problem| problem.span.start);
        Err(problems)
    }

    /// The keys of a definition of it, with their values as compact JSON, in its order.
    pub fn members(&self, entry: &Entry) -> Vec<(String, String)> {
        let text = self.source.text().get(entry.span.clone());
        let text = Arc::new(SourceText::new("", text.unwrap_or_default()));
        let Ok(document) = document::parse(&text) else {
            return Vec::new(); // not as it was when it was read
        };
        let Value::Object(members) = &document.root.value else {
            return Vec::new();
        };
        let json = |member: &document::Member<'_>| {
            let mut json = String::new();
            member.value.write_json(text.text(), &mut json);
            (member.key.to_string(), json)
        };
        members.iter().map(json).collect()
    }

    /// The jobs that can be used, in the order of the file.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.entries
            .iter()
            .filter_map(|entry| entry.result.as_ref().ok())
    }

    /// Everything to say about the file, in its order.
    pub fn problems(&self) -> Vec<&Diagnostic> {
        let errors = self
            .entries
            .iter()
            .filter_map(|entry| entry.result.as_ref().err())
            .flatten();
        let mut all: Vec<_> = errors.chain(&self.warnings).collect();
        all.sort_by_key(|problem| problem.span.start);
        all
    }

    /// Something wrong with the component of an entry of this file, as a later stage finds it:
    /// "no such plugin".
    pub fn component_problem(&self, entry: &Entry, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.source, entry.component_span.clone(), message)
            .with_job(entry.id.clone())
    }

    /// Something wrong with the `sha256` that an entry of this file pins, as a later stage finds
    /// it: the plugin has another one.
    pub fn pin_problem(&self, entry: &Entry, message: impl Into<String>) -> Diagnostic {
        let span = entry.sha256_span.as_ref().unwrap_or(&entry.component_span);
        Diagnostic::error(&self.source, span.clone(), message).with_job(entry.id.clone())
    }

    /// What is perhaps not meant so about the trigger of an entry of this file, as a later stage
    /// finds it: "it never fires again".
    pub fn trigger_warning(&self, entry: &Entry, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(&self.source, entry.trigger_span.clone(), message)
            .with_job(entry.id.clone())
    }
}

/// The texts of the definitions in a text: of one job, or of each in a list. `id` is that of one
/// that does not say it.
///
/// # Errors
/// Everything wrong with them, in the order of the text.
pub fn definitions_of(
    source: &Arc<SourceText>,
    id: Option<&str>,
    options: &Options,
) -> Result<Vec<(JobId, String)>, Vec<Diagnostic>> {
    let document = document::parse(source).map_err(|problem| vec![*problem])?;
    let (nodes, form) = match &document.root.value {
        Value::Array(nodes) => (&nodes[..], Form::File),
        Value::Object(members) if members.iter().any(|member| member.key == "jobs") => {
            let start = document.root.span.start..document.root.span.start + 1;
            let problem = Diagnostic::error(
                source,
                start,
                "this is a job file, whose settings hold for all of its jobs",
            );
            return Err(vec![
                problem.with_label("give one job, or a list of jobs in brackets"),
            ]);
        }
        _ => (
            std::slice::from_ref(&document.root),
            match id {
                Some(id) => Form::One {
                    id: id.into(),
                    component: None,
                },
                None => Form::Alone,
            },
        ),
    };
    let options = Options {
        form,
        ..options.clone()
    };
    let manifest = Manifest::parse(source.clone(), &options)?;
    let mut definitions = Vec::with_capacity(nodes.len());
    let mut problems = Vec::new();
    for (node, entry) in nodes.iter().zip(manifest.entries) {
        match entry.result {
            Ok(job) => {
                // Alone in its document the comments around it are its own.
                let text = match nodes {
                    [_] if options.form != Form::File => source.text(),
                    _ => source.text().get(node.span.clone()).unwrap_or_default(),
                };
                definitions.push((job.id.clone(), text.to_owned()));
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() {
        Ok(definitions)
    } else {
        Err(problems)
    }
}

/// What holds for jobs where nothing file-wide is said.
fn settings(options: &Options) -> Settings {
    // A host that allows less than the defaults gives what it allows.
    let (default, maximum) = (Limits::DEFAULT, &options.maximum);
    let values = Limits {
        timeout: default.timeout.min(maximum.timeout),
        fuel: default.fuel.min(maximum.fuel),
        memory: default.memory.min(maximum.memory),
        output: default.output.min(maximum.output),
        log_rate: default.log_rate.min(maximum.log_rate),
        handles: default.handles.min(maximum.handles),
    };
    Settings {
        zone: Zone::UTC,
        calendars: Calendars::default(),
        limits: PlacedLimits {
            values,
            lines: [0; 6],
            places: [None; 6],
        },
        enabled: true,
        run_on_start: false,
        max_instances: 1,
        policies: Arc::default(),
        groups: policies::Groups::new(),
    }
}

/// Reads what is file-wide, and gives the nodes of the jobs.
fn read_file<'n, 'a>(
    file: &mut Decoder<'_>,
    root: &'n Node<'a>,
    options: &Options,
    settings: &mut Settings,
) -> &'n [Node<'a>] {
    let members = match &root.value {
        Value::Array(jobs) => return jobs,
        Value::Object(members) => members,
        _ => {
            let example = r#"{"jobs": [ … ]} or the list of jobs alone"#;
            file.wrong_type("a job file", example, root, "");
            return &[];
        }
    };
    let mut jobs: Option<&[Node<'a>]> = None;
    let mut meant_jobs = false;
    let of_a_job = |member: &&Member<'_>| {
        JOB.known.contains(&&*member.key) && !FILE.known.contains(&&*member.key)
    };
    let bare_job = !members.iter().any(|member| member.key == "jobs")
        && members.iter().filter(of_a_job).count() > 1;
    if bare_job {
        let start = root.span.start..root.span.start + 1;
        let label = "put it in brackets: [{ … }]";
        file.error(
            &start,
            "this is one job, and a job file is a list of them",
            label,
        );
        return &[];
    }
    // The groups first: the defaults may name one.
    if let Some(member) = members.iter().find(|member| member.key == "groups") {
        settings.groups = policies::groups(file, &member.value);
    }
    for member in members {
        let value = &member.value;
        match &*member.key {
            "groups" => {}
            "$schema" => {
                file.string("`$schema`", value);
            }
            "timezone" => {
                if let Some(zone) = file.zone(value) {
                    settings.zone = zone;
                }
            }
            "calendars" => settings.calendars = Calendars::read(file, value, options),
            "defaults" => read_defaults(file, value, options, settings),
            "jobs" => {
                let example =
                    r#"[{"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}]"#;
                jobs = Some(file.list("`jobs`", value, example).unwrap_or_default());
            }
            _ => meant_jobs |= file.unknown_key(member, &FILE) == Some("jobs"),
        }
    }
    if jobs.is_none() && !meant_jobs {
        let start = root.span.start..root.span.start + 1;
        file.error(&start, "the file has no `jobs`", "add \"jobs\": [ … ]");
    }
    jobs.unwrap_or_default()
}

fn read_defaults(file: &mut Decoder<'_>, node: &Node<'_>, options: &Options, to: &mut Settings) {
    let example = r#"{"limits": {"timeout": "90s"}}"#;
    for member in file.object("`defaults`", node, example).unwrap_or_default() {
        let value = &member.value;
        match &*member.key {
            "limits" => to.limits = file.limits(value, &to.limits, &options.maximum),
            "enabled" => to.enabled = file.truth("`enabled`", value).unwrap_or(to.enabled),
            "run_on_start" => {
                to.run_on_start = file
                    .truth("`run_on_start`", value)
                    .unwrap_or(to.run_on_start);
            }
            "max_instances" => {
                to.max_instances = max_instances(file, value).unwrap_or(to.max_instances);
            }
            "grants" => {
                let message = "grants have no default: each job is given what it alone needs";
                file.error(
                    &member.key_span,
                    message,
                    "move them into the jobs that need them",
                );
            }
            "timezone" => {
                let message = "`timezone` is no default of jobs but a setting of the file";
                file.error(&member.key_span, message, "move it to the top of the file");
            }
            _ if policies::read(file, member, &mut to.policies, &to.groups) => {}
            _ => {
                file.unknown_key(member, &DEFAULTS);
            }
        }
    }
}

/// Spoils the jobs that come after each other in a circle.
fn refuse_circles(source: &Arc<SourceText>, entries: &mut [Entry]) {
    let jobs: Vec<Arc<Job>> = entries
        .iter()
        .filter(|entry| !entry.upstreams.is_empty())
        .filter_map(|entry| entry.result.as_ref().ok().cloned())
        .collect();
    if jobs.is_empty() {
        return;
    }
    let circles = Circles::among(jobs.iter().map(|job| &**job));
    for entry in entries {
        if let Some(problem) = entry.circle_problem(source, &circles) {
            entry.result = Err(vec![problem]);
        }
    }
}

fn note_repeated(decoder: &mut Decoder<'_>, repeated: &Repeated<'_>) {
    let line = decoder.source.line(repeated.first.start);
    decoder.error(
        &repeated.span,
        repeated.message(),
        format!("it was first {}", decoder.source.on_line(line)),
    );
}
