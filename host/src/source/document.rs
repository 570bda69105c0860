//! One document of a source: from its bytes to definitions under the operator's ceiling.

use std::sync::Arc;

use super::disk::read_beside;
use super::{Document, SourceError};
use crate::job::manifest::Options;
use crate::job::{Diagnostic, Manifest, ReadFile, SourceText};
use crate::policy::Policy;
use crate::trigger::MAX_ICS_BYTES;

/// Reads one document again and again. Bytes that have not changed are not parsed again.
///
/// An empty document is an error rather than one without jobs: it is what a reader sees of a file
/// that is being written.
#[derive(Debug)]
pub(super) struct DocumentReader {
    name: Arc<str>,
    options: Options,
    last: Option<Last>,
}

/// What the last reading gave.
#[derive(Debug)]
enum Last {
    /// Its bytes are those of the manifest's text.
    Good(Arc<Manifest>),
    /// It was read, and is of no use.
    Bad { bytes: Vec<u8>, error: SourceError },
    /// It could not be read.
    Unreadable(SourceError),
}

impl DocumentReader {
    /// Reads the document `name`, whose relative paths are relative to what `options` say.
    pub(super) fn new(name: Arc<str>, options: Options) -> Self {
        DocumentReader {
            name,
            options: Options {
                read: read_beside,
                ..options
            },
            last: None,
        }
    }

    /// The document's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whatever comes next is parsed, be it the same or not.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Reads what the document holds now, and tells whether that is what it held at the last
    /// reading.
    pub(super) fn read(
        &mut self,
        bytes: Result<Vec<u8>, Box<Diagnostic>>,
        policy: &Policy,
    ) -> (Document, bool) {
        let (read, unchanged) = match bytes {
            Ok(bytes) => self.read_bytes(bytes, policy),
            Err(problem) => {
                let error = SourceError::Unreadable(problem);
                let same = matches!(&self.last, Some(Last::Unreadable(last)) if *last == error);
                self.last = Some(Last::Unreadable(error.clone()));
                (Err(error), same)
            }
        };
        let name = self.name.clone();
        (Document { name, read }, unchanged)
    }

    fn read_bytes(
        &mut self,
        bytes: Vec<u8>,
        policy: &Policy,
    ) -> (Result<Arc<Manifest>, SourceError>, bool) {
        match &self.last {
            Some(Last::Good(manifest))
                if manifest.source.text().as_bytes() == bytes && same_files(manifest) =>
            {
                return (Ok(manifest.clone()), true);
            }
            Some(Last::Bad { bytes: same, error }) if *same == bytes => {
                return (Err(error.clone()), true);
            }
            _ => {}
        }
        let read = match self.parse(bytes, policy) {
            Ok(manifest) => {
                self.last = Some(Last::Good(manifest.clone()));
                Ok(manifest)
            }
            Err((bytes, error)) => {
                let said = error.clone();
                self.last = Some(Last::Bad { bytes, error });
                Err(said)
            }
        };
        (read, false)
    }

    /// Reads what the document held at another time.
    pub(super) fn restore(&self, text: &Arc<SourceText>, policy: &Policy) -> Document {
        Document {
            name: self.name.clone(),
            read: self
                .parse_text(text.clone(), policy)
                .map_err(|problems| SourceError::Unusable(problems.into())),
        }
    }

    /// Gives the bytes back if they are of no use.
    fn parse(
        &self,
        bytes: Vec<u8>,
        policy: &Policy,
    ) -> Result<Arc<Manifest>, (Vec<u8>, SourceError)> {
        let text = if std::str::from_utf8(&bytes).is_ok() {
            SourceText::from_bytes(self.name.clone(), bytes)
        } else {
            // Making a text of it loses the bytes.
            match SourceText::from_bytes(self.name.clone(), bytes.clone()) {
                Err(problem) => return Err((bytes, SourceError::Unusable([*problem].into()))),
                text => text,
            }
        };
        let text = match text {
            Ok(text) => Arc::new(text),
            Err(problem) => return Err((Vec::new(), SourceError::Unusable([*problem].into()))),
        };
        self.parse_text(text.clone(), policy).map_err(|problems| {
            let bytes = text.text().as_bytes().to_vec();
            (bytes, SourceError::Unusable(problems.into()))
        })
    }

    fn parse_text(
        &self,
        text: Arc<SourceText>,
        policy: &Policy,
    ) -> Result<Arc<Manifest>, Vec<Diagnostic>> {
        let mut manifest = Manifest::parse(text, &self.options)?;
        policy.judge(&mut manifest);
        Ok(Arc::new(manifest))
    }
}

/// Whether the files that a manifest was read with are what they were.
fn same_files(manifest: &Manifest) -> bool {
    manifest.files.iter().all(|file| {
        let content = read_beside(&file.path, MAX_ICS_BYTES).ok();
        content.map(|content| ReadFile::digest_of(&content)) == file.digest
    })
}
