//! One job of a file: its keys, what they may hold, and what is said if they hold something else.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::calendars::Calendars;
use super::decode::Decoder;
use super::diagnostic::{Diagnostic, SourceText, quoted};
use super::digest::Digester;
use super::document::{Member, Node, Value};
use super::execution::Policies;
use super::execution::decode::{self as policies, Groups};
use super::grants::{self, GrantPlaces};
use super::keys::JOB;
use super::limits::PlacedLimits;
use super::manifest::{Entry, Form, Options};
use super::{Grants, Job, JobId, Origin, native_name, trigger};
use crate::suggest::nearest;
use crate::trigger::{Dst, Trigger, Zone};

/// What holds for all jobs of a file.
pub(super) struct Settings {
    pub(super) zone: Zone,
    pub(super) calendars: Calendars,
    pub(super) limits: PlacedLimits,
    pub(super) enabled: bool,
    pub(super) run_on_start: bool,
    pub(super) max_instances: u32,
    pub(super) policies: Arc<Policies>,
    pub(super) groups: Groups,
}

/// Reads the jobs of a file one after the other.
pub(super) struct Reader<'s> {
    source: &'s Arc<SourceText>,
    options: &'s Options,
    settings: Settings,
    digester: Digester,
    /// One text for all jobs that run the same component.
    components: HashSet<Arc<str>>,
    /// The line at which each id was first used.
    first_lines: HashMap<JobId, u32>,
    entries: Vec<Entry>,
    warnings: Vec<Diagnostic>,
}

/// What is read of a job before it is known to be good.
#[derive(Default)]
struct Draft<'n, 'a> {
    id: Option<JobId>,
    trigger: Option<Trigger>,
    trigger_member: Option<&'n Member<'a>>,
    zone_member: Option<&'n Member<'a>>,
    has_component: bool,
    /// Keys that were probably meant by unknown ones.
    meant: Vec<&'static str>,
}

/// What a job needs of the host, as far as that can be read.
struct Needs {
    component: Option<Arc<str>>,
    component_span: Range<usize>,
    sha256_span: Option<Range<usize>>,
    trigger_span: Range<usize>,
    grants: Arc<Grants>,
    places: Option<Box<GrantPlaces>>,
    limit_places: [Option<u32>; 6],
    upstreams: Vec<(Arc<str>, Range<usize>)>,
}

impl<'s> Reader<'s> {
    /// Ready to read about as many jobs as `expected`.
    pub(super) fn new(
        source: &'s Arc<SourceText>,
        options: &'s Options,
        settings: Settings,
        digester: Digester,
        expected: usize,
    ) -> Self {
        Reader {
            source,
            options,
            settings,
            digester,
            components: HashSet::new(),
            first_lines: HashMap::with_capacity(expected),
            entries: Vec::with_capacity(expected),
            warnings: Vec::new(),
        }
    }

    /// The jobs read, good and bad, and what is perhaps not meant so.
    pub(super) fn finish(mut self) -> (Vec<Entry>, Vec<Diagnostic>) {
        self.warnings
            .extend(self.settings.calendars.unused_problems());
        (self.entries, self.warnings)
    }

    /// Reads one job, of which `decoder` knows already what is wrong with its syntax.
    pub(super) fn read(&mut self, mut decoder: Decoder<'_>, node: &Node<'_>) {
        let example = r#"{"id": "hello", "component": "hello.wasm", "trigger": "@every 5s"}"#;
        let members = decoder.object("a job", node, example);
        let mut needs = Needs {
            component: None,
            component_span: node.span.clone(),
            sha256_span: None,
            trigger_span: node.span.clone(),
            grants: Grants::none(),
            places: None,
            limit_places: [None; 6],
            upstreams: Vec::new(),
        };
        let (mut id, mut job) = (None, None);
        if let Some(members) = members {
            // The id first: what follows is said about it.
            id = self.read_id(&mut decoder, node, members);
            job = self.read_members(&mut decoder, node, members, id.clone(), &mut needs);
        }
        let result = match job {
            Some(job) if decoder.problems.is_empty() => Ok(Arc::new(job)),
            _ => {
                let mut problems = decoder.problems;
                problems.sort_by_key(|problem| problem.span.start);
                for problem in &mut problems {
                    problem.job.clone_from(&id);
                }
                Err(problems)
            }
        };
        self.entries.push(Entry {
            span: node.span.clone(),
            id,
            result,
            component: needs.component,
            component_span: needs.component_span,
            sha256_span: needs.sha256_span,
            trigger_span: needs.trigger_span,
            grants: needs.grants,
            places: needs.places,
            limit_places: needs.limit_places,
            upstreams: needs.upstreams.into(),
        });
    }

    fn read_id(
        &mut self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
        members: &[Member<'_>],
    ) -> Option<JobId> {
        let Some(member) = members.iter().find(|member| member.key == "id") else {
            if members
                .iter()
                .any(|member| JOB.meant_by(&member.key) == Some("id"))
            {
                return None; // the misspelt key is told of with the others
            }
            if let Form::One { id, .. } = &self.options.form {
                return self.implied_id(decoder, node, id);
            }
            let start = node.span.start..node.span.start + 1;
            decoder.error(
                &start,
                "the job has no `id`",
                "add \"id\": \"a-name-of-its-own\"",
            );
            return None;
        };
        let value = &member.value;
        let text = match &value.value {
            Value::Number(digits) if !digits.contains(['.', 'e', 'E']) => digits,
            Value::Number(_) => {
                let label = "a number as an id is a whole one, in digits alone";
                decoder.error(&value.span, "the id is not a whole number", label);
                return None;
            }
            Value::String(text) => &**text,
            _ => {
                decoder.wrong_type("`id`", "a string or a whole number", value, "");
                return None;
            }
        };
        if let Err((message, label)) = check_id(text) {
            decoder.error(&value.span, message, label);
            return None;
        }
        let id = JobId::from(text);
        let line = self.source.line(value.span.start);
        match self.first_lines.get(&id) {
            None => {
                self.first_lines.insert(id.clone(), line);
            }
            Some(first) => {
                let message = format!("the id {} is used twice", quoted(text));
                decoder.error(
                    &value.span,
                    message,
                    format!("it was first used {}", self.source.on_line(*first)),
                );
            }
        }
        Some(id)
    }

    /// The id that the name of the document gives.
    fn implied_id(&self, decoder: &mut Decoder<'_>, node: &Node<'_>, id: &str) -> Option<JobId> {
        if let Err((message, _)) = check_id(id) {
            let start = node.span.start..node.span.start + 1;
            let label = "as the name of the file gives it: add \"id\": \"a-name-of-its-own\"";
            decoder.error(&start, message, label);
            return None;
        }
        Some(JobId::from(id))
    }

    fn read_members<'n, 'a>(
        &mut self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
        members: &'n [Member<'a>],
        id: Option<JobId>,
        needs: &mut Needs,
    ) -> Option<Job> {
        let mut draft = Draft {
            id,
            ..Draft::default()
        };
        let mut description = None;
        let mut sha256 = None;
        let mut version = None;
        let mut params = None;
        let mut args: Arc<[String]> = Arc::default();
        let mut limits = self.settings.limits;
        let mut enabled = self.settings.enabled;
        let mut run_on_start = self.settings.run_on_start;
        let mut instances = self.settings.max_instances;
        let mut policies = self.settings.policies.clone();
        let mut deterministic = false;
        for member in members {
            let value = &member.value;
            match &*member.key {
                "id" => {}
                "description" => {
                    description = decoder.string("`description`", value).map(Box::from);
                }
                "component" => {
                    draft.has_component = true;
                    needs.component_span = value.span.clone();
                    needs.component = self.component(decoder, value);
                    if needs.component.as_deref().is_some_and(is_native) {
                        no_sandbox(decoder, members);
                    }
                }
                "sha256" => {
                    needs.sha256_span = Some(value.span.clone());
                    sha256 = decoder.sha256("`sha256`", value);
                }
                "trigger" | "cron_expression" => match draft.trigger_member {
                    // The same key twice has been told of.
                    Some(first) if first.key == member.key => {}
                    Some(first) => {
                        let message =
                            format!("the job has both `{}` and `{}`", first.key, member.key);
                        decoder.error(&member.key_span, message, "leave one of them out");
                    }
                    None => {
                        needs.trigger_span = trigger::place(value);
                        draft.trigger_member = Some(member);
                    }
                },
                "timezone" => draft.zone_member = Some(member),
                "params" => {
                    let mut json = String::with_capacity(value.span.len());
                    value.write_json(self.source.text(), &mut json);
                    params = Some(Arc::from(json));
                }
                "args" => args = read_args(decoder, value),
                "limits" => limits = decoder.limits(value, &limits, &self.options.maximum),
                "grants" => {
                    (needs.grants, needs.places) =
                        grants::decode(decoder, value, &self.options.base);
                }
                "enabled" => enabled = decoder.truth("`enabled`", value).unwrap_or(enabled),
                "version" => version = decoder.integer("`version`", value, 0),
                "run_on_start" => {
                    run_on_start = decoder
                        .truth("`run_on_start`", value)
                        .unwrap_or(run_on_start);
                }
                "deterministic" => {
                    deterministic = decoder
                        .truth("`deterministic`", value)
                        .unwrap_or(deterministic);
                }
                "max_instances" => instances = max_instances(decoder, value).unwrap_or(instances),
                _ if policies::read(decoder, member, &mut policies, &self.settings.groups) => {}
                _ => draft.meant.extend(decoder.unknown_key(member, &JOB)),
            }
        }
        if deterministic
            && let Some(span) = needs.places.as_ref().and_then(|it| it.schedule.as_ref())
        {
            let label =
                "what it finds among the jobs is not in its record: leave one of the two out";
            decoder.error(span, "a deterministic job cannot have `schedule`", label);
        }
        needs.limit_places = limits.places;
        self.read_trigger(decoder, node, &mut draft);
        if let (Some(trigger), Some(member)) = (&draft.trigger, draft.trigger_member)
            && !trigger.upstreams().is_empty()
        {
            trigger::upstreams(&member.value, &mut needs.upstreams);
        }
        if let Form::One { component, .. } = &self.options.form
            && !draft.has_component
        {
            draft.has_component = component.is_some();
            needs.component = component.clone();
        }
        if !draft.has_component && !draft.meant.contains(&"component") {
            let start = node.span.start..node.span.start + 1;
            let message = format!("{} has no `component`", this_job(&draft));
            decoder.error(
                &start,
                message,
                "add \"component\": \"NAME.wasm\", a file of the plugins directory",
            );
        }
        Some(Job {
            id: draft.id?,
            description,
            component: needs.component.clone()?,
            sha256,
            trigger: draft.trigger?,
            run_on_start,
            enabled,
            version,
            params,
            args,
            limits: limits.values,
            grants: needs.grants.clone(),
            max_instances: instances,
            policies,
            deterministic,
            origin: Origin {
                file: self.source.name().clone(),
                line: self.source.line(node.span.start),
                limit_lines: limits.lines,
                definition: Some(self.digester.of_job(node)),
                params_given: false,
                creator: self.options.creator.clone(),
            },
        })
    }

    fn component(&mut self, decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<Arc<str>> {
        let name = decoder.string("`component`", node)?;
        if let Err((message, label)) = check_component(name) {
            decoder.error(&node.span, message, label);
            return None;
        }
        if let Some(known) = self.components.get(name) {
            return Some(known.clone());
        }
        let component: Arc<str> = name.into();
        self.components.insert(component.clone());
        Some(component)
    }

    /// Reads the trigger in any of its forms, with the zone that applies to it.
    fn read_trigger(
        &mut self,
        decoder: &mut Decoder<'_>,
        node: &Node<'_>,
        draft: &mut Draft<'_, '_>,
    ) {
        let own_zone = draft
            .zone_member
            .map(|member| (member, decoder.zone(&member.value)));
        let Some(member) = draft.trigger_member else {
            if draft
                .meant
                .iter()
                .any(|key| matches!(*key, "trigger" | "cron_expression"))
            {
                return;
            }
            let start = node.span.start..node.span.start + 1;
            let message = format!("{} has no `trigger`", this_job(draft));
            let label = "add \"trigger\": \"*/5 * * * *\" or {\"interval\": \"5s\"}";
            decoder.error(&start, message, label).hint =
                Some("\"@manually\" is for a job that runs only when asked to".into());
            return;
        };
        let value = &member.value;
        let is_object = matches!(value.value, Value::Object(_));
        if let (Some((own, _)), true) = (&own_zone, is_object) {
            let message = "`timezone` stands beside a trigger that is an object";
            decoder.error(&own.key_span, message, "move it into `trigger`");
        }
        let zone = match &own_zone {
            Some((_, Some(zone))) if !is_object => *zone,
            _ => self.settings.zone,
        };
        let context = trigger::Context {
            zone,
            dst: Dst::default(),
            calendars: &self.settings.calendars,
            job: draft.id.as_ref().map_or("", JobId::as_str),
        };
        let read = match (&*member.key, &value.value) {
            ("cron_expression", Value::String(_)) => trigger::cron(decoder, value, context),
            ("cron_expression", _) => {
                let expected = "a cron expression such as \"*/5 * * * *\"";
                decoder.wrong_type("`cron_expression`", expected, value, "");
                None
            }
            _ => trigger::read(decoder, "`trigger`", value, context),
        };
        let Some(trigger) = read else { return };
        if let (Some((own, Some(_))), None, false) = (&own_zone, trigger.zone(), is_object) {
            let message = "`timezone` beside a trigger that has no use for one";
            decoder.error(
                &own.key_span,
                message,
                "only cron expressions have a time zone",
            );
        }
        if let Some(reason) = trigger.never_fires() {
            let place = trigger::place(value);
            let message = format!("{} never fires", this_job(draft));
            let warning = Diagnostic::warning(self.source, place, message)
                .with_label(reason)
                .with_job(draft.id.clone());
            self.warnings.push(warning);
        }
        draft.trigger = Some(trigger);
    }
}

fn is_native(component: &str) -> bool {
    native_name(component).is_some()
}

/// Tells of the keys that say something of a sandbox, in a job that is a function of the program.
fn no_sandbox(decoder: &mut Decoder<'_>, members: &[Member<'_>]) {
    const SANDBOX: [&str; 4] = ["sha256", "args", "grants", "deterministic"];
    for member in members.iter().filter(|it| SANDBOX.contains(&&*it.key)) {
        let message = format!("`{}` beside a component that is a function", member.key);
        decoder.error(
            &member.key_span,
            message,
            "a function of the program runs in no sandbox: leave it out",
        );
    }
}

fn read_args(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Arc<[String]> {
    let elements = decoder
        .list("`args`", node, r#"["--verbose", "/data"]"#)
        .unwrap_or_default();
    let mut args = Vec::with_capacity(elements.len());
    for element in elements {
        if let Some(arg) = decoder.string("an argument", element) {
            args.push(arg.to_owned());
        }
    }
    if args.is_empty() {
        Arc::default()
    } else {
        args.into()
    }
}

fn this_job(draft: &Draft<'_, '_>) -> String {
    match &draft.id {
        Some(id) => format!("job `{id}`"),
        None => "the job".into(),
    }
}

/// The longest id, in characters.
const LONGEST_ID: usize = 128;

/// Whether a character would change how what stands around it is shown.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

pub(super) fn check_id(id: &str) -> Result<(), (String, String)> {
    if id.is_empty() {
        Err((
            "the id is empty".into(),
            "give the job a name of its own".into(),
        ))
    } else if id.chars().nth(LONGEST_ID).is_some() {
        let length = id.chars().count();
        Err((
            format!("the id is {length} characters long"),
            format!("at most {LONGEST_ID}"),
        ))
    } else if let Some(control) = id.chars().find(|letter| is_unprintable(*letter)) {
        let message = format!("the id holds the control character {control:?}");
        Err((
            message,
            "an id is printed in logs: use letters, digits, `-` and `_`".into(),
        ))
    } else if id.trim() != id {
        let label = format!("did you mean {}?", quoted(id.trim()));
        Err((
            format!("the id {} begins or ends with a space", quoted(id)),
            label,
        ))
    } else {
        Ok(())
    }
}

/// Checks that a name is one of a file in the plugins directory itself.
fn check_component(name: &str) -> Result<(), (String, String)> {
    let message = format!("the component {} is not the name of a plugin", quoted(name));
    if let Some(function) = native_name(name) {
        return match check_id(function) {
            Ok(()) => Ok(()),
            Err(_) => Err((
                format!("the component {} names no function", quoted(name)),
                "the name of a function of the program: \"native:cleanup\"".into(),
            )),
        };
    }
    if name.is_empty() {
        return Err((
            "the component is empty".into(),
            "name a .wasm file of the plugins directory".into(),
        ));
    }
    if name.contains(['/', '\\']) {
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let label = if last.ends_with(".wasm") && last != ".wasm" {
            format!(
                "plugins are named without their directory: {}",
                quoted(last)
            )
        } else {
            "a file of the plugins directory itself, without a path".into()
        };
        return Err((message, label));
    }
    if name.chars().any(char::is_control) {
        return Err((message, "it holds a control character".into()));
    }
    let Some(stem) = name.strip_suffix(".wasm") else {
        let stem = match name.rsplit_once('.') {
            Some((stem, extension)) if resembles_wasm(extension) => stem,
            _ => name,
        };
        return Err((
            format!("the component {} does not end in .wasm", quoted(name)),
            format!("did you mean {}?", quoted(&format!("{stem}.wasm"))),
        ));
    };
    if stem.is_empty() || stem.starts_with('.') {
        return Err((message, "a plugin's name does not begin with a dot".into()));
    }
    Ok(())
}

fn resembles_wasm(extension: &str) -> bool {
    extension == "wat" || nearest(extension, ["wasm"].into_iter()).is_some()
}

/// Reads `max_instances`, of a job or of the defaults.
pub(super) fn max_instances(decoder: &mut Decoder<'_>, node: &Node<'_>) -> Option<u32> {
    decoder.small("`max_instances`", node, 1, u32::MAX)
}
