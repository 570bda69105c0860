-- Times are nanoseconds since 1970, durations nanoseconds, ids of runs 16 bytes that sort by time.

-- What the host left of itself.
CREATE TABLE host (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every job that was ever in service or has left a record.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  -- Its schedule, while it is in service: which trigger, since when, how far it has come; the
  -- greatest number there is while the job is not enabled.
  trigger INTEGER,
  since INTEGER,
  dealt_with INTEGER,
  last_success INTEGER,
  -- 1 once it is no longer defined, until it fires again.
  forgotten INTEGER NOT NULL DEFAULT 0,
  -- How many sets of changes have landed in its state.
  state_version INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The names of plugins' files.
CREATE TABLE components (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- The host's own definitions.
CREATE TABLE definitions (
  id INTEGER PRIMARY KEY,
  job TEXT NOT NULL UNIQUE,
  text TEXT NOT NULL,
  -- The job that made it, and what becomes of it when that one is removed: remove or keep.
  creator TEXT,
  on_removal TEXT
) STRICT;

-- What has become of the definitions of jobs: the newest of each.
CREATE TABLE changes (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs(id),
  at INTEGER NOT NULL,
  change TEXT NOT NULL,
  origin TEXT NOT NULL,
  changed_by TEXT,
  version INTEGER,
  definition INTEGER,
  -- JSON: keys with their values before and after.
  fields TEXT
) STRICT;

CREATE INDEX changes_of_job ON changes(job, id);

-- Events that are still to be sent to those who are told of them, and those that were given up.
CREATE TABLE deliveries (
  id BLOB PRIMARY KEY,
  hook TEXT NOT NULL,
  event TEXT NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  given_up INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What each source of definitions said last.
CREATE TABLE sources (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  said_at INTEGER NOT NULL
) STRICT;

-- The texts of that, in the order of the source.
CREATE TABLE documents (
  source INTEGER NOT NULL REFERENCES sources(id),
  place INTEGER NOT NULL,
  name TEXT NOT NULL,
  text TEXT NOT NULL,
  UNIQUE (source, place)
) STRICT;

-- What is held back: all jobs, a group or a job, by name.
CREATE TABLE pauses (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Runs, and firings that did not become one.
CREATE TABLE runs (
  id BLOB PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs(id),
  -- The plugin's file and the definition, as they were then.
  component INTEGER NOT NULL REFERENCES components(id),
  definition INTEGER,
  cause TEXT NOT NULL,
  scheduled_at INTEGER NOT NULL,
  -- 1 if the run is the only one of its instant; not if it was skipped and the instant
  -- was given to another one.
  is_unique INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  last_success INTEGER,
  deterministic INTEGER NOT NULL,
  -- recorded, running, skipped, or an outcome.
  status TEXT NOT NULL,
  -- Why it was skipped: a name, a number and a text.
  reason TEXT,
  reason_number INTEGER,
  reason_text TEXT
) STRICT, WITHOUT ROWID;

-- At most one run for a job and an instant.
CREATE UNIQUE INDEX runs_of_instant ON runs(job, scheduled_at) WHERE is_unique = 1;
-- The history of a job.
CREATE INDEX runs_of_job ON runs(job, id);
-- What has no end.
CREATE INDEX runs_open ON runs(id) WHERE status IN ('recorded', 'running');
-- What did not go well: few among many, which are looked for.
CREATE INDEX runs_apart ON runs(id, status)
  WHERE status NOT IN ('recorded', 'running', 'succeeded');
CREATE INDEX runs_apart_of_job ON runs(job, id, status)
  WHERE status NOT IN ('recorded', 'running', 'succeeded');

-- What each run tried. An attempt without `ended_at` has not ended.
CREATE TABLE attempts (
  run BLOB NOT NULL,
  number INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  error TEXT,
  fuel INTEGER,
  memory INTEGER,
  cpu INTEGER,
  elapsed INTEGER,
  plugin BLOB,
  output_dropped INTEGER,
  log_dropped INTEGER,
  denied INTEGER,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- What an attempt left behind, where it left anything.
CREATE TABLE results (
  run BLOB NOT NULL,
  number INTEGER NOT NULL,
  output_type TEXT,
  output BLOB,
  log BLOB,
  -- JSON: entries, denials, progress.
  told TEXT,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- What jobs keep between their runs.
CREATE TABLE state (
  job INTEGER NOT NULL REFERENCES jobs(id),
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  -- The version of the state that first had this value.
  since INTEGER NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;
