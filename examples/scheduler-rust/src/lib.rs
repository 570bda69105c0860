//! `scheduler.wasm`: a job that schedules the others. It reads a list of jobs from a file that it
//! is granted or over HTTP, and puts, updates and removes its jobs until they are what the list says.

mod read;

// Writes the Rust side of wit/job.wit: the types, the trait `Guest`, the macro `export!`.
wit_bindgen::generate!({ path: "../../wit", world: "job" });

use quarterjack::job::log::{Level, log};
use quarterjack::job::schedule::{self, Change, Error};
use quarterjack::job::types::Retry;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

struct Scheduler;
export!(Scheduler);

impl Guest for Scheduler {
    fn run(context: RunContext) -> Result<Option<Output>, Failure> {
        let params: Params = serde_json::from_str(&context.params).map_err(|error| Failure {
            message: format!(
                r#"cannot use the params {}: {error}; they look like {{"list": "/lists/jobs.json", "prefix": "sync/"}}"#,
                context.params
            ),
            retry: Retry::Never,
        })?;
        // A list that cannot be read says nothing: all stays as it is.
        let text = read::read(&params.list).map_err(|why| failure(format!("{}: {why}", params.list)))?;
        let wanted = jobs_of(&text, &params.prefix).map_err(|why| failure(format!("{}: {why}", params.list)))?;
        let done = follow(wanted)?;
        let failed = done.refused.len();
        let report = serde_json::to_string(&done).map_err(|error| failure(error.to_string()))?;
        if failed > 0 {
            // The others are done all the same; which and why is in the log.
            return Err(failure(format!("{failed} of the jobs on the list were refused: {report}")));
        }
        Ok(Some(Output::Json(report)))
    }
}

/// What the job's definition says under `params`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // a misspelt key is better refused than ignored
struct Params {
    /// Where the list is: a path, or a URL.
    list: String,
    /// What the ids of its jobs are to begin with: the prefix of its grant.
    prefix: String,
}

/// The job's output: the ids of what it did.
#[derive(Default, Serialize)]
struct Done {
    added: Vec<String>,
    updated: Vec<String>,
    removed: Vec<String>,
    unchanged: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

/// Another attempt may find the list mended.
fn failure(message: String) -> Failure {
    Failure {
        message,
        retry: Retry::ByPolicy,
    }
}

/// The jobs of a list: an id for each, with the prefix, and its definition without one.
fn jobs_of(text: &str, prefix: &str) -> Result<Vec<(String, String)>, String> {
    let list: Vec<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| format!("this is no list of jobs: {error}"))?;
    let mut jobs: Vec<(String, String)> = Vec::new();
    for mut job in list {
        let id = match job.remove("id") {
            Some(Value::String(id)) => id,
            Some(Value::Number(id)) => id.to_string(),
            _ => return Err(format!("a job has no `id`: {}", Value::Object(job))),
        };
        let id = format!("{prefix}{id}");
        if jobs.iter().any(|(other, _)| *other == id) {
            return Err(format!("the id {id} is there twice"));
        }
        jobs.push((id, Value::Object(job).to_string()));
    }
    Ok(jobs)
}

/// Makes its jobs what the list says.
fn follow(wanted: Vec<(String, String)>) -> Result<Done, Failure> {
    let mut done = Done::default();
    let there = schedule::jobs().map_err(|error| failure(why(error)))?;
    // First what is to go, so that there is room for what is to come.
    for job in there {
        if wanted.iter().any(|(id, _)| *id == job.id) {
            continue;
        }
        match schedule::remove(&job.id) {
            Ok(()) => done.removed.push(job.id),
            Err(error) => refused(&mut done, job.id, error),
        }
    }
    for (id, definition) in wanted {
        match schedule::put(&id, &definition) {
            Ok(Change::Added) => done.added.push(id),
            Ok(Change::Updated) => done.updated.push(id),
            Ok(Change::Unchanged) => done.unchanged += 1,
            Err(error) => refused(&mut done, id, error),
        }
    }
    Ok(done)
}

fn refused(done: &mut Done, id: String, error: Error) {
    log(Level::Error, &why(error), &[("job".to_owned(), id.clone())]);
    done.refused.push(id);
}

fn why(error: Error) -> String {
    match error {
        Error::Denied(why) => why,
        Error::Invalid(why) => why,
        Error::Quota(why) => format!("too many: {why}"),
        Error::NotFound(why) => why,
        Error::Unavailable(why) => why,
    }
}

// The plain parts of a job can be tested like any Rust: `cargo test`.
#[cfg(test)]
mod tests {
    use super::jobs_of;

    #[test]
    fn a_list_gives_each_job_an_id_and_a_definition() {
        let list = r#"[{"id": 1, "cron_expression": "* * * * *", "component": "hello.wasm"},
            {"id": "report", "component": "a.wasm"}]"#;
        let jobs = jobs_of(list, "sync/").unwrap();
        assert_eq!(jobs[0].0, "sync/1");
        assert_eq!(jobs[1].1, r#"{"component":"a.wasm"}"#);
        for wrong in ["", "{}", "[5]", r#"[{"component": "a.wasm"}]"#, r#"[{"id": 1}, {"id": "1"}]"#] {
            assert!(jobs_of(wrong, "").is_err(), "{wrong}");
        }
    }
}
