//! Whom a job may reach: origins, endpoints and ranges of addresses, read and matched.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{HttpGrant, SocketGrant};
use crate::job::diagnostic::quoted;

/// An origin, or a family of them, that HTTP requests may go to: `https://api.example.com`,
/// `http://localhost:8080`, `https://*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// Whether it is `https`, or else `http`.
    pub https: bool,
    /// The host.
    pub host: HostPattern,
    /// The port, the scheme's own where none is written.
    pub port: u16,
}

/// The host side of an origin or endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name, in lower case, without a dot at its end.
    Name(String),
    /// Every name that has one or more labels before this one, `*.example.com`, but not the name
    /// itself.
    AnyUnder(String),
    /// This address.
    Address(IpAddr),
}

/// A peer that sockets may reach: `tcp://db.example.com:5432`, `udp://192.0.2.1:53`, or without
/// a protocol for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Over which protocol; nothing for both.
    pub protocol: Option<Protocol>,
    /// The host.
    pub host: HostPattern,
    /// The port.
    pub port: u16,
}

/// What sockets speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A range of addresses such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address, its host bits zero.
    pub first: IpAddr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Somewhere on the internet.
    Public,
    /// This machine.
    Loopback,
    /// This link, where the services of a cloud tell their secrets, too.
    LinkLocal,
    /// A network that is not the internet.
    Private,
    /// No address at all, which systems take for this machine.
    Unspecified,
    /// Many machines at once.
    Multicast,
    /// For documentation, benchmarks or the future.
    Reserved,
}

impl AddressClass {
    /// In words, as in "a private address".
    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Public => "a public address",
            AddressClass::Loopback => "a loopback address",
            AddressClass::LinkLocal => "a link-local address",
            AddressClass::Private => "a private address",
            AddressClass::Unspecified => "no address of any machine",
            AddressClass::Multicast => "a multicast address",
            AddressClass::Reserved => "a reserved address",
        }
    }
}

/// What kind of place an address is, by the registries of special-purpose addresses (RFC 6890).
/// An IPv6 address that stands for an IPv4 one (mapped, translated, 6to4) is what that one is.
///
/// ```
/// use quarterjack::job::grants::network::{AddressClass, class_of};
/// assert_eq!(class_of("169.254.169.254".parse().unwrap()), AddressClass::LinkLocal);
/// assert_eq!(class_of("::ffff:10.0.0.1".parse().unwrap()), AddressClass::Private);
/// ```
pub fn class_of(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => class_of_v4(address),
        IpAddr::V6(address) => class_of_v6(address),
    }
}

fn class_of_v4(address: Ipv4Addr) -> AddressClass {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => AddressClass::Unspecified,
        (127, ..) => AddressClass::Loopback,
        (169, 254, _) => AddressClass::LinkLocal,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => AddressClass::Private,
        (192, 0, 0 | 2) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => {
            AddressClass::Reserved
        }
        (224..=239, ..) => AddressClass::Multicast,
        (240..=255, ..) => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn class_of_v6(address: Ipv6Addr) -> AddressClass {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        class_of_v4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0) if (g, h) == (0, 0) => AddressClass::Unspecified,
        (0, 0, 0, 0, 0, 0) if (g, h) == (0, 1) => AddressClass::Loopback,
        // Compatible (long given up), mapped, translated, and NAT64 with its well-known prefix.
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => {
            v4(g, h)
        }
        (0x64, 0xff9b, 1, ..) => AddressClass::Private, // NAT64 of a network's own
        (0x2002, ..) => v4(b, c),                       // 6to4
        (0x2001, 0, ..) => v4(!g, !h),                  // Teredo: the client's, inverted
        (0x2001, 0x0002, 0, ..) | (0x2001, 0xdb8, ..) | (0x3fff, 0..=0x0fff, ..) => {
            AddressClass::Reserved
        }
        (0x100, 0, 0, 0, ..) => AddressClass::Reserved,
        (0xfc00..=0xfdff, ..) | (0xfec0..=0xfeff, ..) => AddressClass::Private,
        (0xfe80..=0xfebf, ..) => AddressClass::LinkLocal,
        (0xff00..=0xffff, ..) => AddressClass::Multicast,
        // The rest of the internet is in 2000::/3.
        (0x2000..=0x3fff, ..) => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

impl OriginPattern {
    /// Reads an origin.
    ///
    /// # Errors
    /// What is wrong with it, and after a colon what would be right.
    ///
    /// ```
    /// use quarterjack::job::grants::network::OriginPattern;
    /// let origin = OriginPattern::parse("https://*.example.com").unwrap();
    /// assert!(origin.matches(true, "api.example.com", 443));
    /// assert!(!origin.matches(true, "example.com", 443));
    /// ```
    pub fn parse(text: &str) -> Result<OriginPattern, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "the origin {} has no scheme: write \"https://{text}\"",
                quoted(text)
            ));
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                return Err(format!(
                    "the origin {} is neither https nor http: other protocols go over \"sockets\"",
                    quoted(text)
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(place) = rest.find(['/', '?', '#']) {
            let origin = rest.get(..place).unwrap_or_default();
            return Err(format!(
                "the origin {} has a path: every path of an origin is granted with it, \"{scheme}://{origin}\"",
                quoted(text)
            ));
        }
        let (host, port) = split_port(rest).map_err(|why| in_text("origin", text, &why))?;
        Ok(OriginPattern {
            https,
            host: HostPattern::parse(host).map_err(|why| in_text("origin", text, &why))?,
            port: port.unwrap_or(default_port(https)),
        })
    }

    /// Whether a request to this host (in lower case, an address without brackets) may go.
    pub fn matches(&self, https: bool, host: &str, port: u16) -> bool {
        self.https == https && self.port == port && self.host.matches(host)
    }
}

/// The port of a scheme.
fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(to, "{scheme}://{}", self.host)?;
        if self.port != default_port(self.https) {
            write!(to, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl Endpoint {
    /// Reads an endpoint.
    ///
    /// # Errors
    /// What is wrong with it, and after a colon what would be right.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let (protocol, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "tcp" => (Some(Protocol::Tcp), rest),
                "udp" => (Some(Protocol::Udp), rest),
                _ => {
                    return Err(format!(
                        "the endpoint {} is neither tcp nor udp: requests over HTTP are granted by \"http\"",
                        quoted(text)
                    ));
                }
            },
        };
        let (host, port) = split_port(rest).map_err(|why| in_text("endpoint", text, &why))?;
        let Some(port) = port else {
            return Err(format!(
                "the endpoint {} has no port: write \"{text}:5432\"",
                quoted(text)
            ));
        };
        Ok(Endpoint {
            protocol,
            host: HostPattern::parse(host).map_err(|why| in_text("endpoint", text, &why))?,
            port,
        })
    }

    /// Whether this protocol and port are the endpoint's.
    pub fn serves(&self, protocol: Protocol, port: u16) -> bool {
        self.port == port && self.protocol.is_none_or(|own| own == protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(to, "{protocol}://")?;
        }
        write!(to, "{}:{}", self.host, self.port)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<HostPattern, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').unwrap_or(inner);
            return match inner.parse::<Ipv6Addr>() {
                Ok(address) => Ok(HostPattern::Address(address.into())),
                Err(_) => Err(format!("{} is no IPv6 address: {V6}", quoted(inner))),
            };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return match address {
                IpAddr::V4(_) => Ok(HostPattern::Address(address)),
                IpAddr::V6(_) => Err(format!("an IPv6 address stands in brackets: [{address}]")),
            };
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let (any, name) = match name.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, name),
        };
        check_name(name)?;
        if any && !name.contains('.') {
            return Err(format!(
                "\"*.{name}\" is half of the internet: name a domain below it, \"*.example.{name}\""
            ));
        }
        Ok(if any {
            HostPattern::AnyUnder(name.to_owned())
        } else {
            HostPattern::Name(name.to_owned())
        })
    }

    /// Whether a host is meant: a name in lower case, or an address without brackets.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            HostPattern::Name(name) => name == host,
            HostPattern::AnyUnder(name) => host
                .strip_suffix(name.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.')),
            HostPattern::Address(address) => host.parse() == Ok(*address),
        }
    }

    /// Whether this pattern alone, without a range, lets a name that it matches lead to an
    /// address: public ones always, this machine's if the pattern is `localhost` or below it,
    /// and the one that the pattern is.
    pub fn names(&self, address: IpAddr) -> bool {
        match class_of(address) {
            AddressClass::Public => true,
            AddressClass::Loopback => match self {
                HostPattern::Name(name) => name == "localhost" || name.ends_with(".localhost"),
                HostPattern::AnyUnder(_) => false,
                HostPattern::Address(own) => *own == address,
            },
            _ => matches!(self, HostPattern::Address(own) if *own == address),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Name(name) => to.write_str(name),
            HostPattern::AnyUnder(name) => write!(to, "*.{name}"),
            HostPattern::Address(IpAddr::V4(address)) => address.fmt(to),
            HostPattern::Address(IpAddr::V6(address)) => write!(to, "[{address}]"),
        }
    }
}

impl AddressRange {
    /// Reads a range such as `10.0.0.0/8`, or one address.
    ///
    /// # Errors
    /// What is wrong with it, and after a colon what would be right.
    pub fn parse(text: &str) -> Result<AddressRange, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!(
                "{} is no range of addresses: write it like \"10.0.0.0/8\" or \"fd00::/8\"",
                quoted(text)
            ));
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => bits,
            Some(Ok(prefix)) if prefix <= bits => prefix,
            Some(_) => {
                return Err(format!(
                    "the prefix of {} is out of range: 0 to {bits}",
                    quoted(text)
                ));
            }
        };
        let range = AddressRange {
            first: masked(address, prefix),
            prefix,
        };
        if range.first == address {
            Ok(range)
        } else {
            Err(format!(
                "{} begins in the middle of its range: write \"{range}\"",
                quoted(text)
            ))
        }
    }

    /// Whether an address is in the range. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = if self.first.is_ipv4() {
            address.to_canonical()
        } else {
            address
        };
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.first, self.prefix)
    }
}

/// An address with all but its leading bits zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl HttpGrant {
    /// The origin among those granted that a request is for.
    pub fn origin(&self, https: bool, host: &str, port: u16) -> Option<&OriginPattern> {
        self.origins
            .iter()
            .find(|origin| origin.matches(https, host, port))
    }

    /// Whether a request for an origin may go to this address.
    pub fn may_connect(&self, origin: &OriginPattern, address: IpAddr) -> bool {
        origin.host.names(address) || in_ranges(&self.addresses, address)
    }
}

impl SocketGrant {
    /// Whether a name may be looked up.
    pub fn may_look_up(&self, name: &str) -> bool {
        self.endpoints.iter().any(|peer| peer.host.matches(name))
    }

    /// Whether a peer may be reached, at an address that is known by these names.
    pub fn may_reach(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        names: &[String],
    ) -> bool {
        let address = address.to_canonical();
        self.endpoints
            .iter()
            .filter(|peer| peer.serves(protocol, port))
            .any(|peer| match &peer.host {
                HostPattern::Address(own) => own.to_canonical() == address,
                host => {
                    names.iter().any(|name| host.matches(name))
                        && (host.names(address) || in_ranges(&self.addresses, address))
                }
            })
    }
}

fn in_ranges(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

const V6: &str = "write it like \"[2001:db8::1]\"";

/// Says which text is wrong, and why.
fn in_text(what: &str, text: &str, why: &str) -> String {
    format!("the {what} {} is wrong: {why}", quoted(text))
}

/// Takes a port apart from its host.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.contains('@') {
        return Err("leave the user out, it holds no right".to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((_, rest)) if rest.ends_with(']') => (text, None),
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => {
            return Err(format!("an IPv6 address stands in brackets, {V6}"));
        }
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(port),
            _ => return Err(format!("the port {} is not 1 to 65535", quoted(digits))),
        },
    };
    Ok((host, port))
}

/// Checks a host's name.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if name.contains('*') {
        return Err("a `*` stands for whole labels at the front, \"*.example.com\"".to_owned());
    }
    if !name.is_ascii() {
        return Err("write the name as it is looked up, \"xn--…\"".to_owned());
    }
    let sound = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(sound) {
        return Err(format!("{} is no host's name", quoted(name)));
    }
    // What systems would take for an address in one of its odd forms: 127.1, 0x7f.1, 2130706433.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "{} is neither a name nor a whole address, \"127.0.0.1\"",
            quoted(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
