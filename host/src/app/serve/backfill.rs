//! A job run for the instants of its trigger that have no run.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use chrono::TimeDelta;

use super::host::Host;
use crate::app::components::Runner;
use crate::clock::{Clock, Timestamp, format_instant};
use crate::control::{Backfill, Backfilled, ControlError};
use crate::dispatcher::Dispatcher;
use crate::firing::fire;
use crate::job::{Job, Overlap, Policies};
use crate::run::{Cause, Firing};
use crate::scheduler::Due;
use crate::trigger;

/// How many instants of a job one backfill looks at.
const LOOKED_AT: usize = 200_000;

impl Host {
    /// Checks what is asked for, and hands out what it takes to carry it out.
    pub(super) fn backfill(
        &self,
        request: Backfill,
    ) -> Result<impl Future<Output = Result<Backfilled, ControlError>> + Send + use<>, ControlError>
    {
        let job = self.in_service(&request.job)?;
        let trigger = self.scheduler.trigger_of(&job.id).unwrap_or(&job.trigger);
        if !trigger.has_instants() {
            return Err(ControlError::Invalid(format!(
                "job `{}` has no instants of its own that could be made up for: see its trigger",
                job.id
            )));
        }
        if let Some(by) = self.dispatcher.pauses().is_paused(&job)
            && !request.dry_run
        {
            let job = job.id.clone();
            return Err(ControlError::Paused { job, by });
        }
        let now = self.clock.now();
        if request.until > now {
            return Err(ControlError::Invalid(format!(
                "to: {} is still to come: what will be due then, will run then",
                format_instant(request.until)
            )));
        }
        if request.from >= request.until {
            return Err(ControlError::Invalid(format!(
                "from: {} is not before {}, where the range ends",
                format_instant(request.from),
                format_instant(request.until)
            )));
        }
        let task = MakeUp {
            trigger: trigger.clone(),
            job,
            request,
            dispatcher: self.dispatcher.clone(),
            clock: self.clock.clone(),
        };
        Ok(task.carry_out())
    }
}

/// A job whose instants are to be made up for.
struct MakeUp {
    job: Arc<Job>,
    trigger: trigger::Trigger,
    request: Backfill,
    dispatcher: Dispatcher<Runner>,
    clock: Arc<dyn Clock>,
}

impl MakeUp {
    async fn carry_out(self) -> Result<Backfilled, ControlError> {
        let Backfill {
            from,
            until,
            limit,
            dry_run,
            ..
        } = self.request;
        let store = self.dispatcher.store().clone();
        let known = store.instants(&self.job.id, from, until).await?;
        let trigger = self.trigger;
        // Years of a trigger take their time.
        let look = tokio::task::spawn_blocking(move || {
            let known: HashSet<Timestamp> = known.into_iter().collect();
            Gaps::of(&trigger, &known, from, until, limit)
        });
        let gaps = look.await.map_err(|error| {
            ControlError::Store(format!("the instants cannot be told: {error}"))
        })?;
        let Some(gaps) = gaps else {
            return Err(ControlError::Invalid(format!(
                "job `{}` has more than {LOOKED_AT} instants in that time: take a shorter one",
                self.job.id
            )));
        };
        let mut told = Backfilled {
            job: self.job.id.clone(),
            dry_run,
            instants: gaps.instants.iter().map(|it| format_instant(*it)).collect(),
            more: gaps.more,
            had_runs: gaps.had_runs,
            fired: 0,
            skipped: 0,
            enabled: self.job.enabled,
        };
        if dry_run || gaps.instants.is_empty() {
            return Ok(told);
        }
        // Those that were skipped have given their instants away, but not to another run.
        store.reopen(&self.job.id, gaps.instants.clone()).await?;
        // They are many: all of them wait for their turn, whatever becomes of one more otherwise.
        let policies = Policies {
            overlap: Overlap::Queue(u32::MAX),
            ..Policies::clone(&self.job.policies)
        };
        let job = Arc::new(Job {
            policies: Arc::new(policies),
            ..Job::clone(&self.job)
        });
        let due = gaps.instants.into_iter().map(|scheduled_at| {
            Due::Fire(Firing {
                job: job.clone(),
                cause: Cause::CatchUp,
                scheduled_at,
            })
        });
        let fired = fire(due.collect(), &self.dispatcher, self.clock.now()).await;
        (told.fired, told.skipped) = (fired.dispatched, fired.skipped);
        Ok(told)
    }
}

/// The instants of a trigger that have no run.
#[derive(Debug, PartialEq, Eq)]
struct Gaps {
    /// The earliest of them.
    instants: Vec<Timestamp>,
    /// Whether there are more.
    more: bool,
    /// How many of those looked at have a run.
    had_runs: usize,
}

impl Gaps {
    /// Looks for at most `limit`; gives nothing if that takes too long.
    fn of(
        trigger: &trigger::Trigger,
        known: &HashSet<Timestamp>,
        from: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Option<Gaps> {
        let mut gaps = Gaps {
            instants: Vec::new(),
            more: false,
            had_runs: 0,
        };
        let mut last = from
            .checked_sub_signed(TimeDelta::nanoseconds(1))
            .unwrap_or(from);
        for _ in 0..LOOKED_AT {
            let next = trigger.next_after(last).filter(|next| *next > last);
            let Some(next) = next.filter(|next| *next < until) else {
                return Some(gaps);
            };
            last = next;
            if known.contains(&next) {
                gaps.had_runs += 1;
            } else if gaps.instants.len() == limit {
                gaps.more = true;
                return Some(gaps);
            } else {
                gaps.instants.push(next);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::parse_instant;

    fn at(text: &str) -> Timestamp {
        parse_instant(&format!("2026-01-01T{text}Z")).unwrap()
    }

    #[test]
    fn gaps_are_the_instants_without_a_run_in_order_and_no_more_than_asked_for() {
        let hourly = trigger::Trigger::every(Duration::from_secs(3600)).unwrap();
        let known = HashSet::from([at("02:00:00"), at("09:00:00")]);
        let gaps =
            |limit| Gaps::of(&hourly, &known, at("01:00:00"), at("05:00:00"), limit).unwrap();
        let instants = [at("01:00:00"), at("03:00:00"), at("04:00:00")];
        let all = Gaps {
            instants: instants.to_vec(),
            more: false,
            had_runs: 1,
        };
        assert_eq!(gaps(9), all);
        assert_eq!(gaps(3), all);
        let two = Gaps {
            instants: instants[..2].to_vec(),
            more: true,
            had_runs: 1,
        };
        assert_eq!(gaps(2), two);
        let empty = Gaps::of(&hourly, &known, at("01:00:00"), at("01:00:00"), 9).unwrap();
        assert_eq!((empty.instants.len(), empty.had_runs), (0, 0));
    }

    #[test]
    fn too_many_instants_are_not_looked_at() {
        let often = trigger::Trigger::every(Duration::from_secs(1)).unwrap();
        let from = at("00:00:00");
        let until = from + TimeDelta::days(30);
        let known = (0..)
            .map(|second| from + TimeDelta::seconds(second))
            .take_while(|instant| *instant < until)
            .collect();
        assert_eq!(Gaps::of(&often, &known, from, until, 1), None);
    }
}
