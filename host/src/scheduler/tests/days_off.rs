//! What calendars leave out, and when it is told of.

use super::*;
use crate::trigger::{Bounds, Days, Instead, NotOn};

/// A job that does not run on 11 March.
fn but_for_the_11th(id: &str, expression: &str) -> Arc<Job> {
    let not_on = NotOn::new(
        Days::parse_day("2026-03-11").unwrap(),
        vec!["holidays".to_owned()],
        Instead::Skip,
    );
    let bounds = Bounds {
        not_on: Some(not_on),
        ..Bounds::default()
    };
    let trigger = Trigger::parse(expression, Zone::UTC).unwrap();
    Arc::new(with(id, trigger.within(bounds, id).unwrap()))
}

fn on(day: u32, time: &str) -> Timestamp {
    parse_instant(&format!("2026-03-{day:02}T{time}Z")).unwrap()
}

/// What is due, with its day.
fn told(scheduler: &mut Scheduler, now: Timestamp) -> Vec<String> {
    let time = |at: Timestamp| at.format("%d %H:%M");
    let due = scheduler.due(now).into_iter();
    due.map(|due| match due {
        Due::Fire(firing) => format!("{} {}", firing.job.id, time(firing.scheduled_at)),
        Due::Skip {
            firing,
            through,
            reason,
        } => {
            let (first, last) = (time(firing.scheduled_at), time(through));
            format!("{} {first} to {last}: {reason}", firing.job.id)
        }
    })
    .collect()
}

const ALL_DAY: &str = "a 11 00:00 to 11 20:00: 6 firings on days off (not_on holidays; the last one for 2026-03-11T20:00:00Z)";

#[test]
fn a_day_off_is_told_of_once_when_it_comes() {
    let mut scheduler = Scheduler::new();
    scheduler.upsert(but_for_the_11th("a", "0 */4 * * *"), on(10, "19:00:00"));
    assert_eq!(scheduler.next_day_off(), Some(on(11, "00:00:00")));
    assert_eq!(told(&mut scheduler, on(10, "20:00:00")), ["a 10 20:00"]);
    // Of the schedule itself it is no part.
    assert_eq!(scheduler.next_wake(), Some(on(12, "00:00:00")));
    assert!(told(&mut scheduler, on(10, "23:59:59")).is_empty());
    assert_eq!(told(&mut scheduler, on(11, "00:00:00")), [ALL_DAY]);
    assert_eq!(scheduler.next_day_off(), None);
    assert!(told(&mut scheduler, on(11, "16:00:00")).is_empty());
    // A clock that is set back tells of nothing twice.
    assert!(told(&mut scheduler, on(11, "03:00:00")).is_empty());
    assert!(told(&mut scheduler, on(11, "12:00:00")).is_empty());
    assert_eq!(told(&mut scheduler, on(12, "00:00:00")), ["a 12 00:00"]);
    let once = but_for_the_11th("b", "30 9 * * *");
    scheduler.upsert(once, on(10, "12:00:00"));
    assert_eq!(
        told(&mut scheduler, on(11, "09:30:00"))[0],
        "b 11 09:30 to 11 09:30: a day off (not_on holidays)"
    );
}

#[test]
fn after_a_restart_it_goes_on_where_it_had_been_told_of() {
    let resumed = |days_off, now| {
        let before = Before {
            since: on(1, "00:00:00"),
            dealt_with: Some(on(10, "20:00:00")),
            days_off,
            enabled: true,
        };
        let mut scheduler = Scheduler::new();
        scheduler.resume(but_for_the_11th("a", "0 */4 * * *"), before, now);
        told(&mut scheduler, now)
    };
    assert_eq!(resumed(None, on(11, "10:00:00")), [ALL_DAY]);
    let through = Some(on(11, "20:00:00"));
    assert!(resumed(through, on(11, "10:00:00")).is_empty());
    // Down over all of it.
    assert_eq!(resumed(None, on(12, "00:30:00")), [ALL_DAY, "a 12 00:00"]);
    assert_eq!(resumed(through, on(12, "00:30:00")), ["a 12 00:00"]);
}

#[test]
fn what_is_removed_disabled_or_has_other_days_is_not_told_of() {
    let start = || {
        let mut scheduler = Scheduler::new();
        scheduler.upsert(but_for_the_11th("a", "0 */4 * * *"), on(10, "22:00:00"));
        scheduler
    };
    let mut scheduler = start();
    scheduler.remove(&"a".into());
    assert_eq!(scheduler.next_day_off(), None);
    assert!(told(&mut scheduler, on(11, "10:00:00")).is_empty());

    let mut scheduler = start();
    let disabled = Job {
        enabled: false,
        ..Job::clone(&but_for_the_11th("a", "0 */4 * * *"))
    };
    scheduler.upsert(Arc::new(disabled), on(10, "23:00:00"));
    assert_eq!(scheduler.next_day_off(), None);
    // Enabled in the middle of the day, it has the rest of it.
    let enabled = but_for_the_11th("a", "0 */4 * * *");
    scheduler.upsert(enabled, on(11, "13:00:00"));
    assert_eq!(
        told(&mut scheduler, on(11, "17:00:00")),
        [
            "a 11 16:00 to 11 20:00: 2 firings on days off (not_on holidays; the last one for 2026-03-11T20:00:00Z)"
        ]
    );

    let mut scheduler = start();
    scheduler.upsert(Arc::new(cron("a", "0 */4 * * *")), on(10, "23:00:00"));
    assert_eq!(scheduler.next_day_off(), None);
    assert_eq!(told(&mut scheduler, on(11, "00:00:00")), ["a 11 00:00"]);
}
