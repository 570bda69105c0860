//! Whom a job may reach: origins, endpoints and ranges of addresses, read and matched.

use std::net::IpAddr;

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
    /// Every name of one more label at the front of this one: `*.example.com`.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
