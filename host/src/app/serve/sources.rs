//! The sources as the host follows them: what has been said of each, and what each says now.
//!
//! What a source said last is kept in the store. While it is broken, cannot be reached or has been
//! emptied by a slip, be it while no host ran, its jobs are those that it had.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::Host;
use super::readers::SourceReader;
use crate::clock::{self, Timestamp};
use crate::control::{Held, SourceStatus, Stale};
use crate::event::Event;
use crate::source::{JobSource, Snapshot, SourceError};
use crate::store::definitions::Kept;

/// How soon a source that would remove most of its jobs is read a second time, unless it is read
/// more often anyway.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// The largest texts of a source, together, that are kept: more would hold up the recording of
/// runs. Of a larger source nothing is known when the host starts and cannot read it.
const MAX_KEPT_BYTES: usize = 32 << 20;

/// What the host knows of a source.
pub(super) struct FollowedSource {
    name: Arc<str>,
    reader: SourceReader,
    /// Whether it may remove most of its jobs without being read a second time.
    allow_mass_removal: bool,
    /// What was last wrong with it as a whole, and since when.
    failure: Option<(SourceError, Timestamp)>,
    /// What is wrong with documents of it.
    broken: HashMap<Arc<str>, SourceError>,
    /// When it was last read without that.
    read_at: Option<Timestamp>,
    /// What it said that would remove most of its jobs, until it has said so twice.
    held: Option<HeldBack>,
    /// Whether this host has heard of it what it wants, at least once.
    has_spoken: bool,
}

/// What a source said that would remove most of its jobs.
struct HeldBack {
    snapshot: Snapshot,
    since: Instant,
    what: Held,
}

impl FollowedSource {
    /// A source that has not been read yet.
    pub(super) fn new(source: &dyn JobSource, reader: SourceReader) -> Self {
        FollowedSource {
            name: source.name().into(),
            reader,
            allow_mass_removal: source.allows_mass_removal(),
            failure: None,
            read_at: None,
            broken: HashMap::new(),
            held: None,
            has_spoken: false,
        }
    }

    /// The source, as the operator named it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes note of what its documents hold, and gives what was not wrong with them before.
    fn note_documents(&mut self, snapshot: &Snapshot) -> Vec<SourceError> {
        let mut news = Vec::new();
        let mut broken = HashMap::new();
        for document in &snapshot.documents {
            let Err(error) = &document.read else { continue };
            if self.broken.get(&document.name) != Some(error) {
                news.push(error.clone());
            }
            broken.insert(document.name.clone(), error.clone());
        }
        self.broken = broken;
        news
    }
}

/// What is known of a source when the host starts.
pub(super) struct First {
    /// What it said to the host before this one, if it now says something else, or nothing.
    kept: Option<Snapshot>,
    /// When it said that.
    kept_at: Option<Timestamp>,
    /// What it says; nothing if that is not waited for.
    read: Option<Result<Snapshot, SourceError>>,
    /// Whether what it says is what is kept of it.
    is_kept: bool,
}

impl First {
    /// Reads a source for the first time, unless that may take long.
    ///
    /// # Errors
    /// It cannot be read at all, and nothing is known of it: a slip of the operator's, who is
    /// there to see it. One that cannot be read later stops nothing.
    pub(super) fn of(source: &dyn JobSource, kept: Option<&Kept>) -> Result<First, SourceError> {
        let read = (!source.is_remote()).then(|| source.read());
        let is_kept = match (&read, kept) {
            (Some(Err(error @ SourceError::Unreadable(_))), None) => return Err(error.clone()),
            (Some(Ok(snapshot)), Some(kept)) => snapshot.is_of(&kept.documents),
            _ => false,
        };
        let kept_at = kept.map(|kept| kept.at);
        let kept = kept.filter(|_| !is_kept);
        Ok(First {
            kept_at,
            kept: kept.map(|kept| source.restore(&kept.documents)),
            read,
            is_kept,
        })
    }
}

impl Host {
    /// What the sources say at the start comes into service.
    pub(super) async fn begin_with(&mut self, first: Vec<First>) {
        for (source, first) in first.into_iter().enumerate() {
            if let Some(followed) = self.sources.get_mut(source) {
                followed.read_at = first.kept_at;
            }
            if let Some(kept) = &first.kept {
                self.note_starters(kept);
                self.catalog.expect(source, kept);
            }
            match first.read {
                Some(Ok(snapshot)) if first.is_kept => {
                    self.keep_nothing_of(source, snapshot).await;
                }
                Some(read) => self.source_read(source, read).await,
                None => self.reconcile(source).await,
            }
        }
    }

    /// The source says what is kept of it already.
    async fn keep_nothing_of(&mut self, source: usize, snapshot: Snapshot) {
        let now = self.clock.now();
        if let Some(followed) = self.sources.get_mut(source) {
            followed.has_spoken = true;
            followed.read_at = Some(now);
        }
        self.note_starters(&snapshot);
        self.catalog.set(source, &snapshot);
        self.reconcile(source).await;
    }

    /// A source has been read. A trouble that lasts is told once.
    pub(super) async fn source_read(&mut self, source: usize, read: Result<Snapshot, SourceError>) {
        let now = self.clock.now();
        let Some(followed) = self.sources.get_mut(source) else {
            return;
        };
        let is_first = !followed.has_spoken;
        match read {
            Ok(snapshot) => {
                followed.failure = None;
                followed.read_at = Some(now);
                for error in followed.note_documents(&snapshot) {
                    self.reject(&error);
                }
                if let Some(wanted) = self.confirmed(source, snapshot) {
                    self.follow(source, &wanted).await;
                } else if is_first || self.catalog.is_to_judge(source) {
                    self.reconcile(source).await;
                }
            }
            Err(error) => {
                followed.held = None;
                let known = followed.failure.as_ref();
                if known.is_none_or(|(known, _)| *known != error) {
                    let since = known.map_or(now, |(_, since)| *since);
                    followed.failure = Some((error.clone(), since));
                    self.reject(&error);
                }
                // An operator who lowers a ceiling means it, whatever became of the source.
                if is_first || self.catalog.is_to_judge(source) {
                    self.reconcile(source).await;
                }
            }
        }
    }

    /// A source wants something else from now on.
    pub(super) async fn follow(&mut self, source: usize, wanted: &Snapshot) {
        let Some(followed) = self.sources.get_mut(source) else {
            return;
        };
        let name = followed.name.clone();
        if !std::mem::replace(&mut followed.has_spoken, true) {
            self.note_starters(wanted);
        }
        self.catalog.set(source, wanted);
        // The host's own are kept one by one.
        if source != self.own_number {
            let documents = self.catalog.texts(source);
            let bytes: usize = documents.iter().map(|text| text.text().len()).sum();
            if bytes <= MAX_KEPT_BYTES {
                let at = self.clock.now();
                self.definitions.keep(name, Kept { documents, at });
            }
        }
        self.reconcile(source).await;
        self.forget_the_orphans().await;
        self.forget_the_undefined().await;
    }

    /// Jobs that are to run because the host starts, as soon as they are in service.
    fn note_starters(&mut self, wanted: &Snapshot) {
        let jobs = wanted.manifests().flat_map(|manifest| manifest.jobs());
        let at_start = jobs.filter(|job| job.trigger.fires_at_start());
        let new = at_start.filter(|job| self.scheduler.job(&job.id).is_none());
        self.at_start.extend(new.map(|job| job.id.clone()));
    }

    /// What a source is to be followed in, if it says something new. What would remove more than
    /// half of its jobs, such as an emptied file, counts when a second reading says the same: it
    /// may be a slip, or something that is being written.
    fn confirmed(&mut self, source: usize, snapshot: Snapshot) -> Option<Snapshot> {
        let second_look = self.refresh.min(SECOND_LOOK);
        let (removed, jobs) = match snapshot.unchanged {
            true => (0, 0),
            false => self.catalog.removals(source, &snapshot),
        };
        let now = clock::monotonic();
        let followed = self.sources.get_mut(source)?;
        if snapshot.unchanged {
            // Something else beside it may have been the reason to look again so soon.
            let long_enough = |it: &mut HeldBack| now - it.since >= second_look * 9 / 10;
            return followed.held.take_if(long_enough).map(|it| it.snapshot);
        }
        followed.held = None;
        if removed * 2 <= jobs || self.allow_mass_removal || followed.allow_mass_removal {
            return Some(snapshot);
        }
        followed.held = Some(HeldBack {
            snapshot,
            since: now,
            what: Held { removed, jobs },
        });
        let (name, reader) = (followed.name.to_string(), followed.reader.clone());
        self.tell(Event::RemovalHeld {
            source: name,
            removed,
            jobs,
        });
        tokio::spawn(async move {
            tokio::time::sleep(second_look).await;
            reader.look();
        });
        None
    }

    /// How each source stands.
    pub(super) fn source_statuses(&self) -> Vec<SourceStatus> {
        let sources = self.sources.iter().enumerate();
        let status = |(number, followed): (usize, &FollowedSource)| {
            let (jobs, wrong) = self.catalog.counts(number);
            let broken = followed.broken.len();
            SourceStatus {
                source: followed.name.to_string(),
                jobs,
                wrong: wrong + broken,
                read_at: followed.read_at,
                stale: followed.failure.as_ref().map(|(error, since)| Stale {
                    since: Some(*since),
                    reason: error.to_string(),
                }),
                held: followed.held.as_ref().map(|it| it.what),
            }
        };
        sources.map(status).collect()
    }

    fn reject(&self, error: &SourceError) {
        self.tell(Event::JobRejected {
            job: None,
            problems: error.problems().to_vec(),
        });
    }
}
