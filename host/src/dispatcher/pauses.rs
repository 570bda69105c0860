//! What is paused: all jobs, groups of them, single ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::job::{Job, Scope};
use crate::run::{Cause, Firing, SkipReason};

/// What is paused now. In memory: whoever wants pauses to outlive the host keeps them
/// in a store, and puts them in again.
/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Pauses(Arc<RwLock<BTreeSet<Scope>>>);

impl Pauses {
    /// Nothing is paused.
    pub fn new() -> Pauses {
        Pauses::default()
    }

    /// Pauses something; false if it was paused already. What it names need not be there (yet).
    pub fn pause(&self, scope: Scope) -> bool {
        self.0.write().insert(scope)
    }

    /// Lets something go on; false if it was not paused itself. A job goes on only when its
    /// group and the host do, too.
    pub fn resume(&self, scope: &Scope) -> bool {
        self.0.write().remove(scope)
    }

    /// What holds a job, the widest first; nothing if it is not paused.
    pub fn is_paused(&self, job: &Job) -> Option<Scope> {
        let paused = self.0.read();
        if paused.is_empty() {
            return None;
        }
        let group = job.policies.group.as_ref();
        [
            Some(Scope::All),
            group.map(|group| Scope::Group(group.name.clone())),
            Some(Scope::Job(job.id.clone())),
        ]
        .into_iter()
        .flatten()
        .find(|scope| paused.contains(scope))
    }

    /// Everything that is paused, the widest first.
    pub fn list(&self) -> Vec<Scope> {
        self.0.read().iter().cloned().collect()
    }

    /// Why a firing is not to run, if its job is paused. What a person or a program asks for
    /// runs all the same.
    pub fn refuses(&self, firing: &Firing) -> Option<SkipReason> {
        match firing.cause {
            Cause::Manual | Cause::Api => None,
            Cause::Schedule | Cause::CatchUp | Cause::Upstream => {
                let scope = self.is_paused(&firing.job)?;
                Some(SkipReason::Paused(scope.to_string().into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Group, Policies};
    use crate::store::conformance::{firing, job};

    #[test]
    fn a_job_is_paused_by_itself_with_its_group_or_with_all() {
        let policies = Policies {
            group: Some(Arc::new(Group {
                name: "db".into(),
                max_running: None,
            })),
            ..Policies::default()
        };
        let grouped = Arc::new(Job {
            policies: Arc::new(policies),
            ..(*job("a")).clone()
        });
        let pauses = Pauses::new();
        let single = job("b");
        assert_eq!(pauses.is_paused(&grouped), None);
        let group = Scope::Group("db".into());
        assert!(pauses.pause(Scope::Job("b".into())));
        assert!(pauses.clone().pause(group.clone()));
        assert!(!pauses.pause(group.clone()));
        assert_eq!(pauses.is_paused(&grouped), Some(group.clone()));
        assert_eq!(pauses.is_paused(&single), Some(Scope::Job("b".into())));
        assert_eq!(pauses.is_paused(&job("c")), None);
        assert!(pauses.pause(Scope::All));
        assert_eq!(pauses.is_paused(&job("c")), Some(Scope::All));
        let list = [Scope::All, group.clone(), Scope::Job("b".into())];
        assert_eq!(pauses.list(), list);
        assert!(pauses.resume(&Scope::All));
        assert!(!pauses.resume(&Scope::All));
        assert!(pauses.resume(&group));
        assert_eq!(pauses.is_paused(&grouped), None);

        for cause in Cause::ALL {
            let refused = pauses.refuses(&firing(&single, cause, 1));
            let by_hand = matches!(cause, Cause::Manual | Cause::Api);
            let reason = SkipReason::Paused("the job b".into());
            assert_eq!(refused, (!by_hand).then_some(reason), "{cause:?}");
            assert_eq!(pauses.refuses(&firing(&grouped, cause, 1)), None);
        }
    }
}
