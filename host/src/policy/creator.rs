//! What a job may hand on to the jobs that it makes: no more than it holds itself.
//!
//! The creator's definition is taken for a ceiling, and judged by as the operator's is: what nobody
//! wrote is lowered to what the creator has, and what is written above it is refused.

use std::path::PathBuf;
use std::sync::Arc;

use super::ceiling::{Ceiling, HttpLimits, Item, Refusal, Rules, ScheduleRule, StateRule};
use super::judge::told;
use super::pattern::Pattern;
use super::place::{Allowed, Place, Placed, Rule};
use super::reach::{Endpoints, Origins};
use super::roots::{Root, confine};
use crate::job::grants::network::AddressRange;
use crate::job::{DirGrant, Job, Manifest, Overlap};

impl Ceiling {
    /// What no definition that a job makes may exceed: what it holds itself.
    pub fn of_creator(creator: &Job) -> Ceiling {
        let place = Place::Creator(creator.id.clone());
        let placed = Here(&place);
        let (limits, grants) = (&creator.limits, &creator.grants);
        let names =
            |names: &mut dyn Iterator<Item = &str>| placed.list(names.map(Pattern::only).collect());
        let (http, sockets) = (grants.http.as_ref(), grants.sockets.as_ref());
        let ranges = |ranges: Option<&Vec<AddressRange>>| {
            placed.list(ranges.into_iter().flatten().cloned().collect())
        };
        let rules = Rules {
            timeout: placed.at(limits.timeout),
            fuel: placed.at(limits.fuel),
            memory: placed.at(limits.memory),
            output: placed.at(limits.output),
            log_rate: placed.at(limits.log_rate),
            handles: placed.at(limits.handles),
            // Where overlaps are allowed, `max_instances` does not count.
            max_instances: match creator.policies.overlap {
                Overlap::Allow => None,
                _ => placed.at(creator.max_instances),
            },
            env: names(&mut grants.env.iter().map(|(name, _)| &**name)),
            config: names(&mut grants.config.iter().map(|(key, _)| &**key)),
            dirs: placed.list(grants.dirs.iter().map(Root::of_grant).collect()),
            // Each directory has its own.
            dir_quota: None,
            http: placed.list(
                http.into_iter()
                    .flat_map(|it| it.origins.iter().map(Origins::of_grant))
                    .collect(),
            ),
            sockets: placed.list(
                sockets
                    .into_iter()
                    .flat_map(|it| it.endpoints.iter().map(Endpoints::of_grant))
                    .collect(),
            ),
            // Those of one kind say nothing of the other; and what a granted name says itself is
            // granted with it.
            addresses: None,
            http_addresses: ranges(http.map(|it| &it.addresses)),
            socket_addresses: ranges(sockets.map(|it| &it.addresses)),
            // Also those in its environment: it knows them.
            secrets: names(&mut grants.all_secrets().map(|name| &**name)),
            state: placed.at(match grants.state {
                None => StateRule::None,
                Some(quota) => StateRule::UpTo(quota),
            }),
            schedule: placed.at(match &grants.schedule {
                None => ScheduleRule::None,
                Some(own) => ScheduleRule::UpTo {
                    jobs: own.max_jobs,
                    prefix: Some(own.prefix.clone()),
                },
            }),
            deadline: creator.policies.deadline.and_then(|it| placed.at(it)),
            priority: placed.at(creator.policies.priority),
            http_limits: http.and_then(|it| {
                placed.at(HttpLimits {
                    timeout: it.timeout,
                    requests: it.requests,
                    body: it.body,
                })
            }),
        };
        Ceiling {
            rules: Arc::new(rules),
            file: None,
        }
    }
}

/// Where the creator says something.
struct Here<'p>(&'p Place);

impl Here<'_> {
    fn at<T>(&self, value: T) -> Option<Placed<T>> {
        Some(Placed {
            value,
            place: self.0.clone(),
        })
    }

    fn list<T>(&self, values: Vec<T>) -> Rule<T> {
        let values = values.into_iter().filter_map(|value| self.at(value));
        self.at(Allowed::Only(values.collect()))
    }
}

/// A job as the one that made it allows it: what nobody wrote of its limits is no more than the
/// creator's, it is in the creator's group, and its directories stay beneath the creator's whatever
/// becomes of links.
///
/// # Errors
/// All that is written and more than the creator holds.
pub fn bounded(creator: &Job, job: &Arc<Job>) -> Result<Arc<Job>, Vec<Refusal>> {
    bounded_by(&Ceiling::of_creator(creator), creator, job)
}

/// Judges a document that a job has made: its definitions as the creator allows them, each of the
/// others with everything that it asks for too much.
pub fn judge_made(manifest: &Manifest, creator: &Job) -> Manifest {
    let ceiling = Ceiling::of_creator(creator);
    let mut manifest = manifest.clone();
    let source = manifest.source.clone();
    for entry in &mut manifest.entries {
        let Ok(job) = &entry.result else { continue };
        entry.result = match bounded_by(&ceiling, creator, job) {
            Ok(job) => Ok(job),
            Err(refusals) => Err(told(&source, entry, &refusals)),
        };
    }
    manifest
}

fn bounded_by(ceiling: &Ceiling, creator: &Job, job: &Arc<Job>) -> Result<Arc<Job>, Vec<Refusal>> {
    let job = adapted(creator, ceiling, job);
    let mut refusals = ceiling.refusals(&job);
    let id = job.id.as_str();
    let grant = creator.grants.schedule.as_ref();
    if grant.is_none_or(|it| !id.starts_with(&*it.prefix)) {
        refusals.push(Refusal {
            item: Item::Id,
            asked: format!("the id {id:?}"),
            allowed: match grant {
                Some(own) => format!("only what begins with {:?}", own.prefix),
                None => "it may define no jobs".to_owned(),
            },
            place: Place::Creator(creator.id.clone()),
        });
    }
    if let Some(function) = job.native() {
        refusals.push(Refusal {
            item: Item::Id,
            asked: format!("the function {function:?}, which no sandbox is around,"),
            allowed: "only plugins".to_owned(),
            place: Place::Creator(creator.id.clone()),
        });
    }
    match refusals.is_empty() {
        true => Ok(job),
        false => Err(refusals),
    }
}

fn adapted(creator: &Job, ceiling: &Ceiling, job: &Arc<Job>) -> Arc<Job> {
    let mut job = job.clone();
    let own = Arc::make_mut(&mut job);
    if let Some(limits) = ceiling.lowered(own) {
        own.limits = limits;
    }
    let theirs = &creator.policies;
    let mut policies = (*own.policies).clone();
    // A definition of one job alone cannot name a group.
    policies.group = theirs.group.clone();
    policies.deadline = policies.deadline.or(theirs.deadline);
    if policies.priority == 0 {
        policies.priority = theirs.priority.min(0);
    }
    if policies != *own.policies {
        own.policies = Arc::new(policies);
    }
    if !own.grants.dirs.is_empty() {
        for dir in &mut Arc::make_mut(&mut own.grants).dirs {
            dir.beneath = way_to(creator, dir);
        }
    }
    own.origin.creator = Some(creator.id.clone());
    job
}

/// The directories that a directory is beneath, the widest first: that of the creator which holds
/// it, after those that this one is beneath.
fn way_to(creator: &Job, dir: &DirGrant) -> Vec<PathBuf> {
    let place = Place::Creator(creator.id.clone());
    for theirs in &creator.grants.dirs {
        let root = Placed {
            value: Root::of_grant(theirs),
            place: place.clone(),
        };
        let path = root.value.path().to_owned();
        if confine(&[root], dir).is_ok() {
            let mut way = theirs.beneath.clone();
            way.push(path);
            return way;
        }
    }
    Vec::new() // beneath none: it is refused
}

#[cfg(test)]
mod tests;
