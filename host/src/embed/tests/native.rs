//! Functions as jobs: their time, their ends, what they tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde::Deserialize;
use tokio::sync::oneshot;

use super::*;
use crate::control::Was;
use crate::event::Event;
use crate::job::RetryPolicy;
use crate::run::{Level, Outcome, Output};

/// Says so when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _ = tell.send(());
        }
    }
}

/// A job that never ends, what tells that its future has begun, and what tells that it is dropped.
fn endless(id: &str) -> (Job, oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let (begin, begun) = oneshot::channel();
    let (drop, dropped) = oneshot::channel();
    let tell = Arc::new(parking_lot::Mutex::new(Some((begin, drop))));
    let job = Job::native(id, move |_| {
        let (begin, drop) = tell.lock().take().unzip();
        let guard = Dropped(drop);
        async move {
            let _guard = guard;
            begin.unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    (job, begun, dropped)
}

#[tokio::test]
async fn a_function_is_told_what_it_runs_for_and_its_word_is_kept() {
    #[derive(Deserialize)]
    struct Params {
        name: String,
    }
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let job = Job::native("greet", |run| async move {
        let Params { name } = run.params()?;
        run.progress(1, 2, "half");
        run.info("it begins");
        run.log(Level::Warn, "two\nlines", &[("name", &name)]);
        assert_eq!((run.attempt(), run.max_attempts()), (1, 1));
        assert_eq!(run.deadline(), run.started_at() + seconds(60));
        Ok(serde_json::json!({"hello": name, "for": run.scheduled_at().to_rfc3339()}))
    });
    let params = serde_json::json!({"name": "Ada"});
    scheduler
        .add_job(job.params(params).trigger("0 11 * * *"))
        .await
        .unwrap();
    clock.set(at("2026-03-02T11:00:02Z"));
    let run = events.next_end_of("greet").await.unwrap();
    let execution = &run.execution;
    assert_eq!(
        execution.outcome,
        Outcome::Succeeded,
        "{:?}",
        execution.error
    );
    let Some(Output::Json(json)) = &execution.output else {
        panic!("{execution:?}")
    };
    assert_eq!(
        json.get(),
        r#"{"hello":"Ada","for":"2026-03-02T11:00:00+00:00"}"#
    );
    let log = String::from_utf8_lossy(&execution.log);
    assert_eq!(log, "info: it begins\nwarn: two lines name=Ada\n");
    assert_eq!(execution.entries.len(), 2);
    assert_eq!(execution.progress.as_ref().unwrap().percent(), Some(50));
    // Its place is free a moment after its end is told.
    while scheduler.get_job("greet").await.unwrap().unwrap().running > 0 {}
    // Other parameters for one run, and some that are of no use.
    let other = scheduler
        .trigger_with("greet", serde_json::json!({"name": "Grace"}))
        .await
        .unwrap();
    let record = other.outcome().await.unwrap();
    let text = String::from_utf8_lossy(record.output().unwrap().as_bytes()).into_owned();
    assert!(text.starts_with(r#"{"hello":"Grace""#), "{text}");
    let wrong = scheduler.trigger_with("greet", 3).await.unwrap();
    let record = wrong.outcome().await.unwrap();
    insta::assert_snapshot!(record.error().unwrap(), @"the parameters cannot be used: invalid type: integer `3`, expected struct Params at line 1 column 1");
}

#[tokio::test]
async fn a_panic_fails_its_run_and_nothing_else() {
    let (scheduler, _) = start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let job = Job::native("shaky", move |_| {
        // The first panic is not even in a future.
        assert!(count.fetch_add(1, Ordering::SeqCst) != 0, "number zero");
        let number = count.load(Ordering::SeqCst);
        async move {
            assert!(number != 2, "number {number}");
            Ok(())
        }
    });
    scheduler.add_job(job).await.unwrap();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let run = scheduler.trigger("shaky").await.unwrap();
        let record = run.outcome().await.unwrap();
        ends.push(record.error().map(str::to_owned));
    }
    let panicked = |text: &str| Some(format!("panicked: {text}"));
    assert_eq!(ends, [panicked("number zero"), panicked("number 2"), None]);
}

#[tokio::test]
async fn a_function_is_dropped_when_its_time_is_up() {
    let (scheduler, clock) = start().await;
    let (job, begun, dropped) = endless("endless");
    scheduler.add_job(job.timeout(seconds(90))).await.unwrap();
    let run = scheduler.trigger("endless").await.unwrap();
    begun.await.unwrap();
    let mut outcome = std::pin::pin!(run.outcome());
    let record = loop {
        tokio::select! {
            biased;
            record = &mut outcome => break record.unwrap(),
            () = settled(&scheduler) => clock.advance(seconds(1)),
        }
    };
    let took = record.finished_at().unwrap() - record.started_at().unwrap();
    assert!(took.num_seconds() >= 90, "{took}");
    assert_eq!(record.error(), Some("limit: timeout 1 min 30 s"));
    dropped.await.unwrap();
}

#[tokio::test]
async fn a_run_is_cancelled_and_may_end_by_itself() {
    let (scheduler, _) = start().await;
    let mut events = scheduler.subscribe();
    let (job, begun, dropped) = endless("deaf");
    scheduler.add_job(job).await.unwrap();
    let run = scheduler.trigger("deaf").await.unwrap();
    // A function that is not called yet is not dropped either.
    begun.await.unwrap();
    assert_eq!(run.cancel().await.unwrap().was, Was::Running);
    let record = run.outcome().await.unwrap();
    assert_eq!(record.error(), Some("cancelled on request"));
    dropped.await.unwrap();

    let tidied = Arc::new(AtomicBool::new(false));
    let tidy = tidied.clone();
    let polite = Job::native("polite", move |run| {
        let tidy = tidy.clone();
        async move {
            // From here on it has a moment to end by itself.
            assert!(!run.is_cancelled());
            run.progress(1, None, "");
            run.cancelled().await;
            tidy.store(true, Ordering::SeqCst);
            Err::<(), _>(Failure::new("half of it is done"))
        }
    });
    scheduler.add_job(polite).await.unwrap();
    let run = scheduler.trigger("polite").await.unwrap();
    while !matches!(
        events.recv().await.unwrap().event,
        Event::RunProgress { .. }
    ) {}
    run.cancel().await.unwrap();
    let record = run.outcome().await.unwrap();
    let said = "cancelled on request: half of it is done";
    assert_eq!(record.error(), Some(said));
    assert!(tidied.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_fails_is_tried_again_as_its_job_says() {
    let (scheduler, clock) = start().await;
    let mut events = scheduler.subscribe();
    let job = Job::native("flaky", |run| async move {
        match run.attempt() {
            3 => Ok("at last"),
            number => Err(Failure::new(format_args!("no {number}"))),
        }
    });
    let retry = RetryPolicy {
        attempts: 3,
        backoff: seconds(10),
        ..RetryPolicy::default()
    };
    scheduler.add_job(job.retry(retry.clone())).await.unwrap();
    let run = scheduler.trigger("flaky").await.unwrap();
    let mut errors = Vec::new();
    while errors.len() < 2 {
        if let Event::RunRetrying { run, next_at } = events.recv().await.unwrap().event {
            errors.push(run.execution.error.clone().unwrap());
            clock.set(next_at);
        }
    }
    let record = run.outcome().await.unwrap();
    assert!(record.has_succeeded());
    assert_eq!(errors, ["no 1", "no 2"]);
    assert_eq!(record.attempts.len(), 3);

    let hopeless = Job::native("hopeless", |_| async {
        Err::<(), _>(Failure::new("never").permanent())
    });
    scheduler.add_job(hopeless.retry(retry)).await.unwrap();
    let run = scheduler.trigger("hopeless").await.unwrap();
    let record = run.outcome().await.unwrap();
    assert_eq!((record.attempts.len(), record.error()), (1, Some("never")));
}

#[tokio::test]
async fn a_job_adds_starts_and_removes_others() {
    let (scheduler, _) = start().await;
    let parent = Job::native("parent", |run| async move {
        let scheduler = run.scheduler().ok_or_else(|| Failure::new("it is gone"))?;
        for number in 0..3 {
            let id = format!("child-{number}");
            let child = Job::native(&*id, move |_| async move { Ok(number.to_string()) });
            scheduler.add_job(child.replace_existing()).await?;
        }
        let record = scheduler.trigger("child-2").await?.outcome().await?;
        scheduler.remove_job("child-0").await?;
        Ok(record.output().cloned())
    });
    scheduler.add_job(parent).await.unwrap();
    let record = scheduler.trigger("parent").await.unwrap();
    let record = record.outcome().await.unwrap();
    assert_eq!(record.output().unwrap().as_bytes(), b"2");
    let jobs = scheduler.get_jobs().await.unwrap();
    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["child-1", "child-2", "parent"]);
}

#[tokio::test]
async fn what_is_left_behind_is_bounded() {
    let (scheduler, _) = start().await;
    let job = Job::native("loud", |run| async move {
        for _ in 0..10 {
            run.info("0123456789");
        }
        Ok("é".repeat(20))
    });
    scheduler.add_job(job.output_limit(33)).await.unwrap();
    let run = scheduler.trigger("loud").await.unwrap();
    let record = run.outcome().await.unwrap();
    let execution = record.execution().unwrap();
    assert_eq!(execution.output.as_ref().unwrap().as_bytes().len(), 32);
    assert_eq!((execution.output_dropped, execution.log.len()), (8, 17));
    assert_eq!(execution.log_dropped, 9 * 17);
}

#[test]
fn a_program_without_a_runtime_can_have_one() {
    // The functions run on threads of the scheduler then.
    let (tell, told) = std::sync::mpsc::channel();
    block_on(async {
        let scheduler = Scheduler::builder().start().await.unwrap();
        let job = Job::native("here", move |_| {
            let tell = tell.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = tell.send(());
                Ok(())
            }
        });
        scheduler.add_job(job).await.unwrap();
        let run = scheduler.trigger("here").await.unwrap();
        assert!(run.outcome().await.unwrap().has_succeeded());
        scheduler.shutdown(true).await;
    });
    told.recv().unwrap();
}

/// Awaits a future on a thread that knows nothing of tokio.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
