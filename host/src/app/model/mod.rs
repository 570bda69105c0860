//! The host without its guests on a simulated clock, against a reference so plain that it can be
//! seen to be right.
//!
//! ```text
//! World ──edits, crashes, stalls, pauses──▶ Scheduler, Planner, Dispatcher ──▶ Disks (outlives them)
//!   └──▶ Expected: each instant once ◀────────compared──────── what became durable
//! ```
//!
//! Whatever happens:
//! - each instant of a job that is due is a run, a skip or part of one that counts several, once;
//! - nothing is said of an instant at which the job was not enabled;
//! - no attempt starts twice, nor one of a job that is gone;
//! - what was recorded gets one end, though hosts come and go;
//! - no more run at once than the job, its group and the host allow.
//!
//! [`on_disk`] is a smaller world on the store that a host really has, of jobs that keep a state
//! and come one after the other.
//!
//! A world follows from its seed, which a failure tells. `QUARTERJACK_MODEL_FIRINGS=1000000` has
//! the test go on until so many runs have started; `QUARTERJACK_MODEL_SEED` lives through one world.

mod fake;
mod on_disk;
mod reference;
mod store;
mod world;

use world::{Climate, World};

/// Lives through one world.
fn live(climate: Climate) -> Result<u64, String> {
    let mut world = World::new(climate);
    world.live(climate.steps)?;
    Ok(world.starts())
}

/// The smallest world like this one that goes wrong, as far as it is found soon.
fn shrink(mut climate: Climate, mut wrong: String) -> (Climate, String) {
    loop {
        let smaller = [
            Climate {
                steps: climate.steps / 2,
                ..climate
            },
            Climate {
                steps: climate.steps.saturating_sub(climate.steps.div_ceil(8)),
                ..climate
            },
            Climate {
                jobs: climate.jobs / 2,
                ..climate
            },
            Climate {
                jobs: climate.jobs - 1,
                ..climate
            },
        ];
        let found = smaller.into_iter().filter(|it| it.jobs > 0).find_map(|it| {
            let smaller = it.steps < climate.steps || it.jobs < climate.jobs;
            let wrong = live(it).err().filter(|_| smaller)?;
            Some((it, wrong))
        });
        match found {
            Some(found) => (climate, wrong) = found,
            None => return (climate, wrong),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.replace('_', "").parse().ok()
}

#[test]
fn nothing_is_forgotten_and_nothing_is_done_twice() {
    let wanted = number("QUARTERJACK_MODEL_FIRINGS").unwrap_or(20_000);
    let only = number("QUARTERJACK_MODEL_SEED");
    let mut starts = 0;
    let mut seed = only.unwrap_or(1);
    while starts < wanted {
        let climate = Climate {
            seed,
            jobs: 1 + usize::try_from(seed % 20).unwrap(),
            steps: 60,
        };
        match live(climate) {
            Ok(these) => starts += these,
            Err(wrong) => {
                let (climate, wrong) = shrink(climate, wrong);
                panic!("{climate:?}: {wrong}");
            }
        }
        if only.is_some() {
            return;
        }
        seed += 1;
    }
}
