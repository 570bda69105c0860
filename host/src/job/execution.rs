//! What becomes of the firings and the runs of a job when things do not go as planned: late,
//! overlapping, failed, lost.

pub(super) mod decode;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::units::format_duration_exact;

/// The policies of a job. Shared by the jobs of a file that say nothing else than its defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// How late an instant may be and still run; any time if nothing is said.
    pub misfire_grace_time: Option<Duration>,
    /// Which of several instants run that have fallen due together.
    pub coalesce: Coalesce,
    /// What becomes of a firing while as many runs of the job are in flight as it allows.
    pub overlap: Overlap,
    /// How often a run is attempted, and when.
    pub retry: RetryPolicy,
    /// How long a run may take with all its attempts, from the start of the first.
    pub deadline: Option<Duration>,
    /// What a restart of the host does with a run that was in flight when the host died.
    pub on_lost: OnLost,
    /// Of those that wait for their turn, the higher ones go first.
    pub priority: i8,
    /// Which group of jobs it belongs to.
    pub group: Option<Arc<Group>>,
}

impl Policies {
    /// What [`Policies::misfire_grace_time`] is where nothing is said.
    pub const GRACE: Duration = Duration::from_secs(60 * 60);
    /// The highest [`Policies::priority`]; the lowest is as far below 0.
    pub const HIGHEST_PRIORITY: i8 = 100;
}

impl Default for Policies {
    fn default() -> Self {
        Policies {
            misfire_grace_time: Some(Policies::GRACE),
            coalesce: Coalesce::Latest,
            overlap: Overlap::Skip,
            retry: RetryPolicy::default(),
            deadline: None,
            on_lost: OnLost::Record,
            priority: 0,
            group: None,
        }
    }
}

/// Which of several instants of a job run that have fallen due together, because the host was
/// down, stalled or asleep. The others are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    /// The latest.
    Latest,
    /// The earliest.
    Earliest,
    /// All of them, one after the other; the latest ones, if they are more than so many.
    All(u32),
}

impl Coalesce {
    /// How many run at most where `all` stands alone.
    pub const ALL: u32 = 100;
    /// The most that may be asked for.
    pub const MOST: u32 = 1_000;
}

/// What becomes of a firing while as many runs of its job are in flight as
/// [`max_instances`](super::Job::max_instances) allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// It waits until one of them has ended. No more wait than so many; others are skipped.
    Queue(u32),
    /// It runs beside them: `max_instances` does not count.
    Allow,
    /// It takes the place of the oldest of them, which is cancelled.
    Replace,
}

impl Overlap {
    /// How many wait at most where `queue` stands alone.
    pub const QUEUE: u32 = 16;
    /// The most that may be asked for.
    pub const MOST: u32 = 10_000;
}

/// How often a run is attempted, and how long the host waits in between.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts there are in all, at least 1.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub backoff: Duration,
    /// What each further wait is multiplied by, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max_backoff: Duration,
    /// How much of a wait chance may take away or add, from 0 to 1.
    pub jitter: f64,
    /// After which failures there is another attempt, whatever they say of themselves. Where
    /// nothing is said: after each that does not say that another would be of no use.
    pub on: Option<Failures>,
}

impl RetryPolicy {
    /// The most attempts that may be asked for.
    pub const MOST: u32 = 1_000;
    /// The largest factor that may be asked for.
    pub const LARGEST_FACTOR: f64 = 100.0;

    /// How long to wait after the attempt of this number, counted from 1, before chance has
    /// its say.
    ///
    /// ```
    /// # use quarterjack::job::RetryPolicy;
    /// let seconds = |after| RetryPolicy::default().wait(after).as_secs();
    /// assert_eq!([1, 2, 3, 40].map(seconds), [10, 20, 40, 3600]);
    /// ```
    pub fn wait(&self, attempt: u32) -> Duration {
        let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.backoff.as_secs_f64() * self.factor.powi(steps);
        // Beyond the longest, and beyond what a duration can hold, comes out as the longest.
        if seconds < self.max_backoff.as_secs_f64() {
            Duration::try_from_secs_f64(seconds).unwrap_or(self.max_backoff)
        } else {
            self.max_backoff
        }
    }
}

impl Default for RetryPolicy {
    /// One attempt.
    fn default() -> Self {
        RetryPolicy {
            attempts: 1,
            backoff: Duration::from_secs(10),
            factor: 2.0,
            max_backoff: Duration::from_secs(60 * 60),
            jitter: 0.0,
            on: None,
        }
    }
}

/// A way to fail after which another attempt may be worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// The job said that it failed, or could not be started.
    Failed,
    /// It broke a rule of WebAssembly.
    Trapped,
    /// Its time was up.
    TimedOut,
    /// Its fuel was used up.
    OutOfFuel,
    /// The memory limit refused it more.
    OutOfMemory,
}

impl Failure {
    /// All of them, in the order of their declaration.
    pub const ALL: [Failure; 5] = [
        Failure::Failed,
        Failure::Trapped,
        Failure::TimedOut,
        Failure::OutOfFuel,
        Failure::OutOfMemory,
    ];

    /// As a definition names it: the word for the outcome.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Failed => "failed",
            Failure::Trapped => "trapped",
            Failure::TimedOut => "timed_out",
            Failure::OutOfFuel => "out_of_fuel",
            Failure::OutOfMemory => "out_of_memory",
        }
    }
}

/// Some ways to fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures(u8);

impl Failures {
    /// Whether one is among them.
    pub fn contains(self, failure: Failure) -> bool {
        self.0 & 1 << failure as u8 != 0
    }

    /// Adds one.
    pub fn insert(&mut self, failure: Failure) {
        self.0 |= 1 << failure as u8;
    }

    /// Those that are among them.
    pub fn iter(self) -> impl Iterator<Item = Failure> {
        Failure::ALL
            .into_iter()
            .filter(move |failure| self.contains(*failure))
    }
}

/// What a restart of the host does with a run that was in flight when the host died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    /// It is recorded as lost.
    Record,
    /// It runs again.
    Rerun,
}

/// A group of jobs that share a limit, and can be paused together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name; the same in two files is the same group.
    pub name: Arc<str>,
    /// How many runs of jobs of the group are carried out at once at most; any number where
    /// nothing is said.
    pub max_running: Option<u32>,
}

impl fmt::Display for Coalesce {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Coalesce::Latest => to.write_str("latest"),
            Coalesce::Earliest => to.write_str("earliest"),
            Coalesce::All(most) => write!(to, "all, the latest {most}"),
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overlap::Skip => to.write_str("skip"),
            Overlap::Queue(most) => write!(to, "queue, at most {most}"),
            Overlap::Allow => to.write_str("allow"),
            Overlap::Replace => to.write_str("replace"),
        }
    }
}

impl fmt::Display for RetryPolicy {
    /// `3 attempts, 10s apart, then 2 times as long each, at most 1h`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts <= 1 {
            return to.write_str("1 attempt");
        }
        let first = format_duration_exact(self.wait(1));
        write!(to, "{} attempts, {first} apart", self.attempts)?;
        if self.attempts > 2 && self.factor > 1.0 {
            let most = format_duration_exact(self.max_backoff);
            write!(
                to,
                ", then {} times as long each, at most {most}",
                self.factor
            )?;
        }
        if self.jitter > 0.0 {
            write!(to, ", give or take {} %", (self.jitter * 100.0).round())?;
        }
        if let Some(on) = self.on {
            let words: Vec<&str> = on.iter().map(Failure::as_str).collect();
            write!(to, "; after {}", words.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for OnLost {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            OnLost::Record => "record",
            OnLost::Rerun => "rerun",
        })
    }
}

impl Policies {
    /// Those that are not what they are where nothing is said: the key and the value in words.
    pub fn in_words(&self) -> Vec<(&'static str, String)> {
        let usual = Policies::default();
        let duration = |it: Option<Duration>| it.map_or("unlimited".into(), format_duration_exact);
        let group = |group: &Arc<Group>| match group.max_running {
            Some(most) => format!("{}, at most {most} running", group.name),
            None => group.name.to_string(),
        };
        let all = [
            (
                "misfire_grace_time",
                (self.misfire_grace_time != usual.misfire_grace_time)
                    .then(|| duration(self.misfire_grace_time)),
            ),
            (
                "coalesce",
                (self.coalesce != usual.coalesce).then(|| self.coalesce.to_string()),
            ),
            (
                "overlap",
                (self.overlap != usual.overlap).then(|| self.overlap.to_string()),
            ),
            (
                "retry",
                (self.retry != usual.retry).then(|| self.retry.to_string()),
            ),
            ("deadline", self.deadline.map(format_duration_exact)),
            (
                "on_lost",
                (self.on_lost != usual.on_lost).then(|| self.on_lost.to_string()),
            ),
            (
                "priority",
                (self.priority != usual.priority).then(|| self.priority.to_string()),
            ),
            ("group", self.group.as_ref().map(group)),
        ];
        all.into_iter()
            .filter_map(|(key, words)| Some((key, words?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_never_overflow() {
        let policy = RetryPolicy {
            attempts: 1_000,
            backoff: Duration::from_millis(100),
            factor: 3.0,
            max_backoff: Duration::from_secs(2),
            ..RetryPolicy::default()
        };
        let millis: Vec<u128> = (1..=5).map(|n| policy.wait(n).as_millis()).collect();
        assert_eq!(millis, [100, 300, 900, 2_000, 2_000]);
        assert_eq!(policy.wait(u32::MAX), policy.max_backoff);
        let steep = RetryPolicy {
            factor: RetryPolicy::LARGEST_FACTOR,
            max_backoff: Duration::MAX,
            ..policy
        };
        assert_eq!(steep.wait(1_000), Duration::MAX);
    }

    #[test]
    fn policies_are_said_in_words_where_they_are_not_the_usual_ones() {
        assert!(Policies::default().in_words().is_empty());
        let mut on = Failures::default();
        on.insert(Failure::TimedOut);
        let policies = Policies {
            misfire_grace_time: None,
            coalesce: Coalesce::All(7),
            overlap: Overlap::Queue(3),
            retry: RetryPolicy {
                attempts: 4,
                jitter: 0.25,
                on: Some(on),
                ..RetryPolicy::default()
            },
            deadline: Some(Duration::from_secs(90)),
            on_lost: OnLost::Rerun,
            priority: -5,
            group: Some(Arc::new(Group {
                name: "db".into(),
                max_running: Some(2),
            })),
        };
        let words = policies.in_words();
        let lines: Vec<String> = words
            .iter()
            .map(|(key, is)| format!("{key}: {is}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        misfire_grace_time: unlimited
        coalesce: all, the latest 7
        overlap: queue, at most 3
        retry: 4 attempts, 10 s apart, then 2 times as long each, at most 1 h, give or take 25 %; after timed_out
        deadline: 1 min 30 s
        on_lost: rerun
        priority: -5
        group: db, at most 2 running
        ");
    }
}
