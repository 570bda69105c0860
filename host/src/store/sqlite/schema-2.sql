-- The parameters of runs that were given some, in place of those of their definition: JSON.
CREATE TABLE given (
  run BLOB PRIMARY KEY,
  params TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to where the firings are recorded that the calendars of a job's trigger leave out.
ALTER TABLE jobs ADD COLUMN days_off INTEGER;
