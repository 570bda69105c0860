//! Jobs that come from somewhere else and change while the program runs: one job looks at a list
//! every second and adds, changes and removes the others, and a second list is followed as a
//! source of definitions.
//!
//! `cargo run --example dynamic`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quarterjack::{Error, Event, Failure, Job, RunContext, Scheduler};

/// What a database would say: which shops there are, and how often each is asked.
fn shops(look: u32) -> BTreeMap<String, String> {
    let shop = |name: &str, when: &str| (name.to_owned(), when.to_owned());
    match look {
        0 => BTreeMap::from([shop("berlin", "@every 1s"), shop("tokyo", "@every 2s")]),
        _ => BTreeMap::from([shop("berlin", "@every 3s"), shop("lima", "@every 1s")]),
    }
}

/// Brings the jobs up to date with the list.
async fn reconcile(run: RunContext, look: u32) -> Result<String, Failure> {
    let scheduler = run
        .scheduler()
        .ok_or_else(|| Failure::new("the scheduler is gone"))?;
    let wanted = shops(look);
    for (shop, when) in &wanted {
        let job = Job::component("native:ask")
            .with_id(format!("shop-{shop}"))
            .trigger(when.as_str())
            .params(shop)
            .replace_existing();
        scheduler.add_job(job).await?;
    }
    for job in scheduler.get_jobs().await? {
        let shop = job.id.as_str().strip_prefix("shop-");
        if shop.is_some_and(|shop| !wanted.contains_key(shop)) {
            scheduler.remove_job(job.id.as_str()).await?;
        }
    }
    Ok(format!("{} shops", wanted.len()))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let looks = Arc::new(AtomicU32::new(0));
    let scheduler = Scheduler::builder()
        .register("ask", |run| async move {
            Ok(format!("{} has been asked", run.params::<String>()?))
        })
        .source_fn("fixed", Duration::from_secs(5), || {
            let text = r#"[{"id": "hq", "component": "native:ask", "trigger": "@every 2s", "params": "hq"}]"#;
            Ok(text.to_owned())
        })
        .start()
        .await?;
    let mut events = scheduler.subscribe();
    let job = Job::native("reconcile", move |run| {
        reconcile(run, looks.fetch_add(1, Ordering::Relaxed))
    });
    let job = job.trigger(Duration::from_secs(2)).run_on_start(true);
    scheduler.add_job(job).await?;

    let mut reconciled = 0;
    while reconciled < 3 {
        let Ok(stamped) = events.recv().await else {
            break;
        };
        match stamped.event {
            Event::JobAdded { job, .. } => println!("+ {}", job.id),
            Event::JobUpdated { job, fields, .. } => {
                println!("~ {} ({})", job.id, fields.join(", "))
            }
            Event::JobRemoved { job } => println!("- {}", job.id),
            Event::RunFinished { run } => {
                let job = &run.attempt.run.job.id;
                reconciled += u32::from(job.as_str() == "reconcile");
                match (&run.execution.output, &run.execution.error) {
                    (Some(output), _) => {
                        println!("{job}: {}", String::from_utf8_lossy(output.as_bytes()));
                    }
                    (None, error) => println!("{job}: {}", error.as_deref().unwrap_or("done")),
                }
            }
            _ => {}
        }
    }
    scheduler.shutdown(true).await;
    Ok(())
}
