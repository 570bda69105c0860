//! Jobs that come after other jobs, and circles of them, in which none would ever begin by
//! itself and all would run for ever once one does.

use std::collections::HashMap;

use super::Job;

/// The circles among some jobs.
#[derive(Debug, Default)]
pub struct Circles<'j> {
    /// Each job of a circle, and the circle from it on: who waits for whom.
    members: HashMap<&'j str, String>,
}

/// How far the search has come with a job.
enum Mark {
    /// The job is on the way that is being followed.
    OnTheWay,
    /// All that it waits for is known.
    Done,
}

impl<'j> Circles<'j> {
    /// Finds the circles among jobs. Takes as long as there are jobs and links between them.
    pub fn among(jobs: impl IntoIterator<Item = &'j Job>) -> Circles<'j> {
        let mut upstreams: HashMap<&str, Vec<&str>> = HashMap::new();
        for job in jobs {
            let of_job: Vec<&str> = job
                .trigger
                .upstreams()
                .into_iter()
                .map(|after| &*after.job)
                .collect();
            if !of_job.is_empty() {
                upstreams.insert(job.id.as_str(), of_job);
            }
        }
        let mut circles = Circles::default();
        let mut marks: HashMap<&str, Mark> = HashMap::new();
        for start in upstreams.keys() {
            if marks.contains_key(start) {
                continue;
            }
            marks.insert(start, Mark::OnTheWay);
            // The jobs on the way, each with how many of its upstreams have been followed.
            let mut way: Vec<(&str, usize)> = vec![(start, 0)];
            while let Some((job, followed)) = way.last_mut() {
                let next = upstreams.get(job).and_then(|all| all.get(*followed));
                *followed += 1;
                let Some(next) = next.copied() else {
                    marks.insert(job, Mark::Done);
                    way.pop();
                    continue;
                };
                match marks.get(next) {
                    Some(Mark::Done) => {}
                    Some(Mark::OnTheWay) => {
                        let circle: Vec<&str> = way
                            .iter()
                            .map(|(job, _)| *job)
                            .skip_while(|job| *job != next)
                            .collect();
                        circles.add(&circle);
                    }
                    None => {
                        marks.insert(next, Mark::OnTheWay);
                        way.push((next, 0));
                    }
                }
            }
        }
        circles
    }

    fn add(&mut self, circle: &[&'j str]) {
        /// Of a longer circle the beginning is told.
        const SHOWN: usize = 5;
        for (place, job) in circle.iter().enumerate() {
            let from_here = circle.iter().cycle().skip(place + 1);
            let mut told = format!("`{job}`");
            for next in from_here.take(circle.len().min(SHOWN)) {
                told.push_str(&format!(" after `{next}`"));
            }
            if circle.len() > SHOWN {
                told.push_str(" …");
            }
            self.members.entry(job).or_insert(told);
        }
    }

    /// The circle that a job is in, such as "`a` after `b` after `a`".
    pub fn of(&self, job: &str) -> Option<&str> {
        self.members.get(job).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::{After, Ending, Trigger};

    fn after(id: &str, upstreams: &[&str]) -> Job {
        let parts = upstreams.iter().map(|job| {
            Trigger::After(After {
                job: (*job).into(),
                on: Ending::Success,
            })
        });
        Job {
            trigger: Trigger::any(parts.collect()).unwrap(),
            ..Job::by_hand(id.into(), "a.wasm")
        }
    }

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let jobs = [
            after("a", &["root"]),
            after("b", &["a", "root"]),
            after("c", &["a", "b"]),
            after("x", &["y"]),
            after("y", &["a", "z"]),
            after("z", &["x"]),
            after("behind", &["x"]),
            after("self", &["self"]),
        ];
        let circles = Circles::among(&jobs);
        for fine in ["root", "a", "b", "c", "behind"] {
            assert_eq!(circles.of(fine), None, "{fine}");
        }
        assert_eq!(circles.of("x"), Some("`x` after `y` after `z` after `x`"));
        assert_eq!(circles.of("z"), Some("`z` after `x` after `y` after `z`"));
        assert_eq!(circles.of("self"), Some("`self` after `self`"));
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion() {
        let jobs: Vec<Job> = (0..100_000)
            .map(|n: u32| after(&n.to_string(), &[&(n + 1).to_string()]))
            .chain([after("100000", &["99995"])])
            .collect();
        let circles = Circles::among(&jobs);
        assert_eq!(circles.of("99994"), None);
        assert!(circles.of("99995").unwrap().ends_with("after `100000` …"));
    }
}
