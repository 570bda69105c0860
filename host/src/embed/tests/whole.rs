//! The scheduler as a whole: restarts, several in one process, components beside functions, other
//! places of definitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::event::Event;
use crate::record::Status;
use crate::run::{Cause, Outcome};

/// A scheduler on a directory.
async fn on(data: &std::path::Path, now: &str) -> (Scheduler, ManualClock) {
    let clock = ManualClock::at(now);
    let builder = Scheduler::builder().data(data).clock(clock.clone());
    (builder.start().await.unwrap(), clock)
}

#[tokio::test]
async fn a_native_job_outlives_a_restart_and_waits_for_its_function() {
    let dir = tempfile::tempdir().unwrap();
    let (scheduler, clock) = on(dir.path(), START).await;
    let mut events = scheduler.subscribe();
    for id in ["a", "b"] {
        let job = idle(id).trigger("0 * * * *");
        scheduler.add_job(job).await.unwrap();
    }
    clock.set(at("2026-03-02T11:00:00Z"));
    events.next_end_of("a").await.unwrap();
    scheduler.pause_job("b").await.unwrap();
    scheduler.shutdown(true).await;
    assert!(matches!(scheduler.status().await, Err(Error::Stopped)));

    // Half an hour after one that it has missed.
    let (scheduler, _clock) = on(dir.path(), "2026-03-02T12:30:00Z").await;
    assert_eq!(scheduler.get_jobs().await.unwrap(), []);
    let waiting = scheduler.get_job("a").await.unwrap().unwrap();
    assert!(!waiting.in_service);
    insta::assert_snapshot!(scheduler.trigger("a").await.unwrap_err(), @"no job `a`: it is defined, but its plugin, its function or a directory that it needs is not there, as the host's log says");
    let mut events = scheduler.subscribe();
    let back = scheduler
        .add_job(idle("a").trigger("0 * * * *"))
        .await
        .unwrap();
    assert_eq!(back.next_run_time, Some(at("2026-03-02T13:00:00Z")));
    let missed = events.next_end_of("a").await.unwrap();
    let run = &missed.attempt.run;
    assert_eq!(run.scheduled_at, at("2026-03-02T12:00:00Z"));
    assert_eq!(run.cause, Cause::CatchUp);
    assert_eq!(runs(&scheduler, "a").await.len(), 2);
    // The other one, with another trigger now, still is paused.
    let other = scheduler
        .add_job(idle("b").trigger("30 * * * *"))
        .await
        .unwrap();
    assert!(other.is_paused());
    // Once its function is there, adding it again is what it always was.
    let twice = scheduler.add_job(idle("b")).await.unwrap_err();
    assert!(matches!(twice, Error::AlreadyExists(_)));
}

#[tokio::test]
async fn jobs_of_the_builder_are_there_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let build = |now: &str, trigger: &'static str| {
        Scheduler::builder()
            .data(dir.path())
            .clock(ManualClock::at(now))
            .job(idle("a").trigger(trigger))
    };
    let first = build(START, "0 * * * *").start().await.unwrap();
    first.shutdown(true).await;
    let second = build("2026-03-02T12:30:00Z", "0 * * * *");
    let second = second.start().await.unwrap();
    let run = until_a_run(&second, "a").await;
    assert_eq!(run.scheduled_at, at("2026-03-02T12:00:00Z"));
    second.shutdown(true).await;
    // Another trigger: nothing of the old one is made up for.
    let third = build("2026-03-02T15:30:00Z", "45 * * * *");
    let third = third.start().await.unwrap();
    let job = third.get_job("a").await.unwrap().unwrap();
    assert_eq!(job.next_run_time, Some(at("2026-03-02T15:45:00Z")));
    settled(&third).await;
    // The run, and that another one was missed.
    assert_eq!(runs(&third, "a").await.len(), 2);
    third.shutdown(true).await;

    let wrong = build(START, "0 * * *").start().await.unwrap_err();
    insta::assert_snapshot!(wrong, @"host:a:1:36: a cron expression has 5 fields, this has 4: minute, hour, day of the month, month, day of the week; six fields begin with the second, seven end with the year; or write @daily, @every 90s, …");
}

/// Waits until a job has a record of a run that has ended.
async fn until_a_run(scheduler: &Scheduler, job: &str) -> RunRecord {
    let mut events = scheduler.subscribe();
    loop {
        let record = runs(scheduler, job).await.into_iter().next();
        if let Some(record) = record.filter(|it| it.status.is_final()) {
            return record;
        }
        events.recv().await.unwrap();
    }
}

#[tokio::test]
async fn two_of_them_know_nothing_of_each_other() {
    let ((one, clock), (two, _)) = (start().await, start().await);
    let mut events = one.subscribe();
    let say = |word: &'static str| Job::native("say", move |_| async move { Ok(word) });
    one.add_job(say("one").trigger(seconds(60))).await.unwrap();
    two.add_job(say("two").trigger(seconds(60))).await.unwrap();
    clock.advance(seconds(60));
    let run = events.next_end_of("say").await.unwrap();
    assert_eq!(run.execution.output.as_ref().unwrap().as_bytes(), b"one");
    settled(&two).await;
    assert_eq!(runs(&two, "say").await.len(), 0);
    one.shutdown(true).await;
    let run = two.trigger("say").await.unwrap().outcome().await.unwrap();
    assert_eq!(run.output().unwrap().as_bytes(), b"two");
    assert!(matches!(one.trigger("say").await, Err(Error::Stopped)));
}

#[tokio::test]
async fn a_second_one_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = on(dir.path(), START).await;
    let second = Scheduler::builder().data(dir.path()).start().await;
    assert!(matches!(second, Err(Error::Start(_))), "{second:?}");
    drop(first);
    on(dir.path(), START).await;
}

#[tokio::test]
async fn who_lets_go_of_it_loses_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (scheduler, _) = on(dir.path(), START).await;
    let mut events = scheduler.subscribe();
    let job = Job::native("long", |_| async {
        std::future::pending::<()>().await;
        Ok(())
    });
    scheduler.add_job(job).await.unwrap();
    let run = scheduler.trigger("long").await.unwrap().id;
    while !matches!(events.recv().await.unwrap().event, Event::RunStarted { .. }) {}
    drop(scheduler);
    let (scheduler, _) = on(dir.path(), START).await;
    let record = scheduler.run(run).await.unwrap().unwrap();
    assert_eq!(record.status, Status::Finished(Outcome::Cancelled));
    assert_eq!(record.error(), Some("cancelled: the host is stopping"));
}

#[tokio::test]
async fn a_shutdown_waits_for_what_runs() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let go = Arc::new(tokio::sync::Notify::new());
    let gone = go.clone();
    let job = Job::native("slow", move |_| {
        let go = gone.clone();
        async move {
            go.notified().await;
            Ok(())
        }
    });
    scheduler.add_job(job.trigger(seconds(60))).await.unwrap();
    clock.advance(seconds(60));
    while !matches!(events.recv().await.unwrap().event, Event::RunStarted { .. }) {}
    let down = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.shutdown(true).await }
    });
    while !matches!(
        events.recv().await.unwrap().event,
        Event::HostStopping { .. }
    ) {}
    go.notify_one();
    let run = events.next_end_of("slow").await.unwrap();
    assert_eq!(run.execution.outcome, Outcome::Succeeded);
    down.await.unwrap();
    assert_eq!(events.next_end_of("slow").await.map(drop), None);
}

#[tokio::test]
async fn a_component_runs_beside_a_function_and_before_one() {
    let dir = tempfile::tempdir().unwrap();
    let module = r#"(module
        (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 8) "hello")
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 8))
            (i32.store (i32.const 4) (i32.const 5))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;
    std::fs::write(
        dir.path().join("hello.wasm"),
        wat::parse_str(module).unwrap(),
    )
    .unwrap();
    let clock = ManualClock::at(START);
    let heard = Arc::new(AtomicU32::new(0));
    let hear = heard.clone();
    let scheduler = Scheduler::builder()
        .plugins(dir.path())
        .no_cache()
        .clock(clock.clone())
        .job(Job::component("hello.wasm").trigger(seconds(60)))
        .job(
            Job::native("next", move |_| {
                hear.fetch_add(1, Ordering::SeqCst);
                async { Ok(()) }
            })
            .trigger(Trigger::after("hello")),
        )
        .start()
        .await
        .unwrap();
    let mut events = scheduler.subscribe();
    clock.advance(seconds(60));
    let run = events.next_end_of("hello").await.unwrap();
    let execution = &run.execution;
    assert_eq!(
        execution.outcome,
        Outcome::Succeeded,
        "{:?}",
        execution.error
    );
    assert_eq!(execution.output.as_ref().unwrap().as_bytes(), b"hello");
    let next = events.next_end_of("next").await.unwrap();
    assert_eq!(next.attempt.run.cause, Cause::Upstream);
    assert_eq!(heard.load(Ordering::SeqCst), 1);
    let missing = scheduler
        .add_job(Job::component("gone.wasm"))
        .await
        .unwrap();
    assert!(!missing.in_service);
    let waits_for = missing.waits_for.unwrap();
    let here = dir.path().display().to_string();
    insta::assert_snapshot!(waits_for.replace(&here, "DIR"), @"host:gone:1:14: no such plugin: gone.wasm: there is no such file in DIR; put the file there, and the job starts to run");
}

#[tokio::test]
async fn definitions_from_elsewhere_name_functions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jobs.json");
    let text = r#"[{"id": "filed", "component": "native:greet", "trigger": "@manually", "params": "file"}]"#;
    std::fs::write(&file, text).unwrap();
    let list = Arc::new(Mutex::new(
        r#"[{"id": "listed", "component": "native:greet", "trigger": "@manually", "params": "list"}]"#
            .to_owned(),
    ));
    let told = list.clone();
    let scheduler = Scheduler::builder()
        .jobs(&file)
        .source_fn("list", Duration::from_millis(20), move || {
            Ok(told.lock().clone())
        })
        .start()
        .await
        .unwrap();
    // There is no such function yet.
    assert_eq!(scheduler.get_job("filed").await.unwrap(), None);
    scheduler.register("greet", |run| async move { run.params::<String>() });
    let mut events = scheduler.subscribe();
    for id in ["filed", "listed"] {
        while scheduler.get_job(id).await.unwrap().is_none() {
            events.recv().await.unwrap();
        }
    }
    for (id, said) in [("filed", "file"), ("listed", "list")] {
        let record = scheduler
            .trigger(id)
            .await
            .unwrap()
            .outcome()
            .await
            .unwrap();
        assert_eq!(record.output().unwrap().as_bytes(), said.as_bytes());
    }
    // What a file defines is changed there.
    let error = scheduler.modify_job("filed", |job| job).await;
    let error = error.unwrap_err().to_string();
    let here = dir.path().display().to_string();
    insta::assert_snapshot!(error.replace(&here, "DIR"), @"`filed` is defined in DIR/jobs.json: change it there");
    let error = scheduler.add_job(idle("listed")).await.unwrap_err();
    insta::assert_snapshot!(error, @"`listed` is defined in list: change it there");
    *list.lock() = "[".to_owned();
    while !matches!(
        events.recv().await.unwrap().event,
        Event::JobRejected { .. }
    ) {}
    assert!(scheduler.get_job("listed").await.unwrap().is_some());
}

#[tokio::test]
async fn what_cannot_be_is_said_at_the_start() {
    let said = |builder: SchedulerBuilder| async { builder.start().await.unwrap_err().to_string() };
    let builder = Scheduler::builder;
    insta::assert_snapshot!(said(builder().plugins("/nowhere/plugins")).await, @"cannot open the plugins directory /nowhere/plugins: No such file or directory (os error 2); make it with `mkdir`, or name another with --plugins");
    insta::assert_snapshot!(said(builder().jobs("/nowhere/jobs.json")).await, @"/nowhere/jobs.json: no such file: there is no directory /nowhere");
    insta::assert_snapshot!(said(builder().config("/nowhere/quarterjack.toml")).await, @"/nowhere/quarterjack.toml: no such file: no configuration file is there");
}
