//! What the ceiling says of something that a run wants and was not granted.

use super::ceiling::{Ceiling, DirAnswer, ScheduleRule, StateRule};
use super::place::{Answer, Place, ask};
use super::reach::addresses_named;
use crate::job::DirGrant;
use crate::job::grants::Need;
use crate::job::grants::network::{Endpoint, HostPattern, OriginPattern};

/// What the operator's ceiling says of a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The operator has set no ceiling.
    NoCeiling,
    /// A definition may grant it.
    Permits(Place),
    /// No definition of this job may grant it.
    Forbids(Place),
}

impl Verdict {
    /// The verdict for a person, such as `the operator's ceiling forbids it (quarterjack.toml:4)`;
    /// nothing where there is no ceiling.
    pub fn text(&self) -> Option<String> {
        match self {
            Verdict::NoCeiling => None,
            Verdict::Permits(place) => {
                Some(format!("the operator's ceiling permits it ({place:#})"))
            }
            Verdict::Forbids(place) => {
                Some(format!("the operator's ceiling forbids it ({place:#})"))
            }
        }
    }
}

impl Ceiling {
    /// What the ceiling says of something that a run wants and its definition does not grant.
    pub fn verdict(&self, need: &Need) -> Verdict {
        let rules = &*self.rules;
        match need {
            Need::Env(name) => self.said(&ask(&rules.env, |it| it.fits(name))),
            Need::Config(key) => self.said(&ask(&rules.config, |it| it.fits(key))),
            Need::Secret(name) => self.said(&ask(&rules.secrets, |it| it.fits(name))),
            Need::Dir {
                host,
                guest,
                access,
            } => {
                let dir = DirGrant {
                    host: host.clone(),
                    guest: guest.clone(),
                    access: *access,
                    quota: None,
                    beneath: Vec::new(),
                };
                match self.answer_dir(&dir) {
                    DirAnswer::NoRule => self.nothing_said(),
                    DirAnswer::Yes(place, _) => Verdict::Permits(place.clone()),
                    DirAnswer::No(place, ..) => Verdict::Forbids(place.clone()),
                }
            }
            Need::Http(text) => match OriginPattern::parse(text) {
                Ok(origin) => {
                    let answer = ask(&rules.http, |it| it.hold(&origin));
                    self.reach(&answer, &origin.host)
                }
                Err(_) => self.said(&ask(&rules.http, |_| false)),
            },
            Need::Socket(text) => match Endpoint::parse(text) {
                Ok(endpoint) => {
                    let answer = ask(&rules.sockets, |it| it.hold(&endpoint));
                    self.reach(&answer, &endpoint.host)
                }
                Err(_) => self.said(&ask(&rules.sockets, |_| false)),
            },
            Need::Address { ip, .. } => {
                self.said(&ask(&rules.addresses, |range| range.contains(*ip)))
            }
            Need::State => match &rules.state {
                None => self.nothing_said(),
                Some(rule) if rule.value == StateRule::None => Verdict::Forbids(rule.place.clone()),
                Some(rule) => Verdict::Permits(rule.place.clone()),
            },
            Need::Schedule(_) => match &rules.schedule {
                None => self.nothing_said(),
                Some(rule) if rule.value == ScheduleRule::None => {
                    Verdict::Forbids(rule.place.clone())
                }
                Some(rule) => Verdict::Permits(rule.place.clone()),
            },
        }
    }

    fn said<T>(&self, answer: &Answer<'_, T>) -> Verdict {
        match answer {
            Answer::NoRule => self.nothing_said(),
            Answer::Yes(place) => Verdict::Permits((*place).clone()),
            Answer::No(place, _) => Verdict::Forbids((*place).clone()),
        }
    }

    /// What is said of a host, which may be one of one's own networks.
    fn reach<T>(&self, answer: &Answer<'_, T>, host: &HostPattern) -> Verdict {
        for address in addresses_named(host) {
            let own = ask(&self.rules.addresses, |range| range.contains(address));
            if let (Answer::No(place, _), false) = (own, matches!(answer, Answer::No(..))) {
                return Verdict::Forbids(place.clone());
            }
        }
        self.said(answer)
    }

    fn nothing_said(&self) -> Verdict {
        match &self.file {
            None => Verdict::NoCeiling,
            Some(file) => Verdict::Permits(Place::File(file.clone())),
        }
    }
}
