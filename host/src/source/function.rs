//! Definitions from a function of the program that the host is part of: whatever it can ask for a
//! list of jobs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::document::DocumentReader;
use super::{Document, JobSource, Snapshot, SourceError};
use crate::job::manifest::Options;
use crate::job::{Diagnostic, SourceText};
use crate::policy::Policy;

/// What gives the text of a job file, or says why it cannot.
type Function = dyn FnMut() -> Result<String, String> + Send;

/// Asks a function for the text of a job file, again and again.
pub struct FunctionSource {
    name: Arc<str>,
    every: Duration,
    reading: Mutex<Reading>,
}

struct Reading {
    function: Box<Function>,
    policy: Arc<Policy>,
    document: DocumentReader,
}

impl FunctionSource {
    /// A source of this name that asks `function` for the text of a job file, at the start and
    /// every so often from then on. The function may block: it has a thread of its own.
    pub fn new(
        name: impl Into<Arc<str>>,
        every: Duration,
        function: impl FnMut() -> Result<String, String> + Send + 'static,
    ) -> FunctionSource {
        let name = name.into();
        FunctionSource {
            name: name.clone(),
            every,
            reading: Mutex::new(Reading {
                function: Box::new(function),
                policy: Arc::default(),
                document: DocumentReader::new(name, Options::default()),
            }),
        }
    }
}

impl JobSource for FunctionSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Snapshot, SourceError> {
        let Reading {
            function,
            policy,
            document,
        } = &mut *self.reading.lock();
        let bytes = function().map(String::into_bytes).map_err(|why| {
            let problem = Diagnostic::of_file(self.name.clone(), "the function failed");
            Box::new(problem.with_label(why))
        });
        let (Document { name, read }, unchanged) = document.read(bytes, policy);
        Ok(Snapshot {
            documents: vec![Document {
                name,
                read: Ok(read?),
            }],
            unchanged,
        })
    }

    fn set_policy(&self, policy: Arc<Policy>) {
        let reading = &mut *self.reading.lock();
        reading.policy = policy;
        reading.document.forget();
    }

    fn restore(&self, documents: &[Arc<SourceText>]) -> Snapshot {
        let Reading {
            policy, document, ..
        } = &*self.reading.lock();
        let ours = documents.iter().filter(|text| *text.name() == self.name);
        Snapshot {
            documents: ours.map(|text| document.restore(text, policy)).collect(),
            unchanged: false,
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn pace(&self) -> Option<Duration> {
        Some(self.every)
    }

    /// So that a function that fails at first does not keep the host from starting.
    fn is_remote(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_function_says() {
        let mut answers = vec![
            Err("the database is away".to_owned()),
            Ok("[]".to_owned()),
            Ok("[]".to_owned()),
            Ok(r#"[{"id": "a", "component": "native:a", "trigger": "@hourly"}]"#.to_owned()),
        ];
        let source = FunctionSource::new("crm", Duration::from_secs(1), move || {
            answers.pop().unwrap()
        });
        let first = source.read().unwrap();
        let jobs: Vec<String> = first
            .manifests()
            .flat_map(|it| it.jobs())
            .map(|job| format!("{} is {} from {}", job.id, job.component, job.origin))
            .collect();
        assert_eq!(jobs, ["a is native:a from crm:1"]);
        assert!(!source.read().unwrap().unchanged);
        assert!(source.read().unwrap().unchanged);
        let error = source.read().unwrap_err();
        assert_eq!(
            error.to_string(),
            "crm: the function failed: the database is away"
        );
    }
}
