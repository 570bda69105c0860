//! A program with the scheduler in it: two functions as jobs, one after the other, and what
//! happened in the end.
//!
//! `cargo run --example embedded`; give it a directory, and it remembers.

use std::time::Duration;

use quarterjack::{
    Error, Event, Failure, Job, RecvError, RetryPolicy, RunContext, RunQuery, Scheduler, Trigger,
};

/// How many runs it shows before it ends.
const SHOWN: usize = 6;

/// Fails now and then, as what goes over a network does.
async fn fetch(run: RunContext) -> Result<String, Failure> {
    if run.attempt() == 1 && run.scheduled_at().timestamp() % 2 == 0 {
        return Err(Failure::new("the server did not answer"));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(format!("as of {}", run.scheduled_at().format("%H:%M:%S")))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut builder = Scheduler::builder();
    if let Some(directory) = std::env::args_os().nth(1) {
        builder = builder.data(directory);
    }
    let retry = RetryPolicy {
        attempts: 3,
        backoff: Duration::from_millis(200),
        ..RetryPolicy::default()
    };
    let scheduler = builder
        .job(
            Job::native("fetch", fetch)
                .trigger(Trigger::interval(Duration::from_secs(1)))
                .timeout(Duration::from_secs(5))
                .retry(retry),
        )
        .job(
            Job::native("report", |run| async move {
                run.info("fetch has done its work");
                Ok(serde_json::json!({"attempt": run.attempt()}))
            })
            .trigger(Trigger::after("fetch")),
        )
        .start()
        .await?;

    for job in scheduler.get_jobs().await? {
        match job.next_run_time {
            Some(next) => println!("{} runs next at {next}", job.id),
            None => println!("{} runs when it is asked to, or after another one", job.id),
        }
    }

    let mut events = scheduler.subscribe();
    let mut shown = 0;
    while shown < SHOWN {
        let event = match events.recv().await {
            Ok(stamped) => stamped.event,
            Err(RecvError::Lagged(lost)) => {
                eprintln!("{lost} events were lost");
                continue;
            }
            Err(RecvError::Closed) => break,
        };
        match event {
            Event::RunFinished { run } => {
                shown += 1;
                let said = match (&run.execution.output, &run.execution.error) {
                    (Some(output), _) => String::from_utf8_lossy(output.as_bytes()).into_owned(),
                    (None, error) => error.clone().unwrap_or_default(),
                };
                let outcome = run.execution.outcome.as_str();
                println!("{} {outcome}: {said}", run.attempt.run.job.id);
            }
            Event::RunRetrying { run, .. } => {
                let error = run.execution.error.as_deref().unwrap_or_default();
                println!("{} is tried again: {error}", run.attempt.run.job.id);
            }
            _ => {}
        }
    }

    let runs = scheduler.runs(RunQuery::newest(100)).await?;
    println!("{} runs are on record", runs.len());
    scheduler.shutdown(true).await;
    Ok(())
}
