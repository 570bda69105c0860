//! The keys that each kind of object in a job file has. A key that is not among them is a mistake,
//! and what is near it is what may be meant.

use crate::suggest::nearest;

/// The keys of one kind of object.
pub(super) struct Keys {
    /// What the object is, for "… has the keys".
    pub(super) of: &'static str,
    /// Where such keys stand, for a key that was found elsewhere.
    pub(super) home: &'static str,
    /// The keys, in the order in which they are listed for people.
    pub(super) known: &'static [&'static str],
}

impl Keys {
    /// The key that was probably meant by one that is not among them.
    pub(super) fn meant_by(&self, key: &str) -> Option<&'static str> {
        nearest(key, self.known.iter().copied())
    }

    /// The keys among which one is, whatever object it was found in.
    pub(super) fn with(key: &str) -> Option<&'static Keys> {
        let all = [
            &JOB, &LIMITS, &GRANTS, &TRIGGER, &CALENDAR, &DAYS, &DIR, &FILE, &HTTP, &SOCKETS,
            &STATE, &SCHEDULE, &RETRY, &GROUP,
        ];
        // Whoever writes `schedule` elsewhere most likely means `trigger`.
        let among = |keys: &&&Keys| key != "schedule" && keys.known.contains(&key);
        all.into_iter().find(|keys| among(&keys))
    }
}

/// The keys of the object form of a file.
pub(super) static FILE: Keys = Keys {
    of: "a job file",
    home: "at the top of the file",
    known: &[
        "$schema",
        "timezone",
        "calendars",
        "groups",
        "defaults",
        "jobs",
    ],
};

/// The keys of `defaults`.
pub(super) static DEFAULTS: Keys = Keys {
    of: "`defaults`",
    home: "in `defaults`",
    known: &[
        "limits",
        "enabled",
        "run_on_start",
        "max_instances",
        "overlap",
        "misfire_grace_time",
        "coalesce",
        "retry",
        "deadline",
        "on_lost",
        "priority",
        "group",
    ],
};

/// The keys of a job.
pub(super) static JOB: Keys = Keys {
    of: "a job",
    home: "in each job",
    known: &[
        "id",
        "description",
        "component",
        "sha256",
        "trigger",
        "cron_expression",
        "timezone",
        "params",
        "args",
        "limits",
        "grants",
        "enabled",
        "version",
        "run_on_start",
        "max_instances",
        "overlap",
        "misfire_grace_time",
        "coalesce",
        "retry",
        "deadline",
        "on_lost",
        "priority",
        "group",
        "deterministic",
    ],
};

/// The keys of `retry`.
pub(super) static RETRY: Keys = Keys {
    of: "`retry`",
    home: "in the job's `retry`",
    known: &[
        "attempts",
        "backoff",
        "factor",
        "max_backoff",
        "jitter",
        "on",
    ],
};

/// The keys of a group.
pub(super) static GROUP: Keys = Keys {
    of: "a group",
    home: "in one of the file's `groups`",
    known: &["max_running"],
};

/// The keys of a trigger in its object form.
pub(super) static TRIGGER: Keys = Keys {
    of: "a trigger",
    home: "in the job's `trigger`",
    known: &[
        "cron", "interval", "calendar", "at", "any", "all", "after", "on", "timezone", "dst",
        "start", "end", "max_runs", "not_on", "instead", "jitter",
    ],
};

/// The keys of a calendar schedule.
pub(super) static CALENDAR: Keys = Keys {
    of: "`calendar`",
    home: "in the trigger's `calendar`",
    known: &["every", "on", "at"],
};

/// The keys of an exclusion calendar.
pub(super) static DAYS: Keys = Keys {
    of: "a calendar of days",
    home: "in one of the file's `calendars`",
    known: &["days", "ics"],
};

/// The keys of a group that stands in a job itself.
pub(super) static GROUP_HERE: Keys = Keys {
    of: "a job's own `group`",
    home: "in the job's `group`",
    known: &["name", "max_running"],
};

/// The keys of `limits`.
pub(super) static LIMITS: Keys = Keys {
    of: "`limits`",
    home: "in `limits`",
    known: &["timeout", "fuel", "memory", "output", "log_rate", "handles"],
};

/// The keys of `grants`.
pub(super) static GRANTS: Keys = Keys {
    of: "`grants`",
    home: "in the job's `grants`",
    known: &[
        "env", "dirs", "config", "http", "sockets", "secrets", "state", "schedule",
    ],
};

/// The keys of `schedule` among `grants`.
pub(super) static SCHEDULE: Keys = Keys {
    of: "`schedule`",
    home: "in `schedule` among the job's `grants`",
    known: &["prefix", "max_jobs", "on_removal"],
};

/// The keys of a directory among `grants`.
pub(super) static DIR: Keys = Keys {
    of: "a directory",
    home: "in one of `dirs`",
    known: &["host", "guest", "mode", "quota"],
};

/// The keys of `http` among `grants`.
pub(super) static HTTP: Keys = Keys {
    of: "`http`",
    home: "in `http` among the job's `grants`",
    known: &["origins", "addresses", "timeout", "requests", "body"],
};

/// The keys of `sockets` among `grants`.
pub(super) static SOCKETS: Keys = Keys {
    of: "`sockets`",
    home: "in `sockets` among the job's `grants`",
    known: &["endpoints", "addresses"],
};

/// The keys of `state` among `grants`.
pub(super) static STATE: Keys = Keys {
    of: "`state`",
    home: "in `state` among the job's `grants`",
    known: &["keys", "size"],
};
