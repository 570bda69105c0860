//! Time: the only file of the host that reads it.
//!
//! Everything that decides *when* takes a [`Clock`], so that a test can run a year of
//! schedule in a second on a [`ManualClock`]. Lengths of time that are only measured (how
//! long a run took, how much CPU it used) come from [`monotonic`] and [`thread_cpu_time`].

#[cfg(target_os = "linux")]
mod precise;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{
    DateTime, Datelike as _, SecondsFormat, SubsecRound as _, TimeDelta, Timelike as _, Utc,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A point in time, in UTC.
pub type Timestamp = DateTime<Utc>;

/// A source of the time of day, and of waking up at one.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Resolves once `now()` has reached `instant`; at once if it already has.
    fn sleep_until(&self, instant: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The same for whoever must not be late: within a fraction of a millisecond, where the system
    /// has timers like that. It costs more, and the runtime must have I/O enabled.
    fn sleep_precisely_until(
        &self,
        instant: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.sleep_until(instant)
    }

    /// Resolves after so much time, whatever becomes of the time of day meanwhile.
    fn sleep(&self, length: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The longest sleep before the clock is read again: what bounds how long a clock that was
/// set, or a machine that was suspended, goes unnoticed.
const LONGEST_NAP: Duration = Duration::from_secs(1);

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that may
    fn now(&self) -> Timestamp {
        // Finer than a microsecond is noise, and would only make records longer.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_micros()).ok())
            .and_then(DateTime::from_timestamp_micros)
            // Before 1970, or after the last day that there is.
            .unwrap_or_else(|| Utc::now().trunc_subsecs(6))
    }

    fn sleep_until(&self, instant: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = *self;
        Box::pin(async move {
            // A negative remainder does not convert: the instant has come.
            while let Ok(left) = (instant - clock.now()).to_std() {
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }

    #[cfg(target_os = "linux")]
    fn sleep_precisely_until(
        &self,
        instant: Timestamp,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = *self;
        Box::pin(async move {
            while let Ok(left) = (instant - clock.now()).to_std() {
                if left.is_zero() {
                    return;
                }
                precise::nap(left.min(LONGEST_NAP)).await;
            }
        })
    }

    fn sleep(&self, length: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(length))
    }
}

/// A clock that stands still until it is told to move. For tests and simulations.
///
/// ```
/// use quarterjack::clock::{Clock, ManualClock};
/// let clock = ManualClock::at("2026-01-01T00:00:00Z");
/// clock.advance(std::time::Duration::from_secs(60));
/// assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:01:00+00:00");
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    /// Who sleeps until some time of day.
    sleepers: BinaryHeap<Sleeper>,
    /// What a clock would show that is never set back.
    passed: Timestamp,
    /// Who sleeps until that shows some time.
    nappers: BinaryHeap<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    until: Reverse<Timestamp>,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        ManualClock {
            state: Arc::new(Mutex::new(ManualState {
                now,
                sleepers: BinaryHeap::new(),
                passed: now,
                nappers: BinaryHeap::new(),
            })),
        }
    }

    /// A clock that stands at an RFC 3339 instant.
    ///
    /// # Panics
    /// If `instant` is not one: this is for tests, where it is a literal.
    #[allow(clippy::expect_used)]
    pub fn at(instant: &str) -> Self {
        ManualClock::new(parse_instant(instant).expect("an RFC 3339 instant"))
    }

    /// Moves the clock forward and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let now = self.now();
        self.set(now + by);
    }

    /// Sets the clock, forward or back, and wakes whoever slept until then. Set forward, time
    /// has passed; set back, none has.
    pub fn set(&self, now: Timestamp) {
        let mut state = self.state.lock();
        let passed = (now - state.now).max(TimeDelta::zero());
        state.now = now;
        state.passed = state.passed.checked_add_signed(passed).unwrap_or(now);
        let passed = state.passed;
        wake(&mut state.sleepers, now);
        wake(&mut state.nappers, passed);
    }
}

fn wake(sleepers: &mut BinaryHeap<Sleeper>, now: Timestamp) {
    while sleepers.peek().is_some_and(|it| it.until.0 <= now) {
        if let Some(sleeper) = sleepers.pop() {
            // Nobody waits any more: nothing to wake.
            let _ = sleeper.wake.send(());
        }
    }
}

/// Sleeps among others until a time that has not come.
fn sleep_among(
    sleepers: &mut BinaryHeap<Sleeper>,
    until: Timestamp,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let (wake, woken) = oneshot::channel();
    sleepers.push(Sleeper {
        until: Reverse(until),
        wake,
    });
    Box::pin(async move {
        // An error means that the clock is gone: nothing will ever be due.
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    fn sleep_until(&self, instant: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut state = self.state.lock();
        if state.now >= instant {
            return Box::pin(std::future::ready(()));
        }
        sleep_among(&mut state.sleepers, instant)
    }

    /// Nothing but being set forward lets time pass here.
    fn sleep(&self, length: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if length.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let mut state = self.state.lock();
        let until = TimeDelta::from_std(length)
            .ok()
            .and_then(|length| state.passed.checked_add_signed(length));
        sleep_among(&mut state.nappers, until.unwrap_or(Timestamp::MAX_UTC))
    }
}

/// What the clocks of the machine show at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readings {
    /// The time of day, which can be set.
    pub now: Timestamp,
    /// Real time since some moment, time that the machine was suspended included.
    pub real: Duration,
    /// The same without the time that the machine was suspended.
    pub awake: Duration,
}

impl Readings {
    /// What they show now.
    pub fn take() -> Readings {
        use rustix::time::{ClockId, clock_gettime};
        let length = |id: ClockId| {
            let time = clock_gettime(id);
            // Neither runs below zero, and nanoseconds are below a thousand million.
            Duration::new(
                u64::try_from(time.tv_sec).unwrap_or(0),
                u32::try_from(time.tv_nsec).unwrap_or(0),
            )
        };
        #[cfg(target_os = "linux")]
        let real = length(ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        let real = length(ClockId::Monotonic);
        Readings {
            now: SystemClock.now(),
            real,
            awake: length(ClockId::Monotonic),
        }
    }
}

/// What has happened to time besides passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// The clock was set forward by so much.
    Forward(Duration),
    /// The clock was set back by so much.
    Back(Duration),
    /// The machine was suspended for so long.
    Suspended(Duration),
}

/// Notices when the clock is set or the machine was suspended.
#[derive(Debug)]
pub struct ClockWatch {
    last: Readings,
}

impl ClockWatch {
    /// Steps below this are corrections, as a time server makes them.
    const LEAST: Duration = Duration::from_secs(1);

    /// Watches from these readings on.
    pub fn new(readings: Readings) -> Self {
        ClockWatch { last: readings }
    }

    /// Compares with the last look: what has happened in between.
    pub fn look(&mut self, readings: Readings) -> Vec<Jump> {
        let last = std::mem::replace(&mut self.last, readings);
        let real = readings.real.saturating_sub(last.real);
        let asleep = real.saturating_sub(readings.awake.saturating_sub(last.awake));
        let mut jumps = Vec::new();
        if asleep >= Self::LEAST {
            jumps.push(Jump::Suspended(asleep));
        }
        let passed = readings.now - last.now;
        let set = passed - TimeDelta::from_std(real).unwrap_or(passed);
        let by = set.abs().to_std().unwrap_or_default();
        if by >= Self::LEAST {
            jumps.push(if set > TimeDelta::zero() {
                Jump::Forward(by)
            } else {
                Jump::Back(by)
            });
        }
        jumps
    }
}

/// The monotonic clock, for measuring lengths of time. It never goes back.
#[allow(clippy::disallowed_methods)] // the one place that may
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time of day as file systems record it, for the ages of files.
#[allow(clippy::disallowed_methods)] // the one place that may
pub fn file_time() -> SystemTime {
    SystemTime::now()
}

/// The CPU time that the calling thread has used so far.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // A thread's CPU time is never negative, and its nanoseconds are below a thousand million.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Reads an instant as people write it: RFC 3339, with an offset.
///
/// # Errors
/// What is wrong with the text, and what an instant looks like.
pub fn parse_instant(text: &str) -> Result<Timestamp, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|error| {
            format!("`{text}` is not an instant ({error}): write one like 2026-01-01T00:00:00Z")
        })
}

/// The first second of 2025: no machine that runs this program has an earlier time.
const OLDEST: i64 = 1_735_689_600;

/// Whether a clock that says so has never been set: as that of a machine whose battery is empty,
/// which begins in 1970.
pub fn is_unset(now: Timestamp) -> bool {
    now.timestamp() < OLDEST
}

/// Writes an instant for programs: RFC 3339 in UTC, with as many decimals as it has (none, 3, 6
/// or 9).
///
/// By hand, because every run of a command is told several instants: a fifth of the time that
/// chrono's general formatter takes.
pub fn format_instant(instant: Timestamp) -> String {
    let (date, time) = (instant.date_naive(), instant.time());
    // A leap second is the second after 59 to chrono, as it is in RFC 3339.
    let (leap, nanos) = match time.nanosecond() {
        nanos @ 1_000_000_000.. => (1, nanos - 1_000_000_000),
        nanos => (0, nanos),
    };
    let Some(year) = u32::try_from(date.year()).ok().filter(|year| *year <= 9999) else {
        return instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    };
    let mut text = String::with_capacity("2026-01-01T00:00:00.000000Z".len());
    let mut digits = |number: u32, count: u32, after: char| {
        for place in (0..count).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            text.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        text.push(after);
    };
    digits(year, 4, '-');
    digits(date.month(), 2, '-');
    digits(date.day(), 2, 'T');
    digits(time.hour(), 2, ':');
    digits(time.minute(), 2, ':');
    let second = time.second() + leap;
    match nanos {
        0 => digits(second, 2, 'Z'),
        _ => {
            digits(second, 2, '.');
            if nanos % 1_000_000 == 0 {
                digits(nanos / 1_000_000, 3, 'Z');
            } else if nanos % 1_000 == 0 {
                digits(nanos / 1_000, 6, 'Z');
            } else {
                digits(nanos, 9, 'Z');
            }
        }
    }
    text
}

/// Serialises instants that may be missing as [`format_instant`] writes them; for
/// `#[serde(with = …)]`.
pub mod rfc3339_option {
    use super::{Timestamp, format_instant, parse_instant};
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes an instant, or null.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(instant: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => to.serialize_str(&format_instant(*instant)),
            None => to.serialize_none(),
        }
    }

    /// Reads an instant, or null.
    ///
    /// # Errors
    /// It is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| parse_instant(&text).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_begins_in_1970_is_not_set() {
        let at = |text: &str| parse_instant(text).unwrap();
        assert!(is_unset(at("1970-01-01T00:00:05Z")));
        assert!(is_unset(at("1969-12-31T23:59:59Z")));
        assert!(is_unset(at("2024-12-31T23:59:59Z")));
        assert!(!is_unset(at("2025-01-01T00:00:00Z")));
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_those_whose_time_has_come() {
        let clock = ManualClock::at("2026-01-01T00:00:00Z");
        let early = clock.sleep_until(clock.now() + Duration::from_secs(1));
        let late = clock.sleep_until(clock.now() + Duration::from_secs(3));
        clock.advance(Duration::from_secs(2));
        early.await;
        let mut late = std::pin::pin!(late);
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(late.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        late.await;
    }

    #[tokio::test]
    async fn a_length_of_time_is_none_longer_for_a_clock_that_is_set_back() {
        let clock = ManualClock::at("2026-01-01T00:00:00Z");
        let until = clock.sleep_until(clock.now() + Duration::from_secs(2));
        let nap = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        clock.set(clock.now() - Duration::from_secs(3_600));
        clock.advance(Duration::from_secs(1));
        nap.await;
        clock.sleep(Duration::ZERO).await;
        let mut until = std::pin::pin!(until);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(until.as_mut().poll(&mut context).is_pending());
    }

    #[test]
    fn a_clock_that_is_set_and_a_machine_that_slept_are_told_apart() {
        let readings = |now: i64, real: u64, awake: u64| Readings {
            now: DateTime::from_timestamp(now, 0).unwrap(),
            real: Duration::from_secs(real),
            awake: Duration::from_secs(awake),
        };
        let seconds = Duration::from_secs;
        let mut watch = ClockWatch::new(readings(1_000, 50, 50));
        assert_eq!(watch.look(readings(1_002, 52, 52)), []);
        assert_eq!(
            watch.look(readings(4_604, 54, 54)),
            [Jump::Forward(seconds(3_600))]
        );
        assert_eq!(
            watch.look(readings(1_006, 56, 56)),
            [Jump::Back(seconds(3_600))]
        );
        assert_eq!(
            watch.look(readings(8_206, 7_256, 56)),
            [Jump::Suspended(seconds(7_200))]
        );
        assert_eq!(
            watch.look(readings(1_000, 7_266, 57)),
            [Jump::Suspended(seconds(9)), Jump::Back(seconds(7_216))]
        );
        // The real clocks agree with each other.
        let mut real = ClockWatch::new(Readings::take());
        assert_eq!(real.look(Readings::take()), []);
    }

    #[test]
    fn instants_are_written_with_the_decimals_they_have() {
        let plain = parse_instant("2026-01-01T01:00:00+01:00").unwrap();
        assert_eq!(format_instant(plain), "2026-01-01T00:00:00Z");
        let fine = plain + Duration::from_millis(5);
        assert_eq!(format_instant(fine), "2026-01-01T00:00:00.005Z");
        for (seconds, nanos) in [
            (0, 0),
            (951_782_400, 1),
            (1_790_000_000, 120_000_000),
            (4_102_444_799, 999_999_000),
            (-1, 0),
            (253_402_300_799, 0),
            (253_402_300_800, 0),
            (-62_167_219_201, 0),
            (1_483_228_799, 1_500_000_000),
        ] {
            let instant = DateTime::from_timestamp(seconds, nanos).unwrap();
            let expected = instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            assert_eq!(format_instant(instant), expected);
        }
        assert!(
            parse_instant("tomorrow")
                .unwrap_err()
                .contains("2026-01-01T00:00:00Z")
        );
    }
}
