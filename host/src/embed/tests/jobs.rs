//! Jobs as APScheduler's users know them: added, changed, held back, late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::event::Event;
use crate::job::{Coalesce, Overlap, Scope};
use crate::record::Status;
use crate::run::{Cause, Outcome, SkipReason};

#[tokio::test]
async fn a_job_is_added_once_and_replaced_where_that_is_said() {
    let (scheduler, _) = start().await;
    let added = scheduler
        .add_job(idle("a").trigger("*/5 * * * *"))
        .await
        .unwrap();
    assert_eq!(added.next_run_time, Some(at("2026-03-02T10:05:00Z")));
    assert!(added.in_service && added.enabled && !added.is_paused());
    let again = scheduler.add_job(idle("a")).await.unwrap_err();
    insta::assert_snapshot!(again, @"there is a job `a` already: change it with `modify_job`, or add it with `replace_existing`");
    assert!(matches!(again, Error::AlreadyExists(job) if job.as_str() == "a"));
    let other = idle("a").trigger("0 12 * * *").replace_existing();
    let replaced = scheduler.add_job(other).await.unwrap();
    assert_eq!(replaced.next_run_time, Some(at("2026-03-02T12:00:00Z")));
    scheduler
        .add_job(idle("b").trigger("0 9 * * *"))
        .await
        .unwrap();
    let jobs = scheduler.get_jobs().await.unwrap();
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    scheduler.remove_job("a").await.unwrap();
    assert_eq!(scheduler.get_job("a").await.unwrap(), None);
    insta::assert_snapshot!(scheduler.remove_job("a").await.unwrap_err(), @"no job `a`; it has b");
    insta::assert_snapshot!(scheduler.trigger("bb").await.unwrap_err(), @"no job `bb`: did you mean `b`?");
    scheduler.add_job(idle("a")).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_leaves_all_as_it_was() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let first = Job::native("a", |_| async { Ok("first") });
    scheduler
        .add_job(first.trigger("*/5 * * * *"))
        .await
        .unwrap();
    let second = Job::native("a", |_| async { Ok("second") });
    let wrong = second.trigger("61 * * * *").replace_existing();
    let error = scheduler.add_job(wrong).await.unwrap_err();
    insta::assert_snapshot!(error, @"the definition of `a` cannot be used: host:a:1:36: minute 61 is out of range: a minute is 0-59");
    clock.advance(seconds(300));
    let run = events.next_end_of("a").await.unwrap();
    assert_eq!(run.execution.output.as_ref().unwrap().as_bytes(), b"first");
    let grants = idle("b").grants(serde_json::json!({"env": {"A": "1"}}));
    insta::assert_snapshot!(scheduler.add_job(grants).await.unwrap_err(), @"the definition of `b` cannot be used: host:b:1:47: `grants` beside a component that is a function: a function of the program runs in no sandbox: leave it out");
    let params = idle("b").params(std::collections::BTreeMap::from([((1, 2), 3)]));
    insta::assert_snapshot!(scheduler.add_job(params).await.unwrap_err(), @"the parameters of `b` cannot be written as JSON: key must be a string");
}

#[tokio::test]
async fn a_job_is_changed_and_keeps_its_history() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let job = idle("a").trigger(seconds(60)).max_instances(2);
    scheduler.add_job(job).await.unwrap();
    clock.advance(seconds(60));
    events.next_end_of("a").await.unwrap();

    // What is not of the schedule leaves that as it is.
    clock.advance(seconds(30));
    let modified = scheduler
        .modify_job("a", |job| job.priority(7).params([1, 2]))
        .await
        .unwrap();
    assert_eq!(modified.next_run_time, Some(at("2026-03-02T10:02:00Z")));
    let rescheduled = scheduler.reschedule_job("a", "0 11 * * *").await.unwrap();
    assert_eq!(rescheduled.next_run_time, Some(at("2026-03-02T11:00:00Z")));
    clock.set(at("2026-03-02T11:00:00Z"));
    let run = events.next_end_of("a").await.unwrap();
    let job = &run.attempt.run.job;
    assert_eq!(job.params.as_deref(), Some("[1,2]"));
    assert_eq!((job.policies.priority, job.max_instances), (7, 2));
    assert_eq!(runs(&scheduler, "a").await.len(), 2);
    let unknown = scheduler.reschedule_job("b", "@daily").await.unwrap_err();
    insta::assert_snapshot!(unknown, @"no job `b`; it has a");
}

#[tokio::test]
async fn changes_of_several_at_once_are_all_there_in_the_end() {
    let (scheduler, _) = start().await;
    scheduler.add_job(idle("a").params([0])).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=8 {
        let scheduler = scheduler.clone();
        tasks.spawn(async move {
            let change = |job: Job| {
                let text = job.definition().unwrap();
                let before: serde_json::Value = serde_json::from_str(&text).unwrap();
                let mut numbers = before["params"].as_array().unwrap().clone();
                numbers.push(number.into());
                job.params(numbers)
            };
            scheduler.modify_job("a", change).await.unwrap();
        });
    }
    tasks.join_all().await;
    let run = scheduler.trigger("a").await.unwrap();
    let record = run.outcome().await.unwrap();
    assert!(record.has_succeeded());
    let left = scheduler
        .modify_job("a", |job| {
            let text = job.definition().unwrap();
            assert_eq!(text.matches(',').count(), 8 + 2, "{text}");
            job
        })
        .await;
    left.unwrap();
}

#[tokio::test]
async fn what_is_paused_is_skipped_and_told() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    scheduler
        .add_job(idle("a").trigger(seconds(60)))
        .await
        .unwrap();
    assert!(scheduler.pause_job("a").await.unwrap().changed);
    assert!(scheduler.get_job("a").await.unwrap().unwrap().is_paused());
    clock.advance(seconds(60));
    let skipped = loop {
        if let Event::RunSkipped { job, reason, .. } = events.recv().await.unwrap().event {
            assert_eq!(job.id.as_str(), "a");
            break reason;
        }
    };
    assert_eq!(skipped, SkipReason::Paused("the job a".into()));
    // By hand it runs all the same.
    let run = scheduler.trigger("a").await.unwrap();
    let record = run.outcome().await.unwrap();
    assert_eq!(
        (record.cause, record.has_succeeded()),
        (Cause::Manual, true)
    );
    scheduler.resume_job("a").await.unwrap();
    clock.advance(seconds(60));
    let run = events.next_end_of("a").await.unwrap(); // the one by hand
    assert_eq!(run.attempt.run.cause, Cause::Manual);
    let run = events.next_end_of("a").await.unwrap();
    assert_eq!(run.attempt.run.cause, Cause::Schedule);
    scheduler.set_paused(Scope::All, true).await.unwrap();
    let status = scheduler.status().await.unwrap();
    assert_eq!(status.paused.len(), 1);
    insta::assert_snapshot!(scheduler.pause_job("aa").await.unwrap_err(), @"no job `aa`: did you mean `a`?");
}

#[tokio::test]
async fn of_what_was_missed_the_latest_runs_or_all_of_it_or_nothing() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let every_minute = |id: &str| idle(id).trigger("* * * * *");
    for job in [
        every_minute("latest"),
        every_minute("all")
            .coalesce(Coalesce::All(10))
            .overlap(Overlap::Queue(10)),
        every_minute("earliest").coalesce(Coalesce::Earliest),
        every_minute("strict").misfire_grace_time(seconds(1)),
    ] {
        scheduler.add_job(job).await.unwrap();
    }
    // As if the process had been stopped for a while.
    clock.advance(seconds(5 * 60 + 30));
    let mut ended = Vec::new();
    while ended.len() < 7 {
        if let Event::RunFinished { run } = events.recv().await.unwrap().event {
            let run = &run.attempt.run;
            let minute = run.scheduled_at.format("%M").to_string();
            ended.push(format!("{} {minute}", run.job.id));
        }
    }
    ended.sort();
    assert_eq!(
        ended,
        [
            "all 01",
            "all 02",
            "all 03",
            "all 04",
            "all 05",
            "earliest 01",
            "latest 05"
        ]
    );
    settled(&scheduler).await;
    let strict = runs(&scheduler, "strict").await;
    assert!(
        strict
            .iter()
            .all(|it| matches!(it.status, Status::Skipped(SkipReason::Misfired(_))))
    );
    assert!(!strict.is_empty());
    let next = scheduler.get_job("strict").await.unwrap().unwrap();
    assert_eq!(next.next_run_time, Some(at("2026-03-02T10:06:00Z")));
}

#[tokio::test]
async fn no_more_of_a_job_runs_at_once_than_may() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let (go, highest) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let running = Arc::new(AtomicU32::new(0));
    let slow = {
        let (go, highest) = (go.clone(), highest.clone());
        move |_| {
            let (go, highest, running) = (go.clone(), highest.clone(), running.clone());
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                highest.fetch_max(now, Ordering::SeqCst);
                go.notified().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        }
    };
    let job = Job::native("slow", slow)
        .trigger("* * * * *")
        .max_instances(2)
        .timeout(seconds(3600));
    scheduler.add_job(job).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        clock.advance(seconds(60));
        loop {
            match events.recv().await.unwrap().event {
                Event::RunStarted { .. } => seen.push("started".to_owned()),
                Event::RunSkipped { reason, .. } => seen.push(reason.to_string()),
                _ => continue,
            }
            break;
        }
    }
    let skip = "previous run still going (max_instances 2)";
    assert_eq!(seen, ["started", "started", skip]);
    assert_eq!(scheduler.get_job("slow").await.unwrap().unwrap().running, 2);
    // A start is told before the function begins.
    while highest.load(Ordering::SeqCst) < 2 {
        settled(&scheduler).await;
    }
    for _ in 0..2 {
        // Kept for the next one that waits, if none does yet.
        go.notify_one();
        let run = events.next_end_of("slow").await.unwrap();
        assert_eq!(run.execution.outcome, Outcome::Succeeded);
    }
    assert_eq!(highest.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_group_has_its_own_limit() {
    let (scheduler, _) = start().await;
    let go = Arc::new(Notify::new());
    for id in ["a", "b"] {
        let go = go.clone();
        let job = Job::native(id, move |_| {
            let go = go.clone();
            async move {
                go.notified().await;
                Ok(())
            }
        });
        scheduler.add_job(job.group("db", 1)).await.unwrap();
    }
    let a = scheduler.trigger("a").await.unwrap();
    let b = scheduler.trigger("b").await.unwrap();
    let status = scheduler.status().await.unwrap();
    assert_eq!((status.in_flight, status.waiting), (1, 1));
    go.notify_one();
    assert!(a.outcome().await.unwrap().has_succeeded());
    go.notify_one();
    assert!(b.outcome().await.unwrap().has_succeeded());
    scheduler
        .set_paused(Scope::Group("db".into()), true)
        .await
        .unwrap();
    assert!(scheduler.get_job("b").await.unwrap().unwrap().is_paused());
}

#[tokio::test]
async fn whoever_listens_too_slowly_is_told_so() {
    let (scheduler, _) = start().await;
    let mut events = scheduler.subscribe();
    // More than wait for anybody.
    let many = (1 << 17) + 5;
    for _ in 0..many {
        let jump = crate::clock::Jump::Forward(seconds(1));
        let event = Event::ClockJumped { jump };
        scheduler.inner_events().emit(at(START), event);
    }
    assert_eq!(events.recv().await.unwrap_err(), RecvError::Lagged(5));
    assert!(events.recv().await.is_ok());
    scheduler.shutdown(true).await;
    let mut left = 0;
    while events.recv().await.is_ok() {
        left += 1;
    }
    assert_eq!(left, 1 << 17); // with the end of the host
}
