-- What runs say along the way. Times are nanoseconds since 1970, ids of runs 16 bytes that sort by
-- time.

-- The log of each attempt that has logged anything.
CREATE TABLE logs (
  run BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  job TEXT NOT NULL,
  -- When its last line was begun.
  last_at INTEGER NOT NULL,
  -- How many bytes of it were not kept.
  dropped INTEGER NOT NULL,
  -- 1 once nothing more will come.
  ended INTEGER NOT NULL,
  PRIMARY KEY (run, attempt)
) STRICT, WITHOUT ROWID;

-- The logs of a job.
CREATE INDEX logs_of_job ON logs(job, run);

-- Their lines, numbered from 1 in each attempt.
CREATE TABLE lines (
  run BLOB NOT NULL,
  attempt INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  -- stdout, stderr or log.
  stream TEXT NOT NULL,
  level TEXT,
  text TEXT NOT NULL,
  -- How many of its bytes were not kept.
  cut INTEGER NOT NULL,
  -- JSON: pairs of a name and a value.
  fields TEXT,
  PRIMARY KEY (run, attempt, number)
) STRICT, WITHOUT ROWID;
