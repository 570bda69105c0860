//! A job, as a program defines one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::context::{IntoOutput, RunContext};
use super::error::{Error, Failure};
use super::trigger::Trigger;
use crate::job::{Coalesce, Group, JobId, NATIVE, OnLost, Overlap, RetryPolicy, native_name};
use crate::native::Running;
use crate::units::format_duration_exact;

/// A function of the program, as a job.
pub(super) type Function = Arc<dyn Fn(RunContext) -> Running + Send + Sync>;

/// A job: what runs, when, and what becomes of it when things do not go as planned.
///
/// What runs is a component in the plugins directory, or a function of the program. A job is a
/// plain value until it is [added](crate::Scheduler::add_job); what is wrong with it is told then.
///
/// ```
/// use std::time::Duration;
/// use quarterjack::{Job, Trigger};
///
/// let report = Job::component("report.wasm")
///     .trigger(Trigger::cron("0 6 * * mon-fri").timezone("Europe/Berlin"))
///     .timeout(Duration::from_secs(600))
///     .misfire_grace_time(Duration::from_secs(3600));
///
/// let cleanup = Job::native("cleanup", |run| async move {
///     run.info(format!("for {}", run.scheduled_at()));
///     Ok(())
/// })
/// .trigger(Duration::from_secs(30))
/// .max_instances(1);
/// # assert_eq!((report.id().as_str(), cleanup.id().as_str()), ("report", "cleanup"));
/// ```
///
/// A job without a trigger runs only when [asked to](crate::Scheduler::trigger).
#[derive(Clone)]
pub struct Job {
    pub(super) id: JobId,
    pub(super) definition: Map<String, Value>,
    pub(super) function: Option<Function>,
    pub(super) replace_existing: bool,
    /// What was wrong with something that it was given.
    problem: Option<String>,
}

impl fmt::Debug for Job {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Job")
            .field("id", &self.id)
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// A job of a component: a file of the plugins directory, such as `report.wasm`, or a function
    /// that is [registered](crate::Scheduler::register), such as `native:report`. Its id is the
    /// name without what is around it, `report`, unless another is [set](Job::with_id).
    pub fn component(component: impl Into<String>) -> Job {
        let component = component.into();
        let id = native_name(&component)
            .or_else(|| component.strip_suffix(".wasm"))
            .unwrap_or(&component);
        Job::new(JobId::new(id), component.clone(), None)
    }

    /// A job that is a function of the program, under this name, which is its id, too, unless
    /// another is [set](Job::with_id).
    ///
    /// What it returns is kept with its run: nothing, text, JSON or bytes, see [`IntoOutput`]. It
    /// is dropped when its time is up (after a minute, if no [`timeout`](Job::timeout) is set), and
    /// when it is to end. A panic of it fails its run, and nothing else. Limits of fuel and memory
    /// do not hold it, and it needs no grants.
    ///
    /// What blocks a thread belongs into `tokio::task::spawn_blocking`, as elsewhere: while it
    /// blocks, it cannot be dropped. Its run ends in time all the same.
    ///
    /// The definition is kept in the data directory, its function cannot be: after a restart the
    /// job goes on from where it was as soon as a function of this name is there again.
    pub fn native<F, R, O>(name: impl Into<String>, function: F) -> Job
    where
        F: Fn(RunContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Failure>> + Send + 'static,
        O: IntoOutput,
    {
        let name = name.into();
        let id = JobId::new(name.as_str());
        Job::new(id, format!("{NATIVE}{name}"), Some(erased(function)))
    }

    fn new(id: JobId, component: String, function: Option<Function>) -> Job {
        let mut definition = Map::new();
        definition.insert("component".to_owned(), Value::String(component));
        let trigger = Trigger::manual();
        definition.insert("trigger".to_owned(), trigger.0);
        Job {
            id,
            definition,
            function,
            replace_existing: false,
            problem: None,
        }
    }

    /// A job that is defined so.
    pub(super) fn of(id: JobId, definition: Map<String, Value>) -> Job {
        Job {
            id,
            definition,
            function: None,
            replace_existing: false,
            problem: None,
        }
    }

    /// The id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The name of the function that it is, if it is one.
    pub(super) fn native_name(&self) -> Option<&str> {
        native_name(self.definition.get("component")?.as_str()?)
    }

    /// The same job with another id.
    #[must_use]
    pub fn with_id(mut self, id: impl AsRef<str>) -> Job {
        self.id = JobId::new(id.as_ref());
        self
    }

    /// What it is, for people.
    #[must_use]
    pub fn description(self, text: impl Into<String>) -> Job {
        self.set("description", Value::String(text.into()))
    }

    /// When it runs: a [`Trigger`], its text (`"*/5 * * * *"`), or how often (a [`Duration`]).
    #[must_use]
    pub fn trigger(mut self, trigger: impl Into<Trigger>) -> Job {
        // The other word for it.
        self.definition.remove("cron_expression");
        self.set("trigger", trigger.into().0)
    }

    /// What it is told, as JSON. A run can be given [other
    /// parameters](crate::Scheduler::trigger_with).
    #[must_use]
    pub fn params(mut self, params: impl Serialize) -> Job {
        match serde_json::to_value(params) {
            Ok(params) => self.set("params", params),
            Err(error) => {
                self.problem = Some(error.to_string());
                self
            }
        }
    }

    /// Command-line arguments of a component, after its name.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item: Into<String>>) -> Job {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set("args", json!(args))
    }

    /// What a component may touch, as a job file has it: `json!({"http": ["https://example.com"]})`.
    #[must_use]
    pub fn grants(self, grants: Value) -> Job {
        self.set("grants", grants)
    }

    /// The longest that an attempt may take; a minute if nothing is said.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Job {
        self.limit("timeout", duration(timeout))
    }

    /// The most fuel that an attempt of a component may use.
    #[must_use]
    pub fn fuel(self, fuel: u64) -> Job {
        self.limit("fuel", fuel.into())
    }

    /// The most memory that an attempt of a component may hold, in bytes.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Job {
        self.limit("memory", bytes.into())
    }

    /// How many bytes are kept of what a run leaves behind, and as many of its log.
    #[must_use]
    pub fn output_limit(self, bytes: u64) -> Job {
        self.limit("output", bytes.into())
    }

    /// The longest that a run may take with all its attempts.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Job {
        self.set("deadline", duration(deadline))
    }

    /// How many of its runs may be in flight at once; one if nothing is said.
    #[must_use]
    pub fn max_instances(self, runs: u32) -> Job {
        self.set("max_instances", runs.into())
    }

    /// What becomes of a run that is due while as many are in flight as may be; it is skipped if
    /// nothing is said.
    #[must_use]
    pub fn overlap(self, overlap: Overlap) -> Job {
        let value = match overlap {
            Overlap::Skip => json!("skip"),
            Overlap::Queue(most) => json!({ "queue": most }),
            Overlap::Allow => json!("allow"),
            Overlap::Replace => json!("replace"),
        };
        self.set("overlap", value)
    }

    /// How late a run may start; what is later is skipped. An hour if nothing is said, any time
    /// for `None`.
    #[must_use]
    pub fn misfire_grace_time(self, grace: impl Into<Option<Duration>>) -> Job {
        let value = grace.into().map_or_else(|| json!("unlimited"), duration);
        self.set("misfire_grace_time", value)
    }

    /// Which of several instants run that have been missed together; the latest if nothing is
    /// said.
    #[must_use]
    pub fn coalesce(self, coalesce: Coalesce) -> Job {
        let value = match coalesce {
            Coalesce::Latest => json!("latest"),
            Coalesce::Earliest => json!("earliest"),
            Coalesce::All(most) => json!({ "all": most }),
        };
        self.set("coalesce", value)
    }

    /// How often a run is attempted, and when; once if nothing is said.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use quarterjack::{Job, RetryPolicy};
    /// let job = Job::component("sync.wasm").retry(RetryPolicy {
    ///     attempts: 5,
    ///     backoff: Duration::from_secs(2),
    ///     ..RetryPolicy::default()
    /// });
    /// ```
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Job {
        let mut value = json!({
            "attempts": retry.attempts,
            "backoff": duration(retry.backoff),
            "factor": retry.factor,
            "max_backoff": duration(retry.max_backoff),
            "jitter": retry.jitter,
        });
        if let (Some(on), Value::Object(members)) = (retry.on, &mut value) {
            let on: Vec<&str> = on.iter().map(|failure| failure.as_str()).collect();
            members.insert("on".to_owned(), json!(on));
        }
        self.set("retry", value)
    }

    /// What becomes of a run that was in flight when the process died; it is recorded as lost if
    /// nothing is said.
    #[must_use]
    pub fn on_lost(self, on_lost: OnLost) -> Job {
        let word = match on_lost {
            OnLost::Record => "record",
            OnLost::Rerun => "rerun",
        };
        self.set("on_lost", json!(word))
    }

    /// Of the runs that wait for their turn, the higher go first: from -100 to 100, 0 if nothing is
    /// said.
    #[must_use]
    pub fn priority(self, priority: i8) -> Job {
        self.set("priority", priority.into())
    }

    /// The group that it belongs to, which can be paused as a whole, and of whose jobs no more than
    /// `max_running` runs are carried out at once.
    #[must_use]
    pub fn group(self, name: impl AsRef<str>, max_running: impl Into<Option<u32>>) -> Job {
        let group = Group {
            name: name.as_ref().into(),
            max_running: max_running.into(),
        };
        let mut value = Map::new();
        value.insert("name".to_owned(), json!(&*group.name));
        if let Some(most) = group.max_running {
            value.insert("max_running".to_owned(), most.into());
        }
        self.set("group", Value::Object(value))
    }

    /// Whether it also runs as soon as it is added.
    #[must_use]
    pub fn run_on_start(self, yes: bool) -> Job {
        self.set("run_on_start", yes.into())
    }

    /// Whether its trigger fires at all; it does if nothing is said.
    #[must_use]
    pub fn enabled(self, yes: bool) -> Job {
        self.set("enabled", yes.into())
    }

    /// Takes the place of a job with its id, if there is one, whose history and pauses stay. Without
    /// it, that is an error.
    #[must_use]
    pub fn replace_existing(mut self) -> Job {
        self.replace_existing = true;
        self
    }

    /// Sets any key of its definition, as a job file has it.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: Value) -> Job {
        self.definition.insert(key.into(), value);
        self
    }

    fn limit(mut self, name: &str, value: Value) -> Job {
        let limits = self.definition.entry("limits").or_insert_with(|| json!({}));
        if let Value::Object(limits) = limits {
            limits.insert(name.to_owned(), value);
        }
        self
    }

    /// Its definition, as a job file has it: one line of JSON.
    ///
    /// # Errors
    /// [`Error::Json`]: its parameters are none.
    pub fn definition(&self) -> Result<String, Error> {
        let error = |error: &dyn fmt::Display| Error::Json {
            what: format!("the parameters of `{}`", self.id),
            error: error.to_string(),
        };
        if let Some(problem) = &self.problem {
            return Err(error(problem));
        }
        serde_json::to_string(&self.definition).map_err(|it| error(&it))
    }
}

/// A function, whatever it returns.
pub(super) fn erased<F, R, O>(function: F) -> Function
where
    F: Fn(RunContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Failure>> + Send + 'static,
    O: IntoOutput,
{
    Arc::new(move |context| {
        let running = function(context);
        Box::pin(async move {
            let answer = running.await.and_then(IntoOutput::into_output);
            answer.map_err(|failure| failure.0)
        })
    })
}

fn duration(duration: Duration) -> Value {
    Value::String(format_duration_exact(duration))
}
