//! What the ceiling says of the network: families of origins and endpoints, and whether one holds
//! all of another.

use std::fmt;
use std::net::IpAddr;

use crate::job::grants::network::{
    AddressClass, AddressRange, Endpoint, HostPattern, OriginPattern, Protocol, class_of,
};

/// Hosts that a definition may name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// Every host.
    Any,
    /// These.
    These(HostPattern),
}

impl Hosts {
    /// Whether every host of a definition's pattern is among them.
    fn hold(&self, asked: &HostPattern) -> bool {
        let pattern = match self {
            Hosts::Any => return true,
            Hosts::These(pattern) => pattern,
        };
        let is_under = |name: &str, parent: &str| {
            name.strip_suffix(parent)
                .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        };
        match (pattern, asked) {
            (HostPattern::AnyUnder(parent), HostPattern::Name(name)) => is_under(name, parent),
            (HostPattern::AnyUnder(parent), HostPattern::AnyUnder(name)) => {
                name == parent || is_under(name, parent)
            }
            (HostPattern::Address(one), HostPattern::Address(other)) => {
                one.to_canonical() == other.to_canonical()
            }
            (pattern, asked) => pattern == asked,
        }
    }
}

/// A name that takes the place of `*` while the rest is read by the rules for one origin.
const STAND_IN: &str = "stand-in.invalid";

/// Puts the stand-in where a host is `*` alone: after `//` or at the beginning, before a colon or
/// at the end.
fn stand_in(text: &str) -> Option<String> {
    let (front, host) = match text.split_once("://") {
        Some((scheme, host)) => (Some(scheme), host),
        None => (None, text),
    };
    let port = host
        .strip_prefix('*')
        .filter(|port| port.is_empty() || port.starts_with(':'))?;
    Some(match front {
        Some(scheme) => format!("{scheme}://{STAND_IN}{port}"),
        None => format!("{STAND_IN}{port}"),
    })
}

/// Origins that definitions may name: `https://*.example.com`, `http://localhost:8080`, or
/// `https://*` for every host at one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origins {
    text: String,
    https: bool,
    hosts: Hosts,
    port: u16,
}

impl Origins {
    /// Reads them; an error is of the form "what is wrong: what would be right".
    pub(super) fn parse(text: &str) -> Result<Origins, String> {
        let whole = stand_in(text);
        let pattern = OriginPattern::parse(whole.as_deref().unwrap_or(text))?;
        Ok(match whole {
            Some(_) => Origins {
                text: text.to_owned(),
                https: pattern.https,
                hosts: Hosts::Any,
                port: pattern.port,
            },
            None => Origins {
                text: pattern.to_string(),
                https: pattern.https,
                hosts: Hosts::These(pattern.host),
                port: pattern.port,
            },
        })
    }

    /// Those that a job is granted.
    pub(super) fn of_grant(pattern: &OriginPattern) -> Origins {
        Origins {
            text: pattern.to_string(),
            https: pattern.https,
            hosts: Hosts::These(pattern.host.clone()),
            port: pattern.port,
        }
    }

    /// Whether every origin of a definition's pattern is among them.
    pub(super) fn hold(&self, asked: &OriginPattern) -> bool {
        self.https == asked.https && self.port == asked.port && self.hosts.hold(&asked.host)
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

/// Endpoints that definitions may name: `tcp://*.example.com:5432`, `192.0.2.1:53`, or
/// `tcp://*:5432` for every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints {
    text: String,
    protocol: Option<Protocol>,
    hosts: Hosts,
    port: u16,
}

impl Endpoints {
    /// Reads them; an error is of the form "what is wrong: what would be right".
    pub(super) fn parse(text: &str) -> Result<Endpoints, String> {
        let whole = stand_in(text);
        let endpoint = Endpoint::parse(whole.as_deref().unwrap_or(text))?;
        Ok(match whole {
            Some(_) => Endpoints {
                text: text.to_owned(),
                protocol: endpoint.protocol,
                hosts: Hosts::Any,
                port: endpoint.port,
            },
            None => Endpoints {
                text: endpoint.to_string(),
                protocol: endpoint.protocol,
                hosts: Hosts::These(endpoint.host),
                port: endpoint.port,
            },
        })
    }

    /// Those that a job is granted.
    pub(super) fn of_grant(endpoint: &Endpoint) -> Endpoints {
        Endpoints {
            text: endpoint.to_string(),
            protocol: endpoint.protocol,
            hosts: Hosts::These(endpoint.host.clone()),
            port: endpoint.port,
        }
    }

    /// Whether every endpoint of a definition's pattern is among them.
    pub(super) fn hold(&self, asked: &Endpoint) -> bool {
        let protocol = self.protocol.is_none() || self.protocol == asked.protocol;
        protocol && self.port == asked.port && self.hosts.hold(&asked.host)
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

/// Whether every address of one range is in another.
pub(super) fn holds_range(range: &AddressRange, asked: &AddressRange) -> bool {
    range.prefix <= asked.prefix && range.contains(asked.first)
}

/// The addresses that are not public and that a definition reaches by naming this host, whatever
/// names lead to.
pub(super) fn addresses_named(host: &HostPattern) -> Vec<IpAddr> {
    match host {
        HostPattern::Address(address) if class_of(*address) != AddressClass::Public => {
            vec![*address]
        }
        HostPattern::Name(name) if name == "localhost" || name.ends_with(".localhost") => vec![
            IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(rule: &str, asked: &str) -> bool {
        Origins::parse(rule)
            .unwrap()
            .hold(&OriginPattern::parse(asked).unwrap())
    }

    fn endpoint(rule: &str, asked: &str) -> bool {
        Endpoints::parse(rule)
            .unwrap()
            .hold(&Endpoint::parse(asked).unwrap())
    }

    #[test]
    fn origins_hold_those_that_are_no_wider() {
        assert!(origin("https://a.example.com", "https://a.example.com:443"));
        assert!(!origin("https://a.example.com", "http://a.example.com"));
        assert!(!origin(
            "https://a.example.com",
            "https://a.example.com:8443"
        ));
        assert!(!origin("https://a.example.com", "https://*.example.com"));
        assert!(origin("https://*.example.com", "https://a.example.com"));
        assert!(origin("https://*.example.com", "https://a.b.example.com"));
        assert!(origin("https://*.example.com", "https://*.example.com"));
        assert!(origin("https://*.example.com", "https://*.b.example.com"));
        assert!(!origin("https://*.b.example.com", "https://*.example.com"));
        assert!(!origin("https://*.example.com", "https://example.com"));
        assert!(!origin("https://*.example.com", "https://badexample.com"));
        assert!(origin("https://*", "https://*.example.com"));
        assert!(origin("https://*", "https://192.0.2.1"));
        assert!(!origin("https://*", "http://example.com"));
        assert!(!origin("https://*", "https://example.com:8443"));
        assert!(origin("https://*:8443", "https://example.com:8443"));
        assert!(origin("http://[::1]:80", "http://[::1]"));
    }

    #[test]
    fn endpoints_hold_those_that_are_no_wider() {
        assert!(endpoint("db.example.com:5432", "tcp://db.example.com:5432"));
        assert!(endpoint("db.example.com:5432", "db.example.com:5432"));
        // Both protocols are wider than one.
        assert!(!endpoint(
            "tcp://db.example.com:5432",
            "db.example.com:5432"
        ));
        assert!(!endpoint("tcp://a.example.com:1", "tcp://a.example.com:2"));
        assert!(endpoint("tcp://*:5432", "tcp://db.example.com:5432"));
        assert!(endpoint("*:53", "udp://192.0.2.1:53"));
        assert!(!endpoint("udp://*:53", "tcp://192.0.2.1:53"));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        assert!(Origins::parse("*").is_err());
        assert!(Origins::parse("https://*/path").is_err());
        assert!(Origins::parse("https://*:x").is_err());
        assert!(Endpoints::parse("tcp://*").is_err());
        assert!(Endpoints::parse("").is_err());
        assert_eq!(
            Origins::parse("https://*").unwrap().to_string(),
            "https://*"
        );
    }

    #[test]
    fn ranges_hold_narrower_ones() {
        let holds = |range: &str, asked: &str| {
            let parse = |text| AddressRange::parse(text).unwrap();
            holds_range(&parse(range), &parse(asked))
        };
        assert!(holds("10.0.0.0/8", "10.1.0.0/16"));
        assert!(holds("10.0.0.0/8", "10.0.0.0/8"));
        assert!(holds("10.0.0.0/8", "10.1.2.3"));
        assert!(!holds("10.1.0.0/16", "10.0.0.0/8"));
        assert!(!holds("10.0.0.0/8", "11.0.0.0/16"));
        assert!(!holds("10.0.0.0/8", "fc00::/16"));
        assert!(holds("fc00::/7", "fd00::/8"));
    }

    #[test]
    fn only_addresses_of_ones_own_networks_are_named_by_a_host() {
        let named = |text: &str| addresses_named(&OriginPattern::parse(text).unwrap().host);
        assert_eq!(named("http://10.0.0.5"), [IpAddr::from([10, 0, 0, 5])]);
        assert_eq!(named("http://8.8.8.8"), Vec::<IpAddr>::new());
        assert_eq!(named("http://localhost:8080").len(), 2);
        assert_eq!(named("http://app.localhost").len(), 2);
        assert_eq!(named("https://example.com"), Vec::<IpAddr>::new());
    }
}
